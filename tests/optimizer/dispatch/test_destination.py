from __future__ import annotations

import socket
from typing import Any

import pytest

from optimizer.dispatch.destination import Refused, public, resolved


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.100.100.200", "0.0.0.1",
        "192.0.0.192", "168.63.129.16", "224.0.0.1", "239.255.255.250", "255.255.255.255", "240.0.0.1",
        "::1", "::", "fe80::1", "fe80::1%eth0", "fd00:ec2::254", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
        "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2001:db8::1",
    ],
)  # fmt: skip
def test_what_is_inside_is_not_public(address: str) -> None:
    assert not public(address)


@pytest.mark.parametrize("address", ["93.184.216.34", "1.1.1.1", "2606:4700::1111", "::ffff:1.1.1.1"])
def test_what_is_outside_is_public(address: str) -> None:
    assert public(address)


def test_a_name_of_which_one_address_is_inside_is_refused_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    def both(*_args: Any, **_kwargs: Any) -> list[Any]:  # noqa: ANN401 -- as the library has it
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, 443)) for ip in ("1.1.1.1", "127.0.0.1")]

    monkeypatch.setattr(socket, "getaddrinfo", both)
    with pytest.raises(Refused):
        resolved("two.example", 443)
    assert resolved("two.example", 443, allow_private=True) == "1.1.1.1"
