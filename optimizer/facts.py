"""The facts that a decision is a function of: as they are logged (JSON), and as the columns that are read of them.

Deciding, verifying and learning all go through `batch_of` or `columns_of`, from logged facts, so that they see the same
numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias
from zoneinfo import ZoneInfo

import numpy as np
import orjson

from optimizer import history
from optimizer.attributes import HISTORY_FEATURES, PER_CHANNEL_FEATURES, AttributeType, to_columns
from optimizer.choices import Batch
from optimizer.clock import from_us
from optimizer.contact.hours import Region
from optimizer.ids import words
from optimizer.scalars import ZONES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from numpy.typing import NDArray

    from optimizer.catalog import Schedule
    from optimizer.store.rows import CustomerRow
    from optimizer.versions import Version

Place: TypeAlias = tuple[str | None, Region]
"""A time zone and, where public holidays count, countries."""

TOUCHES = "touches_in_campaign"
"""Beside the history features: the touches that this campaign has made or planned for the customer."""
CONTACT = "contact"
"""Beside them too: what contact rules read, see `optimizer.contact.facts`; left out where there is nothing to say."""

_ONE_VALUE = {name: kind for name, kind in HISTORY_FEATURES.items() if name not in PER_CHANNEL_FEATURES}


@dataclass(frozen=True, slots=True)
class Subject:
    """One customer to decide for, with the facts merged.

    Attributes:
        person: the customer, whom the transaction holds.
        context: what is logged with the decision, see `context_of`.
    """

    person: CustomerRow
    context: Mapping[str, Any]
    request_id: str | None = None
    request_hash: str | None = None
    occasion: str | None = None

    @property
    def customer_id(self) -> str:
        """The customer's id."""
        return self.person.customer_id

    @property
    def subject_id(self) -> str:
        """What stands for the customer in the logs."""
        return self.person.subject_id


def context_of(
    version: Version, row: CustomerRow, attributes: Mapping[str, Any], timezone: str | None
) -> dict[str, Any]:
    """A decision's context: the customer's attributes with the request's over them (None: missing), and the time zone.

    The zone comes from the request, else from the campaign's `timezone.attr` (`timezone` is the one stored with the
    customer, where no attribute has this name), else from the fallback where the campaign uses one; None where none of
    these is an IANA zone.
    """
    merged = {**orjson.loads(row.attributes), **attributes}
    policy = version.campaign.campaign.timezone
    own = row.timezone if policy.attr == "timezone" and "timezone" not in merged else merged.get(policy.attr)
    for zone, source in ((timezone, "request"), (own, "customer"), (policy.fallback, "fallback")):
        if zone in ZONES:
            return {"attributes": merged, "timezone": zone, "timezone_source": source}
    return {"attributes": merged, "timezone": None, "timezone_source": None}


def history_of(books: Sequence[history.Ledger], version: Version, now_us: int) -> list[dict[str, Any]]:
    """The history of each customer as it is logged: missing features left out, those by channel as an object."""
    columns = history.history_rows(books, now_us, version.channel_ids)
    made = history.campaign_touches(books, version.campaign.id).tolist()
    lists = [[None if v != v else v for v in columns[name].tolist()] for name in _ONE_VALUE]  # noqa: PLR0124 - NaN
    rows = []
    for i, values in enumerate(zip(*lists, strict=True)):
        row: dict[str, Any] = {name: v for name, v in zip(_ONE_VALUE, values, strict=True) if v is not None}
        row[TOUCHES] = made[i]
        rows.append(row)
    for name in PER_CHANNEL_FEATURES:
        for row, by_channel in zip(rows, columns[name].tolist(), strict=True):
            row[name] = {c: v for c, v in zip(version.channel_ids, by_channel, strict=True) if v == v}  # noqa: PLR0124
    return rows


def columns_of(
    version: Version,
    types: Mapping[str, AttributeType],
    contexts: Sequence[Mapping[str, Any]],
    histories: Sequence[Mapping[str, Any]],
) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
    """The raw columns of attributes (of these types) and of history features.

    History features by channel are (n, channels), in the order of the version's channels.
    """
    context = dict(to_columns([c["attributes"] for c in contexts], types))
    past = dict(to_columns(histories, _ONE_VALUE))
    channels = version.channel_ids
    for name in PER_CHANNEL_FEATURES:
        values = [[by_channel.get(c, np.nan) for c in channels] for h in histories for by_channel in (h.get(name, {}),)]
        past[name] = np.array(values, np.float64).reshape(len(histories), len(channels))
    return context, past


def batch_of(  # noqa: PLR0913, PLR0917 -- the columns of a log
    version: Version,
    now_us: int,
    ids: Sequence[str],
    groups: NDArray[np.uint8],
    contexts: Sequence[Mapping[str, Any]],
    histories: Sequence[Mapping[str, Any]],
) -> Batch:
    """What the decider needs to decide now, from logged facts alone."""
    return batch_at(version, [now_us] * len(ids), ids, groups, contexts, histories)


def batch_at(  # noqa: PLR0913, PLR0917 -- the columns of a log
    version: Version,
    instants_us: Sequence[int],
    ids: Sequence[str],
    groups: NDArray[np.uint8],
    contexts: Sequence[Mapping[str, Any]],
    histories: Sequence[Mapping[str, Any]],
) -> Batch:
    """The same where each was, or is, decided at an instant of its own."""
    context, past = columns_of(version, version.types, contexts, histories)
    places = [(place_of(version, c), now_us) for c, now_us in zip(contexts, instants_us, strict=True)]
    distinct = {place: i for i, place in enumerate(dict.fromkeys(places))}
    needed = version.contact.active or any(CONTACT in each for each in histories)
    return Batch(
        words=words(ids),
        groups=groups,
        context=context,
        history=past,
        touches=np.array([h[TOUCHES] for h in histories], np.intp),
        schedules=schedules_of(version, [place for place, _ in distinct], [from_us(now_us) for _, now_us in distinct]),
        schedule_of=np.array([distinct[place] for place in places], np.intp),
        contact=version.contact.reader.read([each.get(CONTACT, {}) for each in histories]) if needed else None,
    )


def place_of(version: Version, context: Mapping[str, Any]) -> Place:
    """What of a logged context says when a customer may be contacted."""
    return context["timezone"], version.catalog.hours.region(context["attributes"])


def schedules_of(version: Version, places: Sequence[Place], instants: Sequence[datetime]) -> list[Schedule]:
    """The schedule of each (place, instant); equal ones are computed once."""
    known: dict[tuple[Place, datetime], Schedule] = {}
    for place, instant in zip(places, instants, strict=True):
        if (place, instant) not in known:
            zone, region = place
            known[place, instant] = version.catalog.schedule(ZoneInfo(zone) if zone else None, instant, region)
    return [known[key] for key in zip(places, instants, strict=True)]
