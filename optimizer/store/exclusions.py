"""Claims: the campaign of an exclusion group that each subject is in, and the decision with which that began."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from sqlalchemy import bindparam, delete, exists, select

from optimizer.store.bulk import change_rows, one_of, run, select_in, upsert_rows
from optimizer.store.tables import decisions, exclusions

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Connection

_KEY: Final = ("tenant", "exclusion_group", "subject_id")
_TENANT = exclusions.c.tenant == bindparam("tenant")
_OF_SUBJECTS = select(*exclusions.columns).where(_TENANT, one_of(exclusions.c.subject_id))
_IN_GROUP = _OF_SUBJECTS.where(exclusions.c.exclusion_group == bindparam("exclusion_group"))
_OF_SUBJECT = select(*exclusions.columns).where(_TENANT, exclusions.c.subject_id == bindparam("subject_id"))
_DROP = delete(exclusions).where(
    exclusions.c.tenant == bindparam("of_tenant"),
    exclusions.c.exclusion_group == bindparam("of_group"),
    exclusions.c.subject_id == bindparam("of_subject"),
)


class ClaimRow(NamedTuple):
    """A subject is in a campaign of a group since a decision."""

    tenant: str
    exclusion_group: str
    subject_id: str
    campaign_id: str
    decision_id: str
    at_us: int


def claims_in(
    connection: Connection, tenant: str, exclusion_group: str, subject_ids: Iterable[str]
) -> dict[str, ClaimRow]:
    """The claims of a group on those subjects, by subject id; whoever decides by them holds the customers."""
    found = select_in(connection, _IN_GROUP, subject_ids, tenant=tenant, exclusion_group=exclusion_group)
    return {row.subject_id: ClaimRow._make(row) for row in found}


def claims_on(connection: Connection, tenant: str, subject_ids: Iterable[str]) -> list[ClaimRow]:
    """Every claim on those subjects."""
    return [ClaimRow._make(row) for row in select_in(connection, _OF_SUBJECTS, subject_ids, tenant=tenant)]


def claims_of(connection: Connection, tenant: str, subject_id: str) -> list[ClaimRow]:
    """Every claim on one subject, in the order of the groups."""
    found = run(connection, _OF_SUBJECT, tenant=tenant, subject_id=subject_id)
    return sorted(ClaimRow._make(row) for row in found)


def put_claims(connection: Connection, rows: Sequence[ClaimRow]) -> None:
    """Store claims in the place of what claims there were of their groups on their subjects."""
    upsert_rows(connection, exclusions, rows, _KEY, ("campaign_id", "decision_id", "at_us"))


def drop_claims(connection: Connection, rows: Iterable[ClaimRow]) -> None:
    """Remove claims."""
    change_rows(connection, _DROP, [row[:3] for row in rows], ("of_tenant", "of_group", "of_subject"))


def sweep_claims(connection: Connection, tenant: str, cut: str) -> int:
    """Remove the claims that no decision of the log stands for, which begins at `cut`; how many."""
    logged = exists().where(
        decisions.c.tenant == exclusions.c.tenant, decisions.c.decision_id == exclusions.c.decision_id
    )
    query = delete(exclusions).where(exclusions.c.tenant == tenant, exclusions.c.decision_id >= cut, ~logged)
    return connection.execute(query).rowcount
