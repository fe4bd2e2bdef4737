"""What every part of the service is given: where things are kept, what time it is, and how ids are made."""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import Event
from typing import TYPE_CHECKING

from optimizer.clock import Clock, now_us

if TYPE_CHECKING:
    from optimizer.attributes import Attributes
    from optimizer.ids import IdSource
    from optimizer.store import Store


@dataclass(frozen=True, slots=True)
class Runtime:
    """The store, the clock, the source of ids and the declared attributes of one service."""

    store: Store
    clock: Clock
    ids: IdSource
    attributes: Attributes
    stopping: Event = field(default_factory=Event)
    """Set when the service is to end: what goes through pages leaves the rest for the next start."""

    @property
    def tenant(self) -> str:
        """Whose data it is."""
        return self.store.tenant

    def now_us(self) -> int:
        """The clock's time, in microseconds since the epoch."""
        return now_us(self.clock)
