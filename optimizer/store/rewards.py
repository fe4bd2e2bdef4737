"""Rewards of matured decisions, and the order in which they are learned."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import bindparam, case, delete, exists, func, insert, select, tuple_

from optimizer.store.bulk import change_rows, insert_rows, one_of, select_in
from optimizer.store.rows import RewardRow, TrainingRow
from optimizer.store.tables import decisions, open_decisions, rewards, voids

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Connection

_SAME = (decisions.c.tenant == rewards.c.tenant) & (decisions.c.decision_id == rewards.c.decision_id)
_IN_REWARDS = {"decision_id", "mature_us", "reward"}
_TRAINING = select(
    *((rewards if name in _IN_REWARDS else decisions).columns[name] for name in TrainingRow._fields)
).join_from(rewards, decisions, _SAME)
_BY_ID = select(*rewards.columns).where(rewards.c.tenant == bindparam("tenant"), one_of(rewards.c.decision_id))
_CLOSED = (
    delete(open_decisions)
    .where(open_decisions.c.tenant == bindparam("of_tenant"))
    .where(open_decisions.c.campaign_id == bindparam("of_campaign"))
    .where(open_decisions.c.mature_us == bindparam("of_mature_us"))
    .where(open_decisions.c.decision_id == bindparam("of_decision"))
)
_KEY = ("of_tenant", "of_campaign", "of_mature_us", "of_decision")


class GroupReward(NamedTuple):
    """The closed decisions of one group: how many, the sum of their rewards, and of the squares."""

    group_name: str
    decisions: int
    total: float
    squares: float


def insert_rewards(connection: Connection, rows: Sequence[RewardRow]) -> None:
    """Store rewards; the decisions wait no longer.

    Raises sqlalchemy's IntegrityError where a decision has one already.
    """
    if not rows:
        return
    insert_rows(connection, rewards, rows)
    keys = [(row.tenant, row.campaign_id, row.mature_us, row.decision_id) for row in rows]
    change_rows(connection, _CLOSED, keys, _KEY)


def reopen_rewards(
    connection: Connection, tenant: str, campaign_id: str, *, before_us: int = 0, matures_after_us: int = 0
) -> None:
    """Forget the campaign's rewards: every decision of it is closed anew.

    Those made before `before_us` mature `matures_after_us` after they were made, the others when their own version says
    so.
    """
    connection.execute(delete(rewards).where(rewards.c.tenant == tenant, rewards.c.campaign_id == campaign_id))
    mine = (open_decisions.c.tenant == tenant, open_decisions.c.campaign_id == campaign_id)
    connection.execute(delete(open_decisions).where(*mine))
    columns = decisions.c
    rejoined = (columns.decided_us < before_us, columns.decided_us + matures_after_us)
    source = select(
        columns.tenant, columns.campaign_id, case(rejoined, else_=columns.mature_us), columns.decision_id
    ).where(columns.tenant == tenant, columns.campaign_id == campaign_id)
    names = ["tenant", "campaign_id", "mature_us", "decision_id"]
    connection.execute(insert(open_decisions).from_select(names, source))


def rewards_by_ids(connection: Connection, tenant: str, decision_ids: Iterable[str]) -> dict[str, RewardRow]:
    """The rewards that those decisions have, by decision id."""
    found = select_in(connection, _BY_ID, decision_ids, tenant=tenant)
    return {row.decision_id: RewardRow._make(row)._replace(learn=bool(row.learn)) for row in found}


def rewards_after(  # noqa: PLR0913 - whose, from where, how far, how many
    connection: Connection, tenant: str, campaign_id: str, *, watermark: tuple[int, str], until_us: int, limit: int
) -> list[TrainingRow]:
    """The next decisions to learn, in the order (mature_us, decision id).

    After `watermark`, a place in that order, and matured by `until_us` (inclusive). A decision that closes late would
    be passed over: `until_us` has to lie before `next_mature_us`.
    """
    query = (
        _TRAINING.where(rewards.c.tenant == tenant, rewards.c.campaign_id == campaign_id, rewards.c.learn)
        .where(rewards.c.mature_us >= watermark[0], rewards.c.mature_us <= until_us)
        .where(tuple_(rewards.c.mature_us, rewards.c.decision_id) > tuple_(*watermark))
        .order_by(rewards.c.mature_us, rewards.c.decision_id)
        .limit(limit)
    )
    return [TrainingRow._make(row) for row in connection.execute(query)]


def closed_after(
    connection: Connection, tenant: str, campaign_id: str, *, after: tuple[int, str], limit: int
) -> list[RewardRow]:
    """The next rewards of a campaign, learned from or not, in the order (mature_us, decision id), after that place."""
    query = (
        select(*rewards.columns)
        .where(rewards.c.tenant == tenant, rewards.c.campaign_id == campaign_id, rewards.c.mature_us >= after[0])
        .where(tuple_(rewards.c.mature_us, rewards.c.decision_id) > tuple_(*after))
        .order_by(rewards.c.mature_us, rewards.c.decision_id)
        .limit(limit)
    )
    return [RewardRow._make(row)._replace(learn=bool(row.learn)) for row in connection.execute(query)]


def group_rewards(connection: Connection, tenant: str, campaign_id: str, since_us: int = 0) -> list[GroupReward]:
    """Counts and sums by group, over the closed decisions made since that instant that are not void.

    In the order of the names.
    """
    void = voids.c.tenant == rewards.c.tenant, voids.c.decision_id == rewards.c.decision_id
    query = (
        select(
            decisions.c.group_name,
            func.count(),
            func.sum(rewards.c.reward),
            func.sum(rewards.c.reward * rewards.c.reward),
        )
        .join_from(rewards, decisions, _SAME)
        .where(rewards.c.tenant == tenant, rewards.c.campaign_id == campaign_id, decisions.c.decided_us >= since_us)
        .where(~exists().where(*void))
        .group_by(decisions.c.group_name)
        .order_by(decisions.c.group_name)
    )
    return [GroupReward._make(row) for row in connection.execute(query)]


def count_left_out(connection: Connection, tenant: str, campaign_id: str) -> int:
    """How many closed decisions of the learning groups drew an arm and are not learned from, whatever the cause."""
    query = (
        select(func.count())
        .select_from(rewards.join(decisions, _SAME))
        .where(rewards.c.tenant == tenant, rewards.c.campaign_id == campaign_id, ~rewards.c.learn)
        .where(decisions.c.group_name.in_(["treatment", "random_control"]), decisions.c.arm.is_not(None))
    )
    return connection.execute(query).scalar_one()
