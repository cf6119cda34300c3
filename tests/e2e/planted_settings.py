"""Nexus's settings, with `planted_faults` in the house."""

from nexus.settings import *  # noqa: F403 (the very same)

ROOT_URLCONF = "tests.e2e.planted_faults"
CELERY_IMPORTS = ["tests.e2e.planted_faults"]
