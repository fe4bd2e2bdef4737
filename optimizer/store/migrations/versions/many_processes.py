"""Many processes: logs by month with their keys beside them, leases, callers' keys, audit, suppressions."""

from hashlib import sha256

import sqlalchemy as sa
from alembic import op

from optimizer.ids import IdSource
from optimizer.store import partitions

revision = "0002"
down_revision = "0001"

_STRING = sa.String().with_variant(sa.String(collation="C"), "postgresql")
_REBUILT = ("open_decisions", "voids", "touches", "touch_transitions", "rewards", "parked", "decisions", "events")
_KEPT = ("campaign_changes", "campaign_versions", "campaigns", "customers", "ledger", "runs", "snapshots")
_FK = "fk_campaigns_tenant_campaign_id_config_hash"
_PAGE = 10_000


def upgrade() -> None:
    """Rebuild the tables that referred to the logs, with their rows, and create the new ones."""
    for table in _REBUILT:
        op.execute(f"CREATE TABLE old_{table} AS SELECT * FROM {table}")  # noqa: S608 - our own names
    for table in _REBUILT:
        op.drop_table(table)
    _order_texts_by_bytes()
    _create()
    _refill()
    for table in _REBUILT:
        op.drop_table(f"old_{table}")
    _digest_snapshots()


def downgrade() -> None:
    """There is no way back but the backup: what the old tables cannot hold would be lost."""
    raise NotImplementedError("restore the backup that was made before the upgrade")


def _order_texts_by_bytes() -> None:
    if op.get_bind().dialect.name != "postgresql":
        return
    inspector = sa.inspect(op.get_bind())
    op.drop_constraint(_FK, "campaigns")
    for table in _KEPT:
        for column in inspector.get_columns(table):
            if isinstance(column["type"], sa.String) and not isinstance(column["type"], sa.Text):
                op.alter_column(table, column["name"], type_=sa.String(collation="C"))
    key = ["tenant", "campaign_id", "config_hash"]
    op.create_foreign_key(_FK, "campaigns", "campaign_versions", key, key)


def _partition(table: str) -> None:
    """The partitions of a log: one for each month that has rows, and the one for ids without a time."""
    connection = op.get_bind()
    if connection.dialect.name != "postgresql":
        return
    op.execute(f"CREATE TABLE {table}_default PARTITION OF {table} DEFAULT")
    instant = {"decisions": "decided_us", "events": "received_us"}[table]
    first, last = connection.execute(sa.text(f"SELECT min({instant}), max({instant}) FROM old_{table}")).one()  # noqa: S608
    month = None if first is None else partitions.Month.at(first)
    while month is not None:
        partitions.make_partition(connection, table, month)
        month = month.next if month.next.start_us <= last else None


def _refill() -> None:
    for table in _REBUILT:
        if table == "events":
            continue
        names = [column["name"] for column in sa.inspect(op.get_bind()).get_columns(f"old_{table}")]
        # The hash of a request told whoever guessed it the customer's id.
        taken = ", ".join("NULL" if name == "request_hash" else name for name in names)
        op.execute(f"INSERT INTO {table} ({', '.join(names)}) SELECT {taken} FROM old_{table}")  # noqa: S608
    op.execute(
        "INSERT INTO request_keys SELECT tenant, campaign_id, request_id, decision_id FROM old_decisions "
        "WHERE request_id IS NOT NULL"
    )
    op.execute(
        "INSERT INTO occasion_keys SELECT tenant, campaign_id, occasion, subject_id, decision_id FROM old_decisions "
        "WHERE occasion IS NOT NULL"
    )
    _number_events()
    op.execute("INSERT INTO event_keys SELECT tenant, event_id, record_id FROM events")


def _number_events() -> None:
    """Give every event an id of our own, by the instant at which it was received."""
    connection, ids = op.get_bind(), IdSource()
    old, new = (sa.Table(name, sa.MetaData(), autoload_with=connection) for name in ("old_events", "events"))
    in_order = sa.select(old).order_by(old.c.received_us, old.c.tenant, old.c.event_id)
    found = connection.execute(in_order, execution_options={"yield_per": _PAGE})
    for page in found.mappings().partitions():
        rows = [{**row, "record_id": ids.uuid7(row["received_us"])} for row in page]
        connection.execute(sa.insert(new), rows)


def _digest_snapshots() -> None:
    with op.batch_alter_table("snapshots") as batch:
        batch.add_column(sa.Column("digest", _STRING, nullable=False, server_default=""))
        batch.add_column(sa.Column("resume_digest", _STRING, nullable=True))
        batch.add_column(sa.Column("base", sa.Boolean(), nullable=False, server_default=sa.false()))
    connection = op.get_bind()
    snapshots = sa.Table("snapshots", sa.MetaData(), autoload_with=connection)
    for (snapshot_id,) in connection.execute(sa.select(snapshots.c.snapshot_id)).all():
        mine = snapshots.c.snapshot_id == snapshot_id
        body, resume = connection.execute(sa.select(snapshots.c.body, snapshots.c.resume).where(mine)).one()
        values = {
            "digest": sha256(body).hexdigest(),
            "resume_digest": None if resume is None else sha256(resume).hexdigest(),
        }
        connection.execute(sa.update(snapshots).where(mine).values(values))
    with op.batch_alter_table("snapshots") as batch:
        batch.alter_column("digest", server_default=None)
        batch.alter_column("base", server_default=None)


def _create() -> None:
    op.create_table(
        "decisions",
        sa.Column("tenant", _STRING, nullable=False),
        sa.Column("decision_id", _STRING, nullable=False),
        sa.Column("campaign_id", _STRING, nullable=False),
        sa.Column("config_hash", _STRING, nullable=False),
        sa.Column("subject_id", _STRING, nullable=False),
        sa.Column("request_id", _STRING, nullable=True),
        sa.Column("request_hash", _STRING, nullable=True),
        sa.Column("occasion", _STRING, nullable=True),
        sa.Column("decided_us", sa.BigInteger(), nullable=False),
        sa.Column("group_name", _STRING, nullable=False),
        sa.Column("arm", _STRING, nullable=True),
        sa.Column("reason", _STRING, nullable=True),
        sa.Column("propensity", sa.Float(), nullable=True),
        sa.Column("send_us", sa.BigInteger(), nullable=True),
        sa.Column("expires_us", sa.BigInteger(), nullable=True),
        sa.Column("close_us", sa.BigInteger(), nullable=False),
        sa.Column("mature_us", sa.BigInteger(), nullable=False),
        sa.Column("snapshot_id", _STRING, nullable=True),
        sa.Column("exploration", sa.Text(), nullable=False),
        sa.Column("context", sa.Text(), nullable=False),
        sa.Column("history", sa.Text(), nullable=False),
        sa.Column("candidates", sa.LargeBinary(), nullable=False),
        sa.Column("removed", sa.LargeBinary(), nullable=False),
        sa.Column("scores", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "decision_id", name="pk_decisions"),
        postgresql_partition_by="RANGE (decision_id)",
    )
    _partition("decisions")
    op.create_index(
        "ix_decisions_tenant_campaign_id_decision_id", "decisions", ["tenant", "campaign_id", "decision_id"]
    )
    op.create_index(
        "ix_decisions_tenant_subject_id_campaign_id_decided_us",
        "decisions",
        ["tenant", "subject_id", "campaign_id", "decided_us"],
    )
    op.create_table(
        "request_keys",
        sa.Column("tenant", _STRING, nullable=False),
        sa.Column("campaign_id", _STRING, nullable=False),
        sa.Column("request_id", _STRING, nullable=False),
        sa.Column("decision_id", _STRING, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "campaign_id", "request_id", name="pk_request_keys"),
    )
    op.create_table(
        "occasion_keys",
        sa.Column("tenant", _STRING, nullable=False),
        sa.Column("campaign_id", _STRING, nullable=False),
        sa.Column("occasion", _STRING, nullable=False),
        sa.Column("subject_id", _STRING, nullable=False),
        sa.Column("decision_id", _STRING, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "campaign_id", "occasion", "subject_id", name="pk_occasion_keys"),
    )
    op.create_table(
        "open_decisions",
        sa.Column("tenant", _STRING, nullable=False),
        sa.Column("campaign_id", _STRING, nullable=False),
        sa.Column("mature_us", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("decision_id", _STRING, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "campaign_id", "mature_us", "decision_id", name="pk_open_decisions"),
    )
    op.create_table(
        "voids",
        sa.Column("tenant", _STRING, nullable=False),
        sa.Column("decision_id", _STRING, nullable=False),
        sa.Column("cause", _STRING, nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "decision_id", name="pk_voids"),
    )
    op.create_table(
        "touches",
        sa.Column("tenant", _STRING, nullable=False),
        sa.Column("decision_id", _STRING, nullable=False),
        sa.Column("campaign_id", _STRING, nullable=False),
        sa.Column("subject_id", _STRING, nullable=False),
        sa.Column("message", _STRING, nullable=False),
        sa.Column("channel", _STRING, nullable=True),
        sa.Column("dispatch", _STRING, nullable=False),
        sa.Column("state", _STRING, nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("send_us", sa.BigInteger(), nullable=False),
        sa.Column("expires_us", sa.BigInteger(), nullable=False),
        sa.Column("sent_us", sa.BigInteger(), nullable=True),
        sa.Column("lease_token", _STRING, nullable=True),
        sa.Column("lease_until_us", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("tenant", "decision_id", name="pk_touches"),
    )
    op.create_index("ix_touches_tenant_state_expires_us", "touches", ["tenant", "state", "expires_us"])
    op.create_index("ix_touches_tenant_state_send_us", "touches", ["tenant", "state", "send_us"])
    op.create_table(
        "touch_transitions",
        sa.Column("tenant", _STRING, nullable=False),
        sa.Column("decision_id", _STRING, nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("state", _STRING, nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("reason", _STRING, nullable=True),
        sa.PrimaryKeyConstraint("tenant", "decision_id", "seq", name="pk_touch_transitions"),
    )
    op.create_table(
        "events",
        sa.Column("tenant", _STRING, nullable=False),
        sa.Column("record_id", _STRING, nullable=False),
        sa.Column("event_id", _STRING, nullable=False),
        sa.Column("name", _STRING, nullable=False),
        sa.Column("decision_id", _STRING, nullable=True),
        sa.Column("campaign_id", _STRING, nullable=True),
        sa.Column("request_id", _STRING, nullable=True),
        sa.Column("subject_id", _STRING, nullable=True),
        sa.Column("occurred_us", sa.BigInteger(), nullable=False),
        sa.Column("received_us", sa.BigInteger(), nullable=False),
        sa.Column("fields", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "record_id", name="pk_events"),
        postgresql_partition_by="RANGE (record_id)",
    )
    _partition("events")
    op.create_index("ix_events_tenant_campaign_id_request_id", "events", ["tenant", "campaign_id", "request_id"])
    op.create_index("ix_events_tenant_decision_id", "events", ["tenant", "decision_id"])
    op.create_index("ix_events_tenant_subject_id_occurred_us", "events", ["tenant", "subject_id", "occurred_us"])
    op.create_table(
        "event_keys",
        sa.Column("tenant", _STRING, nullable=False),
        sa.Column("event_id", _STRING, nullable=False),
        sa.Column("record_id", _STRING, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "event_id", name="pk_event_keys"),
    )
    op.create_table(
        "parked",
        sa.Column("tenant", _STRING, nullable=False),
        sa.Column("event_id", _STRING, nullable=False),
        sa.Column("decision_id", _STRING, nullable=True),
        sa.Column("campaign_id", _STRING, nullable=True),
        sa.Column("request_id", _STRING, nullable=True),
        sa.PrimaryKeyConstraint("tenant", "event_id", name="pk_parked"),
    )
    op.create_index("ix_parked_tenant_campaign_id_request_id", "parked", ["tenant", "campaign_id", "request_id"])
    op.create_index("ix_parked_tenant_decision_id", "parked", ["tenant", "decision_id"])
    op.create_table(
        "rewards",
        sa.Column("tenant", _STRING, nullable=False),
        sa.Column("campaign_id", _STRING, nullable=False),
        sa.Column("mature_us", sa.BigInteger(), nullable=False),
        sa.Column("decision_id", _STRING, nullable=False),
        sa.Column("reward", sa.Float(), nullable=False),
        sa.Column("learn", sa.Boolean(), nullable=False),
        sa.Column("parts", sa.Text(), nullable=False),
        sa.Column("closed_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "decision_id", name="pk_rewards"),
    )
    op.create_index(
        "ix_rewards_tenant_campaign_id_mature_us_decision_id",
        "rewards",
        ["tenant", "campaign_id", "mature_us", "decision_id"],
    )
    op.create_table(
        "leases",
        sa.Column("tenant", _STRING, nullable=False),
        sa.Column("name", _STRING, nullable=False),
        sa.Column("holder", _STRING, nullable=False),
        sa.Column("token", sa.BigInteger(), nullable=False),
        sa.Column("beat", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "name", name="pk_leases"),
    )
    op.create_table(
        "api_keys",
        sa.Column("key_id", _STRING, nullable=False),
        sa.Column("tenant", _STRING, nullable=False),
        sa.Column("label", _STRING, nullable=False),
        sa.Column("digest", _STRING, nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("campaigns", sa.Text(), nullable=True),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("expires_us", sa.BigInteger(), nullable=True),
        sa.Column("revoked_us", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("key_id", name="pk_api_keys"),
    )
    op.create_index("ix_api_keys_tenant_created_us", "api_keys", ["tenant", "created_us"])
    op.create_table(
        "audit",
        sa.Column("tenant", _STRING, nullable=False),
        sa.Column("audit_id", _STRING, nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("actor", _STRING, nullable=False),
        sa.Column("action", _STRING, nullable=False),
        sa.Column("object", _STRING, nullable=False),
        sa.Column("details", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "audit_id", name="pk_audit"),
    )
    op.create_index("ix_audit_tenant_object_audit_id", "audit", ["tenant", "object", "audit_id"])
    op.create_table(
        "suppressions",
        sa.Column("tenant", _STRING, nullable=False),
        sa.Column("channel", _STRING, nullable=False),
        sa.Column("address_digest", _STRING, nullable=False),
        sa.Column("cause", _STRING, nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "channel", "address_digest", name="pk_suppressions"),
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("tenant", _STRING, nullable=False),
        sa.Column("caller", _STRING, nullable=False),
        sa.Column("idempotency_key", _STRING, nullable=False),
        sa.Column("request_hash", _STRING, nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("media_type", _STRING, nullable=True),
        sa.Column("answer", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("tenant", "caller", "idempotency_key", name="pk_idempotency_keys"),
    )
    op.create_index("ix_idempotency_keys_created_us", "idempotency_keys", ["created_us"])
