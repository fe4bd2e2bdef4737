from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from optimizer.decisions import Decision, DecisionRequest
from optimizer.errors import NotFound
from optimizer.tenants import Tenants
from tests.optimizer.engine_example import Rig, only

if TYPE_CHECKING:
    from collections.abc import Iterator

    from optimizer.engine import Engine

pytestmark = pytest.mark.databases


@pytest.fixture
def rig() -> Iterator[Rig]:
    with Rig(only("email")) as made:
        yield made


def decided(engine: Engine, customer_id: str = "c") -> Decision:
    [made] = engine.decide([DecisionRequest("camp", customer_id, "r")])
    assert isinstance(made, Decision)
    return made


def test_each_tenant_has_one_engine_which_shares_all_but_the_data(rig: Rig) -> None:
    tenants = Tenants(rig.engine)
    theirs = tenants.engine("theirs")
    assert tenants.engine("theirs") is theirs
    assert tenants.known("theirs") is theirs
    assert tenants.known("nobody") is None
    assert tenants.engine("default") is rig.engine
    assert theirs.runtime.tenant == "theirs"
    assert theirs.runtime.stopping is rig.engine.runtime.stopping
    assert theirs.campaigns() == []


def test_the_same_ids_are_other_things_for_each_tenant(rig: Rig) -> None:
    theirs = Tenants(rig.engine).engine("theirs")
    theirs.load_campaign(only("push"))
    ours, others = decided(rig.engine), decided(theirs)
    assert (ours.decision_id != others.decision_id, ours.replayed, others.replayed) == (True, False, False)
    with pytest.raises(NotFound):
        theirs.decision(ours.decision_id)
    assert rig.engine.subjects(["c"]) != theirs.subjects(["c"])
    theirs.pause("camp")
    assert [report.state for report in rig.engine.campaigns()] == ["active"]


def test_every_job_is_done_for_every_tenant_with_campaigns(rig: Rig) -> None:
    tenants = Tenants(rig.engine)
    theirs = tenants.engine("theirs")
    theirs.load_campaign(only("email"))
    tenants.engine("idle")
    for engine in (rig.engine, theirs):
        decided(engine)
    assert [engine.runtime.tenant for engine in tenants.engines()] == ["default", "theirs"]
    for hours in (0, 24, 24, 24, 144):
        rig.pass_by(hours=hours)
        for job in tenants.jobs():
            job.run()
    assert len(rig.sender.sent) == 2
    assert [report.learned for engine in (rig.engine, theirs) for report in engine.campaigns()] == [1, 1]


def test_the_campaigns_of_a_tenant_that_was_never_met_here_are_worked_for_too(rig: Rig) -> None:
    rig.engine.of_tenant("theirs").load_campaign(only("email"))
    assert [engine.runtime.tenant for engine in Tenants(rig.engine).engines()] == ["default", "theirs"]


def test_a_tenant_whose_job_fails_holds_up_no_other(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    tenants = Tenants(rig.engine)
    theirs = tenants.engine("theirs")
    theirs.load_campaign(only("email"))
    done: list[str] = []

    def fails() -> None:
        raise RuntimeError("ours")

    monkeypatch.setattr(rig.engine, "refresh", fails)
    monkeypatch.setattr(theirs, "refresh", lambda: done.append("theirs"))
    with pytest.raises(RuntimeError, match="ours"):
        tenants.jobs()[0].run()
    assert done == ["theirs"]
    monkeypatch.setattr(theirs, "refresh", fails)
    with pytest.raises(ExceptionGroup, match="2 tenants failed"):
        tenants.jobs()[0].run()
