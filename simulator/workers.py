"""Who does work on the parts of a log: this process, or a cluster. Results come in the parts' order.

The same functions run in either, on one thread of linear algebra each, and what they return is merged in one place in
one order: so a result does not depend on who did the work, to the last digit. (Processors of another make may round
otherwise: a cluster of unlike machines agrees to about fifteen digits.)
"""

from __future__ import annotations

from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Protocol, TypeVar

import typer
from threadpoolctl import threadpool_limits

from optimizer.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

Part = TypeVar("Part")
Result = TypeVar("Result")


class EngineName(StrEnum):
    """What does the work."""

    LOCAL = "local"
    RAY = "ray"


EngineOption = Annotated[
    EngineName, typer.Option("--engine", help="What does the work: this process, or a Ray cluster.")
]


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


@contextmanager
def workers(engine: EngineName) -> Iterator[Workers]:
    """Those of this name, as long as the context lasts. Raises `InvalidInput` where Ray is not installed."""
    if engine is EngineName.LOCAL:
        yield Here()
        return
    try:
        from simulator.ray_workers import ray_workers  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise InvalidInput("--engine ray needs the extra: pip install 'campaign-optimizer[ray]'") from error
    with ray_workers() as found:
        yield found
