"""What the chaos test of dispatch sends: its campaigns, their contact rules, and the times of a load.

During the load some quiet hours end and others begin; with it the campaigns end.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from math import ceil
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import datetime

ZONES: Final = ("UTC", "Asia/Tokyo", "Asia/Kolkata", "America/Bogota", None)
"""The zones of the customers, in turn: quiet from the middle of the load on, until then, always, never; unknown."""
CONSENT: Final = "marketing"
CHANNELS: Final = ("hook", "asked", "again")

CAP_ALL: Final = 3
CAP_CHANNEL: Final = 2
MAX_TOUCHES: Final = 2
MIN_GAP_S: Final = 2
LATENESS_S: Final = {"singles": 6, "runs": 10}
RETRIES: Final = {"singles": 3, "runs": 3, "receipts": 20}
QUIET: Final = ((0, 3), (6, 9), (4, 7))
"""Quiet hours of the recipient's clock, relative to the turn in UTC: then they begin for UTC and end for Tokyo (+9); in
Kolkata (+5:30) they last, in Bogota (-5) there are none."""

_HOOK: Final = f"""\
  messages: [{{id: warm, creatives: {{hook: {{template: warm, version: 1}}}}}}]
  channels: [{{id: hook, cost: 0.0, consent: {CONSENT}}}]
"""
_CHANNELS: Final = f"""\
  messages:
    - {{id: warm, creatives: {{hook: {{template: warm, version: 1}}, asked: {{template: warm, version: 1}}}}}}
    - {{id: direct, creatives: {{hook: {{template: direct, version: 1}}}}}}
  channels:
    - {{id: hook, cost: 0.0, consent: {CONSENT}}}
    - {{id: asked, cost: 0.0, consent: {CONSENT}}}
"""
_RECEIPTS: Final = f"""\
version: 1
campaign: {{id: receipts, name: Receipts, category: transactional, starts_at: 2020-01-01T00:00:00Z}}
catalog:
  messages:
    - id: paid
      creatives:
        hook: {{template: paid, version: 1}}
        asked: {{template: paid, version: 1}}
        again: {{template: paid, version: 1}}
  channels: [{{id: hook, cost: 0.0}}, {{id: asked, cost: 0.0}}, {{id: again, cost: 0.0}}]
  no_send: false
policy: {{kind: uniform}}
delivery: {{retries: {{max: {RETRIES["receipts"]}, first: 1s}}}}
reward:
  events: [{{name: clicked, value: 1, window: 1d}}]
"""


@dataclass(frozen=True, slots=True)
class Times:
    """The instants of a load: it begins at `begins`, the quiet hours change at `turns`, the campaigns end at `ends`."""

    begins: datetime
    turns: datetime
    ends: datetime

    @classmethod
    def soon(cls, now: datetime, seconds: float) -> Times:
        """Those of a load of so many seconds that is to begin soon: the turn, a whole minute, is a little before half.

        No slot that begins there may end after midnight.
        """
        turns = now.replace(second=0, microsecond=0) + timedelta(minutes=2 + ceil(0.45 * seconds / 60))
        while any(_local(turns, zone).hour == 23 and _local(turns, zone).minute > 56 for zone in (-5, 9)):
            turns += timedelta(minutes=1)
        begins = turns - timedelta(seconds=0.45 * seconds)
        return cls(begins, turns, begins + timedelta(seconds=seconds + 1))

    def minute(self, hours: float) -> int:
        """The minute of the day on a clock that many hours after the turn's, in UTC."""
        at = self.turns + timedelta(hours=hours)
        return at.hour * 60 + at.minute

    def campaigns(self) -> dict[str, str]:
        """The campaigns: `singles` and `runs`, which obey the contact policy, and `receipts`, which does not."""
        return {
            "singles": _campaign("singles", self.ends, _CHANNELS, _policy(self.turns)),
            "runs": _campaign("runs", self.ends, _HOOK, _policy(self.turns), _slots(self.turns)),
            "receipts": _RECEIPTS,
        }


def _local(instant: datetime, hours: int) -> datetime:
    return instant + timedelta(hours=hours)


def _clock_time(turns: datetime, hours: float) -> str:
    return (turns + timedelta(hours=hours)).strftime("%H:%M")


def _policy(turns: datetime) -> str:
    lines = [
        f'    - {{days: all, from: "{_clock_time(turns, start)}", to: "{_clock_time(turns, end)}"}}\n'
        for start, end in QUIET
    ]
    return f"""\
contact_policy:
  quiet_hours:
{"".join(lines)}\
  caps:
    - {{id: all, count: {CAP_ALL}, window: {{rolling: 1h}}}}
    - {{id: each, count: {CAP_CHANNEL}, window: {{rolling: 1h}}, scope: channel}}
  min_gap: {MIN_GAP_S}s
"""


def _slots(turns: datetime) -> str:
    slots = []
    for name, hours in (("bogota", -5), ("tokyo", 9)):
        start = _local(turns, hours)
        end = min(start + timedelta(minutes=30), start.replace(hour=23, minute=59))
        slots.append(f'      - {{id: {name}, days: all, from: "{start:%H:%M}", to: "{end:%H:%M}"}}\n')
    return "  timing:\n    horizon: 1h\n    slots:\n" + "".join(slots)


def _campaign(name: str, ends: datetime, channels: str, policy: str, timing: str = "") -> str:
    return f"""\
version: 1
campaign:
  id: {name}
  name: {name}
  starts_at: 2020-01-01T00:00:00Z
  ends_at: {ends.strftime("%Y-%m-%dT%H:%M:%SZ")}
  max_touches_per_customer: {MAX_TOUCHES}
catalog:
{channels}{timing}\
  no_send: true
policy: {{kind: uniform}}
{policy}\
delivery: {{max_lateness: {LATENESS_S[name]}s, retries: {{max: {RETRIES[name]}, first: 1s}}}}
reward:
  events: [{{name: clicked, value: 1, window: 1d}}]
"""


def channels(url: str, secret: str, timeout_s: int) -> str:
    """The channels in the settings: all lead to one provider.

    What is in doubt on `hook` stays so; of `asked` the provider is asked; on `again` it is sent again.
    """
    common = f'kind: webhook, url: "{url}", secret: {secret}, allow_private: true, timeout: {timeout_s}s'
    return f"""\
channels:
  hook: {{{common}}}
  asked: {{{common}, status_url: "{url}/{{id}}"}}
  again: {{{common}, guarantee: at_least_once}}
"""
