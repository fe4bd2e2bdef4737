"""Pictures of a comparison as SVG that stands in a page by itself: text stays text, and says what is to be seen."""

from __future__ import annotations

import re
from html import escape
from io import StringIO
from typing import TYPE_CHECKING, Any, Final

import matplotlib as mpl
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matplotlib.axes import Axes

    from optimizer.evaluation.tally import Estimate
    from simulator.comparison.results import Comparison, PolicyResult

WIDTH_IN: Final = 5.8
"""Narrow, so that the text is still to be read where the page is as wide as a phone."""

SHOWN: Final = 12
"""Policies in a picture, at most."""

# Okabe and Ito's colours, told apart with every kind of colour vision; each has a marker of its own beside it.
_LOOKS: Final = (
    ("#0072B2", "o"),
    ("#D55E00", "s"),
    ("#009E73", "^"),
    ("#CC79A7", "D"),
    ("#E69F00", "v"),
    ("#56B4E9", "P"),
)
_KINDS: Final = {
    "logged": "#000000",
    "uniform": "#7f7f7f",
    "constant": "#0072B2",
    "table": "#009E73",
    "campaign": "#D55E00",
}
_SETTINGS: Final[dict[Any, Any]] = {
    "font.size": 10.5,
    "font.family": "sans-serif",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.fonttype": "none",
}


def shown(comparison: Comparison) -> list[PolicyResult]:
    """The policies that a picture has room for: all that are no constant arm, and the best of these."""
    judged = comparison.judged
    if len(judged) <= SHOWN:
        return judged
    always = [each.name for each in judged if each.kind != "constant"]
    best = [each.name for each in judged if each.kind == "constant"][: max(SHOWN - len(always), 1)]
    return [each for each in judged if each.name in {*always, *best}]


def values(comparison: Comparison) -> str:
    """What each policy would have earned, with its interval."""
    rows = shown(comparison)
    estimates = [each.by(comparison.method.estimator) for each in rows]
    logged = next((each for each in comparison.judged if each.kind == "logged"), None)

    def draw(axes: Axes) -> None:
        _intervals(axes, rows, estimates)
        if logged is not None:
            axes.axvline(logged.estimates[0].value, color="#000000", linewidth=1, linestyle=":")
        axes.set_xlabel(f"value of a decision, {comparison.method.estimator}, {_percent(comparison)} interval")

    told = "; ".join(f"{each.name} {_told(e)}" for each, e in zip(rows, estimates, strict=True))
    return _svg("values", "What each policy would have earned a decision", told, len(rows), draw)


def lifts(comparison: Comparison) -> str:
    """How much better than the logged policy each is."""
    pairs = [(each, each.lift) for each in shown(comparison) if each.lift is not None]

    def draw(axes: Axes) -> None:
        _intervals(axes, [each for each, _ in pairs], [lift for _, lift in pairs])
        axes.axvline(0.0, color="#000000", linewidth=1, linestyle=":")
        axes.set_xlabel(f"difference to the logged policy, {_percent(comparison)} interval")

    told = "; ".join(f"{each.name} {_told(lift)}" for each, lift in pairs)
    return _svg("lifts", "How much better than the logged policy", told, len(pairs), draw)


def agreement(comparison: Comparison) -> str:
    """What each estimator says of each policy."""
    rows = shown(comparison)
    names = comparison.method.estimators

    def draw(axes: Axes) -> None:
        for place, name in enumerate(names):
            colour, marker = _LOOKS[place % len(_LOOKS)]
            apart = 0.12 * (place - (len(names) - 1) / 2)
            found = [each.by(name) for each in rows]
            axes.errorbar(
                [each.value for each in found],
                [row + apart for row in range(len(rows))],
                xerr=_halves(found),
                fmt=marker,
                color=colour,
                markersize=4,
                linewidth=1,
                label=name,
            )
        _named(axes, rows)
        axes.set_xlabel("value of a decision")
        axes.legend(loc="lower center", bbox_to_anchor=(0.4, 1.0), ncols=len(names), frameon=False, columnspacing=1)

    told = "; ".join(
        f"{each.name}: " + ", ".join(f"{name} {each.by(name).value:.4g}" for name in names) for each in rows
    )
    return _svg("agreement", "What each estimator says", told, 1.6 * len(rows) + 1, draw)


def over_time(comparison: Comparison) -> str:
    """The value so far of the policies that matter, after each stretch of the log."""
    constant = [each for each in comparison.judged if each.kind == "constant"][:1]
    others = [each for each in comparison.judged if each.kind != "constant"]
    rows = (*others, *constant)[: len(_LOOKS)]

    def draw(axes: Axes) -> None:
        for (colour, marker), each in zip(_LOOKS, rows, strict=False):
            known = [m for m in each.over_time if m.so_far.value is not None and m.so_far.low is not None]
            at = [moment.rows for moment in known]
            axes.plot(at, [m.so_far.value or 0.0 for m in known], color=colour, marker=marker, ms=4, label=each.name)
            low, high = [m.so_far.low or 0.0 for m in known], [m.so_far.high or 0.0 for m in known]
            axes.fill_between(at, low, high, color=colour, alpha=0.13, linewidth=0)
        axes.set_xlabel("rows of the log so far")
        axes.set_ylabel("value of a decision so far")
        axes.xaxis.set_major_formatter(lambda rows, _: f"{rows:,.0f}")
        axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(5))
        axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2, frameon=False)

    told = "; ".join(
        f"{each.name}: {each.over_time[0].so_far.value:.4g} after {each.over_time[0].rows:,} rows, "
        f"{each.over_time[-1].so_far.value:.4g} after {each.over_time[-1].rows:,}"
        for each in rows
        if each.over_time[0].so_far.value is not None and each.over_time[-1].so_far.value is not None
    )
    return _svg("over-time", "Value so far, over the log", told, 8, draw)


def _intervals(axes: Axes, rows: Sequence[PolicyResult], estimates: Sequence[Estimate]) -> None:
    for row, (each, estimate) in enumerate(zip(rows, estimates, strict=True)):
        axes.errorbar(
            [estimate.value],
            [row],
            xerr=_halves([estimate]),
            fmt="D" if each.kind == "campaign" else "o",
            color=_KINDS[each.kind],
            markersize=5,
            linewidth=2,
        )
    _named(axes, rows)


def _named(axes: Axes, rows: Sequence[PolicyResult]) -> None:
    axes.set_yticks(range(len(rows)), [_short(each.name) for each in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.grid(axis="x", color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)


def _halves(estimates: Sequence[Estimate]) -> list[list[float]]:
    """Below and above each value; nan where there is no interval, and nothing is drawn."""
    return [[each.value - each.low for each in estimates], [each.high - each.value for each in estimates]]


def _svg(key: str, title: str, told: str, rows: float, draw: Callable[[Axes], None]) -> str:
    """The picture, as high as so many rows need, with its title and all it says in words."""
    with mpl.rc_context({**_SETTINGS, "svg.hashsalt": key}):
        figure = Figure(figsize=(WIDTH_IN, 1.0 + 0.3 * max(rows, 2)), layout="constrained")
        FigureCanvasSVG(figure)
        draw(figure.add_subplot())
        out = StringIO()
        figure.savefig(out, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    # What stands alone has no need of a document type, which names an address; and ids are those of one page.
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\b(id="|url\(#|href="#)', lambda found: f"{found[1]}{key}-", text)
    size = re.search(r'viewBox="[^"]+"', text)
    frame = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" {size[0] if size else ""}'
    )
    head = f'{frame} role="img" aria-labelledby="{key}-title {key}-told">'
    words = f'<title id="{key}-title">{escape(title)}</title><desc id="{key}-told">{escape(told)}</desc>'
    return head + words + text[text.index(">") + 1 :]


def _told(estimate: Estimate) -> str:
    return f"{estimate.value:.4g} ({estimate.low:.4g} to {estimate.high:.4g})"


def _percent(comparison: Comparison) -> str:
    return f"{comparison.method.confidence:.0%}"


def _short(name: str) -> str:
    most = 26
    return name if len(name) <= most else f"{name[: most - 1]}…"
