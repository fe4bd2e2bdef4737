"""Budgets: spent to the last touch that they pay for, never beyond; what was not needed comes back."""

from __future__ import annotations

from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING, Any, Final

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from optimizer.budgets import Budgets, archive, make_again
from optimizer.decisions import Decision, DecisionRequest
from optimizer.dispatch.routes import Routes
from optimizer.engine import Engine
from optimizer.errors import Conflict
from optimizer.scalars import MICRO
from optimizer.store import budgets as stored
from tests import databases
from tests.optimizer.engine_example import ATTRIBUTES, SECRET, Notes, Rig, campaign, message, only
from tests.optimizer.upkeep.test_rebuild import rebuild

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Connection

    from optimizer.budgets import BudgetReport
    from optimizer.campaign import CampaignFile
    from optimizer.store.rows import TouchRow

pytestmark = pytest.mark.databases

CHANNELS = [{"id": "email", "cost": 0.25}, {"id": "push", "cost": 0.0, "dispatch": "caller"}]


def offer(cost: float, cost_on: str = "sent") -> dict[str, Any]:
    """The incentive of a message."""
    return {
        "offer": {"id": "off", "type": "discount", "value": 10, "unit": "percent", "cost": cost, "cost_on": cost_on}
    }


def budget(amount: float, on_reach: str = "pause") -> dict[str, Any]:
    return {"budget": {"amount": amount, "currency": "USD", "on_reach": on_reach}}


def plain(amount: float, **parts: Any) -> CampaignFile:  # noqa: ANN401 - any part
    """A single arm that costs 0.25, on e-mail."""
    return only("email", **budget(amount), **parts)


def tempting(amount: float, *, cost_on: str = "sent") -> CampaignFile:
    """An offer and a plain message on e-mail and push; what costs nothing is the plain one on push."""
    messages = [message("offer", "email", "push", **offer(1.0, cost_on)), message("plain", "email", "push")]
    catalog = {"messages": messages, "channels": CHANNELS}
    return campaign(**budget(amount, "stop_offers"), catalog=catalog, policy={"kind": "uniform"})


def standing(rig: Rig, of: str = "camp") -> BudgetReport:
    found = rig.engine.budget(of)
    assert found is not None
    return found


def reached(rig: Rig, of: str = "camp") -> list[str | None]:
    """What of the budget was reached, decision by decision, as it is logged."""
    return [orjson.loads(row.history).get("contact", {}).get("budget_reached") for row in rig.log(of)]


def drain(rig: Rig) -> None:
    """Until what was to be done soon is done."""
    rig.store.gather(lambda _, items: items, [None]).result()


def test_a_budget_pays_for_so_many_touches_and_then_the_campaign_is_paused_by_the_service() -> None:
    with Rig(plain(1.1)) as rig:
        reasons = [rig.ask(f"c{i}").reason for i in range(5)]
        assert reasons == [None, None, None, None, "budget_reached"]
        drain(rig)
        assert rig.engine.campaign("camp").state == "paused"
        entry = rig.engine.changes(1)[0]
        assert (entry.action, entry.object, entry.actor) == ("paused", "campaign:camp", "service")
        assert rig.ask("c9").reason == "campaign_not_active"
        assert standing(rig).reserved + standing(rig).spent == 1.0
        assert standing(rig).left == pytest.approx(0.1)
        assert reached(rig) == [None, None, None, None, "sends", None]
        assert all(check.holds for row in rig.log() for check in rig.engine.verify(row.decision_id))


def test_a_batch_at_the_edge_is_decided_in_order_each_seeing_what_those_before_have_left() -> None:
    with Rig(plain(1.0)) as rig:
        answers = rig.engine.decide([rig.request(f"c{i}") for i in range(7)])
        assert [answer.reason for answer in answers] == [None] * 4 + ["budget_reached"] * 3  # type: ignore[union-attr]
        assert standing(rig).reserved == 1.0


def test_a_run_spends_exactly_what_there_is() -> None:
    with Rig(plain(10.0)) as rig:
        rig.customers(60)
        # Whether the run ends before the campaign is paused depends on who is faster.
        with suppress(Conflict):
            rig.engine.run("camp")
        sent = [row for row in rig.log() if row.send_us is not None]
        assert len(sent) == 40
        assert {row.reason for row in rig.log()} == {None, "budget_reached"}
        drain(rig)
        assert rig.engine.campaign("camp").state == "paused"


def test_with_stop_offers_those_go_first_then_what_costs_anything_and_what_costs_nothing_stays() -> None:
    with Rig(tempting(6.0)) as rig:
        arms = [rig.ask(f"c{i}").arm for i in range(120)]
        said = reached(rig)
        assert said == sorted(said, key=[None, "offers", "costs"].index)
        assert {None, "offers", "costs"} == set(said)
        by_level: dict[str | None, set[str]] = {}
        for level, arm in zip(said, arms, strict=True):
            assert arm is not None
            by_level.setdefault(level, set()).add(arm.id)
        assert by_level[None] & {"offer/email", "offer/push"}
        assert by_level["offers"] <= {"plain/email", "plain/push", "no_send"}
        assert by_level["costs"] == {"plain/push", "no_send"}
        assert rig.engine.campaign("camp").state == "active"
        assert 0 <= standing(rig).left < 0.25
        assert all(check.holds for row in rig.log() for check in rig.engine.verify(row.decision_id))


def test_what_is_given_up_comes_back_and_pays_for_others() -> None:
    with Rig(plain(0.5)) as rig:
        first = rig.ask("c1")
        rig.ask("c2")
        rig.engine.void([first.decision_id], "test")
        assert standing(rig).reserved == 0.25
        assert rig.touch(first.decision_id).reserved_micro == 0
        assert rig.ask("c3").send_at is not None
        rig.jobs()
        assert (standing(rig).reserved, standing(rig).spent) == (0.0, 0.5)
        assert rig.ask("c4").reason == "budget_reached"


@pytest.mark.parametrize("used", [False, True])
def test_an_offer_that_costs_when_it_is_used_is_paid_back_as_its_decision_closes_without_use(used: bool) -> None:  # noqa: FBT001
    messages = [message("offer", "email", **offer(2.0, "used"))]
    catalog = {"messages": messages, "channels": CHANNELS[:1], "no_send": False}
    reward = {"lateness": "1d", "events": [{"name": "clicked", "value": 1, "window": "2d"}]}
    with Rig(campaign(**budget(10), catalog=catalog, reward=reward)) as rig:
        made = rig.ask("c1")
        rig.pass_by(hours=1)
        if used:
            rig.tell("e", "used", decision_id=made.decision_id)
        assert standing(rig).reserved == 2.25
        rig.jobs()
        rig.settle()
        assert (standing(rig).reserved, standing(rig).spent) == (0.0, 2.25 if used else 0.25)
        before = rig.dump("touches")
        rebuild(rig)
        assert rig.dump("touches") == before
        assert standing(rig).spent == (2.25 if used else 0.25)


def test_what_was_given_up_and_shown_all_the_same_is_spent_when_that_is_known_by_the_close() -> None:
    with Rig(only("push", **budget(1.0))) as rig:
        made, other = rig.ask("c1"), rig.ask("c2")
        rig.pass_by(days=2)
        rig.jobs()
        assert standing(rig).left == 1.0
        rig.tell("late", "shown", decision_id=made.decision_id)
        rig.settle()
        rig.tell("too late", "shown", decision_id=other.decision_id)
        assert standing(rig).spent == 0.25


def test_another_amount_acts_at_once_a_larger_and_a_smaller_one() -> None:
    with Rig(plain(10.0)) as rig:
        rig.ask("c1")
        rig.engine.load_campaign(plain(0.5))
        assert rig.ask("c2").reason is None
        assert rig.ask("c3").reason == "budget_reached"
        drain(rig)
        rig.engine.load_campaign(plain(0.75))
        rig.engine.resume("camp")
        assert [rig.ask("c4").reason, rig.ask("c5").reason] == [None, "budget_reached"]
        assert standing(rig).left == 0.0


def test_a_process_that_is_gone_keeps_nothing_back(tmp_path: Path) -> None:
    url = databases.fresh_url(tmp_path)
    with Rig(plain(1.0), url=url) as one:
        one.ask("c1")
        other = Engine(one.store, ATTRIBUTES, Routes.to(Notes()), clock=one.clock, secret=SECRET, worker="other")
        asked = [DecisionRequest("camp", f"d{i}", f"d{i}") for i in range(4)]
        found = [answer for request in asked for answer in other.decide([request])]
        assert [each.reason for each in found] == [None] * 3 + ["budget_reached"]  # type: ignore[union-attr]
        assert one.ask("c2").reason in {"budget_reached", "campaign_not_active"}
        assert standing(one).reserved == 1.0


def test_what_was_seen_of_a_block_that_is_taken_back_meanwhile_is_not_counted_twice() -> None:
    with Rig(plain(100.0)) as rig:
        rig.ask("ana")

        def taken_back_between_seeing_and_holding(connection: Connection) -> None:
            version = rig.engine.versions.current(connection, "camp")
            account = Budgets(rig.engine.runtime, rig.engine.versions, "rig").account(connection, version)
            assert account is not None
            stored.take_back_blocks(connection, "default", "camp")
            account.secure(90 * MICRO)

        rig.store.write(taken_back_between_seeing_and_holding)
        assert standing(rig).reserved + standing(rig).spent == 0.25


def test_a_run_and_its_next_page_do_not_wait_for_each_other(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("optimizer.runs.PAGE", 5)
    with Rig(plain(20.0), url=databases.fresh_url(tmp_path)) as rig:
        rig.customers(70)
        rig.engine.run("camp")
        assert standing(rig).reserved == 17.5


def test_archived_touches_are_counted_on_and_a_rebuild_finds_what_was_used() -> None:
    with Rig(tempting(1000.0, cost_on="used")) as rig:
        for i in range(12):
            rig.ask(f"c{i}")
        rig.jobs()
        rig.settle()
        used = rig.store.read(lambda c: stored.used_by_campaign(c, "default"))
        assert used["camp"] > 0
        gone = _touches(rig)
        rig.store.write(lambda c: archive(c, "default", gone))
        rig.execute("delete from touches")
        assert rig.store.read(lambda c: stored.used_by_campaign(c, "default")) == used
        rig.store.write(lambda c: make_again(c, "default"))
        assert rig.store.read(lambda c: stored.used_by_campaign(c, "default")) == used


def _touches(rig: Rig) -> list[TouchRow]:
    return [rig.touch(row.decision_id) for row in rig.log() if row.send_us is not None]


ACTS = st.one_of(
    st.tuples(st.just("ask"), st.integers(1, 6)),
    st.tuples(st.just("ask"), st.integers(1, 6)),
    st.tuples(st.just("tell"), st.sampled_from(["shown", "used", "clicked", "bounced"]), st.integers(0, 30)),
    st.tuples(st.just("void"), st.integers(0, 30)),
    st.tuples(st.just("pass"), st.integers(1, 60)),
    st.tuples(st.just("restart")),
    st.tuples(st.just("rebuild"), st.booleans()),
)


class Spending:
    """A campaign that is asked, told, restarted and rebuilt, with everything counted again after each act."""

    AMOUNT: Final = 12.0

    def __init__(self, rig: Rig, cost_on: str) -> None:
        self.rig = rig
        self.made: list[str] = []
        self.people = count()
        rig.engine.load_campaign(tempting(self.AMOUNT, cost_on=cost_on))

    def act(self, act: tuple[Any, ...]) -> None:
        rig = self.rig
        match act:
            case ("ask", n):
                answers = rig.engine.decide([rig.request(f"c{next(self.people)}") for _ in range(n)])
                self.made += [answer.decision_id for answer in answers if isinstance(answer, Decision)]
            case ("tell", name, place) if self.made:
                rig.tell(f"e{next(self.people)}", name, decision_id=self.made[place % len(self.made)])
            case ("void", place) if self.made:
                rig.engine.void([self.made[place % len(self.made)]], "test")
            case ("pass", hours):
                rig.pass_by(hours=hours)
                rig.jobs()
            case ("restart",):
                rig.engine = Engine(rig.store, ATTRIBUTES, Routes.to(rig.sender), clock=rig.clock, secret=SECRET)
            case ("rebuild", wrecked):
                self.rebuild(wrecked=wrecked)

    def rebuild(self, *, wrecked: bool) -> None:
        self.rig.engine.closing.close_due()
        before = self.rig.dump("touches")
        if wrecked:
            for table in ("touches", "rewards", "open_decisions", "budgets"):
                self.rig.execute(f"delete from {table}")  # noqa: S608 - names of tables
        rebuild(self.rig)
        assert self.rig.dump("touches") == before

    def check(self, *, revived: bool) -> None:
        """Touches take what is used, and that is within the amount, as are all blocks together."""
        rows = self.rig.dump("budgets")["budgets"]
        used = sum(row[4] for row in rows)
        assert used == sum(touch.reserved_micro for touch in _touches(self.rig))
        if not revived:
            assert used <= self.AMOUNT * MICRO
            assert sum(row[3] for row in rows) <= self.AMOUNT * MICRO, "what is granted is there"


@pytest.mark.parametrize("cost_on", ["sent", "used"])
def test_whatever_happens_touches_take_what_is_used_and_a_rebuild_finds_the_same(cost_on: str, database: str) -> None:
    examples = 20 if database == "sqlite" else 4

    @settings(max_examples=examples, suppress_health_check=list(HealthCheck), deadline=None)
    @given(st.lists(ACTS, min_size=5, max_size=25))
    def holds(acts: list[tuple[Any, ...]]) -> None:
        with Rig() as rig:
            spending = Spending(rig, cost_on)
            revived = False
            for act in acts:
                spending.act(act)
                revived = revived or act[:2] == ("tell", "shown")
                spending.check(revived=revived)

    holds()
