from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from optimizer.catalog import Catalog
from optimizer.features import FeatureSpace
from optimizer.learner import Learner
from optimizer.standardisation import LARGEST
from tests.optimizer.kernel import campaign_of, example, log, message, slot, space_of

if TYPE_CHECKING:
    from optimizer.campaign import CampaignFile


def columns(**values: Any) -> dict[str, Any]:  # noqa: ANN401 -- raw columns
    """One customer of whom this is known."""

    def column(value: object) -> np.ndarray[Any, Any]:
        if isinstance(value, np.ndarray):
            return value
        return (
            np.fromiter([value], object)
            if value is None or isinstance(value, str | tuple)
            else np.array([value], float)
        )

    return {name: column(value) for name, value in values.items()}


def text(campaign: CampaignFile, arm: str, variant: tuple[str, int] | None = None, **values: object) -> str:
    """The example of one customer and one arm; numbers are standardised by mean 0 and deviation 1."""
    space = space_of(campaign)
    learner = Learner(space, "one")
    learner.standardiser.count[:] = 2.0
    learner.standardiser.square_sum[:] = 2.0
    found = columns(**values)
    encoded = space.encode(found, found, 1)
    return example(space, learner.standardiser, encoded, 0, space.catalog.index[arm], variant, pairs=True)


CAMPAIGN = campaign_of(
    messages=[
        message(
            0,
            2,
            attributes={"tone": "very warm", "price": 12.5, "new": True},
            offer={"id": "off10", "type": "discount", "value": 10, "unit": "percent"},
        )
    ],
    channels=2,
    slots=[slot(0, **{"from": "18:30", "to": "20:00"})],
    features=("n0", "n2", "k0", "k1", "b0", "mc", "hours_since_last_touch_on_channel"),
)
HOURS = np.array([[0.5, np.nan]])


def test_an_example_by_hand() -> None:
    known = text(
        CAMPAIGN,
        "m0/ch0/s0",
        ("fri", 1),
        n0=0.25,
        n2=None,
        k0="a b",
        k1=None,
        b0=True,
        mc=("x", "y"),
        hours_since_last_touch_on_channel=HOURS,
    )
    assert known == (
        " |A n0:0.25 n2:0 hours_since_last_touch_on_channel:0.5 n2=? k0=a%20b b0=true mc=x mc=y"
        " |B k0=a%20b^b0=true"
        " |a message=m0:1 message.tone=very%20warm:1 message.price:12.5 message.new=true:1 offer=off10:1"
        " offer.type=discount:1"
        " |b channel=ch0:1"
        " |c timing=s0:1 hour=18h:1 weekday=fri:1 days_ahead=1d:1"
        " |d message^channel=m0^ch0:1 |e message^timing=m0^s0:1 |f channel^timing=ch0^s0:1"
    )


def test_missing_values_are_a_level_a_flag_or_nothing() -> None:
    unknown = text(CAMPAIGN, "m0/ch1/s0", ("fri", 1), k1=None, hours_since_last_touch_on_channel=HOURS)
    assert unknown.startswith(
        " |A n0:0 n2:0 hours_since_last_touch_on_channel:0 n2=? hours_since_last_touch_on_channel=? k0=? b0=? mc=?"
        " |B k0=?^b0=? |a "
    )


def test_no_send_is_a_level_of_every_dimension_and_sees_no_channel() -> None:
    assert text(CAMPAIGN, "no_send", hours_since_last_touch_on_channel=HOURS) == (
        " |A n0:0 n2:0 n2=? k0=? b0=? mc=? |B k0=?^b0=?"
        " |a message=no_send:1 |b channel=no_send:1 |c timing=no_send:1"
        " |d message^channel=no_send:1 |e message^timing=no_send:1 |f channel^timing=no_send:1"
    )


def test_an_empty_set_of_values_is_known_and_switches_nothing_on() -> None:
    campaign = campaign_of(messages=1, features=("mc", "md"))
    assert text(campaign, "m0", mc=(), md=()) == " |A  |a message=m0:1"
    assert text(campaign, "m0", mc=None, md=None) == " |A mc=? |a message=m0:1"


def test_every_feature_is_crossed_with_every_dimension_and_dimensions_with_each_other() -> None:
    space = space_of(campaign_of(channels=1, slots=1, features=("n0", "k0", "k1")))
    assert space.arm_spaces == {
        ("message",): "a",
        ("channel",): "b",
        ("timing",): "c",
        ("message", "channel"): "d",
        ("message", "timing"): "e",
        ("channel", "timing"): "f",
    }
    assert space.crosses == {"A": ("a", "b", "c"), "B": ("a", "b", "c")}
    assert space.options(pairs=False) == "--ignore_linear A -q Aa -q Ab -q Ac"
    assert space.options(pairs=True) == "--ignore_linear A --ignore_linear B -q Aa -q Ab -q Ac -q Ba -q Bb -q Bc"


def test_a_list_of_crosses_says_itself_what_is_crossed() -> None:
    crosses = [["n0", "message"], ["k0", "channel", "message"], ["k0", "k1", "channel"], ["channel", "message"]]
    campaign = campaign_of(channels=1, features=("n0", "k0", "k1", "b0"), policy={"crosses": crosses})
    space = space_of(campaign)
    assert space.arm_spaces == {("message",): "a", ("channel",): "b", ("message", "channel"): "c"}
    assert [(t.features, t.pooled, space.crosses[t.space]) for t in space.terms] == [
        ((0,), False, ("c",)),
        ((0, 1), False, ("b",)),
    ]
    assert [(c.text, space.crosses[c.space]) for c in space.columns] == [("n0", ("a",))]
    assert not space.has_pairs


def test_pairs_are_of_features_with_one_value_at_a_time() -> None:
    space = space_of(campaign_of(features=("n0", "k0", "k1", "b0", "mc")))
    names = [tuple(space.categories[i].name for i in t.features) for t in space.terms if t.pooled]
    assert names == [("k0", "k1"), ("k0", "b0"), ("k1", "b0")]
    assert not space_of(campaign_of(features=("n0", "k0", "mc"))).has_pairs


def test_a_pair_with_an_ignored_missing_value_is_left_out() -> None:
    space = space_of(campaign_of(features=("k0", "k1")))
    (pair,) = (t for t in space.terms if t.pooled)
    assert space.term_levels(pair, ["x", "y"]) == ["k0=x^k1=y"]
    assert space.term_levels(pair, [None, "y"]) == ["k0=?^k1=y"]
    assert space.term_levels(pair, ["x", None]) == []


@pytest.mark.parametrize(
    ("raw", "encoded"), [(99.0, np.log(100)), (-99.0, -np.log(100)), (0.0, 0.0), (1e300, np.log(1e300))]
)
def test_log_keeps_the_sign_and_takes_any_size(raw: float, encoded: float) -> None:
    space = space_of(campaign_of(features=("n1",)))
    assert space.encode({"n1": np.array([raw])}, {}, 1).numbers[0, 0] == pytest.approx(encoded)


def test_numbers_without_end_are_kept_within_a_size_that_statistics_survive() -> None:
    space = space_of(campaign_of(features=("n0",)))
    encoded = space.encode({"n0": np.array([1e308, -1e308, np.nan, 3.0])}, {}, 4)
    assert np.array_equal(encoded.numbers[:, 0], [LARGEST, -LARGEST, np.nan, 3.0], equal_nan=True)
    learner = Learner(space, "one")
    learner.standardiser.learn(encoded.numbers)
    assert np.isfinite(learner.standardiser.apply(encoded.numbers, space.number_of)).all()


def test_an_attribute_that_nobody_has_is_missing_for_all() -> None:
    space = space_of(campaign_of(features=("n0", "k0", "b0", "mc")))
    encoded = space.encode({}, {}, 2)
    assert np.isnan(encoded.numbers).all()
    assert [list(values) for values in encoded.levels] == [[None, None]] * 3


def test_raw_columns_are_left_as_they_were() -> None:
    space = space_of(campaign_of(features=("n0", "n1")))
    raw = {"n0": np.array([1e300, np.nan]), "n1": np.array([5.0, -5.0])}
    copies = {name: column.copy() for name, column in raw.items()}
    space.encode(raw, {}, 2)
    assert all(np.array_equal(raw[name], copies[name], equal_nan=True) for name in raw)


def test_an_arm_of_a_version_without_the_dimension_lacks_its_features() -> None:
    """The log of a campaign that had no channels is read with the features of one that has."""
    now = campaign_of(channels=1, features=("hours_since_last_touch_on_channel", "k0"))
    space = FeatureSpace(now, Catalog(campaign_of(features=("k0",))))
    assert space.arm_text(0, None) == " |a message=m0"
    learner = Learner(space_of(now), "one")
    learner.learn(log(np.random.default_rng(0), space, 9).lessons(space))
    assert learner.counters.events == 9


def test_an_arms_text_is_written_once_and_stays_the_same() -> None:
    space = space_of(CAMPAIGN)
    first = space.arm_text(0, ("fri", 1))
    assert first is space.arm_text(0, ("fri", 1))
    assert first != space.arm_text(0, ("sat", 2))
    assert "price:12.5" in first
