"""Metrics while the database is away. No test here may use it: whoever asks for it meets an error."""

import pytest
from django.test import Client
from pytest_django import Settings

FAKE_TOKEN = "fake-metrics-token-0001"


@pytest.fixture(autouse=True)
def fresh_counts() -> None:
    """Nobody counts wrong keys here."""


def test_a_scraper_is_answered(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    settings.METRICS_TOKEN = FAKE_TOKEN
    response = Client(headers={"Authorization": f"Bearer {FAKE_TOKEN}"}).get("/metrics")
    assert response.status_code == 200
    text = response.content.decode()
    assert 'nexus_collector_up{collector="ledger"} 0.0' in text
    assert 'nexus_collector_up{collector="incidents"} 0.0' in text
    assert 'nexus_collector_up{collector="tasks"} 1.0' in text
    assert "nexus_record_gap" not in text
    assert [line for line in caplog.messages if "left out" in line] == [
        "the metrics of ledger are left out: RuntimeError"
    ]
