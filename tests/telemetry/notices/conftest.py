from collections.abc import Iterator

import pytest

from telemetry.notices.candidates import AUDIENCE
from tests.telemetry.notices.slackserver import SlackServer, serve_slack


@pytest.fixture(autouse=True)
def _writers_settings_are_fresh() -> None:
    AUDIENCE.forget()


@pytest.fixture
def slack_server() -> Iterator[SlackServer]:
    with serve_slack() as server:
        yield server
