"""Budgets: what of each is granted to whom, and used. Amounts are whole millionths.

A campaign's budget is an account (`ACCOUNT`), an archive of what touches took that have left the log (`ARCHIVE`), and a
row for each process that has taken a block. What all of them have used together is what touches take of the budget.
`granted` is what the holder may use without asking anybody: the grants of all together are never more than the amount.

The row of the account is the lock of all: whoever grants, takes back or moves holds it first (`hold`). A process uses
of its own block without it, by a comparison that fails where the block was taken back meanwhile. What is given back
goes to the account, whose `used` may so come to be negative: it is what was used less what others have given back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sqlalchemy import bindparam, delete, func, select, update

from optimizer.store.bulk import change_rows, insert_missing, run, upsert_rows
from optimizer.store.tables import budgets, touches

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection

ACCOUNT: Final = ""
ARCHIVE: Final = "archive"
WORKER: Final = "worker/"
"""What the holder of a process's block begins with."""

_KEY: Final = ("tenant", "campaign_id", "holder")
_OF = (budgets.c.tenant == bindparam("tenant"), budgets.c.campaign_id == bindparam("campaign_id"))
_ROWS = select(*budgets.columns).where(*_OF).order_by(budgets.c.holder)
_HELD = _ROWS.with_for_update()
_ACCOUNT = _ROWS.where(budgets.c.holder == ACCOUNT).with_for_update()
_MINE = (
    budgets.c.tenant == bindparam("of_tenant"),
    budgets.c.campaign_id == bindparam("of_campaign"),
    budgets.c.holder == bindparam("of_holder"),
)
_USE = (
    update(budgets)
    .where(*_MINE, budgets.c.used_micro + bindparam("needed") <= budgets.c.granted_micro)
    .values(used_micro=budgets.c.used_micro + bindparam("micro"))
)
_GIVE_BACK = update(budgets).where(*_MINE).values(used_micro=budgets.c.used_micro - bindparam("micro"))
_DROP = delete(budgets).where(*_MINE)
_RESERVE = (
    update(touches)
    .where(touches.c.tenant == bindparam("of_tenant"), touches.c.decision_id == bindparam("of_decision"))
    .values(reserved_micro=bindparam("new_micro"))
)


class BudgetRow(NamedTuple):
    """What of a campaign's budget one holder was granted, and has used."""

    tenant: str
    campaign_id: str
    holder: str
    granted_micro: int
    used_micro: int


def budget_rows(connection: Connection, tenant: str, campaign_id: str) -> list[BudgetRow]:
    """The rows of a campaign's budget, in the order of their holders."""
    return [BudgetRow._make(row) for row in run(connection, _ROWS, tenant=tenant, campaign_id=campaign_id)]


def hold(connection: Connection, tenant: str, campaign_id: str) -> list[BudgetRow]:
    """The same with the account, made where there is none; nobody else changes them until this transaction ends."""
    insert_missing(connection, budgets, [BudgetRow(tenant, campaign_id, ACCOUNT, 0, 0)], _KEY)
    # Only who has the account sees every row: one that is made by whoever had it before would be passed over else.
    run(connection, _ACCOUNT, tenant=tenant, campaign_id=campaign_id)
    return [BudgetRow._make(row) for row in run(connection, _HELD, tenant=tenant, campaign_id=campaign_id)]


def put(connection: Connection, rows: Sequence[BudgetRow], gone: Sequence[BudgetRow] = ()) -> None:
    """Store rows of budgets that are held, in the place of what they were; `gone` are dropped."""
    change_rows(connection, _DROP, [row[:3] for row in gone], ("of_tenant", "of_campaign", "of_holder"))
    upsert_rows(connection, budgets, rows, _KEY, ("granted_micro", "used_micro"))


def use(connection: Connection, row: BudgetRow, *, spare_micro: int) -> bool:
    """Use so much (`used_micro`) of a holder's block, if that and `spare_micro` more is free in it; whether it was."""
    needed = row.used_micro + spare_micro
    given = {"of_tenant": row.tenant, "of_campaign": row.campaign_id, "of_holder": row.holder}
    return connection.execute(_USE, {**given, "needed": needed, "micro": row.used_micro}).rowcount == 1


def give_back(connection: Connection, tenant: str, campaign_id: str, amount_micro: int) -> None:
    """Return what was used to the account; a negative amount is used beyond every block, since it was spent already."""
    insert_missing(connection, budgets, [BudgetRow(tenant, campaign_id, ACCOUNT, 0, 0)], _KEY)
    given = {"of_tenant": tenant, "of_campaign": campaign_id, "of_holder": ACCOUNT, "micro": amount_micro}
    connection.execute(_GIVE_BACK, given)


def reserve(connection: Connection, tenant: str, amounts: Mapping[str, int]) -> None:
    """Note what touches take of their campaigns' budgets, by decision id."""
    rows: list[tuple[Any, ...]] = [(tenant, decision_id, micro) for decision_id, micro in amounts.items()]
    change_rows(connection, _RESERVE, rows, ("of_tenant", "of_decision", "new_micro"))


def used_by_campaign(connection: Connection, tenant: str) -> dict[str, int]:
    """What is used of each campaign's budget, of those that have rows."""
    query = (
        select(budgets.c.campaign_id, func.sum(budgets.c.used_micro))
        .where(budgets.c.tenant == tenant)
        .group_by(budgets.c.campaign_id)
    )
    return {campaign_id: int(used) for campaign_id, used in connection.execute(query)}


def reserved(
    connection: Connection, tenant: str, campaign_id: str | None = None, states: Sequence[str] = ()
) -> dict[str, int]:
    """What touches take of budgets, by campaign: of one or all, in all states or these."""
    query = (
        select(touches.c.campaign_id, func.sum(touches.c.reserved_micro))
        .where(touches.c.tenant == tenant, touches.c.reserved_micro != 0)
        .group_by(touches.c.campaign_id)
        .order_by(touches.c.campaign_id)
    )
    if campaign_id is not None:
        query = query.where(touches.c.campaign_id == campaign_id)
    if states:
        query = query.where(touches.c.state.in_(states))
    return {campaign: int(total) for campaign, total in connection.execute(query)}


def take_back_blocks(connection: Connection, tenant: str, campaign_id: str) -> None:
    """Take every block of a campaign back, since its amount may be another from now on, and hold the budget."""
    rows = hold(connection, tenant, campaign_id)
    blocks = [row for row in rows if row.holder.startswith(WORKER)]
    account = sum(row.used_micro for row in rows if row.holder != ARCHIVE)
    put(connection, [BudgetRow(tenant, campaign_id, ACCOUNT, account, account)], blocks)
