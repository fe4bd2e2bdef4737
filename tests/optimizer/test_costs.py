"""What is chosen within a budget never costs more than is left; each customer sees what the ones before have left."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from optimizer.catalog import Catalog
from optimizer.choices import Choices
from optimizer.costs import ArmCosts
from optimizer.reasons import Reached
from optimizer.scalars import micro
from tests.optimizer.engine_example import campaign, message

if TYPE_CHECKING:
    from collections.abc import Sequence


def costs(amount: float, on_reach: str = "stop_offers") -> ArmCosts:
    """An offer that costs 2 when used, one that costs 1 when sent, and a plain message; e-mail 0.5, push nothing."""
    made = campaign(**_parts(amount, on_reach))
    return ArmCosts(made, Catalog(made))


def _parts(amount: float, on_reach: str) -> dict[str, Any]:
    offer = {"id": "off", "type": "discount", "value": 10, "unit": "percent"}
    messages = [
        message("used", "email", "push", offer=offer | {"cost": 2.0, "cost_on": "used"}),
        message("sent", "email", offer=offer | {"cost": 1.0}),
        message("plain", "email", "push"),
    ]
    channels = [{"id": "email", "cost": 0.5}, {"id": "push", "cost": 0.0}]
    budget = {"amount": amount, "currency": "USD", "on_reach": on_reach}
    return {"catalog": {"messages": messages, "channels": channels}, "budget": budget}


ARMS = ("used/email", "used/push", "sent/email", "sent/push", "plain/email", "plain/push", "no_send")


def test_an_arm_costs_its_channel_and_its_offer_whenever_that_arises() -> None:
    found = costs(100)
    assert found.whole.tolist() == [2_500_000, 2_000_000, 1_500_000, 0, 500_000, 0, 0], "sent/push has no creative"
    assert found.on_use.tolist() == [2_000_000, 2_000_000, 0, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("left", "on_reach", "reached", "gone"),
    [
        (2.5, "stop_offers", None, ()),
        (2.499999, "stop_offers", Reached.OFFERS, (0, 1, 2, 3)),
        (0.5, "stop_offers", Reached.OFFERS, (0, 1, 2, 3)),
        (0.4, "stop_offers", Reached.COSTS, (0, 1, 2, 3, 4)),
        (2.5, "pause", None, ()),
        (2.499999, "pause", Reached.SENDS, (0, 1, 2, 3, 4, 5)),
        (-1.0, "pause", Reached.SENDS, (0, 1, 2, 3, 4, 5)),
    ],
)
def test_what_is_left_says_what_is_reached(
    left: float, on_reach: str, reached: Reached | None, gone: tuple[int, ...]
) -> None:
    found = costs(100, on_reach)
    assert found.reached(micro(left)) is reached
    assert reached is None or tuple(found.removed(reached).tolist()) == gone


def test_a_budget_that_does_not_pay_for_a_single_touch_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"budget\.amount does not pay for a single touch with used on email"):
        costs(2.4)
    costs(2.5)
    with pytest.raises(ValidationError, match="less than or equal to"):
        costs(1e13)


def test_without_a_budget_nothing_costs_anything_however_much_it_is() -> None:
    parts = _parts(100, "pause")
    del parts["budget"]
    parts["catalog"]["channels"][0]["cost"] = 1e300
    made = campaign(**parts)
    assert not ArmCosts(made, Catalog(made)).whole.any()


class Drawing:
    """Draws for customers what they would draw from all arms, or no_send where that is gone; notes what was reached."""

    def __init__(self, found: ArmCosts, wishes: Sequence[int]) -> None:
        self.found = found
        self.wishes = wishes
        self.reached: list[Reached | None] = [None] * len(wishes)
        self.times = 0

    def decide(self, start: int, reached: Reached | None) -> Choices:
        self.times += 1
        gone = set() if reached is None else set(self.found.removed(reached).tolist())
        self.reached[start:] = [reached] * (len(self.wishes) - start)
        arms = np.array([ARMS.index("no_send") if wish in gone else wish for wish in self.wishes[start:]], np.intp)
        reason = np.where(arms == ARMS.index("no_send"), 5, 0).astype(np.uint8)
        return Choices(arms, np.ones(len(arms)), reason, None, None)


@given(
    st.lists(st.sampled_from([0, 1, 2, 4, 5, 6]), min_size=1, max_size=60),
    st.integers(-1_000_000, 40_000_000),
    st.sampled_from(["pause", "stop_offers"]),
)
def test_a_batch_is_decided_in_order_and_never_beyond_what_is_left(wishes: list[int], left: int, on_reach: str) -> None:
    found = costs(100, on_reach)
    drawing = Drawing(found, wishes)
    done = found.within(left, None, len(wishes), drawing.decide)
    each = found.each(done.choices)
    assert (len(each), sum(each)) == (len(wishes), done.spent_micro)
    assert done.spent_micro <= max(left, 0)
    assert drawing.times <= 3
    assert done.reached is drawing.reached[-1]
    for place, reached in enumerate(drawing.reached):
        # What one customer after the other would have found.
        assert reached is found.reached(left - sum(each[:place]))
