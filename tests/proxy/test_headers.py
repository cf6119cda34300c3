import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.secret import CLIENT_KEY_START
from proxy.headers import (
    CLIENT_KEY_MARK,
    OAUTH_BETA,
    for_client,
    for_record,
    for_upstream,
    merge_beta,
    with_bearer,
    without_cors,
)

names = st.from_regex(rb"[a-z][a-z0-9-]{0,12}", fullmatch=True)
# A value that holds a client key goes nowhere: that has a test of its own.
values = st.binary(max_size=20).filter(lambda value: CLIENT_KEY_MARK not in value)
pairs = st.lists(st.tuples(names, values), max_size=12)


@given(pairs)
def test_unknown_headers_go_up_in_their_order_with_their_repeats(headers: list[tuple[bytes, bytes]]) -> None:
    unknown = [(b"u-" + name, value) for name, value in headers]
    assert for_upstream(unknown) == [*unknown, (b"accept-encoding", b"identity")]
    assert for_client(unknown) == unknown


def test_what_connection_names_stays_here() -> None:
    headers = [(b"connection", b"X-One, close"), (b"x-one", b"1"), (b"x-two", b"2")]
    assert for_upstream(headers) == [(b"x-two", b"2"), (b"accept-encoding", b"identity")]
    assert for_client([(b"Connection", b"x-one"), (b"X-One", b"1"), (b"X-Two", b"2")]) == [(b"x-two", b"2")]


@pytest.mark.parametrize("name", [b"x-api-key", b"authorization", b"x-nexus-key", b"cookie"])
def test_what_authenticates_the_client_stays_here_and_off_the_record(name: bytes) -> None:
    assert for_upstream([(name, b"secret")]) == [(b"accept-encoding", b"identity")]
    assert for_record([(name.title(), b"secret"), (b"Kept", b"1")]) == [("kept", "1")]


def test_what_sets_a_cookie_is_off_the_record_and_reaches_the_client() -> None:
    cookies = [(b"Set-Cookie", b"a=1"), (b"Set-Cookie", b"b=2")]
    assert for_client(cookies) == [(b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")]
    assert for_record(cookies) == []


def test_a_client_key_in_an_odd_place_goes_nowhere() -> None:
    key = b"nxs_live_" + b"k" * 43
    assert for_upstream([(b"api-key", key), (b"x-odd", b"a " + key)]) == [(b"accept-encoding", b"identity")]
    recorded = for_record([(b"api-key", key), (b"x-odd", b"a " + key + b" sk-ant-api03-fake"), (b"x-auth-token", b"s")])
    assert recorded == [("x-odd", "a nxs_live_… sk-ant-…")]
    limits = [("anthropic-ratelimit-tokens-limit", "1"), ("anthropic-ratelimit-input-tokens-reset", "2")]
    assert for_record([(name.encode(), value.encode()) for name, value in limits]) == limits


def test_it_knows_a_client_key_as_the_register_does() -> None:
    assert CLIENT_KEY_START.encode() == CLIENT_KEY_MARK


def test_a_flood_of_headers_is_not_stored() -> None:
    assert for_record([(b"a", b"1"), (b"flood", b"x" * 100_000)]) == [("a", "1")]


def test_the_apis_word_on_cors_is_dropped_only_where_it_is_ours() -> None:
    headers = [(b"Access-Control-Allow-Origin", b"*"), (b"kept", b"1")]
    assert without_cors(for_client(headers)) == [(b"kept", b"1")]
    assert len(for_client(headers)) == 2


def test_an_origin_is_dropped_only_where_cors_is_ours() -> None:
    headers = [(b"origin", b"https://page.example")]
    assert (b"origin", b"https://page.example") in for_upstream(headers)
    assert for_upstream(headers, drop_origin=True) == [(b"accept-encoding", b"identity")]


betas = st.lists(st.sampled_from([b"a-2025", b"b-2026", OAUTH_BETA, b""]), max_size=4).map(b", ".join)


@given(st.lists(betas, max_size=3))
def test_betas_are_merged_and_never_lost(lines: list[bytes]) -> None:
    headers = [(b"anthropic-beta", line) for line in lines]
    merged = [value for name, value in merge_beta(headers, OAUTH_BETA) if name == b"anthropic-beta"]
    asked = [beta.strip() for line in lines for beta in line.split(b",") if beta.strip()]
    got = [beta.strip() for line in merged for beta in line.split(b",") if beta.strip()]
    assert got == (asked if OAUTH_BETA in asked else [*asked, OAUTH_BETA])
    assert merge_beta(merge_beta(headers, OAUTH_BETA), OAUTH_BETA) == merge_beta(headers, OAUTH_BETA)


def test_a_bearer_comes_with_its_beta() -> None:
    assert with_bearer([(b"a", b"1")], "token") == [
        (b"a", b"1"),
        (b"anthropic-beta", OAUTH_BETA),
        (b"authorization", b"Bearer token"),
    ]
