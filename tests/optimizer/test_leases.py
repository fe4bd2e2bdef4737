"""Workers share the campaigns, and one that was replaced can do nothing more, whatever any clock says."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from optimizer.attributes import Attributes
from optimizer.clock import VirtualClock
from optimizer.ids import IdSource
from optimizer.leases import BEAT_S, LOOKS, Fence, LeaseLost, Leases, void_fences
from optimizer.runtime import Runtime
from optimizer.secret import Secret
from optimizer.store import Store
from optimizer.store.campaigns import load_version
from optimizer.store.rows import CampaignVersionRow
from tests import databases
from tests.optimizer.engine_example import START

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.databases


class Several:
    """Workers on one database, whose monotonic clock is moved by hand."""

    def __init__(self, store: Store) -> None:
        self.runtime = Runtime(store, VirtualClock(START), IdSource(), Attributes(), Secret.ephemeral())
        self.seconds = 0.0

    def load(self, *campaign_ids: str) -> None:
        for each in campaign_ids:
            row = CampaignVersionRow("default", each, "v1", "{}", "key", 0)
            self.runtime.store.write(partial(load_version, row=row, change_id=f"change-{each}"))

    def worker(self, name: str) -> Leases:
        return Leases(self.runtime, name, lambda: self.seconds)

    def pass_by(self, looks: int, *workers: Leases) -> None:
        """So many beats of these workers."""
        for _ in range(looks):
            self.seconds += BEAT_S
            for each in workers:
                each.beat()

    def write(self, fence: Fence) -> None:
        """A transaction of a worker's job."""
        self.runtime.store.write(fence.check)


@pytest.fixture
def several(database: str) -> Iterator[Several]:  # noqa: ARG001 - of this kind
    with Store(databases.fresh_url()) as store:
        yield Several(store)


def held(leases: Leases, *campaign_ids: str) -> dict[str, Fence]:
    found: dict[str, Fence] = {}

    def note(fence: Fence) -> int:
        found[fence.campaign_id] = fence
        return 1

    assert leases.each(campaign_ids, note) == len(found)
    return found


def test_one_worker_has_every_campaign_at_once_new_ones_too(several: Several) -> None:
    several.load("a", "b")
    only = several.worker("w1")
    assert list(held(only, "a", "b")) == ["a", "b"]
    several.load("c")
    assert list(held(only, "a", "b", "c")) == ["a", "b", "c"]
    several.write(held(only, "c")["c"])


def test_a_worker_that_comes_gets_its_share_within_two_beats_and_all_when_the_other_ends(several: Several) -> None:
    several.load("a", "b", "c")
    first, second = several.worker("w1"), several.worker("w2")
    assert len(held(first, "a", "b", "c")) == 3
    assert held(second, "a", "b", "c") == {}
    several.pass_by(2, first, second)
    assert list(held(first, "a", "b", "c")) == ["a", "b"]
    assert list(held(second, "a", "b", "c")) == ["c"]
    first.release()
    several.pass_by(1, second)
    assert list(held(second, "a", "b", "c")) == ["a", "b", "c"]


def test_a_campaign_in_work_is_given_away_after_it(several: Several) -> None:
    several.load("a", "b")
    first, second = several.worker("w1"), several.worker("w2")

    def meanwhile(fence: Fence) -> int:
        several.pass_by(2, first, second)
        several.write(fence)
        return 1

    assert first.each(["a", "b"], lambda fence: meanwhile(fence) if fence.campaign_id == "b" else 0) == 1
    several.pass_by(2, first, second)
    assert list(held(first, "a", "b")) == ["a"]
    assert list(held(second, "a", "b")) == ["b"]


def test_a_worker_whose_beat_stands_still_is_replaced_and_can_write_no_more(several: Several) -> None:
    several.load("a")
    paused, other = several.worker("w1"), several.worker("w2")
    old = held(paused, "a")["a"]
    other.beat()
    several.pass_by(LOOKS - 1, other)
    assert held(other, "a") == {}
    several.write(old)
    several.pass_by(1, other)
    several.write(held(other, "a")["a"])
    with pytest.raises(LeaseLost, match="another worker's now"):
        several.write(old)
    paused.beat()
    assert held(paused, "a") == {}
    several.pass_by(LOOKS + 1, paused, other)
    assert list(held(other, "a")) == ["a"]


def test_a_worker_that_lives_is_never_replaced_however_rarely_the_others_look(several: Several) -> None:
    several.load("a")
    first, second = several.worker("w1"), several.worker("w2")
    fence = held(first, "a")["a"]
    for _ in range(5):
        several.pass_by(1, first, second)
        several.seconds += 3_600
    assert held(second, "a") == {}
    several.write(fence)


def test_a_clock_that_is_set_back_changes_nothing(several: Several) -> None:
    """The machine's clock is not asked at all: of several, each may say something else."""
    several.load("a")
    clock = several.runtime.clock
    assert isinstance(clock, VirtualClock)
    first, second = several.worker("w1"), several.worker("w2")
    held(first, "a")
    clock.advance_to(START.replace(year=2040))
    several.pass_by(LOOKS + 1, first, second)
    assert held(second, "a") == {}


def test_the_same_name_takes_back_what_it_held_before_a_restart(several: Several) -> None:
    several.load("a")
    old = held(several.worker("w1"), "a")["a"]
    several.write(held(several.worker("w1"), "a")["a"])
    with pytest.raises(LeaseLost):
        several.write(old)


def test_work_on_a_past_that_has_changed_is_stopped_and_begins_again(several: Several) -> None:
    several.load("a")
    worker = several.worker("w1")
    seen: list[int] = []

    def work(fence: Fence) -> int:
        if not seen:
            several.runtime.store.write(lambda c: void_fences(c, "default", "a"))
        seen.append(fence.token)
        several.write(fence)
        return 1

    assert worker.each(["a"], work) == 1
    assert seen == sorted(set(seen))
    assert len(seen) == 2


def test_a_past_that_changes_before_there_is_any_worker_leaves_the_campaign_free(several: Several) -> None:
    several.load("a")
    several.runtime.store.write(lambda c: void_fences(c, "default", "a"))
    assert list(held(several.worker("w1"), "a")) == ["a"]


def test_what_fails_in_one_campaign_holds_up_no_other(several: Several) -> None:
    several.load("a", "b")
    worker = several.worker("w1")
    done: list[str] = []

    def work(fence: Fence) -> int:
        if fence.campaign_id == "a":
            raise RuntimeError("broken")
        done.append(fence.campaign_id)
        return 1

    with pytest.raises(ExceptionGroup):
        worker.each(["a", "b"], work)
    assert done == ["b"]


def test_an_end_leaves_no_worker_and_a_second_end_does_nothing(several: Several) -> None:
    several.load("a")
    worker = several.worker("w1")
    held(worker, "a")
    worker.release()
    worker.release()

    def rows(connection: Any) -> list[tuple[str, str]]:  # noqa: ANN401 - a connection
        return [tuple(row) for row in connection.exec_driver_sql("select name, holder from leases")]

    assert several.runtime.store.read(rows) == [("campaign/a", "")]


def test_a_worker_that_takes_nothing_has_nothing_to_release(several: Several) -> None:
    several.worker("w1").release()
