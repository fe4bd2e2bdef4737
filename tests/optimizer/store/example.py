"""Rows that differ only where a test says so."""

from __future__ import annotations

from typing import Any

from optimizer.store.rows import DecisionRow, EventRow, RewardRow, TouchRow

HOUR_US = 3_600_000_000


def decision(decision_id: str, **changes: Any) -> DecisionRow:  # noqa: ANN401 - any column
    row = DecisionRow(
        tenant="default",
        decision_id=decision_id,
        campaign_id="camp",
        config_hash="v1",
        subject_id="subject",
        request_id=None,
        request_hash=None,
        occasion=None,
        decided_us=0,
        group_name="treatment",
        arm="hello/email",
        reason=None,
        propensity=0.25,
        send_us=HOUR_US,
        expires_us=2 * HOUR_US,
        close_us=3 * HOUR_US,
        mature_us=4 * HOUR_US,
        snapshot_id=None,
        exploration="{}",
        context="{}",
        history="{}",
        candidates=b"\x00\x01",
        removed=b"",
        scores=b"\x02",
    )
    return row._replace(**changes)


def touch(decision_id: str, **changes: Any) -> TouchRow:  # noqa: ANN401 - any column
    row = TouchRow(
        tenant="default",
        decision_id=decision_id,
        campaign_id="camp",
        subject_id="subject",
        message="hello",
        channel="email",
        dispatch="service",
        state="planned",
        seq=0,
        send_us=HOUR_US,
        expires_us=2 * HOUR_US,
        sent_us=None,
        lease_token=None,
        lease_until_us=None,
        offer=None,
        counts=True,
        due_us=HOUR_US,
        attempts=0,
        reason=None,
        reserved_micro=0,
    )
    return row._replace(**changes)


def event(event_id: str, **changes: Any) -> EventRow:  # noqa: ANN401 - any column
    row = EventRow(
        tenant="default",
        record_id=f"record-{event_id}",
        event_id=event_id,
        name="clicked",
        decision_id=None,
        campaign_id=None,
        request_id=None,
        subject_id=None,
        occurred_us=HOUR_US,
        received_us=HOUR_US,
        fields="{}",
    )
    return row._replace(**changes)


def reward(decision_id: str, **changes: Any) -> RewardRow:  # noqa: ANN401 - any column
    row = RewardRow(
        tenant="default",
        campaign_id="camp",
        mature_us=4 * HOUR_US,
        decision_id=decision_id,
        reward=1.0,
        learn=True,
        parts="[]",
        closed_us=5 * HOUR_US,
    )
    return row._replace(**changes)
