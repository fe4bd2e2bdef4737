"""Marginal weights: those of an arm's kind (its channel, its message) rather than of the arm itself.

With e the kind of the logged arm a, the weight is P(e | x, target) / P(e | x, log), Saito and Joachims, "Off-policy
evaluation for large action spaces via embeddings", ICML 2022. The kind is a function of the arm, so the first
probability is the sum of the target's over the kind's arms, and with a log that gives its whole distribution so is the
second. With a log that gives the propensity p of the logged arm alone, P(e | x, log) = p / P(a | x, e, log), and the
last is estimated from which arms were drawn among those of the kind (`ArmGivenKind`).

An estimate h(a | x, e) need not be right: its weight P(e | x, target) h(a | x, e) / p has the expectation
P(e | x, target) / P(e | x, log) given x and e for any h that sums to one over those of the kind's arms that the log
could draw, if it is made without the row. So an error costs variance only.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from optimizer.evaluation.encoding import Encoding
from optimizer.evaluation.folds import fold_of
from optimizer.evaluation.support import Support

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from optimizer.evaluation.log import Log
    from optimizer.evaluation.totals import Floats


def kinds_of(values: NDArray[Any]) -> NDArray[np.intp]:
    """(K,) numbers of kinds, from the attribute that makes arms alike: (K,), or (K, A) where several do together."""
    return np.unique(values.astype(str), axis=0, return_inverse=True)[1].reshape(-1)


def marginal_weights(
    log: Log, target: Floats, kinds: Mapping[str, NDArray[np.intp]], given_kind: Mapping[str, Floats]
) -> dict[str, Floats]:
    """By name of the division: (n,) weights of the logged arms' kinds.

    Args:
        log: n rows among K arms.
        target: (n, K) the policy's probabilities.
        kinds: by name (K,) the kind of each arm.
        given_kind: by name (n,) the probability of the logged arm among its kind's; not needed, and not used, where the
            log gives its distribution. A division without either is left out.
    """
    found = {}
    for name, kind in kinds.items():
        same = kind[None, :] == kind[log.chosen][:, None]
        wanted = (target * same).sum(axis=1)
        if log.distribution is not None:
            found[name] = wanted / (log.distribution * same).sum(axis=1)
        elif name in given_kind:
            found[name] = wanted * given_kind[name] / log.propensity
    return found


def support_by_kinds(log: Log, target: Floats, kind: NDArray[np.intp]) -> Support:
    """What a policy does and what the log did, by kind (of which there are G, the largest of `kind` and one).

    `MIPS` needs no more than this: an arm without support may be of a kind that has it. A tally of rows whose `weight`
    is replaced by the marginal one has the effective sample size of the kinds, and what else follows from weights.
    """
    member = np.eye(int(kind.max()) + 1)[kind]
    by_kind = replace(
        log,
        arms=tuple(map(str, range(member.shape[1]))),
        chosen=kind[log.chosen],
        distribution=None if log.distribution is None else log.distribution @ member,
        allowed=None if log.allowed is None else log.allowed @ member > 0.0,
    )
    return Support.of(by_kind, target @ member)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmGivenKind:
    """An estimate of P(logged arm | context, kind) by a classifier, cross-fitted with folds by customer.

    Attributes:
        kinds: (K,) the kind of each arm.
        encoding: of the context.
        models: one for each fold, fitted without its customers.
        seed: of the folds.
    """

    kinds: NDArray[np.intp]
    encoding: Encoding
    models: tuple[Any, ...]
    seed: int

    @classmethod
    def fit(cls, log: Log, kinds: NDArray[np.intp], *, folds: int = 3, seed: int = 0) -> ArmGivenKind:
        """From what was drawn: multinomial logistic regression on the context and the kind, as the paper has it."""
        from sklearn.linear_model import LogisticRegression  # noqa: PLC0415 - a second to import, for this alone

        encoding = Encoding.fit(log)
        x = _with_kind(encoding.matrix(log), kinds, log.chosen)
        fold = fold_of(log, folds=folds, seed=seed, first=0)
        models = []
        for each in range(folds):
            rest = fold != each
            model = LogisticRegression(max_iter=1000)
            models.append(model.fit(x[rest], log.chosen[rest]) if len(np.unique(log.chosen[rest])) > 1 else None)
        return cls(kinds=kinds, encoding=encoding, models=tuple(models), seed=seed)

    def given_kind(self, log: Log, *, first: int) -> Floats:
        """(n,) for the logged arms; `first` is how many rows of the log came before."""
        x = _with_kind(self.encoding.matrix(log), self.kinds, log.chosen)
        fold = fold_of(log, folds=len(self.models), seed=self.seed, first=first)
        possible = log.candidates & (self.kinds[None, :] == self.kinds[log.chosen][:, None])
        chance = np.where(possible, _UNSEEN, 0.0)
        for each, model in enumerate(self.models):
            mine = np.flatnonzero(fold == each)
            if model is not None and len(mine):
                chance[np.ix_(mine, model.classes_)] += (
                    model.predict_proba(x[mine]) * possible[np.ix_(mine, model.classes_)]
                )
        given: Floats = chance[np.arange(len(log)), log.chosen] / chance.sum(axis=1)
        return given


_UNSEEN = 1e-9
"""Of an arm that no other fold has drawn: alone among its kind it is certain, else next to impossible."""


def _with_kind(x: Floats, kinds: NDArray[np.intp], chosen: NDArray[np.intp]) -> Floats:
    return np.hstack([x, np.eye(int(kinds.max()) + 1)[kinds[chosen]]])
