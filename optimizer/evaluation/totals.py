"""Sums over logged rows, from which every estimate and its uncertainty follow. All of them can be added.

Rows have M terms each, (n, M). Those of one customer depend on each other and so are summed to one; customers are
independent. `Totals` keeps a row of sums for each customer, which resampling needs; `Moments` keeps the sums of these
and their scatter, whose size does not depend on the log's. Two shards of a log are added: totals of a customer in both
become one, while moments of both are right only if no customer is in both.

An estimate is a function of the means of terms. Its variance is that of the function's linear part (the delta method),
with customers as the units: Cochran, "Sampling Techniques" (1977), 6.4.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Sequence


Floats: TypeAlias = NDArray[np.float64]

_BLOCK: Final = 1 << 16
_ROUNDING: Final = 1e-13
"""What is smaller than this in comparison is an error of floating-point numbers."""


@dataclass(frozen=True, slots=True)
class Moments:
    """Sums over G customers of their M terms, and how these scatter.

    Attributes:
        rows: number of logged rows.
        customers: G.
        most: the largest number of rows that a customer has.
        sums: (M + 1,) the number of rows, as float64, then the sum of each term.
        scatter: (M + 1, M + 1) sums over customers of the products of their totals' deviations from the means of these,
            the number of rows among these; deviations, since sums of squares would lose the digits that matter.
        lowest, highest: (M,) the smallest and largest total that a customer has.
    """

    rows: int
    customers: int
    most: int
    sums: Floats
    scatter: Floats
    lowest: Floats
    highest: Floats

    @classmethod
    def of(cls, terms: Floats, sizes: Floats | None = None) -> Moments:
        """Of customers' totals (G, M), each of `sizes` (G,) rows; by default each row is a customer of its own."""
        starts = range(0, max(len(terms), 1), _BLOCK)
        blocks = (slice(start, start + _BLOCK) for start in starts)
        return reduce(add, (cls._of_block(terms[b], None if sizes is None else sizes[b]) for b in blocks))

    @classmethod
    def _of_block(cls, terms: Floats, sizes: Floats | None) -> Moments:
        g = len(terms)
        ones = np.ones(g) if sizes is None else sizes
        totals = np.column_stack([ones, terms])
        sums = totals.sum(axis=0)
        deviations = totals - sums / max(g, 1)
        return cls(
            round(sums[0]),
            g,
            round(ones.max(initial=0.0)),
            sums,
            deviations.T @ deviations,
            terms.min(axis=0, initial=np.inf),
            terms.max(axis=0, initial=-np.inf),
        )

    def __add__(self, other: Moments) -> Moments:
        """See Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for sample variances" (1979)."""
        scatter = self.scatter + other.scatter
        if self.customers and other.customers:
            apart = self.sums / self.customers - other.sums / other.customers
            between = self.customers * other.customers / (self.customers + other.customers)
            scatter += between * np.outer(apart, apart)
        return Moments(
            self.rows + other.rows,
            self.customers + other.customers,
            max(self.most, other.most),
            self.sums + other.sums,
            scatter,
            np.minimum(self.lowest, other.lowest),
            np.maximum(self.highest, other.highest),
        )

    def moments(self) -> Moments:
        """Itself, as of `Totals`."""
        return self

    def take(self, terms: Sequence[int]) -> Moments:
        """Those of some of the terms alone."""
        mine, with_rows = np.array(terms, np.intp), np.array([0, *(term + 1 for term in terms)], np.intp)
        return Moments(
            self.rows,
            self.customers,
            self.most,
            self.sums[with_rows],
            self.scatter[np.ix_(with_rows, with_rows)],
            self.lowest[mine],
            self.highest[mine],
        )

    def variance(self, gradient: Floats) -> float:
        """Of a function of the sums, by its gradient (M + 1,); nan with fewer than two customers, 0 if none differ."""
        g = self.customers
        if g < 2:  # noqa: PLR2004 - a variance takes two
            return float("nan")
        scatter, size = float(gradient @ self.scatter @ gradient), np.abs(gradient)
        # What is left where no customer differs from another: of the deviations, and of their parts that cancel out.
        of_deviations = (_ROUNDING * float(size @ np.abs(self.sums))) ** 2 / g
        of_cancelling = _ROUNDING * float(size @ np.abs(self.scatter) @ size)
        return 0.0 if scatter <= of_deviations + of_cancelling else scatter * g / (g - 1)


@dataclass(frozen=True, slots=True)
class Totals:
    """The sums of each customer's terms.

    Attributes:
        keys: (G,) uint64, the customers in ascending order; None: each row is a customer of its own.
        sizes: (G,) float64, how many rows each has.
        terms: (G, M) float64.
    """

    keys: NDArray[np.uint64] | None
    sizes: Floats
    terms: Floats

    @classmethod
    def of(cls, terms: Floats, customer: NDArray[np.uint64] | None) -> Totals:
        """From the terms of rows (n, M) and whose they are (n,)."""
        if customer is None:
            return cls(None, np.ones(len(terms)), terms)
        return cls._grouped(customer, np.ones(len(terms)), terms)

    def __add__(self, other: Totals) -> Totals:
        return Totals.join([self, other])

    @classmethod
    def join(cls, parts: Sequence[Totals]) -> Totals:
        """The sum of several, in one step: the same as adding them in their order."""
        known = {part.keys is not None for part in parts}
        if len(known) != 1:
            raise ValueError("some shards of the log say whose their rows are, and others do not")
        sizes, terms = np.concatenate([p.sizes for p in parts]), np.concatenate([p.terms for p in parts])
        if known == {False}:
            return cls(None, sizes, terms)
        return cls._grouped(np.concatenate([part.keys for part in parts if part.keys is not None]), sizes, terms)

    @classmethod
    def _grouped(cls, keys: NDArray[np.uint64], sizes: Floats, terms: Floats) -> Totals:
        distinct, index = np.unique(keys, return_inverse=True)
        summed = np.empty((len(distinct), terms.shape[1]))
        for j in range(terms.shape[1]):
            summed[:, j] = np.bincount(index, terms[:, j], len(distinct))
        return cls(distinct, np.bincount(index, sizes, len(distinct)).astype(np.float64), summed)

    @property
    def rows(self) -> int:
        """Number of logged rows."""
        return round(float(self.sizes.sum()))

    def moments(self) -> Moments:
        """What is left of these when only sums are needed."""
        return Moments.of(self.terms, None if self.keys is None else self.sizes)

    def take(self, terms: Sequence[int]) -> Totals:
        """Those of some of the terms alone."""
        return Totals(self.keys, self.sizes, self.terms[:, list(terms)])

    def beside(self, other: Totals) -> Totals:
        """These terms and then others of the same rows. Raises ValueError where the rows are others."""
        if not np.array_equal(self.sizes, other.sizes) or not _same(self.keys, other.keys):
            raise ValueError("terms of two policies can stand beside each other only if they are of the same rows")
        return Totals(self.keys, self.sizes, np.hstack([self.terms, other.terms]))


def _same(one: NDArray[np.uint64] | None, other: NDArray[np.uint64] | None) -> bool:
    if one is None or other is None:
        return one is other
    return np.array_equal(one, other)
