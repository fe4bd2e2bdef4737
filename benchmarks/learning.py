"""How well the defaults learn: the content-personalisation tutorial, and two multi-class sets as bandits."""

from __future__ import annotations

from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import data
from benchmarks.figures import Figure
from benchmarks.online import Step, one_pass
from optimizer.campaign import CampaignFile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

TITLE = "Learning with the defaults: the content-personalisation tutorial and two multi-class sets as bandits"
PUBLISH_EVERY = 100


def campaign(features: list[dict[str, Any]], messages: list[str]) -> CampaignFile:
    """A campaign of messages only with all the defaults."""
    return CampaignFile.model_validate(
        {
            "version": 1,
            "campaign": {"id": "bench", "name": "bench", "starts_at": "2026-01-01T00:00:00Z"},
            "features": [{"bucket": "customer", **feature} for feature in features],
            "catalog": {"messages": [{"id": message} for message in messages], "no_send": False},
            "reward": {"events": [{"name": "hit", "value": 1, "window": "1h"}]},
        }
    )


_ARTICLES = ("politics", "sports", "music", "food", "finance", "health", "camping")
_LIKES = {
    ("Tom", "morning"): "politics",
    ("Tom", "afternoon"): "music",
    ("Anna", "morning"): "sports",
    ("Anna", "afternoon"): "politics",
}


def tutorial(seed: int, n: int = 5_000) -> float:
    """Click rate of Vowpal Wabbit's content-personalisation tutorial: two users, two times of day, seven articles."""
    rng = np.random.default_rng(seed)
    user, time = rng.choice(["Tom", "Anna"], n), rng.choice(["morning", "afternoon"], n)
    best = np.array([_ARTICLES.index(_LIKES[str(u), str(t)]) for u, t in zip(user, time, strict=True)])
    features = [{"name": "user", "type": "category"}, {"name": "time_of_day", "type": "category"}]

    def steps() -> Iterator[Step]:
        for start in range(0, n, PUBLISH_EVERY):
            rows = slice(start, min(start + PUBLISH_EVERY, n))
            context = {"user": user[rows].astype(object), "time_of_day": time[rows].astype(object)}
            yield Step(context, len(best[rows]), partial(_hits, best[rows]))

    return float(one_pass(campaign(features, list(_ARTICLES)), steps(), seed).mean())


def multiclass(name: str, seed: int) -> float:
    """Mean 0/1 loss of one pass over a classification set, told of the chosen class only whether it is right."""
    table = np.loadtxt(data.shared(f"multiclass/{name}.csv.gz"), delimiter=",")
    table = table[np.random.default_rng(seed).permutation(len(table))]
    labels = table[:, -1].astype(np.intp)
    classes, best = np.unique(labels, return_inverse=True)
    columns = [f"x{i}" for i in range(table.shape[1] - 1)]
    features = [{"name": column, "type": "number"} for column in columns]

    def steps() -> Iterator[Step]:
        for start in range(0, len(table), PUBLISH_EVERY):
            rows = slice(start, min(start + PUBLISH_EVERY, len(table)))
            context = {column: table[rows, i] for i, column in enumerate(columns)}
            yield Step(context, len(best[rows]), partial(_hits, best[rows]))

    return 1.0 - float(one_pass(campaign(features, [f"class{c}" for c in classes]), steps(), seed).mean())


def _hits(best: NDArray[np.intp], arms: NDArray[np.intp]) -> NDArray[np.float64]:
    return np.asarray(best == arms, np.float64)


def figures() -> Iterator[Figure]:
    """Each with its value for every seed."""
    yield _figure("tutorial, 5,000 steps: click rate", [tutorial(seed) for seed in range(5)], 0.95)
    for name, target in (("penbased", 0.17), ("optdigits", 0.16)):
        losses = [multiclass(name, seed) for seed in range(3)]
        yield _figure(f"{name}: mean 0/1 loss", losses, target, at_most=True)


def _figure(what: str, values: list[float], target: float, *, at_most: bool = False) -> Figure:
    note = "each: " + ", ".join(f"{value:.4f}" for value in values)
    return Figure(what, fmean(values), "{:.4f}", target, at_most, note)
