"""One configuration facing a page of logged decisions: what it would do there, and what the log knows of that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from optimizer.evaluation.support import TOLERATED
from simulator.what_if.joint import Side

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from optimizer.evaluation.totals import Floats
    from simulator.what_if.configuration import Configuration
    from simulator.what_if.pages import Page


@dataclass(frozen=True, slots=True)
class Facing:
    """n decisions, and the K arms of the configuration.

    Attributes:
        configuration: whose probabilities they are.
        probabilities: (n, K) of what it would do; rows of zeros where it would decide nothing.
        scores: (n, K) of the models that decided, 0 where there is none.
        known: (n,) whether its probabilities can be told.
        places: (K,) its arms in the catalog of the version that decided, -1 where they are none of it.
        logged: (n, K) the logged probabilities of its arms.
        weight: (n,) its probability of the logged arm over the logged one, 0 where nothing was drawn.
        send_us: (n, K) when each arm would be sent.
    """

    configuration: Configuration
    probabilities: Floats
    scores: Floats
    known: NDArray[np.bool_]
    places: NDArray[np.intp]
    logged: Floats
    weight: Floats
    send_us: NDArray[np.int64]

    @classmethod
    def of(cls, page: Page, logged: Configuration, configuration: Configuration) -> Facing:
        """Where `logged` is the version that decided."""
        places = configuration.places(logged)
        choice = configuration.choice(page, places)
        p, drawn = choice.probabilities, page.chosen >= 0
        no_send = configuration.version.catalog.no_send
        if no_send >= 0:
            # Whoever gets no decision gets nothing sent, which is what no_send is.
            p[drawn & (p.sum(axis=1) == 0.0), no_send] = 1.0
        known = np.where(places >= 0, page.distribution[:, places], 0.0)
        own = np.full(len(page.version.catalog), -1, np.intp)
        own[places[places >= 0]] = np.flatnonzero(places >= 0)
        mine = np.where(drawn, own[page.chosen], -1)
        rows = np.arange(len(page))
        weight = np.where(mine >= 0, p[rows, mine], 0.0) / np.where(drawn, page.distribution[rows, page.chosen], 1.0)
        cells = np.array([schedule.send_us for schedule in choice.batch.schedules], np.int64)
        send_us = cells[choice.batch.schedule_of][:, configuration.version.catalog.cell_of]
        scores = np.nan_to_num(choice.scores.astype(np.float64))
        return cls(configuration, p, scores, choice.known, places, known, weight, send_us)

    @property
    def acts(self) -> NDArray[np.bool_]:
        """(n,) whether it would decide anything."""
        acts: NDArray[np.bool_] = self.probabilities.sum(axis=1) > 0.0
        return acts

    @property
    def impossible(self) -> Floats:
        """(n, K) its probability of what had none in the log."""
        impossible: Floats = np.where(self.logged <= 0.0, self.probabilities, 0.0)
        return impossible

    @property
    def supported(self) -> NDArray[np.bool_]:
        """(n,) whether all that it would do had a probability."""
        supported: NDArray[np.bool_] = self.impossible.sum(axis=1) <= TOLERATED
        return supported

    def side(self, page: Page, rows: NDArray[np.intp], reward: int) -> Side:
        """Some rows, valued by one of the page's rewards; predictions are in the unit of what the models learned."""
        scale = page.version.campaign.reward.scale
        p, logged = self.probabilities[rows], self.logged[rows]
        own = np.nan_to_num(page.scores[rows, page.chosen[rows]].astype(np.float64))
        second = np.divide(p**2, logged, out=np.zeros_like(p), where=logged > 0.0).sum(axis=1)
        baseline = scale * (p * self.scores[rows]).sum(axis=1)
        return Side(self.weight[rows], page.reward[rows, reward], scale * own, baseline, second)

    def differing(self, other: Facing, rows: NDArray[np.intp]) -> int:
        """In how many rows another configuration's probabilities differ from this one's."""
        mine = self._among(other, self.probabilities)[rows]
        return int((np.abs(other.probabilities[rows] - mine).max(axis=1, initial=0.0) > TOLERATED).sum())

    def elsewhen(self, other: Facing, rows: NDArray[np.intp]) -> float:
        """The other's probability of arms that it would send at another time than this one, summed over rows."""
        moved = self._among(other, self.send_us)[rows] != other.send_us[rows]
        sends = other.configuration.version.catalog.message_of >= 0
        return float((other.probabilities[rows] * (moved & sends)).sum())

    def _among(self, other: Facing, values: Floats | NDArray[np.int64]) -> Floats | NDArray[np.int64]:
        """Values (n, K) of this one's arms as those of the other's arms, 0 for arms that are no arms of this one."""
        places = other.configuration.places(self.configuration)
        return np.where(places >= 0, values[:, places], 0)
