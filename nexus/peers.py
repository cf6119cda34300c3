"""Whose word about a request counts: peers within networks that the operator names."""

import functools
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address

from proxy.headers import Headers, text
from telemetry import requestid

Network = IPv4Network | IPv6Network
_HEADER = requestid.HEADER.encode()


class Peers:
    def __init__(self, networks: Sequence[Network]) -> None:
        self._networks = networks
        self._is_trusted = functools.lru_cache(maxsize=1024)(self._is_within)

    def correlation_id(self, address: str, headers: Headers) -> str:
        """What a trusted peer calls its request, if it says; the address is that of the connection."""
        if not self._networks or not self._is_trusted(address):
            return ""
        return requestid.acceptable(text(headers, _HEADER))

    def _is_within(self, address: str) -> bool:
        try:
            peer = ip_address(address)
        except ValueError:
            return False
        mapped = getattr(peer, "ipv4_mapped", None)
        return any((mapped or peer) in network for network in self._networks)
