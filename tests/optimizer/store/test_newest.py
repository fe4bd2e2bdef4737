"""What is written by a process whose clock is behind is dated after everything that is stored."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from optimizer import clock
from optimizer.clock import from_us, to_us
from optimizer.dispatch.routes import Routes
from optimizer.engine import Engine
from optimizer.store.newest import newest_us
from tests.optimizer.engine_example import ATTRIBUTES, Rig, campaign

if TYPE_CHECKING:
    from datetime import tzinfo

pytestmark = pytest.mark.databases


def test_nothing_is_stored_before_the_first_row() -> None:
    with Rig() as rig:
        assert rig.store.read(newest_us) == 0


def test_decisions_events_closings_models_and_pauses_all_tell_the_time() -> None:
    with Rig(campaign()) as rig:
        for act in (
            lambda: rig.ask("c1"),
            lambda: rig.tell("e1", "clicked", customer_id="c2"),
            lambda: rig.engine.pause("camp"),
            rig.jobs,
        ):
            rig.pass_by(days=3)
            act()
            behind_us = rig.now_us - rig.store.read(newest_us)
            # A model is published now; what is closed is as old as it is mature.
            assert -1000 <= behind_us <= 0


def test_a_process_whose_clock_is_behind_starts_with_the_newest_time(monkeypatch: pytest.MonkeyPatch) -> None:
    with Rig(campaign()) as rig:
        rig.ask("c1")
        rig.settle()
        newest = from_us(rig.store.read(newest_us))

        class SetBack(datetime):
            @classmethod
            def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
                assert tz is not None
                return newest - timedelta(hours=1)

        monkeypatch.setattr(clock, "datetime", SetBack)
        engine = Engine(rig.store, ATTRIBUTES, Routes.to(rig.sender))
        assert engine.runtime.now_us() == to_us(newest)
