"""Which column of a log is which arm of a campaign."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from optimizer.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from optimizer.evaluation.log import Log
    from optimizer.evaluation.totals import Floats
    from optimizer.versions import Version

_SHOWN: Final = 8
"""How many arms a message names."""


@dataclass(frozen=True, slots=True)
class ArmColumns:
    """How the columns of a log's arms and of a catalog's go together.

    Attributes:
        catalog_of: (arms of the log,) index in the catalog, -1 for an arm that it does not have.
        log_of: (arms of the catalog,) index in the log.
        untried: (arms of the catalog,) those that are candidates in every row.
    """

    catalog_of: NDArray[np.intp]
    log_of: NDArray[np.intp]
    untried: NDArray[np.bool_]

    @classmethod
    def of(cls, version: Version, log: Log, untried: frozenset[str]) -> ArmColumns:
        """Of a catalog and a log. Raises `InvalidInput` where no arm is in both, or the log lacks a column."""
        catalog = version.catalog.index
        if not any(arm in catalog for arm in log.arms):
            raise InvalidInput(
                f"campaign {version.campaign.id!r} has no arm of the log: it has {some(tuple(catalog))}, and the log "
                f"{some(log.arms)}; arms are named alike in both, as `message/channel/slot`"
            )
        place = {arm: i for i, arm in enumerate(log.arms)}
        absent = [arm for arm in catalog if arm not in place]
        if absent:
            raise InvalidInput(f"the log has no column for {some(absent)}: add them with `Log.over`")
        return cls(
            np.array([catalog.get(arm, -1) for arm in log.arms], np.intp),
            np.array([place[arm] for arm in catalog], np.intp),
            np.array([arm in untried for arm in catalog], np.bool_),
        )

    @property
    def known(self) -> NDArray[np.bool_]:
        """(arms of the log,) those of the catalog."""
        return self.catalog_of >= 0

    def candidates(self, log: Log) -> NDArray[np.bool_]:
        """(n, arms of the catalog) what the policy chooses among."""
        if log.allowed is None:
            return np.ones((len(log), len(self.log_of)), np.bool_)
        return log.allowed[:, self.log_of] | self.untried

    def to_log(self, p: Floats) -> Floats:
        """The catalog's columns in the places of the log's; arms that only the log has get nothing."""
        if np.array_equal(self.log_of, np.arange(len(self.catalog_of))):
            return p
        out = np.zeros((len(p), len(self.catalog_of)))
        out[:, self.log_of] = p
        return out


def some(arms: Sequence[str]) -> str:
    """The first of them, and how many more there are."""
    more = len(arms) - _SHOWN
    return ", ".join(arms[:_SHOWN]) + (f" and {more:,} more" if more > 0 else "")
