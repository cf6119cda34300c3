"""Slack and webhooks in the admin: secrets go in and never come out."""

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from pytest_django import Settings

from accounts.models import Domain
from telemetry.models import Delivery, SlackSettings, Target, Webhook
from telemetry.models.notices import State
from telemetry.notices.outbox import enter
from telemetry.notices.sending import Pace, Sending
from tests.telemetry.notices.slackserver import SLACK_PATH, SlackServer, status, takes_and_hangs_up
from tests.telemetry.notices.told import FAKE_WEBHOOK, configure, notice

pytestmark = pytest.mark.django_db(transaction=True)

SLACK = "/admin/telemetry/slacksettings/"
HOOKS = "/admin/telemetry/webhook/"
DELIVERIES = "/admin/telemetry/delivery/"
TARGETS = "/admin/telemetry/target/"
QUICK = Pace(message_seconds=0, wait_seconds=0, backoff_seconds=(30,), timeout_seconds=0.5)


def form(**changes: str) -> dict[str, str]:
    names = ("domain", "new_webhook_url", "channel", "username", "icon_emoji", "quiet_from", "quiet_until")
    return {**dict.fromkeys((*names, "time_zone", "digest_at"), ""), "is_on": "", **changes}


def page(client: Client, path: str) -> str:
    return client.get(path).content.decode()


def acted(client: Client, path: str, action: str, *ids: object) -> str:
    answer = client.post(path, {"action": action, "_selected_action": [str(each) for each in ids]}, follow=True)
    return answer.content.decode()


def test_an_address_is_written_and_never_read(admin_client: Client, domain: Domain) -> None:
    admin_client.post(f"{SLACK}add/", form(domain=str(domain.id), new_webhook_url=FAKE_WEBHOOK))
    row = SlackSettings.objects.get()
    assert row.webhook_url == FAKE_WEBHOOK
    for path in (SLACK, f"{SLACK}{row.id}/change/", f"{SLACK}{row.id}/history/"):
        shown = page(admin_client, path)
        assert "fake-canary" not in shown
        assert "B0FAKE" not in shown
    assert "hooks.slack.example/…6789" in page(admin_client, SLACK)


def test_an_empty_address_keeps_the_stored_one_and_a_tick_forgets_it(admin_client: Client) -> None:
    row = SlackSettings.objects.create(webhook_url=FAKE_WEBHOOK)
    change = f"{SLACK}{row.id}/change/"
    admin_client.post(change, form(channel="#new"))
    row = SlackSettings.objects.get()
    assert (row.webhook_url, row.channel) == (FAKE_WEBHOOK, "#new")
    admin_client.post(change, form(forget_webhook_url="on"))
    row = SlackSettings.objects.get()
    assert (row.webhook_url, row.webhook_masked) == (None, "")


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("http://hooks.slack.example/fake-canary", "The URL must start with https://"),
        ("ftp://hooks.slack.example/fake-canary", "The URL must start with https://"),
        ("fake-canary", "This is not a URL"),
        ("https://[fake-canary", "This is not a URL"),
    ],
)
def test_a_bad_address_is_refused_in_a_sentence(admin_client: Client, url: str, sentence: str) -> None:
    shown = admin_client.post(f"{SLACK}add/", form(new_webhook_url=url)).content.decode()
    assert sentence in shown
    assert "fake-canary" not in shown
    assert not SlackSettings.objects.exists()


def test_there_is_one_row_for_the_installation_and_one_for_a_domain(admin_client: Client, domain: Domain) -> None:
    for _ in range(2):
        admin_client.post(f"{SLACK}add/", form())
        shown = admin_client.post(f"{SLACK}add/", form(domain=str(domain.id))).content.decode()
    assert SlackSettings.objects.count() == 2
    assert "There are settings for this already" in shown


def test_quiet_hours_have_two_ends_and_a_known_time_zone(admin_client: Client) -> None:
    shown = admin_client.post(f"{SLACK}add/", form(quiet_from="22:00", time_zone="Mars/Base")).content.decode()
    assert "Quiet hours need both ends" in shown
    assert "This is not a time zone" in shown


def test_a_test_message_says_what_came_of_it(
    admin_client: Client, slack_server: SlackServer, domain: Domain, settings: Settings
) -> None:
    configure(settings)
    row = SlackSettings.objects.create(domain=domain, webhook_url=slack_server.url)
    assert "The test message arrived." in acted(admin_client, SLACK, "send_test", row.id)
    slack_server.script = [status(404, "no_service")]
    assert "Nothing can be sent there: HTTP 404 no_service." in acted(admin_client, SLACK, "send_test", row.id)
    slack_server.script = [takes_and_hangs_up]
    assert "nobody answered" in acted(admin_client, SLACK, "send_test", row.id)
    SlackSettings.objects.update(is_on=False)
    assert "it is off or has no address" in acted(admin_client, SLACK, "send_test", row.id)
    assert len(slack_server.received) == 3


def test_saving_the_settings_tries_a_failing_target_again(
    admin_client: Client, slack_server: SlackServer, settings: Settings
) -> None:
    configure(settings)
    row = SlackSettings.objects.create(webhook_url=slack_server.url)
    slack_server.script = [status(404, "no_service")]
    enter([notice(), notice()])
    Sending(QUICK).run()
    assert "HTTP 404 no_service" in page(admin_client, TARGETS)
    admin_client.post(f"{SLACK}{row.id}/change/", form(new_webhook_url=slack_server.url))
    Sending(QUICK).run()
    assert len(slack_server.taken) == 1


def test_webhooks_are_written_and_never_read(admin_client: Client, slack_server: SlackServer) -> None:
    values = {"name": "pager", "kinds": ["incident", "error"], "is_active": "on", "domain": ""}
    secrets = {"new_url": slack_server.url, "new_secret": "fake-webhook-secret-canary"}
    assert "A new webhook needs this." in admin_client.post(f"{HOOKS}add/", values).content.decode()
    admin_client.post(f"{HOOKS}add/", values | secrets)
    hook = Webhook.objects.get()
    assert (hook.url, hook.secret) == (slack_server.url, secrets["new_secret"])
    for path in (HOOKS, f"{HOOKS}{hook.id}/change/"):
        assert "canary" not in page(admin_client, path)
    admin_client.post(f"{HOOKS}{hook.id}/change/", values | {"name": "renamed", "new_url": "", "new_secret": ""})
    hook = Webhook.objects.get()
    assert (hook.name, hook.url, hook.kinds) == ("renamed", slack_server.url, ["incident", "error"])
    assert "The test message arrived." in acted(admin_client, HOOKS, "send_test", hook.id)


def test_what_was_not_confirmed_is_sent_again_when_asked(
    admin_client: Client, slack_server: SlackServer, settings: Settings
) -> None:
    configure(settings, webhook_url=slack_server.url)
    slack_server.script = [takes_and_hangs_up]
    enter([notice()])
    Sending(QUICK).run()
    delivery = Delivery.objects.get()
    shown = page(admin_client, f"{DELIVERIES}?state__exact=unconfirmed")
    assert "no answer after it was sent" in shown
    assert "1 messages are sent again" in acted(admin_client, DELIVERIES, "send_again", delivery.id)
    assert acted(admin_client, TARGETS, "try_again", Target.objects.get().id).count("tried again at once") == 1
    Sending(QUICK).run()
    assert Delivery.objects.get().state == State.DELIVERED
    assert len(slack_server.taken) == 2


def test_whoever_may_only_look_sends_nothing_again(client: Client, db: None, settings: Settings) -> None:
    configure(settings, webhook_url=FAKE_WEBHOOK)
    enter([notice()])
    Delivery.objects.update(state=State.UNCONFIRMED)
    looker = User.objects.create_user("looker", is_staff=True)
    looker.user_permissions.add(*Permission.objects.filter(codename__in=("view_delivery", "all_domains")))
    client.force_login(looker)
    assert client.get(DELIVERIES).status_code == 200
    acted(client, DELIVERIES, "send_again", Delivery.objects.get().id)
    assert Delivery.objects.get().state == State.UNCONFIRMED


def test_the_words_are_in_no_page_of_the_log(admin_client: Client, settings: Settings) -> None:
    configure(settings, webhook_url=f"https://hooks.slack.example{SLACK_PATH}")
    enter([notice(text="what somebody said")])
    delivery = Delivery.objects.get()
    for path in (DELIVERIES, f"{DELIVERIES}{delivery.id}/change/"):
        assert "what somebody said" not in page(admin_client, path)
