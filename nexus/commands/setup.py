"""What every command begins with."""

import os
from typing import Any


def setup() -> Any:
    """Django's settings, once Django is ready. Raises ImproperlyConfigured."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "nexus.settings")
    import django
    from django.conf import settings

    django.setup()
    return settings
