"""Whose word about a request counts."""

from ipaddress import ip_network

import pytest
from django.core.exceptions import ImproperlyConfigured

from nexus import env
from nexus.peers import Peers

HEADERS = [(b"x-nexus-request-id", b"lb-1")]
TRUSTED = Peers([ip_network("10.0.0.0/8"), ip_network("fd00::/8")])


@pytest.mark.parametrize("address", ["10.1.2.3", "::ffff:10.1.2.3", "fd00::1"])
def test_a_peer_within_is_believed(address: str) -> None:
    assert TRUSTED.correlation_id(address, HEADERS) == "lb-1"


@pytest.mark.parametrize(
    "address", ["11.1.2.3", "::ffff:11.1.2.3", "fe80::1", "", "unix:", "10.1.2.3.4", "lb.example.com"]
)
def test_nobody_else_is(address: str) -> None:
    assert TRUSTED.correlation_id(address, HEADERS) == ""
    assert Peers([]).correlation_id("10.1.2.3", HEADERS) == ""


@pytest.mark.parametrize("value", [b"", b"a b", b"a\nb", b"x" * 101, b'a"b', b"\xff", "é".encode(), b"a/b"])
def test_an_odd_word_is_no_id(value: bytes) -> None:
    assert TRUSTED.correlation_id("10.1.2.3", [(b"x-nexus-request-id", value)]) == ""


@pytest.mark.parametrize("value", ["10.0.0.0/33", "10.0.0.1/8", "example.com", "10.0.0.0/8;11.0.0.0/8"])
def test_a_bad_network_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setattr(env, "VARIABLES", {})
    monkeypatch.setenv("TRUSTED_PEERS", value)
    with pytest.raises(ImproperlyConfigured, match=r"TRUSTED_PEERS=.*use networks such as"):
        env.networks("TRUSTED_PEERS", help="")


def test_several_networks_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(env, "VARIABLES", {})
    monkeypatch.setenv("TRUSTED_PEERS", "10.0.0.0/8, fd00::/8,192.0.2.7")
    assert [str(network) for network in env.networks("TRUSTED_PEERS", help="")] == [
        "10.0.0.0/8",
        "fd00::/8",
        "192.0.2.7/32",
    ]
