"""What people read of simulations and replays: files in a folder, and tables."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import orjson
from rich.table import Table

from simulator.logs.service import LogWriter, read_log
from simulator.plots import plot_rewards
from simulator.replay import PolicyValue
from simulator.results import LAST_DAYS, Result, Setting, Tally, summarise

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from optimizer.campaign import CampaignFile
    from simulator.loop import ClosedLoop


def write_simulation(loop: ClosedLoop, folder: Path, *, seed: int, days: int) -> Result:
    """Write `result.json`, `decisions.parquet` and `rewards.png` of a loop that has run for so many days."""
    folder.mkdir(parents=True, exist_ok=True)
    tally = Tally()
    with LogWriter(folder / "decisions.parquet") as log:
        for page in read_log(loop.engine, loop.campaign.id):
            log.write(page)
            tally.add(page)
    campaign = loop.campaign
    setting = Setting(campaign.id, campaign.config_hash, seed, len(loop.world.unsubscribed), days)
    result = summarise(setting, loop.measured, tally.observed())
    (folder / "result.json").write_bytes(result.dumps())
    plot_rewards(result, folder / "rewards.png")
    return result


def simulation_table(result: Result) -> Table:
    """The groups of a simulation, and how much of the gap treatment has closed."""
    setting = result.setting
    closed, lately = _percent(result.gap_closed), _percent(result.gap_closed_last_days)
    table = Table(
        title=f"{setting.campaign_id}: {setting.customers:,} customers, {setting.days} days, seed {setting.seed}",
        caption=f"Of the gap between random choice and the oracle, treatment has closed {closed}; "
        f"in the last {LAST_DAYS} days {lately}.",
        title_justify="left",
        caption_justify="left",
    )
    table.add_column("group")
    table.add_column("decisions", justify="right")
    table.add_column("touches sent", justify="right", width=7)
    table.add_column("mean reward, 95%", justify="right")
    table.add_column("share of the oracle", justify="right", width=8)
    for group in result.groups:
        table.add_row(
            group.group,
            f"{group.decisions:,}",
            f"{group.touches_sent:,}",
            group.reward.text(4),
            _percent(group.oracle_share),
        )
    return table


def write_replay(
    campaign: CampaignFile, orders: Sequence[PolicyValue], others: Sequence[PolicyValue], path: Path
) -> None:
    """Write what the learned policy came to in each order (at least one), and the policies beside it, as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    body = {
        "campaign_id": campaign.id,
        "config_hash": campaign.config_hash,
        "learned": asdict(PolicyValue.average(orders)),
        "orders": [asdict(order) for order in orders],
        "others": [asdict(other) for other in others],
    }
    path.write_bytes(orjson.dumps(body, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))


def replay_table(campaign: CampaignFile, orders: Sequence[PolicyValue], others: Sequence[PolicyValue]) -> Table:
    """The learned policy, mean over the orders, beside the others."""
    table = Table(
        title=f"{campaign.id}: means with 95% intervals",
        caption=f"learned: the mean of {len(orders)} order{'s' if len(orders) > 1 else ''}, exploration included",
        caption_justify="left",
        title_justify="left",
    )
    table.add_column("policy")
    for name in ("customers", *orders[0].outcomes):
        table.add_column(name, justify="right")
    for value in (PolicyValue.average(orders), *others):
        table.add_row(value.policy, f"{value.customers:,}", *(mean.text(4) for mean in value.outcomes.values()))
    return table


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"
