import pytest
from django.db import transaction
from pytest_django.fixtures import Settings

from accounts.models import Domain
from telemetry.models import Delivery, SlackSettings, Webhook
from telemetry.notices.notice import NoticeKind
from telemetry.notices.outbox import enter
from tests.telemetry.notices.told import FAKE_WEBHOOK, configure, notice

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def slack(settings: Settings) -> None:
    configure(settings, webhook_url=FAKE_WEBHOOK)


def test_a_notice_is_entered_once_for_each_sink() -> None:
    hook = Webhook.objects.create(name="pager", url="https://pager.example.com/in", secret="fake-secret")
    one, other = notice(), notice()
    enter([one, other])
    enter([one])
    entered = Delivery.objects.values_list("notice_id", "sink")
    assert sorted(entered) == sorted((each.id, sink) for each in (one, other) for sink in ("slack", str(hook.id)))


def test_what_is_rolled_back_is_not_told() -> None:
    with transaction.atomic():
        enter([notice()])
        transaction.set_rollback(True)
    assert not Delivery.objects.exists()


def test_nothing_is_entered_where_nobody_listens(settings: Settings) -> None:
    configure(settings)
    enter([notice()])
    assert not Delivery.objects.exists()


def test_what_is_said_in_a_domain_without_slack_is_not_entered(domain: Domain) -> None:
    SlackSettings.objects.create(domain=domain, is_on=False)
    enter([notice(kind=NoticeKind.CONVERSATION, domain_id=domain.id), notice()])
    assert list(Delivery.objects.values_list("domain_id", flat=True)) == [None]
