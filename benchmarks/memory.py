"""How much memory processes have while they work, and whether it grows."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Final, Self

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

_EVERY_S: Final = 0.5
_PARTS: Final = 20
_T_95: Final = 2.101
"""Student's t with 18 degrees of freedom: the 95% interval of a slope through 20 points."""
_MIB: Final = 1 << 20
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Growth:
    """A process's memory after the warm-up.

    Attributes:
        mean_mib: the mean.
        slope_mib: how much it grows a minute.
        within_mib: half the 95% interval of that.
    """

    mean_mib: float
    slope_mib: float
    within_mib: float

    def is_flat(self, allowed_mib: float) -> bool:
        """Whether the samples are compatible with a growth of at most so much a minute."""
        return self.slope_mib - self.within_mib <= allowed_mib

    def line(self) -> str:
        """As it is printed."""
        return f"{self.mean_mib:,.0f} MiB, {self.slope_mib:+.2f} +- {self.within_mib:.2f} MiB a minute"


class Watched:
    """Samples the resident memory of processes, by name, while it is entered."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = pids
        self._samples: dict[str, list[tuple[float, float]]] = {name: [] for name in pids}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def growth(self, warm_up: float) -> dict[str, Growth]:
        """Of each process, without this share of the time at the beginning."""
        return {name: _growth(samples, warm_up) for name, samples in self._samples.items()}

    def _work(self) -> None:
        begin = monotonic()
        while not self._over.wait(_EVERY_S):
            for name, pid in self._pids.items():
                self._samples[name].append(((monotonic() - begin) / 60, resident_bytes(pid) / _MIB))


def peak_bytes() -> int:
    """The largest resident memory of this process: not `ru_maxrss`, which begins with that of who started it."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])


def resident_bytes(pid: int) -> int:
    """The resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * _PAGE


def _growth(samples: Sequence[tuple[float, float]], warm_up: float) -> Growth:
    """A line through the means of equal parts: neighbouring samples depend on each other, and means of parts hardly do.

    Ordinary least squares; the interval is that of its slope.
    """
    kept = np.array(samples[int(len(samples) * warm_up) :])
    parts = np.array([part.mean(axis=0) for part in np.array_split(kept, _PARTS)])
    at, mib = parts.T
    slope, start = np.polyfit(at, mib, 1)
    left = mib - (start + slope * at)
    error = np.sqrt((left @ left) / (_PARTS - 2) / ((at - at.mean()) @ (at - at.mean())))
    return Growth(float(mib.mean()), float(slope), float(_T_95 * error))
