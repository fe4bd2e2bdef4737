"""Typed features by bucket -> what the learner reads and the scorer multiplies. One description serves both.

A campaign's features and crosses make a `FeatureSpace`. Its model is linear in crosses of a **context term** (a
feature, or a pair of categorical features) with an **arm term** (a dimension, or a product of dimensions), plus the arm
terms themselves. There are no context-only terms: they would move all arms alike. For Vowpal Wabbit every set of
context terms that is crossed with the same arm terms is a namespace (`A`, `B`, ...), every arm term is one (`a`, `b`,
...), and the crosses are its quadratic interactions.

How missing values are handled, by the feature's `missing`: a number takes the `mean` (0 once standardised), the
`median`, or the mean and an indicator feature (`flag`); the others take a `level` of their own or are left out
(`ignore`).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from string import ascii_lowercase, ascii_uppercase
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np

from optimizer.attributes import PER_CHANNEL_FEATURES, Columns
from optimizer.standardisation import LARGEST
from optimizer.vw import escape

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from optimizer.campaign import CampaignFile, Feature
    from optimizer.catalog import Catalog
    from optimizer.rules import Scalar

ArmTerm: TypeAlias = tuple[str, ...]
"""Dimensions whose product is meant, in the order of `DIMENSIONS`."""

Level: TypeAlias = str | tuple[str, ...] | bool | None


@dataclass(frozen=True, slots=True)
class NumberColumn:
    """A column of the scorer's matrix: a standardised number or the indicator that it is missing.

    Attributes:
        text: the feature's name in Vowpal Wabbit.
        space: its namespace.
        number: index of the number (which statistics it takes).
        channel: index of the only channel whose arms see it, -1 for all arms.
        flag: True for the indicator.
    """

    text: str
    space: str
    number: int
    channel: int
    flag: bool


@dataclass(frozen=True, slots=True)
class LevelTerm:
    """A categorical context term: one feature, or a pair of two.

    Attributes:
        features: indexes into `FeatureSpace.categories`, one or two.
        space: its namespace.
        pooled: True where only the models with pairs have it.
    """

    features: tuple[int, ...]
    space: str
    pooled: bool


@dataclass(frozen=True, slots=True)
class Encoded:
    """Raw feature values of n customers, before anything learned is applied.

    Attributes:
        numbers: (n, X) float64, a column for each non-flag `NumberColumn`; log scale applied; NaN where missing.
        levels: for each category the n values; None where missing.
    """

    numbers: NDArray[np.float64]
    levels: tuple[Sequence[Level], ...]

    def __len__(self) -> int:
        return len(self.numbers)


class _SpaceOf(Protocol):
    """Gives the namespace of context terms that are crossed with these arm terms."""

    def __call__(self, terms: frozenset[ArmTerm], *, pooled: bool) -> str: ...


class FeatureSpace:
    """Everything about a campaign's features that does not depend on data.

    Attributes:
        numbers, categories: the features by kind, in the campaign's order.
        catalog: the arms; of an earlier version of the campaign where the trainer reads its decisions.
        columns: the scorer's dense columns: values first, then indicators.
        terms: the categorical context terms.
        arm_spaces: namespace of each arm term.
        crosses: for each context namespace the arm namespaces it is crossed with.
    """

    def __init__(self, campaign: CampaignFile, catalog: Catalog) -> None:
        self.numbers = tuple(f for f in campaign.features if f.type == "number")
        self.categories = tuple(f for f in campaign.features if f.type != "number")
        self.catalog = catalog
        self._arm_texts: dict[tuple[int, tuple[str, int] | None], str] = {}
        dimensions = campaign.catalog.dimensions
        single, products, arm_terms = _crosses(campaign, dimensions)
        self.arm_spaces = dict(zip(arm_terms, ascii_lowercase, strict=False))
        spaces: dict[tuple[frozenset[ArmTerm], bool], str] = {}
        self.crosses: dict[str, tuple[str, ...]] = {}

        def space(terms: frozenset[ArmTerm], *, pooled: bool) -> str:
            letter = spaces.setdefault((terms, pooled), ascii_uppercase[len(spaces)])
            self.crosses[letter] = tuple(self.arm_spaces[t] for t in arm_terms if t in terms)
            return letter

        self.terms = tuple(
            LevelTerm((i,), space(single[f.name], pooled=False), pooled=False)
            for i, f in enumerate(self.categories)
            if f.name in single
        )
        values, flags = [], []
        for i, f in enumerate(self.numbers):
            if f.name not in single:
                continue
            letter = space(single[f.name], pooled=False)
            for channel in range(len(catalog.channels)) if f.name in PER_CHANNEL_FEATURES else (-1,):
                values.append(NumberColumn(f.name, letter, i, channel, flag=False))
                if f.missing == "flag":
                    flags.append(NumberColumn(f"{f.name}=?", letter, i, channel, flag=True))
        self.columns = (*values, *flags)
        self.terms += self._pairs(products, frozenset((d,) for d in dimensions), space)
        self._value_of_flag = np.array(
            [next(j for j, v in enumerate(values) if (v.number, v.channel) == (c.number, c.channel)) for c in flags],
            np.intp,
        )
        self.number_of = np.array([c.number for c in values], np.intp)
        self.pooled_spaces = frozenset(t.space for t in self.terms if t.pooled)

    def _pairs(
        self, products: Mapping[tuple[str, str], frozenset[ArmTerm]], all_single: frozenset[ArmTerm], space: _SpaceOf
    ) -> tuple[LevelTerm, ...]:
        """The pairs that the campaign names, then, for the models with pairs, those of single-valued categories."""
        index = {f.name: i for i, f in enumerate(self.categories)}
        named = [
            LevelTerm((index[a], index[b]), space(terms, pooled=False), pooled=False)
            for (a, b), terms in products.items()
        ]
        taken = {term.features for term in named}
        single = [t.features[0] for t in self.terms if self.categories[t.features[0]].type != "multi_category"]
        pooled = [pair for pair in combinations(single, 2) if pair not in taken]
        return (*named, *(LevelTerm(pair, space(all_single, pooled=True), pooled=True) for pair in pooled))

    @property
    def has_pairs(self) -> bool:
        """True where models with and without pairs differ."""
        return bool(self.pooled_spaces)

    def options(self, *, pairs: bool) -> str:
        """Vowpal Wabbit's options for these namespaces: no context-only terms, and the quadratic crosses."""
        used = {c.space for c in self.columns} | {t.space for t in self.terms}
        spaces = [s for s in sorted(used) if pairs or s not in self.pooled_spaces]
        ignored = [f"--ignore_linear {s}" for s in spaces]
        return " ".join([*ignored, *(f"-q {s}{a}" for s in spaces for a in self.crosses[s])])

    def encode(self, context: Columns, history: Columns, n: int) -> Encoded:
        """Pick the features out of raw columns.

        Args:
            context: declared attributes, see `optimizer.attributes`; an absent column is missing for all.
            history: history features; those of `PER_CHANNEL_FEATURES` are (n, number of channels).
            n: number of customers.
        """
        numbers = np.full((n, len(self.number_of)), np.nan)
        for j, column in enumerate(c for c in self.columns if not c.flag):
            feature = self.numbers[column.number]
            source = history if feature.source == "history" else context
            raw = source.get(feature.name)
            if raw is not None:
                numbers[:, j] = raw if column.channel < 0 else raw[:, column.channel]
                if feature.scale == "log":
                    numbers[:, j] = np.sign(numbers[:, j]) * np.log1p(np.abs(numbers[:, j]))
        np.clip(numbers, -LARGEST, LARGEST, out=numbers)
        return Encoded(
            numbers, tuple(_levels(f, history if f.source == "history" else context, n) for f in self.categories)
        )

    def dense(self, encoded: Encoded, standardised: NDArray[np.float32]) -> NDArray[np.float32]:
        """The scorer's dense columns (n, C): `standardised` (n, X) and the indicators of missing values."""
        if not len(self._value_of_flag):
            return standardised
        return np.hstack([standardised, np.isnan(encoded.numbers[:, self._value_of_flag]).astype(np.float32)])

    def chosen(self, encoded: Encoded, channels: NDArray[np.intp]) -> NDArray[np.float64]:
        """(n, len(numbers)) raw numbers, as an arm on channel `channels` (n,; -1: none) sees them; NaN for none."""
        out = np.full((len(encoded), len(self.numbers)), np.nan)
        for j, column in enumerate(c for c in self.columns if not c.flag):
            seen = slice(None) if column.channel < 0 else channels == column.channel
            out[seen, column.number] = encoded.numbers[seen, j]
        return out

    def unseen(self, channels: NDArray[np.intp]) -> NDArray[np.bool_]:
        """(n, len(numbers)) True where a number is of a channel and the arm has none: it sees no value, no flag."""
        per_channel = np.array([f.name in PER_CHANNEL_FEATURES for f in self.numbers], np.bool_)
        return per_channel[None, :] & (channels < 0)[:, None]

    def term_levels(self, term: LevelTerm, values: Sequence[Level]) -> list[str]:
        """What `values`, one a feature of the term, switch on, by name; nothing where a missing one is ignored."""
        parts = [self._names(self.categories[i], value) for i, value in zip(term.features, values, strict=True)]
        if len(parts) == 1:
            return parts[0]
        return ["^".join(pair) for pair in zip(*parts, strict=True)] if all(parts) else []

    @staticmethod
    def _names(feature: Feature, value: Level) -> list[str]:
        if value is None:
            return [f"{feature.name}=?"] if feature.missing == "level" else []
        if isinstance(value, tuple):
            return [f"{feature.name}={escape(v)}" for v in value]
        return [f"{feature.name}={('false', 'true')[value] if isinstance(value, bool) else escape(value)}"]

    def arm_features(self, arm: int, variant: tuple[str, int] | None) -> list[tuple[str, str, float]]:
        """(namespace, name, value) of every feature of an arm, whose slot has this weekday and number of days ahead."""
        return [
            (space, name, value)
            for term, space in self.arm_spaces.items()
            for name, value in self._term_features(term, arm, variant)
        ]

    def arm_text(self, arm: int, variant: tuple[str, int] | None) -> str:
        """The arm's part of an example in Vowpal Wabbit's text format."""
        key = (arm, variant)
        if key not in self._arm_texts:
            parts: dict[str, str] = {}
            for space, name, value in self.arm_features(arm, variant):
                parts[space] = parts.get(space, "") + (f" {name}" if value == 1.0 else f" {name}:{value:.9g}")
            self._arm_texts[key] = "".join(f" |{space}{text}" for space, text in parts.items())
        return self._arm_texts[key]

    def _term_features(self, term: ArmTerm, arm: int, variant: tuple[str, int] | None) -> list[tuple[str, float]]:
        chosen = self.catalog.arms[arm]
        ids = {"message": chosen.message, "channel": chosen.channel, "timing": chosen.slot}
        if chosen.message is None:
            return [("^".join(term) + "=no_send", 1.0)]  # a level of every dimension, learned as fast as the others
        if any(ids[d] is None for d in term):
            return []  # an arm of an earlier version, whose catalog did not have this dimension
        if len(term) > 1:
            return [("^".join(term) + "=" + "^".join(str(ids[d]) for d in term), 1.0)]
        features = [(f"{term[0]}={ids[term[0]]}", 1.0)]
        if term == ("message",):
            message = self.catalog.messages[self.catalog.message_of[arm]]
            features += [_attribute(f"message.{k}", v) for k, v in message.attributes.items()]
            if message.offer:
                features += [_attribute("offer", message.offer.id), _attribute("offer.type", message.offer.type)]
        if term == ("timing",) and variant is not None:
            slot = self.catalog.slots[self.catalog.slot_of[arm]]
            weekday, days_ahead = variant
            features += [
                (f"hour={slot.start.hour}h", 1.0),
                (f"weekday={weekday}", 1.0),
                (f"days_ahead={days_ahead}d", 1.0),
            ]
        return features


def _attribute(name: str, value: Scalar) -> tuple[str, float]:
    if isinstance(value, bool):
        return f"{name}={'true' if value else 'false'}", 1.0
    return (f"{name}={escape(value)}", 1.0) if isinstance(value, str) else (name, float(value))


def _levels(feature: Feature, source: Columns, n: int) -> Sequence[Level]:
    raw = source.get(feature.name)
    if raw is None:
        return [None] * n
    if feature.type == "boolean":
        return [None if x != x else x > 0.0 for x in raw.tolist()]  # noqa: PLR0124 - NaN: missing
    return raw.tolist()  # type: ignore[no-any-return]


def _crosses(
    campaign: CampaignFile, dimensions: tuple[str, ...]
) -> tuple[dict[str, frozenset[ArmTerm]], dict[tuple[str, str], frozenset[ArmTerm]], tuple[ArmTerm, ...]]:
    """Arm terms of each single feature, of each pair of features, and all arm terms in order.

    By default every feature is crossed with every dimension, and the dimensions with each other in pairs. A list says
    itself what is crossed; each dimension always keeps its own effect.
    """
    single: dict[str, frozenset[ArmTerm]] = {}
    pairs: dict[tuple[str, str], frozenset[ArmTerm]] = {}
    arm_terms: dict[ArmTerm, None] = {(d,): None for d in dimensions}
    if campaign.policy.crosses == "default":
        arm_terms.update(dict.fromkeys(combinations(dimensions, 2)))
        return {f.name: frozenset((d,) for d in dimensions) for f in campaign.features}, pairs, tuple(arm_terms)
    for cross in campaign.policy.crosses:
        term = tuple(d for d in dimensions if d in cross)
        context = tuple(f.name for f in campaign.features if f.name in cross)
        arm_terms[term] = None
        if len(context) == 1:
            single[context[0]] = single.get(context[0], frozenset()) | {term}
        elif context:
            a, b = context
            pairs[a, b] = pairs.get((a, b), frozenset()) | {term}
    return single, pairs, tuple(arm_terms)
