"""Shares of the buckets in the worth of choosing well, estimated from decisions that were drawn uniformly.

For each coalition S of players (see `simulator.worlds.games`) the best policy is learned that may see and choose what S
does: the reward is regressed on the options that S chooses among, crossed with what S sees, and the option with the
largest expectation is taken; what S does not choose is drawn uniformly among the candidates, and what it does not see
has been averaged over by the regression. V(S) is that policy's value by DR, with customers in folds: learned on the
other folds, valued on its own, with the regression on everything as the reward model.

A learned policy falls short of the best one, and so would V(S). By how much follows from two policies learned apart on
two halves of the rows: where a regression errs by a little e, its own idea of its best option's worth is too high by
as much as the option it takes falls short, both being of the order e^2; so each half's idea of its policy, less the
other half's idea of it, is twice what that policy falls short by. Errors of e^2 halve with twice the rows: a quarter of
that difference is what the policy of all rows falls short by, and is added. The first-order error of V(S) is that of
DR; what is added is an approximation that is the better, the smaller it is: what has many columns that say little gets
too much of it, and what has much to learn too little. So the intervals, of the delta method with customers as the
units, are widened to either side by all that was added, as if it might be wrong by as much as itself (in the spirit of
Armstrong and Kolesar, "Optimal inference in a class of regression models", Econometrica 2018).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
from threadpoolctl import threadpool_limits

from optimizer.catalog import Catalog
from optimizer.errors import InvalidInput
from optimizer.evaluation.totals import Totals
from simulator.ablation.choosing import Choosing, coalitions
from simulator.ablation.columns import Columns, Design
from simulator.ablation.regression import Model, Sums, coefficients, concerned, fit
from simulator.ablation.shares import Ablation, Untold, divided
from simulator.worlds.games import PLAYERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from optimizer.campaign import CampaignFile
    from optimizer.evaluation.log import Log

FOLDS: Final = 5
FEWEST_ROWS: Final = 100
"""How many rows there have to be for each coefficient of the largest regression."""

_AT_ONCE: Final = 20_000
_EQUAL: Final = 1e-9
_EVERYBODY: Final = frozenset(PLAYERS)


def ablate(chunks: Iterable[Log], campaign: CampaignFile) -> Ablation | Untold:
    """The shares that a campaign's log tells of, or why it does not.

    Args:
        chunks: the log. Decisions that were not drawn uniformly among two or more candidates are left out: the policy
            that drew them has brought its customers to other histories, and knows too little of what it avoids.
        campaign: says which features are of which bucket, and what the arms are made of.

    Raises `InvalidInput` for arms that the campaign does not have.
    """
    catalog = Catalog(campaign)
    gathered = _Gathered(Columns(campaign, catalog))
    for chunk in chunks:
        gathered.add(chunk, catalog)
    left_out = {cause: n for cause, n in gathered.left_out.items() if n}
    if not gathered.counted:
        return Untold("no decision was drawn uniformly among several arms: give random_control a share", left_out)
    # Its matrices are small: more threads would wait for each other, and round otherwise.
    with threadpool_limits(1):
        return _Estimate(gathered.rows(), catalog).result()


@dataclass(slots=True)
class _Gathered:
    """The rows of a log that count."""

    columns: Columns
    arm: list[NDArray[np.intp]] = field(default_factory=list)
    reward: list[NDArray[np.float64]] = field(default_factory=list)
    packed: list[NDArray[np.uint8]] = field(default_factory=list)
    customer: list[NDArray[np.uint64]] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    counted: int = 0

    def add(self, chunk: Log, catalog: Catalog) -> None:
        """The next chunk."""
        unknown = [arm for arm in chunk.arms if arm not in catalog.index]
        if unknown:
            raise InvalidInput(f"the log has arms that the campaign does not have: {', '.join(unknown[:5])}")
        places = np.array([catalog.index[arm] for arm in chunk.arms], np.intp)
        candidates = np.count_nonzero(chunk.candidates, axis=1)
        uniform = np.abs(chunk.propensity * candidates - 1.0) <= _EQUAL
        choice = candidates > 1
        self.left_out["only one arm was allowed"] += int((~choice).sum())
        self.left_out["not drawn uniformly"] += int((choice & ~uniform).sum())
        rows = np.flatnonzero(choice & uniform)
        if not len(rows):
            return
        mine = chunk.take(rows)
        self.columns.add(mine)
        self.arm.append(places[mine.chosen])
        self.reward.append(mine.reward)
        allowed = np.zeros((len(mine), len(catalog)), np.bool_)
        allowed[:, places] = mine.candidates
        self.packed.append(np.packbits(allowed, axis=1))
        alone = np.arange(self.counted, self.counted + len(mine)).astype(np.uint64)
        self.customer.append(alone if mine.customer is None else mine.customer)
        self.counted += len(mine)

    def rows(self) -> _Rows:
        """All of them, among the arms that were allowed in some row."""
        packed = np.concatenate(self.packed)
        width = 8 * packed.shape[1]
        some = np.unpackbits(np.bitwise_or.reduce(packed, axis=0), count=width)
        kept = np.flatnonzero(some)
        own = np.full(width, -1, np.intp)
        own[kept] = np.arange(len(kept))
        return _Rows(
            self.columns.design(),
            kept,
            own[np.concatenate(self.arm)],
            np.concatenate(self.reward),
            packed,
            np.concatenate(self.customer),
            {cause: n for cause, n in self.left_out.items() if n},
        )


@dataclass(frozen=True, slots=True)
class _Rows:
    """n rows among K arms of the catalog.

    Attributes:
        design: what was known.
        arms: (K,) the arms' places in the catalog.
        arm: (n,) which was drawn, index into `arms`.
        reward: (n,).
        packed: (n, bytes) the candidates by their places in the catalog, a bit each.
        customer: (n,) whose each is.
        left_out: how many others there were, by cause.
    """

    design: Design
    arms: NDArray[np.intp]
    arm: NDArray[np.intp]
    reward: NDArray[np.float64]
    packed: NDArray[np.uint8]
    customer: NDArray[np.uint64]
    left_out: Mapping[str, int]

    def __len__(self) -> int:
        return len(self.arm)

    def allowed(self, rows: NDArray[np.intp]) -> NDArray[np.bool_]:
        """(rows, K)."""
        return np.unpackbits(self.packed[rows], axis=1)[:, self.arms].astype(np.bool_)


class _Estimate:
    """The estimate from some rows."""

    def __init__(self, rows: _Rows, catalog: Catalog) -> None:
        self._rows = rows
        self._catalog = catalog
        self._channel = catalog.channel_of[rows.arms]
        self._choosing = {each: Choosing.of(catalog, rows.arms, each) for each in coalitions()}
        self._seen = {each: self._columns(each) for each in coalitions()}
        self._fold = (rows.customer % np.uint64(FOLDS)).astype(np.intp)

    def result(self) -> Ablation | Untold:
        """What the rows tell, or why they do not."""
        rows = self._rows
        drawn = np.bincount(rows.arm, minlength=len(rows.arms))
        if (drawn == 0).any():
            never = [self._catalog.arms[place].id for place in rows.arms[drawn == 0].tolist()]
            return Untold(f"{len(never)} arms were allowed and never drawn, such as {never[0]}", rows.left_out)
        largest = coefficients(self._choosing[_EVERYBODY], self._seen[_EVERYBODY])
        if len(rows) < FEWEST_ROWS * largest:
            return Untold(
                f"{len(rows):,} decisions drawn uniformly are too few for the {largest:,} coefficients of a policy "
                f"that sees and chooses everything: {FEWEST_ROWS * largest:,} are needed",
                rows.left_out,
            )
        terms, short = self._values()
        totals = Totals.of(np.hstack([rows.reward[:, None], terms]), rows.customer)
        return divided(coalitions(), totals.moments(), short, rows.left_out)

    def _columns(self, players: frozenset[str]) -> NDArray[np.intp]:
        return np.flatnonzero(np.isin(self._rows.design.seen_by, ["", *players]))

    def _values(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(n, coalitions) DR terms of V(S); and (coalitions,) by how much the learned policies fall short."""
        rows, arms = self._rows, len(self._rows.arms)
        by_fold = []
        for f in range(FOLDS):
            mine = np.flatnonzero(self._fold == f)
            by_fold.append(Sums.of(rows.design.values[mine], rows.arm[mine], rows.reward[mine], arms))
        terms = np.zeros((len(rows), len(self._seen)))
        short = np.zeros(len(self._seen))
        for f in range(FOLDS):
            others = [by_fold[other] for other in range(FOLDS) if other != f]
            halves = (others[0] + others[1], others[2] + others[3])
            whole, *apart = (
                [self._fit(sums, each) for each in self._seen] for sums in (halves[0] + halves[1], *halves)
            )
            everything = self._full(halves[0] + halves[1])
            mine = np.flatnonzero(self._fold == f)
            for start in range(0, len(mine), _AT_ONCE):
                some = mine[start : start + _AT_ONCE]
                terms[some], missed = self._valued(some, everything, whole, apart)
                short += missed / len(rows)
        return terms, short

    def _fit(self, sums: Sums, players: frozenset[str]) -> Model:
        return fit(sums, self._rows.design, self._channel, self._choosing[players], self._seen[players])

    def _full(self, sums: Sums) -> NDArray[np.float64]:
        """(K, D) weights of the reward model, arm by arm."""
        model, choosing = self._fit(sums, _EVERYBODY), self._choosing[_EVERYBODY]
        return model.weights[choosing.group_of] * concerned(self._rows.design, self._channel, choosing)

    def _valued(
        self, some: NDArray[np.intp], everything: NDArray[np.float64], whole: list[Model], apart: list[list[Model]]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(rows, coalitions) DR terms of some rows; and the sums over them of what the policies fall short by."""
        x, arm, reward = self._rows.design.values[some], self._rows.arm[some], self._rows.reward[some]
        allowed, at = self._rows.allowed(some), np.arange(len(some))
        q = x @ everything.T
        residual = (reward - q[at, arm]) * np.count_nonzero(allowed, axis=1)
        terms, missed = np.empty((len(some), len(whole))), np.zeros(len(whole))
        for s, choosing in enumerate(self._choosing.values()):
            member = choosing.group_of[:, None] == np.arange(choosing.options)
            possible = allowed.astype(np.float32) @ member.astype(np.float32) > 0.0
            taken = _best(whole[s].expected(x), possible)
            drawn_from = allowed & member.T[taken]
            size = np.count_nonzero(drawn_from, axis=1)
            terms[:, s] = ((q * drawn_from).sum(axis=1) + drawn_from[at, arm] * residual) / size
            one, other = (models[s].expected(x) for models in apart)
            for mine, theirs in ((one, other), (other, one)):
                best = _best(mine, possible)
                missed[s] += (mine[at, best] - theirs[at, best]).sum() / 8.0
        return terms, missed


def _best(expected: NDArray[np.float64], possible: NDArray[np.bool_]) -> NDArray[np.intp]:
    best: NDArray[np.intp] = np.where(possible, expected, -np.inf).argmax(axis=1)
    return best
