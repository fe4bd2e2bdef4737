"""Who does work on the parts of a log: this process, or a cluster. Results come in the parts' order.

The same functions run in either, on one thread of linear algebra each, and what they return is merged in one place in
one order: so a result does not depend on who did the work, to the last digit. (Processors of another make may round
otherwise: a cluster of unlike machines agrees to about fifteen digits.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

from threadpoolctl import threadpool_limits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

Part = TypeVar("Part")
Result = TypeVar("Result")


class Workers(Protocol):
    """Applies a function to parts, anywhere."""

    def map(self, function: Callable[[Part], Result], parts: Iterable[Part]) -> Iterator[Result]:
        """What the function makes of each part, in their order, whoever is done first.

        Function, parts and results must be picklable; what the function returns may depend on its part alone.
        """


class Here:
    """This process, one part after the other."""

    def map(self, function: Callable[[Part], Result], parts: Iterable[Part]) -> Iterator[Result]:
        """See `Workers`."""
        for part in parts:
            with threadpool_limits(1):
                result = function(part)
            yield result
