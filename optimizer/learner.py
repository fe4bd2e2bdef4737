"""Learning from matured decisions with a pool of models that are linear in the same crosses.

Each model regresses the reward on the chosen arm's example alone, the unweighted regression that SquareCB asks for
(Foster and Rakhlin, ICML 2020). The pool begins with ridge regressions, see `optimizer.ridge`, on the crosses alone and
on these and pairs of categorical features with the arm. Where their coefficients become too many, Vowpal Wabbit's
models of that kind join, with squared and with logistic loss: theirs may be any number. From then on the regression
with pairs is out, and the one without stays with what it has.

With `importance: mtr` the models are Vowpal Wabbit's from the first decision on, and the weights are those that its own
`--cb_adf --cb_type mtr` learns, which updates nothing but the chosen arm's example either.

The model with the lowest cumulative squared error, predicted before learning, serves. The logistic ones are out for
good once a reward outside [0, 1] was seen.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import exp, sqrt
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import orjson

from optimizer.ridge import Ridge
from optimizer.snapshot import Snapshot, pack, unpack
from optimizer.standardisation import Standardiser
from optimizer.texts import Texts
from optimizer.vw import Model, weights

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from optimizer.features import FeatureSpace
    from optimizer.lessons import Lessons

_LEARNING = "-l 0.5 --power_t 0.5"
_PSEUDO_COUNT = 0.5
_REWARD_DECIMALS = 12
_LARGEST_EXPONENT = 700.0


@dataclass(slots=True)
class Member:
    """One of Vowpal Wabbit's models in the pool, its kind and how well it has predicted so far."""

    loss: Literal["squared", "logistic"]
    pairs: bool
    model: Model
    header: int
    squared_error: float = 0.0

    def learn(self, example: str, reward: float, importance: float) -> None:
        """Predict the reward, note the squared error, and learn."""
        if self.loss == "squared":
            predicted = -self.model.learn(f"{-reward:.9g} {importance:.9g}{example}")
        elif reward in {0.0, 1.0}:
            predicted = _sigmoid(self.model.learn(f"{2 * reward - 1:.0f} {importance:.9g}{example}"))
        else:
            # A reward between 0 and 1 is that much of a success and the rest of a failure.
            predicted = _sigmoid(self.model.learn(f"1 {importance * reward:.9g}{example}"))
            self.model.learn(f"-1 {importance * (1 - reward):.9g}{example}")
        self.squared_error += (predicted - reward) ** 2

    def weights(self) -> NDArray[np.float32]:
        """(2**18,) float32 Vowpal Wabbit's weights."""
        return weights(self.model.save(), self.header)


@dataclass(frozen=True, slots=True)
class RidgeMember:
    """A ridge regression with one of its lambdas, by number, as a model of the pool."""

    ridge: Ridge
    number: int
    squared_error: float
    loss: Literal["squared"] = "squared"

    @property
    def pairs(self) -> bool:
        """Whether it has the pairs of categorical features."""
        return self.ridge.pairs

    def weights(self) -> NDArray[np.float32]:
        """(2**18,) float32 coefficients of costs, as Vowpal Wabbit would have them."""
        return self.ridge.weights(self.number)


AnyMember: TypeAlias = Member | RidgeMember


@dataclass(slots=True)
class Counters:
    """Sums over what was learned, from which exploration takes its pace."""

    events: int = 0
    candidates: int = 0
    reward_sum: float = 0.0
    reward_square_sum: float = 0.0
    within_unit: bool = True

    def add(self, rewards: NDArray[np.float64], candidates: NDArray[np.intp]) -> None:
        """Take more decisions (n,). One by one: sums of floats depend on the order."""
        self.events += len(rewards)
        self.candidates += int(candidates.sum())
        for reward in rewards.tolist():
            self.reward_sum += reward
            self.reward_square_sum += reward * reward
        self.within_unit = self.within_unit and bool(((rewards >= 0.0) & (rewards <= 1.0)).all())

    @property
    def sigma(self) -> float:
        """Standard deviation of the rewards and half a reward of 0, so that it is positive from the first one on."""
        n = self.events + _PSEUDO_COUNT
        return sqrt(max(self.reward_square_sum / n - (self.reward_sum / n) ** 2, 0.0))


class Learner:
    """The pool, its statistics and counters: one campaign's learning state.

    Args:
        space: the campaign's features.
        importance: `one`, or `mtr` for multi-task regression (Bietti, Agarwal and Langford, "A contextual bandit
            bake-off", JMLR 2021).
        saved: the bytes of an earlier learner's `save`, to go on exactly where it stood.
        second_order: False leaves out the ridge regressions, as `mtr` does.

    Attributes:
        members: Vowpal Wabbit's models.
        ridges: the ridge regressions.
    """

    def __init__(
        self,
        space: FeatureSpace,
        importance: Literal["one", "mtr"],
        saved: bytes | None = None,
        *,
        second_order: bool = True,
    ) -> None:
        self._space = space
        self._importance = importance
        self._texts = Texts(space)
        self.members: list[Member] = []
        self.ridges: list[Ridge] = []
        if saved is not None:
            self._restore(saved)
            return
        medians = [i for i, f in enumerate(space.numbers) if f.missing == "median"]
        self.standardiser = Standardiser(len(space.numbers), medians)
        self.counters = Counters()
        kinds = (False, True) if space.has_pairs else (False,)
        if second_order and importance == "one":
            self.ridges = [Ridge(space, pairs=pairs) for pairs in kinds]
        else:
            self.members = [self._member(loss, pairs) for loss in ("squared", "logistic") for pairs in kinds]

    def _member(self, loss: Literal["squared", "logistic"], pairs: bool, file: bytes | None = None) -> Member:  # noqa: FBT001
        options = f"--loss_function {loss} {_LEARNING} {self._space.options(pairs=pairs)}"
        header = len(Model(options).save())
        return Member(loss, pairs, Model(options, file), header)

    def learn(self, lessons: Lessons) -> None:
        """Learn every decision once, in order. Learning a then b leaves the same state as learning both at once."""
        standardised = self.standardiser.learn(lessons.numbers)
        standardised[lessons.unseen] = 0.0
        texts = self._texts.of_terms(lessons)
        # Sums of floats: 0.1 + 0.2 is a hair more than 0.3, and must not count as a reward outside [0, 1].
        lessons = replace(lessons, rewards=lessons.rewards.round(_REWARD_DECIMALS))
        start = 0
        while start < len(lessons):
            part = slice(start, min([len(lessons), *(start + ridge.room for ridge in self.ridges)]))
            if self.members:
                self._learn_members(lessons, part, *self._texts.examples(lessons, standardised, texts, part))
            self.counters.add(lessons.rewards[part], lessons.candidates[part])
            for ridge in self.ridges:
                ridge.learn(lessons, standardised, texts, part)
            self._join()
            start = part.stop

    def _learn_members(self, lessons: Lessons, part: slice, plain: list[str], paired: list[str]) -> None:
        rewards = lessons.rewards[part]
        importances = np.ones(len(rewards))
        if self._importance == "mtr":
            events = self.counters.events + np.arange(1, len(rewards) + 1)
            candidates = self.counters.candidates + np.cumsum(lessons.candidates[part])
            importances = events / candidates / lessons.propensities[part]
        within = np.logical_and.accumulate((rewards >= 0.0) & (rewards <= 1.0)) & self.counters.within_unit
        rows = zip(plain, paired, rewards.tolist(), importances.tolist(), within.tolist(), strict=True)
        for without_pairs, with_pairs, reward, importance, within_unit in rows:
            for member in self.members:
                if member.loss == "squared" or within_unit:
                    member.learn(with_pairs if member.pairs else without_pairs, reward, importance)

    def _join(self) -> None:
        """Have Vowpal Wabbit's models join where a regression has become too large.

        They begin as if they had predicted as badly as the worst model so far: the models in place keep their lead
        until the new ones have made up for it.
        """
        for ridge in self.ridges:
            if ridge.full and not any(member.pairs == ridge.pairs for member in self.members):
                worst = max(each.squared_error for each in self.models)
                joining = [self._member("squared", ridge.pairs), self._member("logistic", ridge.pairs)]
                for member in joining:
                    member.squared_error = worst
                self.members += joining
        self.ridges = [ridge for ridge in self.ridges if not (ridge.full and ridge.pairs)]

    @property
    def models(self) -> list[AnyMember]:
        """All models of the pool that may serve."""
        ridges = [
            RidgeMember(ridge, number, error)
            for ridge in self.ridges
            for number, error in enumerate(ridge.squared_errors().tolist())
        ]
        return [*ridges, *(m for m in self.members if m.loss == "squared" or self.counters.within_unit)]

    @property
    def serving(self) -> AnyMember:
        """The model with the lowest cumulative squared error; the first of equals."""
        return min(self.models, key=lambda m: m.squared_error)

    def snapshot(self) -> Snapshot:
        """The serving model with what was learned beside it."""
        return self.snapshot_of(self.serving)

    def snapshot_of(self, member: AnyMember) -> Snapshot:
        """One of the models, with what was learned beside it."""
        return Snapshot(
            loss=member.loss,
            pairs=member.pairs,
            weights=member.weights(),
            standardiser=Standardiser.restore(self.standardiser.state()),
            vocabulary=tuple(
                known.seen if member.pairs or not known.term.pooled else () for known in self._texts.levels
            ),
            events=self.counters.events,
            sigma=self.counters.sigma,
        )

    def save(self) -> bytes:
        """Everything needed to go on: Vowpal Wabbit's own model files and our state beside them, in a zip archive."""
        files: dict[str, bytes] = {}
        for i, member in enumerate(self.members):
            files[f"model-{i}.vw"] = member.model.save()
        ridges = []
        for i, ridge in enumerate(self.ridges):
            state, arrays = ridge.save()
            ridges.append({"pairs": ridge.pairs, "state": state})
            files |= {f"ridge-{i}/{name}": array for name, array in arrays.items()}
        meta = {
            "standardiser": self.standardiser.state(),
            "counters": {f: getattr(self.counters, f) for f in Counters.__slots__},
            "vocabulary": [known.seen for known in self._texts.levels],
            "members": [[m.loss, m.pairs, m.squared_error] for m in self.members],
            "ridges": ridges,
        }
        return pack({"meta.json": orjson.dumps(meta), **files})

    def _restore(self, saved: bytes) -> None:
        files = unpack(saved)
        state: dict[str, Any] = orjson.loads(files["meta.json"])
        self.standardiser = Standardiser.restore(state["standardiser"])
        self.counters = Counters(**state["counters"])
        for known, values in zip(self._texts.levels, state["vocabulary"], strict=True):
            for value in values:
                known.get(tuple(value) if isinstance(value, list) else value)
        if "squared_errors" in state:
            # Saved before there were ridge regressions: a pool of Vowpal Wabbit's models, which go on.
            kinds = (False, True) if self._space.has_pairs else (False,)
            every = [(loss, pairs) for loss in ("squared", "logistic") for pairs in kinds]
            errors = zip(every, state["squared_errors"], strict=True)
            state |= {"members": [(*kind, error) for kind, error in errors], "ridges": []}
        for i, (loss, pairs, squared_error) in enumerate(state["members"]):
            member = self._member(loss, pairs, files[f"model-{i}.vw"])
            member.squared_error = squared_error
            self.members.append(member)
        for i, kept in enumerate(state["ridges"]):
            prefix = f"ridge-{i}/"
            arrays = {name.removeprefix(prefix): data for name, data in files.items() if name.startswith(prefix)}
            self.ridges.append(Ridge(self._space, pairs=kept["pairs"], saved=(kept["state"], arrays)))


def _sigmoid(x: float) -> float:
    return 1.0 / (1.0 + exp(min(-x, _LARGEST_EXPONENT)))
