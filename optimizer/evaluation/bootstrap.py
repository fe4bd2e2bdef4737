"""Percentile intervals by resampling customers, in two schemes. Efron, "Bootstrap methods" (1979).

`Bootstrap` draws as many customers as there are, with replacement: how often each is drawn is multinomial. It is exact,
and goes block by block to stay within a core's cache: how many of the draws fall into each block of customers is
multinomial, and within a block each draw is one of its customers. All terms of all estimators are summed with the same
draws, as counts x totals.

`PoissonBootstrap` counts each customer Poisson(1) times, independently of all others, by a hash of the customer and the
replicate: so sums of replicates (`Replicates`) can be added over shards, for logs that do not fit in memory. Chamandy,
Muralidharan, Najmi and Naidu, "Estimating uncertainty for massive data streams" (2012). The number of customers then
varies from one replicate to the next, which changes nothing of ratios, and each estimate is one.

Every estimate is computed again from the sums of each resample, its normalisation included.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np
from scipy import special

from optimizer.evaluation.forms import places
from optimizer.evaluation.intervals import NONE
from optimizer.evaluation.totals import Moments

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from optimizer.evaluation.forms import Estimated
    from optimizer.evaluation.intervals import Ends
    from optimizer.evaluation.tally import Sums
    from optimizer.evaluation.totals import Floats, Totals

BLOCK: Final = 1 << 15
"""Customers whose counts are in the cache at a time; a power of two, so that random bits are draws."""

_TOGETHER: Final = 16
"""Resamples that one task does, so that a block of totals is read once for all of them."""


class Spread(Protocol):
    """Applies a function to numbers, anywhere."""

    def __call__(self, function: Callable[[int], Floats], numbers: Iterable[int], /) -> Iterator[Floats]:
        """The results in the numbers' order."""


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """Percentiles of the estimates of multinomial resamples.

    Attributes:
        resampled: how often.
        seed: of the draws; the same seed gives the same ends, whoever does the work.
        spread: applies a function to numbers and gives the results in their order, as `map` does: that of a pool of
            threads, which share the log while numpy works without Python's lock, or of a cluster.
    """

    confidence: float = 0.95
    resampled: int = 1_000
    seed: int = 0
    spread: Spread = field(default=map, repr=False, compare=False)
    name: str = "bootstrap"
    resamples: bool = True

    def ends(self, estimators: Sequence[Estimated], sums: Sums) -> list[Ends]:
        """None with fewer than two customers, or where a resample may leave the estimate undefined."""
        return percentiles(estimators, self.sums(_totals(sums)), self.confidence)

    def sums(self, totals: Totals) -> Floats:
        """(resampled, 1 + M) the number of rows and the sum of each term, of each resample."""
        some = _Some(totals, self.seed, self.resampled)
        return np.concatenate(list(self.spread(some, range(0, self.resampled, _TOGETHER))))


@dataclass(frozen=True, slots=True)
class PoissonBootstrap:
    """Percentiles of the estimates of Poisson resamples: see `Replicates` for logs that do not fit in memory."""

    confidence: float = 0.95
    resampled: int = 1_000
    seed: int = 0
    name: str = "poisson bootstrap"
    resamples: bool = True

    def ends(self, estimators: Sequence[Estimated], sums: Sums) -> list[Ends]:
        """None with fewer than two customers, or where a resample may leave the estimate undefined."""
        totals = _totals(sums)
        keys = np.arange(len(totals.sizes), dtype=np.uint64) if totals.keys is None else totals.keys
        return Replicates.of(totals.terms, keys, totals.sizes, self.resampled, self.seed).ends(
            estimators, self.confidence
        )


@dataclass(frozen=True, slots=True)
class Replicates:
    """Sums of Poisson resamples; those of two shards of a log are added, whether or not they share customers.

    Attributes:
        seed: of the counts.
        sums: (R, 1 + M) the number of rows and the sum of each term, of each replicate.
    """

    seed: int
    sums: Floats

    @classmethod
    def of(
        cls,
        terms: Floats,
        keys: NDArray[np.uint64],
        sizes: Floats | None = None,
        replicates: int = 1_000,
        seed: int = 0,
    ) -> Replicates:
        """Of rows, or of totals of rows.

        Args:
            terms: (n, M).
            keys: (n,) whose they are; what has the same key is counted alike, here and in any other shard. Where each
                row is somebody else's, its number in the whole log.
            sizes: (n,) how many rows each has; by default one.
            replicates: how many, R.
            seed: of the counts.
        """
        columns = np.column_stack([np.ones(len(terms)) if sizes is None else sizes, terms])
        fours = -(-replicates // 4)
        sums = np.zeros((4 * fours, columns.shape[1]))
        for start in range(0, len(columns), BLOCK):
            block = columns[start : start + BLOCK]
            mixed = _mix(keys[start : start + BLOCK] + np.uint64(_mix_one(seed)))
            counts = np.empty((4, len(block)))
            for four in range(fours):
                # 64 random bits of this customer and these four replicates: 16 for each.
                bits = _mix(mixed + np.uint64(_mix_one(four)))
                counts[:] = np.take(_poisson(), bits.view(np.uint16)).reshape(-1, 4).T
                sums[4 * four : 4 * four + 4] += counts @ block
        return cls(seed, sums[:replicates])

    def __add__(self, other: Replicates) -> Replicates:
        if self.seed != other.seed or len(self.sums) != len(other.sums):
            raise ValueError("replicates of another seed or number cannot be added")
        return Replicates(self.seed, self.sums + other.sums)

    def ends(self, estimators: Sequence[Estimated], confidence: float) -> list[Ends]:
        """Percentiles of the estimates: the ends for each estimator, nan where a replicate leaves it undefined."""
        return percentiles(estimators, self.sums, confidence)


def percentiles(estimators: Sequence[Estimated], sums: Floats, confidence: float) -> list[Ends]:
    """For each estimator the ends between which the given share of its estimates lies.

    Args:
        estimators: whose terms were summed, one's after another's.
        sums: (R, 1 + M) of R resamples.
        confidence: the share.
    """
    found = []
    for estimator, mine in zip(estimators, places(estimators), strict=True):
        values = estimator.form.estimate(sums[:, [0, *(1 + term for term in mine)]])
        if np.isnan(values).any() or values.min() == values.max():
            found.append(NONE)
        else:
            low, high = np.quantile(values, [0.5 - confidence / 2, 0.5 + confidence / 2])
            found.append((float(low), float(high)))
    return found


def _totals(sums: Sums) -> Totals:
    if isinstance(sums, Moments):
        raise TypeError("resampling needs the totals of each customer: keep them in the tally")
    return sums


@dataclass(frozen=True, slots=True)
class _Some:
    """The sums of a few of the resamples, by the number of the first, as a value that goes to other processes."""

    totals: Totals
    seed: int
    resampled: int

    def __call__(self, first: int) -> Floats:
        generator = np.random.Generator(np.random.SFC64([self.seed, first]))
        return _resampled(self.totals, generator, min(_TOGETHER, self.resampled - first))


def _resampled(totals: Totals, generator: np.random.Generator, resamples: int) -> Floats:
    """(resamples, 1 + M) as `Bootstrap.sums`."""
    g = len(totals.sizes)
    sums = np.zeros((resamples, 1 + totals.terms.shape[1]))
    if g == 0:
        return sums
    starts = np.arange(0, g, BLOCK)
    widths = np.minimum(BLOCK, g - starts)
    falling = generator.multinomial(g, widths / g, resamples)
    counts = np.empty((resamples, min(BLOCK, g)))
    for start, width, draws in zip(starts.tolist(), widths.tolist(), falling.T.tolist(), strict=True):
        for row, each in enumerate(draws):
            counts[row, :width] = np.bincount(_drawn(generator, width, each), minlength=width)
        sums[:, 0] += counts[:, :width] @ totals.sizes[start : start + width]
        sums[:, 1:] += counts[:, :width] @ totals.terms[start : start + width]
    return sums


def _drawn(generator: np.random.Generator, width: int, draws: int) -> NDArray[np.intp]:
    """(draws,) each of `width` equally likely."""
    if width != BLOCK:
        return generator.integers(0, width, draws)
    bits = generator.bit_generator.random_raw(-(-draws // 4)).view(np.uint16)[:draws]
    return (bits & (BLOCK - 1)).astype(np.intp)


@lru_cache(maxsize=1)
def _poisson() -> NDArray[np.uint8]:
    """(65536,) Poisson(1) counts, as often as their probabilities say: by 1.5e-5 at most another distribution."""
    middles = (np.arange(1 << 16) + 0.5) / (1 << 16)
    return np.searchsorted(special.pdtr(np.arange(20), 1.0), middles).astype(np.uint8)


def _mix(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of SplitMix64, which spreads every bit over all: Steele, Lea and Flood, OOPSLA 2014."""
    words = words ^ (words >> np.uint64(30))
    words *= np.uint64(0xBF58476D1CE4E5B9)
    words ^= words >> np.uint64(27)
    words *= np.uint64(0x94D049BB133111EB)
    words ^= words >> np.uint64(31)
    return words


def _mix_one(number: int) -> int:
    """A number of a Weyl sequence, as SplitMix64 steps by."""
    return (number + 1) * 0x9E3779B97F4A7C15 % (1 << 64)
