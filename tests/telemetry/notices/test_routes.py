"""What counts for a domain: every combination, against a table that reads as the documentation does."""

import itertools
from typing import Any
from uuid import UUID

import pytest
from django.core.exceptions import ImproperlyConfigured
from pytest_django import Settings

from accounts.models import Domain
from telemetry.conf import NoticesConf, SlackConf
from telemetry.models import SlackSettings, Webhook
from telemetry.notices.notice import NoticeKind
from telemetry.notices.routes import Routes, Row, slack_choice
from tests.telemetry.notices.told import FAKE_WEBHOOK, configure

OWN, OURS, GLOBAL = "https://own.example/hook", "https://ours.example/hook", FAKE_WEBHOOK
SWITCHES = (None, True, False)


def expected(
    master: bool, enabled: bool, installation_is_on: bool | None, own_is_on: bool | None, may_reach: bool
) -> bool:
    """Said in another way than the code says it."""
    if not may_reach or not master:
        return False
    return next(each for each in (own_is_on, installation_is_on, enabled) if each is not None)


@pytest.mark.parametrize("master", [True, False])
@pytest.mark.parametrize("enabled", [True, False])
@pytest.mark.parametrize("installation_is_on", SWITCHES)
@pytest.mark.parametrize("own_is_on", SWITCHES)
@pytest.mark.parametrize("may_reach", [True, False])
def test_every_combination(
    master: bool, enabled: bool, installation_is_on: bool | None, own_is_on: bool | None, may_reach: bool
) -> None:
    """Of switches and of addresses: an off is off whatever address is there, and falls back to none."""
    is_on = expected(master, enabled, installation_is_on, own_is_on, may_reach)
    for own_url, our_url, global_url, token in itertools.product((OWN, None), (OURS, None), (GLOBAL, ""), ("xoxb", "")):
        conf = NoticesConf(
            is_on=master, slack=SlackConf(is_on=enabled, webhook_url=global_url, bot_token=token, channel="#claude")
        )
        route = slack_choice(
            conf,
            Row(is_on=installation_is_on, webhook_url=our_url),
            Row(is_on=own_is_on, webhook_url=own_url),
            may_reach=may_reach,
        ).route
        address = own_url or ("token" if token else our_url or global_url)
        assert (route is not None) == (is_on and bool(address))
        if route is not None:
            assert (route.url or "token") == address


def test_names_come_from_the_nearest_that_has_them() -> None:
    conf = NoticesConf(slack=SlackConf(webhook_url=GLOBAL, channel="#all"))
    route = slack_choice(conf, Row(username="Ours", icon_emoji=":house:"), Row(icon_emoji=":own:")).route
    assert route is not None
    assert (route.channel, route.username, route.icon_emoji) == ("#all", "Ours", ":own:")


def test_a_token_without_a_channel_leads_nowhere_and_the_webhook_is_used() -> None:
    route = slack_choice(NoticesConf(slack=SlackConf(webhook_url=GLOBAL, bot_token="xoxb-fake")), Row()).route
    assert route is not None
    assert route.url == GLOBAL


@pytest.mark.parametrize(
    ("host", "reaches", "is_told"),
    [
        ("claude.example.com", None, True),
        ("claude.example.com", False, False),
        ("my-personal.example.com", None, False),
        ("my-personal.example.com", True, True),
    ],
)
@pytest.mark.django_db
def test_the_rule_for_personal_domains_and_its_switch(
    host: str, reaches: bool | None, is_told: bool, settings: Settings
) -> None:
    configure(settings, webhook_url=GLOBAL)
    domain = Domain.objects.create(host=host, reaches_slack=reaches)
    SlackSettings.objects.create(domain=domain, is_on=True, webhook_url=OWN)
    Webhook.objects.create(name="all", url=OURS, secret="fake-secret", kinds=["conversation", "error", "incident"])
    routes = Routes.load()
    assert (routes.slack(domain.id).route is not None) == is_told
    for kind in (NoticeKind.CONVERSATION, NoticeKind.ERROR):
        assert (domain.id in routes.wanted(kind)) == is_told, "a webhook for all domains keeps to it too"


@pytest.mark.django_db
def test_a_domain_that_is_gone_is_told_to_nobody(settings: Settings) -> None:
    configure(settings, webhook_url=GLOBAL)
    assert Routes.load().slack(UUID(int=1)).route is None


@pytest.mark.django_db
def test_a_webhook_hears_what_it_chose(domain: Domain, other_domain: Domain) -> None:
    hook = Webhook.objects.create(name="own", url=OWN, secret="fake-secret", domain=domain)
    routes = Routes.load()
    assert list(routes.sinks(NoticeKind.ERROR, domain.id)) == [str(hook.id)]
    assert not list(routes.sinks(NoticeKind.CONVERSATION, domain.id))
    assert not list(routes.sinks(NoticeKind.ERROR, other_domain.id))
    assert not list(routes.sinks(NoticeKind.ERROR, None))


@pytest.mark.django_db
def test_no_secret_shows_in_what_is_printed(settings: Settings, domain: Domain) -> None:
    configure(settings, webhook_url=GLOBAL, bot_token="xoxb-fake-canary", channel="#c")
    SlackSettings.objects.create(domain=domain, webhook_url=OWN)
    Webhook.objects.create(name="own", url=OWN, secret="fake-secret-canary")
    routes = Routes.load()
    shown = repr((routes, routes.slack(domain.id), routes.slack(None), settings.NOTICES))
    assert "canary" not in shown
    assert "own.example/hook" not in shown


@pytest.mark.parametrize("name", ["webhook_url", "api_url"])
def test_an_address_that_others_could_read_stops_the_start(name: str) -> None:
    make: Any = SlackConf
    with pytest.raises(ImproperlyConfigured, match=f"SLACK_{name.upper()}: The URL must start with https://") as told:
        make(**{name: "http://hooks.slack.example/fake-canary"})
    assert "canary" not in str(told.value)
    make(**{name: "http://127.0.0.1:8080/hook"})
