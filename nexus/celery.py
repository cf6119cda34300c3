"""Celery: what happens after the response. The same tasks run embedded (memory broker) and with Redis."""

import os

from celery import Celery

from nexus import tasklog, taskwatch

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "nexus.settings")

app = Celery("nexus")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
tasklog.connect()
taskwatch.connect()
