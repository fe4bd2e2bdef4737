"""What arms cost, and which of them a budget still pays for. Pure: what is left of it comes in as an argument.

Amounts are whole millionths of the campaign's unit, so that sums are exact. A budget is *reached* for whoever is
decided while less is left than the dearest arm costs, whichever arm would be drawn. With `pause` every arm that sends
is gone then. With `stop_offers` those with an offer go first; the others stay while what is left pays for the dearest
of them, and once it does not, only what costs nothing stays: the amount is never exceeded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from optimizer.reasons import ALLOWED, Reached
from optimizer.scalars import micro

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from optimizer.campaign import CampaignFile, Offer
    from optimizer.catalog import Catalog
    from optimizer.choices import Choices


@dataclass(frozen=True, slots=True)
class Pass:
    """What was chosen for a batch within a budget.

    Attributes:
        choices: what was chosen for all of it.
        reached: what was reached when the last one's turn came; None where nothing was.
        spent_micro: what the arms chosen cost.
    """

    choices: Choices
    reached: Reached | None
    spent_micro: int


class ArmCosts:
    """What each of a campaign's arms costs: the touch itself, and the offer in it.

    Attributes:
        whole: (K,) int64, all that an arm may cost; what a touch takes of the budget when it is planned.
        on_use: (K,) int64, the part of it that arises only when the offer is used.
        amount_micro: the budget; 0 without one, and nothing costs anything then.
    """

    def __init__(self, campaign: CampaignFile, catalog: Catalog) -> None:
        budget = campaign.budget
        self.amount_micro = 0 if budget is None else micro(budget.amount)
        channels = [micro(channel.cost) for channel in catalog.channels]
        offers: list[Offer | None] = [message.offer for message in catalog.messages]
        whole, on_use, offered, possible = [], [], [], []
        for arm, m, c in zip(catalog.arms, catalog.message_of.tolist(), catalog.channel_of.tolist(), strict=True):
            offer = offers[m] if m >= 0 else None
            cost = micro(offer.cost) if offer else 0
            whole.append(cost + (channels[c] if c >= 0 else 0))
            on_use.append(cost if offer and offer.cost_on == "used" else 0)
            offered.append(offer is not None)
            possible.append(arm.message is not None and (c < 0 or arm.channel in catalog.messages[m].creatives))
        can_be = np.array(possible)
        # Without a budget nobody asks what anything costs, however much that is.
        counts = can_be & (budget is not None)
        self.whole = np.where(counts, np.array(whole, object), 0).astype(np.int64)
        self.on_use = np.where(counts, np.array(on_use, object), 0).astype(np.int64)
        sends = catalog.message_of >= 0
        has_offer = np.array(offered)
        self._removed = {
            Reached.OFFERS: np.flatnonzero(has_offer),
            Reached.COSTS: np.flatnonzero(has_offer | (self.whole > 0)),
            Reached.SENDS: np.flatnonzero(sends),
        }
        self._dearest = self._most(can_be)
        self._dearest_plain = self._most(can_be & ~has_offer)
        self._pauses = budget is not None and budget.on_reach == "pause"

    def _most(self, arms: NDArray[np.bool_]) -> int:
        return int(self.whole[arms].max(initial=0))

    def removed(self, reached: Reached) -> NDArray[np.intp]:
        """The arms, by index, that are gone."""
        return self._removed[reached]

    def reached(self, left_micro: int) -> Reached | None:
        """What is reached while so much is left."""
        # What costs nothing is never beyond a budget, even of one that facts have exceeded.
        if not self._dearest or left_micro >= self._dearest:
            return None
        if self._pauses:
            return Reached.SENDS
        return Reached.OFFERS if not self._dearest_plain or left_micro >= self._dearest_plain else Reached.COSTS

    def needed_micro(self, reached: Reached | None) -> int:
        """How much has to be left for one more customer, so that not more is reached than that."""
        if reached is None:
            return self._dearest
        return self._dearest_plain if reached is Reached.OFFERS else 0

    def each(self, choices: Choices) -> list[int]:
        """What each of these choices costs."""
        costs = np.append(self.whole, 0)[choices.arm]
        costs[choices.reason != ALLOWED] = 0
        return [int(cost) for cost in costs.tolist()]

    def within(
        self, left_micro: int, reached: Reached | None, n: int, decide: Callable[[int, Reached | None], Choices]
    ) -> Pass:
        """Choose for n customers, in their order, so that all of it together costs no more than what is left.

        Each sees what the ones before have left: all are decided as if nothing more were reached; from the first for
        whom that is not so, the rest is decided anew. Three times is the most.

        Args:
            left_micro: what is left.
            reached: what is reached already, at least.
            n: how many customers.
            decide: chooses for those from a place on, with what is reached for them.
        """
        parts: list[Choices] = []
        done = spent = 0
        while done < n:
            reached = max(reached, self.reached(left_micro - spent), key=_ORDER.index)
            choices = decide(done, reached)
            needed, size = self.needed_micro(reached), 0
            for cost in self.each(choices):
                if needed and left_micro - spent < needed:
                    break
                spent += cost
                size += 1
            parts.append(choices if size == len(choices.arm) else choices.first(size))
            done += size
        return Pass(parts[0].joined(parts), reached, spent)


_ORDER: Final = (None, Reached.OFFERS, Reached.COSTS, Reached.SENDS)
