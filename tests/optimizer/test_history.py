from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer.attributes import HISTORY_FEATURES
from optimizer.history import (
    DAY_US,
    EMPTY,
    HOUR_US,
    KEPT_US,
    Ledger,
    archive,
    campaign_touches,
    dumps,
    history_rows,
    loads,
    only_archived,
    opened,
    planned,
    released,
    touched,
)
from optimizer.ids import made_us

if TYPE_CHECKING:
    from collections.abc import Sequence

CHANNELS = ["email", "sms", "push"]
START_US = 1_700_000_000_000_000


class Sent(NamedTuple):
    decision_id: str
    sent_us: int
    channel: str | None
    message: str
    opens_us: list[int]


def example(days: float, channel: str | None = "email", decision_id: str = "d") -> Ledger:
    sent_us = START_US + int(days * DAY_US)
    return touched(EMPTY, decision_id=decision_id, message="hello", channel=channel, sent_us=sent_us)


def made_at(instant_us: int, n: int) -> str:
    """The id of a decision made then."""
    ms = instant_us // 1000
    return f"{ms >> 16:08x}-{ms & 0xFFFF:04x}-7000-8000-{n:012}"


def newest_us(touches: Sequence[Sent]) -> int:
    """The latest instant at which one of these touches was decided, or was reported before it was made."""
    return max((made_us(touch.decision_id) or 0 for touch in touches), default=START_US)


def rows_of(ledger: Ledger, now_us: int, channels: Sequence[str] = CHANNELS) -> dict[str, Any]:
    return {name: column[0] for name, column in history_rows([ledger], now_us, channels).items()}


def slowly(touches: list[Sent], now_us: int) -> dict[str, Any]:
    """The features from the whole history, one touch at a time."""
    past = sorted((t for t in touches if t.sent_us <= now_us), key=lambda t: (t.sent_us, t.decision_id))
    last = past[-1] if past else None
    by_channel = {t.channel: t.sent_us for t in past}
    return {
        "hours_since_last_touch": (now_us - last.sent_us) / HOUR_US if last else math.nan,
        "hours_since_last_touch_on_channel": [
            (now_us - by_channel[channel]) / HOUR_US if channel in by_channel else math.nan for channel in CHANNELS
        ],
        "touches_1d": sum(now_us - t.sent_us < DAY_US for t in past),
        "touches_7d": sum(now_us - t.sent_us < 7 * DAY_US for t in past),
        "touches_30d": sum(now_us - t.sent_us < 30 * DAY_US for t in past),
        "last_message": last.message if last else None,
        "last_channel": last.channel if last else None,
        "last_opened": (float(any(at_us <= now_us for at_us in last.opens_us)) if last else math.nan),
    }


@st.composite
def histories(draw: st.DrawFn, span_us: int) -> list[Sent]:
    # Few distinct instants, so that ties and the edges of the windows are met.
    instants = st.one_of(
        st.integers(0, span_us // HOUR_US).map(lambda hours: START_US + hours * HOUR_US),
        st.integers(0, max(1, span_us // DAY_US)).map(lambda days: START_US + days * DAY_US),
    )
    times = draw(st.lists(instants, max_size=12))
    return [
        Sent(
            made_at(sent_us - draw(st.sampled_from([0, 5 * HOUR_US, 60 * DAY_US])), n),
            sent_us,
            draw(st.sampled_from([*CHANNELS, "fax", None])),
            draw(st.sampled_from(["warm", "direct"])),
            [sent_us + hours * HOUR_US for hours in draw(st.lists(st.integers(0, 40), max_size=2))],
        )
        for n, sent_us in enumerate(times)
    ]


def report(touches: list[Sent], order: st.DataObject | None) -> Ledger:
    """The ledger of these touches and opens, reported in any order, stored and read back after each.

    What was reported before its touch is told again with it, as the service does.
    """
    facts: list[tuple[str, Any]] = [("touch", touch) for touch in touches]
    facts += [("open", (touch.decision_id, at_us)) for touch in touches for at_us in touch.opens_us]
    ledger = EMPTY
    sent_us: dict[str, int] = {}
    opens: dict[str, list[int]] = {}
    for kind, fact in order.draw(st.permutations(facts)) if order else facts:
        if kind == "touch":
            sent_us[fact.decision_id] = fact.sent_us
            ledger = touched(
                ledger,
                decision_id=fact.decision_id,
                message=fact.message,
                channel=fact.channel,
                sent_us=fact.sent_us,
            )
            for at_us in opens.get(fact.decision_id, ()):
                ledger = opened(ledger, decision_id=fact.decision_id, at_us=at_us, sent_us=fact.sent_us)
        else:
            opens.setdefault(fact[0], []).append(fact[1])
            ledger = opened(ledger, decision_id=fact[0], at_us=fact[1], sent_us=sent_us.get(fact[0]))
        ledger = loads(dumps(ledger))
    return ledger


@given(touches=histories(90 * DAY_US), orders=st.data())
def test_the_same_facts_make_the_same_ledger_in_whatever_order_they_come(
    touches: list[Sent], orders: st.DataObject
) -> None:
    assert dumps(report(touches, orders)) == dumps(report(touches, None))


def assert_same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert found.keys() == expected.keys() == HISTORY_FEATURES.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


@given(touches=histories(90 * DAY_US), order=st.data(), later_us=st.integers(0, 40 * DAY_US))
def test_the_features_are_those_of_the_whole_history_from_the_newest_touch_on(
    touches: list[Sent], order: st.DataObject, later_us: int
) -> None:
    now_us = newest_us(touches) + later_us
    assert_same(rows_of(report(touches, order), now_us), slowly(touches, now_us))


@given(touches=histories(30 * DAY_US), order=st.data(), now=st.integers(-1, 31 * 24))
def test_what_happens_after_the_instant_does_not_count(touches: list[Sent], order: st.DataObject, now: int) -> None:
    now_us = START_US + now * HOUR_US
    assert_same(rows_of(report(touches, order), now_us), slowly(touches, now_us))


@given(
    several=st.lists(histories(30 * DAY_US), max_size=5),
    hours=st.lists(st.integers(0, 24 * 31), min_size=5, max_size=5),
)
def test_many_subjects_at_once_are_each_as_alone(several: list[list[Sent]], hours: list[int]) -> None:
    ledgers = [report(touches, None) for touches in several]
    now_us = START_US + np.array(hours[: len(ledgers)], dtype=np.int64) * HOUR_US
    together = history_rows(ledgers, now_us, CHANNELS)
    for n, ledger in enumerate(ledgers):
        assert_same({name: column[n] for name, column in together.items()}, rows_of(ledger, int(now_us[n])))


@given(touches=histories(300 * DAY_US))
def test_a_ledger_stays_small_whatever_the_length_of_the_history(touches: list[Sent]) -> None:
    ledger = report(touches, None)
    recent = sum(touch.sent_us > newest_us(touches) - KEPT_US for touch in touches)
    assert len(ledger.sent_us) <= recent + len({touch.channel for touch in touches})


@given(touches=histories(60 * DAY_US))
def test_reports_that_come_twice_change_nothing(touches: list[Sent]) -> None:
    once = report(touches, None)
    twice = once
    for touch in touches:
        if touch.decision_id in once.decisions.split(","):
            twice = touched(twice, decision_id=touch.decision_id, message="x", channel="sms", sent_us=START_US)
            for at_us in touch.opens_us:
                twice = opened(twice, decision_id=touch.decision_id, at_us=at_us)
    assert dumps(twice) == dumps(once)


def test_a_touch_counts_in_a_window_until_the_window_is_over() -> None:
    ledger = example(0)
    assert rows_of(ledger, START_US)["touches_1d"] == 1
    assert rows_of(ledger, START_US + DAY_US - 1)["touches_1d"] == 1
    assert rows_of(ledger, START_US + DAY_US)["touches_1d"] == 0
    assert rows_of(ledger, START_US - 1)["touches_30d"] == 0


def test_the_last_touch_of_a_channel_is_remembered_for_ever() -> None:
    ledger = touched(example(0, "sms"), decision_id="e", message="hi", channel="email", sent_us=START_US + 400 * DAY_US)
    row = rows_of(loads(dumps(ledger)), START_US + 400 * DAY_US)
    np.testing.assert_array_equal(row["hours_since_last_touch_on_channel"], [0.0, 400 * 24.0, np.nan])
    assert (row["touches_30d"], row["last_message"]) == (1, "hi")


def test_a_decision_whose_id_begins_like_another_is_another() -> None:
    ledger = touched(example(0, decision_id="d10"), decision_id="d1", message="m", channel=None, sent_us=START_US)
    assert len(ledger.sent_us) == 2


def test_without_touches_the_numbers_are_missing_and_the_counts_zero() -> None:
    found = history_rows([EMPTY, EMPTY], START_US, CHANNELS)
    assert np.isnan(found["hours_since_last_touch"]).all()
    assert found["hours_since_last_touch_on_channel"].shape == (2, 3)
    assert found["touches_30d"].tolist() == [0.0, 0.0]
    assert found["last_message"].tolist() == [None, None]
    assert history_rows([], START_US, [])["hours_since_last_touch_on_channel"].shape == (0, 0)


@pytest.mark.parametrize("name", HISTORY_FEATURES)
def test_each_feature_has_the_form_of_its_declared_type(name: str) -> None:
    column = history_rows([example(0), EMPTY], START_US, CHANNELS)[name]
    assert column.dtype == (np.float64 if HISTORY_FEATURES[name].is_numeric else np.object_)


def test_planned_touches_count_for_their_campaign_until_they_are_released() -> None:
    ledger = planned(planned(planned(EMPTY, "a"), "a"), "b")
    ledger = loads(dumps(released(released(ledger, "b"), "unknown")))
    assert campaign_touches([ledger, EMPTY], "a").tolist() == [2, 0]
    assert campaign_touches([ledger, EMPTY], "b").tolist() == [0, 0]
    assert rows_of(ledger, START_US)["touches_30d"] == 0


def test_a_touch_that_is_announced_for_next_year_pushes_none_out_and_is_seen_when_its_time_has_come() -> None:
    next_year_us = START_US + 365 * DAY_US
    ledger = touched(
        touched(EMPTY, decision_id=made_at(START_US, 1), message="hello", channel="email", sent_us=START_US),
        decision_id=made_at(START_US + DAY_US, 2),
        message="",
        channel="sms",
        sent_us=next_year_us,
    )
    soon = rows_of(ledger, START_US + 2 * DAY_US)
    assert (soon["touches_7d"], soon["last_channel"], soon["hours_since_last_touch"]) == (1, "email", 48)
    then = rows_of(ledger, next_year_us)
    assert (then["touches_7d"], then["last_channel"], then["last_message"]) == (1, "sms", None)


def test_an_open_of_a_touch_that_is_never_sent_is_not_kept_for_ever() -> None:
    unsent, later_us = made_at(START_US, 1), START_US + 2 * KEPT_US
    early = opened(EMPTY, decision_id=unsent, at_us=START_US + 1)
    assert early.early_opens == {unsent: START_US + 1}
    new = touched(early, decision_id=made_at(later_us, 2), message="hello", channel="email", sent_us=later_us)
    assert new.early_opens == {}
    assert opened(new, decision_id=unsent, at_us=later_us) == new


@given(touches=histories(90 * DAY_US), cut=st.integers(0, 12))
def test_what_has_left_the_log_is_kept_and_the_rest_made_again_from_it(touches: list[Sent], cut: int) -> None:
    whole = report(touches, None)
    for _ in touches:
        whole = planned(whole, "camp")
    touches = sorted(touches, key=lambda touch: touch.decision_id)
    gone, kept = touches[:cut], touches[cut:]
    archived = archive(archive(whole, {"camp": len(gone)}) if gone else whole, {})
    first_id = kept[0].decision_id if kept else "~"
    again = only_archived(loads(dumps(archived)), {touch.decision_id for touch in kept}, first_id)
    for touch in kept:
        again = planned(again, "camp")
        again = touched(
            again,
            decision_id=touch.decision_id,
            message=touch.message,
            channel=touch.channel,
            sent_us=touch.sent_us,
        )
        for at_us in touch.opens_us:
            again = opened(again, decision_id=touch.decision_id, at_us=at_us, sent_us=touch.sent_us)
    assert dumps(again) == dumps(archived)


def test_a_ledger_that_was_written_before_decisions_could_leave_the_log_is_read() -> None:
    assert loads('[[5],"email","hello","d","",{},{"camp":1}]').touches == {"camp": 1}


def test_a_subject_without_a_ledger_has_the_empty_one() -> None:
    assert loads(None) == EMPTY
    assert dumps(loads(dumps(EMPTY))) == dumps(EMPTY)
