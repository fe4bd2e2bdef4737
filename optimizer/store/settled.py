"""What has been received but is not committed yet: how far back a process has to stay to see everything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

if TYPE_CHECKING:
    from sqlalchemy import Connection

# The age is taken on the database's clock alone, so that it does not matter what that says. A writer begins its
# transaction before it asks what time it is; `idle_in_transaction_session_timeout` ends one whose process is stopped.
_OLDEST = text(
    "SELECT (extract(epoch FROM max(clock_timestamp() - xact_start)) * 1000000)::bigint FROM pg_stat_activity "
    "WHERE datname = current_database() AND application_name = 'optimizer-write' AND pid <> pg_backend_pid()"
)


def oldest_write_us(connection: Connection) -> int:
    """How long ago the oldest transaction began that may still write; 0 where there is none.

    On SQLite there is none: whoever writes is alone, and reads the clock then.
    """
    if connection.dialect.name != "postgresql":
        return 0
    return max(connection.execute(_OLDEST).scalar() or 0, 0)
