"""A channel's rate and its capacity of a day, shared by all workers: how many touches may go out now.

The rate is a bucket of tokens that holds what comes in a second, and one at least; a touch takes one out. A day is one
of UTC. Pure: what is used is a row that the caller holds.
"""

from __future__ import annotations

from datetime import timedelta
from math import ceil, floor
from typing import TYPE_CHECKING, Final

from optimizer.clock import from_us, to_us
from optimizer.store.capacity import UsageRow

if TYPE_CHECKING:
    from optimizer.dispatch.routes import Route

_SECOND_US: Final = 1_000_000


def is_limited(route: Route) -> bool:
    """Whether a route has a rate or a capacity at all."""
    return route.rate is not None or route.daily_capacity is not None


def unused(tenant: str, channel: str, route: Route, now_us: int) -> UsageRow:
    """The use of a channel of which nothing is used."""
    return UsageRow(tenant, channel, _bucket(route), now_us, _day(now_us), 0)


def brought_to(row: UsageRow, route: Route, now_us: int) -> UsageRow:
    """The same use at a later instant: tokens have come in, and perhaps a new day."""
    passed_us = max(now_us - row.at_us, 0)
    tokens = min(row.tokens + passed_us / _SECOND_US * (route.rate or 0.0), _bucket(route))
    day = max(_day(now_us), row.day)
    return row._replace(tokens=tokens, at_us=row.at_us + passed_us, day=day, sent=row.sent if day == row.day else 0)


def room(row: UsageRow, route: Route, wanted: int) -> int:
    """How many of so many touches may go out, by a use that was brought to now."""
    if route.rate is not None:
        wanted = min(wanted, floor(row.tokens + 1e-9))
    if route.daily_capacity is not None:
        wanted = min(wanted, route.daily_capacity - row.sent)
    return max(wanted, 0)


def used(row: UsageRow, route: Route, n: int) -> UsageRow:
    """The use after n more touches."""
    return row._replace(tokens=row.tokens - n if route.rate is not None else row.tokens, sent=row.sent + n)


def given_back(row: UsageRow, route: Route, n: int, taken_us: int) -> UsageRow:
    """The use after n touches that were taken at an instant were not sent; those of another day count no longer."""
    tokens = min(row.tokens + n, _bucket(route)) if route.rate is not None else row.tokens
    return row._replace(tokens=tokens, sent=max(row.sent - n, 0) if row.day == _day(taken_us) else row.sent)


def free_us(row: UsageRow, route: Route) -> int:
    """From which instant on a touch may go out, if no other one does before; that of the use itself: at once."""
    free = row.at_us
    if route.daily_capacity is not None and row.sent >= route.daily_capacity:
        midnight = from_us(row.at_us).replace(hour=0, minute=0, second=0, microsecond=0)
        free = to_us(midnight + timedelta(days=1))
    if route.rate is not None and row.tokens < 1:
        free = max(free, row.at_us + ceil((1 - row.tokens) / route.rate * _SECOND_US))
    return free


def _bucket(route: Route) -> float:
    return max(route.rate or 0.0, 1.0)


def _day(at_us: int) -> str:
    return from_us(at_us).date().isoformat()
