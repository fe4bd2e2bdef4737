"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create every table."""
    op.create_table(
        "campaign_changes",
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("change_id", sa.String(), nullable=False),
        sa.Column("campaign_id", sa.String(), nullable=False),
        sa.Column("change", sa.String(), nullable=False),
        sa.Column("config_hash", sa.String(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "change_id", name="pk_campaign_changes"),
    )
    op.create_index(
        "ix_campaign_changes_tenant_campaign_id_at_us", "campaign_changes", ["tenant", "campaign_id", "at_us"]
    )
    op.create_table(
        "campaign_versions",
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("campaign_id", sa.String(), nullable=False),
        sa.Column("config_hash", sa.String(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("learner_key", sa.String(), nullable=False),
        sa.Column("loaded_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "campaign_id", "config_hash", name="pk_campaign_versions"),
    )
    op.create_table(
        "customers",
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("customer_id", sa.String(), nullable=False),
        sa.Column("subject_id", sa.String(), nullable=False),
        sa.Column("attributes", sa.Text(), nullable=False),
        sa.Column("timezone", sa.String(), nullable=True),
        sa.Column("addresses", sa.Text(), nullable=False),
        sa.Column("consents", sa.Text(), nullable=False),
        sa.Column("loaded", sa.Boolean(), nullable=False),
        sa.Column("updated_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "customer_id", name="pk_customers"),
        sa.UniqueConstraint("tenant", "subject_id", name="uq_customers_tenant_subject_id"),
    )
    op.create_table(
        "events",
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("event_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("decision_id", sa.String(), nullable=True),
        sa.Column("campaign_id", sa.String(), nullable=True),
        sa.Column("request_id", sa.String(), nullable=True),
        sa.Column("subject_id", sa.String(), nullable=True),
        sa.Column("occurred_us", sa.BigInteger(), nullable=False),
        sa.Column("received_us", sa.BigInteger(), nullable=False),
        sa.Column("fields", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "event_id", name="pk_events"),
    )
    op.create_index("ix_events_tenant_campaign_id_request_id", "events", ["tenant", "campaign_id", "request_id"])
    op.create_index("ix_events_tenant_decision_id", "events", ["tenant", "decision_id"])
    op.create_index("ix_events_tenant_subject_id_occurred_us", "events", ["tenant", "subject_id", "occurred_us"])
    op.create_table(
        "ledger",
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("subject_id", sa.String(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "subject_id", name="pk_ledger"),
    )
    op.create_table(
        "runs",
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("campaign_id", sa.String(), nullable=False),
        sa.Column("occasion", sa.String(), nullable=False),
        sa.Column("scheduled_us", sa.BigInteger(), nullable=False),
        sa.Column("cursor", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("started_us", sa.BigInteger(), nullable=False),
        sa.Column("finished_us", sa.BigInteger(), nullable=True),
        sa.Column("decided", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "run_id", name="pk_runs"),
        sa.UniqueConstraint("tenant", "campaign_id", "occasion", name="uq_runs_tenant_campaign_id_occasion"),
    )
    op.create_index("ix_runs_tenant_state", "runs", ["tenant", "state"])
    op.create_table(
        "snapshots",
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("snapshot_id", sa.String(), nullable=False),
        sa.Column("campaign_id", sa.String(), nullable=False),
        sa.Column("learner_key", sa.String(), nullable=False),
        sa.Column("published_us", sa.BigInteger(), nullable=False),
        sa.Column("watermark_us", sa.BigInteger(), nullable=False),
        sa.Column("watermark_id", sa.String(), nullable=False),
        sa.Column("learned", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("resume", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("tenant", "snapshot_id", name="pk_snapshots"),
    )
    op.create_index(
        "ix_snapshots_tenant_campaign_id_published_us_snapshot_id",
        "snapshots",
        ["tenant", "campaign_id", "published_us", "snapshot_id"],
    )
    op.create_table(
        "campaigns",
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("campaign_id", sa.String(), nullable=False),
        sa.Column("config_hash", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("changed_us", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant", "campaign_id", "config_hash"],
            ["campaign_versions.tenant", "campaign_versions.campaign_id", "campaign_versions.config_hash"],
            name="fk_campaigns_tenant_campaign_id_config_hash",
        ),
        sa.PrimaryKeyConstraint("tenant", "campaign_id", name="pk_campaigns"),
    )
    op.create_table(
        "decisions",
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("decision_id", sa.String(), nullable=False),
        sa.Column("campaign_id", sa.String(), nullable=False),
        sa.Column("config_hash", sa.String(), nullable=False),
        sa.Column("subject_id", sa.String(), nullable=False),
        sa.Column("request_id", sa.String(), nullable=True),
        sa.Column("request_hash", sa.String(), nullable=True),
        sa.Column("occasion", sa.String(), nullable=True),
        sa.Column("decided_us", sa.BigInteger(), nullable=False),
        sa.Column("group_name", sa.String(), nullable=False),
        sa.Column("arm", sa.String(), nullable=True),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("propensity", sa.Float(), nullable=True),
        sa.Column("send_us", sa.BigInteger(), nullable=True),
        sa.Column("expires_us", sa.BigInteger(), nullable=True),
        sa.Column("close_us", sa.BigInteger(), nullable=False),
        sa.Column("mature_us", sa.BigInteger(), nullable=False),
        sa.Column("snapshot_id", sa.String(), nullable=True),
        sa.Column("exploration", sa.Text(), nullable=False),
        sa.Column("context", sa.Text(), nullable=False),
        sa.Column("history", sa.Text(), nullable=False),
        sa.Column("candidates", sa.LargeBinary(), nullable=False),
        sa.Column("removed", sa.LargeBinary(), nullable=False),
        sa.Column("scores", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant", "campaign_id", "config_hash"],
            ["campaign_versions.tenant", "campaign_versions.campaign_id", "campaign_versions.config_hash"],
            name="fk_decisions_tenant_campaign_id_config_hash",
        ),
        sa.PrimaryKeyConstraint("tenant", "decision_id", name="pk_decisions"),
    )
    op.create_index(
        "ix_decisions_tenant_campaign_id_decision_id", "decisions", ["tenant", "campaign_id", "decision_id"]
    )
    op.create_index(
        "ix_decisions_tenant_subject_id_campaign_id_decided_us",
        "decisions",
        ["tenant", "subject_id", "campaign_id", "decided_us"],
    )
    op.create_index(
        "uq_decisions_occasion",
        "decisions",
        ["tenant", "campaign_id", "occasion", "subject_id"],
        unique=True,
        sqlite_where=sa.text("occasion IS NOT NULL"),
        postgresql_where=sa.text("occasion IS NOT NULL"),
    )
    op.create_index(
        "uq_decisions_request",
        "decisions",
        ["tenant", "campaign_id", "request_id"],
        unique=True,
        sqlite_where=sa.text("request_id IS NOT NULL"),
        postgresql_where=sa.text("request_id IS NOT NULL"),
    )
    op.create_table(
        "parked",
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("event_id", sa.String(), nullable=False),
        sa.Column("decision_id", sa.String(), nullable=True),
        sa.Column("campaign_id", sa.String(), nullable=True),
        sa.Column("request_id", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(
            ["tenant", "event_id"], ["events.tenant", "events.event_id"], name="fk_parked_tenant_event_id"
        ),
        sa.PrimaryKeyConstraint("tenant", "event_id", name="pk_parked"),
    )
    op.create_index("ix_parked_tenant_campaign_id_request_id", "parked", ["tenant", "campaign_id", "request_id"])
    op.create_index("ix_parked_tenant_decision_id", "parked", ["tenant", "decision_id"])
    op.create_table(
        "open_decisions",
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("campaign_id", sa.String(), nullable=False),
        sa.Column("mature_us", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("decision_id", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant", "decision_id"],
            ["decisions.tenant", "decisions.decision_id"],
            name="fk_open_decisions_tenant_decision_id",
        ),
        sa.PrimaryKeyConstraint("tenant", "campaign_id", "mature_us", "decision_id", name="pk_open_decisions"),
    )
    op.create_table(
        "rewards",
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("campaign_id", sa.String(), nullable=False),
        sa.Column("mature_us", sa.BigInteger(), nullable=False),
        sa.Column("decision_id", sa.String(), nullable=False),
        sa.Column("reward", sa.Float(), nullable=False),
        sa.Column("learn", sa.Boolean(), nullable=False),
        sa.Column("parts", sa.Text(), nullable=False),
        sa.Column("closed_us", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant", "decision_id"],
            ["decisions.tenant", "decisions.decision_id"],
            name="fk_rewards_tenant_decision_id",
        ),
        sa.PrimaryKeyConstraint("tenant", "decision_id", name="pk_rewards"),
    )
    op.create_index(
        "ix_rewards_tenant_campaign_id_mature_us_decision_id",
        "rewards",
        ["tenant", "campaign_id", "mature_us", "decision_id"],
    )
    op.create_table(
        "touch_transitions",
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("decision_id", sa.String(), nullable=False),
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(
            ["tenant", "decision_id"],
            ["decisions.tenant", "decisions.decision_id"],
            name="fk_touch_transitions_tenant_decision_id",
        ),
        sa.PrimaryKeyConstraint("tenant", "decision_id", "seq", name="pk_touch_transitions"),
    )
    op.create_table(
        "touches",
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("decision_id", sa.String(), nullable=False),
        sa.Column("campaign_id", sa.String(), nullable=False),
        sa.Column("subject_id", sa.String(), nullable=False),
        sa.Column("message", sa.String(), nullable=False),
        sa.Column("channel", sa.String(), nullable=True),
        sa.Column("dispatch", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("send_us", sa.BigInteger(), nullable=False),
        sa.Column("expires_us", sa.BigInteger(), nullable=False),
        sa.Column("sent_us", sa.BigInteger(), nullable=True),
        sa.Column("lease_token", sa.String(), nullable=True),
        sa.Column("lease_until_us", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["tenant", "decision_id"],
            ["decisions.tenant", "decisions.decision_id"],
            name="fk_touches_tenant_decision_id",
        ),
        sa.PrimaryKeyConstraint("tenant", "decision_id", name="pk_touches"),
    )
    op.create_index("ix_touches_tenant_state_expires_us", "touches", ["tenant", "state", "expires_us"])
    op.create_index("ix_touches_tenant_state_send_us", "touches", ["tenant", "state", "send_us"])
    op.create_table(
        "voids",
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("decision_id", sa.String(), nullable=False),
        sa.Column("cause", sa.String(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant", "decision_id"], ["decisions.tenant", "decisions.decision_id"], name="fk_voids_tenant_decision_id"
        ),
        sa.PrimaryKeyConstraint("tenant", "decision_id", name="pk_voids"),
    )


def downgrade() -> None:
    """Drop every table, those that refer to others first."""
    for table in (
        "voids",
        "touches",
        "touch_transitions",
        "rewards",
        "open_decisions",
        "parked",
        "decisions",
        "campaigns",
        "snapshots",
        "runs",
        "ledger",
        "events",
        "customers",
        "campaign_versions",
        "campaign_changes",
    ):
        op.drop_table(table)
