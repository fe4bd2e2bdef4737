"""Work on a Ray cluster: that of `RAY_ADDRESS`, or one of this machine's processors that lasts as long as the work."""

from __future__ import annotations

import logging
from collections import deque
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any

from threadpoolctl import threadpool_limits

_RECORDS = logging.getLogRecordFactory()
import ray  # noqa: E402

logging.setLogRecordFactory(_RECORDS)  # Ray's adds a field of its own to every line that anybody logs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from simulator.workers import Part, Result

AHEAD = 2
"""How many parts are under way for each processor: enough that none waits, few enough that results fit in memory."""


@contextmanager
def ray_workers(processors: int | None = None) -> Iterator[RayWorkers]:
    """Joins the cluster of `RAY_ADDRESS`, else starts one with so many processes; all processors by default."""
    started = not ray.is_initialized()
    if started:
        ray.init(num_cpus=processors, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    try:
        yield RayWorkers()
    finally:
        if started:
            ray.shutdown()


class RayWorkers:
    """The workers of the cluster that this process has joined."""

    def map(self, function: Callable[[Part], Result], parts: Iterable[Part]) -> Iterator[Result]:
        """See `simulator.workers.Workers`. An error of the function is raised here, as it was there."""
        shared, left = ray.put(function), iter(parts)
        under_way = deque(_apply.remote(shared, part) for part in islice(left, self._room()))
        while under_way:
            result = _result(under_way.popleft())
            under_way.extend(_apply.remote(shared, part) for part in islice(left, 1))
            yield result

    @staticmethod
    def _room() -> int:
        return AHEAD * max(int(ray.cluster_resources().get("CPU", 1)), 1)  # type: ignore[no-untyped-call]


@ray.remote
def _apply(function: Callable[[Any], Any], part: Any) -> Any:  # noqa: ANN401 - whatever the function takes
    with threadpool_limits(1):
        return function(part)


def _result(under_way: Any) -> Any:  # noqa: ANN401 - a reference of Ray's
    try:
        return ray.get(under_way)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
