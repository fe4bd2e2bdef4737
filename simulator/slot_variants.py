"""On which weekday and how many days ahead each slot of a campaign came, for logged decisions at any time and zone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

import numpy as np

from optimizer.clock import from_us, to_us
from optimizer.errors import InvalidInput

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from optimizer.contact.hours import Region
    from optimizer.evaluation.log import Log
    from optimizer.scorer import Variants
    from optimizer.versions import Version

_MINUTE_US: Final = 60_000_000


@dataclass(frozen=True, slots=True)
class SlotVariants:
    """What slots were to n logged decisions.

    Attributes:
        distinct: the variants of all slots, one entry for each kind of decision; see `Schedule.variants`.
        of: (n,) which of them each decision had.
    """

    distinct: tuple[Variants, ...]
    of: NDArray[np.intp]

    @classmethod
    def at(cls, version: Version, log: Log) -> SlotVariants:
        """Of a campaign's slots at the log's times, zones and, where holidays count, countries.

        Windows begin and end, and hours open and close, on whole minutes of UTC: decisions of one minute have the same
        variants unless they stand exactly on it, or the campaign ends between them. So the work is that of the
        distinct minutes. Raises `InvalidInput` where the campaign has slots and the log has no times.
        """
        n = len(log)
        if not version.catalog.slots:
            return cls(((),), np.zeros(n, np.intp))
        if log.time_us is None:
            raise InvalidInput(
                f"campaign {version.campaign.id!r} has timing slots, and the log does not say when its decisions were "
                "made: name the column of the time"
            )
        minute, over = np.divmod(log.time_us, _MINUTE_US)
        ends_at = version.campaign.campaign.ends_at
        ended = np.zeros(n, np.bool_) if ends_at is None else log.time_us >= to_us(ends_at)
        keys = zip(
            _zones(log), _regions(version, log), minute.tolist(), (over == 0).tolist(), ended.tolist(), strict=True
        )
        kinds: dict[tuple[str | None, Region, int, bool, bool], int] = {}
        variants: dict[Variants, int] = {}
        found: list[int] = []
        of = np.empty(n, np.intp)
        for row, key in enumerate(keys):
            kind = kinds.get(key)
            if kind is None:
                kind = kinds[key] = len(kinds)
                zone, region = key[:2]
                instant = from_us(int(log.time_us[row]))
                each = version.catalog.schedule(ZoneInfo(zone) if zone else None, instant, region).variants
                found.append(variants.setdefault(each, len(variants)))
            of[row] = found[kind]
        return cls(tuple(variants), of)


def _zones(log: Log) -> list[str | None]:
    return [None] * len(log) if log.zone is None else log.zone.tolist()


def _regions(version: Version, log: Log) -> list[Region]:
    """Whose holidays count, from the attributes that the campaign's hours name; nobody's where the log has none."""
    hours = version.catalog.hours
    columns = {name: log.context[name].tolist() for name in hours.countries if name in log.context}
    if not columns:
        return [hours.nowhere] * len(log)
    rows = zip(*columns.values(), strict=True)
    return [hours.region(dict(zip(columns, row, strict=True))) for row in rows]
