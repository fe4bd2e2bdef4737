"""What alembic runs around the migrations; `optimizer.store.migrate` hands it the connection."""

from alembic import context

from optimizer.store import partitions
from optimizer.store.tables import metadata


def _is_ours(_object: object, name: str | None, kind: str, _reflected: object, _compare_to: object) -> bool:
    """Partitions come with their table; only that is compared with the models."""
    return kind != "table" or not (name or "").startswith(tuple(f"{table}_" for table in partitions.TABLES))


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    include_object=_is_ours,
)
with context.begin_transaction():
    context.run_migrations()
