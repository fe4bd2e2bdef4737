"""How a service stands at the moment when somebody looks: the part of `/metrics` that has to be asked for.

The tables are asked once in `KEPT_S` at most, however many look. While the database does not answer, its last answer
stands and `optimizer_database_up` is 0; what this process knows by itself is shown all the same.
"""

from __future__ import annotations

import time
from threading import Lock
from typing import TYPE_CHECKING, Final, TypeAlias

from prometheus_client.registry import Collector
from sqlalchemy.exc import DBAPIError

from optimizer import metrics
from optimizer.errors import Unavailable
from optimizer.standing import Standing, look
from optimizer.store.leases import CAMPAIGN, NOBODY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from prometheus_client.core import Metric

    from optimizer.engine import Engine
    from optimizer.standing import CampaignStanding
    from optimizer.tenants import Tenants

KEPT_S: Final = 5.0
"""How long an answer of the database is shown again."""

_Values: TypeAlias = dict[str, dict[tuple[str, ...], float]]
"""By name of the gauge and values of its labels."""

_AUDIT: Final = "optimizer_propensity_audit_"


class Gauges(Collector):
    """What `/metrics` shows in a process of these tenants: what it has counted, and how they stand now.

    Safe to call from any thread.
    """

    def __init__(self, tenants: Tenants, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._tenants = tenants
        self._monotonic = monotonic
        self._asking = Lock()
        self._asked_s = float("-inf")
        self._up = False
        self._standings: Sequence[tuple[Engine, Standing, Mapping[str, tuple[float, float]]]] = ()

    def collect(self) -> Iterator[Metric]:
        """Every name of `metrics.NAMES`; one about which nothing is known has no values."""
        with self._asking:
            if self._monotonic() - self._asked_s >= KEPT_S:
                self._ask()
            up, standings = self._up, self._standings
        store = self._tenants.first.runtime.store
        values: _Values = {each.name: {} for each in metrics.STANDING}
        values["optimizer_database_up"][()] = float(up)
        values["optimizer_writer_waiting"][()] = store.waiting
        values["optimizer_writer_oldest_seconds"][()] = store.oldest_s
        for engine, standing, budgets in standings:
            _tenant(values, engine, standing)
            for campaign in standing.campaigns:
                _campaign(values, engine, campaign)
            for campaign_id, (amount, used) in budgets.items():
                labels = (engine.runtime.tenant, campaign_id)
                values["optimizer_budget_amount"][labels], values["optimizer_budget_used"][labels] = amount, used
        yield from metrics.REGISTRY.collect()
        yield from (metrics.family(name, found) for name, found in values.items())

    def _ask(self) -> None:
        runtime = self._tenants.first.runtime
        try:
            engines = self._tenants.engines()
            now_us = runtime.now_us()
            self._standings = runtime.store.read(
                lambda c: [(each, look(c, each.runtime.tenant, now_us), each.budgets.standing(c)) for each in engines]
            )
            self._up = True
        except (Unavailable, DBAPIError):
            self._up = False
        # Counted from the answer, so that a database which takes its time is not asked without a break.
        self._asked_s = self._monotonic()


def _tenant(values: _Values, engine: Engine, standing: Standing) -> None:
    tenant = (engine.runtime.tenant,)
    for state, n in standing.touches.items():
        values["optimizer_touches"][*tenant, state] = n
    values["optimizer_touches_due"][tenant] = standing.due
    values["optimizer_touches_lag_seconds"][tenant] = standing.due_lag_s
    values["optimizer_events_parked"][tenant] = standing.parked
    holders = [row.holder for row in standing.leases if row.name.startswith(CAMPAIGN)]
    values["optimizer_leases_held"][tenant] = holders.count(engine.leases.worker)
    values["optimizer_leases_free"][tenant] = len(standing.campaigns) - len(holders) + holders.count(NOBODY)


def _campaign(values: _Values, engine: Engine, campaign: CampaignStanding) -> None:
    labels = (engine.runtime.tenant, campaign.campaign_id)
    values["optimizer_closing_lag_seconds"][labels] = campaign.closing_lag_s
    values["optimizer_learning_lag_seconds"][labels] = campaign.learning_lag_s
    if campaign.snapshot_age_s is not None:
        values["optimizer_snapshot_age_seconds"][labels] = campaign.snapshot_age_s
    values["optimizer_snapshot_faults"][labels] = float(campaign.campaign_id in engine.serving.faults)
    audited = engine.auditing.found.get(campaign.campaign_id)
    if audited is not None:
        values[f"{_AUDIT}z"][labels] = abs(audited.worst[1])
        values[f"{_AUDIT}z_alarm"][labels] = audited.alarm
        values[f"{_AUDIT}weight"][labels] = audited.mean_weight
        values[f"{_AUDIT}decisions"][labels] = audited.draws
        values[f"{_AUDIT}differing"][labels] = audited.differing
