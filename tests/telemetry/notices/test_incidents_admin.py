import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone

from telemetry.models import Incident, IncidentStep, RuleSettings
from telemetry.models.incidents import State
from telemetry.notices.incidents import evaluate
from telemetry.notices.rules import RULES
from tests.telemetry.notices.incidents import Scripted, finding

pytestmark = pytest.mark.django_db(transaction=True)
LIST = "/admin/telemetry/incident/"
RULE_LIST = "/admin/telemetry/rulesettings/"
HOSTILE = "<script>alert('x')</script>"


@pytest.fixture
def incident() -> Incident:
    evaluate([Scripted([finding(label=HOSTILE, sentence=HOSTILE, facts={HOSTILE: HOSTILE})])], timezone.now())
    return Incident.objects.get()


def act(client: Client, action: str, incident: Incident) -> str:
    answer = client.post(LIST, {"action": action, "_selected_action": [str(incident.id)]}, follow=True)
    return answer.content.decode()


def test_pages_are_there_while_nothing_is_wrong(admin_client: Client) -> None:
    assert admin_client.get(LIST).status_code == 200
    assert admin_client.get(RULE_LIST).status_code == 200


def test_an_incident_shows_its_history_and_no_markup_of_others(admin_client: Client, incident: Incident) -> None:
    page = admin_client.get(f"{LIST}{incident.id}/change/").content.decode()
    assert str(incident.steps.get().notice_id) in page
    for shown in (page, admin_client.get(LIST).content.decode()):
        assert "&lt;script&gt;" in shown
        assert HOSTILE not in shown


def test_nobody_changes_what_a_rule_wrote(admin_client: Client, incident: Incident) -> None:
    assert admin_client.post(f"{LIST}{incident.id}/change/", {"sentence": "x"}).status_code == 403
    assert admin_client.post(f"{LIST}{incident.id}/delete/", {"post": "yes"}).status_code == 403
    assert admin_client.get(f"{LIST}add/").status_code == 403


def test_who_acknowledged_and_who_resolved(admin_client: Client, admin_user: User, incident: Incident) -> None:
    assert "Of 1 incidents 1 are acknowledged" in act(admin_client, "acknowledge", incident)
    incident.refresh_from_db()
    assert (incident.state, incident.acknowledged_by) == (State.ACKNOWLEDGED, admin_user)
    assert incident.acknowledged_at is not None
    assert "Of 1 incidents 0 are acknowledged" in act(admin_client, "acknowledge", incident)
    act(admin_client, "resolve", incident)
    incident.refresh_from_db()
    assert incident.state == State.RESOLVED
    assert list(IncidentStep.objects.values_list("kind", "by")) == [
        ("opened", None),
        ("acknowledged", admin_user.pk),
        ("resolved", admin_user.pk),
    ]


@pytest.mark.parametrize(("right", "may"), [("view_incident", False), ("change_incident", True)])
def test_acting_takes_a_right(incident: Incident, right: str, may: bool) -> None:
    user = User.objects.create_user("grace", is_staff=True)
    names = {"view_incident", right, "all_domains"}
    user.user_permissions.set(Permission.objects.filter(codename__in=names))
    client = Client()
    client.force_login(user)
    assert (">Acknowledge the selected" in client.get(LIST).content.decode()) is may
    act(client, "acknowledge", incident)
    incident.refresh_from_db()
    assert (incident.state == State.ACKNOWLEDGED) is may


def test_each_rule_can_be_changed(admin_client: Client) -> None:
    page = admin_client.get(RULE_LIST).content.decode()
    assert all(rule.title in page for rule in RULES)
    change = f"{RULE_LIST}error_5Frate/change/"
    assert "Threshold: the share of requests" in admin_client.get(change).content.decode()
    admin_client.post(change, {"threshold": "0.3", "severity": "critical"})
    chosen = RuleSettings.objects.get(rule="error_rate")
    assert (chosen.is_on, chosen.threshold, chosen.minimum, chosen.severity) == (False, 0.3, None, "critical")
    admin_client.post(change, {"threshold": "-1", "is_on": "on"})
    chosen.refresh_from_db()
    assert chosen.threshold == 0.3
