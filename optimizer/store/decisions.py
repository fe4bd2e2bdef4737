"""The decision log, and which decisions still wait for their reward."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import bindparam, func, select, tuple_

from optimizer.store.bulk import insert_missing, insert_rows, one_of, select_in
from optimizer.store.partitions import ensure_months
from optimizer.store.rows import DecisionHead, DecisionRow
from optimizer.store.tables import decisions, occasion_keys, open_decisions, request_keys, voids

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy import ColumnElement, Connection

_ALL = select(*decisions.columns)
_HEAD = select(*(decisions.columns[name] for name in DecisionHead._fields))
_TENANT = decisions.c.tenant == bindparam("tenant")
_CAMPAIGN = decisions.c.campaign_id == bindparam("campaign_id")
_BY_ID = _ALL.where(_TENANT, one_of(decisions.c.decision_id))
_HEAD_BY_ID = _HEAD.where(_TENANT, one_of(decisions.c.decision_id))
_BY_REQUEST = select(request_keys.c.decision_id).where(
    request_keys.c.tenant == bindparam("tenant"),
    request_keys.c.campaign_id == bindparam("campaign_id"),
    one_of(request_keys.c.request_id),
)
_DECIDED = select(occasion_keys.c.subject_id, occasion_keys.c.decision_id).where(
    occasion_keys.c.tenant == bindparam("tenant"),
    occasion_keys.c.campaign_id == bindparam("campaign_id"),
    occasion_keys.c.occasion == bindparam("occasion"),
    one_of(occasion_keys.c.subject_id),
)
_HEAD_BY_SUBJECT = (
    _HEAD.where(_TENANT, decisions.c.decided_us.between(bindparam("since_us"), bindparam("until_us")))
    .where(one_of(decisions.c.subject_id))
    .order_by(decisions.c.subject_id, decisions.c.campaign_id, decisions.c.decided_us, decisions.c.decision_id)
)
_HEAD_BY_SUBJECT_IN_CAMPAIGN = _HEAD_BY_SUBJECT.where(_CAMPAIGN)
_VOID = select(voids.c.decision_id, voids.c.cause, voids.c.at_us).where(
    voids.c.tenant == bindparam("tenant"), one_of(voids.c.decision_id)
)
_DUE = select(
    *((open_decisions if name == "mature_us" else decisions).columns[name] for name in DecisionHead._fields)
).join_from(
    open_decisions,
    decisions,
    (decisions.c.tenant == open_decisions.c.tenant) & (decisions.c.decision_id == open_decisions.c.decision_id),
)


def insert_decisions(connection: Connection, rows: Sequence[DecisionRow]) -> None:
    """Append decisions; each waits for its reward from now on.

    Their ids are in order. Raises sqlalchemy's IntegrityError, and appends none, where a decision id, a (campaign,
    request id) or a (campaign, subject, occasion) is taken.
    """
    ensure_months(connection, "decisions", [row.decision_id for row in rows])
    insert_rows(connection, decisions, rows)
    asked = [(row.tenant, row.campaign_id, row.request_id, row.decision_id) for row in rows if row.request_id]
    insert_rows(connection, request_keys, asked)
    repeated = [
        (row.tenant, row.campaign_id, row.occasion, row.subject_id, row.decision_id) for row in rows if row.occasion
    ]
    insert_rows(connection, occasion_keys, repeated)
    waiting = [(row.tenant, row.campaign_id, row.mature_us, row.decision_id) for row in rows]
    insert_rows(connection, open_decisions, waiting)


def decision_by_id(connection: Connection, tenant: str, decision_id: str) -> DecisionRow | None:
    """One decision, whole."""
    return decisions_by_ids(connection, tenant, [decision_id]).get(decision_id)


def decisions_by_ids(connection: Connection, tenant: str, ids: Iterable[str]) -> dict[str, DecisionRow]:
    """The decisions that exist of those ids, whole, by id."""
    found = select_in(connection, _BY_ID, ids, tenant=tenant)
    return {row.decision_id: DecisionRow._make(row) for row in found}


def heads_by_ids(connection: Connection, tenant: str, ids: Iterable[str]) -> dict[str, DecisionHead]:
    """The heads of the decisions that exist of those ids, by id."""
    found = select_in(connection, _HEAD_BY_ID, ids, tenant=tenant)
    return {row.decision_id: DecisionHead._make(row) for row in found}


def decisions_by_requests(
    connection: Connection, tenant: str, campaign_id: str, request_ids: Iterable[str]
) -> dict[str, DecisionRow]:
    """The stored decisions of a campaign for those of the caller's request ids that have one, whole, by request id."""
    found = decisions_by_ids(connection, tenant, _asked(connection, tenant, campaign_id, request_ids))
    return {row.request_id: row for row in found.values() if row.request_id is not None}


def heads_by_requests(
    connection: Connection, tenant: str, campaign_id: str, request_ids: Iterable[str]
) -> dict[str, DecisionHead]:
    """Like `decisions_by_requests`, the heads alone."""
    found = heads_by_ids(connection, tenant, _asked(connection, tenant, campaign_id, request_ids))
    return {row.request_id: row for row in found.values() if row.request_id is not None}


def _asked(connection: Connection, tenant: str, campaign_id: str, request_ids: Iterable[str]) -> list[str]:
    """The ids of the decisions that answer those requests."""
    found = select_in(connection, _BY_REQUEST, request_ids, tenant=tenant, campaign_id=campaign_id)
    return [row.decision_id for row in found]


def decided_subjects(
    connection: Connection, tenant: str, campaign_id: str, occasion: str, subject_ids: Iterable[str]
) -> dict[str, str]:
    """Which of the subjects the campaign has decided already on this occasion: the decision's id by subject."""
    found = select_in(connection, _DECIDED, subject_ids, tenant=tenant, campaign_id=campaign_id, occasion=occasion)
    return {row.subject_id: row.decision_id for row in found}


def heads_of_subjects(  # noqa: PLR0913 - whose, when, and of which campaign
    connection: Connection,
    tenant: str,
    subject_ids: Iterable[str],
    *,
    since_us: int,
    until_us: int,
    campaign_id: str | None = None,
) -> list[DecisionHead]:
    """Every decision about those subjects with `since_us <= decided_us <= until_us`, of one campaign or of all.

    In the order (subject, campaign, decided_us, decision id).
    """
    span = {"since_us": since_us, "until_us": until_us}
    if campaign_id is None:
        found = select_in(connection, _HEAD_BY_SUBJECT, subject_ids, tenant=tenant, **span)
    else:
        query = _HEAD_BY_SUBJECT_IN_CAMPAIGN
        found = select_in(connection, query, subject_ids, tenant=tenant, campaign_id=campaign_id, **span)
    return [DecisionHead._make(row) for row in found]


def decision_page(
    connection: Connection, tenant: str, campaign_id: str, *, after_id: str, limit: int
) -> list[DecisionRow]:
    """The next decisions of a campaign after that id ('' to begin with), whole, in the order of their making."""
    return _page(connection, tenant, decisions.c.campaign_id == campaign_id, after_id, limit)


def decisions_of_subject(
    connection: Connection, tenant: str, subject_id: str, *, after_id: str, limit: int
) -> list[DecisionRow]:
    """The same of the decisions about a subject."""
    return _page(connection, tenant, decisions.c.subject_id == subject_id, after_id, limit)


def _page(
    connection: Connection, tenant: str, whose: ColumnElement[bool], after_id: str, limit: int
) -> list[DecisionRow]:
    query = (
        _ALL.where(decisions.c.tenant == tenant, whose, decisions.c.decision_id > after_id)
        .order_by(decisions.c.decision_id)
        .limit(limit)
    )
    return [DecisionRow._make(row) for row in connection.execute(query)]


def count_decisions(connection: Connection, tenant: str, campaign_id: str) -> int:
    """How many decisions the campaign has made."""
    query = select(func.count()).where(decisions.c.tenant == tenant, decisions.c.campaign_id == campaign_id)
    return connection.execute(query).scalar_one()


def count_open(connection: Connection, tenant: str, campaign_id: str) -> int:
    """How many of the campaign's decisions wait for their reward."""
    mine = open_decisions.c.tenant == tenant, open_decisions.c.campaign_id == campaign_id
    return connection.execute(select(func.count()).select_from(open_decisions).where(*mine)).scalar_one()


def due_closes(connection: Connection, tenant: str, campaign_id: str, until_us: int, limit: int) -> list[DecisionHead]:
    """The first decisions without a reward that mature by `until_us` (inclusive), with the instant at which they do.

    In the order (mature_us, decision id).
    """
    query = (
        _DUE.where(open_decisions.c.tenant == tenant, open_decisions.c.campaign_id == campaign_id)
        .where(open_decisions.c.mature_us <= until_us)
        .order_by(open_decisions.c.mature_us, open_decisions.c.decision_id)
        .limit(limit)
    )
    return [DecisionHead._make(row) for row in connection.execute(query)]


def next_mature_us(connection: Connection, tenant: str, campaign_id: str) -> int | None:
    """When the campaign's next decision without a reward matures (or has matured); None where none waits."""
    query = select(func.min(open_decisions.c.mature_us)).where(
        open_decisions.c.tenant == tenant, open_decisions.c.campaign_id == campaign_id
    )
    return connection.execute(query).scalar()


def open_after(
    connection: Connection, tenant: str, campaign_id: str, *, after: tuple[int, str], limit: int
) -> list[tuple[int, str]]:
    """The next decisions without a reward, as (mature_us, decision id), in this order, after that place."""
    place = open_decisions.c.mature_us, open_decisions.c.decision_id
    query = (
        select(*place)
        .where(open_decisions.c.tenant == tenant, open_decisions.c.campaign_id == campaign_id)
        .where(open_decisions.c.mature_us >= after[0], tuple_(*place) > tuple_(*after))
        .order_by(*place)
        .limit(limit)
    )
    return [(row.mature_us, row.decision_id) for row in connection.execute(query)]


def insert_voids(connection: Connection, tenant: str, causes: Mapping[str, str], at_us: int) -> None:
    """Leave decisions (cause by decision id) out of learning; a decision that is void already keeps its first cause."""
    rows = [(tenant, decision_id, cause, at_us) for decision_id, cause in causes.items()]
    insert_missing(connection, voids, rows, ("tenant", "decision_id"))


def void_causes(connection: Connection, tenant: str, by_us: Mapping[str, int]) -> dict[str, str]:
    """Which of those decisions were void by an instant, given by decision id: the cause by decision id."""
    found = select_in(connection, _VOID, by_us, tenant=tenant)
    return {row.decision_id: row.cause for row in found if row.at_us <= by_us[row.decision_id]}
