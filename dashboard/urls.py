from django.urls import include, path

from dashboard import views
from dashboard.api import api
from dashboard.clientsetup import client_setup
from dashboard.health import health, live, ready
from dashboard.metrics import metrics
from dashboard.pages import (
    credentials,
    events,
    keys,
    latency,
    overview,
    request,
    requests,
    sign_in,
    start,
    system,
    usage,
)

pages = [
    path("", overview.view, name="overview"),
    path("requests", requests.view, name="requests"),
    path("requests/<str:name>", request.view, name="request"),
    path("usage", usage.view, name="usage"),
    path("latency", latency.view, name="latency"),
    path("credentials", credentials.view, name="credentials"),
    path("keys", keys.view, name="keys"),
    path("system", system.view, name="system"),
    path("start", start.view, name="start"),
    path("sse", events.view, name="sse"),
    path("login", sign_in.login, name="login"),
    path("logout", sign_in.logout, name="logout"),
]
urlpatterns = [
    path("", views.root),
    path("api/hello", views.hello),
    path("health", health),
    path("health/ready", ready),
    path("readyz", ready),
    path("health/live", live),
    path("livez", live),
    path("metrics", metrics),
    path("client-setup/<path:name>", client_setup),
    path("dashboard/", include((pages, "dashboard"))),
    path("", api.urls),
]
