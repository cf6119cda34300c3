"""What an error page of DEBUG shows of secrets: nothing, by their names."""

import sys

import pytest
from django.test import RequestFactory
from django.views.debug import ExceptionReporter
from pytest_django import Settings

from nexus.reports import ReporterFilter

SECRET = "-".join(("a", "fake", "secret", "of", "no", "known", "shape"))
"""In pieces: an error page shows the source."""


def fail(password: str, said: dict[str, str], name: str) -> None:
    raise RuntimeError("it failed")


def page_of(settings: Settings, **form: str) -> str:
    settings.DEBUG = True
    settings.DEFAULT_EXCEPTION_REPORTER_FILTER = "nexus.reports.ReporterFilter"
    try:
        fail(SECRET[:], {"new_secret": SECRET}, "Grace Hopper")
    except RuntimeError:
        return ExceptionReporter(RequestFactory().post("/", form), *sys.exc_info()).get_traceback_html()
    raise AssertionError


@pytest.mark.parametrize("name", ["password", "secret", "new_webhook_url", "api_key", "access_token"])
def test_what_was_typed_and_what_functions_held_is_hidden_by_its_name(settings: Settings, name: str) -> None:
    text = page_of(settings, **{name: SECRET, "owner": "Ada Lovelace"})
    assert f"<td>{name}</td>" in text
    assert "it failed" in text
    assert "Ada Lovelace" in text
    assert "Grace Hopper" in text
    assert SECRET not in text


def test_objects_stay(settings: Settings) -> None:
    key = RequestFactory()
    frame = sys._getframe()
    found = dict(ReporterFilter().get_traceback_frame_variables(None, frame))
    assert found["key"] is key
