"""The ledger: what each subject was sent and opened, and the history features that a decision sees of it.

A ledger holds what the features need and no more, whatever the length of the history: the touches of the last 31 days,
of each channel the last touch before that, and how many touches each campaign has planned or sent. It is a projection
of the touch and event logs: the same facts, in whatever order they came, make the same ledger. The touches of other
systems (`optimizer.external`) are among them, those too that are reported before they are made; they are no campaign's.
"""

from __future__ import annotations

from bisect import insort
from itertools import chain
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import orjson

from optimizer.ids import made_us

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

HOUR_US: Final = 3_600_000_000
DAY_US: Final = 24 * HOUR_US
KEPT_US: Final = 31 * DAY_US
"""How long every touch is kept before the newest instant that a ledger knows to have passed: the longest window, and a
day for what comes late."""


class Ledger(NamedTuple):
    """One subject's history; the touches are in the order (sent_us, decision id).

    The columns of text hold one entry a touch, separated by commas (ids have none). Reading a hundred thousand ledgers
    is a matter of how many objects each is made of: this is four times faster than lists, and why it is a tuple.
    """

    sent_us: Sequence[int] = ()
    channels: str = ""
    """Empty entries for touches without a channel."""
    messages: str = ""
    decisions: str = ""
    opened_us: str = ""
    """When each touch was first opened; empty entries for those that were not."""
    early_opens: Mapping[str, int] = MappingProxyType({})
    """Opens, by decision, that were reported before their touch; those of old decisions are not kept."""
    touches: Mapping[str, int] = MappingProxyType({})
    """By campaign, how many touches are planned or were sent."""
    archived: Mapping[str, int] = MappingProxyType({})
    """By campaign, how many of these are of decisions that have left the log (`optimizer retention`)."""


EMPTY: Final = Ledger()
"""The ledger of a subject of whom nothing is known."""


def loads(body: str | bytes | None) -> Ledger:
    """The ledger that `dumps` wrote; `EMPTY` for None."""
    return EMPTY if body is None else Ledger(*orjson.loads(body))


def dumps(ledger: Ledger) -> str:
    """The ledger as compact JSON: an array of its fields. Equal ledgers are equal text."""
    *columns, early_opens, touches, archived = ledger
    fields = [*columns, dict(early_opens), dict(touches), dict(archived)]
    return orjson.dumps(fields, option=orjson.OPT_SORT_KEYS).decode()


def planned(ledger: Ledger, campaign_id: str) -> Ledger:
    """A touch of the campaign is planned: it counts for the campaign from now on, sent or not yet."""
    return ledger._replace(touches={**ledger.touches, campaign_id: ledger.touches.get(campaign_id, 0) + 1})


def released(ledger: Ledger, campaign_id: str) -> Ledger:
    """A planned touch of the campaign will not be sent: it counts no longer."""
    left = {**ledger.touches, campaign_id: ledger.touches.get(campaign_id, 0) - 1}
    return ledger._replace(touches={campaign: count for campaign, count in left.items() if count > 0})


def touched(ledger: Ledger, *, decision_id: str, message: str, channel: str | None, sent_us: int) -> Ledger:
    """A touch was sent. A decision whose touch is in the ledger already changes nothing."""
    if decision_id in ledger.decisions.split(","):
        return ledger
    opens = dict(ledger.early_opens)
    new = _Touch(sent_us, decision_id, channel or "", message, str(opens.pop(decision_id, "")))
    rows = _touches(ledger)
    insort(rows, new)
    since_us = _since_us([row.sent_us for row in rows], [row.decision_id for row in rows])
    last_before = {row.channel: row.decision_id for row in rows if row.sent_us <= since_us}
    kept = [row for row in rows if row.sent_us > since_us or last_before[row.channel] == row.decision_id]
    early = {decision: at_us for decision, at_us in opens.items() if not _is_old(decision, since_us)}
    return _of(kept, early, touches=ledger.touches, archived=ledger.archived)


def opened(ledger: Ledger, *, decision_id: str, at_us: int, sent_us: int | None = None) -> Ledger:
    """The touch of that decision was opened; the first of several opens counts.

    `sent_us` says when it was sent, if it was: a touch that has left the ledger since then does not come back.
    """
    decisions = ledger.decisions.split(",")
    if decision_id not in decisions:
        if sent_us is not None or _is_old(decision_id, _since_us(ledger.sent_us, decisions)):
            return ledger
        first_us = min(at_us, ledger.early_opens.get(decision_id, at_us))
        return ledger._replace(early_opens={**ledger.early_opens, decision_id: first_us})
    times = ledger.opened_us.split(",")
    place = decisions.index(decision_id)
    times[place] = str(min(at_us, int(times[place] or at_us)))
    return ledger._replace(opened_us=",".join(times))


def archive(ledger: Ledger, counts: Mapping[str, int]) -> Ledger:
    """So many of each campaign's touches are of decisions that leave the log; they count as before."""
    names = {**ledger.archived, **counts}
    return ledger._replace(archived={each: ledger.archived.get(each, 0) + counts.get(each, 0) for each in names})


def only_archived(ledger: Ledger, logged: Container[str], first_id: str) -> Ledger:
    """What a ledger knows of decisions that have left the log: those older than `first_id` that are not in `logged`."""

    def left(decision_id: str) -> bool:
        return decision_id < first_id and decision_id not in logged

    rows = [row for row in _touches(ledger) if left(row.decision_id)]
    opens = {decision: at_us for decision, at_us in ledger.early_opens.items() if left(decision)}
    return _of(rows, opens, touches=ledger.archived, archived=ledger.archived)


def _of(
    rows: Sequence[_Touch], opens: Mapping[str, int], *, touches: Mapping[str, int], archived: Mapping[str, int]
) -> Ledger:
    return Ledger(
        sent_us=[row.sent_us for row in rows],
        channels=",".join([row.channel for row in rows]),
        messages=",".join([row.message for row in rows]),
        decisions=",".join([row.decision_id for row in rows]),
        opened_us=",".join([row.opened_us for row in rows]),
        early_opens=opens,
        touches=touches,
        archived=archived,
    )


def _since_us(sent_us: Sequence[int], ids: Sequence[str]) -> float:
    """The instant after which every touch is kept.

    Whoever reports that a touch is to be made in a month has not lived through that month: a touch shows that the time
    has come at which it was sent, or at which its id was made if that was before.
    """
    passed_us = float("-inf")
    for at_us, each in zip(reversed(sent_us), reversed(ids), strict=False):
        if at_us <= passed_us:
            break
        passed_us = max(passed_us, min(at_us, made_us(each) or at_us))
    return passed_us - KEPT_US


def _is_old(decision_id: str, since_us: float) -> bool:
    """Whether a decision was made before the touches that are all kept: its open would be that of an old touch."""
    at_us = made_us(decision_id)
    return at_us is not None and at_us <= since_us


class _Touch(NamedTuple):
    """One touch, in the order of its first two fields."""

    sent_us: int
    decision_id: str
    channel: str
    message: str
    opened_us: str


def _touches(ledger: Ledger) -> list[_Touch]:
    if not ledger.sent_us:
        return []
    columns = (ledger.decisions, ledger.channels, ledger.messages, ledger.opened_us)
    return list(map(_Touch, ledger.sent_us, *(column.split(",") for column in columns)))


def campaign_touches(ledgers: Sequence[Ledger], campaign_id: str) -> NDArray[np.int64]:
    """How many touches of the campaign each subject has, planned ones included: int64 (n,)."""
    return np.fromiter((ledger.touches.get(campaign_id, 0) for ledger in ledgers), np.int64, len(ledgers))


def history_rows(
    ledgers: Sequence[Ledger], now_us: int | NDArray[np.int64], channels: Sequence[str]
) -> dict[str, NDArray[Any]]:
    """The history features of n subjects at an instant (or one instant each, int64 (n,)), by the feature's name.

    Numbers and booleans are float64 (n,), NaN where there was no touch; `last_message` and `last_channel` are object
    arrays (n,) of text or None; `hours_since_last_touch_on_channel` is float64 (n, len(channels)). Only what happened
    at or before the instant counts, and `touches_7d` are those sent less than 7 days before it. Exact for every
    instant from the subject's newest touch on that was not reported before its time; what has left the ledger is
    missing at earlier ones.
    """
    n = len(ledgers)
    touched_ledgers = [ledger for ledger in ledgers if ledger.sent_us]
    counts = np.fromiter((len(ledger.sent_us) for ledger in ledgers), np.int64, n)
    total = int(counts.sum())
    subject = np.repeat(np.arange(n), counts)
    sent_us = np.fromiter(chain.from_iterable(ledger.sent_us for ledger in touched_ledgers), np.int64, total)
    now = np.broadcast_to(np.asarray(now_us, dtype=np.int64), (n,))
    age_us = now[subject] - sent_us
    past = np.flatnonzero(age_us >= 0)

    # Touches are in the order of their sending, so of those assigned to one subject the last one stays.
    last = np.full(n, -1)
    last[subject[past]] = past
    known = np.flatnonzero(last >= 0)
    last = last[known]

    all_channels = _split(ledger.channels for ledger in touched_ledgers)
    code = {channel: number for number, channel in enumerate(channels)}
    codes = np.fromiter((code.get(channel, -1) for channel in all_channels), np.int64, total)
    listed = past[codes[past] >= 0]
    on_channel = np.full((n, len(channels)), np.nan)
    on_channel[subject[listed], codes[listed]] = age_us[listed] / HOUR_US

    hours = np.full(n, np.nan)
    hours[known] = age_us[last] / HOUR_US
    places = last.tolist()
    all_messages = _split(ledger.messages for ledger in touched_ledgers)
    all_opened_us = _split(ledger.opened_us for ledger in touched_ledgers)
    was_opened = np.full(n, np.nan)
    was_opened[known] = [
        bool(at_us := all_opened_us[place]) and int(at_us) <= limit_us
        for place, limit_us in zip(places, now[known].tolist(), strict=True)
    ]
    return {
        "hours_since_last_touch": hours,
        "hours_since_last_touch_on_channel": on_channel,
        "touches_1d": _touches_within(1, age_us, subject, past, n),
        "touches_7d": _touches_within(7, age_us, subject, past, n),
        "touches_30d": _touches_within(30, age_us, subject, past, n),
        "last_message": _spread([all_messages[place] or None for place in places], known, n),
        "last_channel": _spread([all_channels[place] or None for place in places], known, n),
        "last_opened": was_opened,
    }


def _touches_within(
    days: int, age_us: NDArray[np.int64], subject: NDArray[np.int64], past: NDArray[np.int64], n: int
) -> NDArray[np.float64]:
    recent = past[age_us[past] < days * DAY_US]
    return np.bincount(subject[recent], minlength=n).astype(np.float64)


def _split(columns: Iterable[str]) -> list[str]:
    """The entries of all touches, one after the other, of ledgers that each have some."""
    joined = list(columns)
    return ",".join(joined).split(",") if joined else []


def _spread(values: Sequence[str | None], places: NDArray[np.int64], n: int) -> NDArray[np.object_]:
    """The values at their places in an object array (n,), None elsewhere."""
    out = np.full(n, None, dtype=object)
    out[places] = values
    return out
