"""A changed configuration judged on what the current one, and those before it, have logged.

Histories, models and contact facts are held as they were logged. Where the changed configuration would do what had no
probability in the log, nothing is known of it: such decisions are told apart, with the arms and their share, and the
figures are about the others.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from optimizer.evaluation.log import customer_keys
from optimizer.evaluation.support import TOLERATED
from optimizer.rewards import RewardSpec
from simulator.what_if.changes import Change, Telling, changes
from simulator.what_if.configuration import Configuration, Models
from simulator.what_if.facing import Facing
from simulator.what_if.joint import Comparison, Joint, Stratum, compare, strata
from simulator.what_if.pages import Decisions, Page

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from optimizer.campaign import CampaignFile
    from optimizer.engine import Engine

NEVER_DRAWN: Final = 0.01
"""An arm that chance never drew although it could have is refused where it has more than this share of the choices."""


@dataclass(frozen=True, slots=True)
class Untold:
    """An arm that the changed configuration would choose where nothing of the kind was logged.

    Attributes:
        arm: its id.
        cause: why there is nothing.
        share: its share of all that the changed configuration would choose.
    """

    arm: str
    cause: str
    share: float


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the log says of a change.

    Attributes:
        campaign_id, current_hash, changed_hash: what was compared.
        changes: every field that differs, and what can be told of it.
        decisions, customers: those that the figures are about.
        left_out: how many decisions tell nothing of either configuration, by cause.
        untold: what of the changed configuration has no support in the log; the figures leave those decisions out.
        untold_decisions: how many these are.
        altered: share of the decisions in which the changed configuration's probabilities are others.
        moved: share of the changed configuration's choices that would be sent at another time, with the same arm.
        strata: what the groups of decisions bring.
        values: both configurations and their difference; none where the change as a whole is refused.
        refused: why there are none.
        drawn: how often each arm was drawn in the decisions that were read.
    """

    campaign_id: str
    current_hash: str
    changed_hash: str
    changes: list[Change]
    decisions: int = 0
    customers: int = 0
    left_out: Mapping[str, int] = field(default_factory=dict)
    untold: list[Untold] = field(default_factory=list)
    untold_decisions: int = 0
    altered: float = 0.0
    moved: float = 0.0
    strata: list[Stratum] = field(default_factory=list)
    values: list[Comparison] = field(default_factory=list)
    refused: str | None = None
    drawn: Mapping[str, int] = field(default_factory=dict)


def judge_change(engine: Engine, changed: CampaignFile) -> Judgement:
    """Judge a changed configuration of a campaign on its log. Raises NotFound for one that is not loaded."""
    version = engine.runtime.store.read(lambda connection: engine.versions.current(connection, changed.id))
    return _Judging(engine, version.campaign, changed).judgement()


class _Judging:
    """One comparison, page by page."""

    def __init__(self, engine: Engine, current: CampaignFile, changed: CampaignFile) -> None:
        models = Models(engine)
        self._models = models
        self._current, self._changed = (
            Configuration(engine.versions.compile(each), models) for each in (current, changed)
        )
        specs = [RewardSpec.of(current), RewardSpec.of(changed)]
        self._decisions = Decisions(engine, current.id, specs, engine.runtime.now_us())
        self._changes = changes(current, changed)
        self._left_out: Counter[str] = Counter()
        self._drawn: Counter[str] = Counter()
        self._untold: defaultdict[tuple[str, str], float] = defaultdict(float)
        self._wanted: defaultdict[str, float] = defaultdict(float)
        self._rows = self._told_rows = self._altered = 0
        self._moved = 0.0
        self._parts: list[Joint] = []
        self._logged: dict[str, Configuration] = {}

    def judgement(self) -> Judgement:
        """Of the whole log."""
        refused = self._refused()
        for page in self._decisions:
            self._count(page)
            if refused is None:
                self._take(page)
        self._left_out += self._decisions.left_out
        refused = refused or self._never_drawn()
        if refused is None and not self._parts:
            refused = "no logged decision tells what the changed configuration would have come to"
        joint = Joint.join(self._parts) if self._parts and refused is None else None
        return Judgement(
            campaign_id=self._current.version.campaign.id,
            current_hash=self._current.version.campaign.config_hash,
            changed_hash=self._changed.version.campaign.config_hash,
            changes=self._changes,
            decisions=self._told_rows,
            customers=len(joint.totals.sizes) if joint else 0,
            left_out=dict(self._left_out),
            untold=self._shares_untold(),
            untold_decisions=self._rows - self._told_rows,
            altered=self._altered / max(self._rows, 1),
            moved=self._moved / max(self._told_rows, 1),
            strata=strata(joint) if joint else [],
            values=compare(joint) if joint else [],
            refused=refused,
            drawn=dict(self._drawn),
        )

    def _refused(self) -> str | None:
        """Why the change cannot be judged on any log of this campaign."""
        lacking = self._changed.lacking(self._current.version)
        if lacking:
            return f"the changed configuration needs {'; and '.join(lacking)}"
        real = [change for change in self._changes if change.telling is not Telling.NOTHING]
        if real and all(change.telling is Telling.UNTOLD for change in real):
            return "; ".join(f"{change.field}: {change.why}" for change in real)
        return None

    def _never_drawn(self) -> str | None:
        rows = max(self._rows, 1)
        found = {arm: wanted / rows for arm, wanted in self._wanted.items() if not self._drawn[arm]}
        named = [f"{arm} ({share:.2%} of its choices)" for arm, share in found.items() if share > NEVER_DRAWN]
        return f"chance never drew {', '.join(named)}: the log has nothing on it" if named else None

    def _count(self, page: Page) -> None:
        ids = tuple(page.version.catalog.index)
        self._drawn.update(ids[place] for place in page.chosen[page.chosen >= 0].tolist())

    def _take(self, page: Page) -> None:
        lacking = [*self._current.lacking(page.version), *self._changed.lacking(page.version)]
        if lacking:
            self._left_out[f"decided by an earlier version that does not tell {'; '.join(lacking)}"] += len(page)
            return
        drawn = page.chosen >= 0
        logged = self._configuration(page)
        before, after = (Facing.of(page, logged, each) for each in (self._current, self._changed))
        known = before.known & after.known
        concerned = drawn | after.acts
        judgeable = np.where(drawn, before.acts & before.supported, ~before.acts)
        self._left_out["a model that is needed is not kept any more"] += int((~known & concerned).sum())
        self._left_out["an earlier version's, on which the current one cannot be judged"] += int(
            (known & concerned & ~judgeable).sum()
        )
        kept = known & concerned & judgeable
        rows, told = np.flatnonzero(kept), np.flatnonzero(kept & drawn & after.acts & after.supported)
        self._rows += len(rows)
        self._told_rows += len(told)
        self._note(after, rows, set(page.version.catalog.index))
        if len(told):
            self._altered += before.differing(after, told)
            self._moved += before.elsewhen(after, told)
            sides = (before.side(page, told, 0), after.side(page, told, 1))
            customers = customer_keys([page.rows[i].subject_id for i in told.tolist()])
            self._parts.append(Joint.of(page.stratum[told], sides, customers))

    def _configuration(self, page: Page) -> Configuration:
        config_hash = page.version.campaign.config_hash
        if config_hash not in self._logged:
            self._logged[config_hash] = Configuration(page.version, self._models)
        return self._logged[config_hash]

    def _note(self, after: Facing, rows: NDArray[np.intp], ids: set[str]) -> None:
        """Put down what the changed configuration would do, and what of it has no support."""
        wanted, impossible = after.probabilities[rows].sum(axis=0), after.impossible[rows].sum(axis=0)
        for place, arm in enumerate(self._changed.version.catalog.arms):
            self._wanted[arm.id] += float(wanted[place] - impossible[place])
            if impossible[place] > 0.0:
                self._untold[arm.id, _cause(arm.id, int(after.places[place]), ids)] += float(impossible[place])
        nothing = int((~after.acts[rows]).sum())
        if nothing:
            self._untold["nothing at all", "was never decided: the campaign has no no_send"] += nothing

    def _shares_untold(self) -> list[Untold]:
        rows = max(self._rows, 1)
        found = [Untold(arm, cause, total / rows) for (arm, cause), total in self._untold.items()]
        return sorted((each for each in found if each.share > TOLERATED), key=lambda each: -each.share)


def _cause(arm: str, place: int, logged: set[str]) -> str:
    if place >= 0:
        return "had no probability in those decisions"
    return "meant something else: its creative, offer or slot has changed" if arm in logged else "is new"
