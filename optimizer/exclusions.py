"""Mutual exclusion: a customer is in one campaign of an `exclusion_group` at a time.

The first decision of a campaign of the group whose audience the customer is in claims the customer, whatever was drawn
and whichever group the customer is in: a drawn no_send ends the occasion, and nobody else steps in. The claim holds
until that campaign's end plus its longest window, without an end for ever, as long as the campaign is in the group.

While no claim holds, facts decide, before any draw: a campaign steps back where a rival of the group is active, ranks
higher (priority, then the earlier start, then the id) and has the customer in its audience, by the very facts that this
decision is made with. The rival's own decision may be still to come.

Only the arms that send are removed: no_send stays, and is what the customer gets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from optimizer.attributes import HISTORY_FEATURES
from optimizer.clock import from_us
from optimizer.facts import columns_of
from optimizer.reasons import Reason
from optimizer.rules import evaluate, rule_types
from optimizer.store import exclusions
from optimizer.store.exclusions import ClaimRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime
    from typing import Any

    from numpy.typing import NDArray
    from sqlalchemy import Connection

    from optimizer.facts import Subject
    from optimizer.runtime import Runtime
    from optimizer.store.rebuilding import PastDecision
    from optimizer.store.rows import DecisionRow
    from optimizer.versions import Version, Versions

_WITHOUT_CLAIM: Final = frozenset(
    reason.code
    for reason in (
        Reason.NOT_IN_AUDIENCE,
        Reason.CAMPAIGN_NOT_ACTIVE,
        Reason.EXCLUDED_BY_OTHER_CAMPAIGN,
        Reason.LOWER_PRIORITY,
    )
)
"""A decision that removed an arm for one of these has not claimed its customer."""


def excluded(  # noqa: PLR0913, PLR0917 - the facts of a batch
    connection: Connection,
    runtime: Runtime,
    versions: Versions,
    version: Version,
    subjects: Sequence[Subject],
    histories: Sequence[Mapping[str, Any]],
) -> dict[int, Reason]:
    """Why customers of a batch, who are held, are not this campaign's, by their places; the others are not in it.

    `histories` are the subjects' as they are logged.
    """
    campaign = version.campaign.campaign
    group = campaign.exclusion_group
    if group is None:
        return {}
    now = from_us(runtime.now_us())
    members = {}
    for row in versions.all(connection):
        other = versions.get(connection, row.campaign_id, row.config_hash)
        if row.campaign_id != campaign.id and other.campaign.campaign.exclusion_group == group:
            members[row.campaign_id] = (other, row.state == "active" and other.runs_at(now))
    if not members:
        return {}
    holding = {name for name, (other, _) in members.items() if _holds(other, now)}
    if _holds(version, now):
        holding.add(campaign.id)
    claims = exclusions.claims_in(connection, runtime.tenant, group, (subject.subject_id for subject in subjects))
    found: dict[int, Reason] = {}
    unclaimed = []
    for i, subject in enumerate(subjects):
        held = claims.get(subject.subject_id)
        if held is None or held.campaign_id not in holding:
            unclaimed.append(i)
        elif held.campaign_id != campaign.id:
            found[i] = Reason.EXCLUDED_BY_OTHER_CAMPAIGN
    rivals = [other for other, active in members.values() if active and _rank(other) < _rank(version)]
    if unclaimed and rivals:
        theirs = _in_audience(rivals, [subjects[i].context for i in unclaimed], [histories[i] for i in unclaimed])
        found |= {i: Reason.LOWER_PRIORITY for i, lost in zip(unclaimed, theirs.tolist(), strict=True) if lost}
    return found


def _rank(version: Version) -> tuple[int, datetime, str]:
    """Who comes first of a group comes first in this order."""
    settings = version.campaign.campaign
    return -(settings.priority or 0), settings.starts_at, settings.id


def _holds(version: Version, now: datetime) -> bool:
    """Whether the claims of a campaign, by its current version, hold still."""
    ends_at = version.campaign.campaign.ends_at
    return ends_at is None or now < ends_at + version.campaign.reward.longest_window


def _in_audience(
    rivals: Iterable[Version], contexts: Sequence[Mapping[str, Any]], histories: Sequence[Mapping[str, Any]]
) -> NDArray[np.bool_]:
    """(n,) whether each customer is in the audience of one of these campaigns."""
    n = len(contexts)
    found = np.zeros(n, np.bool_)
    for rival in rivals:
        audience = rival.campaign.audience
        if audience is None:
            return np.ones(n, np.bool_)
        types = {name: kind for name, kind in rule_types([audience]).items() if name not in HISTORY_FEATURES}
        context, past = columns_of(rival, types, contexts, histories)
        found |= evaluate(audience, {**context, **past}, n)
    return found


def claims_customer(row: DecisionRow | PastDecision) -> bool:
    """Whether a decision of a campaign in an exclusion group claims its customer, or has them already."""
    return _WITHOUT_CLAIM.isdisjoint(row.removed)


def claim(connection: Connection, version: Version, rows: Iterable[DecisionRow]) -> None:
    """Claim the customers of decisions that are being written, who are held: those who are not claimed already."""
    group = version.campaign.campaign.exclusion_group
    if group is None:
        return
    claiming = [row for row in rows if claims_customer(row)]
    if not claiming:
        return
    tenant = claiming[0].tenant
    known = exclusions.claims_in(connection, tenant, group, (row.subject_id for row in claiming))
    exclusions.put_claims(connection, _claims(tenant, group, known, claiming))


def _claims(
    tenant: str, group: str, known: Mapping[str, ClaimRow], claiming: Iterable[DecisionRow | PastDecision]
) -> list[ClaimRow]:
    """The claims of decisions, in order, that are not of the campaign which has their subject."""
    new: dict[str, ClaimRow] = {}
    for row in claiming:
        before = new.get(row.subject_id) or known.get(row.subject_id)
        if before is None or before.campaign_id != row.campaign_id:
            new[row.subject_id] = ClaimRow(
                tenant, group, row.subject_id, row.campaign_id, row.decision_id, row.decided_us
            )
    return list(new.values())


def make_again(
    connection: Connection,
    tenant: str,
    subject_ids: Sequence[str],
    past: Iterable[tuple[str, PastDecision]],
    cut: str,
) -> int:
    """Make the claims on these subjects, who are held, what the log says; how many were otherwise.

    Args:
        connection, tenant: where, and whose.
        subject_ids: the subjects.
        past: every decision about them in the order of their making, of campaigns that were in a group, with it.
        cut: where the log begins: claims of decisions before are known from nowhere else, and stay until the log has
            another.
    """
    stored = {
        (row.exclusion_group, row.subject_id): row for row in exclusions.claims_on(connection, tenant, subject_ids)
    }
    logged = {key: row for key, row in stored.items() if row.decision_id < cut}
    by_group: dict[str, list[PastDecision]] = {}
    for group, row in past:
        if claims_customer(row):
            by_group.setdefault(group, []).append(row)
    for group, claiming in by_group.items():
        known = {subject_id: row for (of, subject_id), row in logged.items() if of == group}
        logged |= {(group, row.subject_id): row for row in _claims(tenant, group, known, claiming)}
    exclusions.drop_claims(connection, [row for key, row in stored.items() if key not in logged])
    changed = [row for key, row in logged.items() if stored.get(key) != row]
    exclusions.put_claims(connection, changed)
    return len(changed) + len(stored.keys() - logged.keys())
