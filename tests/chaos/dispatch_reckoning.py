"""What is left of touches afterwards, beside the provider's own record: none sent twice, none lost, none forbidden.

What is allowed is worked out here from the campaigns as they are written, and not by the code that is tested.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from optimizer.clock import from_us, to_us
from optimizer.config import load_attributes
from optimizer.dispatch.routes import Routes
from optimizer.dispatch.senders import FileSender
from optimizer.engine import Engine
from optimizer.secret import Secret
from tests.api.running import ROOT
from tests.chaos.dispatch_campaigns import (
    CAP_ALL,
    CAP_CHANNEL,
    LATENESS_S,
    MAX_TOUCHES,
    MIN_GAP_S,
    QUIET,
    RETRIES,
    ZONES,
)
from tests.chaos.provider import FOR_GOOD, PATIENCE_S

if TYPE_CHECKING:
    from tests.api.running import Place
    from tests.chaos.dispatch_campaigns import Times
    from tests.chaos.dispatch_load import Forbidden, Told
    from tests.chaos.provider import Provider

SENT: Final = frozenset({"sent", "delivered", "opened", "clicked", "converted", "bounced"})
ENDED: Final = frozenset({"cancelled", "expired", "failed"})
OPEN: Final = frozenset({"planned", "leased", "sending"})
UNDER_WAY_S: Final = 15 + 2 * PATIENCE_S
"""How long after it was judged a touch may reach the provider: those before it in its page go first."""


class Touch(NamedTuple):
    """A touch as it stands in the end, with the customer and every instant at which it began to be sent."""

    decision_id: str
    customer: str
    campaign: str
    channel: str
    state: str
    reason: str | None
    send_us: int
    expires_us: int
    sent_us: int | None
    attempts: int
    begun_us: tuple[int, ...]

    @property
    def zone(self) -> str | None:
        """Where the customer is."""
        return ZONES[int(self.customer.removeprefix("c-")) % len(ZONES)]


class Taken(NamedTuple):
    """A touch that the provider took, at one instant."""

    touch: Touch
    at_us: int


@dataclass
class Books:
    """All that is compared."""

    place: Place
    provider: Provider
    told: Told
    times: Times

    def __post_init__(self) -> None:
        """Read the tables and the provider's record."""
        begun = defaultdict[str, list[int]](list)
        for decision_id, at_us in self.place.sql(
            "SELECT decision_id, at_us FROM touch_transitions WHERE state = 'sending' ORDER BY decision_id, seq"
        ):
            begun[decision_id].append(at_us)
        columns = (
            "decision_id, customer_id, campaign_id, channel, state, reason, send_us, expires_us, sent_us, attempts"
        )
        found = self.place.sql(
            f"SELECT {columns} FROM touches JOIN customers USING (tenant, subject_id) "  # noqa: S608 - our own names
            "ORDER BY decision_id"
        )
        self.touches = {row[0]: Touch._make((*row, tuple(begun[row[0]]))) for row in found}
        self.record = self.provider.record()
        strange = [line["id"] for line in self.record if line["id"] not in self.touches]
        assert not strange, f"the provider took what no decision planned: {strange[:3]}"
        self.taken = [Taken(self.touches[line["id"]], line["at_us"]) for line in self.record]

    def reckon(self) -> dict[str, Any]:
        """Compare everything; what was counted, by name."""
        assert not self.told.faults, (dict(self.told.faults), self._complaints())
        return {
            **self._decisions(),
            **self._sent(),
            **self._limits(),
            **self._rules(),
            **self._events(),
            **self._reconciled(),
        }

    def _complaints(self) -> list[str]:
        """What the processes said that went wrong, the first few."""
        lines = [line for log in self.place.folder.glob("log-*") for line in log.read_text("utf-8").splitlines()]
        return [line[-3000:] for line in lines if '"exception"' in line or "Traceback" in line][:3]

    def _decisions(self) -> dict[str, Any]:
        """Every decision is accounted for, and is what the caller was told."""
        stored = self.place.sql("SELECT request_id, decision_id, campaign_id, arm, reason, occasion FROM decisions")
        told = {request: each["decision_id"] for request, each in self.told.decisions.items()}
        assert {row[0]: row[1] for row in stored if row[0] is not None} == told, (
            "a decision is lost, or was never asked"
        )
        runs = Counter(row[5] for row in stored if row[5] is not None)
        [(people,)] = self.place.sql("SELECT count(*) FROM customers")
        for occasion, decided in self.told.runs.items():
            # It decides all of them in one transaction, or none where its campaign ends before.
            assert runs[occasion] == decided, f"run {occasion}: {runs[occasion]} decisions, {decided} were told"
            assert decided in {0, people}, f"run {occasion} has decided {decided} customers of {people}"
        sending = {row[1] for row in stored if row[3] is not None and row[3] != "no_send"}
        assert sending == set(self.touches), "a decision to send has no touch, or a touch no decision"
        states = Counter(touch.state for touch in self.touches.values())
        assert not states.keys() & OPEN, f"not settled: {states}"
        return {
            "decisions": len(stored),
            "decisions of runs": sum(runs.values()),
            "decisions not to send": len(stored) - len(sending),
            **{f"touches {state}": n for state, n in sorted(states.items())},
            "touches that ended, by reason": dict(
                Counter(f"{each.state}: {each.reason}" for each in self.touches.values() if each.state in ENDED)
            ),
        }

    def _sent(self) -> dict[str, Any]:
        """What the provider took is sent or unknown; what is sent it took; only on `again` more than once."""
        times = Counter(each.touch.decision_id for each in self.taken)
        asked = defaultdict[str, list[str]](list)
        for line in self.provider.asked():
            asked[line["id"]].append(line["deed"])
        did = Counter(deed for found in asked.values() for deed in found)
        assert "badly signed" not in did, "a request was not signed as it should be"
        doubled = {key for key, n in times.items() if n > 1}
        for decision_id in doubled:
            touch = self.touches[decision_id]
            assert touch.channel == "again", f"taken twice: {self._story(touch)}"
        for decision_id in times:
            touch = self.touches[decision_id]
            assert touch.state in SENT | {"unknown"}, f"taken, and lost: {self._story(touch)}"
        for touch in self.touches.values():
            deeds = asked[touch.decision_id]
            assert touch.state not in SENT or touch.decision_id in times, (
                f"not taken, and called sent: {self._story(touch)}"
            )
            requests = sum(not deed.startswith("tells") for deed in deeds)
            assert requests <= touch.attempts == len(touch.begun_us), f"sent behind its back: {self._story(touch)}"
            if touch.state == "failed":
                final = touch.attempts > RETRIES[touch.campaign] or (deeds and deeds[-1] in FOR_GOOD)
                assert final, f"given up too early: {self._story(touch)}"
            if touch.state == "unknown":
                # What was perhaps sent on `again`, and may not be sent again, cannot be resolved either.
                stopped = touch.channel == "again" and touch.reason in {
                    "suppressed",
                    "permanent_failure",
                    "retries_used_up",
                }
                assert touch.channel == "hook" or stopped, f"not resolved: {self._story(touch)}"
            if touch.campaign == "receipts":
                open_ended = SENT | {"failed", "unknown"}
                assert touch.state in open_ended or touch.reason == "suppressed", f"lost: {self._story(touch)}"
        return {
            "provider: touches taken": len(self.taken),
            "provider: of them unknown to the service": sum(each.touch.state == "unknown" for each in self.taken),
            "provider: doubled where that is allowed": len(doubled),
            "provider: times not listening": did.pop("refuses connections", 0),
            "provider: what it did": dict(sorted(did.items())),
            "attempts after the first": sum(max(each.attempts - 1, 0) for each in self.touches.values()),
        }

    def _story(self, touch: Touch) -> str:
        """Everything that happened to a touch, to be read where something is wrong."""
        query = "SELECT seq, state, at_us, reason, due_us FROM touch_transitions WHERE decision_id = ? ORDER BY seq"
        moves = [(*row[:2], _clock(row[2]), *row[3:]) for row in self.place.sql(query, touch.decision_id)]
        query = "SELECT attempt, at_us, outcome, detail FROM touch_attempts WHERE decision_id = ? ORDER BY attempt"
        tries = [(row[0], _clock(row[1]), *row[2:]) for row in self.place.sql(query, touch.decision_id)]
        lines = [line for line in self.provider.asked() if line["id"] == touch.decision_id]
        deeds = [(_clock(line["at_us"]), line["deed"]) for line in lines]
        taken = [_clock(each.at_us) for each in self.taken if each.touch == touch]
        return "\n".join(map(str, [touch, *moves, *tries, *deeds, f"taken at {taken}"]))

    def _limits(self) -> dict[str, Any]:
        """No cap is exceeded, counting what the provider took; all of it is within an hour."""
        marketing = [each for each in self.taken if each.touch.campaign != "receipts"]
        by_customer = Counter(each.touch.customer for each in marketing)
        assert max(by_customer.values(), default=0) <= CAP_ALL, by_customer.most_common(3)
        by_channel = Counter((each.touch.customer, each.touch.channel) for each in marketing)
        assert max(by_channel.values(), default=0) <= CAP_CHANNEL, by_channel.most_common(3)
        by_campaign = Counter((each.touch.customer, each.touch.campaign) for each in marketing)
        assert max(by_campaign.values(), default=0) <= MAX_TOUCHES, by_campaign.most_common(3)
        mine = defaultdict[str, list[Taken]](list)
        for each in marketing:
            mine[each.touch.customer].append(each)
        gaps = 0
        for touches in mine.values():
            for one, other in pairwise(sorted(touches, key=lambda each: each.at_us)):
                begun_us = other.touch.begun_us[-1]
                noted_us = one.touch.sent_us
                # Of what is not known to be sent when the other is judged, the time is that at which it began to be.
                at_us = noted_us if noted_us is not None and noted_us < begun_us else one.touch.begun_us[-1]
                assert abs(begun_us - at_us) >= MIN_GAP_S * 1_000_000, f"too near: {one}, {other}"
                gaps += 1
        return {
            "customers who had as many touches as the cap allows": sum(n == CAP_ALL for n in by_customer.values()),
            "minimum gaps kept": gaps,
        }

    def _rules(self) -> dict[str, Any]:
        """Nothing began to be sent when it must not, nor came to the provider long after it was judged."""
        starts = [(touch, at_us) for touch in self.touches.values() for at_us in touch.begun_us]
        for touch, at_us in starts:
            assert touch.send_us <= at_us < touch.expires_us, f"out of its window: {_told(touch, at_us)}"
            if touch.campaign == "receipts":
                continue
            late_us = LATENESS_S[touch.campaign] * 1_000_000
            assert at_us < touch.send_us + late_us, f"too late: {_told(touch, at_us)}"
            assert at_us < to_us(self.times.ends), f"after its campaign's end: {_told(touch, at_us)}"
            assert touch.zone is not None, f"sent to somebody without a zone: {touch}"
            assert not self._quiet(touch.zone, at_us), f"in quiet hours: {_told(touch, at_us)}"
        for each in self.taken:
            if each.touch.campaign == "receipts":
                continue  # some of them are under way when the clock is set
            under_way_us = min(
                (each.at_us - begun for begun in each.touch.begun_us if begun <= each.at_us), default=None
            )
            assert under_way_us is not None, f"taken before it was being sent: {_told(*each)}"
            assert under_way_us < UNDER_WAY_S * 1_000_000, f"long under way: {_told(*each)}"
        broken = [
            (ban, touch, at_us) for ban in self.told.forbidden for touch, at_us in starts if _bans(ban, touch, at_us)
        ]
        assert not broken, (
            f"{len(broken)} sent though forbidden: {[(ban, _told(touch, at_us)) for ban, touch, at_us in broken[:3]]}"
        )
        bans = {(ban.why, ban.customer, ban.from_us) for ban in self.told.forbidden}
        return {
            "times that sending began": len(starts),
            "forbidden meanwhile": dict(Counter(why for why, *_ in bans)),
        }

    def _quiet(self, zone: str, at_us: int) -> bool:
        local = from_us(at_us).astimezone(ZoneInfo(zone))
        clock = local.hour * 60 + local.minute
        for start, end in QUIET:
            begins, lasts = self.times.minute(start), round((end - start) * 60)
            if (clock - begins) % 1440 < lasts:
                return True
        return False

    def _events(self) -> dict[str, Any]:
        stored = [event_id for (event_id,) in self.place.sql("SELECT event_id FROM events")]
        assert len(set(stored)) == len(stored), "an event is stored twice"
        assert set(stored) >= self.told.events, "an event is lost"
        return {"events reported": len(stored)}

    def _reconciled(self) -> dict[str, Any]:
        """The service's own account adds up and says the same; every decision is what it logs."""
        attributes = load_attributes(ROOT / "configs" / "attributes.yaml")
        secret = Secret.from_file(self.place.folder / "secret")
        routes = Routes.to(FileSender(self.place.folder / "outbox"))
        engine = Engine.at(self.place.database, attributes, routes, timedelta(seconds=1), secret)
        verified = 0
        try:
            for campaign in RETRIES:
                found = engine.reconcile(campaign)
                states = Counter(each.state for each in self.touches.values() if each.campaign == campaign)
                told = {name: getattr(found, name) for name in ("bounced", "expired", "failed", "unknown")}
                told |= {"cancelled": sum(found.cancelled.values()), "sent": found.sent + found.delivered}
                stands = {name: states[name] for name in told}
                stands["sent"] += sum(states[name] for name in ("delivered", "opened", "clicked", "converted"))
                assert told == stands, (told, stands)
                assert found.decided == found.accounted, f"it does not add up: {found}"
                assert not found.planned
                count, failed = engine.verify_campaign(campaign)
                assert not failed, f"a decision is not what it says: {failed[:1]}"
                assert count == found.decided
                verified += count
        finally:
            engine.close()
        return {"decisions verified, and reconciled by the service": verified}


def _bans(ban: Forbidden, touch: Touch, at_us: int) -> bool:
    return (
        ban.from_us < at_us < ban.until_us
        and ban.customer in {None, touch.customer}
        and ban.campaign in {None, touch.campaign}
        and ban.channel in {None, touch.channel}
    )


def _clock(at_us: int) -> str:
    return f"{from_us(at_us).time()} UTC"


def _told(touch: Touch, at_us: int) -> str:
    return f"{_clock(at_us)}, {touch}"
