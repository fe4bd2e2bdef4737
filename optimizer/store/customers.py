"""The customers, and the random subject id that stands for each of them in the logs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import bindparam, delete, func, select

from optimizer.store.bulk import insert_missing, one_of, run, select_in, upsert_rows
from optimizer.store.rows import CustomerRow
from optimizer.store.tables import customers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from sqlalchemy import Connection, Row

_TENANT = customers.c.tenant == bindparam("tenant")
_BY_CUSTOMER = select(*customers.columns).where(_TENANT, one_of(customers.c.customer_id))
_BY_SUBJECT = select(*customers.columns).where(_TENANT, one_of(customers.c.subject_id))
# SQLite, which takes one writer at a time, leaves the locks out. All lock in the order of the customer ids.
_HELD = select(*customers.columns).where(_TENANT).order_by(customers.c.customer_id).with_for_update(key_share=True)
_HELD_BY_CUSTOMER = _HELD.where(one_of(customers.c.customer_id))
_HELD_BY_SUBJECT = _HELD.where(one_of(customers.c.subject_id))
_ONLY_HELD_BY_SUBJECT = _HELD_BY_SUBJECT.with_only_columns(customers.c.customer_id)
_SUBJECTS = select(customers.c.customer_id, customers.c.subject_id).where(_TENANT, one_of(customers.c.customer_id))
_PAGE = (
    select(*customers.columns)
    .where(_TENANT, customers.c.customer_id > bindparam("after"), customers.c.loaded)
    .order_by(customers.c.customer_id)
    .limit(bindparam("size"))
    .with_for_update(key_share=True)
)


@dataclass(frozen=True, slots=True)
class Customer:
    """What is known of a customer, checked against the declared attributes."""

    customer_id: str
    attributes: Mapping[str, Any] = field(default_factory=dict)
    timezone: str | None = None
    addresses: Mapping[str, str] = field(default_factory=dict)
    consents: Mapping[str, bool] = field(default_factory=dict)


def changed_customers(rows: Sequence[Customer], known: Mapping[str, CustomerRow]) -> list[Customer]:
    """Those of whom storing them would change something of what is `known`; of several with one id the last."""
    return [row for row in {row.customer_id: row for row in rows}.values() if _differs(row, known.get(row.customer_id))]


def _differs(row: Customer, known: CustomerRow | None) -> bool:
    return (
        known is None
        or not known.loaded
        or known.timezone != row.timezone
        or known.attributes != _text(row.attributes)
        or known.addresses != _text(row.addresses)
        or known.consents != _text(row.consents)
    )


def upsert_customers(
    connection: Connection, tenant: str, rows: Sequence[Customer], now_us: int, new_subject: Callable[[], str]
) -> None:
    """Store customers as loaded.

    One that is known keeps its subject and loses every earlier fact; the last of several with one id wins.
    """
    values = [
        CustomerRow(
            tenant=tenant,
            customer_id=row.customer_id,
            subject_id=new_subject(),
            attributes=_text(row.attributes),
            timezone=row.timezone,
            addresses=_text(row.addresses),
            consents=_text(row.consents),
            loaded=True,
            updated_us=now_us,
        )
        for row in rows
    ]
    update = ("attributes", "timezone", "addresses", "consents", "loaded", "updated_us")
    upsert_rows(connection, customers, values, ("tenant", "customer_id"), update)


def ensure_subjects(
    connection: Connection, tenant: str, customer_ids: Iterable[str], now_us: int, new_subject: Callable[[], str]
) -> dict[str, str]:
    """The subject of each customer. A customer who is not known is made, without facts and not `loaded`."""
    wanted = list(dict.fromkeys(customer_ids))
    known = subjects_by_customers(connection, tenant, wanted)
    # Again for whoever is there when they are made and erased when they are read.
    while missing := [customer_id for customer_id in wanted if customer_id not in known]:
        rows = [
            CustomerRow(tenant, customer_id, new_subject(), "{}", None, "{}", "{}", loaded=False, updated_us=now_us)
            for customer_id in sorted(missing)
        ]
        insert_missing(connection, customers, rows, ("tenant", "customer_id"))
        known |= subjects_by_customers(connection, tenant, missing)
    return known


def subjects_by_customers(connection: Connection, tenant: str, customer_ids: Iterable[str]) -> dict[str, str]:
    """The subject of each of those customers who is known."""
    found = select_in(connection, _SUBJECTS, customer_ids, tenant=tenant)
    return {row.customer_id: row.subject_id for row in found}


def customers_by_ids(connection: Connection, tenant: str, ids: Iterable[str]) -> dict[str, CustomerRow]:
    """The customers who are known of those ids, by customer id."""
    found = select_in(connection, _BY_CUSTOMER, ids, tenant=tenant)
    return {row.customer_id: _customer(row) for row in found}


def customers_by_subjects(connection: Connection, tenant: str, subject_ids: Iterable[str]) -> dict[str, CustomerRow]:
    """The customers behind those subjects, by subject id."""
    found = select_in(connection, _BY_SUBJECT, subject_ids, tenant=tenant)
    return {row.subject_id: _customer(row) for row in found}


def hold_customers(connection: Connection, tenant: str, ids: Iterable[str]) -> dict[str, CustomerRow]:
    """Like `customers_by_ids`, and nobody else holds or changes them until this transaction ends.

    Whoever reads what was done with a customer to decide what to do next has to hold the customer first.
    """
    found = select_in(connection, _HELD_BY_CUSTOMER, ids, tenant=tenant)
    return {row.customer_id: _customer(row) for row in found}


def hold_subjects(connection: Connection, tenant: str, subject_ids: Iterable[str]) -> dict[str, CustomerRow]:
    """The same by subject id."""
    found = select_in(connection, _HELD_BY_SUBJECT, subject_ids, tenant=tenant)
    return {row.subject_id: _customer(row) for row in found}


def only_hold_subjects(connection: Connection, tenant: str, subject_ids: Iterable[str]) -> None:
    """Hold those customers without a look at them. SQLite takes one writer at a time: there they are held already."""
    if connection.dialect.name != "sqlite":
        list(select_in(connection, _ONLY_HELD_BY_SUBJECT, subject_ids, tenant=tenant))


def delete_customer(connection: Connection, tenant: str, customer_id: str) -> None:
    """Forget a customer, and with the row whose subject is whose."""
    mine = (customers.c.tenant == tenant, customers.c.customer_id == customer_id)
    connection.execute(delete(customers).where(*mine))


def audience_page(connection: Connection, tenant: str, after_customer_id: str, limit: int) -> list[CustomerRow]:
    """The next loaded customers after that id ('' to begin with), in the order of their ids; held, see above."""
    page = run(connection, _PAGE, tenant=tenant, after=after_customer_id, size=limit)
    return [_customer(row) for row in page]


def _customer(row: Row[*tuple[Any, ...]]) -> CustomerRow:
    return CustomerRow._make(row)._replace(loaded=bool(row.loaded))


def count_customers(connection: Connection, tenant: str) -> int:
    """How many customers are loaded."""
    return connection.execute(select(func.count()).where(customers.c.tenant == tenant, customers.c.loaded)).scalar_one()


def _text(value: Mapping[str, Any]) -> str:
    return orjson.dumps(value).decode()
