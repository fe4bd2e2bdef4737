"""Whatever happens in whatever order, every decision is in exactly one number, and nothing is sent twice."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from optimizer.dispatch.routes import Route, Routes
from optimizer.dispatch.senders import SENT
from optimizer.errors import Conflict, NotFound, Unavailable
from optimizer.reconciliation import Reconciliation
from optimizer.store.customers import Customer
from optimizer.store.reconciliation import Counted
from tests.optimizer.dispatch.scripted import PERMANENT, TEMPORARY, UNKNOWN, Answering, Scripted
from tests.optimizer.engine_example import START, ProcessDied, Rig, campaign, message, only

if TYPE_CHECKING:
    from optimizer.dispatch.senders import Outcome, Outgoing

OUTCOMES = (SENT, SENT, TEMPORARY, PERMANENT, UNKNOWN)
POLICY = {
    "caps": [{"count": 9, "window": {"rolling": "7d"}}],
    "quiet_hours": [{"from": "21:00", "to": "08:00"}],
}
CATALOG = {
    "messages": [message("hello", "email"), message("offer", "email", "push")],
    "channels": [{"id": "email", "cost": 0.01}, {"id": "push", "cost": 0.02, "dispatch": "caller"}],
}
ACTIVE = campaign(contact_policy=POLICY, delivery={"retries": {"max": 2}}, catalog=CATALOG)
"""E-mail by the service, push by the caller, or nothing."""
STEPS = ("lease", "begin", "send", "settle", "recover")
"""What the outbox does one after the other, and before or after any of which its process may end."""


class Outbox(RuleBasedStateMachine):
    """One campaign on e-mail (asked, sent once at most) and push, whose worker dies anywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.script: list[Outcome] = []
        self.decided: list[str] = []
        self.events = 0

    @initialize(answers=st.booleans(), batch=st.integers(1, 4))
    def begin(self, answers: bool, batch: int) -> None:  # noqa: FBT001 - hypothesis calls it
        self.sender = (Answering if answers else Scripted)(self.outcome, batch=batch)
        if isinstance(self.sender, Answering):
            self.sender.answer = None
        self.rig = Rig(ACTIVE, routes=Routes(Route(Scripted()), {"email": Route(self.sender, rate=50)}))
        self.rig.engine.put_customers([Customer(f"c{who:03d}", timezone="Etc/UTC") for who in range(6)])

    def outcome(self, _touch: Outgoing) -> Outcome:
        """What the provider says."""
        return self.script.pop() if self.script else SENT

    @rule(who=st.integers(0, 5))
    def ask(self, who: int) -> None:
        self.decided.append(self.rig.ask(f"c{who:03d}").decision_id)

    @rule()
    def run(self) -> None:
        with suppress(Conflict):  # it is paused
            self.rig.engine.run("camp", f"o{len(self.decided)}-{self.events}")
        self.decided = [row.decision_id for row in self.rig.log()]

    @rule(script=st.lists(st.sampled_from(OUTCOMES), max_size=6))
    def the_jobs_are_done(self, script: list[Outcome]) -> None:
        self.script = script
        self.rig.jobs()

    @rule(
        who=st.lists(st.integers(0, 5), max_size=4),
        script=st.lists(st.sampled_from(OUTCOMES), max_size=3),
        step=st.sampled_from(STEPS),
        after=st.booleans(),
        calls=st.integers(0, 1),
        later=st.sampled_from((0, 2)),
    )
    def the_process_dies(  # noqa: PLR0913, PLR0917 - where it does
        self,
        who: list[int],
        script: list[Outcome],
        step: str,
        after: bool,  # noqa: FBT001 - hypothesis calls it
        calls: int,
        later: int,
    ) -> None:
        """Before or after a step of the outbox, at its first call or a later one; another process goes on."""
        for each in who:
            self.ask(each)
        self.script = script
        outbox: Any = self.rig.engine.outbox
        leasing, settling = outbox._leasing, outbox._settling  # noqa: SLF001 - where it dies
        at: Any = {"lease": leasing, "begin": leasing, "send": self.sender}.get(step, settling)
        real, left = getattr(at, step), calls

        def dying(*args: Any, **named: Any) -> Any:  # noqa: ANN401 - as whatever it stands for
            nonlocal left
            left -= 1
            if left >= 0:
                return real(*args, **named)
            if after:
                real(*args, **named)
            raise ProcessDied

        setattr(at, step, dying)
        try:
            outbox.dispatch_due()
        except ProcessDied:
            self.rig.restart()
        finally:
            setattr(at, step, real)
        self.rig.pass_by(minutes=later)
        self.rig.jobs()

    @rule()
    def the_database_is_away_when_it_is_noted(self) -> None:
        settling: Any = self.rig.engine.outbox._settling  # noqa: SLF001
        real = settling.settle

        def fails(*_: Any, **__: Any) -> int:  # noqa: ANN401 - whatever it is given
            raise Unavailable("away")

        settling.settle = fails
        try:
            self.rig.engine.outbox.dispatch_due()
        except (ExceptionGroup, Unavailable):
            pass
        finally:
            settling.settle = real

    @rule(minutes=st.sampled_from((0.1, 1, 2, 30, 400, 1500)))
    def time_passes(self, minutes: float) -> None:
        self.rig.pass_by(minutes=minutes)

    @rule(
        which=st.integers(0),
        name=st.sampled_from(
            ("sent", "shown", "delivered", "opened", "clicked", "converted", "bounced", "unsubscribed")
        ),
        hours=st.integers(-30, 30),
    )
    def something_is_reported(self, which: int, name: str, hours: int) -> None:
        self.events += 1
        named = self.decided[which % len(self.decided)] if self.decided else "none yet"
        after = self.rig.clock.now() - START + timedelta(hours=hours)
        self.rig.tell(f"e{self.events}", name, after=after, decision_id=named)

    @rule(which=st.integers(0), act=st.sampled_from(("retry", "cancel", "void")))
    def somebody_acts_by_hand(self, which: int, act: str) -> None:
        if not self.decided:
            return
        named = self.decided[which % len(self.decided)]
        try:
            if act == "retry":
                self.rig.engine.retry_touch(named)
            elif act == "cancel":
                self.rig.engine.cancel_touch(named)
            else:
                self.rig.engine.void([named], "outage")
        except (Conflict, NotFound):
            pass

    @rule(paused=st.booleans())
    def it_is_paused_or_resumed(self, paused: bool) -> None:  # noqa: FBT001 - hypothesis calls it
        (self.rig.engine.pause if paused else self.rig.engine.resume)("camp")

    @rule(who=st.integers(0, 5))
    def somebody_is_erased(self, who: int) -> None:
        with suppress(NotFound):
            self.rig.engine.erase_customer(f"c{who:03d}")

    @invariant()
    def the_numbers_add_up(self) -> None:
        found = self.rig.engine.reconcile("camp")
        assert found.accounted == found.decided == len(self.rig.log())
        states = self.rig.engine.campaign("camp").touches
        assert sum(states.values()) == found.decided - sum(found.not_sent.values())

    @invariant()
    def nothing_was_given_to_the_provider_twice_but_what_it_refused_or_does_not_know(self) -> None:
        """Each time before the last its answer was that it was not sent."""
        again = {each: n for each, n in self.sender.times.items() if n > 1}
        for decision_id, n in again.items():
            assert self.sender.refused[decision_id] >= n - 1, decision_id

    def teardown(self) -> None:
        if hasattr(self, "rig"):
            self.rig.store.close()


TestOutbox = Outbox.TestCase
TestOutbox.settings = settings(
    max_examples=60, stateful_step_count=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)


# Examples


@pytest.mark.databases
def test_each_decision_is_in_one_number() -> None:
    said: dict[str, Outcome] = {}
    sender = Scripted(lambda touch: said.get(touch.customer_id, SENT))
    with Rig(only("email", groups={"holdout": 0.3}), routes=Routes.to(sender)) as rig:
        made = {each: rig.ask(each) for each in rig.customers(15)}
        contacted = [each for each, decision in made.items() if decision.send_at is not None]
        held_out = len(made) - len(contacted)
        said |= {contacted[0]: PERMANENT, contacted[1]: UNKNOWN}
        rig.engine.erase_customer(contacted[2])
        rig.jobs()
        rig.tell("e1", "opened", decision_id=made[contacted[3]].decision_id)
        rig.tell("e2", "bounced", decision_id=made[contacted[4]].decision_id)
        rig.pass_by(seconds=1)
        planned = next(each for each in map(rig.ask, (f"n{i}" for i in range(9))) if each.send_at is not None)
        found = rig.engine.reconcile("camp", until=planned.decided_at)
        assert found == Reconciliation(
            decided=15,
            not_sent={"holdout": held_out} if held_out else {},
            planned=0,
            sent=15 - held_out - 5,
            delivered=1,
            bounced=1,
            expired=0,
            cancelled={"customer_erased": 1},
            failed=1,
            unknown=1,
        )
        assert rig.engine.reconcile("camp", since=planned.decided_at).planned == 1
        whole = rig.engine.reconcile("camp")
        assert whole.decided == whole.accounted == len(rig.log())
        with pytest.raises(NotFound):
            rig.engine.reconcile("another")


def test_a_touch_that_is_not_there_is_unknown() -> None:
    found = Reconciliation.of(
        [Counted(None, None, None, 3), Counted("holdout", None, None, 2), Counted(None, "sent", None, 1)]
    )
    assert (found.decided, found.unknown, found.sent, found.accounted) == (6, 3, 1, 6)
