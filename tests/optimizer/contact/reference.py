"""The contact rules once more, of one customer and one arm, in plain Python, as their fields describe them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import holidays

from optimizer.clock import from_us
from optimizer.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from optimizer.campaign import CampaignFile
    from optimizer.catalog import Arm
    from optimizer.contact.policy import Blackout, CapWindow, MessageCap, QuietHours, SendWindow

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
ENDED = {"cancelled", "expired", "failed"}


def wall(instant: datetime, zone: ZoneInfo) -> datetime:
    """What the clocks there show, without a zone."""
    return instant.astimezone(zone).replace(tzinfo=None)


@lru_cache(maxsize=1 << 16)
def first_shown(local: datetime, zone: ZoneInfo) -> datetime:
    """The first minute at which clocks show this time or a later one."""
    instant = local.replace(tzinfo=zone).astimezone(UTC) - timedelta(hours=4)
    while wall(instant, zone) < local:
        instant += MINUTE
    return instant


@lru_cache(maxsize=1 << 16)
def last_shown(local: datetime, zone: ZoneInfo) -> datetime:
    """The last minute at which they come to this time; as much later as it lies inside of a gap."""
    instant = local.replace(tzinfo=zone).astimezone(UTC) + timedelta(hours=4)
    while wall(instant, zone) >= local:
        instant -= MINUTE
    return instant + (local - wall(instant, zone))


def closed(instant: datetime, rule: QuietHours, zone: ZoneInfo) -> bool:
    """Whether quiet hours hold at an instant."""
    return any(first_shown(a, zone) <= instant < last_shown(b, zone) for a, b in periods(instant, rule, zone))


def opened(instant: datetime, rule: SendWindow, zone: ZoneInfo) -> bool:
    """Whether a send window is open at an instant."""
    return any(last_shown(a, zone) <= instant < first_shown(b, zone) for a, b in periods(instant, rule, zone))


def periods(instant: datetime, rule: QuietHours | SendWindow, zone: ZoneInfo) -> Iterator[tuple[datetime, datetime]]:
    """The local times of those that begin on the days around an instant."""
    today = wall(instant, zone).date()
    for day in (today - 2 * DAY, today - DAY, today, today + DAY):
        if day.weekday() in [weekday.number for weekday in rule.days]:
            end = datetime.combine(day, rule.end)
            yield datetime.combine(day, rule.start), end if rule.end > rule.start else end + DAY


@lru_cache(maxsize=64)
def holidays_of(country: str, year: int) -> Any:  # noqa: ANN401 -- as the package has it
    return holidays.country_holidays(country, years=year)


@dataclass(frozen=True)
class Person:
    """What is known of a customer: the zone, attributes, and the logged contact facts."""

    zone: str | None
    attributes: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    touches: int = 0

    @property
    def context(self) -> dict[str, Any]:
        return {"attributes": self.attributes, "timezone": self.zone}

    @property
    def history(self) -> dict[str, Any]:
        return {"touches_in_campaign": self.touches, "contact": self.facts}


@dataclass(frozen=True)
class Reference:
    """One campaign's rules about one customer at one instant."""

    campaign: CampaignFile
    person: Person
    now: datetime

    @property
    def zone(self) -> ZoneInfo | None:
        return ZoneInfo(self.person.zone) if self.person.zone else None

    def reason(self, arm: Arm) -> Reason | None:
        """Why the customer may not have the arm; the first cause counts."""
        return next((reason for reason in self.reasons(arm) if reason is not None), None)

    def reasons(self, arm: Arm) -> Iterator[Reason | None]:
        if arm.message is None:
            return
        facts, settings = self.person.facts, self.campaign.campaign
        message = next(m for m in self.campaign.catalog.messages if m.id == arm.message)
        if "excluded" in facts:
            yield Reason(facts["excluded"])
        if arm.channel and arm.channel not in message.creatives:
            yield Reason.NO_CREATIVE_FOR_CHANNEL
        if self.zone is None and (arm.slot or self.needs_zone(arm)):
            yield Reason.NO_TIMEZONE
            return
        window = self.window(arm.slot)
        ends = settings.ends_at
        if window is None or (ends and window[0] >= ends):
            yield Reason.OUTSIDE_HORIZON
            return
        if ends:
            window = (window[0], min(window[1], ends))
        shut, send, _ = self.opening(arm.channel, *window)
        if message.active:
            local = wall(window[0] if arm.slot or shut else send, self.zone or ZoneInfo("UTC")).date()
            if not message.active.start <= local <= message.active.until:
                yield Reason.ARM_INACTIVE
        yield from self.barred(arm)
        yield shut
        most = settings.max_touches_per_customer
        if most is not None and self.person.touches >= most:
            yield Reason.MAX_TOUCHES
        yield self.limited(arm, send)

    def barred(self, arm: Arm) -> Iterator[Reason]:
        consent = next((c.consent for c in self.campaign.catalog.channels if c.id == arm.channel), None)
        if consent is not None and consent not in self.person.facts.get("consents", ()):
            yield Reason.NO_CONSENT
        barred = self.person.facts.get("barred", {})
        if {"", arm.channel} & barred.keys():
            yield Reason(barred.get(arm.channel) or barred[""])

    def held_back(self, arm: Arm) -> tuple[Reason | None, datetime | None]:
        """Why a touch of the arm must not go out at this instant, and if hours forbid it, when it next may."""
        if (reason := next(self.barred(arm), None)) is not None:
            return reason, None
        if self.zone is None and self.needs_zone(arm):
            return Reason.NO_TIMEZONE, None
        shut, send, _ = self.opening(arm.channel, self.now, self.now + DAY)
        if shut is not None or send > self.now:
            lit = self.is_lit(self.now, arm.channel)
            return Reason.QUIET_HOURS if lit else Reason.BLACKOUT, None if shut else send
        return self.limited(arm, self.now), None

    # Hours

    def rules(self, name: str, channel: str | None) -> list[Any]:
        policy = self.campaign.contact_policy
        listed = getattr(policy, name) if policy else ()
        return [rule for rule in listed if rule.channels is None or channel in rule.channels]

    def needs_zone(self, arm: Arm) -> bool:
        """Whether some rule about the arm is read on the recipient's clock."""
        blackouts = self.rules("blackouts", arm.channel)
        if any(rule.start is None or rule.start.tzinfo is None for rule in blackouts):
            return True
        if self.rules("quiet_hours", arm.channel) or self.rules("send_windows", arm.channel):
            return True
        caps = [cap.window for cap, _, obeys, _ in self.caps(arm) if obeys]
        return any(window.calendar and window.clock == "recipient" for window in caps)

    def dark(self, instant: datetime, rule: Blackout) -> bool:
        if rule.start is not None and rule.until is not None:
            if rule.start.tzinfo is not None:
                return rule.start <= instant < rule.until
            return self.zone is not None and (
                first_shown(rule.start, self.zone) <= instant < last_shown(rule.until, self.zone)
            )
        country = rule.country or self.person.attributes.get(rule.country_attr or "")
        if self.zone is None or country not in {"MX", "US", "DE"}:
            return False
        today = wall(instant, self.zone).date()
        return any(
            day in holidays_of(country, day.year)
            and first_shown(datetime.combine(day, time(0)), self.zone)
            <= instant
            < last_shown(datetime.combine(day + DAY, time(0)), self.zone)
            for day in (today - DAY, today, today + DAY)
        )

    def is_lit(self, instant: datetime, channel: str | None) -> bool:
        return not any(self.dark(instant, rule) for rule in self.rules("blackouts", channel))

    def is_open(self, instant: datetime, channel: str | None) -> bool:
        """Whether a touch that may wait would go out at this instant."""
        if not self.is_lit(instant, channel) or self.zone is None:
            return self.is_lit(instant, channel)
        quiet = [rule for rule in self.rules("quiet_hours", channel) if rule.action == "defer"]
        windows = self.rules("send_windows", channel)
        if windows and not any(opened(instant, rule, self.zone) for rule in windows):
            return False
        return not any(closed(instant, rule, self.zone) for rule in quiet)

    def is_dropping(self, instant: datetime, channel: str | None) -> bool:
        quiet = [rule for rule in self.rules("quiet_hours", channel) if rule.action == "drop"]
        return self.zone is not None and any(closed(instant, rule, self.zone) for rule in quiet)

    def opening(self, channel: str | None, start: datetime, end: datetime) -> tuple[Reason | None, datetime, datetime]:
        """Why nothing can be sent in a window, or None; when it is sent, and when it expires. By quarter hours.

        The times of policies are whole quarters, and so are all offsets of zones that are tested; a window may begin
        between them.
        """
        instants = [start, *quarters(start, end)]
        still = [instant for instant in instants if self.is_open(instant, channel)]
        if not still:
            dark = not any(self.is_lit(instant, channel) for instant in instants)
            return Reason.BLACKOUT if dark else Reason.QUIET_HOURS, start, end
        send = still[0]
        if self.is_dropping(send, channel):
            return Reason.QUIET_HOURS, start, end
        stops = [instant for instant in instants if instant > send and self.is_dropping(instant, channel)]
        until = stops[0] if stops else end
        last = max(instant for instant in still if instant < until)
        return None, send, min([instant for instant in instants if instant > last] + [until])

    def window(self, slot_id: str | None) -> tuple[datetime, datetime] | None:
        """A slot's window: the next one that some channel has something left of, else the next one."""
        if slot_id is None:
            return self.now, self.now + DAY
        timing, zone = self.campaign.catalog.timing, self.zone
        assert timing is not None
        assert zone is not None
        slot = next(s for s in timing.slots if s.id == slot_id)
        first: tuple[datetime, datetime] | None = None
        ends = self.campaign.campaign.ends_at
        for ahead in range(20):
            day = wall(self.now, zone).date() + ahead * DAY
            if day.weekday() not in [weekday.number for weekday in slot.days]:
                continue
            start = max(self.now, datetime.combine(day, slot.start, zone).astimezone(UTC))
            end = datetime.combine(day, slot.end, zone).astimezone(UTC)
            if start >= end:
                continue
            if start >= self.now + timing.horizon:
                break
            if ends and start >= ends:
                return first or (start, end)
            channels: list[str | None] = [c.id for c in self.campaign.catalog.channels]
            channels = channels or [None]
            cut = min(end, ends) if ends else end
            if any(self.opening(channel, start, cut)[0] is None for channel in channels):
                return start, end
            first = first or (start, end)
        return first

    # How often

    def limited(self, arm: Arm, send: datetime) -> Reason | None:
        policy = self.campaign.contact_policy
        if policy is None:
            return None
        for cooldown in policy.cooldowns:
            if self.cools(cooldown, arm, send):
                return Reason.COOLDOWN
        if any(obeys and self.is_full(cap, alike, send) for cap, alike, obeys, _ in self.caps(arm)):
            return Reason.CAP_REACHED
        gap = policy.min_gap
        standing = [t for t in self.touches() if t["state"] not in ENDED]
        if gap and gap.overall and any(abs(send - t["at"]) < gap.overall for t in standing):
            return Reason.MIN_GAP
        own = gap.channels.get(arm.channel or "") if gap else None
        if own and any(abs(send - t["at"]) < own for t in standing if t["channel"] == arm.channel):
            return Reason.MIN_GAP
        return None

    def caps(self, arm: Arm) -> Iterator[tuple[MessageCap, Callable[[dict[str, Any]], bool], bool, None]]:
        """Each cap, whether a touch counts for it together with the arm, and whether the arm obeys it."""
        policy = self.campaign.contact_policy
        for cap in policy.caps if policy else ():
            names = cap.channels

            def alike(t: dict[str, Any], scope: str = cap.scope, names: tuple[str, ...] | None = names) -> bool:
                return self.shares(t, arm, scope) and (names is None or t["channel"] in names)

            obeys = (names is None or arm.channel in names) and (cap.scope != "offer" or self.offer(arm) is not None)
            yield cap, alike, obeys and (cap.scope != "channel" or arm.channel is not None), None
        for message in self.campaign.catalog.messages:
            for each in message.caps:
                yield each, lambda t: self.shares(t, arm, "message"), message.id == arm.message, None

    def offer(self, arm: Arm) -> str | None:
        message = next(m for m in self.campaign.catalog.messages if m.id == arm.message)
        return message.offer.id if message.offer else None

    def shares(self, t: dict[str, Any], arm: Arm, scope: str) -> bool:
        """Whether a touch or an event has in common with the arm what a scope counts together."""
        mine = t["campaign"] == self.campaign.id
        together: dict[str, bool] = {
            "all_campaigns": True,
            "campaign": mine,
            "channel": arm.channel is not None and t["channel"] == arm.channel,
            "message": mine and t["message"] == arm.message,
            "offer": self.offer(arm) is not None and t["offer"] == self.offer(arm),
        }
        return together[scope]

    def touches(self) -> list[dict[str, Any]]:
        return self.listed("touches", "state")

    def listed(self, name: str, what: str) -> list[dict[str, Any]]:
        names = ("at", what, "campaign", "channel", "message", "offer")
        rows = [dict(zip(names, row, strict=True)) for row in self.person.facts.get(name, ())]
        return [row | {"at": from_us(row["at"])} for row in rows]

    def is_full(self, cap: MessageCap, alike: Callable[[dict[str, Any]], bool], send: datetime) -> bool:
        """Whether a touch more would make too many in some window that it lies in."""
        uncounted = {"decided": set[str](), "sent": ENDED, "delivered": ENDED | {"bounced"}}[cap.counts]
        times = [t["at"] for t in self.touches() if alike(t) and t["state"] not in uncounted]
        width = cap.window.rolling
        if width is None:
            return sum(self.period(cap.window, at) == self.period(cap.window, send) for at in times) >= cap.count
        starts = [at for at in [*times, send] if send - width < at <= send]
        return any(sum(start <= at < start + width for at in times) >= cap.count for start in starts)

    def period(self, window: CapWindow, instant: datetime) -> date | tuple[int, int]:
        settings = self.campaign.campaign
        campaign_zone = settings.timezone.fallback or (settings.schedule.timezone if settings.schedule else "UTC")
        name = {"recipient": self.person.zone or "UTC", "utc": "UTC", "campaign": campaign_zone}[window.clock]
        day = wall(instant, ZoneInfo(name)).date()
        if window.calendar == "day":
            return day
        if window.calendar == "month":
            return day.year, day.month
        return day - ((day.weekday() - window.week_starts.number) % 7) * DAY

    def cools(self, cooldown: Any, arm: Arm, send: datetime) -> bool:  # noqa: ANN401 -- a cooldown
        after, length = cooldown.after, cooldown.length
        if cooldown.scope == "offer" and self.offer(arm) is None:
            return False
        if after.event is not None:
            events = [o for o in self.listed("outcomes", "event") if o["event"] == after.event]
            return any(o["at"] <= send < o["at"] + length for o in events if self.shares(o, arm, cooldown.scope))
        ignored = [
            t["at"]
            for t in self.touches()
            if self.shares(t, arm, cooldown.scope)
            and t["state"] in {"sent", "delivered"}
            and t["at"] + after.ignored_after <= self.now
        ]
        return any(
            last <= send < last + length
            and sum(last - after.within < at <= last for at in ignored) >= after.ignored_touches
            for last in ignored
        )


def quarters(start: datetime, end: datetime) -> Iterator[datetime]:
    """Every quarter of an hour inside of a window, its beginning left out."""
    instant = start.replace(minute=start.minute - start.minute % 15, second=0, microsecond=0)
    while (instant := instant + 15 * MINUTE) < end:
        yield instant
