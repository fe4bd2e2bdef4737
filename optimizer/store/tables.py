"""The tables, as SQLAlchemy Core knows them; the migrations create exactly these.

Every table and every unique key begins with `tenant` (but for `api_keys`, which say whose tenant a caller is of).
Instants are microseconds since the epoch (names end in `_us`), bodies are JSON text, and only `customers` maps a
subject to the customer: everything else carries the random `subject_id`.

Append-only logs, whose rows are never updated: `campaign_versions`, `campaign_changes`, `decisions`, `voids`,
`touch_transitions`, `touch_attempts`, `events`, `audit`. Projections, which can be rebuilt from the logs: `campaigns`,
`open_decisions`, `touches`, `exclusions`, `budgets`, `parked`, `rewards`, `snapshots`, `ledger`, and the keys of the
logs: `request_keys`, `occasion_keys`, `event_keys`. Facts that are replaced as they change: `customers`,
`suppressions`, `runs`, `leases`, `channel_usage`, `api_keys`, `idempotency_keys`.

On PostgreSQL `decisions` and `events` are partitioned by month (`optimizer.store.partitions`): their ids are UUIDs of
version 7, whose text begins with the time. A unique key of a partitioned table has to hold the id, hence the key tables
beside them. Nothing refers to the logs by foreign key: retention takes whole months of them away.
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
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


# Ordered byte by byte, as SQLite and Python order it: whoever locks in order of the ids has to agree on the order.
_STRING = String().with_variant(String(collation="C"), "postgresql")


def _key(name: str) -> Column[str]:
    return Column(name, _STRING, primary_key=True)


def _text(name: str, *, nullable: bool = False) -> Column[str]:
    return Column(name, _STRING, nullable=nullable)


def _body(name: str) -> Column[str]:
    return Column(name, Text, nullable=False)


def _us(name: str, *, nullable: bool = False) -> Column[int]:
    return Column(name, BigInteger, nullable=nullable)


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
    Index(None, "tenant", "campaign_id", "decision_id", "reason"),
    Index(None, "tenant", "subject_id", "campaign_id", "decided_us"),
    postgresql_partition_by="RANGE (decision_id)",
)
"""The decision log: immutable, and everything that `verify` and the trainer read."""

request_keys = Table(
    "request_keys", metadata, _key("tenant"), _key("campaign_id"), _key("request_id"), _text("decision_id")
)
"""The decision that answers each caller's request."""

occasion_keys = Table(
    "occasion_keys",
    metadata,
    _key("tenant"),
    _key("campaign_id"),
    _key("occasion"),
    _key("subject_id"),
    _text("decision_id"),
)
"""The decision about each subject on each occasion."""

open_decisions = Table(
    "open_decisions",
    metadata,
    _key("tenant"),
    _key("campaign_id"),
    Column("mature_us", BigInteger, primary_key=True, autoincrement=False),
    _key("decision_id"),
)
"""The decisions that have no reward yet, in the order in which they mature (so that closing never scans the log)."""

voids = Table("voids", metadata, _key("tenant"), _key("decision_id"), _text("cause"), _us("at_us"))
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
    _text("offer", nullable=True),
    Column("counts", Boolean, nullable=False),
    _us("due_us"),
    Column("attempts", Integer, nullable=False),
    _text("reason", nullable=True),
    Column("reserved_micro", BigInteger, nullable=False),
    Index(None, "tenant", "campaign_id", "dispatch", "state", "channel", "due_us"),
    Index(None, "tenant", "state", "expires_us"),
    Index(None, "tenant", "subject_id", "due_us"),
)
"""The outbox: where each touch stands.

`seq` and `reason` are those of its last transition; `due_us` is when it is to be sent (again), or was, `attempts` how
often that was tried. `counts` says whether it counts for contact limits, `reserved_micro` what it takes of its
campaign's budget, in millionths. A touch of another system (`dispatch` is `external`) has the record id of the event
that told of it in the place of a decision's id.
"""

touch_transitions = Table(
    "touch_transitions",
    metadata,
    _key("tenant"),
    _key("decision_id"),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    _text("state"),
    _us("at_us"),
    _text("reason", nullable=True),
    _us("due_us", nullable=True),
)
"""Every state that a touch ever had, counted from 0; `due_us` where it says when the touch is to be sent (again)."""

touch_attempts = Table(
    "touch_attempts",
    metadata,
    _key("tenant"),
    _key("decision_id"),
    Column("attempt", Integer, primary_key=True, autoincrement=False),
    _us("at_us"),
    _text("sender"),
    _text("outcome"),
    _text("detail", nullable=True),
    _text("provider_id", nullable=True),
)
"""What came of every attempt to send a touch, counted from 1: `sent`, `temporary`, `permanent` or `unknown`."""

channel_usage = Table(
    "channel_usage",
    metadata,
    _key("tenant"),
    _key("channel"),
    Column("tokens", Float, nullable=False),
    _us("at_us"),
    _text("day"),
    Column("sent", BigInteger, nullable=False),
)
"""How much of a channel's rate and of its capacity of a day (UTC) is used, by all workers together."""

exclusions = Table(
    "exclusions",
    metadata,
    _key("tenant"),
    _key("exclusion_group"),
    _key("subject_id"),
    _text("campaign_id"),
    _text("decision_id"),
    _us("at_us"),
)
"""The campaign of an exclusion group that each subject is in, from its first decision on."""

budgets = Table(
    "budgets",
    metadata,
    _key("tenant"),
    _key("campaign_id"),
    _key("holder"),
    Column("granted_micro", BigInteger, nullable=False),
    Column("used_micro", BigInteger, nullable=False),
)
"""The blocks of a campaign's budget that processes hold, and what they have reserved of them, in millionths."""

events = Table(
    "events",
    metadata,
    _key("tenant"),
    _key("record_id"),
    _text("event_id"),
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
    postgresql_partition_by="RANGE (record_id)",
)
"""What was observed, as it was reported.

`event_id` is the reporter's, `record_id` ours. An event names a decision (by id, or by campaign and request) or only a
subject.
"""

event_keys = Table("event_keys", metadata, _key("tenant"), _key("event_id"), _text("record_id"))
"""Where each reported event is: the same id is the same event."""

parked = Table(
    "parked",
    metadata,
    _key("tenant"),
    _key("event_id"),
    _text("decision_id", nullable=True),
    _text("campaign_id", nullable=True),
    _text("request_id", nullable=True),
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
    _text("digest"),
    Column("body", LargeBinary, nullable=False),
    _text("resume_digest", nullable=True),
    Column("resume", LargeBinary, nullable=True),
    Column("base", Boolean, nullable=False),
    Index(None, "tenant", "campaign_id", "published_us", "snapshot_id"),
)
"""Published models: `body` scores, `resume` is what the trainer goes on from, the watermark says how far it learned.

The digests are SHA-256 in hex of `body` and `resume`. From a `base` a rebuild starts: it keeps its `resume`, for the
decisions that it learned may be gone.
"""

ledger = Table("ledger", metadata, _key("tenant"), _key("subject_id"), _body("body"))
"""Each subject's touches in the form of `optimizer.history`."""

leases = Table(
    "leases",
    metadata,
    _key("tenant"),
    _key("name"),
    _text("holder"),
    Column("token", BigInteger, nullable=False),
    Column("beat", BigInteger, nullable=False),
)
"""Which worker does what: the token grows with every change of holder, the beat while the holder lives."""

api_keys = Table(
    "api_keys",
    metadata,
    _key("key_id"),
    _text("tenant"),
    _text("label"),
    _text("digest"),
    _body("scopes"),
    Column("campaigns", Text, nullable=True),
    _us("created_us"),
    _us("expires_us", nullable=True),
    _us("revoked_us", nullable=True),
    Index(None, "tenant", "created_us"),
)
"""The callers' keys: `key_id` is the part of a key that is no secret, `digest` the keyed digest of the whole.

`scopes` is a JSON array; `campaigns` is one too, or null for all.
"""

audit = Table(
    "audit",
    metadata,
    _key("tenant"),
    _key("audit_id"),
    _us("at_us"),
    _text("actor"),
    _text("action"),
    _text("object"),
    _body("details"),
    Index(None, "tenant", "object", "audit_id"),
)
"""Who changed what and when. Customers appear by keyed digest, their fields by name and keyed digest."""

suppressions = Table(
    "suppressions",
    metadata,
    _key("tenant"),
    _key("channel"),
    _key("address_digest"),
    _text("cause"),
    _us("at_us"),
    Index(None, "tenant", "address_digest"),
)
"""Who must not be reached: addresses, and customers by id, by keyed digest, so that it outlives them.

`channel` is empty for every one.
"""

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    _key("tenant"),
    _key("caller"),
    _key("idempotency_key"),
    _text("request_hash"),
    _us("created_us"),
    Column("status", Integer, nullable=True),
    _text("media_type", nullable=True),
    Column("answer", LargeBinary, nullable=True),
    Index(None, "created_us"),
)
"""What was answered to requests that carried an `Idempotency-Key`; `status` is null while the first one runs."""
