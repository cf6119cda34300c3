from django.urls import path

from dashboard import views
from dashboard.api import api
from dashboard.clientsetup import client_setup
from dashboard.health import health
from dashboard.metrics import metrics

urlpatterns = [
    path("", views.root),
    path("api/hello", views.hello),
    path("health", health),
    path("metrics", metrics),
    path("client-setup/<path:name>", client_setup),
    path("", api.urls),
]
