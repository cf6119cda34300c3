"""Each rule, with rows that it has to find and rows that it must not."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.utils import timezone
from pytest_django import Settings

from accounts.ids import first_id_at, new_id
from accounts.models import ClientKey, Credential, Domain, OAuthToken
from telemetry.conf import RecordConf
from telemetry.credentials import marking, replacing
from telemetry.models import (
    BatchRow,
    BatchUsageRow,
    Incident,
    LedgerRow,
    RuleSettings,
    Severity,
    SlackSettings,
    Target,
    Webhook,
)
from telemetry.notices.finding import Finding
from telemetry.notices.incidents import evaluate
from telemetry.notices.notice import NoticeKind
from telemetry.notices.outbox import enter
from telemetry.notices.rules import (
    RULES,
    breaker_open,
    client_key_expiring,
    credential_expiring,
    credential_invalid,
    credential_limited,
    credential_refused,
    credential_rolled_back,
    delivery_failing,
    error_rate,
    ledger_gap,
    process_silent,
    recent,
    spool_filling,
    token_refresh_failing,
    unpriced_model,
    upstream_unreachable,
)
from telemetry.notices.rules.rule import WatchedRule
from telemetry.notices.sending import Pace, Sending, try_again
from telemetry.record.exchange import Exchange, Outcome, Pricing
from tests.services import free_port
from tests.telemetry.credentials.standings import Known
from tests.telemetry.facts import stored_exchange
from tests.telemetry.notices.slackserver import SlackServer, status
from tests.telemetry.notices.told import FAKE_WEBHOOK, configure, notice

pytestmark = pytest.mark.django_db(transaction=True)
NOW = datetime(2026, 11, 23, 6, 0, tzinfo=UTC)
_numbers = iter(range(1, 1 << 30))


def exchange(*, ago: float, **changes: Any) -> Exchange:
    """Begun so many seconds ago."""
    started_at = NOW - timedelta(seconds=ago)
    own_id = type(new_id())(int=first_id_at(started_at).int + next(_numbers))
    return stored_exchange(id=own_id, started_at=started_at, **changes)


def exchanges(count: int = 1, **changes: Any) -> None:
    for _ in range(count):
        exchange(**{"ago": 60, "duration_ms": 1000} | changes)


def found(rule: WatchedRule, now: datetime = NOW) -> list[Finding]:
    return list(rule(now))


def test_names_are_what_findings_are_known_by() -> None:
    assert len({rule.name for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert found(rule) == []


# --- Errors of a domain --------------------------------------------------------------------------------------------


def test_a_domain_whose_requests_fail(domain: Domain, other_domain: Domain) -> None:
    exchanges(16, domain_id=domain.id)
    exchanges(4, domain_id=domain.id, outcome=Outcome.API_ERROR, status=529)
    exchanges(40, domain_id=other_domain.id)
    exchanges(1, domain_id=other_domain.id, outcome=Outcome.BROKEN)
    (finding,) = found(error_rate.RULE)
    assert (finding.object, finding.domain_id, finding.severity) == (str(domain.id), domain.id, Severity.WARNING)
    assert finding.facts == {"failed": "20%", "requests": 20, "mostly": "api_error 529"}


def test_half_of_them_is_critical(domain: Domain) -> None:
    for outcome in (Outcome.UPSTREAM_FAILED, Outcome.FAILED, Outcome.COMPLETED, Outcome.INTERRUPTED):
        exchanges(5, domain_id=domain.id, outcome=outcome, status=None)
    assert [finding.severity for finding in found(error_rate.RULE)] == [Severity.CRITICAL]


@pytest.mark.parametrize(
    ("well", "failed"),
    [
        ([{"count": 15}], {"count": 4}),  # too few
        ([{"count": 17}], {"count": 4, "outcome": Outcome.REFUSED}),
        ([{"count": 17}], {"count": 4, "outcome": Outcome.CANCELLED}),
        ([{"count": 17}], {"count": 4, "ago": 400}),  # before the window
        ([{"count": 17}], {"count": 17, "status": 400}),  # of clients that ask for what there is not
        ([{"count": 17}], {"count": 4, "ago": -60}),  # after it
        ([{"count": 17}, {"count": 4}], {"count": 5}),  # 19 %
    ],
)
def test_what_is_no_error_rate(domain: Domain, well: list[dict[str, Any]], failed: dict[str, Any]) -> None:
    for some in well:
        exchanges(domain_id=domain.id, **some)
    defaults: dict[str, Any] = {"domain_id": domain.id, "outcome": Outcome.API_ERROR, "status": 500}
    exchanges(**defaults | failed)
    exchanges(30, domain_id=None, outcome=Outcome.API_ERROR)  # of nobody
    assert found(error_rate.RULE) == []


def test_a_failure_counts_when_it_ends(domain: Domain) -> None:
    """The limit for the first byte is ten minutes: what failed by it began long before the window."""
    exchanges(20, domain_id=domain.id, ago=605, duration_ms=600_000, outcome=Outcome.UPSTREAM_FAILED, status=504)
    assert len(found(error_rate.RULE)) == 1
    assert len(found(upstream_unreachable.RULE)) == 1


def test_the_window_is_read_within_bounds(domain: Domain, monkeypatch: pytest.MonkeyPatch) -> None:
    exchanges(10, domain_id=domain.id, ago=90)
    exchanges(5, domain_id=domain.id, ago=30)
    monkeypatch.setattr(recent, "ROWS_MAX", 7)
    assert recent.others(NOW, timedelta(minutes=5)) == {domain.id: 7}


# --- The API -------------------------------------------------------------------------------------------------------


def test_the_api_answers_nothing(domain: Domain) -> None:
    exchanges(5, domain_id=domain.id, outcome=Outcome.UPSTREAM_FAILED, status=502)
    exchanges(5, domain_id=domain.id, outcome=Outcome.CANCELLED, status=None)
    (finding,) = found(upstream_unreachable.RULE)
    assert (finding.severity, finding.facts) == (Severity.CRITICAL, {"unanswered": 5})


@pytest.mark.parametrize("outcome", [Outcome.COMPLETED, Outcome.API_ERROR, Outcome.BROKEN])
def test_one_answer_is_enough(domain: Domain, outcome: Outcome) -> None:
    exchanges(30, domain_id=domain.id, outcome=Outcome.UPSTREAM_FAILED, status=502)
    exchange(ago=30, domain_id=domain.id, outcome=outcome)
    assert found(upstream_unreachable.RULE) == []


def test_four_are_not_enough(domain: Domain) -> None:
    exchanges(4, outcome=Outcome.UPSTREAM_FAILED, status=502)
    assert found(upstream_unreachable.RULE) == []


# --- Credentials ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [401, 403])
def test_a_credential_that_is_refused(credential: Credential, code: int) -> None:
    of = {"credential_id": credential.id, "credential_source": "domain"}
    exchange(ago=120, **of)
    exchange(ago=60, outcome=Outcome.API_ERROR, status=code, **of)
    exchange(ago=50, outcome=Outcome.CANCELLED, status=None, **of)
    (finding,) = found(credential_refused.RULE)
    assert (finding.object, finding.domain_id) == (str(credential.id), credential.domain_id)
    assert "sk-ant" not in finding.sentence + finding.label
    exchange(ago=30, **of)
    assert found(credential_refused.RULE) == []


def test_one_that_was_switched_off_is_no_trouble(credential: Credential) -> None:
    exchange(ago=60, outcome=Outcome.API_ERROR, status=401, credential_id=credential.id, credential_source="domain")
    exchange(ago=60, outcome=Outcome.API_ERROR, status=401, credential_id=new_id(), credential_source="domain")
    Credential.objects.update(is_active=False)
    assert found(credential_refused.RULE) == []


def test_the_key_of_the_environment_is_watched_and_a_callers_own_is_not() -> None:
    exchange(ago=60, outcome=Outcome.API_ERROR, status=401, credential_source="caller")
    exchange(ago=60, outcome=Outcome.REFUSED, status=401, credential_source="")
    assert found(credential_refused.RULE) == []
    exchange(ago=60, outcome=Outcome.API_ERROR, status=401)
    exchange(ago=50, credential_source="caller")
    (finding,) = found(credential_refused.RULE)
    assert (finding.object, finding.label) == ("environment", "Credential CLAUDE_API_KEY is refused")
    exchange(ago=40)
    assert found(credential_refused.RULE) == []


def test_a_credential_that_has_to_cool_down(credential: Credential) -> None:
    of = {"credential_id": credential.id, "credential_source": "domain", "outcome": Outcome.API_ERROR, "status": 429}
    exchanges(4, **of)
    exchanges(3, ago=400, **of)
    assert found(credential_limited.RULE) == []
    exchange(ago=1, **of)
    (finding,) = found(credential_limited.RULE)
    assert finding.facts == {"answers_with_429": 5}


def test_a_marked_one_is_told_once(credential: Credential) -> None:
    exchange(ago=60, outcome=Outcome.API_ERROR, status=401, credential_id=credential.id, credential_source="domain")
    assert len(found(credential_refused.RULE)) == 1
    assert found(credential_invalid.RULE) == []
    marking.mark_invalid(credential.id, "The API does not take it (401).")
    assert found(credential_refused.RULE) == []
    (finding,) = found(credential_invalid.RULE)
    assert (finding.object, finding.domain_id) == (str(credential.id), credential.domain_id)
    assert finding.severity is Severity.CRITICAL
    assert finding.sentence == "Nothing is sent with the credential main any more: The API does not take it (401)."
    marking.mark_valid(credential.id)
    assert found(credential_invalid.RULE) == []


def test_one_that_is_switched_off_may_be_invalid(credential: Credential) -> None:
    marking.mark_invalid(credential.id, "401")
    Credential.objects.update(is_active=False)
    assert found(credential_invalid.RULE) == []


def test_a_replacement_that_was_rolled_back(credential: Credential) -> None:
    new = Credential.objects.create(domain=credential.domain, name="new", secret="x" * 20, replaces=credential)
    assert found(credential_rolled_back.RULE) == []
    marking.roll_back(new.id, "The API answered 401.")
    (finding,) = found(credential_rolled_back.RULE)
    assert finding.sentence == "The credential new gets no sessions of main any more: The API answered 401."
    replacing.give_share(new.id, 5)
    assert found(credential_rolled_back.RULE) == []
    marking.roll_back(new.id, "The API answered 401.")
    Credential.objects.filter(id=new.id).update(replaces=None)
    assert found(credential_rolled_back.RULE) == []


def test_an_open_circuit(credential: Credential, settings: Settings, tmp_path: Path) -> None:
    settings.REDIS_URL, settings.NEXUS_DATA = "", tmp_path
    known = Known(tmp_path)
    other = Credential.objects.create(domain=credential.domain, name="off", secret="x" * 20, is_active=False)
    assert found(breaker_open.RULE) == []
    known.open(other)
    known.open_key("environment")
    known.open_key(f"caller:{credential.domain_id}")
    known.open_key("nobody")
    known.open(credential)
    labels = {finding.label: finding for finding in found(breaker_open.RULE)}
    assert sorted(labels) == [
        "The circuit of credential CLAUDE_API_KEY is open",
        "The circuit of credential main of claude.example.com is open",
        "The circuit of credential of callers of claude.example.com is open",
    ]
    finding = labels["The circuit of credential main of claude.example.com is open"]
    assert (finding.object, finding.facts["last"]) == (str(credential.id), "the API answered 500")
    known.open(credential, seconds=-1)  # it is being tried
    assert len(found(breaker_open.RULE)) == 3
    known.close(credential)
    assert len(found(breaker_open.RULE)) == 2
    known.open(credential, seconds=-700)  # nobody has tried it for long
    assert len(found(breaker_open.RULE)) == 2


def test_a_key_that_ends(credential: Credential) -> None:
    def ends(at: datetime | None) -> list[Finding]:
        Credential.objects.update(expires_at=at)
        return found(credential_expiring.RULE)

    assert ends(None) == ends(NOW + timedelta(days=8)) == []
    assert [finding.severity for finding in ends(NOW + timedelta(days=6))] == [Severity.WARNING]
    (finding,) = ends(NOW - timedelta(hours=1))
    assert finding.severity is Severity.CRITICAL
    assert finding.sentence == "The credential main ended on 2026-11-23 at 05:00 UTC."
    Credential.objects.update(is_active=False)
    assert found(credential_expiring.RULE) == []


@pytest.fixture
def token(domain: Domain) -> OAuthToken:
    credential = Credential.objects.create(domain=domain, name="login", kind=Credential.Kind.OAUTH)
    return OAuthToken.objects.create(credential=credential, expires_at=NOW + timedelta(hours=1))


def test_a_sign_in_that_only_a_person_can_renew(token: OAuthToken) -> None:
    assert found(credential_expiring.RULE) == []
    OAuthToken.objects.update(needs_login=True, failures=3, failure="invalid_grant")
    (finding,) = found(credential_expiring.RULE)
    assert (finding.severity, finding.sentence) == (
        Severity.WARNING,
        "The credential login needs a sign-in. invalid_grant",
    )
    assert found(token_refresh_failing.RULE) == []  # it is told once
    OAuthToken.objects.update(expires_at=NOW - timedelta(hours=1))
    assert [finding.severity for finding in found(credential_expiring.RULE)] == [Severity.CRITICAL]


def test_a_token_that_cannot_be_renewed(token: OAuthToken) -> None:
    OAuthToken.objects.update(failures=1, failure="It answers 500.")
    assert found(token_refresh_failing.RULE) == []
    OAuthToken.objects.update(failures=2)
    (finding,) = found(token_refresh_failing.RULE)
    assert finding.severity is Severity.WARNING
    assert finding.sentence == "The token of the credential login cannot be renewed: It answers 500."
    OAuthToken.objects.update(expires_at=NOW)
    assert [finding.severity for finding in found(token_refresh_failing.RULE)] == [Severity.CRITICAL]
    Credential.objects.update(is_active=False)
    assert found(token_refresh_failing.RULE) == []


@pytest.mark.parametrize(
    ("changes", "is_found"),
    [
        ({}, True),
        ({"expires_at": NOW + timedelta(days=8)}, False),
        ({"expires_at": NOW - timedelta(days=1)}, False),
        ({"expires_at": None}, False),
        ({"last_used_at": NOW - timedelta(days=8)}, False),
        ({"last_used_at": None}, False),
        ({"revoked_at": NOW}, False),
    ],
)
def test_a_client_key_in_use_that_ends_soon(
    issued: tuple[ClientKey, str], changes: dict[str, Any], is_found: bool
) -> None:
    key, secret = issued
    values = {"expires_at": NOW + timedelta(days=6), "last_used_at": NOW - timedelta(days=1)} | changes
    ClientKey.objects.filter(id=key.id).update(**values)
    findings = found(client_key_expiring.RULE)
    assert [finding.object for finding in findings] == ([str(key.id)] if is_found else [])
    assert all(secret not in repr(finding) for finding in findings)


# --- Money ---------------------------------------------------------------------------------------------------------


def test_a_model_without_a_price() -> None:
    exchanges(3, ago=7200, answered_model="claude-next", pricing=Pricing.UNPRICED)
    exchange(ago=60, model="asked", answered_model="", pricing=Pricing.UNPRICED)
    exchange(ago=90_000, answered_model="claude-old", pricing=Pricing.UNPRICED)
    exchange(ago=60)
    findings = {finding.object: finding.facts for finding in found(unpriced_model.RULE)}
    assert findings == {
        "claude-next": {"requests": 3, "since": "2026-11-23 04:00 UTC"},
        "asked": {"requests": 1, "since": "2026-11-23 05:59 UTC"},
    }


def test_a_message_batch_of_a_model_without_a_price_is_told_too() -> None:
    for ago, pricing in ((3600, Pricing.UNPRICED), (60, Pricing.PRICED), (90_000, Pricing.UNPRICED)):
        booking = exchange(ago=ago, pricing=Pricing.FREE)
        moments = {"created_at": NOW - timedelta(days=1), "booked_id": booking.id, "booked_at": booking.started_at}
        batch = BatchRow.objects.create(id=f"msgbatch_{ago}", credential_source="domain", **moments)
        counts = {
            name.name: 1 for name in BatchUsageRow._meta.get_fields() if name.name.endswith(("_tokens", "requests"))
        }
        usage = {"model": "claude-next", "charges": "[]", "pricing": pricing, "booked_id": booking.id} | counts
        BatchUsageRow.objects.create(id=new_id(), batch=batch, **usage)
    findings = {finding.object: finding.facts for finding in found(unpriced_model.RULE)}
    assert findings == {"claude-next": {"requests": 1, "since": "2026-11-23 05:00 UTC"}}


# --- The record ----------------------------------------------------------------------------------------------------


def process(**changes: Any) -> LedgerRow:
    values = {"id": new_id(), "node": "node-1", "started_at": NOW, "seen_at": NOW} | changes
    return LedgerRow.objects.create(**values)


def test_a_gap_that_lasts() -> None:
    row = process(accepted=10, stored=6, in_flight=1, spooled=1)
    later = NOW + timedelta(seconds=30)
    assert found(ledger_gap.RULE) == []
    (finding,) = found(ledger_gap.RULE, later)
    assert (finding.severity, finding.facts) == (Severity.CRITICAL, {"gap": 2, "known_to_be_lost": 0})
    LedgerRow.objects.filter(id=row.id).update(stored=8)
    assert found(ledger_gap.RULE, later) == []
    LedgerRow.objects.filter(id=row.id).update(stored=6)
    assert found(ledger_gap.RULE, later) == []


def test_what_one_process_stored_for_another_is_no_gap() -> None:
    process(accepted=10, stored=8)
    process(accepted=0, stored=2)
    for seconds in (0, 30):
        assert found(ledger_gap.RULE, NOW + timedelta(seconds=seconds)) == []


def test_an_old_loss_is_told_for_a_day() -> None:
    process(accepted=10, stored=8, lost=2, ended_at=NOW)
    for hours, count in ((1, 0), (2, 1), (25, 0)):
        assert len(found(ledger_gap.RULE, NOW + timedelta(hours=hours))) == count


def test_a_process_that_is_silent() -> None:
    process(seen_at=NOW - timedelta(seconds=110))
    process(seen_at=NOW - timedelta(hours=1), ended_at=NOW)
    assert found(process_silent.RULE) == []
    row = process(seen_at=NOW - timedelta(seconds=130), in_flight=3)
    assert [finding.object for finding in found(process_silent.RULE)] == [str(row.id)]


@pytest.mark.parametrize(("share", "severities"), [(0.79, []), (0.81, [Severity.WARNING]), (1.01, [Severity.CRITICAL])])
def test_a_spool_that_fills(share: float, severities: list[Severity]) -> None:
    conf: RecordConf = django_settings.RECORD
    assert conf.spool is not None
    process(spooled_bytes=int(conf.spool.max_bytes * share))
    assert [finding.severity for finding in found(spool_filling.RULE)] == severities


# --- What is told --------------------------------------------------------------------------------------------------


def test_a_place_that_takes_nothing(settings: Settings, slack_server: SlackServer) -> None:
    configure(settings, webhook_url=slack_server.url)
    slack_server.script = [status(404, "no_service")]
    enter([notice()])
    assert found(delivery_failing.RULE, timezone.now()) == []
    Sending().run()
    (finding,) = found(delivery_failing.RULE, timezone.now())
    assert "404" in finding.sentence
    assert slack_server.url not in repr(finding)
    configure(settings, webhook_url=slack_server.url + "/new")
    assert found(delivery_failing.RULE, timezone.now()) == []


def test_a_place_that_is_away(settings: Settings) -> None:
    configure(settings, webhook_url=f"http://127.0.0.1:{free_port()}/services/fake")
    enter([notice(), notice(), notice(kind=NoticeKind.ERROR)], due_at=timezone.now())
    Sending().run()
    assert found(delivery_failing.RULE, timezone.now() + timedelta(minutes=14)) == []
    findings = found(delivery_failing.RULE, timezone.now() + timedelta(minutes=16))
    assert sum(int(str(finding.facts["waiting"])) for finding in findings) == 3
    assert {finding.object for finding in findings} == {Target.objects.get().id, "outbox"}


def test_what_quiet_hours_hold_is_not_late(settings: Settings) -> None:
    configure(settings, webhook_url=FAKE_WEBHOOK)
    now = timezone.now()
    SlackSettings.objects.create(
        quiet_from=(now - timedelta(hours=1)).time(), quiet_until=(now + timedelta(hours=9)).time()
    )
    enter([notice()])
    assert found(delivery_failing.RULE, now + timedelta(hours=8)) == []


def test_slack_hears_of_its_own_trouble_when_it_works_again(settings: Settings, slack_server: SlackServer) -> None:
    configure(settings, webhook_url=slack_server.url)
    slack_server.script = [status(404, "no_service")]
    enter([notice()])
    Sending().run()
    Webhook.objects.create(name="pager", url=f"{slack_server.url}/pager", secret="fake-secret")
    evaluate(RULES, timezone.now())
    Sending(Pace(message_seconds=0)).run()
    (at_once,) = slack_server.taken
    assert at_once.path.endswith("/pager")
    assert at_once.words.startswith("Nothing is sent to Slack")
    try_again(Target.objects.all())
    Sending(Pace(message_seconds=0)).run()
    assert slack_server.words[1].startswith("Notices do not reach Slack")
    assert not slack_server.taken[1].path.endswith("/pager")
    for seconds in (30, 60):
        evaluate(RULES, timezone.now() + timedelta(seconds=seconds))
    assert not Incident.objects.unresolved().exists()


# --- What operators say --------------------------------------------------------------------------------------------


def test_an_operator_changes_the_numbers(domain: Domain) -> None:
    exchanges(5, domain_id=domain.id)
    exchanges(1, domain_id=domain.id, outcome=Outcome.API_ERROR, status=500)
    chosen = RuleSettings.objects.create(rule="error_rate", threshold=0.1, minimum=6, severity="critical")
    assert [finding.severity for finding in found(error_rate.RULE)] == [Severity.CRITICAL]
    RuleSettings.objects.update(window_seconds=30)
    assert found(error_rate.RULE) == []
    RuleSettings.objects.update(window_seconds=None, is_on=False)
    assert found(error_rate.RULE) == []
    chosen.refresh_from_db()
    assert chosen.limits(error_rate.RULE.defaults).critical_threshold == 0.5
