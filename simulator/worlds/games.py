"""How the worth of choosing well is divided among what the choice knows and what it chooses: Shapley and Owen values.

Three players share V(all) - V({}): what is known of the **customer**, the choice of the **experience** (the message),
and the **execution**. Each gets the mean, over the orders in which the three may join, of what it adds (Shapley, "A
value for n-person games", 1953).

The execution is a union of two players: the **placement** (the choice of channel and time) and the **earlier touches**
(what is known of them: when they were, on which channels). They share what the execution gets by Owen's value ("Values
of games with a priori unions", 1977): orders in which the union joins as one, its two members in either order. Their
shares sum to the execution's, and the shares of the three are what they are without them.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import chain, permutations
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

CUSTOMER: Final = "customer"
EXPERIENCE: Final = "experience"
EXECUTION: Final = "execution"
PLACEMENT: Final = "placement"
EARLIER_TOUCHES: Final = "earlier_touches"

BUCKETS: Final = (CUSTOMER, EXPERIENCE, EXECUTION)
WITHIN_EXECUTION: Final = (PLACEMENT, EARLIER_TOUCHES)
PLAYERS: Final = (CUSTOMER, EXPERIENCE, *WITHIN_EXECUTION)


@dataclass(frozen=True, slots=True)
class Values:
    """V(S) of the subsets of the players; `execution` stands for both of its members.

    The whole of a bucket's share needs the subsets with both or none of the execution's members only.
    """

    of: Mapping[frozenset[str], float]

    def __call__(self, *players: str) -> float:
        """V of these players."""
        return self.of[frozenset(players)]

    @property
    def shares(self) -> dict[str, float]:
        """Each bucket's share in V(all) - V({}); they sum to one."""
        return {bucket: self._share(bucket) for bucket in BUCKETS}

    @property
    def within_execution(self) -> dict[str, float]:
        """How the execution's share divides; needs all subsets of the players."""
        return {player: self._share(player) for player in WITHIN_EXECUTION}

    def _share(self, player: str) -> float:
        total = self(*BUCKETS) - self()
        return sum(weight * self.of[players] for players, weight in coefficients(player).items()) / total


def coefficients(player: str) -> dict[frozenset[str], float]:
    """The weight of each V(S) in what a bucket, or a member of the execution, gets; they sum to zero.

    What needs no telling apart of the execution's members is named by `execution`, as in `Values`.
    """
    orders = _orders() if player in WITHIN_EXECUTION else [list(order) for order in permutations(BUCKETS)]
    weights: dict[frozenset[str], float] = defaultdict(float)
    for order in orders:
        place = order.index(player)
        weights[coalition(order[: place + 1])] += 1.0 / len(orders)
        weights[coalition(order[:place])] -= 1.0 / len(orders)
    return dict(weights)


def coalition(players: Sequence[str]) -> frozenset[str]:
    """A subset of the players as `Values` names it."""
    found = set(players)
    if found.issuperset(WITHIN_EXECUTION):
        found = (found - set(WITHIN_EXECUTION)) | {EXECUTION}
    return frozenset(found)


def _orders() -> list[list[str]]:
    """The orders in which the players may join with the members of the execution one after the other."""
    return [
        list(chain.from_iterable(inner if bucket == EXECUTION else (bucket,) for bucket in order))
        for order in permutations(BUCKETS)
        for inner in permutations(WITHIN_EXECUTION)
    ]
