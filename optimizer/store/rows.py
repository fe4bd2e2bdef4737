"""The rows of the larger tables as values, field by field the columns of `optimizer.store.tables`.

They are named tuples and not dataclasses because a batch of thousands goes to the driver as it is: a tuple needs no
conversion, and building one costs a fifth of a frozen dataclass. Instants are Python ints, microseconds since the
epoch.
"""

from typing import NamedTuple


class CustomerRow(NamedTuple):
    """One customer as stored; `attributes`, `addresses` and `consents` are JSON objects as text."""

    tenant: str
    customer_id: str
    subject_id: str
    attributes: str
    timezone: str | None
    addresses: str
    consents: str
    loaded: bool
    updated_us: int


class CampaignVersionRow(NamedTuple):
    """One version of a campaign; `body` is its canonical JSON."""

    tenant: str
    campaign_id: str
    config_hash: str
    body: str
    learner_key: str
    loaded_us: int


class CampaignRow(NamedTuple):
    """A campaign as it stands; `state` is `active` or `paused`."""

    tenant: str
    campaign_id: str
    config_hash: str
    state: str
    changed_us: int


class CampaignChangeRow(NamedTuple):
    """Something done to a campaign; `change` is `loaded`, `paused`, `resumed` or `rejoined`."""

    tenant: str
    change_id: str
    campaign_id: str
    change: str
    config_hash: str
    at_us: int


class RunRow(NamedTuple):
    """One pass over an audience."""

    tenant: str
    run_id: str
    campaign_id: str
    occasion: str
    scheduled_us: int
    cursor: str
    state: str
    started_us: int
    finished_us: int | None
    decided: int


class DecisionRow(NamedTuple):
    """One decision, whole.

    `exploration`, `context` and `history` are JSON text; the last three are bytes, empty where there is nothing to say.
    """

    tenant: str
    decision_id: str
    campaign_id: str
    config_hash: str
    subject_id: str
    request_id: str | None
    request_hash: str | None
    occasion: str | None
    decided_us: int
    group_name: str
    arm: str | None
    reason: str | None
    propensity: float | None
    send_us: int | None
    expires_us: int | None
    close_us: int
    mature_us: int
    snapshot_id: str | None
    exploration: str
    context: str
    history: str
    candidates: bytes
    removed: bytes
    scores: bytes


class DecisionHead(NamedTuple):
    """What joining events to a decision needs of it, without its context and scores."""

    decision_id: str
    campaign_id: str
    config_hash: str
    subject_id: str
    request_id: str | None
    decided_us: int
    group_name: str
    arm: str | None
    reason: str | None
    send_us: int | None
    close_us: int
    mature_us: int


class TrainingRow(NamedTuple):
    """A matured decision as the trainer learns it."""

    decision_id: str
    mature_us: int
    reward: float
    config_hash: str
    subject_id: str
    decided_us: int
    group_name: str
    arm: str | None
    propensity: float | None
    send_us: int | None
    context: str
    history: str
    candidates: bytes


class TouchRow(NamedTuple):
    """A touch as it stands.

    `dispatch` is `service`, `caller` or `external`; the lease is set only while `state` is `leased` or `sending`.
    """

    tenant: str
    decision_id: str
    campaign_id: str
    subject_id: str
    message: str
    channel: str | None
    dispatch: str
    state: str
    seq: int
    send_us: int
    expires_us: int
    sent_us: int | None
    lease_token: str | None
    lease_until_us: int | None
    offer: str | None
    counts: bool
    due_us: int
    attempts: int
    reason: str | None
    reserved_micro: int


class TransitionRow(NamedTuple):
    """One state that a touch had; `seq` counts from 0."""

    tenant: str
    decision_id: str
    seq: int
    state: str
    at_us: int
    reason: str | None
    due_us: int | None


class EventRow(NamedTuple):
    """One event as reported; `fields` is a JSON object as text."""

    tenant: str
    record_id: str
    event_id: str
    name: str
    decision_id: str | None
    campaign_id: str | None
    request_id: str | None
    subject_id: str | None
    occurred_us: int
    received_us: int
    fields: str


class RewardRow(NamedTuple):
    """What a matured decision came to; `parts` is JSON text that says how."""

    tenant: str
    campaign_id: str
    mature_us: int
    decision_id: str
    reward: float
    learn: bool
    parts: str
    closed_us: int


class SnapshotRow(NamedTuple):
    """A published model and how far it has learned."""

    tenant: str
    snapshot_id: str
    campaign_id: str
    learner_key: str
    published_us: int
    watermark_us: int
    watermark_id: str
    learned: int
    digest: str
    body: bytes
    resume_digest: str | None
    resume: bytes | None
    base: bool = False
