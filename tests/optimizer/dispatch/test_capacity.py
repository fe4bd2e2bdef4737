"""No channel is used faster, or more in a day, than its route says, however many workers there are."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer.dispatch.capacity import brought_to, free_us, given_back, room, unused, used
from optimizer.dispatch.routes import Route, Routes
from optimizer.engine import Engine
from tests.optimizer.dispatch.scripted import Scripted
from tests.optimizer.engine_example import ATTRIBUTES, START, Notes, Rig, only

pytestmark = pytest.mark.databases

SECOND_US = 1_000_000
DAY_US = 86_400 * SECOND_US
MONDAY_US = int(START.timestamp()) * SECOND_US

steps = st.lists(st.tuples(st.integers(0, 5 * SECOND_US), st.integers(0, 50), st.booleans()), max_size=40)


@given(rate=st.floats(0.1, 200), steps=steps)
def test_in_no_stretch_of_time_more_goes_out_than_the_rate_and_one_bucket(
    rate: float, steps: list[tuple[int, int, bool]]
) -> None:
    route = Route(Notes(), rate=rate)
    usage, now_us = unused("default", "email", route, MONDAY_US), MONDAY_US
    taken: list[tuple[int, int]] = []
    for passed_us, wanted, back in steps:
        now_us += passed_us
        usage = brought_to(usage, route, now_us)
        n = room(usage, route, wanted)
        usage = used(usage, route, n)
        if back:
            usage = given_back(usage, route, n, now_us)
        else:
            taken.append((now_us, n))
    for i, (start_us, _) in enumerate(taken):
        for j in range(i, len(taken)):
            whole = sum(n for _, n in taken[i : j + 1])
            assert whole <= rate * (taken[j][0] - start_us) / SECOND_US + max(rate, 1) + 1e-6


@given(capacity=st.integers(0, 60), steps=steps)
def test_on_no_day_more_goes_out_than_the_capacity(capacity: int, steps: list[tuple[int, int, bool]]) -> None:
    route = Route(Notes(), daily_capacity=capacity)
    usage, now_us = unused("default", "email", route, MONDAY_US), MONDAY_US
    days: dict[int, int] = {}
    for passed_us, wanted, back in steps:
        now_us += passed_us * 2000
        usage = brought_to(usage, route, now_us)
        n = room(usage, route, wanted)
        assert n == min(wanted, capacity - days.get(now_us // DAY_US, 0))
        usage = used(usage, route, n)
        if back:
            usage = given_back(usage, route, n, now_us)
        else:
            days[now_us // DAY_US] = days.get(now_us // DAY_US, 0) + n


def test_it_is_told_from_when_on_there_is_room_again() -> None:
    route = Route(Notes(), rate=0.5, daily_capacity=2)
    usage = unused("default", "email", route, MONDAY_US)
    assert free_us(usage, route) == MONDAY_US
    usage = used(usage, route, 1)
    assert free_us(usage, route) == MONDAY_US + 2 * SECOND_US
    later_us = free_us(usage, route)
    assert room(brought_to(usage, route, later_us - 1), route, 9) == 0
    usage = used(brought_to(usage, route, later_us), route, 1)
    midnight_us = (MONDAY_US // DAY_US + 1) * DAY_US
    assert free_us(usage, route) == midnight_us
    assert room(brought_to(usage, route, midnight_us), route, 9) == 1
    late = used(brought_to(unused("default", "email", route, midnight_us - SECOND_US), route, midnight_us), route, 1)
    assert given_back(late, route, 1, midnight_us - 1).sent == 1, "what was taken yesterday is given back to yesterday"


def test_a_clock_that_is_set_back_gives_nothing_away() -> None:
    route = Route(Notes(), rate=10, daily_capacity=5)
    usage = used(unused("default", "email", route, MONDAY_US), route, 5)
    back = brought_to(usage, route, MONDAY_US - DAY_US)
    assert (back.at_us, back.day, back.sent) == (usage.at_us, usage.day, 5)


def test_a_channel_is_not_used_faster_than_its_rate() -> None:
    sender = Scripted()
    with Rig(only("email"), routes=Routes(Route(Notes()), {"email": Route(sender, rate=2)})) as rig:
        for each in rig.customers(7):
            rig.ask(each)
        for _ in range(4):
            rig.jobs()
            rig.pass_by(seconds=1)
        assert sender.pages == [2, 2, 2, 1]


def test_a_channel_is_not_used_more_on_a_day_than_it_can_be_and_goes_on_at_midnight() -> None:
    sender = Scripted()
    with Rig(only("email"), routes=Routes(Route(sender, daily_capacity=3))) as rig:
        for each in rig.customers(5):
            rig.ask(each)
        for _ in range(3):
            rig.jobs()
        assert len(sender.given) == 3
        due_us = rig.engine.next_due_us()
        assert due_us == (MONDAY_US // DAY_US + 1) * DAY_US
        rig.clock.advance_to(START.replace(hour=0) + timedelta(days=1))
        rig.jobs()
        assert len(sender.given) == 5


def test_what_is_not_sent_leaves_its_room_to_others() -> None:
    sender = Scripted()
    with Rig(only("email"), routes=Routes(Route(sender, daily_capacity=3))) as rig:
        for each in rig.customers(6):
            rig.ask(each)
        for each in ("c000", "c001", "c002"):
            rig.engine.erase_customer(each)
        gone = [rig.ask(f"n{i}") for i in range(2)]
        rig.engine.runtime.store.write(
            lambda c: c.exec_driver_sql("delete from customers where customer_id in ('n0', 'n1')")
        )
        rig.jobs()
        assert len(sender.given) == 3
        rig.pass_by(hours=10)
        rig.jobs()
        assert [rig.touch(each.decision_id).state for each in gone] == ["cancelled"] * 2


def test_a_page_is_no_larger_than_what_its_sender_takes_at_a_call() -> None:
    sender = Scripted(batch=2)
    with Rig(only("email"), routes=Routes.to(sender)) as rig:
        for each in rig.customers(5):
            rig.ask(each)
        rig.jobs()
        assert sender.pages == [2, 2, 1]


def test_several_workers_share_one_rate() -> None:
    sender = Scripted(batch=3)
    routes = Routes(Route(sender, rate=10))
    with Rig(only("email"), routes=routes) as rig:
        for each in rig.customers(40):
            rig.ask(each)
        workers = [Engine(rig.store, ATTRIBUTES, routes, clock=rig.clock) for _ in range(4)]
        for seconds in range(3):
            with ThreadPoolExecutor(len(workers)) as several:
                list(several.map(lambda worker: worker.outbox.dispatch_due(), workers))
            assert len(sender.given) == 10 * (seconds + 1)
            rig.pass_by(seconds=1)
        assert set(sender.times.values()) == {1}
