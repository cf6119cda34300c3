"""Nexus: configuration and wiring; no behaviour lives here."""

from nexus.celery import app as celery_app

__all__ = ["celery_app"]
