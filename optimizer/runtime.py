"""What every part of the service is given: where things are kept, what time it is, and how ids are made."""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import Event
from typing import TYPE_CHECKING, TypeVar

from optimizer.clock import Clock, now_us
from optimizer.ids import DEFAULT_TENANT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from optimizer.attributes import Attributes
    from optimizer.dispatch.routes import Routes
    from optimizer.ids import IdSource
    from optimizer.secret import Secret
    from optimizer.store import Store

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Runtime:
    """The store, the clock, the source of ids, the declared attributes and the secret of one service."""

    store: Store
    clock: Clock
    ids: IdSource
    attributes: Attributes
    secret: Secret
    tenant: str = DEFAULT_TENANT
    """Whose data it is: what the query functions are given."""
    stopping: Event = field(default_factory=Event)
    """Set when the service is to end: what goes through pages leaves the rest for the next start."""
    routes: Routes | None = None
    """What carries out the touches of each channel; None where nothing is sent."""

    def now_us(self) -> int:
        """The clock's time, in microseconds since the epoch."""
        return now_us(self.clock)


def total(act: Callable[[T], int], each: Iterable[T]) -> int:
    """The sum of what `act` does for each, all of them: one campaign that fails holds up no other.

    Raises ExceptionGroup with what was raised, after the last.
    """
    done, errors = 0, []
    for one in each:
        try:
            done += act(one)
        except Exception as error:  # noqa: BLE001 - raised again below
            errors.append(error)
    if errors:
        raise ExceptionGroup(f"{len(errors)} of several failed", errors)
    return done
