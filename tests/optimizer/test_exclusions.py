"""One campaign of an exclusion group at a time: who is first claims the customer, and before that the facts decide."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from optimizer import exclusions
from optimizer.decisions import Decision
from optimizer.reasons import Reason
from optimizer.store import rebuilding
from optimizer.store.exclusions import sweep_claims
from tests import databases
from tests.optimizer.engine_example import Rig, campaign, only
from tests.optimizer.upkeep.test_rebuild import rebuild

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Connection

    from optimizer.campaign import CampaignFile

OTHER, LOWER = Reason.EXCLUDED_BY_OTHER_CAMPAIGN, Reason.LOWER_PRIORITY
GOLD: Final = {"attr": "plan", "op": "==", "value": "gold"}


def member(name: str, priority: int = 0, group: str = "one", **parts: Any) -> CampaignFile:  # noqa: ANN401 - any part
    """A campaign of a group; its longest window is three days."""
    named = parts.pop("settings", {})
    return campaign(name, settings={"exclusion_group": group, "priority": priority} | named, **parts)


def reason(rig: Rig, of: str, customer: str = "ana", **facts: Any) -> Reason | None:  # noqa: ANN401 - any attribute
    """Why the decision sends nothing, if another campaign is why."""
    found = rig.ask(customer, of=of, **facts).reason
    return found if found in {OTHER, LOWER} else None


def claims(rig: Rig) -> dict[str, str]:
    """The campaign that has each subject, of each group."""
    return {f"{row[1]}/{row[2]}": row[3] for row in rig.dump("exclusions")["exclusions"]}


@pytest.mark.databases
def test_who_decides_first_has_the_customer_and_others_only_keep_no_send() -> None:
    with Rig(member("a"), member("b"), member("apart", group="two"), campaign("free")) as rig:
        first = rig.ask("ana", of="a")
        second = rig.ask("ana", of="b")
        assert second.reason == OTHER
        assert second.arm is not None
        assert (second.arm.id, second.propensity) == ("no_send", 1.0)
        removed = [each.reason for each in rig.engine.explain(second.decision_id).candidates]
        assert removed == [OTHER] * 4 + [None]
        assert orjson.loads(rig.row(second.decision_id).history)["contact"]["excluded"] == OTHER
        assert all(check.holds for each in (first, second) for check in rig.engine.verify(each.decision_id))
        assert reason(rig, "a") is None
        assert [reason(rig, each) for each in ("apart", "free")] == [None, None]
        assert set(claims(rig).values()) == {"a", "apart"}
        [held] = [claim for claim in rig.engine.disclose("ana").claims if claim.exclusion_group == "one"]
        assert (held.campaign_id, held.decision_id) == ("a", first.decision_id)


@pytest.mark.parametrize(
    "groups", [{"holdout": 1.0}, {"random_control": 1.0}, {"bau": {"share": 1.0, "arm": {"message": "hello"}}}]
)
def test_every_group_claims_alike(groups: dict[str, Any]) -> None:
    if "bau" in groups:
        groups["bau"]["arm"]["channel"] = "email"
    with Rig(member("a", groups=groups), member("b", groups=groups)) as rig:
        rig.ask("ana", of="a")
        assert set(claims(rig).values()) == {"a"}
        arms = rig.engine.explain(rig.ask("ana", of="b").decision_id).candidates
        assert {each.reason for each in arms} == {OTHER, None}


def test_a_drawn_no_send_ends_the_occasion_and_nobody_steps_in() -> None:
    with Rig(member("a", 1), member("b")) as rig:
        drawn = [(f"c{i}", rig.ask(f"c{i}", of="a")) for i in range(30)]
        silent = [customer for customer, answer in drawn if answer.reason == Reason.CHOSE_NO_SEND]
        assert silent
        assert {reason(rig, "b", customer) for customer in silent} == {OTHER}


def test_who_is_outside_of_the_audience_or_asked_while_the_campaign_is_paused_is_not_claimed() -> None:
    with Rig(member("a", 1, audience=GOLD), member("b")) as rig:
        assert rig.ask("ana", of="a").reason == Reason.NOT_IN_AUDIENCE
        rig.engine.pause("a")
        assert rig.ask("ana", of="a", plan="gold").reason == Reason.CAMPAIGN_NOT_ACTIVE
        assert claims(rig) == {}
        assert reason(rig, "b") is None
        assert set(claims(rig).values()) == {"b"}


@pytest.mark.databases
def test_before_any_claim_the_one_that_ranks_higher_and_would_have_the_customer_goes_first() -> None:
    with Rig(member("low"), member("high", 5, audience=GOLD)) as rig:
        assert reason(rig, "low", plan="gold") == LOWER
        assert claims(rig) == {}, "stepping back claims nobody"
        assert reason(rig, "low", "bob", plan="free") is None
        rig.customers(3, plan="gold")
        rig.engine.run("low")
        assert {row.reason for row in rig.log("low")[2:]} == {LOWER}
        rig.engine.run("high")
        assert len(claims(rig)) == 4
        assert reason(rig, "high", "bob", plan="gold") == OTHER, "a claim is stronger than any rank"
        for row in rig.log("low"):
            assert all(check.holds for check in rig.engine.verify(row.decision_id))


def test_history_counts_for_a_rivals_audience_as_it_does_for_its_own() -> None:
    touched = {"attr": "touches_7d", "op": ">=", "value": 1}
    with Rig(only("email", "first"), member("low"), member("high", 5, audience=touched)) as rig:
        assert reason(rig, "low", "bob") is None
        rig.ask("ana", of="first")
        rig.jobs()
        assert reason(rig, "low", "ana") == LOWER


@pytest.mark.parametrize(
    ("rival", "expected"),
    [
        (member("rival", 1), LOWER),
        (member("rival", settings={"starts_at": "2025-12-01T00:00:00Z"}), LOWER),
        (member("aaa"), LOWER),
        (member("zzz"), None),
        (member("zzz", settings={"starts_at": "2026-01-02T00:00:00Z"}), None),
        (member("rival", 1, settings={"starts_at": "2027-01-01T00:00:00Z"}), None),
        (member("rival", 1, settings={"ends_at": "2026-01-12T15:00:00Z"}), None),
        (member("rival", 1, group="two"), None),
    ],
)
def test_priority_ranks_then_the_earlier_start_then_the_id_of_campaigns_that_are_active(
    rival: CampaignFile, expected: Reason | None
) -> None:
    with Rig(member("me"), rival) as rig:
        assert reason(rig, "me") is expected
        rig.engine.pause(rival.id)
        assert reason(rig, "me", "bob") is None


@pytest.mark.databases
def test_a_claim_holds_until_the_campaigns_end_plus_its_longest_window_and_while_it_is_in_the_group() -> None:
    ending = {"ends_at": "2026-01-13T15:00:00Z"}
    with Rig(
        member("a", settings=ending), member("b", 1), member("c", settings={"ends_at": "2026-12-31T00:00:00Z"})
    ) as rig:
        rig.engine.pause("b")
        rig.ask("ana", of="a")
        rig.engine.resume("b")
        rig.ask("bob", of="b")
        rig.pass_by(days=3, hours=23)
        assert reason(rig, "c") == OTHER
        rig.pass_by(hours=1)
        rig.engine.pause("b")
        assert reason(rig, "c") is None
        assert [reason(rig, "c", each) for each in ("ana", "bob")] == [None, OTHER]
        rig.engine.load_campaign(campaign("b"))
        assert reason(rig, "c", "bob") is None
        rebuilt = rig.dump("exclusions")
        rig.execute("delete from exclusions")
        rebuild(rig)
        assert rig.dump("exclusions") == rebuilt


@pytest.mark.databases
def test_a_customer_who_is_erased_leaves_nothing_that_names_them_and_comes_back_unclaimed() -> None:
    with Rig(member("a", 1), member("b")) as rig:
        rig.ask("ana-of-the-hill", of="a")
        rig.engine.pause("a")
        assert reason(rig, "b", "ana-of-the-hill") == OTHER
        rig.engine.erase_customer("ana-of-the-hill")
        assert "ana-of-the-hill" not in str(rig.dump("exclusions"))
        assert reason(rig, "b", "ana-of-the-hill") is None
        assert sorted(claims(rig).values()) == ["a", "b"]


@pytest.mark.databases
def test_of_two_campaigns_that_decide_for_one_customer_at_once_in_two_processes_one_has_the_customer(
    tmp_path: Path,
) -> None:
    url = databases.fresh_url(tmp_path)
    with Rig(member("a"), member("b"), url=url) as one, Rig(url=url, seed=1) as two:
        people = [f"c{i}" for i in range(40)]

        def ask(of: str) -> dict[str, Reason | None]:
            rig = one if of == "a" else two
            waiting = [(each, rig.engine.deciding([rig.request(each, f"{of}-{each}", of)])) for each in people]
            found = {}
            for each, future in waiting:
                (answer,) = future.result()
                assert isinstance(answer, Decision)
                found[each] = answer.reason
            return found

        with ThreadPoolExecutor(2) as pool:
            first, second = pool.map(ask, "ab")
        for each in people:
            # The one of lower rank steps back without a claim, or is excluded by one.
            assert (first[each] == OTHER) + (second[each] in {OTHER, LOWER}) == 1
        assert len(claims(one)) == len(people)


ACTS = st.one_of(
    st.tuples(st.just("ask"), st.sampled_from("abc"), st.sampled_from(["ana", "bob"]), st.booleans()),
    st.tuples(st.just("load"), st.sampled_from("abc"), st.sampled_from(["one", "two"]), st.integers(0, 2)),
    st.tuples(st.just("pass"), st.integers(1, 40)),
    st.tuples(st.just("pause"), st.sampled_from("abc")),
    st.tuples(st.just("resume"), st.sampled_from("abc")),
)


class Rules:
    """The same rules written down once more, plainly, for one customer at a time; `a` and `b` come to an end."""

    ENDS: Final = {"a": 48, "b": 200}
    SETTINGS: Final = {"a": {"ends_at": "2026-01-14T15:00:00Z"}, "b": {"ends_at": "2026-01-20T23:00:00Z"}}
    WINDOW: Final = 72
    NEVER: Final = 10_000

    def __init__(self) -> None:
        self.files = dict.fromkeys("abc", ("one", 0))
        self.paused: set[str] = set()
        self.held: dict[tuple[str, str], str] = {}
        self.hours = 0

    def load(self, rig: Rig, name: str, group: str, priority: int) -> None:
        """Another version; only those with gold are in the audience of b."""
        self.files[name] = (group, priority)
        audience = GOLD if name == "b" else None
        rig.engine.load_campaign(member(name, priority, group, settings=self.SETTINGS.get(name, {}), audience=audience))

    def may(self, name: str, *, gold: bool) -> bool:
        """Whether the campaign is active, and the customer in its audience."""
        return name not in self.paused and self.hours < self.ENDS.get(name, self.NEVER) and (gold or name != "b")

    def expected(self, name: str, person: str, *, gold: bool) -> Reason | None:
        """What a decision finds, and its claim."""
        if not self.may(name, gold=gold):
            return None
        group = self.files[name][0]
        members = [each for each in self.files if self.files[each][0] == group]
        holder = self.held.get((group, person), "")
        if holder in members and self.hours < self.ENDS.get(holder, self.NEVER) + self.WINDOW:
            return None if holder == name else OTHER
        rivals = [each for each in members if self.may(each, gold=gold)]
        if min(rivals, key=lambda each: (-self.files[each][1], each)) != name:
            return LOWER
        self.held[group, person] = name
        return None

    def act(self, rig: Rig, act: tuple[Any, ...]) -> None:
        """Do something, and see that it is as expected."""
        match act:
            case ("ask", name, person, gold):
                wanted = self.expected(name, person, gold=gold)
                assert reason(rig, name, person, plan="gold" if gold else "free") is wanted
            case ("load", name, group, priority):
                self.load(rig, name, group, priority)
            case ("pass", hours):
                self.hours += hours
                rig.pass_by(hours=hours)
            case ("pause", name):
                self.paused.add(name)
                rig.engine.pause(name)
            case ("resume", name):
                self.paused.discard(name)
                rig.engine.resume(name)


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(ACTS, min_size=5, max_size=40))
def test_whatever_happens_the_rules_hold_and_a_rebuild_makes_the_same_claims(acts: list[tuple[Any, ...]]) -> None:
    with Rig() as rig:
        rules = Rules()
        for name in "abc":
            rules.load(rig, name, "one", 0)
        for act in acts:
            rules.act(rig, act)
        before = rig.dump("exclusions")
        assert sorted(claims(rig).values()) == sorted(rules.held.values())
        rig.execute("delete from exclusions")
        rig.execute("insert into exclusions values ('default', 'one', 'stray', 'a', 'stray', 0)")
        rebuild(rig)
        assert rig.dump("exclusions") == before


@pytest.mark.databases
def test_a_claim_outlives_the_decision_that_made_it_and_a_rebuild_keeps_it() -> None:
    with Rig(member("a", 1), member("b")) as rig:
        made = rig.ask("ana", of="a")
        rig.ask("bob", of="a")
        before = rig.dump("exclusions")
        cut = rig.engine.runtime.ids.uuid7(rig.now_us + 1)
        rig.pass_by(days=1)
        later = rig.ask("ana", of="a")
        for table in ("decisions", "touches", "touch_transitions", "open_decisions"):
            rig.execute(f"delete from {table} where decision_id = ?", made.decision_id)  # noqa: S608 - names of tables
        subjects = [row[2] for row in before["exclusions"]]

        def again(connection: Connection) -> int:
            past = [("one", row) for row in rebuilding.decisions_of(connection, "default", subjects)]
            assert later.decision_id in {row.decision_id for _, row in past}
            return exclusions.make_again(connection, "default", subjects, past, cut)

        assert rig.store.write(again) == 0
        assert rig.store.write(lambda c: sweep_claims(c, "default", cut)) == 0
        assert rig.dump("exclusions") == before
