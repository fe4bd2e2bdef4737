"""A provider whose answers a test writes, and its sender; it remembers everything that it was given."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from optimizer.dispatch.senders import SENT, Outcome, Result

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from optimizer.dispatch.senders import Outgoing

TEMPORARY = Outcome(Result.TEMPORARY, "try later")
PERMANENT = Outcome(Result.PERMANENT, "no such address")
UNKNOWN = Outcome(Result.UNKNOWN, "timed out")


class Scripted:
    """A sender that says of each touch what `script` says of it; what it was given is in `given`.

    `refused` counts how often it said, of each, that it was not sent.
    """

    def __init__(
        self, script: Callable[[Outgoing], Outcome] = lambda _: SENT, *, batch: int = 5_000, needs_address: bool = False
    ) -> None:
        self.script = script
        self.batch = batch
        self.needs_address = needs_address
        self.given: list[str] = []
        self.refused: Counter[str] = Counter()
        self.pages: list[int] = []
        self.during: Callable[[], Any] = bool

    def send(self, touches: Sequence[Outgoing]) -> Sequence[Outcome]:
        self.pages.append(len(touches))
        self.given += [touch.decision_id for touch in touches]
        self.during()
        outcomes = [self.script(touch) for touch in touches]
        for touch, outcome in zip(touches, outcomes, strict=True):
            if outcome.result in {Result.TEMPORARY, Result.PERMANENT}:
                self.refused[touch.decision_id] += 1
        return outcomes

    @property
    def times(self) -> Counter[str]:
        """How often each touch was given to it."""
        return Counter(self.given)


class Answering(Scripted):
    """The same, which can be asked afterwards."""

    answer: Outcome | None = SENT
    """What it says of each touch; None: what is true."""

    def ask(self, touches: Sequence[Outgoing]) -> Sequence[Outcome]:
        if self.answer is not None:
            return [self.answer] * len(touches)
        return [
            Outcome(Result.TEMPORARY) if self.times[each.decision_id] <= self.refused[each.decision_id] else SENT
            for each in touches
        ]
