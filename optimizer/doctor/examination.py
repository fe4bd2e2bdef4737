"""The whole examination, in the order in which one thing rests on another."""

from __future__ import annotations

import time
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy import create_engine, make_url
from sqlalchemy.exc import DBAPIError

from optimizer.clock import now_us
from optimizer.doctor import database, machine, service
from optimizer.doctor.findings import Finding, failing, warning
from optimizer.standing import look
from optimizer.store import leases
from optimizer.store.engines import open_engines
from optimizer.store.tenants import tenants_with_campaigns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import URL, Engine

    from optimizer.clock import Clock
    from optimizer.settings import Settings

_FILE: Final = "sqlite"


def examine(settings: Settings, clock: Clock, wait: Callable[[float], object] = time.sleep) -> Iterator[Finding]:
    """Look at everything that a service with these settings needs; what is found, one by one.

    `wait` lets so many seconds pass, to see whether the workers live.
    """
    url = make_url(settings.database)
    yield machine.zones()
    yield machine.writable("outbox", settings.outbox)
    yield machine.disk("outbox disk", settings.outbox)
    if settings.secret is None:
        yield machine.secret_file(settings.secret_file)
    if url.get_backend_name() == _FILE:
        folder = Path(url.database or "").absolute().parent
        yield machine.writable("database folder", folder)
        yield machine.disk("database disk", folder)
        if not Path(url.database or "").exists():
            yield warning("database", f"there is no {url.database} yet", "the first start makes it")
            return
    try:
        with _opened(url) as engine:
            yield from _database(engine, settings, now_us(clock), wait)
    except DBAPIError as error:
        what = str(error.orig).partition("\n")[0]
        if url.get_backend_name() == _FILE:
            yield failing(
                "database", f"{url.database} cannot be read: {what}", "is it damaged? Restore the last backup"
            )
        else:
            advice = "is it running, and is its address in the settings right?"
            yield failing("database", f"{url.render_as_string()} does not answer: {what}", advice)


def _database(engine: Engine, settings: Settings, now: int, wait: Callable[[float], object]) -> Iterator[Finding]:
    with engine.connect() as connection:
        yield database.version(connection)
        yield database.durability(connection)
        migrated = database.migrations(connection)
        yield migrated
        if migrated.advice:
            # What the tables mean is not known then.
            return
        yield database.clock(connection, now)
        if connection.dialect.name == "postgresql":
            yield database.months(connection, now)
        yield service.callers(connection, now, settings.host, loopback=_loopback(settings.host))
        tenants = tenants_with_campaigns(connection)
    for tenant in tenants:
        for finding in _service(engine, tenant, now, wait):
            yield finding if len(tenants) == 1 else finding.of(tenant)


def _service(engine: Engine, tenant: str, now: int, wait: Callable[[float], object]) -> Iterator[Finding]:
    def rows() -> list[leases.LeaseRow]:
        with engine.connect() as connection:
            return leases.all_leases(connection, tenant)

    yield service.workers(rows, wait)
    with engine.connect() as connection:
        standing = look(connection, tenant, now)
        yield from service.lags(standing)
        yield from service.models(connection, tenant, standing)


@contextmanager
def _opened(url: URL) -> Iterator[Engine]:
    """An engine that cannot write."""
    if url.get_backend_name() == _FILE:
        # Ours would set the file's journal, which is one of the things to look at.
        engine = create_engine(f"sqlite:///file:{url.database}?mode=ro&uri=true")
    else:
        engine = open_engines(url.render_as_string(hide_password=False)).read
    try:
        yield engine
    finally:
        engine.dispose()


def _loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
