import pytest
from django.core.exceptions import ValidationError

from accounts import hosts


@pytest.mark.parametrize(
    ("header", "normal"),
    [
        ("claude.example.com", "claude.example.com"),
        ("Claude.Example.COM:8443", "claude.example.com"),
        ("claude.example.com.", "claude.example.com"),
        ("claude.example.com.:80", "claude.example.com"),
        (" localhost ", "localhost"),
        ("[::1]:8000", "[::1]"),
        ("[2001:DB8::1]", "[2001:db8::1]"),
        ("127.0.0.1:8000", "127.0.0.1"),
        ("", ""),
        (":8000", ""),
        ("[::1", ""),
    ],
)
def test_port_case_and_final_dot_do_not_matter(header: str, normal: str) -> None:
    assert hosts.normalise(header) == normal


@pytest.mark.parametrize(
    "host",
    ["localhost", "claude.example.com", "xn--bcher-kva.example", "my_team.internal", "127.0.0.1", "[::1]", "a" * 63],
)
def test_it_takes_a_host_name(host: str) -> None:
    hosts.validate(host)


@pytest.mark.parametrize(
    "host",
    [
        "",
        ".",
        "example.com.",
        "EXAMPLE.com",
        "example.com:8000",
        "https://example.com",
        "example.com/path",
        "exa mple.com",
        " example.com",
        "example.com\n",
        "-example.com",
        "example-.com",
        "example..com",
        "*.example.com",
        "bücher.example",
        "user@example.com",
        "a" * 64,
        ".".join(["a" * 60] * 5),
        "::1",
        "[::1",
        "[::1]:8000",
        "[hello]",
    ],
)
def test_it_refuses_what_is_no_host_name(host: str) -> None:
    with pytest.raises(ValidationError):
        hosts.validate(host)
