"""A campaign's decisions in the order in which the trainer takes them, learned ones and all others."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Final

import numpy as np
import orjson

from optimizer.groups import Group
from optimizer.store import decisions, rewards

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Connection

    from optimizer.store.rows import DecisionRow, RewardRow

PAGE: Final = 2_000
"""Decisions that are held at a time."""

START: Final = (-1, "")
"""Before the first place in the order."""

_NEVER: Final = frozenset({Group.HOLDOUT.value, Group.BAU.value})


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision and what became of it.

    Attributes:
        row: the decision.
        reward: what it came to; None while it is open.
        left_out: why it is not learned from, or not yet; None where it is.
    """

    row: DecisionRow
    reward: RewardRow | None
    left_out: str | None


def in_learning_order(
    connection: Connection, tenant: str, campaign_id: str, learned_before: tuple[int, str] = START
) -> Iterator[list[Decided]]:
    """Every decision of a campaign, those of each page of one version.

    First what is closed, by (mature_us, decision id), then what is open. The connection must see one state of the
    database all the time.

    Args:
        connection, tenant, campaign_id: whose.
        learned_before: up to this place the log may have gaps: learning of it starts after.
    """
    # The trainer stops before the first decision that is not closed: a later one that is closed waits for it.
    open_us = decisions.next_mature_us(connection, tenant, campaign_id)
    until_us = np.iinfo(np.int64).max if open_us is None else open_us
    place = START
    while found := rewards.closed_after(connection, tenant, campaign_id, after=place, limit=PAGE):
        place = (found[-1].mature_us, found[-1].decision_id)
        rows = decisions.decisions_by_ids(connection, tenant, [each.decision_id for each in found])
        page = []
        for reward in found:
            row, key = rows[reward.decision_id], (reward.mature_us, reward.decision_id)
            left_out = None if reward.learn else _cause(row, reward)
            if left_out is None and reward.mature_us >= until_us:
                left_out = "waits for an earlier one"
            if left_out is None and key <= learned_before:
                left_out = "learned before the log begins"
            page.append(Decided(row, reward, left_out))
        yield from _by_version(page)
    place = START
    while waiting := decisions.open_after(connection, tenant, campaign_id, after=place, limit=PAGE):
        place = waiting[-1]
        rows = decisions.decisions_by_ids(connection, tenant, [decision_id for _, decision_id in waiting])
        yield from _by_version([Decided(rows[decision_id], None, "not closed yet") for _, decision_id in waiting])


def _cause(row: DecisionRow, reward: RewardRow) -> str:
    """Why a closed decision is never learned from."""
    void: str | None = orjson.loads(reward.parts)["left_out"]
    if row.group_name in _NEVER:
        return row.group_name
    return void or row.reason or "nothing drawn"


def _by_version(page: Sequence[Decided]) -> Iterator[list[Decided]]:
    for _, same in groupby(page, key=lambda each: each.row.config_hash):
        yield list(same)
