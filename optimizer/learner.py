"""Learning from matured decisions with a pool of Vowpal Wabbit models.

Each model regresses the cost (the negated reward) on the chosen arm's example alone: Vowpal Wabbit's own `--cb_adf
--cb_type mtr` updates nothing else either, and with its importance weights (`importance: mtr`) the weights are the
same. By default the importance is 1, the unweighted regression oracle that SquareCB asks for (Foster and Rakhlin, ICML
2020).

The pool is {squared, logistic} x {crosses, crosses and pairs of categorical features}. The model with the lowest
cumulative squared error, predicted before learning, serves. The logistic ones are out for good once a reward outside
[0, 1] was seen.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import exp, sqrt
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import orjson

from optimizer.snapshot import Snapshot, pack, unpack
from optimizer.standardisation import Standardiser
from optimizer.vw import Model, weights

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from optimizer.features import Encoded, FeatureSpace, Level, LevelTerm

_LEARNING = "-l 0.5 --power_t 0.5"
_VOCABULARY_LIMIT = 50_000
_PSEUDO_COUNT = 0.5
_REWARD_DECIMALS = 12
_LARGEST_EXPONENT = 700.0


@dataclass(frozen=True, slots=True)
class Lessons:
    """n matured decisions in learning order.

    Attributes:
        numbers: (n, D) float64 raw numbers as the arm drawn sees them, NaN where missing.
        unseen: (n, D) True where the arm sees neither the number nor that it is missing.
        levels: for each categorical feature the n values.
        arms: (n,) the text of the arm drawn, from `FeatureSpace.arm_text`.
        rewards: (n,) float64, in units of the reward's scale.
        propensities: (n,) float64, with which the arm was drawn.
        candidates: (n,) number of arms that were allowed.
    """

    numbers: NDArray[np.float64]
    unseen: NDArray[np.bool_]
    levels: tuple[Sequence[Level], ...]
    arms: Sequence[str]
    rewards: NDArray[np.float64]
    propensities: NDArray[np.float64]
    candidates: NDArray[np.intp]

    @classmethod
    def of(  # noqa: PLR0913 - the columns of a log
        cls,
        space: FeatureSpace,
        encoded: Encoded,
        arms: NDArray[np.intp],
        variants: Sequence[tuple[str, int] | None],
        *,
        rewards: NDArray[np.float64],
        propensities: NDArray[np.float64],
        candidates: NDArray[np.intp],
    ) -> Lessons:
        """Lessons from encoded features and the index of the arm drawn (n,), whose slot was of this variant."""
        channels = space.catalog.channel_of[arms]
        texts = [space.arm_text(arm, variant) for arm, variant in zip(arms.tolist(), variants, strict=True)]
        return cls(
            space.chosen(encoded, channels),
            space.unseen(channels),
            encoded.levels,
            texts,
            rewards,
            propensities,
            candidates,
        )

    def __len__(self) -> int:
        return len(self.arms)


@dataclass(slots=True)
class Member:
    """A model of the pool, its kind and how well it has predicted so far."""

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


@dataclass(slots=True)
class Counters:
    """Sums over what was learned, from which exploration takes its pace."""

    events: int = 0
    candidates: int = 0
    reward_sum: float = 0.0
    reward_square_sum: float = 0.0
    within_unit: bool = True

    def add(self, reward: float, candidates: int) -> None:
        """Take one more decision."""
        self.events += 1
        self.candidates += candidates
        self.reward_sum += reward
        self.reward_square_sum += reward * reward
        self.within_unit = self.within_unit and 0.0 <= reward <= 1.0

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
    """

    def __init__(self, space: FeatureSpace, importance: Literal["one", "mtr"], saved: bytes | None = None) -> None:
        self._space = space
        self._importance = importance
        files = unpack(saved) if saved is not None else {}
        state: dict[str, Any] = orjson.loads(files["meta.json"]) if files else {}
        medians = [i for i, f in enumerate(space.numbers) if f.missing == "median"]
        self.standardiser = (
            Standardiser.restore(state["standardiser"]) if state else Standardiser(len(space.numbers), medians)
        )
        self.counters = Counters(**state["counters"]) if state else Counters()
        self._texts = _Texts(space)
        for known, values in zip(self._texts.levels, state.get("vocabulary", ()), strict=False):
            for value in values:
                known.get(tuple(value) if isinstance(value, list) else value)
        self.members: list[Member] = []
        for i, (loss, pairs) in enumerate(_kinds(space)):
            options = f"--loss_function {loss} {_LEARNING} {space.options(pairs=pairs)}"
            header = len(Model(options).save())
            model = Model(options, files.get(f"model-{i}.vw"))
            self.members.append(Member(loss, pairs, model, header, state["squared_errors"][i] if state else 0.0))

    def learn(self, lessons: Lessons) -> None:
        """Learn every decision once, in order. Learning a then b leaves the same state as learning both at once."""
        standardised = self.standardiser.learn(lessons.numbers)
        standardised[lessons.unseen] = 0.0
        plain, paired = self._texts.examples(lessons, standardised)
        rows = zip(
            plain,
            paired,
            # Sums of floats: 0.1 + 0.2 is a hair more than 0.3, and must not count as a reward outside [0, 1].
            lessons.rewards.round(_REWARD_DECIMALS).tolist(),
            lessons.propensities.tolist(),
            lessons.candidates.tolist(),
            strict=True,
        )
        for without_pairs, with_pairs, reward, propensity, candidates in rows:
            self.counters.add(reward, candidates)
            importance = 1.0
            if self._importance == "mtr":
                importance = self.counters.events / self.counters.candidates / propensity
            for member in self.members:
                if member.loss == "squared" or self.counters.within_unit:
                    member.learn(with_pairs if member.pairs else without_pairs, reward, importance)

    @property
    def serving(self) -> Member:
        """The member with the lowest cumulative squared error; the first of equals."""
        eligible = [m for m in self.members if m.loss == "squared" or self.counters.within_unit]
        return min(eligible, key=lambda m: m.squared_error)

    def snapshot(self) -> Snapshot:
        """The serving model with what was learned beside it."""
        member = self.serving
        return Snapshot(
            loss=member.loss,
            pairs=member.pairs,
            weights=weights(member.model.save(), member.header),
            standardiser=Standardiser.restore(self.standardiser.state()),
            vocabulary=tuple(
                known.seen if member.pairs or not known.term.pooled else () for known in self._texts.levels
            ),
            events=self.counters.events,
            sigma=self.counters.sigma,
        )

    def save(self) -> bytes:
        """Everything needed to go on: Vowpal Wabbit's own model files and our state beside them, in a zip archive."""
        counters = {f: getattr(self.counters, f) for f in Counters.__slots__}
        meta = {
            "standardiser": self.standardiser.state(),
            "counters": counters,
            "vocabulary": [known.seen for known in self._texts.levels],
            "squared_errors": [m.squared_error for m in self.members],
        }
        models = {f"model-{i}.vw": m.model.save() for i, m in enumerate(self.members)}
        return pack({"meta.json": orjson.dumps(meta), **models})


def _kinds(space: FeatureSpace) -> list[tuple[Literal["squared", "logistic"], bool]]:
    pairs = (False, True) if space.has_pairs else (False,)
    return [(loss, p) for loss in ("squared", "logistic") for p in pairs]


def _sigmoid(x: float) -> float:
    return 1.0 / (1.0 + exp(min(-x, _LARGEST_EXPONENT)))


@dataclass(slots=True)
class _LevelTexts:
    """The text of a term's values, remembered: its keys are the vocabulary."""

    space: FeatureSpace
    term: LevelTerm
    known: dict[Any, str] = field(default_factory=dict)

    def get(self, value: Any) -> str:  # noqa: ANN401 -- a level, or a tuple of them for a pair
        text = self.known.get(value)
        if text is None:
            values = value if len(self.term.features) > 1 else (value,)
            text = "".join(f" {name}" for name in self.space.term_levels(self.term, values))
            if len(self.known) < _VOCABULARY_LIMIT:
                self.known[value] = text
        return text

    @property
    def seen(self) -> tuple[Any, ...]:
        return tuple(self.known)


class _Texts:
    """Writes the examples of a batch in Vowpal Wabbit's text format, without the label."""

    def __init__(self, space: FeatureSpace) -> None:
        self._space = space
        self.levels = [_LevelTexts(space, term) for term in space.terms]

    def examples(self, lessons: Lessons, standardised: NDArray[np.float32]) -> tuple[list[str], list[str]]:
        """The example of each decision without and with the namespaces of the pairs."""
        parts: dict[str, list[list[str]]] = {}
        self._numbers(lessons, standardised, parts)
        for known in self.levels:
            columns = [lessons.levels[i] for i in known.term.features]
            values = columns[0] if len(columns) == 1 else zip(*columns, strict=True)
            parts.setdefault(known.term.space, []).append([known.get(v) for v in values])
        plain, paired = [lessons.arms], [lessons.arms]
        for space, texts in sorted(parts.items()):
            joined = [f" |{space}" + "".join(row) for row in zip(*texts, strict=True)]
            paired.append(joined)
            if space not in self._space.pooled_spaces:
                plain.append(joined)
        plain_texts = ["".join(row) for row in zip(*plain, strict=True)]
        if len(plain) == len(paired):
            return plain_texts, plain_texts
        return plain_texts, ["".join(row) for row in zip(*paired, strict=True)]

    def _numbers(self, lessons: Lessons, standardised: NDArray[np.float32], parts: dict[str, list[list[str]]]) -> None:
        numbers: dict[str, dict[int, str]] = {}
        flags: dict[int, tuple[str, str]] = {}
        for column in self._space.columns:
            if column.flag:
                flags[column.number] = (column.space, column.text)
            else:
                numbers.setdefault(column.space, {})[column.number] = column.text
        for space, names in numbers.items():
            form = "".join(f" {text}:%.9g" for text in names.values())
            parts.setdefault(space, []).append([form % tuple(row) for row in standardised[:, list(names)].tolist()])
        if flags:
            missing = np.isnan(lessons.numbers) & ~lessons.unseen
            for number, (space, text) in flags.items():
                parts[space].append([f" {text}" if m else "" for m in missing[:, number].tolist()])
