"""The service itself, by its tables: who works, what waits, whether models are whole, who may call."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from optimizer.doctor.findings import Finding, failing, ok, warning
from optimizer.errors import OptimizerError
from optimizer.leases import BEAT_S, LOOKS
from optimizer.registry import body_of, resume_of
from optimizer.store import keys, snapshots
from optimizer.store.leases import WORKER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sqlalchemy import Connection

    from optimizer.standing import Standing
    from optimizer.store.leases import LeaseRow

SOON_US: Final = 14 * 86_400 * 1_000_000
"""A key that ends within this time is about to."""

MANY_PARKED: Final = 1_000

_HOUR_S: Final = 3_600.0
_MINUTE_S: Final = 60.0
_DAY_US: Final = 86_400 * 1_000_000


def workers(look: Callable[[], Sequence[LeaseRow]], wait: Callable[[float], object] = time.sleep) -> Finding:
    """Whether somebody works: the beats of the workers are looked at until they have moved, or should have."""
    check = "leases"
    advice = "start a worker: optimizer serve --role worker (or all); until then nothing is sent, closed or learned"
    before = {row.name: row for row in look()}
    still = {name for name in before if name.startswith(WORKER)}
    if not still:
        return warning(check, "no worker is running", advice)
    now = before
    for _ in range(2 * LOOKS):
        wait(BEAT_S / 2)
        now = {row.name: row for row in look()}
        still = {name for name in still if name in now and now[name] == before[name]}
        if not still:
            break
    live = {name.removeprefix(WORKER) for name in now if name.startswith(WORKER) and name not in still}
    stale = sorted(name.removeprefix(WORKER) for name in still)
    if not live:
        return failing(check, f"no beat of {', '.join(stale)} in {LOOKS * BEAT_S:.0f} s: dead, or stopped", advice)
    campaigns = [row for row in now.values() if not row.name.startswith(WORKER)]
    orphans = [row.name for row in campaigns if row.holder not in live]
    if stale or orphans:
        what = [f"no beat of {', '.join(stale)}"] * bool(stale) + [f"nobody holds {', '.join(orphans)}"] * bool(orphans)
        return warning(check, "; ".join(what), "the others take over within seconds: look again, then at their logs")
    return ok(check, f"{_count(len(campaigns), 'campaign')} held by {_count(len(live), 'worker')}")


def lags(standing: Standing) -> Iterator[Finding]:
    """Whether sending, closing and learning keep up, and whether events find their decisions."""
    yield _lag(
        "sending",
        standing.due_lag_s,
        f"{standing.due:,} touches are due, the first for {_span(standing.due_lag_s)}",
        "is a worker running, and does its sender answer? The log says send_failed",
    )
    for campaign in standing.campaigns:
        name = campaign.campaign_id
        yield _lag(
            f"closing of {name}",
            campaign.closing_lag_s,
            f"the first mature decision has waited {_span(campaign.closing_lag_s)}",
            "is a worker running? The log says job_failed with the job close",
        )
        yield _lag(
            f"learning of {name}",
            campaign.learning_lag_s,
            f"the first closed decision has waited {_span(campaign.learning_lag_s)}",
            "is a worker running? The log says job_failed with the job train",
        )
    parked = f"{standing.parked:,} events name a decision that is not known"
    if standing.parked > MANY_PARKED:
        yield warning("parked events", parked, "whoever reports them has other ids, or another service's: compare some")
    else:
        yield ok("parked events", parked)


def models(connection: Connection, tenant: str, standing: Standing) -> Iterator[Finding]:
    """Whether each campaign's newest model is the one that was published."""
    for campaign in standing.campaigns:
        check = f"model of {campaign.campaign_id}"
        row = snapshots.snapshot_by_id(connection, tenant, campaign.snapshot_id) if campaign.snapshot_id else None
        if row is None or campaign.snapshot_age_s is None:
            yield ok(check, "none yet: its draws are uniform")
            continue
        try:
            body_of(row)
            resume_of(row)
        except OptimizerError as error:
            yield failing(check, error.message, "restore it from a backup, or: optimizer rebuild")
        else:
            yield ok(check, f"{row.learned:,} decisions learned, {_span(campaign.snapshot_age_s)} old, digests agree")


def callers(connection: Connection, now_us: int, host: str, *, loopback: bool) -> Finding:
    """Whether the doors are locked, and no key is about to end."""
    check = "keys"
    create = "optimizer keys create"
    every = keys.all_keys(connection)
    active = [row for row in every if row.revoked_us is None and (row.expires_us is None or row.expires_us > now_us)]
    if not every:
        if loopback:
            return ok(check, f"none: whoever reaches {host} may do everything, and that is this machine alone")
        return failing(check, f"none, so that the service will not answer at {host}", f"make one: {create}")
    if not active:
        return failing(check, "every key has ended: nobody can call the service", f"make a new one: {create}")
    ending = [row for row in active if row.expires_us is not None and row.expires_us < now_us + SOON_US]
    if ending:
        told = ", ".join(f"{row.key_id} in {((row.expires_us or 0) - now_us) / _DAY_US:.1f} days" for row in ending)
        return warning(check, f"about to end: {told}", f"make the next one and hand it out before: {create}")
    return ok(check, f"{len(active)} active")


def _lag(check: str, lag_s: float, what: str, advice: str) -> Finding:
    if lag_s > _HOUR_S:
        return failing(check, what, advice)
    if lag_s > 5 * _MINUTE_S:
        return warning(check, what, advice)
    return ok(check, what if lag_s else "nothing waits")


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def _span(seconds: float) -> str:
    """A duration for people."""
    for unit, size in (("days", 24 * _HOUR_S), ("hours", _HOUR_S), ("minutes", _MINUTE_S)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
