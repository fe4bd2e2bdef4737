"""Processes that act on one database for ever, each in several threads, and are killed at random moments."""

from __future__ import annotations

import multiprocessing
import threading
import time
import traceback
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from optimizer.errors import Conflict, NotFound, Unavailable

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

PROCESSES: Final = 3
EXPECTED: Final = (Unavailable, Conflict, NotFound)
"""What may be answered while others do the same, and processes end."""


def act_for_ever(acts: Sequence[Callable[[], None]], notes: Path) -> None:
    """Do each in a thread of its own, again and again; what is not expected is written down. Does not return."""

    def again(act: Callable[[], None]) -> None:
        while True:
            try:
                act()
            except* EXPECTED:
                time.sleep(0.02)
            except* BaseException:
                with notes.open("a") as file:
                    file.write(traceback.format_exc())
                raise

    threads = [threading.Thread(target=again, args=(act,), daemon=True) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@contextmanager
def acting(
    act: Callable[[str, int, Path], None], url: str, notes: Path, chance: random.Random
) -> Iterator[Callable[[], None]]:
    """Processes of `act` on a database, each with a seed of its own, killed at the end.

    What is given waits a while, kills one of them and starts another in its place.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([act.__module__])

    def started() -> Any:  # noqa: ANN401 - a process of this context
        process = context.Process(target=act, args=(url, chance.getrandbits(32), notes), daemon=True)
        process.start()
        return process

    def kill_one() -> None:
        time.sleep(chance.uniform(1.0, 2.0))
        unlucky = chance.choice(processes)
        unlucky.kill()
        unlucky.join()
        processes[processes.index(unlucky)] = started()

    processes = [started() for _ in range(PROCESSES)]
    try:
        yield kill_one
    finally:
        for process in processes:
            process.kill()
            process.join()
