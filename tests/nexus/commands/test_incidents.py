import json

import pytest
from click.testing import CliRunner
from django.utils import timezone

from nexus.cli import main
from telemetry.models import Incident, Severity
from telemetry.notices.finding import Finding
from telemetry.notices.incidents import acknowledge, evaluate, resolve
from tests.telemetry.notices.incidents import Scripted, finding

pytestmark = pytest.mark.django_db(transaction=True)


def nexus(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["incidents", *arguments])
    return done.exit_code, done.output.strip()


def wrong(*findings: Finding) -> None:
    evaluate([Scripted(findings)], timezone.now())


def test_nothing_is_wrong() -> None:
    assert nexus() == (0, "Nothing is wrong.")
    assert nexus("--json") == (0, "[]")


def test_a_warning_is_listed() -> None:
    wrong(finding())
    code, output = nexus()
    assert code == 0
    assert Incident.objects.get().short_id in output
    assert finding().sentence in output


def test_the_exit_code_tells_what_is_critical() -> None:
    wrong(finding(), finding(object="worse", severity=Severity.CRITICAL, facts={"share": "60%"}))
    code, output = nexus("--json")
    worst, other = json.loads(output)
    assert (code, worst["object"], worst["facts"], other["severity"]) == (1, "worse", {"share": "60%"}, "warning")
    critical = Incident.objects.get(object="worse")
    acknowledge(critical, None, timezone.now())
    assert nexus()[0] == 1
    resolve(critical, None, timezone.now())
    assert nexus()[0] == 0
