"""The decision log, and which decisions still wait for their reward."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Select, func, select, tuple_

from optimizer.store.bulk import insert_missing, insert_rows, select_in
from optimizer.store.rows import DecisionHead, DecisionRow
from optimizer.store.tables import decisions, open_decisions, voids

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy import Connection

_ALL = select(*decisions.columns)
_HEAD = select(*(decisions.columns[name] for name in DecisionHead._fields))


def insert_decisions(connection: Connection, rows: Sequence[DecisionRow]) -> None:
    """Append decisions; each waits for its reward from now on.

    Raises sqlalchemy's IntegrityError, and appends none, where a decision id, a (campaign, request id) or a (campaign,
    subject, occasion) is taken, or the campaign's version was never stored.
    """
    insert_rows(connection, decisions, rows)
    waiting = [(row.tenant, row.campaign_id, row.mature_us, row.decision_id) for row in rows]
    insert_rows(connection, open_decisions, waiting)


def decision_by_id(connection: Connection, tenant: str, decision_id: str) -> DecisionRow | None:
    """One decision, whole."""
    return decisions_by_ids(connection, tenant, [decision_id]).get(decision_id)


def decisions_by_ids(connection: Connection, tenant: str, ids: Iterable[str]) -> dict[str, DecisionRow]:
    """The decisions that exist of those ids, whole, by id."""
    return {row.decision_id: DecisionRow._make(row) for row in _select_in(connection, _ALL, tenant, "decision_id", ids)}


def heads_by_ids(connection: Connection, tenant: str, ids: Iterable[str]) -> dict[str, DecisionHead]:
    """The heads of the decisions that exist of those ids, by id."""
    found = _select_in(connection, _HEAD, tenant, "decision_id", ids)
    return {row.decision_id: DecisionHead._make(row) for row in found}


def decisions_by_requests(
    connection: Connection, tenant: str, campaign_id: str, request_ids: Iterable[str]
) -> dict[str, DecisionRow]:
    """The stored decisions of a campaign for those of the caller's request ids that have one, whole, by request id."""
    found = _select_in(connection, _ALL, tenant, "request_id", request_ids, decisions.c.campaign_id == campaign_id)
    return {row.request_id: DecisionRow._make(row) for row in found}


def heads_by_requests(
    connection: Connection, tenant: str, campaign_id: str, request_ids: Iterable[str]
) -> dict[str, DecisionHead]:
    """Like `decisions_by_requests`, the heads alone."""
    found = _select_in(connection, _HEAD, tenant, "request_id", request_ids, decisions.c.campaign_id == campaign_id)
    return {row.request_id: DecisionHead._make(row) for row in found}


def decided_subjects(
    connection: Connection, tenant: str, campaign_id: str, occasion: str, subject_ids: Iterable[str]
) -> dict[str, str]:
    """Which of the subjects the campaign has decided already on this occasion: the decision's id by subject."""
    query = select(decisions.c.subject_id, decisions.c.decision_id)
    found = _select_in(
        connection,
        query,
        tenant,
        "subject_id",
        subject_ids,
        decisions.c.campaign_id == campaign_id,
        decisions.c.occasion == occasion,
    )
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

    In the order (subject, campaign, decided_us, decision id) within each chunk of subjects; a subject's decisions are
    together.
    """
    conditions: list[ColumnElement[bool]] = [decisions.c.decided_us.between(since_us, until_us)]
    if campaign_id is not None:
        conditions.append(decisions.c.campaign_id == campaign_id)
    query = _HEAD.order_by(
        decisions.c.subject_id, decisions.c.campaign_id, decisions.c.decided_us, decisions.c.decision_id
    )
    found = _select_in(connection, query, tenant, "subject_id", subject_ids, *conditions)
    return [DecisionHead._make(row) for row in found]


def decision_page(
    connection: Connection,
    tenant: str,
    campaign_id: str,
    *,
    after: tuple[int, str] = (-1, ""),
    limit: int,
) -> list[DecisionRow]:
    """The next decisions of a campaign after `(mature_us, decision_id)`, whole, in that order: the log in pieces."""
    query = (
        _ALL.where(decisions.c.tenant == tenant, decisions.c.campaign_id == campaign_id)
        .where(tuple_(decisions.c.mature_us, decisions.c.decision_id) > tuple_(*after))
        .order_by(decisions.c.mature_us, decisions.c.decision_id)
        .limit(limit)
    )
    return [DecisionRow._make(row) for row in connection.execute(query)]


def count_decisions(connection: Connection, tenant: str, campaign_id: str) -> int:
    """How many decisions the campaign has made."""
    query = select(func.count()).where(decisions.c.tenant == tenant, decisions.c.campaign_id == campaign_id)
    return connection.execute(query).scalar_one()


def due_closes(connection: Connection, tenant: str, campaign_id: str, until_us: int, limit: int) -> list[DecisionHead]:
    """The first decisions without a reward that have matured by `until_us` (inclusive).

    In the order (mature_us, decision id).
    """
    query = (
        _HEAD.join_from(
            open_decisions,
            decisions,
            (decisions.c.tenant == open_decisions.c.tenant) & (decisions.c.decision_id == open_decisions.c.decision_id),
        )
        .where(open_decisions.c.tenant == tenant, open_decisions.c.campaign_id == campaign_id)
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


def insert_voids(connection: Connection, tenant: str, causes: Mapping[str, str], at_us: int) -> None:
    """Leave decisions (cause by decision id) out of learning; a decision that is void already keeps its first cause."""
    rows = [(tenant, decision_id, cause, at_us) for decision_id, cause in causes.items()]
    insert_missing(connection, voids, rows, ("tenant", "decision_id"))


def void_causes(connection: Connection, tenant: str, ids: Iterable[str]) -> dict[str, str]:
    """Which of those decisions are void: the cause by decision id."""

    def query(chunk: list[str]) -> Select[*tuple[Any, ...]]:
        return select(voids.c.decision_id, voids.c.cause).where(
            voids.c.tenant == tenant, voids.c.decision_id.in_(chunk)
        )

    return {row.decision_id: row.cause for row in select_in(connection, ids, query)}


def _select_in(
    connection: Connection,
    query: Select[*tuple[Any, ...]],
    tenant: str,
    column: str,
    values: Iterable[str],
    *conditions: ColumnElement[bool],
) -> Iterable[Any]:
    narrowed = query.where(decisions.c.tenant == tenant, *conditions)
    return select_in(connection, values, lambda chunk: narrowed.where(decisions.columns[column].in_(chunk)))


def decisions_since(
    connection: Connection, tenant: str, campaign_id: str, after_id: str, limit: int
) -> list[DecisionRow]:
    """The next decisions of a campaign, whole, in the order in which they were made; after that id ('' to begin with)."""
    query = (
        _ALL.where(decisions.c.tenant == tenant, decisions.c.campaign_id == campaign_id)
        .where(decisions.c.decision_id > after_id)
        .order_by(decisions.c.decision_id)
        .limit(limit)
    )
    return [DecisionRow._make(row) for row in connection.execute(query)]
