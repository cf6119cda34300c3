import re

import pytest
from django.core.exceptions import ValidationError
from hypothesis import example, given
from hypothesis import strategies as st

from accounts.secret import digest, masked, new_client_key, validate_upstream_secret, without_secrets

WORD = st.text(st.characters(codec="ascii", min_codepoint=0x21, max_codepoint=0x7E), min_size=1)


def test_a_client_key_is_32_new_random_bytes() -> None:
    assert re.fullmatch(r"nxs_live_[A-Za-z0-9_-]{43}", new_client_key())
    assert new_client_key() != new_client_key()


def test_the_digest_depends_on_the_pepper() -> None:
    assert digest("secret", "salt") != digest("secret", "pepper")
    assert digest("secret", "salt") == digest("secret", "salt")


@pytest.mark.parametrize(
    ("secret", "shown"),
    [
        ("sk-ant-api03-0123456789abcdef", "sk-ant-api03-…cdef"),
        ("sk-ant-oat01-0123456789abcdef", "sk-ant-oat01-…cdef"),
        ("nxs_live_0123456789abcdef", "nxs_live_…cdef"),
        ("some-other-token-0123456789", "…6789"),
        ("sk-ant-short", "…"),
        ("", "…"),
    ],
)
def test_kind_and_last_four_characters_are_shown(secret: str, shown: str) -> None:
    assert masked(secret) == shown


@given(st.one_of(WORD, WORD.map("sk-ant-".__add__)))
@example("sk-ant-secretsecretsecret-")
@example("sk-ant-admin01-x")
def test_a_mask_hides_most_of_a_secret_and_fits_its_column(secret: str) -> None:
    shown = masked(secret)
    assert len(shown) <= 40
    assert len(shown) - len("sk-ant-admin01-…") <= 4
    assert len(secret) - len(shown) >= 8 or shown == "…"


@pytest.mark.parametrize("secret", ["sk-ant-api03-" + "a" * 90, "sk-ant-oat01-" + "b" * 90, "any.other+token/of=16"])
def test_it_takes_one_printable_word(secret: str) -> None:
    validate_upstream_secret(secret)


@pytest.mark.parametrize(
    ("secret", "words"),
    [
        ("sk-ant-api03-aaaa aaaaaaaaa", "space"),
        (" sk-ant-api03-aaaaaaaaaaaa", "space"),
        ("sk-ant-api03-aaaaaaaaaaaa\n", "line break"),
        ("sk-ant-api03-aaaa\r\nx-evil: 1", "line break"),
        ("sk-ant-api03-aaaa\taaaaaaaaa", "another character"),
        ("sk-ant-api03-äöüäöüäöüäöü", "another character"),
        ("sk-ant-api03-aaaaaaaa…aaaa", "another character"),
        ("sk-ant-api03-aaaa\0aaaaaaaa", "another character"),
        ("", "one word"),
        ("too-short", "too short"),
        ("nxs_live_" + "a" * 43, "client key of Nexus"),
    ],
)
def test_it_says_what_is_wrong_with_a_secret(secret: str, words: str) -> None:
    with pytest.raises(ValidationError, match=words) as raised:
        validate_upstream_secret(secret)
    assert not secret or secret not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("sk-ant-api03-fake and nxs_live_fake", "sk-ant-… and nxs_live_…"),
        ("authorization: bearer fake-token-0001", "authorization: bearer …"),
        ("https://hooks.slack.com/services/T0/B0/fake", "https://hooks.slack.com/…"),
        ("gAAAAABfakefakefake==", "gAAAAA…"),
        ("postgres://me:fake-p@ss@db/nexus", "postgres://me:…@db/nexus"),
        ("redis://:fake@db/0 and rediss://db/0", "redis://:…@db/0 and rediss://db/0"),
        ("eyJhbGciOiJub25lIn0.eyJzdWIiOiJmYWtlIn0.fake", "eyJ…"),
        ("Cookie: sessionid=fakefake; csrftoken=fake", "Cookie: …"),
        ("[(b'x-api-key', b'fake-of-some-kind')]", "[(b'x-api-key', b'…')]"),
        (r"{\"password\": \"fake-fake\"}", r"{\"password\": \"…\"}"),
        ("CLAUDE_API_KEY=fake-of-some-kind PORT=80", "CLAUDE_API_KEY=… PORT=80"),
    ],
)
def test_a_secret_is_cut_after_its_kind(text: str, left: str) -> None:
    assert without_secrets(text) == left


@pytest.mark.parametrize(
    "text",
    [
        '{"input_tokens":123456789,"cache_read_tokens":123456789,"client_key":"first key","session_id":"abc-def-0123"}',
        "count_tokens: 1234567890, max_tokens=1234567890, token_stats: 1234567890",
        "the password is too short; keep the secret safe",
        "http://127.0.0.1:8000/v1/messages and user@example.com",
    ],
)
def test_nothing_else_is(text: str) -> None:
    assert without_secrets(text) == text


@given(st.text(), st.integers(0, 2000))
def test_no_text_takes_long(text: str, times: int) -> None:
    """Nothing of a line's length squared: a client chooses the name of its model."""
    without_secrets((text + "://a:") * times + " Bearer secret: ")
