from django.urls import path

from proxy.api import api

urlpatterns = [path("v1/", api.urls)]
