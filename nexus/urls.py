from django.contrib import admin
from django.urls import include, path

from accounts.views import login

urlpatterns = [
    path("admin/login/", login),
    path("admin/", admin.site.urls),
    path("", include("dashboard.urls")),
]
