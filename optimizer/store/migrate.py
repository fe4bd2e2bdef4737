"""Bringing a database to the newest tables, with alembic, from the package itself."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

_LOCK = 7_265_647_265_616_465
"""Any number that nothing else in the database locks by."""

_SCRIPTS = Path(__file__).parent / "migrations"


def migrate(connection: Connection) -> None:
    """Run the migrations that the database does not have yet, inside the connection's transaction.

    Several processes may open a database at once: one migrates, the others wait and find it done.
    """
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
    command.upgrade(configuration(connection), "head")


def configuration(connection: Connection) -> Config:
    """Alembic's configuration for that connection; `alembic.command` functions take it."""
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
