"""Cross-fitted models of the reward: what each arm would have earned in a row, by a model that never saw its customer.

Any regressor or classifier with scikit-learn's methods will do. It is fitted once for each fold of customers, on the
rows of all others, and predicts for the fold: Chernozhukov et al., "Double/debiased machine learning", Econometrics
Journal 2018. Its features are those of the context (`Encoding`), then those of the arm.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from optimizer.errors import InvalidInput
from optimizer.evaluation.encoding import Encoding, fit_columns, write_columns
from optimizer.evaluation.folds import fold_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from optimizer.attributes import Columns
    from optimizer.evaluation.log import Log
    from optimizer.evaluation.totals import Floats

FOLDS: Final = 3
_BLOCK: Final = 20_000
"""Rows whose features are in memory at a time."""


@dataclass(frozen=True, slots=True)
class Constant:
    """Predicts one value: where all rewards are the same there is nothing to fit."""

    value: float

    def per_arm(self, context: Floats, arms: Floats) -> Floats:
        """(n, K) of rows with some context and arms with some features."""
        return np.full((len(context), len(arms)), self.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardModel:
    """A cross-fitted model of the reward.

    Attributes:
        encoding: of the context.
        arms: (K, A) the features of each arm.
        models: one for each fold, fitted without its customers.
        seed: of the folds.
    """

    encoding: Encoding
    arms: Floats
    models: tuple[Any, ...]
    seed: int

    @classmethod
    def fit(  # noqa: PLR0913 - each may be left out
        cls,
        log: Log,
        *,
        model: Any = None,  # noqa: ANN401 - scikit-learn's are known by their methods
        arms: Floats | None = None,
        weight: Floats | None = None,
        folds: int = FOLDS,
        seed: int = 0,
    ) -> RewardModel:
        """From logged rewards.

        Args:
            log: the rows to learn from; of a log that does not fit in memory a `sample`.
            model: with `fit` and `predict`, or `predict_proba` for rewards of 0 and 1; `default_model` by default.
            arms: (K, A) features of each arm, such as those of `arm_features`; a column for each arm by default.
            weight: (n,) of each row, positive.
            folds: how many, at least 2.
            seed: of the folds, and of a model that draws numbers and was given no `random_state`.
        """
        encoding = Encoding.fit(log)
        features = np.eye(len(log.arms)) if arms is None else arms
        x = np.hstack([encoding.matrix(log), features[log.chosen]])
        fold = fold_of(log, folds=folds, seed=seed, first=0)
        model = default_model(log.reward, encoding.width) if model is None else model
        return cls(
            encoding=encoding,
            arms=features,
            models=tuple(fit_folds(model, x, log.reward, fold, folds=folds, weight=weight, seed=seed)),
            seed=seed,
        )

    def predictions(self, log: Log, *, first: int) -> Floats:
        """(n, K) for every arm of the log, which may be fewer than the model knows.

        Args:
            log: rows learned from, or any others.
            first: how many rows of the log came before: what a row's fold depends on where the log has no customers.
        """
        out = np.empty((len(log), len(log.arms)))
        for start in range(0, len(log), _BLOCK):
            block = log.take(slice(start, start + _BLOCK))
            fold = fold_of(block, folds=len(self.models), seed=self.seed, first=first + start)
            context = self.encoding.matrix(block)
            out[start : start + len(block)] = predict_folds(self.models, context, self.arms[: len(log.arms)], fold)
        return out


def default_model(reward: Floats, context: int) -> Any:  # noqa: ANN401 - scikit-learn's are known by their methods
    """A linear one with crosses of the context with the arm: logistic where all rewards are 0 or 1, else ridge.

    On the eight sets of `benchmarks/reward_models.py` doubly robust estimates have the least standard error with it, or
    one within .2% of that, and on all of them it is the least biased on its own. Boosted trees find too little where
    there are many arms; a model without crosses has the arms in the same order in every context.

    Args:
        reward: (n,) of the log.
        context: how many of the features are of the context.
    """
    from optimizer.evaluation.crossed import Crossed  # noqa: PLC0415 - scikit-learn, a second to import

    return Crossed(context=context, binary=_is_binary(reward))


def arm_features(attributes: Columns) -> Floats:
    """(K, A) from what is known of K arms, as of customers: numbers standardised, a column for each category."""
    columns = fit_columns(attributes)
    out = np.zeros((len(next(iter(attributes.values()))), sum(each.width for each in columns.values())))
    write_columns(columns, attributes, out)
    return out


def fit_folds(  # noqa: PLR0913 - a model, its data, and how these are divided
    model: Any,  # noqa: ANN401
    x: Floats,
    reward: Floats,
    fold: NDArray[np.intp],
    *,
    folds: int,
    weight: Floats | None = None,
    seed: int = 0,
) -> list[Any]:
    """The model fitted once for each fold, without the fold's rows.

    Args:
        model: scikit-learn's; it stays as it is, copies of it are fitted.
        x: (n, D) features.
        reward: (n,) what to predict.
        fold: (n,) of each row, from 0.
        folds: how many there are.
        weight: (n,) of each row.
        seed: the `random_state` of a model that has one and was given none.
    """
    from sklearn.base import clone, is_classifier  # noqa: PLC0415 - a second to import, for this alone

    if is_classifier(model) and not _is_binary(reward):
        raise InvalidInput(
            "a classifier can be a model of rewards of 0 and 1 alone, and some are others: take a regressor"
        )
    fitted = []
    for each in range(folds):
        rest = fold != each
        if not rest.any():
            raise InvalidInput(f"all customers are in one of {folds} folds: a reward model takes more of them")
        if np.all(reward[rest] == reward[rest][0]):
            fitted.append(Constant(float(reward[rest][0])))
            continue
        copy = clone(model)
        if "random_state" in (parameters := copy.get_params()) and parameters["random_state"] is None:
            copy.set_params(random_state=seed)
        more = {} if weight is None else {"sample_weight": weight[rest]}
        fitted.append(copy.fit(x[rest], reward[rest], **more))
    return fitted


def predict_folds(models: tuple[Any, ...], context: Floats, arms: Floats, fold: NDArray[np.intp]) -> Floats:
    """(n, K) by the model of each row's fold.

    Args:
        models: of each fold.
        context: (n, C) features, and `arms`: (K, A); a model sees one beside the other.
        fold: (n,) of each row.
    """
    out = np.empty((len(context), len(arms)))
    for each, model in enumerate(models):
        mine = np.flatnonzero(fold == each)
        if len(mine):
            out[mine] = _per_arm(model, context[mine], arms)
    return out


def _per_arm(model: Any, context: Floats, arms: Floats) -> Floats:  # noqa: ANN401
    if hasattr(model, "per_arm"):
        found: Floats = model.per_arm(context, arms)
        return found
    out = np.empty((len(context), len(arms)))
    x = np.empty((len(context), context.shape[1] + arms.shape[1]))
    x[:, : context.shape[1]] = context
    for k, arm in enumerate(arms):
        x[:, context.shape[1] :] = arm
        out[:, k] = model.predict_proba(x)[:, 1] if hasattr(model, "predict_proba") else model.predict(x)
    return out


def _is_binary(reward: Floats) -> bool:
    return bool(np.all((reward == 0.0) | (reward == 1.0)))
