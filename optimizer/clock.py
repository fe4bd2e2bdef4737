"""Time as an argument: one clock for the service, one that is moved by hand, and the two forms of an instant.

At the edges an instant is an aware UTC `datetime`; in the store and in arrays it is an int64 count of microseconds
since the epoch, in names that end in `_us`.
"""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


class Clock(Protocol):
    """Tells the time. It never goes backwards, and may be asked from any thread."""

    def now(self) -> datetime:
        """The current instant, aware and in UTC."""
        ...


def to_us(instant: datetime) -> int:
    """Microseconds since the epoch, exactly. Raises `ValueError` for a naive `datetime`."""
    if instant.tzinfo is None:
        raise ValueError(f"{instant.isoformat()} has no timezone; instants are aware")
    return (instant - _EPOCH) // _MICROSECOND


def from_us(instant_us: int) -> datetime:
    """The instant so many microseconds after the epoch, in UTC."""
    return _EPOCH + timedelta(microseconds=int(instant_us))


def now_us(clock: Clock) -> int:
    """The clock's time in microseconds since the epoch."""
    return to_us(clock.now())


class SystemClock:
    """The machine's clock; where it is set back, time stands still until it has caught up.

    `not_before` is a time that is known to have been: of a process that starts while the clock is behind.
    """

    def __init__(self, not_before: datetime = _EPOCH) -> None:
        self._lock = threading.Lock()
        self._latest = not_before

    def now(self) -> datetime:
        """The machine's time, or the latest time told so far if that is later."""
        with self._lock:
            self._latest = max(self._latest, datetime.now(UTC))
            return self._latest


class VirtualClock:
    """A clock that moves only when it is told to."""

    def __init__(self, start: datetime) -> None:
        self._now = from_us(to_us(start))

    def now(self) -> datetime:
        """The instant it was last moved to."""
        return self._now

    def advance_to(self, instant: datetime) -> None:
        """Move on to `instant`; an earlier one leaves the clock where it is."""
        self._now = max(self._now, from_us(to_us(instant)))
