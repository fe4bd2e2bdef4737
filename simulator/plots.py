"""Pictures of results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes

    from simulator.results import Point, Result

# Okabe and Ito's colours, told apart with every kind of colour vision; each group has a marker of its own beside them.
_LOOKS: Final = {
    "treatment": ("#0072B2", "o", "treatment"),
    "random_control": ("#D55E00", "s", "random control"),
    "bau": ("#009E73", "^", "business as usual"),
    "holdout": ("#CC79A7", "D", "holdout"),
}
_ORACLE: Final = "#000000"
_APART: Final = 0.12
"""Days between the points of two groups, so that their intervals do not lie on one another."""


def plot_rewards(result: Result, path: Path) -> None:
    """Draw mean reward over time per group as a PNG: true values as lines, observed ones with 95% intervals as points.

    The oracle is the best arm in each of treatment's own states.
    """
    with mpl.rc_context({"font.size": 11, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(11, 6), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        _draw(axes, result)
        figure.savefig(path, dpi=120, metadata={"Software": None})


def _draw(axes: Axes, result: Result) -> None:
    setting = result.setting
    treated = [point for point in result.curve if point.group == "treatment"]
    if treated:
        days = [point.day for point in treated]
        axes.plot(days, [point.oracle for point in treated], color=_ORACLE, linestyle="--", label="oracle", linewidth=2)
    for place, (name, (colour, marker, label)) in enumerate(_LOOKS.items()):
        points = [point for point in result.curve if point.group == name]
        if points:
            days, expected = [point.day for point in points], [point.expected for point in points]
            axes.plot(days, expected, color=colour, linewidth=2.5, zorder=3)
            axes.plot([], [], color=colour, marker=marker, label=label, linewidth=2.5)
            _observed(axes, points, colour, marker, _APART * (place - (len(_LOOKS) - 1) / 2))
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("day of the decision")
    axes.set_ylabel("mean reward of a decision")
    axes.set_title(
        f"{setting.campaign_id}: {setting.customers:,} customers, {setting.days} days, seed {setting.seed}", loc="left"
    )
    axes.grid(axis="y", color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.legend(
        loc="upper left",
        bbox_to_anchor=(1.01, 1.0),
        frameon=False,
        title="lines: true value\npoints: observed, 95%",
        alignment="left",
    )


def _observed(axes: Axes, points: list[Point], colour: str, marker: str, shift: float) -> None:
    whole = [p for p in points if p.reward.mean is not None and p.reward.low is not None]
    means = [p.reward.mean or 0.0 for p in whole]
    axes.errorbar(
        [p.day + shift for p in whole],
        means,
        yerr=[mean - (p.reward.low or 0.0) for p, mean in zip(whole, means, strict=True)],
        fmt=marker,
        color=colour,
        alpha=0.5,
        markersize=4,
        linewidth=1,
    )
