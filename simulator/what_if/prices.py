"""The price of each rule: what the campaign's own models expect of the arms that it has removed.

Where a rule removed an arm, nothing was tried, and the log cannot tell what would have followed. What can be said is
how often the rule mattered, how often it removed the very arm that the model liked most, and what the model that
decided expects of the policy without this rule, all others staying in force. The interval is that of the expectation
over customers; how wrong the model may be is no part of it. It errs upwards rather than downwards: of many arms, the
one that is liked most is liked too much more often than not.

Arms that chance never drew in any logged decision are left out, since no model has learned anything of them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from optimizer.evaluation.log import customer_keys
from optimizer.evaluation.totals import Totals
from optimizer.reasons import ALLOWED
from optimizer.versions import Version
from simulator.linearised import Figure
from simulator.what_if.configuration import Configuration, Models
from simulator.what_if.constraints import Constraint, constraints
from simulator.what_if.pages import Decisions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from optimizer.engine import Engine
    from simulator.what_if.pages import Page


@dataclass(frozen=True, slots=True)
class Price:
    """What a rule of the current configuration did, and what the models expect without it.

    Attributes:
        name, reason: the rule.
        decisions: how many decisions there were.
        removed: share of them in which it alone removed an arm.
        favourite: share in which that was the arm that the model liked most.
        gain: what the models expect a decision to earn more without it, over decisions that had a model; without an
            interval where all customers are alike. None where nothing was ever tried of what it removed.
        never_tried: arms that it removed and that chance never drew anywhere, which the gain does not count.
    """

    name: str
    reason: str
    decisions: int
    removed: float
    favourite: float
    gain: Figure | None
    never_tried: tuple[str, ...]


def prices(engine: Engine, campaign_id: str, drawn: Mapping[str, int]) -> list[Price]:
    """The price of each rule that removed anything, the dearest first.

    Args:
        engine: where the campaign is.
        campaign_id: whose current configuration is meant.
        drawn: how often each arm was drawn in the log.
    """
    version = engine.runtime.store.read(lambda connection: engine.versions.current(connection, campaign_id))
    models = Models(engine)
    current = Configuration(version, models)
    tried = np.array([drawn.get(arm.id, 0) > 0 for arm in version.catalog.arms])
    tallies = [_Tally(current, each, engine.runtime.tenant, models, tried) for each in constraints(version.campaign)]
    logged: dict[str, Configuration] = {}
    for page in Decisions(engine, campaign_id, (), engine.runtime.now_us()):
        if not current.lacking(page.version):
            config_hash = page.version.campaign.config_hash
            configuration = logged.setdefault(config_hash, Configuration(page.version, models))
            seen = _Seen.of(page, configuration, current)
            for tally in tallies:
                tally.take(page, seen)
    found = [price for tally in tallies if (price := tally.price()) is not None]
    return sorted(found, key=lambda price: -(price.gain.value or 0.0) if price.gain else 0.0)


@dataclass(frozen=True, slots=True)
class _Seen:
    """A page under the current configuration: its candidates and their scores (n, K), and (n,) who can be told of."""

    allowed: NDArray[np.bool_]
    scores: NDArray[np.float32]
    probabilities: NDArray[np.float64]
    told: NDArray[np.bool_]
    customers: NDArray[np.uint64]

    @classmethod
    def of(cls, page: Page, logged: Configuration, current: Configuration) -> _Seen:
        choice = current.choice(page, current.places(logged))
        modelled = np.array([row.snapshot_id is not None for row in page.rows])
        customers = customer_keys([row.subject_id for row in page.rows])
        return cls(choice.allowed, choice.scores, choice.probabilities, choice.known & modelled, customers)


class _Tally:
    """Sums of one rule over the pages."""

    def __init__(
        self, current: Configuration, rule: Constraint, tenant: str, models: Models, tried: NDArray[np.bool_]
    ) -> None:
        version = Version.of(rule.without, tenant) if rule.without is not None else current.version
        self._rule = rule
        self._current = current
        self._without = Configuration(version, models)
        self._tried = tried
        self._never = np.zeros(len(tried), np.bool_)
        self._decisions = self._removed = self._favourite = 0
        self._anything = False
        self._parts: list[Totals] = []

    def take(self, page: Page, seen: _Seen) -> None:
        """Add a page."""
        batch = self._without.facts(page)
        if self._rule.ignored is not None:
            if batch.contact is None:
                self._add(seen, np.zeros(len(page)))
                return
            batch = replace(batch, contact=self._rule.ignored(batch.contact))
        released = (self._without.version.decider.removed(batch) == ALLOWED) & ~seen.allowed
        self._removed += int(released.any(axis=1).sum())
        self._never |= released.any(axis=0) & ~self._tried
        newly = released & self._tried
        self._anything = self._anything or bool(newly.any())
        rows = np.flatnonzero(newly.any(axis=1) & seen.told)
        gain = np.zeros(len(page))
        if len(rows):
            again, missing = self._current.scores(page, batch, rows)
            scores = np.where(seen.allowed, seen.scores, again)
            allowed = seen.allowed | newly
            rows = rows[~missing[rows]]
            p, _ = self._current.probabilities(page, allowed, np.nan_to_num(scores), rows)
            q = np.nan_to_num(scores.astype(np.float64)) * page.version.campaign.reward.scale
            gain[rows] = ((p - seen.probabilities)[rows] * q[rows]).sum(axis=1)
            best = np.where(allowed, scores, -np.inf)[rows].argmax(axis=1)
            self._favourite += int(newly[rows, best].sum())
        self._add(seen, gain)

    def _add(self, seen: _Seen, gain: NDArray[np.float64]) -> None:
        self._decisions += len(gain)
        told = np.flatnonzero(seen.told)
        if len(told):
            self._parts.append(Totals.of(gain[told, None], seen.customers[told]))

    def price(self) -> Price | None:
        """What it came to; None where it removed nothing."""
        if not self._removed:
            return None
        gain = None
        if self._anything and self._parts:
            moments = Totals.join(self._parts).moments()
            rows, total = moments.sums.tolist()
            gain = Figure.of(total / rows, np.array([-total / rows**2, 1.0 / rows]), moments)
        arms = self._without.version.catalog.arms
        return Price(
            self._rule.name,
            self._rule.reason.value,
            self._decisions,
            self._removed / self._decisions,
            self._favourite / self._decisions,
            gain,
            tuple(arms[place].id for place in np.flatnonzero(self._never).tolist()),
        )
