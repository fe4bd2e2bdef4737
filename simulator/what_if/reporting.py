"""What people read of a judged change: tables for the terminal, and JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Final

import orjson
from rich.console import Group
from rich.table import Table
from rich.text import Text

from simulator.what_if.changes import Telling

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from rich.console import RenderableType

    from simulator.what_if.judging import Judgement
    from simulator.what_if.prices import Price

SHOWN: Final = 10
"""How many arms without support the terminal shows."""

_LONGEST: Final = 160

FEW_EFFECTIVE: Final = 100.0
"""An effective sample size below this is warned of."""

HELD: Final = (
    "Held as logged: every customer's history, the models as they were, and who was decided for and when. "
    "A campaign that had run like this all along would have come to other histories, and learned from them."
)
MODELLED: Final = (
    "As the campaign's own models expect; nothing was tried where a rule removed an arm, and the log cannot tell. "
    "How tired customers would be of more touches is in it as far as the models have learned that. "
    "The interval is that of this expectation over customers; how wrong the models may be is no part of it."
)


def write(judged: Judgement, priced: Sequence[Price], path: Path) -> None:
    """Everything, as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    body = asdict(judged) | {"held": HELD, "prices": [asdict(price) for price in priced], "prices_are": MODELLED}
    path.write_bytes(orjson.dumps(body, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))


def shown(judged: Judgement, priced: Sequence[Price]) -> Group:
    """Everything, for the terminal."""
    return Group(*_parts(judged, priced))


def _parts(judged: Judgement, priced: Sequence[Price]) -> Iterator[RenderableType]:
    yield _changes(judged)
    yield Text(HELD)
    if judged.refused is not None:
        yield Text(f"Refused: {judged.refused}.")
    elif judged.values:
        yield _values(judged)
        yield from (Text(warning) for warning in _warnings(judged))
    if judged.untold:
        yield _untold(judged)
    for cause, n in judged.left_out.items():
        yield Text(f"Left out: {n:,} decisions ({cause}).")
    if priced:
        yield _prices(priced)


def _changes(judged: Judgement) -> Table:
    table = _table(f"{judged.campaign_id}: what changes", "")
    for heading in ("field", "what the log can tell"):
        table.add_column(heading)
    for change in judged.changes:
        # As text, since names in brackets are no markup.
        table.add_row(Text(_shortened(str(change))), f"{change.telling}{': ' if change.why else ''}{change.why}")
    if not judged.changes:
        table.add_row("nothing", "")
    return table


def _values(judged: Judgement) -> Table:
    whole = judged.decisions + judged.untold_decisions
    of = f"the {judged.decisions / whole:.1%} of which the log can tell" if judged.untold_decisions else "all"
    groups = ", ".join(f"{each.group} {each.decisions:,} (counting {each.share:.1%})" for each in judged.strata)
    table = _table(
        f"Reward a decision: {judged.decisions:,} decisions, {of}; {judged.customers:,} customers",
        f"With 95% intervals, customers as the units. Decisions: {groups}. "
        f"The changed configuration draws with other probabilities in {judged.altered:.1%} of them.",
    )
    table.add_column("")
    for value in judged.values:
        table.add_column(value.estimator, justify="right")
    digits = 4
    table.add_row("current", *(value.current.text(digits) for value in judged.values))
    table.add_row("changed", *(value.changed.text(digits) for value in judged.values))
    table.add_row("difference", *(value.difference.text(digits, signed=True) for value in judged.values))
    return table


def _warnings(judged: Judgement) -> Iterator[str]:
    for each in judged.strata:
        if each.effective < FEW_EFFECTIVE and each.share > 1.0 - each.share:
            yield (
                f"Warning: the {each.decisions:,} decisions of {each.group} tell of the changed configuration as much "
                f"as {each.effective:.0f} of its own would: do not rely on the interval."
            )
    if judged.moved:
        yield (
            f"{judged.moved:.1%} of the changed configuration's choices would go out at another time within their "
            "slot; they are taken to be worth what the arm was worth at its old time."
        )
    if any(change.telling is Telling.PER_DECISION for change in judged.changes):
        yield "Refused: totals (touches, spend) under the changed limits, for histories would have been others."


def _untold(judged: Judgement) -> Table:
    table = _table(
        f"Refused: {judged.untold_decisions:,} decisions in which the log cannot tell",
        "What the changed configuration would choose there was never possible in the log, and the figures above leave "
        "these decisions out. Load the change with a share of random control, and ask again once that has run.",
    )
    table.add_column("arm")
    table.add_column("share of its choices", justify="right")
    table.add_column("why")
    for each in judged.untold[:SHOWN]:
        table.add_row(each.arm, f"{each.share:.2%}", each.cause)
    others = judged.untold[SHOWN:]
    if others:
        table.add_row(f"{len(others)} others", f"{sum(each.share for each in others):.2%}", "in whatif.json")
    return table


def _prices(priced: Sequence[Price]) -> Table:
    table = _table("The price of each rule of the current configuration", MODELLED)
    table.add_column("rule")
    for heading in ("removed an arm", "the one liked most", "expected gain without it"):
        table.add_column(heading, justify="right")
    table.add_column("arms never tried")
    for price in priced:
        gain = "refused: nothing of it was ever tried" if price.gain is None else price.gain.text(5, signed=True)
        never = f"{len(price.never_tried)}: not counted" if price.never_tried else ""
        table.add_row(Text(price.name), f"{price.removed:.1%}", f"{price.favourite:.1%}", gain, never)
    return table


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _table(title: str, caption: str) -> Table:
    return Table(title=title, caption=caption or None, title_justify="left", caption_justify="left")
