"""Random campaigns with contact rules, and customers with histories that come close to their limits."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from hypothesis import strategies as st

from optimizer.clock import to_us
from optimizer.facts import batch_of
from optimizer.versions import Version
from tests.optimizer.contact.reference import MINUTE, Person, Reference
from tests.optimizer.kernel import ZONES, campaign_of, instants, message, slot

if TYPE_CHECKING:
    from optimizer.campaign import CampaignFile
    from optimizer.choices import Batch

CHANNELS = ("ch0", "ch1", "letter")
STATES = ("planned", "leased", "unknown", "sent", "delivered", "opened", "bounced", "cancelled", "expired", "failed")
CHANGES = tuple(
    datetime.fromisoformat(text).replace(tzinfo=UTC)
    for text in ("2026-03-28T20:10", "2026-10-24T19:50", "2026-04-04T11:00", "2026-10-03T09:00", "2027-09-25T08:00")
)
"""Hours before the clocks of some of the zones change."""
BEGINS = tuple(f"{hour:02d}:{minute:02d}" for hour in (0, 1, 2, 7, 8, 9, 12, 18, 20, 21, 22, 23) for minute in (0, 30))
LENGTHS = ("1h", "20h", "1d", "2d", "7d", "30d")
EDGES = tuple(
    sign * hours * 4 + near for hours in (0, 1, 20, 24, 48, 168, 720) for sign in (-1, 1) for near in (-1, 0, 1)
)
"""In quarters of an hour: where these lengths begin and end, seen from an instant, and a little beside."""
DAYS = st.just("all") | st.lists(
    st.sampled_from(["mon", "tue", "wed", "thu", "fri", "sat", "sun"]), unique=True, min_size=1
)


@dataclass(frozen=True)
class Case:
    """A campaign, an instant, and customers."""

    campaign: CampaignFile
    now: datetime
    people: tuple[Person, ...]

    @cached_property
    def version(self) -> Version:
        return Version.of(self.campaign, "default")

    @cached_property
    def batch(self) -> Batch:
        return batch_for(self.version, self.now, self.people)

    def reference(self, row: int) -> Reference:
        return Reference(self.campaign, self.people[row], self.now)


def batch_for(version: Version, now: datetime, people: tuple[Person, ...]) -> Batch:
    """The customers as the decider takes them, read from what would be logged of them."""
    n = len(people)
    contexts, histories = [p.context for p in people], [p.history for p in people]
    return batch_of(version, to_us(now), ["0" * 32] * n, np.zeros(n, np.uint8), contexts, histories)


def _times(draw: st.DrawFn, name: str) -> dict[str, Any]:
    start, end = draw(st.lists(st.sampled_from(BEGINS), unique=True, min_size=2, max_size=2))
    channels = draw(st.sampled_from([None, None, ["ch0"], ["ch1"]]))
    rule = {"days": draw(DAYS), "from": start, "to": end, "channels": channels}
    return rule | ({"action": draw(st.sampled_from(["defer", "drop"]))} if name == "quiet_hours" else {})


def _window(draw: st.DrawFn) -> dict[str, Any]:
    if draw(st.booleans()):
        return {"rolling": draw(st.sampled_from(LENGTHS))}
    calendar = draw(st.sampled_from(["day", "week", "month"]))
    window = {"calendar": calendar, "clock": draw(st.sampled_from(["recipient", "campaign", "utc"]))}
    return window | ({"week_starts": draw(st.sampled_from(["mon", "wed", "sun"]))} if calendar == "week" else {})


def _cap(draw: st.DrawFn, *, scoped: bool) -> dict[str, Any]:
    counts = draw(st.sampled_from(["decided", "sent", "delivered"]))
    cap: dict[str, Any] = {"count": draw(st.integers(1, 3)), "window": _window(draw), "counts": counts}
    if scoped:
        cap["scope"] = draw(st.sampled_from(["all_campaigns", "campaign", "channel", "message", "offer"]))
        cap["channels"] = draw(st.sampled_from([None, None, ["ch0"], ["ch0", "letter"], ["ch1", "ch0"]]))
    return cap


def _cooldown(draw: st.DrawFn) -> dict[str, Any]:
    after: dict[str, Any] = {"event": draw(st.sampled_from(["bought", "left"]))}
    if draw(st.booleans()):
        after = {"ignored_touches": draw(st.integers(1, 3)), "within": draw(st.sampled_from(LENGTHS))}
        after |= draw(st.sampled_from([{}, {"ignored_after": "1h"}, {"ignored_after": "3d"}]))
    scope = draw(st.sampled_from(["all_campaigns", "campaign", "channel", "message", "offer"]))
    return {"after": after, "for": draw(st.sampled_from(LENGTHS)), "scope": scope}


def _blackout(draw: st.DrawFn, now: datetime) -> dict[str, Any]:
    start = now.replace(minute=0) + timedelta(hours=draw(st.integers(-30, 60)))
    until = start + timedelta(hours=draw(st.sampled_from([1, 5, 24, 70])))
    suffix = draw(st.sampled_from(["", "+00:00"]))
    kinds = (
        {"from": f"{start:%Y-%m-%dT%H:%M}{suffix}", "until": f"{until:%Y-%m-%dT%H:%M}{suffix}"},
        {"country": "US"},
        {"country_attr": "country"},
    )
    return draw(st.sampled_from(kinds)) | {"channels": draw(st.sampled_from([None, ["ch1"]]))}


def policies(draw: st.DrawFn, now: datetime) -> dict[str, Any]:
    """Rules of every kind."""

    def some(one: Any, most: int = 2) -> list[Any]:  # noqa: ANN401 -- makes a rule
        return [one() for _ in range(draw(st.integers(0, most)))]

    gap: Any = draw(
        st.sampled_from([None, "20h", {"channels": {"ch1": "2d"}}, {"overall": "1h", "channels": {"ch0": "1d"}}])
    )
    return {
        "quiet_hours": some(lambda: _times(draw, "quiet_hours")),
        "send_windows": some(lambda: _times(draw, "send_windows"), 1),
        "caps": some(lambda: _cap(draw, scoped=True), 3),
        "cooldowns": some(lambda: _cooldown(draw)),
        "blackouts": some(lambda: _blackout(draw, now), 1),
        "min_gap": gap,
    }


def campaigns_with_rules(draw: st.DrawFn, now: datetime, *, limits_only: bool = False) -> CampaignFile:
    """A campaign with messages, offers, channels and slots, and rules; `limits_only`: none but of how often."""
    channels, slots = draw(st.sampled_from([0, 2, 2])), draw(st.sampled_from([0, 0, 1, 2]))
    policy = policies(draw, now)
    if limits_only:
        policy |= {"quiet_hours": [], "send_windows": [], "blackouts": []}
    offer = {"id": "off10", "type": "discount", "value": 10, "unit": "percent"}
    ends = (now + timedelta(hours=11)).replace(minute=15).isoformat()
    active = {"from": "2025-12-01", "until": f"{now:%Y-%m-%d}"}
    messages = [
        message(
            i,
            channels,
            offer=draw(st.sampled_from([None, offer])),
            active=None if limits_only else draw(st.sampled_from([None, None, active])),
            caps=[_cap(draw, scoped=False)] if draw(st.booleans()) else (),
        )
        for i in range(2)
    ]
    campaign = campaign_of(
        messages=messages,
        channels=channels,
        slots=[
            slot(i, **{"from": begin, "to": end, "days": draw(DAYS)})
            for i, (begin, end) in enumerate([("09:00", "12:30"), ("18:00", "23:30")][:slots])
        ],
        settings={
            "timezone": draw(st.sampled_from([{}, {"if_missing": "use_fallback", "fallback": "America/New_York"}])),
            "max_touches_per_customer": None if limits_only else draw(st.sampled_from([None, None, 2])),
            "ends_at": None if limits_only else draw(st.sampled_from([None, None, ends])),
        },
        contact_policy=policy,
    )
    data = campaign.model_dump(mode="json", by_alias=True)
    for channel in data["catalog"]["channels"]:
        channel["consent"] = None if limits_only else draw(st.sampled_from([None, "ads"]))
    return type(campaign).model_validate(data)


def people(draw: st.DrawFn, now: datetime, *, limits_only: bool = False) -> Person:
    """A customer whose touches lie where limits begin and end, to the minute, and elsewhere."""
    facts: dict[str, Any] = {}
    if draw(st.integers(0, 3)):
        facts["consents"] = ["ads"]
    if not limits_only and not draw(st.integers(0, 4)):
        facts["barred"] = draw(st.sampled_from([{"ch0": "suppressed"}, {"ch1": "no_address"}, {"": "suppressed"}]))
    if not limits_only and not draw(st.integers(0, 9)):
        facts["excluded"] = draw(st.sampled_from(["excluded_by_other_campaign", "lower_priority"]))
    anchor = draw(st.sampled_from([now, now.replace(minute=0), now.replace(minute=0, hour=9)]))
    for name, kinds, soonest, most in (("touches", STATES, 5 * 24 * 4, 6), ("outcomes", ("bought", "left"), 0, 2)):
        quarters = st.sampled_from([edge for edge in EDGES if edge <= soonest]) | st.integers(-40 * 24 * 4, soonest)
        rows = [
            [
                to_us(anchor + 15 * MINUTE * draw(quarters)),
                draw(st.sampled_from(kinds)),
                draw(st.sampled_from(["c", "other", None])),
                draw(st.sampled_from([*CHANNELS, None])),
                draw(st.sampled_from(["m0", "m1", "gone", None])),
                draw(st.sampled_from(["off10", "off99", None])),
            ]
            for _ in range(draw(st.integers(0, most)))
        ]
        if rows:
            facts[name] = sorted(rows, key=lambda row: row[0])
    attributes = draw(st.sampled_from([{}, {"country": "MX"}, {"country": "DE"}, {"country": "Mordor"}]))
    zone = draw(st.sampled_from([*([] if limits_only else [None]), *ZONES]))
    return Person(zone, attributes, facts, draw(st.integers(0, 3)))


@st.composite
def cases(draw: st.DrawFn, *, most: int = 3, limits_only: bool = False) -> Case:
    """Campaigns, instants and customers."""
    now = draw(instants() | st.sampled_from(CHANGES))
    campaign = campaigns_with_rules(draw, now, limits_only=limits_only)
    n = draw(st.integers(1, most))
    return Case(campaign, now, tuple(people(draw, now, limits_only=limits_only) for _ in range(n)))
