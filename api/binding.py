"""Where a service may answer: on its own machine alone, until a key was made."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING

import structlog

from optimizer.errors import InvalidInput
from optimizer.keys import KeyRing

if TYPE_CHECKING:
    from optimizer.runtime import Runtime

ADVICE = "make a key: optimizer keys create --scope admin"

_log = structlog.get_logger(__name__)


def check_binding(runtime: Runtime, host: str) -> None:
    """Log a warning where requests need no key. Raises InvalidInput where others than this machine could send them."""
    if KeyRing.read(runtime).locked:
        return
    if not is_loopback(host):
        raise InvalidInput(
            f"no key was made yet, so whoever reaches {host} could do everything: {ADVICE}; or answer on this machine "
            "alone: --host 127.0.0.1"
        )
    _log.warning("no_keys", host=host, consequence="only this machine is answered, and needs no key", advice=ADVICE)


def is_loopback(host: str) -> bool:
    """Whether an address is reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
