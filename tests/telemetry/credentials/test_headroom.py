"""What the API says of its limits is read by shape: `telemetry.credentials.headroom`."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.credentials.headroom import Window, frees_at, headroom, windows

NOW = 1_800_000_000.0
Headers = list[tuple[bytes, bytes]]


def limits(**values: str) -> Headers:
    return [
        (f"anthropic-ratelimit-{name.replace('_', '-')}".encode(), value.encode()) for name, value in values.items()
    ]


def test_the_headers_of_an_api_key() -> None:
    headers = limits(requests_limit="1000", requests_remaining="250", requests_reset="2027-01-15T08:00:10Z") + limits(
        input_tokens_limit="2000000", input_tokens_remaining="1900000"
    )
    found = {window.name: window for window in windows(headers)}
    assert found["requests"] == Window("requests", 1000, 250, None, NOW + 10)
    assert found["requests"].left == 0.25
    assert headroom(found.values(), NOW) == 0.25
    assert headroom(found.values(), NOW + 11) == 0.95


def test_the_windows_of_a_subscription_also_one_that_nobody_knew() -> None:
    headers = [
        (b"anthropic-ratelimit-unified-5h-status", b"allowed"),
        (b"anthropic-ratelimit-unified-5h-utilization", b"0.4"),
        (b"anthropic-ratelimit-unified-7d_oi-status", b"allowed_warning"),
        (b"anthropic-ratelimit-unified-7d_oi-utilization", b"0.97"),
        (b"anthropic-ratelimit-unified-7d_oi-reset", b"1800000100"),
        (b"anthropic-ratelimit-unified-overage-status", b"rejected"),
        (b"anthropic-ratelimit-unified-overage-disabled-reason", b"org_level_disabled"),
        (b"anthropic-ratelimit-unified-representative-claim", b"seven_day"),
    ]
    assert headroom(windows(headers), NOW) == pytest.approx(0.03)
    assert headroom(windows(headers), NOW + 101) == pytest.approx(0.6)


def test_unknown_is_not_zero() -> None:
    assert windows([(b"anthropic-organization-id", b"x"), (b"request-id", b"y")]) == ()
    assert headroom((), NOW) is None
    assert headroom(windows(limits(requests_remaining="0")), NOW) is None
    assert headroom(windows(limits(unified_5h_status="allowed")), NOW) is None
    assert headroom(windows(limits(unified_5h_status="rejected")), NOW) == 0.0


def test_other_lanes_do_not_count() -> None:
    headers = [(b"anthropic-fast-input-tokens-limit", b"10"), (b"anthropic-fast-input-tokens-remaining", b"0")]
    (window,) = windows(headers)
    assert (window.name, window.left) == ("fast-input-tokens", 0.0)
    assert headroom([window], NOW) is None


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ([(b"retry-after", b"7")], 7),
        ([(b"retry-after", b"Fri, 15 Jan 2027 08:00:30 GMT")], 30),
        ([(b"retry-after-ms", b"1500"), (b"retry-after", b"9")], 1.5),
        (limits(requests_limit="5", requests_remaining="0", requests_reset="2027-01-15T08:01:00Z"), 60),
        (limits(unified_status="rejected", unified_reset="1800000200", unified_5h_reset="1800009999"), 200),
        ([(b"retry-after", b"soon")], None),
        ([(b"retry-after", b"-5")], None),
        ([(b"retry-after", b"nan")], None),
        ([], None),
    ],
)
def test_when_it_may_come_again(headers: Headers, seconds: float | None) -> None:
    found = frees_at(headers, NOW)
    assert found == (None if seconds is None else NOW + seconds)


values = st.one_of(st.binary(max_size=30), st.sampled_from([b"1e999", b"nan", b"-1", b"0", b"2027-13-99", b"inf"]))
names = st.from_regex(rb"anthropic-(ratelimit|priority|fast)-[a-z0-9_-]{0,40}", fullmatch=True)


@given(st.lists(st.tuples(names, values), max_size=80))
def test_nonsense_is_no_trouble(headers: Headers) -> None:
    left = headroom(windows(headers), NOW)
    assert left is None or 0 <= left <= 1
    again = frees_at(headers, NOW)
    assert again is None or math.isfinite(again)
