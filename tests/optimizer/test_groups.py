from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from optimizer.campaign import Groups
from optimizer.groups import GROUPS, Group, assign

if TYPE_CHECKING:
    from numpy.typing import NDArray

FALSE_ALARM = 1e-9
"""The chance that a statistical test here would fail, with other ids, without a defect."""

IDS = [f"customer-{i}" for i in range(40_000)]
BAU = {"arm": {"message": "m0"}}


def groups_of(holdout: float = 0.0, random_control: float = 0.0, bau: float = 0.0) -> Groups:
    return Groups.model_validate(
        {"holdout": holdout, "random_control": random_control, "bau": {"share": bau, **BAU} if bau else None}
    )


def named(codes: NDArray[Any]) -> list[Group]:
    return [GROUPS[code] for code in codes.tolist()]


def test_groups_are_what_they_have_always_been() -> None:
    """Golden: a change here moves the customers of every running campaign."""
    groups = named(assign(["a", "b", "ñ", "42", ""], groups_of(0.25, 0.25, 0.25), "winback-q1"))
    assert groups == [Group.BAU, Group.BAU, Group.TREATMENT, Group.TREATMENT, Group.BAU]


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=8), max_size=20))
def test_a_customers_group_does_not_depend_on_who_else_is_there(ids: list[str]) -> None:
    shares = groups_of(0.2, 0.3, 0.1)
    together = assign(ids, shares, "salt")
    assert together.shape == (len(ids),)
    assert [int(assign([one], shares, "salt")[0]) for one in ids] == together.tolist()


@pytest.mark.parametrize("shares", [(0.05, 0.05, 0.10), (0.0, 0.5, 0.0), (0.33, 0.33, 0.34), (1.0, 0.0, 0.0)])
def test_groups_have_the_sizes_asked_for(shares: tuple[float, float, float]) -> None:
    counts = np.bincount(assign(IDS, groups_of(*shares), "salt"), minlength=4)
    holdout, control, bau = shares
    expected = {
        Group.TREATMENT: 1 - holdout - control - bau,
        Group.RANDOM_CONTROL: control,
        Group.BAU: bau,
        Group.HOLDOUT: holdout,
    }
    for group, share in expected.items():
        p = min(max(share, 0.0), 1.0)
        low, high = stats.binom.ppf([FALSE_ALARM / 8, 1 - FALSE_ALARM / 8], len(IDS), p)
        assert low <= counts[GROUPS.index(group)] <= high


@given(st.floats(0, 0.3), st.floats(0, 0.3), st.floats(0, 0.2), st.floats(0, 0.2))
def test_enlarging_bau_moves_only_customers_of_treatment(
    holdout: float, control: float, bau: float, more: float
) -> None:
    before = named(assign(IDS[:2000], groups_of(holdout, control, bau), "salt"))
    after = named(assign(IDS[:2000], groups_of(holdout, control, bau + more), "salt"))
    moved = {(a, b) for a, b in zip(before, after, strict=True) if a != b}
    assert moved <= {(Group.TREATMENT, Group.BAU)}


@given(st.floats(0, 0.4), st.floats(0, 0.4))
def test_nobody_leaves_a_holdout_that_grows(share: float, more: float) -> None:
    before, after = (assign(IDS[:2000], groups_of(s, 0.1), "salt") for s in (share, share + more))
    holdout = GROUPS.index(Group.HOLDOUT)
    assert (after[before == holdout] == holdout).all()


def test_campaigns_with_different_salts_divide_customers_independently() -> None:
    shares = groups_of(0.25, 0.25, 0.25)
    table = np.zeros((4, 4))
    np.add.at(table, (assign(IDS, shares, "a"), assign(IDS, shares, "b")), 1)
    assert stats.chi2_contingency(table).pvalue > FALSE_ALARM
    assert (assign(IDS, shares, "a") == assign(IDS, shares, "a")).all()
