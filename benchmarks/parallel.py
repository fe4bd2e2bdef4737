"""Long runs with different seeds side by side, in two processes."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TYPE_CHECKING, TypeVar

from optimizer import logs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

PROCESSES = 2
Result = TypeVar("Result")


def each(work: Callable[[int], Result], seeds: Iterable[int]) -> Iterator[Result]:
    """What `work`, a function of a module, returns for each seed, in order."""
    with ProcessPoolExecutor(PROCESSES, get_context("spawn"), logs.configure, ("warning",)) as pool:
        yield from pool.map(work, seeds)
