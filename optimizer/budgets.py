"""Budgets: what a campaign spends, reserved before anything is drawn, and never more than its amount.

A process takes its part in blocks (`optimizer.store.budgets`), so that processes do not wait for each other at every
decision. What a decision's touch may cost is used of the block in the decision's transaction, at its very end; where
the block has been taken back meanwhile, or was used by another thread, the decision starts again. A block that does not
suffice is enlarged; where not enough is left ungranted, the free parts of all other blocks are taken back first, those
of processes that are gone among them. So everything is spent before anybody is told that nothing is left, and nothing
has to find out who lives.

At the edge, when not enough is left for the whole batch whatever is drawn, the budget is held until the commit, and
those of the batch are decided in their order: each sees what the ones before have left (`ArmCosts.within`).

What a touch takes is given back when it is cancelled, expires or fails; what an offer would have cost that is never
used, when its decision closes. A touch that was given up and shown by its caller all the same is spent: then, and only
then, may a budget be exceeded.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

from optimizer.scalars import MICRO
from optimizer.store import budgets
from optimizer.store.budgets import ACCOUNT, ARCHIVE, WORKER, BudgetRow
from optimizer.store.rows import CampaignRow
from optimizer.store.touches import OPEN_STATES
from optimizer.store.transactions import StartAgain, before_commit, notes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from sqlalchemy import Connection

    from optimizer.choices import Choices
    from optimizer.costs import ArmCosts
    from optimizer.reasons import Reached
    from optimizer.runtime import Runtime
    from optimizer.store.rows import TouchRow
    from optimizer.versions import Version, Versions

_NOTES: Final = "budgets"


@dataclass(frozen=True, slots=True)
class BudgetReport:
    """How a budget stands, in the campaign's unit.

    Attributes:
        amount: what may be spent.
        reserved: what touches take that are not sent yet.
        spent: what sent ones cost; an offer that costs when it is used is in it until the decision has closed unused.
    """

    amount: float
    currency: str
    reserved: float
    spent: float

    @property
    def left(self) -> float:
        """What may still be reserved."""
        return max(0.0, self.amount - self.reserved - self.spent)


@dataclass(slots=True)
class _Block:
    """What this transaction has used of a block, and how much more has to be free in it at the end."""

    used_micro: int = 0
    spare_micro: int = 0


@dataclass(slots=True)
class _Changes:
    """What this transaction changes of budgets, written at its end, always in the same order."""

    blocks: dict[tuple[str, str, str], _Block] = field(default_factory=dict)
    given: dict[tuple[str, str], int] = field(default_factory=dict)
    held: set[tuple[str, str]] = field(default_factory=set)

    @classmethod
    def of(cls, connection: Connection) -> _Changes:
        kept: _Changes | None = notes(connection).get(_NOTES)
        if kept is None:
            kept = notes(connection)[_NOTES] = cls()
            before_commit(connection, partial(kept.write, connection))
        return kept

    def write(self, connection: Connection) -> None:
        """Raises StartAgain where a block has not enough any more."""
        accounts = {(*key, ACCOUNT): micro for key, micro in self.given.items() if micro}
        for tenant, campaign_id, holder in sorted({*accounts, *self.blocks}):
            if holder == ACCOUNT:
                budgets.give_back(connection, tenant, campaign_id, accounts[tenant, campaign_id, holder])
                continue
            block = self.blocks[tenant, campaign_id, holder]
            row = BudgetRow(tenant, campaign_id, holder, 0, block.used_micro)
            if block.used_micro and not budgets.use(connection, row, spare_micro=block.spare_micro):
                raise StartAgain


def change(connection: Connection, tenant: str, before: Iterable[TouchRow], after: Mapping[str, int]) -> None:
    """Have touches take so much of their budgets, by decision id, in the place of what they took `before`."""
    moved: dict[str, int] = {}
    for touch in before:
        new = after[touch.decision_id]
        if new != touch.reserved_micro:
            moved[touch.decision_id] = new
            given = _Changes.of(connection).given
            key = (tenant, touch.campaign_id)
            given[key] = given.get(key, 0) + touch.reserved_micro - new
    budgets.reserve(connection, tenant, moved)


def give_back(connection: Connection, tenant: str, page: Iterable[TouchRow]) -> None:
    """Return what touches take that are given up."""
    taking = [touch for touch in page if touch.reserved_micro]
    change(connection, tenant, taking, dict.fromkeys((touch.decision_id for touch in taking), 0))


class Account:
    """A campaign's budget in the eyes of one transaction, from `Budgets.account`.

    Attributes:
        costs: what its arms cost.
        free_micro: what this process may use without asking.
        left_micro: what nobody has used, as far as is committed.
    """

    def __init__(
        self, connection: Connection, runtime: Runtime, versions: Versions, version: Version, holder: str
    ) -> None:
        self._connection = connection
        self._versions = versions
        self._version = version
        self._changes = _Changes.of(connection)
        self._key = (runtime.tenant, version.campaign.id)
        self._row = BudgetRow(*self._key, holder, 0, 0)
        self.costs: ArmCosts = version.costs
        self._see(budgets.budget_rows(connection, *self._key))

    def _see(self, rows: Iterable[BudgetRow]) -> None:
        mine = self._changes.blocks.get((*self._key, self._row.holder), _Block())
        used = sum(row.used_micro for row in rows) + mine.used_micro - self._changes.given.get(self._key, 0)
        # A block that was taken back meanwhile is none, whatever was seen of it before.
        none = BudgetRow(*self._key, self._row.holder, 0, 0)
        self._row = next((row for row in rows if row.holder == none.holder), none)
        self.left_micro = self.costs.amount_micro - used
        self.free_micro = self._row.granted_micro - self._row.used_micro - mine.used_micro

    def secure(self, needed_micro: int, first_to_wait: Callable[[], object] = bool) -> None:
        """Have so much free, or all that is left, and hold the budget until the transaction ends; nothing if it is.

        `first_to_wait` is called before it is held: what it waits for must not wait for the budget.
        """
        if self.free_micro >= needed_micro:
            return
        if self._key not in self._changes.held:
            first_to_wait()
            # Whoever loads another version, of another amount perhaps, takes the campaign first, and then its budget.
            campaign = self._version.campaign
            row = self._versions.kept(self._connection, [campaign.id])[campaign.id]
            if isinstance(row, CampaignRow) and row.config_hash != campaign.config_hash:
                raise StartAgain
        rows = budgets.hold(self._connection, *self._key)
        self._changes.held.add(self._key)
        self._see(rows)
        self._grant(rows, needed_micro - self.free_micro)
        mine = self._changes.blocks.get((*self._key, self._row.holder))
        if mine is not None:
            # What earlier customers of this transaction were decided by has to be so now.
            if self.free_micro < mine.spare_micro:
                raise StartAgain
            mine.spare_micro = 0

    def _grant(self, rows: Iterable[BudgetRow], short_micro: int) -> None:
        """Enlarge this process's block by what is short, or more: a quarter of what nobody has; settle the account."""
        if short_micro <= 0:
            return
        others = {row.holder: row for row in rows if row.holder.startswith(WORKER) and row.holder != self._row.holder}
        account = sum(row.used_micro for row in rows if row.holder == ACCOUNT)
        archived = sum(row.used_micro for row in rows if row.holder == ARCHIVE)
        taken = account + archived + self._row.granted_micro
        free = self.costs.amount_micro - taken - sum(row.granted_micro for row in others.values())
        folded: list[BudgetRow] = []
        if free < short_micro:
            folded = list(others.values())
            account += sum(row.used_micro for row in folded)
            free = self.costs.amount_micro - taken - sum(row.used_micro for row in folded)
        more = max(0, min(free, max(short_micro, free // 4)))
        self._row = self._row._replace(granted_micro=self._row.granted_micro + more)
        settled = BudgetRow(*self._key, ACCOUNT, account, account)
        budgets.put(self._connection, [settled, self._row], folded)
        self.free_micro += more

    def within(
        self, n: int, decide: Callable[[int, Reached | None], Choices], first_to_wait: Callable[[], object] = bool
    ) -> tuple[Choices, Reached | None]:
        """Choose for n customers, in their order, within what is left; and what is reached for the last of them.

        Usually the block pays for all of it and for one touch more, whichever that were, and nobody is waited for. At
        the edge the budget is held until the commit, and each sees what the ones before have left.

        Args:
            n: how many customers.
            decide: chooses for those from a place on, with what is reached for them.
            first_to_wait: called before the budget is held: what it waits for must not wait for the budget.
        """
        reached = self.costs.reached(self.left_micro)
        choices = decide(0, reached)
        needed = sum(self.costs.each(choices)) + self.costs.needed_micro(reached)
        self.secure(needed, first_to_wait)
        if self.free_micro >= needed:
            return choices, reached
        found = self.costs.within(self.free_micro, reached, n, decide)
        return found.choices, found.reached

    def use(self, micro: int, reached: Reached | None) -> None:
        """Use so much of the block, at the end of the transaction, for customers for whom no more was reached.

        Unless the budget is held, that is so then too, or everything starts again.
        """
        block = self._changes.blocks.setdefault((*self._key, self._row.holder), _Block())
        block.used_micro += micro
        if self._key not in self._changes.held:
            block.spare_micro = self.costs.needed_micro(reached)
        self.free_micro -= micro
        self.left_micro -= micro


class Budgets:
    """The budgets of a tenant's campaigns, as one process spends them. Safe to call from any thread.

    Args:
        runtime, versions: the parts of the service.
        worker: the name of this process; the same one after a restart goes on with its blocks.
    """

    def __init__(self, runtime: Runtime, versions: Versions, worker: str) -> None:
        self._runtime = runtime
        self._versions = versions
        self._holder = WORKER + worker

    def account(self, connection: Connection, version: Version) -> Account | None:
        """The budget of a campaign, to be spent in this transaction; None where it has none."""
        if version.campaign.budget is None:
            return None
        return Account(connection, self._runtime, self._versions, version, self._holder)

    def report(self, connection: Connection, version: Version) -> BudgetReport | None:
        """How a campaign's budget stands; None where it has none."""
        budget = version.campaign.budget
        if budget is None:
            return None
        tenant, campaign_id = self._runtime.tenant, version.campaign.id
        used = budgets.used_by_campaign(connection, tenant).get(campaign_id, 0)
        waiting = budgets.reserved(connection, tenant, campaign_id, OPEN_STATES).get(campaign_id, 0)
        return BudgetReport(budget.amount, budget.currency, waiting / MICRO, (used - waiting) / MICRO)

    def standing(self, connection: Connection) -> dict[str, tuple[float, float]]:
        """The amount of each campaign's budget, and what is reserved and spent of it, by campaign."""
        used = budgets.used_by_campaign(connection, self._runtime.tenant)
        found = {}
        for row in self._versions.all(connection):
            budget = self._versions.get(connection, row.campaign_id, row.config_hash).campaign.budget
            if budget is not None:
                found[row.campaign_id] = (budget.amount, used.get(row.campaign_id, 0) / MICRO)
        return found


def archive(connection: Connection, tenant: str, gone: Iterable[TouchRow]) -> None:
    """Go on counting what touches took that are dropped now."""
    taken: dict[str, int] = {}
    for touch in gone:
        taken[touch.campaign_id] = taken.get(touch.campaign_id, 0) + touch.reserved_micro
    for campaign_id, micro in sorted(taken.items()):
        if not micro:
            continue
        rows = {row.holder: row for row in budgets.hold(connection, tenant, campaign_id)}
        account = rows[ACCOUNT].used_micro - micro
        archived = (rows[ARCHIVE].used_micro if ARCHIVE in rows else 0) + micro
        settled = [(ACCOUNT, account), (ARCHIVE, archived)]
        budgets.put(connection, [BudgetRow(tenant, campaign_id, holder, each, each) for holder, each in settled])


def make_again(connection: Connection, tenant: str) -> None:
    """Make budgets what the touches take, and what was archived; processes take new blocks."""
    for campaign_id in sorted({*budgets.used_by_campaign(connection, tenant), *budgets.reserved(connection, tenant)}):
        rows = budgets.hold(connection, tenant, campaign_id)
        # Who takes more now starts again, without a block; what is given back now is still taken, and returned later.
        used = budgets.reserved(connection, tenant, campaign_id).get(campaign_id, 0)
        blocks = [row for row in rows if row.holder.startswith(WORKER)]
        budgets.put(connection, [BudgetRow(tenant, campaign_id, ACCOUNT, used, used)], blocks)
