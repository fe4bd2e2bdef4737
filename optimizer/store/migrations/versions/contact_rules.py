"""Contact rules and dispatch: what touches count and cost, attempts, exclusions, budgets, capacity of channels."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_STRING = sa.String().with_variant(sa.String(collation="C"), "postgresql")


def upgrade() -> None:
    """Add columns to the touches, and the new tables. Touches of before count, and were due when they were sent."""
    with op.batch_alter_table("touch_transitions") as batch:
        batch.add_column(sa.Column("due_us", sa.BigInteger(), nullable=True))
    op.drop_index("ix_touches_tenant_state_send_us", "touches")
    with op.batch_alter_table("touches") as batch:
        batch.add_column(sa.Column("offer", _STRING, nullable=True))
        batch.add_column(sa.Column("counts", sa.Boolean(), nullable=False, server_default=sa.true()))
        batch.add_column(sa.Column("due_us", sa.BigInteger(), nullable=False, server_default="0"))
        batch.add_column(sa.Column("attempts", sa.Integer(), nullable=False, server_default="0"))
        batch.add_column(sa.Column("reason", _STRING, nullable=True))
        batch.add_column(sa.Column("reserved_micro", sa.BigInteger(), nullable=False, server_default="0"))
    op.execute(
        "UPDATE touches SET due_us = COALESCE(sent_us, send_us), reason = (SELECT t.reason FROM touch_transitions t "
        "WHERE t.tenant = touches.tenant AND t.decision_id = touches.decision_id AND t.seq = touches.seq)"
    )
    with op.batch_alter_table("touches") as batch:
        for name in ("counts", "due_us", "attempts", "reserved_micro"):
            batch.alter_column(name, server_default=None)
    index = ["tenant", "campaign_id", "dispatch", "state", "channel", "due_us"]
    op.create_index("ix_touches_tenant_campaign_id_dispatch_state_channel_due_us", "touches", index)
    op.create_index("ix_touches_tenant_subject_id_due_us", "touches", ["tenant", "subject_id", "due_us"])
    op.drop_index("ix_decisions_tenant_campaign_id_decision_id", "decisions")
    # With the reason in it, decisions are counted by reason without a look at them.
    index = ["tenant", "campaign_id", "decision_id", "reason"]
    op.create_index("ix_decisions_tenant_campaign_id_decision_id_reason", "decisions", index)
    op.create_index("ix_suppressions_tenant_address_digest", "suppressions", ["tenant", "address_digest"])
    _create()


def downgrade() -> None:
    """There is no way back but the backup: what the old tables cannot hold would be lost."""
    raise NotImplementedError("restore the backup that was made before the upgrade")


def _create() -> None:
    op.create_table(
        "touch_attempts",
        sa.Column("tenant", _STRING, nullable=False),
        sa.Column("decision_id", _STRING, nullable=False),
        sa.Column("attempt", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("sender", _STRING, nullable=False),
        sa.Column("outcome", _STRING, nullable=False),
        sa.Column("detail", _STRING, nullable=True),
        sa.Column("provider_id", _STRING, nullable=True),
        sa.PrimaryKeyConstraint("tenant", "decision_id", "attempt", name="pk_touch_attempts"),
    )
    op.create_table(
        "channel_usage",
        sa.Column("tenant", _STRING, nullable=False),
        sa.Column("channel", _STRING, nullable=False),
        sa.Column("tokens", sa.Float(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("day", _STRING, nullable=False),
        sa.Column("sent", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "channel", name="pk_channel_usage"),
    )
    op.create_table(
        "exclusions",
        sa.Column("tenant", _STRING, nullable=False),
        sa.Column("exclusion_group", _STRING, nullable=False),
        sa.Column("subject_id", _STRING, nullable=False),
        sa.Column("campaign_id", _STRING, nullable=False),
        sa.Column("decision_id", _STRING, nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "exclusion_group", "subject_id", name="pk_exclusions"),
    )
    op.create_table(
        "budgets",
        sa.Column("tenant", _STRING, nullable=False),
        sa.Column("campaign_id", _STRING, nullable=False),
        sa.Column("holder", _STRING, nullable=False),
        sa.Column("granted_micro", sa.BigInteger(), nullable=False),
        sa.Column("used_micro", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "campaign_id", "holder", name="pk_budgets"),
    )
