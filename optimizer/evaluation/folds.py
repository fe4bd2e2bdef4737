"""Folds by customer: whose rows a model may learn from, and whose it then judges.

Decisions of one customer depend on each other, so all of them are in one fold. The fold is a hash of the customer, the
same in whichever chunk of the log a row lies.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from optimizer.evaluation.log import Log
from optimizer.exploration import uniforms

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from optimizer.evaluation.totals import Floats

_FOLD: Final = 0x666F6C64
_SAMPLE: Final = 0x73616D70


def row_keys(log: Log, first: int) -> NDArray[np.uint64]:
    """(n,) whose each row is; the row's number in the log where that is unknown, `first` being that of the first."""
    if log.customer is not None:
        return log.customer
    return np.arange(first, first + len(log), dtype=np.uint64)


def fold_of(log: Log, *, folds: int, seed: int, first: int) -> NDArray[np.intp]:
    """(n,) the fold of each row, from 0; `first` is how many rows of the log came before."""
    return (_hashed(row_keys(log, first), seed, _FOLD) * folds).astype(np.intp)


def sample(chunks: Iterable[Log], *, rows: int, seed: int) -> Log:
    """At most so many rows of a log of any length: those of customers drawn at random, each with all of their rows.

    Of customers' hashes those below a bound are taken, which is halved whenever more rows have come together: the
    sample is the same however the log is cut into chunks. Memory is that of the sample and a chunk. Each row knows
    whose it is, also where the log does not say.
    """
    taken: list[Log] = []
    bound, first, held = 1.0, 0, 0
    for chunk in chunks:
        keyed = replace(chunk, customer=row_keys(chunk, first))
        first += len(chunk)
        taken.append(_below(keyed, bound, seed))
        held += len(taken[-1])
        while held > rows:
            bound /= 2.0
            taken = [_below(each, bound, seed) for each in taken]
            held = sum(map(len, taken))
    return Log.join(taken)


def _below(log: Log, bound: float, seed: int) -> Log:
    return log if bound == 1.0 else log.take(_hashed(row_keys(log, 0), seed, _SAMPLE) < bound)


def _hashed(keys: NDArray[np.uint64], seed: int, salt: int) -> Floats:
    return uniforms((seed, salt), np.stack([keys, keys], axis=1))
