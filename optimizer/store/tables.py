"""The tables, as SQLAlchemy Core knows them; the migrations create exactly these.

Every table and every unique key begins with `tenant`. Instants are microseconds since the epoch (names end in `_us`),
bodies are JSON text, and only `customers` maps a subject to the customer: everything else carries the random
`subject_id`.

Append-only logs, whose rows are never updated: `campaign_versions`, `campaign_changes`, `decisions`, `voids`,
`touch_transitions`, `events`. Projections, which can be rebuilt from the logs: `campaigns`, `open_decisions`,
`touches`, `parked`, `rewards`, `snapshots`, `ledger`. Facts that are replaced as they change: `customers`, `runs`.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _key(name: str) -> Column[str]:
    return Column(name, String, primary_key=True)


def _text(name: str, *, nullable: bool = False) -> Column[str]:
    return Column(name, String, nullable=nullable)


def _body(name: str) -> Column[str]:
    return Column(name, Text, nullable=False)


def _us(name: str, *, nullable: bool = False) -> Column[int]:
    return Column(name, BigInteger, nullable=nullable)


def _of_decision() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(["tenant", "decision_id"], ["decisions.tenant", "decisions.decision_id"])


customers = Table(
    "customers",
    metadata,
    _key("tenant"),
    _key("customer_id"),
    _text("subject_id"),
    _body("attributes"),
    _text("timezone", nullable=True),
    _body("addresses"),
    _body("consents"),
    Column("loaded", Boolean, nullable=False),
    _us("updated_us"),
    UniqueConstraint("tenant", "subject_id"),
)
"""Who the customers are.

`loaded` rows came by PUT, batch or file and are the audience of runs; the others were only named by a request or an
event.
"""

campaign_versions = Table(
    "campaign_versions",
    metadata,
    _key("tenant"),
    _key("campaign_id"),
    _key("config_hash"),
    _body("body"),
    _text("learner_key"),
    _us("loaded_us"),
)
"""Every version of a campaign that was ever loaded."""

campaigns = Table(
    "campaigns",
    metadata,
    _key("tenant"),
    _key("campaign_id"),
    _text("config_hash"),
    _text("state"),
    _us("changed_us"),
    ForeignKeyConstraint(
        ["tenant", "campaign_id", "config_hash"],
        ["campaign_versions.tenant", "campaign_versions.campaign_id", "campaign_versions.config_hash"],
    ),
)
"""The current version and state (`active` or `paused`) of each campaign."""

campaign_changes = Table(
    "campaign_changes",
    metadata,
    _key("tenant"),
    _key("change_id"),
    _text("campaign_id"),
    _text("change"),
    _text("config_hash"),
    _us("at_us"),
    Index(None, "tenant", "campaign_id", "at_us"),
)
"""What was done to campaigns: `loaded`, `paused`, `resumed`, `rejoined` (that version's reward, to the past)."""

runs = Table(
    "runs",
    metadata,
    _key("tenant"),
    _key("run_id"),
    _text("campaign_id"),
    _text("occasion"),
    _us("scheduled_us"),
    _text("cursor"),
    _text("state"),
    _us("started_us"),
    _us("finished_us", nullable=True),
    Column("decided", Integer, nullable=False),
    UniqueConstraint("tenant", "campaign_id", "occasion"),
    Index(None, "tenant", "state"),
)
"""Passes over an audience. `cursor` is the last customer done, '' at first; `state` is `running` or `finished`."""

decisions = Table(
    "decisions",
    metadata,
    _key("tenant"),
    _key("decision_id"),
    _text("campaign_id"),
    _text("config_hash"),
    _text("subject_id"),
    _text("request_id", nullable=True),
    _text("request_hash", nullable=True),
    _text("occasion", nullable=True),
    _us("decided_us"),
    _text("group_name"),
    _text("arm", nullable=True),
    _text("reason", nullable=True),
    Column("propensity", Float, nullable=True),
    _us("send_us", nullable=True),
    _us("expires_us", nullable=True),
    _us("close_us"),
    _us("mature_us"),
    _text("snapshot_id", nullable=True),
    _body("exploration"),
    _body("context"),
    _body("history"),
    Column("candidates", LargeBinary, nullable=False),
    Column("removed", LargeBinary, nullable=False),
    Column("scores", LargeBinary, nullable=False),
    ForeignKeyConstraint(
        ["tenant", "campaign_id", "config_hash"],
        ["campaign_versions.tenant", "campaign_versions.campaign_id", "campaign_versions.config_hash"],
    ),
    # Each decision has a request or an occasion, seldom both: its empty keys need not be kept.
    Index(
        "uq_decisions_request",
        "tenant",
        "campaign_id",
        "request_id",
        unique=True,
        sqlite_where=text("request_id IS NOT NULL"),
        postgresql_where=text("request_id IS NOT NULL"),
    ),
    Index(
        "uq_decisions_occasion",
        "tenant",
        "campaign_id",
        "occasion",
        "subject_id",
        unique=True,
        sqlite_where=text("occasion IS NOT NULL"),
        postgresql_where=text("occasion IS NOT NULL"),
    ),
    Index(None, "tenant", "campaign_id", "decision_id"),
    Index(None, "tenant", "subject_id", "campaign_id", "decided_us"),
)
"""The decision log: immutable, and everything that `verify` and the trainer read."""

open_decisions = Table(
    "open_decisions",
    metadata,
    _key("tenant"),
    _key("campaign_id"),
    Column("mature_us", BigInteger, primary_key=True, autoincrement=False),
    _key("decision_id"),
    _of_decision(),
)
"""The decisions that have no reward yet, in the order in which they mature (so that closing never scans the log)."""

voids = Table("voids", metadata, _key("tenant"), _key("decision_id"), _text("cause"), _us("at_us"), _of_decision())
"""Decisions that are not learned from, each for a cause that does not depend on the arm."""

touches = Table(
    "touches",
    metadata,
    _key("tenant"),
    _key("decision_id"),
    _text("campaign_id"),
    _text("subject_id"),
    _text("message"),
    _text("channel", nullable=True),
    _text("dispatch"),
    _text("state"),
    Column("seq", Integer, nullable=False),
    _us("send_us"),
    _us("expires_us"),
    _us("sent_us", nullable=True),
    _text("lease_token", nullable=True),
    _us("lease_until_us", nullable=True),
    _of_decision(),
    Index(None, "tenant", "state", "send_us"),
    Index(None, "tenant", "state", "expires_us"),
)
"""The outbox: where each touch stands. `seq` is that of its last transition."""

touch_transitions = Table(
    "touch_transitions",
    metadata,
    _key("tenant"),
    _key("decision_id"),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    _text("state"),
    _us("at_us"),
    _text("reason", nullable=True),
    _of_decision(),
)
"""Every state that a touch ever had, counted from 0."""

events = Table(
    "events",
    metadata,
    _key("tenant"),
    _key("event_id"),
    _text("name"),
    _text("decision_id", nullable=True),
    _text("campaign_id", nullable=True),
    _text("request_id", nullable=True),
    _text("subject_id", nullable=True),
    _us("occurred_us"),
    _us("received_us"),
    _body("fields"),
    Index(None, "tenant", "decision_id"),
    Index(None, "tenant", "subject_id", "occurred_us"),
    Index(None, "tenant", "campaign_id", "request_id"),
)
"""What was observed, as it was reported.

An event names a decision (by id, or by campaign and request) or only a subject.
"""

parked = Table(
    "parked",
    metadata,
    _key("tenant"),
    _key("event_id"),
    _text("decision_id", nullable=True),
    _text("campaign_id", nullable=True),
    _text("request_id", nullable=True),
    ForeignKeyConstraint(["tenant", "event_id"], ["events.tenant", "events.event_id"]),
    Index(None, "tenant", "decision_id"),
    Index(None, "tenant", "campaign_id", "request_id"),
)
"""Events that name a decision which does not exist (yet)."""

rewards = Table(
    "rewards",
    metadata,
    _key("tenant"),
    _text("campaign_id"),
    _us("mature_us"),
    _key("decision_id"),
    Column("reward", Float, nullable=False),
    Column("learn", Boolean, nullable=False),
    _body("parts"),
    _us("closed_us"),
    _of_decision(),
    Index(None, "tenant", "campaign_id", "mature_us", "decision_id"),
)
"""The number that each matured decision came to, and whether it is learned from."""

snapshots = Table(
    "snapshots",
    metadata,
    _key("tenant"),
    _key("snapshot_id"),
    _text("campaign_id"),
    _text("learner_key"),
    _us("published_us"),
    _us("watermark_us"),
    _text("watermark_id"),
    Column("learned", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("resume", LargeBinary, nullable=True),
    Index(None, "tenant", "campaign_id", "published_us", "snapshot_id"),
)
"""Published models: `body` scores, `resume` is what the trainer goes on from, the watermark says how far it learned."""

ledger = Table("ledger", metadata, _key("tenant"), _key("subject_id"), _body("body"))
"""Each subject's touches in the form of `optimizer.history`."""
