"""What learners are compared on: classification sets as bandits, a tutorial, and a real test replayed by rejection."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import data
from optimizer.attributes import to_columns
from optimizer.campaign import CampaignFile
from optimizer.config import load_attributes, load_campaign, load_file
from optimizer.decider import Decider
from simulator.learners.playing import Outcome, Turn, customers
from simulator.logs.mapping import LogFormat
from simulator.worlds.logged import LoggedWorld

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

    from simulator.learners.interface import Indices

ARTICLES = ("politics", "sports", "music", "food", "finance", "health", "camping")
LIKES = {
    ("Tom", "morning"): "politics",
    ("Tom", "afternoon"): "music",
    ("Anna", "morning"): "sports",
    ("Anna", "afternoon"): "politics",
}
HILLSTROM = "hillstrom.csv.gz"
NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)


class Stream:
    """Customers in a fixed order, none of whom is changed by what others got.

    Args:
        campaign: its arms are its messages.
        context: their attributes.
        outcome: given places (m,) in the order, and arms (m,), what came of them.
        n: how many they are.
    """

    def __init__(
        self,
        campaign: CampaignFile,
        context: Mapping[str, NDArray[Any]],
        outcome: Callable[[Indices, Indices], Outcome],
        n: int,
    ) -> None:
        self.campaign = campaign
        self._context = context
        self._outcome = outcome
        self._n = n

    def turns(self, every: int) -> Iterator[Turn]:
        """All of them once, so many at a time."""
        catalog = Decider(self.campaign).catalog
        schedule = catalog.schedule(None, NOW)
        for start in range(0, self._n, every):
            places = np.arange(start, min(start + every, self._n))
            context = {name: column[places] for name, column in self._context.items()}
            yield Turn(
                customers(context, len(places), [schedule]),
                np.ones((len(places), len(catalog)), np.bool_),
                np.zeros(len(places), np.bool_),
                partial(self._outcome, places),
            )


def multiclass(name: str, seed: int) -> Stream:
    """A classification set whose learner is told of the chosen class only whether it is right."""
    table = np.loadtxt(data.shared(f"multiclass/{name}.csv.gz"), delimiter=",")
    table = table[np.random.default_rng(seed).permutation(len(table))]
    classes, best = np.unique(table[:, -1].astype(np.intp), return_inverse=True)
    context = {f"x{i}": column for i, column in enumerate(table[:, :-1].T)}
    made = campaign([{"name": name, "type": "number"} for name in context], [f"class{c}" for c in classes])
    return Stream(made, context, partial(_hits, best), len(table))


def tutorial(seed: int, n: int = 5_000) -> Stream:
    """Vowpal Wabbit's content-personalisation tutorial: two users, two times of day, seven articles."""
    rng = np.random.default_rng(seed)
    user, time = rng.choice(["Tom", "Anna"], n), rng.choice(["morning", "afternoon"], n)
    best = np.array([ARTICLES.index(LIKES[str(u), str(t)]) for u, t in zip(user, time, strict=True)])
    context = {"user": user.astype(object), "time_of_day": time.astype(object)}
    made = campaign([{"name": name, "type": "category"} for name in context], list(ARTICLES))
    return Stream(made, context, partial(_hits, best), n)


def hillstrom(seed: int) -> Stream:
    """Hillstrom's e-mail test in a random order, visits as rewards; who got another arm in the test is not seen."""
    made, context, logged, visited = _hillstrom()
    order = np.random.default_rng(seed).permutation(len(logged))
    shuffled = {name: column[order] for name, column in context.items()}
    return Stream(made, shuffled, partial(_matches, logged[order], visited[order]), len(order))


@cache
def _hillstrom() -> tuple[CampaignFile, Mapping[str, NDArray[Any]], Indices, NDArray[np.float64]]:
    attributes = load_attributes(data.CONFIGS / "attributes.yaml")
    made = load_campaign(data.CONFIGS / "hillstrom.yaml", attributes)
    layout = load_file(data.CONFIGS / "worlds" / "hillstrom.yaml", LogFormat)
    rows = LoggedWorld.read(data.shared(HILLSTROM), layout).rows
    index = Decider(made).catalog.index
    logged = np.array([index[row.arm_id] for row in rows], np.intp)
    visited = np.array([row.outcomes["visited"] for row in rows])
    return made, to_columns([row.attributes for row in rows], attributes.types), logged, visited


def _hits(best: Indices, places: Indices, arms: Indices) -> Outcome:
    return Outcome(np.asarray(best[places] == arms, np.float64), np.ones(len(arms), np.bool_))


def _matches(logged: Indices, visited: NDArray[np.float64], places: Indices, arms: Indices) -> Outcome:
    return Outcome(visited[places], logged[places] == arms)


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
