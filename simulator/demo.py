"""The demonstration: a campaign that has just learned for a month in a world, ready to be served."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import orjson

from optimizer.campaign import CampaignFile
from optimizer.clock import to_us
from optimizer.errors import Conflict
from optimizer.groups import GROUPS, Group, assign
from optimizer.store import decisions
from simulator.loop import ClosedLoop
from simulator.worlds.factorial import FactorialConfig, FactorialWorld

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from optimizer.attributes import Attributes


def ending_now(  # noqa: PLR0913 - what a simulation is made of
    campaign: CampaignFile, attributes: Attributes, *, now: datetime, days: int, customers: int, seed: int, url: str
) -> ClosedLoop:
    """A loop around this campaign as if it had started so many days ago; its virtual time is to run until `now`."""
    starts = now - timedelta(days=days)
    world = FactorialWorld(FactorialConfig(), customers, seed)
    return ClosedLoop(starting(campaign, starts), attributes, world, seed=seed, starts=starts, url=url)


def starting(campaign: CampaignFile, starts_at: datetime) -> CampaignFile:
    """The same campaign with another start."""
    data = campaign.model_dump(mode="json", by_alias=True)
    return CampaignFile.model_validate({**data, "campaign": {**data["campaign"], "starts_at": starts_at.isoformat()}})


def curl_lines(loop: ClosedLoop, address: str) -> list[str]:
    """What to try on a service at `http://HOST:PORT` with this loop's data: pairs of a comment and a command.

    The decision, its explanation and the event are about one customer of the treatment group. Raises Conflict where
    nobody there was decided for.
    """
    campaign, engine = loop.campaign, loop.engine
    customers = [str(row["customer_id"]) for row in loop.world.customers()]
    groups = assign(customers, campaign.groups, campaign.groups.salt)
    treated = [c for c, code in zip(customers, groups.tolist(), strict=True) if GROUPS[code] is Group.TREATMENT]
    subjects = engine.subjects(treated[:1])
    heads = engine.runtime.store.read(
        lambda connection: decisions.heads_of_subjects(
            connection,
            engine.runtime.tenant,
            subjects.values(),
            since_us=0,
            until_us=to_us(loop.clock.now()),
            campaign_id=campaign.id,
        )
    )
    if not heads:
        raise Conflict("no customer was treated: the demonstration needs more customers or days")
    decision = {"campaign_id": campaign.id, "customer_id": treated[0], "request_id": "visit-1"}
    event = {"event_id": "order-1", "name": campaign.reward.events[0].name, "customer_id": treated[0]}
    return [
        "# how the campaign stands",
        f"curl -s {address}/v1/campaigns/{campaign.id}",
        "# a decision for a customer who is here now; asked again, it is the same",
        f"curl -s {address}/v1/decisions {_body(decision)}",
        "# why the same customer got what they got in the last run: every arm with its score and probability",
        f"curl -s {address}/v1/decisions/{heads[-1].decision_id}/explain",
        "# something happened: the event counts for the customer's latest decision",
        f"curl -s {address}/v1/events {_body(event)}",
    ]


def _body(fields: Mapping[str, str]) -> str:
    return f"-H 'Content-Type: application/json' -d '{orjson.dumps(fields).decode()}'"
