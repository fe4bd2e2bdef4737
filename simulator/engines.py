"""What does the work on the parts of a log, as commands name it: this process, or a Ray cluster."""

from __future__ import annotations

from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from optimizer.errors import InvalidInput
from simulator.workers import Here

if TYPE_CHECKING:
    from collections.abc import Iterator

    from simulator.workers import Workers


class EngineName(StrEnum):
    """What does the work."""

    LOCAL = "local"
    RAY = "ray"


EngineOption = Annotated[
    EngineName, typer.Option("--engine", help="What does the work: this process, or a Ray cluster.")
]


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
