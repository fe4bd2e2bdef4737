"""How fast dsjson is read: lines as a service with 40 actions writes them, and the lines of a real service's log."""

from __future__ import annotations

import gzip
from functools import partial
from itertools import chain, islice, repeat
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from benchmarks.data import shared
from benchmarks.figures import Figure, rates
from simulator.logs.dsjson import DsjsonLog
from simulator.logs.reading import Intake

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

TITLE = "Reading dsjson: decisions a second on one core, 40 actions, a context of 12 features"
ROUNDS = 5
LINES = 100_000
ARMS = 40
SUBSETS = 200
REAL = "vw/decisionservice.json.gz"
REAL_LINES = 5_000


def figures() -> Iterator[Figure]:
    """The service whose actions are the same in all lines has the target; the others stand beside it."""
    rng = np.random.default_rng(1)
    every = _actions(range(ARMS))
    some = [_actions(sorted(rng.choice(ARMS, 20, replace=False).tolist())) for _ in range(SUBSETS)]
    with TemporaryDirectory() as folder:
        files = {name: Path(folder) / name for name in ("same.dsjson", "subsets.dsjson", "fresh.dsjson", "real.dsjson")}
        _write(files["same.dsjson"], (_line(rng, every) for _ in range(LINES)))
        _write(files["subsets.dsjson"], (_line(rng, some[rng.integers(SUBSETS)]) for _ in range(LINES // 5)))
        _write(files["fresh.dsjson"], (_line(rng, _scored(rng, every)) for _ in range(LINES // 5)))
        packed = Path(folder) / "same.dsjson.gz"
        packed.write_bytes(gzip.compress(b"".join(islice(files["same.dsjson"].open("rb"), LINES // 5)), 6))
        works = {name: partial(_read, path) for name, path in files.items() if name != "real.dsjson"}
        works["gz"] = partial(_read, packed)
        try:
            with gzip.open(shared(REAL)) as file:
                lines = file.readlines()
        except FileNotFoundError:
            lines = []
        if lines:
            _write(files["real.dsjson"], islice(chain.from_iterable(repeat(lines)), REAL_LINES))
            works["real"] = partial(_read, files["real.dsjson"])
        measured = {name: median(each) for name, each in rates(works, ROUNDS).items()}
        size = {name: path.stat().st_size for name, path in files.items() if path.exists()}
    note = f"{size['same.dsjson'] / LINES / 1e3:.1f} kB a line"
    yield Figure("the same 40 actions in every line", measured["same.dsjson"], "{:,.0f}/s", 50_000, note=note)
    yield Figure("the same, gzipped", measured["gz"], "{:,.0f}/s")
    yield Figure(f"20 of 40 actions, {SUBSETS} choices of these", measured["subsets.dsjson"], "{:,.0f}/s")
    yield Figure("40 actions, each line's with numbers of its own", measured["fresh.dsjson"], "{:,.0f}/s")
    if lines:
        note = f"{REAL}: its {len(lines)} lines again and again, {size['real.dsjson'] / REAL_LINES / 1e3:.1f} kB each"
        yield Figure("a real service's lines", measured["real"], "{:,.0f}/s", note=note)


def _read(path: Path) -> int:
    intake = Intake(strict=True)
    return sum(map(len, DsjsonLog(path).chunks(intake)))


def _write(path: Path, lines: Iterable[bytes]) -> None:
    with path.open("wb") as file:
        file.writelines(lines)


def _actions(arms: Iterable[int]) -> list[dict[str, Any]]:
    """What a service tells of arms: an id, a topic and a number each."""
    ids = [(arm, f"message-{arm % 10}.email.{arm // 10}") for arm in arms]
    topics = ("news", "sale", "tips")
    return [
        {"_tag": name, "i": {"constant": 1, "id": name}, "j": [{"topic": topics[arm % 3], "length": arm / 10}]}
        for arm, name in ids
    ]


def _scored(rng: np.random.Generator, actions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Actions with a number that is another one in every line."""
    return [{**each, "s": {"score": score}} for each, score in zip(actions, rng.random(ARMS).tolist(), strict=True)]


def _line(rng: np.random.Generator, actions: list[dict[str, Any]]) -> bytes:
    ranked = rng.permutation(len(actions)) + 1
    # Services log probabilities as 32-bit floats.
    p = [float(f"{each:.9g}") for each in rng.dirichlet(np.ones(len(actions))).astype(np.float32).tolist()]
    clicks, opens, days = rng.random(3).round(6).tolist()
    context = {
        "User": {"age": int(rng.integers(18, 80)), "plan": "plus", "_id": "u", "vip": bool(rng.integers(2))},
        "Geo": {"country": "United States", "state": "Louisiana", "city": "New Orleans"},
        "Device": {"os": "Windows 7", "type": "Desktop"},
        "Past": {"clicks": clicks, "opens": opens, "days": days, "touches": int(rng.integers(9))},
        "_multi": actions,
    }
    event_id = rng.bytes(16).hex()
    value = {
        "_label_cost": -float(rng.integers(2)),
        "_label_probability": p[0],
        "_label_Action": int(ranked[0]),
        "_labelIndex": int(ranked[0]) - 1,
        "o": [{"v": 1.0, "EventId": event_id, "ActionTaken": False}],
        "Timestamp": "2026-01-15T16:24:44.1234567Z",
        "Version": "1",
        "EventId": event_id,
        "a": ranked.tolist(),
        "c": context,
        "p": p,
        "VWState": {"m": "0123456789abcdef0123456789abcdef/0123456789abcdef0123456789abcdef"},
    }
    return orjson.dumps(value) + b"\n"
