"""A comparison as tables in a terminal of eighty columns."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING, Final

from rich import box
from rich.table import Table

from simulator.comparison.numbers import Digits

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from simulator.comparison.results import Comparison, PolicyResult

ROWS: Final = 10
"""Constant arms that a table shows; the files have all of them."""


def tables(comparison: Comparison) -> Iterator[Table]:
    """The ranking, how much of the log each value rests on, and what could not be judged."""
    yield _ranking(comparison)
    yield _rests(comparison)
    if comparison.refused:
        yield _refused(comparison)


def _ranking(comparison: Comparison) -> Table:
    log, method, digits = comparison.log, comparison.method, Digits.of(comparison)
    whose = "" if log.customers is None else f" of {log.customers:,} customers"
    table = _table(f"{PurePath(log.path).name}: {log.rows:,} decisions{whose}, by {method.estimator}")
    table.caption = _caption(comparison)
    table.add_column("", justify="right")
    table.add_column("policy", overflow="fold")
    for name in ("value", f"{method.confidence:.0%}", "less the logged one"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("that is")
    for each in _shown(comparison.judged):
        found = each.by(method.estimator)
        table.add_row(
            str(each.rank),
            each.name,
            digits.number(found.value),
            digits.span(found),
            digits.span(each.lift, signed=True),
            each.verdict or "",
            style="bold" if each.kind == "campaign" else None,
        )
    return table


def _caption(comparison: Comparison) -> str:
    method = comparison.method
    lines = _more(comparison.judged)
    lines.append(
        f"Intervals: {method.interval}, each by itself. What is better or worse is so for all\n"
        f"{method.comparisons} comparisons at once, with {method.confidence:.0%}."
    )
    if not comparison.audit.holds:
        lines.append(f"The log's propensities: {comparison.audit.told}")
    return "\n".join(lines)


def _rests(comparison: Comparison) -> Table:
    table = _table("What the values rest on")
    table.add_column("policy", overflow="fold")
    for name in ("effective rows", "largest weight", "matched rows"):
        table.add_column(name, justify="right")
    table.add_column("to be known")
    for each in _shown(comparison.judged):
        found = each.by(comparison.method.estimator)
        table.add_row(
            each.name,
            f"{found.effective:,.0f}",
            f"{found.largest_weight:.4g}",
            f"{found.matched:.1%}",
            "; ".join([*found.warnings, *each.notes]),
        )
    return table


def _refused(comparison: Comparison) -> Table:
    table = _table("Cannot be judged on this log")
    table.show_header = False
    table.add_column()
    for each in _shown(comparison.refused):
        table.add_row(str(each.refusal))
    table.caption = "\n".join(_more(comparison.refused))
    return table


def _shown(policies: Sequence[PolicyResult]) -> list[PolicyResult]:
    constant = [each.name for each in policies if each.kind == "constant"][:ROWS]
    return [each for each in policies if each.kind != "constant" or each.name in constant]


def _more(policies: Sequence[PolicyResult]) -> list[str]:
    more = len(policies) - len(_shown(policies))
    return [f"{more:,} more constant arms are in the files."] if more else []


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", caption_justify="left", box=box.SIMPLE)
