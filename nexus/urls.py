from django.contrib import admin
from django.urls import include, path

from accounts.personalkeys import personal_keys
from accounts.views import login

urlpatterns = [
    path("admin/login/", login),
    path("admin/", admin.site.urls),
    path("dashboard/personal-keys", personal_keys, name="personal-keys"),
    path("", include("dashboard.urls")),
]
