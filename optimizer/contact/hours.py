"""The hours in which somebody may be contacted: all time but for blackouts, quiet hours, and what no send window opens.

They are hours of recipients: which instants they are follows from the time zone, for public holidays also from a
country. Channels that keep the same rules are a **class**. What a class has left around a local date is worked out once
and kept; a decision only looks it up.

An instant belongs to quiet hours or a holiday whenever the recipient's clocks show one of their times, and never lies
in a send window while they show another (see `local_time` for days on which clocks change).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, time, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import holidays

from optimizer.clock import to_us
from optimizer.contact.local_time import earliest, latest
from optimizer.contact.policy import ContactPolicy
from optimizer.contact.stretches import ALWAYS, NEVER, Stretches
from optimizer.reasons import ALLOWED, Reason

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from zoneinfo import ZoneInfo

    from optimizer.contact.policy import Blackout, QuietHours, SendWindow

_DAY: Final = timedelta(days=1)
_MIDNIGHT: Final = time(0)
_KEPT_DAYS: Final = 1 << 12
"""For how many (zone, region, date) hours are kept: those of every zone on some days."""
_COUNTRIES: Final = frozenset(holidays.list_supported_countries(include_aliases=False))

Region: TypeAlias = tuple[str | None, ...]
"""The countries whose holidays a customer keeps, by the attributes that name them; None: not known."""


class Opening(NamedTuple):
    """When a touch would go out in a window of time, and until when it still may.

    Attributes:
        code: that of the reason for which it cannot, 0 where it can.
        send_us, end_us: the first instant left, and where the last ends, UTC microseconds; of no meaning where it
            cannot.
    """

    code: int
    send_us: int
    end_us: int


@dataclass(frozen=True, slots=True)
class Hours:
    """What is left of time around some day for one class of channels.

    Attributes:
        lit: outside of blackouts.
        open: of that what send windows and the quiet hours that only defer leave.
        dropping: the quiet hours in which a touch is given up rather than put off.
    """

    lit: Stretches = ALWAYS
    open: Stretches = ALWAYS
    dropping: Stretches = NEVER

    def opening(self, from_us: int, until_us: int) -> Opening:
        """When a touch with the window `[from_us, until_us)`, which is not empty, would go out."""
        at_us = self.open.first(from_us, until_us)
        if at_us is None:
            dark = self.lit.first(from_us, until_us) is None
            return Opening((Reason.BLACKOUT if dark else Reason.QUIET_HOURS).code, from_us, until_us)
        if self.dropping.starts:
            if at_us in self.dropping:
                return Opening(Reason.QUIET_HOURS.code, from_us, until_us)
            dropped_us = self.dropping.first(at_us, until_us)
            until_us = until_us if dropped_us is None else dropped_us
        return Opening(ALLOWED, at_us, self.open.last_end(until_us))

    def now(self, now_us: int, until_us: int) -> Opening:
        """Whether a touch may go out at this very instant: if not why, and the next instant before `until_us`, or 0."""
        opening = self.opening(now_us, until_us)
        next_us = opening.send_us if opening.code == ALLOWED else 0
        if next_us == now_us:
            return opening
        reason = Reason.QUIET_HOURS if now_us in self.lit else Reason.BLACKOUT
        return Opening(reason.code, next_us, opening.end_us)


class _Kept(NamedTuple):
    """The rules that a class of channels keeps."""

    blackouts: tuple[Blackout, ...]
    quiet: tuple[QuietHours, ...]
    windows: tuple[SendWindow, ...]

    @classmethod
    def of(cls, policy: ContactPolicy, channel: str | None) -> _Kept:
        """Those of a channel; None: of arms without channels."""

        def concerns(rule: Blackout | QuietHours | SendWindow) -> bool:
            return rule.channels is None or channel in rule.channels

        return cls(
            tuple(filter(concerns, policy.blackouts)),
            tuple(filter(concerns, policy.quiet_hours)),
            tuple(filter(concerns, policy.send_windows)),
        )

    @property
    def local(self) -> bool:
        """Whether one of them is read on the recipient's clock, not at instants that are the same for everybody."""
        dated = any(rule.start is None or rule.start.tzinfo is None for rule in self.blackouts)
        return dated or bool(self.quiet or self.windows)


class HourRules:
    """The rules of a contact policy about hours, for the channels of a catalog.

    Args:
        policy: the policy.
        channels: the ids of the channels; none for a catalog without channels.
        days: how many days after a local date hours are asked for.

    Attributes:
        class_of: the class of each channel; one entry where there are no channels.
        local: of each class, whether the recipient's time zone must be known.
        countries: the attributes that name countries whose holidays count.
        nowhere: the region of customers of whom no country is known.
    """

    def __init__(self, policy: ContactPolicy | None, channels: Sequence[str], days: int) -> None:
        policy = policy or ContactPolicy()
        self._days = days
        kept = [_Kept.of(policy, channel) for channel in channels or (None,)]
        self._classes = tuple(dict.fromkeys(kept))
        self.class_of = tuple(self._classes.index(each) for each in kept)
        self.local = tuple(each.local for each in self._classes)
        named = (blackout.country_attr for blackout in policy.blackouts)
        self.countries: tuple[str, ...] = tuple(dict.fromkeys(name for name in named if name is not None))
        self.nowhere: Region = (None,) * len(self.countries)
        self.around = lru_cache(maxsize=_KEPT_DAYS)(self._around)

    def region(self, attributes: Mapping[str, Any]) -> Region:
        """Whose holidays a customer with these attributes keeps; a country that is not known has none."""
        named = (attributes.get(name) for name in self.countries)
        return tuple(name if name in _COUNTRIES else None for name in named)

    def _around(self, zone: ZoneInfo | None, region: Region, today: date) -> tuple[Hours, ...]:
        """The hours of each class, right from a local date on until the last day asked for.

        `self.around` is the same and keeps what it has worked out. Without a zone only rules about instants count.
        """
        return tuple(self._hours(kept, zone, region, today) for kept in self._classes)

    def _hours(self, kept: _Kept, zone: ZoneInfo | None, region: Region, today: date) -> Hours:
        days = [today + ahead * _DAY for ahead in range(-1, self._days + 1)]
        dark = Stretches.of(s for rule in kept.blackouts for s in self._blackout(rule, zone, region, days))
        lit = dark.complement()
        if zone is None:
            return Hours(lit, lit)
        quiet = {
            action: Stretches.of(s for rule in kept.quiet if rule.action == action for s in _closed(rule, zone, days))
            for action in ("defer", "drop")
        }
        left = lit.minus(quiet["defer"])
        if kept.windows:
            left = left.minus(Stretches.of(s for rule in kept.windows for s in _open(rule, zone, days)).complement())
        return Hours(lit, left, quiet["drop"])

    def _blackout(
        self, rule: Blackout, zone: ZoneInfo | None, region: Region, days: Sequence[date]
    ) -> Iterator[tuple[int, int]]:
        if rule.start is not None and rule.until is not None:
            if rule.start.tzinfo is not None:
                yield to_us(rule.start), to_us(rule.until)
            elif zone is not None:
                start, until = rule.start, rule.until
                yield earliest(start.date(), start.time(), zone), latest(until.date(), until.time(), zone)
            return
        country = rule.country or region[self.countries.index(rule.country_attr or "")]
        if country is not None and zone is not None:
            for day in days:
                if day in _public_holidays(country, rule.subdivision, day.year):
                    yield earliest(day, _MIDNIGHT, zone), latest(day + _DAY, _MIDNIGHT, zone)


def _closed(rule: QuietHours, zone: ZoneInfo, days: Sequence[date]) -> Iterator[tuple[int, int]]:
    """Quiet hours, a stretch for each day on which they begin."""
    for day in days:
        if day.weekday() in {weekday.number for weekday in rule.days}:
            last = day if rule.start < rule.end else day + _DAY
            yield earliest(day, rule.start, zone), latest(last, rule.end, zone)


def _open(rule: SendWindow, zone: ZoneInfo, days: Sequence[date]) -> Iterator[tuple[int, int]]:
    """Send windows, a stretch for each day on which they begin."""
    for day in days:
        if day.weekday() in {weekday.number for weekday in rule.days}:
            last = day if rule.start < rule.end else day + _DAY
            yield latest(day, rule.start, zone), earliest(last, rule.end, zone)


@lru_cache(maxsize=1024)
def _public_holidays(country: str, subdivision: str | None, year: int) -> frozenset[date]:
    return frozenset(holidays.country_holidays(country, subdiv=subdivision, years=year))
