"""What an error page of DEBUG hides beyond Django's own list: addresses that may hold a password, and, by their names,
what was typed into a form and what functions held."""

import re
from collections.abc import ItemsView
from types import FrameType
from typing import Any

from django.http import HttpRequest
from django.views.debug import SafeExceptionReporterFilter


class ReporterFilter(SafeExceptionReporterFilter):
    hidden_settings = re.compile(
        SafeExceptionReporterFilter.hidden_settings.pattern + "|URL|LOCATION|HOSTS|DSN|UPSTREAM|DATABASES", re.I
    )

    def get_post_parameters(self, request: HttpRequest | None) -> dict[str, Any]:
        """Django's own hides nothing where DEBUG is on."""
        return {name: self.cleanse_setting(name, value) for name, value in super().get_post_parameters(request).items()}

    def get_traceback_frame_variables(self, request: HttpRequest | None, tb_frame: FrameType) -> ItemsView[str, Any]:
        found = super().get_traceback_frame_variables(request, tb_frame)
        return {name: self._without_secret(name, value) for name, value in found}.items()

    def _without_secret(self, name: str, value: Any) -> Any:
        """Objects stay: whoever looks for a fault needs them, and ours show no secret."""
        return self.cleanse_setting(name, value) if isinstance(value, str | bytes | dict | list | tuple) else value
