from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.preprocessing import PolynomialFeatures
from threadpoolctl import threadpool_limits

from optimizer.errors import InvalidInput
from optimizer.evaluation.crossed import Crossed
from optimizer.evaluation.folds import fold_of, sample
from optimizer.evaluation.log import Log
from optimizer.evaluation.reward_models import RewardModel, arm_features, fit_folds, predict_folds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from optimizer.evaluation.totals import Floats


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """The threads of many small fits wait for each other on a busy machine."""
    with threadpool_limits(1):
        yield


def logged(n: int, *, seed: int = 1, binary: bool = True, arms: int = 3, customers: int | None = None) -> Log:
    rng = np.random.default_rng(seed)
    x, channel = rng.normal(size=n), rng.choice(["web", "app"], n).astype(object)
    chosen = rng.integers(0, arms, n)
    mean = 1 / (1 + np.exp(-(x * (chosen - 1) + (channel == "app"))))
    return Log(
        arms=tuple(f"a{k}" for k in range(arms)),
        chosen=chosen,
        propensity=np.full(n, 1 / arms),
        reward=(rng.random(n) < mean).astype(np.float64) if binary else 5 * mean + rng.normal(size=n),
        customer=None if customers is None else rng.integers(0, customers, n).astype(np.uint64),
        position=rng.integers(0, 2, n),
        context={"x": x, "channel": channel},
    )


class Recorder(LinearRegression):  # type: ignore[misc] # scikit-learn ships no types
    """Learns nothing; `seen_` are the rewards it was given."""

    def fit(self, x: Floats, y: Floats, sample_weight: Floats | None = None) -> Recorder:
        self.seen_, self.weights_ = set(y.tolist()), sample_weight
        return super().fit(x, y)  # type: ignore[no-any-return]


def test_no_row_is_predicted_by_a_model_that_saw_its_customer() -> None:
    log = logged(900, binary=False, customers=60)
    assert log.customer is not None
    # Each customer's reward is their number, so what a model saw tells whom it saw.
    log = replace(log, reward=log.customer.astype(np.float64))
    model = RewardModel.fit(log, model=Recorder(), seed=4)
    fold = fold_of(log, folds=3, seed=4, first=0)
    for each, fitted in enumerate(model.models):
        mine = set(log.reward[fold == each].tolist())
        assert mine
        assert not mine & fitted.seen_
        assert mine | fitted.seen_ == set(log.reward.tolist())


@pytest.mark.parametrize("customers", [None, 50])
@pytest.mark.parametrize("model", [None, LogisticRegression(), HistGradientBoostingClassifier(max_iter=5)])
def test_predictions_do_not_depend_on_the_chunks(customers: int | None, model: Any) -> None:  # noqa: ANN401
    log = logged(700, customers=customers)
    fitted = RewardModel.fit(log, model=model)
    whole = fitted.predictions(log, first=0)
    parts = [fitted.predictions(log.take(slice(i, i + 150)), first=i) for i in range(0, 700, 150)]
    assert whole.shape == (700, 3)
    assert np.concatenate(parts) == pytest.approx(whole, rel=1e-12)


def test_predictions_do_not_depend_on_how_many_rows_are_done_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    log = logged(500)
    fitted = RewardModel.fit(log)
    whole = fitted.predictions(log, first=0)
    monkeypatch.setattr("optimizer.evaluation.reward_models._BLOCK", 64)
    assert fitted.predictions(log, first=0) == pytest.approx(whole, rel=1e-12)


def test_a_model_of_a_sample_does_not_predict_for_customers_it_saw() -> None:
    log = logged(900, binary=False)
    log = replace(log, reward=np.arange(900.0))
    model = RewardModel.fit(
        sample([log.take(slice(0, 500)), log.take(slice(500, 900))], rows=400, seed=0), model=Recorder()
    )
    fold = fold_of(log, folds=3, seed=0, first=0)
    assert all(not set(log.reward[fold == each].tolist()) & fitted.seen_ for each, fitted in enumerate(model.models))


def test_the_same_seed_gives_the_same_predictions_and_another_one_other_folds() -> None:
    log = logged(600)
    model = HistGradientBoostingClassifier(max_iter=20, early_stopping=True)
    one, again, other = (RewardModel.fit(log, model=model, seed=seed).predictions(log, first=0) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)


def test_a_given_model_is_fitted_on_the_context_beside_the_arm_as_by_hand() -> None:
    log = logged(300)
    fitted = RewardModel.fit(log, model=LogisticRegression(), folds=2, seed=3)
    fold = fold_of(log, folds=2, seed=3, first=0)
    x = np.column_stack(
        [
            (log.context["x"] - log.context["x"].mean()) / log.context["x"].std(),
            log.context["channel"] == "app",
            log.context["channel"] == "web",
            np.eye(2)[np.asarray(log.position)],
            np.eye(3)[log.chosen],
        ]
    )
    by_hand = LogisticRegression().fit(x[fold == 1], log.reward[fold == 1])
    row = int(np.flatnonzero(fold == 0)[0])
    expected = [by_hand.predict_proba([[*x[row, :5], *np.eye(3)[k]]])[0, 1] for k in range(3)]
    assert fitted.predictions(log, first=0)[row] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("binary", [True, False])
def test_the_default_model_is_scikit_learns_on_all_products_of_context_and_arm(binary: bool) -> None:  # noqa: FBT001
    rng = np.random.default_rng(2)
    context, arms, chosen = rng.normal(size=(400, 3)), rng.normal(size=(5, 2)), rng.integers(0, 5, 400)
    x = np.hstack([context, arms[chosen]])
    reward = (rng.random(400) < 0.4).astype(float) if binary else rng.normal(size=400)
    weight = rng.uniform(0.5, 2, 400)
    ours = Crossed(context=3, binary=binary).fit(x, reward, weight)
    pairs = PolynomialFeatures(2, interaction_only=True, include_bias=False).fit(x)
    # All pairs, without those within the context or within the arm: names are such as "x0 x4".
    wanted = [len(n) < 4 or (n[1] < "3" <= n[4]) for n in pairs.get_feature_names_out()]
    theirs = LogisticRegression(max_iter=1000) if binary else Ridge()
    theirs.fit(pairs.transform(x)[:, wanted], reward, weight)

    def predicted(features: Floats) -> Floats:
        crossed = pairs.transform(features)[:, wanted]
        return theirs.predict_proba(crossed)[:, 1] if binary else theirs.predict(crossed)  # type: ignore[no-any-return]

    assert ours.predict(x) == pytest.approx(predicted(x), rel=1e-3, abs=1e-4)
    per_arm = np.stack([ours.predict(np.hstack([context, np.tile(arm, (400, 1))])) for arm in arms], axis=1)
    assert ours.per_arm(context, arms) == pytest.approx(per_arm, rel=1e-12)
    assert clone(ours).get_params() == {"context": 3, "binary": binary}


def test_the_default_model_finds_which_arm_is_best_in_which_context() -> None:
    log = logged(6_000)
    predicted = RewardModel.fit(log).predictions(log, first=0)
    clear = np.abs(log.context["x"]) > 0.5
    best = np.where(log.context["x"] > 0, 2, 0)
    assert np.mean(predicted.argmax(axis=1)[clear] == best[clear]) > 0.99


def test_weights_of_rows_count() -> None:
    log = logged(400)
    twice = Log.join([log, log.take(log.reward == 1.0)])
    fold = np.arange(400) % 2
    x = np.eye(3)[log.chosen]
    weighted = fit_folds(LogisticRegression(tol=1e-10), x, log.reward, fold, folds=2, weight=1.0 + log.reward)
    more = fit_folds(
        LogisticRegression(tol=1e-10),
        np.eye(3)[twice.chosen],
        twice.reward,
        np.concatenate([fold, fold[log.reward == 1.0]]),
        folds=2,
    )
    none = np.empty((400, 0))
    expected = predict_folds(tuple(more), none, np.eye(3), fold)
    assert predict_folds(tuple(weighted), none, np.eye(3), fold) == pytest.approx(expected, rel=1e-5)


def test_arms_are_known_by_their_attributes_where_these_are_given() -> None:
    attributes = {
        "channel": np.array(["email", "sms", "email"], object),
        "price": np.array([1.0, 3.0, 2.0]),
    }
    features = arm_features(attributes)
    assert features[:, :2] == pytest.approx(np.array([[1, 0], [0, 1], [1, 0]]))
    assert features[:, 2] == pytest.approx((attributes["price"] - 2) / np.sqrt(2 / 3))
    log = logged(500)
    predicted = RewardModel.fit(log, arms=features[[0, 0, 1]]).predictions(log, first=0)
    np.testing.assert_array_equal(predicted[:, 0], predicted[:, 1])


def test_a_chunk_from_before_an_arm_was_known_gets_predictions_for_its_own_arms() -> None:
    log = logged(300)
    fitted = RewardModel.fit(log)
    early = log.take(log.chosen < 2)
    early = replace(early, arms=("a0", "a1"))
    assert fitted.predictions(early, first=0).shape == (len(early), 2)


def test_where_all_rewards_are_the_same_that_is_predicted() -> None:
    log = logged(60)
    log = replace(log, reward=np.zeros(60))
    assert not RewardModel.fit(log, model=LogisticRegression()).predictions(log, first=0).any()


def test_a_classifier_of_rewards_that_are_no_classes_is_refused() -> None:
    with pytest.raises(InvalidInput, match="take a regressor"):
        RewardModel.fit(logged(60, binary=False), model=LogisticRegression())


def test_one_customer_alone_is_too_few_for_folds() -> None:
    with pytest.raises(InvalidInput, match="takes more of them"):
        RewardModel.fit(logged(60, customers=1))
