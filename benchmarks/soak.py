"""`python -m benchmarks.soak MINUTES`: mixed load on real processes for so long; then everything has to be in order.

Half of the time on PostgreSQL with two processes that answer and one that works, half on SQLite with one that does all.
No request may fail, nothing may be logged as an error, no process may grow, and the counts of both sides have to agree.
The exit code is 1 where something is wrong.
"""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

import orjson

from benchmarks import data, machine, postgres, reconcile, services, soak_load
from benchmarks.figures import section
from benchmarks.memory import Watched

if TYPE_CHECKING:
    from collections.abc import Sequence

WARM_UP: Final = 1 / 2
"""The share of the time in which memory may grow: the connections' caches fill, threads come, a model is learned."""
ALLOWED_MIB: Final = 1.0
"""The growth a minute that counts as none."""
_CAMPAIGN: Final = {
    "version": 1,
    "campaign": {"id": soak_load.CAMPAIGN, "name": "Soak", "starts_at": "2020-01-01T00:00:00Z"},
    "groups": {"holdout": 0.1, "random_control": 0.1},
    "features": [
        {"name": "plan", "bucket": "customer", "type": "category"},
        {"name": "days_inactive", "bucket": "customer", "type": "number"},
    ],
    "catalog": {
        "messages": [
            {"id": name, "creatives": {channel: {"template": name, "version": 1} for channel in ("email", "in_app")}}
            for name in ("warm", "direct", "playful")
        ],
        "channels": [{"id": "email", "cost": 0.0}, {"id": "in_app", "cost": 0.0, "dispatch": "caller"}],
        "no_send": True,
    },
    "reward": {"lateness": "5s", "events": [{"name": "bought", "value": 1, "window": "20s"}]},
}
_ERRORS: Final = frozenset({"error", "critical"})


def main(minutes: float) -> bool:
    """Soak both, and print what was counted; whether all is well."""
    print(machine.describe())
    # Each of glibc's arenas, one for nearly every thread, fills for minutes before it is as large as it will be.
    os.environ.setdefault("MALLOC_ARENA_MAX", "2")
    seconds = minutes * 60 / 2
    with TemporaryDirectory() as name, postgres.server() as server:
        folder = Path(name)
        for database in ("postgres", "sqlite"):
            (folder / database).mkdir()
        good = [
            _soaked(
                "PostgreSQL, 2 x api and 1 x worker",
                server.database(),
                ["api", "api", "worker"],
                folder / "postgres",
                seconds,
            ),
            _soaked("SQLite, 1 x all", f"sqlite:///{folder}/sqlite/soak.db", ["all"], folder / "sqlite", seconds),
        ]
    return all(good)


def _soaked(title: str, url: str, roles: Sequence[str], folder: Path, seconds: float) -> bool:
    settings = _settings(url, folder)
    with section(f"{title}, {seconds:.0f} s"), ExitStack() as stack:
        running = {}
        for number, role in enumerate(roles):
            command = services.optimizer("serve", "--config", str(settings), "--role", role, "--port")
            running[f"{role} {number}"] = stack.enter_context(services.running(command, folder))
        ports = [running[name].port for name in running if not name.startswith("worker")]
        soak_load.fill(ports[0])
        with Watched({name: service.process.pid for name, service in running.items()}) as memory:
            told = soak_load.run(ports, seconds)
        print(f"  {told.answers:,} answers, {told.answers / seconds:,.0f}/s")
        wrong = [*told.errors, *(line for service in running.values() for line in _logged_errors(service.log))]
        for line in wrong[:10]:
            print(f"  ERROR {line}")
        good = not wrong
        for name, growth in memory.growth(WARM_UP).items():
            flat = growth.is_flat(ALLOWED_MIB)
            good = good and flat
            print(f"  memory of {name}: {growth.line()}{'' if flat else '  GROWS'}")
        if not reconcile.settled(url):
            good = False
            print("  NOT SETTLED: decisions are open, rewards not learned or touches not sent")
        found = reconcile.counts(url, told, folder / "outbox")
        for count in found:
            print("  " + count.line())
    return good and all(count.agrees for count in found)


def _settings(url: str, folder: Path) -> Path:
    """The service's files: a campaign whose decisions mature within half a minute."""
    campaign = folder / "campaign.yaml"
    campaign.write_bytes(orjson.dumps(_CAMPAIGN))
    settings = {
        "version": 1,
        "database": url,
        "attributes_file": str(data.CONFIGS / "attributes.yaml"),
        "campaigns": [str(campaign)],
        "outbox": str(folder / "outbox"),
        "secret_file": str(folder / "secret"),
        "publish_every": "5s",
    }
    file = folder / "service.yaml"
    file.write_bytes(orjson.dumps(settings))
    return file


def _logged_errors(log: Path) -> list[str]:
    """What a service has logged as an error, and what it has said that is no line of its log."""
    found = []
    for line in log.read_bytes().splitlines():
        try:
            level = orjson.loads(line).get("level")
        except orjson.JSONDecodeError:
            level = "critical"
        if level in _ERRORS:
            found.append(line.decode(errors="replace"))
    return found


if __name__ == "__main__":
    sys.exit(0 if main(float(sys.argv[1])) else 1)
