"""Where a request may go whose address somebody has configured: to the public internet, and nowhere inside.

A name is resolved first, what it leads to is checked, and the connection is made to the very address that was checked:
a name that leads elsewhere a moment later (DNS rebinding) gains nothing.
"""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

_TRANSLATED: Final = IPv6Network("64:ff9b::/96")
"""Addresses of IPv6 that lead to those of IPv4 in their last 32 bits (RFC 6052)."""
_INSIDE: Final = (IPv4Network("168.63.129.16/32"), IPv4Network("192.0.0.0/24"))
"""Public by their number to some versions of Python, but inside a cloud: where Azure and Oracle tell of a machine."""


class Refused(Exception):
    """The name leads to an address that is not public."""


def resolved(host: str, port: int, *, allow_private: bool = False) -> str:
    """The address of a host, to connect to. Raises OSError where it has none, and Refused.

    A host of which only one address is not public is refused as a whole.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [str(place[0]) for *_, place in found]
    if not allow_private and not all(map(public, addresses)):
        raise Refused
    return addresses[0]


def public(address: str) -> bool:
    """Whether an address is one of the public internet, whichever way it is written.

    >>> public("93.184.216.34"), public("169.254.169.254"), public("::ffff:127.0.0.1")
    (True, False, False)
    """
    ip = ip_address(address.partition("%")[0])
    inner = _inner(ip) if isinstance(ip, IPv6Address) else None
    if inner is not None:
        return public(str(inner))
    return ip.is_global and not ip.is_multicast and not ip.is_reserved and not any(ip in net for net in _INSIDE)


def _inner(ip: IPv6Address) -> IPv4Address | None:
    """The address of IPv4 to which one of IPv6 leads."""
    if ip in _TRANSLATED:
        return IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
