"""Running a change as one transaction: again where the database asks for that, `Unavailable` where it cannot.

A change must therefore do nothing but use its connection, so that running it twice is the same as once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from optimizer import metrics
from optimizer.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection, Engine

T = TypeVar("T")

ATTEMPTS: Final = 5
"""How often a transaction is tried that lost against others."""

_AFTER: Final = "after_commit"
_BEFORE: Final = "before_commit"
_NOTES: Final = "what is known in this transaction"
_NEXT: Final = "who comes next"

_LOST: Final = {"40001", "40P01"}
"""PostgreSQL: it could not be serialised; it was chosen to end a deadlock."""


class StartAgain(Exception):
    """What this transaction has read is not so any more: everything is taken back, and it begins anew."""


def read(engine: Engine, query: Callable[[Connection], T]) -> T:
    """Run `query` on one consistent snapshot of what is committed. Raises Unavailable."""
    return _translated(lambda: _again(lambda: _read(engine, query)))


def write(engine: Engine, change: Callable[[Connection], T], pass_on: Callable[[], object] = bool) -> T:
    """Run `change` and commit it; what it raises takes all of it back. Raises Unavailable.

    `pass_on` is called, perhaps more than once, when only the database has something left to do: before the commit, and
    before that where the change says so by `only_to_write`.
    """
    return _translated(lambda: _again(lambda: _write(engine, change, pass_on)))


def after_commit(connection: Connection, act: Callable[[], None]) -> None:
    """Do something once what this transaction writes is on disk, and never if it fails; for counting what happened."""
    connection.info.setdefault(_AFTER, []).append(act)


def before_commit(connection: Connection, act: Callable[[], None]) -> None:
    """Do something last, such as to change a row that many others wait for; it may raise `StartAgain`."""
    connection.info.setdefault(_BEFORE, []).append(act)


def notes(connection: Connection) -> dict[str, Any]:
    """What somebody keeps in mind until this transaction ends, by a name of their own."""
    found: dict[str, Any] = connection.info.setdefault(_NOTES, {})
    return found


def only_to_write(connection: Connection) -> None:
    """Say that what is left of this change is to be written: whoever comes next may begin."""
    pass_on: Callable[[], object] = connection.info.get(_NEXT, bool)
    pass_on()


def _read(engine: Engine, query: Callable[[Connection], T]) -> T:
    with engine.connect() as connection:
        return query(connection)


def _write(engine: Engine, change: Callable[[Connection], T], pass_on: Callable[[], object]) -> T:
    with engine.connect() as connection:
        acts = connection.info[_AFTER] = []
        last = connection.info[_BEFORE] = []
        connection.info[_NOTES] = {}
        connection.info[_NEXT] = pass_on
        with metrics.COMMIT_SECONDS.time(), connection.begin() as transaction:
            result = change(connection)
            pass_on()
            for act in last:
                act()
            try:
                transaction.commit()
            except DBAPIError as error:
                # Whether it was committed cannot be known: it must not be tried again here.
                raise Unavailable(f"the database could not commit: {str(error.orig).partition(chr(10))[0]}") from error
        for act in acts:
            act()
        return result


def _again(attempt: Callable[[], T]) -> T:
    for left in reversed(range(ATTEMPTS)):
        try:
            return attempt()
        except StartAgain as error:
            if left == 0:
                raise Unavailable("others changed what this depends on, again and again: try it later") from error
        except DBAPIError as error:
            if left == 0 or not _may_pass(error):
                raise
    raise AssertionError("the last attempt returns or raises")


def _may_pass(error: DBAPIError) -> bool:
    """Whether another attempt may do better.

    Another process may have written the same key at the same time: then it is seen now. And where the connection was
    lost, nothing has been committed.
    """
    lost = getattr(error.orig, "sqlstate", None) in _LOST
    return lost or isinstance(error, IntegrityError) or error.connection_invalidated


def _translated(act: Callable[[], T]) -> T:
    try:
        return act()
    except (OperationalError, InterfaceError, PoolTimeout) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        raise Unavailable(f"the database cannot be used: {str(cause).splitlines()[0]}") from error
