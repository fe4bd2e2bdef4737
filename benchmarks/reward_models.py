"""What a model of the reward is worth to a doubly robust estimate: why the default one is linear with crosses."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl
from scipy import special
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from threadpoolctl import threadpool_limits

from benchmarks import data
from benchmarks.figures import Figure
from optimizer.evaluation.judged import judge
from optimizer.evaluation.log import Log
from optimizer.evaluation.model_based import DR
from optimizer.evaluation.reward_models import RewardModel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from optimizer.evaluation.totals import Floats

TITLE = (
    "Models of the reward: the standard error of the doubly robust estimate with each, and the bias of the model alone"
)
ARMS: Final = 40


@dataclass(frozen=True, slots=True)
class Case:
    """A log, the probabilities of a target policy in its rows, and what that policy earns."""

    log: Log
    target: Floats
    truth: float


def hillstrom(outcome: str) -> Case:
    """Women's e-mail to who bought women's, else men's; the truth is by inverse propensities, with all rows."""
    table = pl.read_csv(data.shared("hillstrom.csv.gz"), infer_schema_length=None)
    arms = tuple(sorted(table["segment"].unique().to_list()))
    numbers = ("recency", "history", "mens", "womens", "newbie")
    context: dict[str, Any] = {name: table[name].cast(pl.Float64).to_numpy() for name in numbers}
    for name in ("history_segment", "zip_code", "channel"):
        context[name] = np.array(table[name].to_list(), object)
    chosen = np.array([arms.index(arm) for arm in table["segment"]])
    reward = table[outcome].cast(pl.Float64).to_numpy()
    best = np.where(context["womens"] > 0, arms.index("Womens E-Mail"), arms.index("Mens E-Mail"))
    log = Log(arms=arms, chosen=chosen, propensity=np.full(len(table), 1 / 3), reward=reward, context=context)
    return Case(log, np.eye(3)[best], float(3 * reward[chosen == best].sum() / len(table)))


def multiclass(name: str) -> Case:
    """Classes drawn uniformly, right or wrong; the target is a weak classifier, fitted on another fifth of the set."""
    rng = np.random.default_rng(0)
    table = rng.permutation(np.loadtxt(data.shared(f"multiclass/{name}.csv.gz"), delimiter=","))
    x, label = table[:, :-1], table[:, -1].astype(int)
    k, cut = int(label.max()) + 1, len(label) // 5
    policy = LogisticRegression(C=0.01, max_iter=1000).fit(x[:cut] / 16, label[:cut])
    target, right = policy.predict_proba(x[cut:] / 16), np.eye(k)[label[cut:]]
    chosen = rng.integers(0, k, len(right))
    log = Log(
        arms=tuple(map(str, range(k))),
        chosen=chosen,
        propensity=np.full(len(right), 1 / k),
        reward=right[np.arange(len(right)), chosen],
        context={f"x{j}": column for j, column in enumerate(x[cut:].T)},
    )
    return Case(log, target, float((target * right).sum(axis=1).mean()))


def world(seed: int, n: int, *, binary: bool) -> Case:
    """40 arms, each with effects of its own of 10 numbers, not all of them linear, and of a category."""
    rng = np.random.default_rng(seed)
    x, level = rng.normal(size=(n, 10)), rng.integers(0, 5, n)
    own = 0.3 * rng.normal(size=(10, ARMS))
    score = x @ own + (0.3 * x @ rng.normal(size=10))[:, None] + 0.4 * rng.normal(size=(5, ARMS))[level]
    score += 0.5 * rng.normal(size=ARMS) + 0.3 * np.sin(2 * x[:, :1]) * np.sign(own[0])
    mean = special.expit(score - 3) if binary else score
    logged = special.softmax(0.15 * x @ rng.normal(size=(10, ARMS)), axis=1)
    chosen = (logged.cumsum(axis=1) > rng.random((n, 1)) * (1 - 1e-12)).argmax(axis=1)
    at = mean[np.arange(n), chosen]
    target = special.softmax(2 * x @ own, axis=1)
    log = Log(
        arms=tuple(f"a{k}" for k in range(ARMS)),
        chosen=chosen,
        propensity=logged[np.arange(n), chosen],
        reward=(rng.random(n) < at).astype(np.float64) if binary else at + 2 * rng.normal(size=n),
        context={"level": level.astype(str).astype(object)} | {f"x{j}": column for j, column in enumerate(x.T)},
    )
    return Case(log, target, float((target * mean).sum(axis=1).mean()))


CASES: Final[dict[str, Callable[[], Case]]] = {
    "Hillstrom, visit": lambda: hillstrom("visit"),
    "Hillstrom, spend": lambda: hillstrom("spend"),
    "penbased": lambda: multiclass("penbased"),
    "optdigits": lambda: multiclass("optdigits"),
    "40 arms, 20,000 rows, 0/1": lambda: world(1, 20_000, binary=True),
    "40 arms, 3,000 rows, 0/1": lambda: world(2, 3_000, binary=True),
    "40 arms, 20,000 rows, real": lambda: world(3, 20_000, binary=False),
    "40 arms, 3,000 rows, real": lambda: world(4, 3_000, binary=False),
}


def models(*, binary: bool) -> dict[str, Any]:
    """Each model by its name; None is the default."""
    return {
        "default": None,
        "without crosses": LogisticRegression(max_iter=1000) if binary else Ridge(),
        "boosted trees": HistGradientBoostingClassifier() if binary else HistGradientBoostingRegressor(),
    }


def figures() -> Iterator[Figure]:
    """Of each model on each data set."""
    with threadpool_limits(1):
        for name, make in CASES.items():
            case = make()
            binary = set(np.unique(case.log.reward).tolist()) <= {0.0, 1.0}
            yield _figure(f"{name}: each arm's mean", replace(case, log=replace(case.log, context={})), None)
            for kind, model in models(binary=binary).items():
                yield _figure(f"{name}: {kind}", case, model)


def _figure(what: str, case: Case, model: Any) -> Figure:  # noqa: ANN401 - scikit-learn's are known by their methods
    predictions = RewardModel.fit(case.log, model=model).predictions(case.log, first=0)
    rows = judge(case.log, case.target, predictions=predictions)
    terms = DR().terms(rows)[:, 0]
    off = float((case.target * predictions).sum(axis=1).mean()) - case.truth
    note = f"the model alone is off by {off:+.4f} of {case.truth:.4f}"
    return Figure(what, float(terms.std(ddof=1) / np.sqrt(len(terms))), "{:.5f}", note=note)
