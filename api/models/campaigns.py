"""Campaigns, their runs, and the health of the service, as they are shown."""

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from api.models.base import Key, Sent, examples
from optimizer.clock import from_us
from optimizer.groups import Group
from optimizer.reasons import Reason
from optimizer.scalars import Instant

if TYPE_CHECKING:
    from optimizer.budgets import BudgetReport
    from optimizer.removals import Removals
    from optimizer.reports import CampaignReport, GroupReport
    from optimizer.store import rows


class CampaignState(BaseModel):
    """Whether a campaign acts."""

    model_config = ConfigDict(
        json_schema_extra=examples(
            {
                "campaign_id": "winback-q1",
                "state": "paused",
                "config_hash": "5f1d…",
                "changed_at": "2026-01-12T09:30:00Z",
            }
        )
    )

    campaign_id: str
    state: str = Field(description="`active`, or `paused`: nothing is sent.")
    config_hash: str = Field(description="Its current version.")
    changed_at: datetime = Field(description="When it was last loaded, paused or resumed.")

    @classmethod
    def of(cls, row: rows.CampaignRow) -> Self:
        """A campaign's row."""
        return cls(
            campaign_id=row.campaign_id,
            state=row.state,
            config_hash=row.config_hash,
            changed_at=from_us(row.changed_us),
        )


class GroupOut(BaseModel):
    """What one group of customers has earned."""

    group: Group
    decisions: int = Field(description="Its decisions whose reward is closed.")
    mean_reward: float = Field(description="Their mean reward.")
    interval: tuple[float, float] | None = Field(
        description="A 95% interval of the mean (normal approximation); null with fewer than two decisions."
    )

    @classmethod
    def of(cls, report: GroupReport) -> Self:
        """One group of a report."""
        return cls(
            group=Group(report.group),
            decisions=report.decisions,
            mean_reward=report.mean_reward,
            interval=report.interval,
        )


class BudgetOut(BaseModel):
    """What a campaign spends, in the unit of its costs."""

    amount: float = Field(description="What it may spend.")
    currency: str = Field(description="What the unit is called.")
    reserved: float = Field(description="What touches take that are not sent yet.")
    spent: float = Field(
        description="What sent ones cost. An offer that costs when it is used is in it until its decision closes "
        "unused."
    )
    left: float = Field(description="What may still be reserved.")

    @classmethod
    def of(cls, report: BudgetReport) -> Self:
        """A budget's report."""
        return cls(
            amount=report.amount,
            currency=report.currency,
            reserved=report.reserved,
            spent=report.spent,
            left=report.left,
        )


class CampaignOut(BaseModel):
    """How a campaign stands."""

    model_config = ConfigDict(
        json_schema_extra=examples(
            {
                "campaign_id": "winback-q1",
                "name": "Win-back, lapsed 60 days",
                "state": "active",
                "config_hash": "5f1d…",
                "snapshot_id": "019bb1a0-0c00-7aa1-8d0f-52f6a0a3c9d4",
                "learned": 41250,
                "decisions": 75000,
                "waiting": 22500,
                "left_out": 0,
                "touches": {"planned": 1800, "sent": 52210, "opened": 9120},
                "groups": [
                    {
                        "group": "treatment",
                        "decisions": 39400,
                        "mean_reward": 0.0712,
                        "interval": [0.0687, 0.0737],
                    }
                ],
                "fault": None,
                "budget": {
                    "amount": 20000.0,
                    "currency": "USD",
                    "reserved": 72.5,
                    "spent": 8120.04,
                    "left": 11807.46,
                },
            }
        )
    )

    campaign_id: str
    name: str
    state: str = Field(description="`active`, or `paused`: nothing is sent.")
    config_hash: str = Field(description="Its current version.")
    snapshot_id: str | None = Field(description="The model that decides; null: none was learned yet.")
    learned: int = Field(description="From how many decisions that model has learned.")
    decisions: int = Field(description="How many decisions were made.")
    waiting: int = Field(description="How many of them still wait for their reward to close.")
    left_out: int = Field(description="How many closed ones are left out of learning, for causes that spare no arm.")
    touches: dict[str, int] = Field(description="How many touches are in each state.")
    groups: list[GroupOut] = Field(description="What the groups have earned.")
    fault: str | None = Field(description="What is wrong with the newest model, while an older one serves.")
    budget: BudgetOut | None = Field(description="What it spends; null: it has no budget.")

    @classmethod
    def of(cls, report: CampaignReport) -> Self:
        """A report of the engine."""
        return cls(
            campaign_id=report.campaign_id,
            name=report.name,
            state=report.state,
            config_hash=report.config_hash,
            snapshot_id=report.snapshot_id,
            learned=report.learned,
            decisions=report.decisions,
            waiting=report.waiting,
            left_out=report.left_out,
            touches=dict(report.touches),
            groups=[GroupOut.of(group) for group in report.groups],
            fault=report.fault,
            budget=BudgetOut.of(report.budget) if report.budget else None,
        )


class RunIn(Sent):
    """A pass over the campaign's audience."""

    model_config = ConfigDict(json_schema_extra=examples({"occasion": "2026-01-12"}))

    occasion: Key | None = Field(
        default=None,
        description="What the run is for. A run for the same occasion is that run: nobody is decided twice in it. By "
        "default the schedule's last one, or else the UTC day.",
    )


class RunOut(BaseModel):
    """A run as it stands."""

    model_config = ConfigDict(
        json_schema_extra=examples(
            {
                "run_id": "019bb1a5-6a00-7c3e-9f52-3d1c9b0a7e12",
                "campaign_id": "winback-q1",
                "occasion": "2026-01-12",
                "state": "finished",
                "decided": 5000,
                "started_at": "2026-01-12T06:00:00Z",
                "finished_at": "2026-01-12T06:00:02Z",
            }
        )
    )

    run_id: str
    campaign_id: str
    occasion: str
    state: str = Field(description="`running` or `finished`.")
    decided: int = Field(description="How many customers were decided so far.")
    started_at: datetime
    finished_at: datetime | None

    @classmethod
    def of(cls, run: rows.RunRow) -> Self:
        """A run of the engine."""
        return cls(
            run_id=run.run_id,
            campaign_id=run.campaign_id,
            occasion=run.occasion,
            state=run.state,
            decided=run.decided,
            started_at=from_us(run.started_us),
            finished_at=None if run.finished_us is None else from_us(run.finished_us),
        )


class RemovalsQuery(Sent):
    """Of which decisions the removed arms are counted."""

    from_: Instant | None = Field(
        default=None, alias="from", description="Of those made then or later; by default 30 days before `until`."
    )
    until: Instant | None = Field(default=None, description="Of those made before; by default now.")


class RemovalsOut(BaseModel):
    """What one reason removed on one day."""

    model_config = ConfigDict(
        json_schema_extra=examples({"day": "2026-01-12", "reason": "cap_reached", "arms": 14020, "decisions": 1402})
    )

    day: date = Field(description="Of UTC, on which the decisions were made.")
    reason: Reason = Field(description="The first thing that removed the arms.")
    arms: int = Field(description="How many arms it removed.")
    decisions: int = Field(description="Of how many decisions.")

    @classmethod
    def of(cls, removed: Removals) -> Self:
        """What the engine counted."""
        return cls(day=removed.day, reason=removed.reason, arms=removed.arms, decisions=removed.decisions)


class Alive(BaseModel):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Ready(BaseModel):
    """The service can decide."""

    model_config = ConfigDict(json_schema_extra=examples({"status": "ready", "notes": []}))

    status: Literal["ready"] = "ready"
    notes: list[str] = Field(description="What is wrong without keeping it from deciding, such as an unreadable model.")
