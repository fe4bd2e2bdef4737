"""Sums over logged rows, from which every estimate and its uncertainty follow. All of them can be added.

Rows have M terms each, (n, M). Those of one customer depend on each other and so are summed to one; customers are
independent. `Totals` keeps a row of sums for each customer, which resampling needs; `Moments` keeps the sums of these
and of their products, whose size does not depend on the log's. Two shards of a log are added: totals of a customer in
both become one, while moments of both are right only if no customer is in both.

An estimate is a function of the means of terms. Its variance is that of the function's linear part (the delta method),
with customers as the units: Cochran, "Sampling Techniques" (1977), 6.4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Sequence

Floats: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Moments:
    """Sums over G customers of their M terms and of the products of these.

    Attributes:
        rows: number of logged rows.
        customers: G.
        sums: (M + 1,) the number of rows, as float64, then the sum of each term.
        products: (M + 1, M + 1) sums over customers of the products of their totals, the number of rows among these.
        lowest, highest: (M,) the smallest and largest total that a customer has.
    """

    rows: int
    customers: int
    sums: Floats
    products: Floats
    lowest: Floats
    highest: Floats

    @classmethod
    def of(cls, terms: Floats, sizes: Floats | None = None) -> Moments:
        """Of customers' totals (G, M), each of `sizes` (G,) rows; by default each row is a customer of its own."""
        g, m = terms.shape
        sums, products = np.empty(m + 1), np.empty((m + 1, m + 1))
        ones = np.ones(g) if sizes is None else sizes
        sums[0], sums[1:] = ones.sum(), terms.sum(axis=0)
        products[0, 0], products[1:, 1:] = ones @ ones, terms.T @ terms
        products[0, 1:] = products[1:, 0] = ones @ terms
        lowest, highest = terms.min(axis=0, initial=np.inf), terms.max(axis=0, initial=-np.inf)
        return cls(round(sums[0]), g, sums, products, lowest, highest)

    def __add__(self, other: Moments) -> Moments:
        return Moments(
            self.rows + other.rows,
            self.customers + other.customers,
            self.sums + other.sums,
            self.products + other.products,
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
            self.sums[with_rows],
            self.products[np.ix_(with_rows, with_rows)],
            self.lowest[mine],
            self.highest[mine],
        )

    def variance(self, gradient: Floats) -> float:
        """Of a function of the sums, by its gradient (M + 1,); nan with fewer than two customers."""
        g = self.customers
        if g < 2:  # noqa: PLR2004 - a variance takes two
            return float("nan")
        centred = gradient @ self.products @ gradient - (gradient @ self.sums) ** 2 / g
        return max(float(centred), 0.0) * g / (g - 1)


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
        sizes, terms = np.concatenate([p.sizes for p in parts]), np.concatenate([p.terms for p in parts])
        keys = [part.keys for part in parts if part.keys is not None]
        if not keys:
            return cls(None, sizes, terms)
        if len(keys) != len(parts):
            raise ValueError("some shards of the log say whose their rows are, and others do not")
        return cls._grouped(np.concatenate(keys), sizes, terms)

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
