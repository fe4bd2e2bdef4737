"""What a coalition of players chooses among, and the arms in terms of that."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from simulator.worlds.games import EXPERIENCE, PLACEMENT, PLAYERS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from optimizer.catalog import Catalog


@dataclass(frozen=True, slots=True)
class Choosing:
    """What is chosen: the message, the placement (channel and slot), or both; the rest is drawn uniformly.

    Attributes:
        group_of: (K,) which option each arm belongs to; no_send is one by itself.
        crossed: (K, T) the arm's parts that are chosen, those that a reward may cross with what is seen; a column of
            ones first.
        constant: (K, U) pairs of parts that are chosen, which have an effect that is the same for everybody.
        placed: whether the placement is chosen, so that what is about one channel concerns its arms alone.
    """

    group_of: NDArray[np.intp]
    crossed: NDArray[np.float64]
    constant: NDArray[np.float64]
    placed: bool

    @property
    def options(self) -> int:
        """How many options there are."""
        return int(self.group_of.max()) + 1

    @classmethod
    def of(cls, catalog: Catalog, arms: NDArray[np.intp], players: Iterable[str]) -> Choosing:
        """What these players choose among these arms of the catalog."""
        chosen = set(players)
        parts = {
            "message": catalog.message_of[arms],
            "channel": catalog.channel_of[arms],
            "slot": catalog.slot_of[arms],
        }
        names = [*(["message"] if EXPERIENCE in chosen else []), *(["channel", "slot"] if PLACEMENT in chosen else [])]
        sends = parts["message"] >= 0
        keys = np.stack([np.where(sends, parts[name], -2) for name in names], axis=1)
        _, group_of = np.unique(keys, axis=0, return_inverse=True)
        switches = [np.ones((len(arms), 1)), ~sends[:, None], *(_switches(parts[name]) for name in names)]
        pairs = [
            _switches(np.where(sends, parts[a] * (parts[b].max() + 1) + parts[b], -1))
            for a, b in combinations(names, 2)
            if parts[a].max() >= 0 and parts[b].max() >= 0
        ]
        return cls(
            group_of.reshape(-1),
            np.hstack(switches).astype(np.float64),
            np.hstack([np.zeros((len(arms), 0)), *pairs]),
            PLACEMENT in chosen,
        )


def coalitions() -> list[frozenset[str]]:
    """Every set of players that chooses something."""
    sets = [frozenset(each) for size in range(1, len(PLAYERS) + 1) for each in combinations(PLAYERS, size)]
    return [each for each in sets if each & {EXPERIENCE, PLACEMENT}]


def _switches(values: NDArray[np.intp]) -> NDArray[np.float64]:
    """(K, distinct values) 1 where an arm has the value; those below 0 are none."""
    distinct = np.unique(values[values >= 0])
    switches: NDArray[np.float64] = (values[:, None] == distinct).astype(np.float64)
    return switches
