"""When a touch is tried again whose sending failed for a cause that may pass."""

from __future__ import annotations

from datetime import timedelta
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from optimizer.contact.policy import Retries

LONGEST: Final = timedelta(days=1)
"""The time between two attempts grows no further."""

_US: Final = timedelta(microseconds=1)


def retry_us(retries: Retries, decision_id: str, attempts: int, now_us: int) -> int | None:
    """When a touch is tried again after that many attempts; None where it is given up.

    Exponential with full jitter: the k-th retry comes after u x min(first x 2^(k-1), `LONGEST`), with u uniform in
    [0, 1) and the same whenever it is asked, so that what failed together does not come back together.
    """
    if attempts > retries.max:
        return None
    longest_us: int = min(retries.first // _US * 2 ** (attempts - 1), LONGEST // _US)
    drawn = blake2b(f"{decision_id}/{attempts}".encode(), digest_size=8).digest()
    return now_us + longest_us * int.from_bytes(drawn) // 2**64
