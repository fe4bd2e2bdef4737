"""How a campaign stands: its version, model, touches and rewards by group."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING

from optimizer.store import decisions, rewards, touches

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection

    from optimizer.budgets import BudgetReport, Budgets
    from optimizer.serving import Serving
    from optimizer.store.rows import CampaignRow
    from optimizer.versions import Versions

_Z_95 = 1.959963984540054


@dataclass(frozen=True, slots=True)
class GroupReport:
    """One group's closed decisions that are not void: mean reward, 95% interval (normal; None for fewer than 2)."""

    group: str
    decisions: int
    mean_reward: float
    interval: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class CampaignReport:
    """How a campaign stands."""

    campaign_id: str
    name: str
    state: str
    config_hash: str
    snapshot_id: str | None
    learned: int
    decisions: int
    waiting: int
    left_out: int
    touches: Mapping[str, int]
    groups: Sequence[GroupReport]
    fault: str | None
    budget: BudgetReport | None


def report(
    connection: Connection, versions: Versions, serving: Serving, budgets: Budgets, row: CampaignRow
) -> CampaignReport:
    """Ask the tables how this campaign stands."""
    version = versions.get(connection, row.campaign_id, row.config_hash)
    served = serving.scorer(version)
    groups = [
        GroupReport(g.group_name, g.decisions, g.total / g.decisions, _interval(g.decisions, g.total, g.squares))
        for g in rewards.group_rewards(connection, row.tenant, row.campaign_id)
    ]
    return CampaignReport(
        row.campaign_id,
        version.campaign.campaign.name,
        row.state,
        row.config_hash,
        served.snapshot_id if served else None,
        served.scorer.snapshot.events if served else 0,
        decisions.count_decisions(connection, row.tenant, row.campaign_id),
        decisions.count_open(connection, row.tenant, row.campaign_id),
        rewards.count_left_out(connection, row.tenant, row.campaign_id),
        touches.touch_counts(connection, row.tenant, row.campaign_id),
        groups,
        serving.faults.get(row.campaign_id),
        budgets.report(connection, version),
    )


def _interval(n: int, total: float, squares: float) -> tuple[float, float] | None:
    if n <= 1:
        return None
    mean = total / n
    half = _Z_95 * sqrt(max(squares / n - mean * mean, 0.0) / (n - 1))
    return mean - half, mean + half
