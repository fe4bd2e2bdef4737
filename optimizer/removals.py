"""How many arms each reason has removed, by campaign and day, from the decision log alone."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from optimizer.clock import from_us, to_us
from optimizer.history import DAY_US
from optimizer.reasons import Reason
from optimizer.store.partitions import bound
from optimizer.store.removals import removed_page

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from optimizer.runtime import Runtime
    from optimizer.store.removals import RemovedRow

PAGE: Final = 20_000
"""How many decisions are in memory at once."""

USUAL: Final = timedelta(days=30)
"""How far back is looked where nobody says since when."""

_CODES: Final = 256
_AHEAD_US: Final = 60_000_000
"""How far the time in a decision's id may be ahead of the decision."""


class Removals(NamedTuple):
    """What one reason removed on one day of UTC: how many arms, of how many decisions."""

    day: date
    reason: Reason
    arms: int
    decisions: int


def removals(
    runtime: Runtime, campaign_id: str, since: datetime | None = None, until: datetime | None = None
) -> list[Removals]:
    """What was removed from decisions made in [since, until), by day and then reason, the most arms first.

    By default until now, and since `USUAL` before that.
    """
    until_us = runtime.now_us() + 1 if until is None else to_us(until)
    since_us = max(until_us - USUAL // timedelta(microseconds=1) if since is None else to_us(since), 0)
    arms, touched = Counter[tuple[int, int]](), Counter[tuple[int, int]]()
    after_id, before_id = bound(since_us), bound(max(until_us, 0) + _AHEAD_US)
    while True:
        page = runtime.store.read(
            lambda c: removed_page(
                c,
                runtime.tenant,
                campaign_id,
                after_id=after_id,  # noqa: B023 - it is run here
                before_id=before_id,
                limit=PAGE,
            )
        )
        _count([row for row in page if since_us <= row.decided_us < until_us], arms, touched)
        if len(page) < PAGE:
            break
        after_id = page[-1].decision_id
    found = [
        Removals(from_us(day * DAY_US).astimezone(UTC).date(), Reason.from_code(code), n, touched[day, code])
        for (day, code), n in arms.items()
    ]
    return sorted(found, key=lambda each: (each.day, -each.arms, each.reason))


def _count(rows: Sequence[RemovedRow], arms: Counter[tuple[int, int]], touched: Counter[tuple[int, int]]) -> None:
    """Add what was removed in these decisions, by day since the epoch and code."""
    if not rows:
        return
    days = np.array([row.decided_us for row in rows], np.int64) // DAY_US
    codes = np.frombuffer(b"".join([row.removed for row in rows]), np.uint8).astype(np.int64)
    owner = np.repeat(np.arange(len(rows)), [len(row.removed) for row in rows])
    _add(arms, days[owner] * _CODES + codes)
    each = np.unique(owner * _CODES + codes)
    _add(touched, days[each // _CODES] * _CODES + each % _CODES)


def _add(to: Counter[tuple[int, int]], keys: np.ndarray[tuple[int], np.dtype[np.int64]]) -> None:
    found, counts = np.unique(keys, return_counts=True)
    for key, n in zip(found.tolist(), counts.tolist(), strict=True):
        to[divmod(key, _CODES)] += n
