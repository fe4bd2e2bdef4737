"""Contact limits counted again from the tables alone, by their definition and by nothing of the code that keeps them.

Of what is counted at a decision only what its transaction must have seen enters, so that a limit that is found broken
is broken whoever's clock was read first: see `Recount`.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sqlalchemy import Connection

ENDED: Final = frozenset({"cancelled", "expired", "failed"})
_GONE: Final = {"decided": frozenset[str](), "sent": ENDED, "delivered": ENDED | {"bounced"}}
SECOND_US: Final = 1_000_000


class Move(NamedTuple):
    """A state that a touch came into."""

    at_us: int
    state: str
    due_us: int | None


class Planned(NamedTuple):
    """A touch as the log has it: when and for when it was decided, and what became of it."""

    decision_id: str
    subject_id: str
    campaign: str
    channel: str | None
    message: str
    decided_us: int
    send_us: int
    moves: Sequence[Move]

    @property
    def state(self) -> str:
        """As it stands now."""
        return self.moves[-1].state

    def gone_by(self, at_us: int, counts: str) -> bool:
        """Whether it had stopped to count by then, by the clock of whoever ended it."""
        return any(move.state in _GONE[counts] and move.at_us <= at_us for move in self.moves)

    def time_at(self, at_us: int) -> int:
        """When it was sent, or was to be, as far as that could be known by then."""
        times = [move.at_us if move.state == "sent" else move.due_us for move in self.moves if move.at_us <= at_us]
        return next((each for each in reversed(times) if each is not None), self.send_us)


class Limit(NamedTuple):
    """At most `most` touches in a window: a rolling one of `rolling_s`, or a calendar day of the zone.

    `alike` says whether another touch counts beside a touch; `of` which touches it limits.
    """

    most: int
    alike: Callable[[Planned, Planned], bool]
    counts: str = "sent"
    rolling_s: float | None = None
    zone: str | None = None
    """Of the calendar days; empty: the recipient's."""
    of: Callable[[Planned], bool] = lambda _: True


def anything(_one: Planned, _other: Planned) -> bool:
    """All campaigns together."""
    return True


def of_campaign(one: Planned, other: Planned) -> bool:
    """Each campaign by itself."""
    return one.campaign == other.campaign


def of_channel(one: Planned, other: Planned) -> bool:
    """Each channel by itself."""
    return one.channel == other.channel


def of_message(one: Planned, other: Planned) -> bool:
    """Each message of a campaign by itself."""
    return (one.campaign, one.message) == (other.campaign, other.message)


def planned_touches(connection: Connection) -> list[Planned]:
    """Every touch of the service's own, in the order in which they were decided."""
    moves: dict[str, list[Move]] = {}
    for row in connection.exec_driver_sql(
        "select decision_id, at_us, state, due_us from touch_transitions order by decision_id, seq"
    ):
        moves.setdefault(row[0], []).append(Move(row[1], row[2], row[3]))
    found = connection.exec_driver_sql(
        "select t.decision_id, t.subject_id, t.campaign_id, t.channel, t.message, d.decided_us, d.send_us "
        "from touches t join decisions d on d.tenant = t.tenant and d.decision_id = t.decision_id "
        "order by d.decided_us, d.decision_id"
    )
    return [Planned._make((*row, moves[row[0]])) for row in found]


def most_in_a_window(at_us: int, others: Sequence[int], length_us: int) -> int:
    """The most of all touches, this one with them, in a half-open window of this length that holds it."""
    near = [each for each in others if abs(each - at_us) < length_us]
    starts = [each for each in (*near, at_us) if each <= at_us]
    return 1 + max(sum(start <= each < start + length_us for each in near) for start in starts)


def day_of(at_us: int, zone: str) -> date:
    """The calendar day of an instant."""
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at_us)).astimezone(ZoneInfo(zone)).date()


class Recount:
    """Which decisions broke a limit of their campaign.

    A decision counts what was decided for its customer before it: whoever held the customer before has committed. What
    was ended, sent or put off by then may have been committed after it: a touch counts at both of its times or not at
    all, so that the count is never too high.

    Args:
        touches: see `planned_touches`.
        zones: the time zone of each subject.
    """

    def __init__(self, touches: Sequence[Planned], zones: Mapping[str, str]) -> None:
        self._zones = zones
        self._mine: dict[str, list[Planned]] = {}
        for touch in touches:
            self._mine.setdefault(touch.subject_id, []).append(touch)

    def broken(self, limits: Mapping[str, Sequence[Limit]]) -> list[tuple[Planned, Limit, int]]:
        """Each touch that was planned although a limit of its campaign was reached, with how many there were then."""
        found = []
        for mine in self._mine.values():
            for place, touch in enumerate(mine):
                for limit in limits.get(touch.campaign, ()):
                    if limit.of(touch):
                        n = self._counted(touch, mine[:place], limit)
                        if n > limit.most:
                            found.append((touch, limit, n))
        return found

    def _counted(self, touch: Planned, before: Sequence[Planned], limit: Limit) -> int:
        at_us = touch.decided_us
        standing = [other for other in before if limit.alike(touch, other) and not other.gone_by(at_us, limit.counts)]
        return min(
            self._in_window(touch, [other.send_us for other in standing], limit),
            self._in_window(touch, [other.time_at(at_us) for other in standing], limit),
        )

    def _in_window(self, touch: Planned, others: Sequence[int], limit: Limit) -> int:
        if limit.rolling_s is not None:
            return most_in_a_window(touch.send_us, others, round(limit.rolling_s * SECOND_US))
        zone = limit.zone or self._zones[touch.subject_id]
        return 1 + sum(day_of(each, zone) == day_of(touch.send_us, zone) for each in others)
