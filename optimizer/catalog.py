"""Messages x channels x timing slots -> arms, and when each arm would be sent to somebody in a given time zone.

A slot ("weekday evening") resolves, for one zone and one instant, to its next window within the horizon. What varies
with the zone is only the weekday and the number of days ahead: these are a slot's finite variants, and the variants of
all slots together are a `Schedule`. Customers of one time zone, decided at one instant, share one schedule; scores are
compiled once for each distinct one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np

from optimizer.campaign import NO_SEND, CampaignFile, Message, Slot
from optimizer.clock import to_us
from optimizer.reasons import ALLOWED, Reason
from optimizer.scalars import Weekday

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from numpy.typing import NDArray

WEEKDAYS = tuple(Weekday)

TOUCH_LIFETIME_US = 24 * 3_600_000_000
"""How long a touch without a timing slot waits to be sent or shown."""


@dataclass(frozen=True, slots=True)
class Arm:
    """One combination; `channel` and `slot` are None without such a dimension, all three for no_send."""

    message: str | None
    channel: str | None
    slot: str | None

    @property
    def id(self) -> str:
        """`message/channel/slot` with the dimensions that there are, or `no_send`."""
        return "/".join(part for part in (self.message, self.channel, self.slot) if part is not None) or NO_SEND


@dataclass(frozen=True, slots=True)
class Window:
    """A slot's next window.

    Attributes:
        send_us, end_us: when a touch would be sent and when the window is over, UTC microseconds.
        weekday, days_ahead, day: where it lies, recipient's local time.
    """

    send_us: int
    end_us: int
    weekday: str
    days_ahead: int
    day: date


@dataclass(frozen=True, slots=True)
class Schedule:
    """The windows of all slots for one zone at one instant; None for a slot without one within the horizon.

    Attributes:
        now_us: the instant.
        windows: one a slot, in the catalog's order; empty where the campaign has no slots.
        today: the local date at the instant, UTC's where no zone is known.
        zone: that zone; None where it is not known, and arms with a slot cannot be timed at all.
    """

    now_us: int
    windows: tuple[Window | None, ...]
    today: date
    zone: ZoneInfo | None

    @property
    def send_us(self) -> tuple[int, ...]:
        """When a touch would be sent, UTC microseconds, in each of the catalog's cells."""
        return tuple(w.send_us if w else self.now_us for w in self.windows) or (self.now_us,)

    @property
    def variants(self) -> tuple[tuple[str, int] | None, ...]:
        """What of it the scores depend on: weekday and days ahead of each slot."""
        return tuple(None if w is None else (w.weekday, w.days_ahead) for w in self.windows)


class Catalog:
    """The arms of a campaign, in a fixed order: messages, within them channels, within them slots; no_send last.

    Attributes:
        arms: all K combinations, those that nobody can get included (they are removed with their reason).
        message_of, channel_of, slot_of: (K,) index into the campaign's messages, channels and slots, -1 where there is
            none.
        cell_of: (K,) index of each arm's time of sending among those of a schedule; 0 of no_send.
        offers: the ids of the messages' offers.
        offer_of: (messages,) index into `offers`, -1 for messages without one.
        no_send: index of no_send, -1 where the campaign does not have it.
    """

    def __init__(self, campaign: CampaignFile) -> None:
        spec = campaign.catalog
        self.messages: tuple[Message, ...] = tuple(spec.messages)
        self.channels = tuple(spec.channels)
        self.slots: tuple[Slot, ...] = tuple(spec.timing.slots) if spec.timing else ()
        self.horizon = spec.timing.horizon if spec.timing else timedelta(0)
        self._ends_us = to_us(campaign.campaign.ends_at) if campaign.campaign.ends_at else None
        channels: list[tuple[int, str | None]] = [(i, c.id) for i, c in enumerate(self.channels)]
        slots: list[tuple[int, str | None]] = [(i, s.id) for i, s in enumerate(self.slots)]
        rows = [
            (Arm(m.id, channel, slot), i, j, k)
            for i, m in enumerate(self.messages)
            for j, channel in channels or [(-1, None)]
            for k, slot in slots or [(-1, None)]
        ]
        if spec.no_send:
            rows.append((Arm(None, None, None), -1, -1, -1))
        self.arms = tuple(row[0] for row in rows)
        self.message_of = np.array([row[1] for row in rows])
        self.channel_of = np.array([row[2] for row in rows])
        self.slot_of = np.array([row[3] for row in rows])
        self.cell_of = np.maximum(self.slot_of, 0)
        offers = [message.offer.id if message.offer else None for message in self.messages]
        self.offers = tuple(dict.fromkeys(offer for offer in offers if offer is not None))
        self.offer_of = np.array([self.offers.index(offer) if offer is not None else -1 for offer in offers])
        self.no_send = len(rows) - 1 if spec.no_send else -1
        missing = [arm.channel not in self.messages[m].creatives if arm.channel else False for arm, m, _, _ in rows]
        self._without_creative = np.where(missing, Reason.NO_CREATIVE_FOR_CHANNEL.code, ALLOWED).astype(np.uint8)
        self.index = {arm.id: i for i, arm in enumerate(self.arms)}

    def __len__(self) -> int:
        return len(self.arms)

    def schedule(self, zone: ZoneInfo | None, now: datetime) -> Schedule:
        """When each slot would come next in `zone` (None: not known) after `now`.

        A local time inside a daylight-saving gap is moved forward by the gap; of a time that occurs twice the first is
        meant.
        """
        local = now.astimezone(zone or UTC)
        windows = tuple(self._window(slot, zone, now) for slot in self.slots) if zone else (None,) * len(self.slots)
        return Schedule(to_us(now), windows, local.date(), zone)

    def _window(self, slot: Slot, zone: ZoneInfo, now: datetime) -> Window | None:
        today = now.astimezone(zone).date()
        # One day more for the part of a day in the horizon, one for a night that is shorter than others.
        for ahead in range(self.horizon.days + 3):
            day = today + timedelta(days=ahead)
            weekday = WEEKDAYS[day.weekday()]
            if weekday not in slot.days:
                continue
            end = datetime.combine(day, slot.end, zone).astimezone(UTC)
            send = max(datetime.combine(day, slot.start, zone).astimezone(UTC), now)
            if send >= end:
                continue
            if send >= now + self.horizon:
                return None
            return Window(to_us(send), to_us(end), weekday.value, ahead, day)
        return None

    def removed(self, schedule: Schedule) -> NDArray[np.uint8]:
        """(K,) code of the reason for which an arm cannot be had by anybody on this schedule, 0 where it can.

        A message's active days are judged by the recipient's local date at the send, by UTC's where no zone is known.
        """
        codes = self._without_creative.copy()
        if self.slots:
            slots = np.array([self._slot_reason(schedule, window) for window in schedule.windows], np.uint8)
            codes = np.where((codes == ALLOWED) & (self.slot_of >= 0), slots[self.slot_of], codes)
        elif self._ends_us is not None and schedule.now_us >= self._ends_us:
            codes[self.message_of >= 0] = Reason.OUTSIDE_HORIZON.code
        for m, message in enumerate(self.messages):
            if message.active is not None:
                days = [window.day if window else schedule.today for window in schedule.windows] or [schedule.today]
                inactive = np.array([not message.active.start <= day <= message.active.until for day in days])
                codes[(self.message_of == m) & (codes == ALLOWED) & inactive[self.slot_of]] = Reason.ARM_INACTIVE.code
        return codes

    def _slot_reason(self, schedule: Schedule, window: Window | None) -> int:
        if schedule.zone is None:
            return Reason.NO_TIMEZONE.code
        late = window is None or (self._ends_us is not None and window.send_us >= self._ends_us)
        return Reason.OUTSIDE_HORIZON.code if late else ALLOWED
