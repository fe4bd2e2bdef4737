"""A figure with its target, and how contenders are timed against each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from time import perf_counter

Work = Callable[[], int]
"""Does some work once and says how many items it was."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One number that was measured.

    Attributes:
        what: of what.
        value: the number.
        form: how it is written, a format with one field: `{:,.0f} x`.
        target: what it is to reach; None for a figure that only stands beside another.
        at_most: True where smaller is better.
        note: what else is to be known, such as an interval.
    """

    what: str
    value: float
    form: str = "{:,.0f}"
    target: float | None = None
    at_most: bool = False
    note: str = ""

    @property
    def reached(self) -> bool | None:
        """Whether the target is reached; None without one."""
        if self.target is None:
            return None
        return self.value <= self.target if self.at_most else self.value >= self.target

    def line(self) -> str:
        """As it is printed."""
        target = "" if self.target is None else ("<= " if self.at_most else ">= ") + self.form.format(self.target)
        verdict = {None: "", True: "reached", False: "MISSED"}[self.reached]
        return f"{self.what:64} {self.form.format(self.value):>14}  {target:>14}  {verdict:7}  {self.note}".rstrip()


def rates(contenders: Mapping[str, Work], rounds: int) -> dict[str, list[float]]:
    """Items a second of each contender in each round; they take turns, so that all meet the same machine."""
    for work in contenders.values():
        work()
    out: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, work in contenders.items():
            start = perf_counter()
            items = work()
            out[name].append(items / (perf_counter() - start))
    return out


def ratio(of: list[float], to: list[float]) -> float:
    """The median of the rounds' ratios."""
    return median(a / b for a, b in zip(of, to, strict=True))


@contextmanager
def section(title: str) -> Iterator[None]:
    """Prints a title above what is printed inside, and how long it took below."""
    print(f"\n{title}")
    start = perf_counter()
    yield
    print(f"  ({perf_counter() - start:.0f} s)", flush=True)
