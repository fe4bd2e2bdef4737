"""When the arms of many customers would be sent, as arrays."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence
    from zoneinfo import ZoneInfo

    from numpy.typing import NDArray

    from optimizer.catalog import Schedule
    from optimizer.contact.periods import Period


@dataclass(frozen=True, slots=True)
class SendTimes:
    """The times of sending of n customers who share m distinct schedules, J times each.

    Attributes:
        at_us: (m, J) int64, UTC microseconds.
        now_us: (m,) int64, the instant of deciding.
        schedule_of: (n,) which of the schedules each customer has.
        zones: the zone of each schedule.
    """

    at_us: NDArray[np.int64]
    now_us: NDArray[np.int64]
    schedule_of: NDArray[np.intp]
    zones: Sequence[ZoneInfo | None]

    @classmethod
    def of(cls, schedules: Sequence[Schedule], schedule_of: NDArray[np.intp]) -> SendTimes:
        """One time for each of the catalog's cells."""
        return cls(
            np.array([schedule.send_us for schedule in schedules], np.int64),
            np.array([schedule.now_us for schedule in schedules], np.int64),
            schedule_of,
            [schedule.zone for schedule in schedules],
        )

    @classmethod
    def now(cls, schedules: Sequence[Schedule], schedule_of: NDArray[np.intp]) -> SendTimes:
        """One time only: the instant of the schedules."""
        now_us = np.array([schedule.now_us for schedule in schedules], np.int64)
        return cls(now_us[:, None], now_us, schedule_of, [schedule.zone for schedule in schedules])

    def bounds_us(self, period: Period) -> NDArray[np.int64]:
        """(2, m, J) where the day, week or month of each time begins, and the next one."""
        rows = [_bounds_us(period, zone, tuple(at)) for zone, at in zip(self.zones, self.at_us.tolist(), strict=True)]
        return np.stack(rows, axis=1)


@lru_cache(maxsize=1 << 12)
def _bounds_us(period: Period, zone: ZoneInfo | None, at_us: tuple[int, ...]) -> NDArray[np.int64]:
    """(2, J) bounds of the periods of these instants."""
    return np.array([period.bounds_us(each, zone) for each in at_us], np.int64).reshape(-1, 2).T
