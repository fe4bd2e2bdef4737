"""Schemathesis over the whole OpenAPI document of the real service, on both databases.

`python -m tests.security.schema [--seed N]`

On each database every operation is called as the document allows and as it forbids: with a key, without one, in
sequences that hand ids on, and over HTTP to a real process. No answer may be a 5xx, and all have to be as the document
says. `--seed N` looks elsewhere than by default. Fails where something is found, or fewer than 2,000 cases were tried.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import schemathesis
import structlog
from schemathesis.engine import events, from_schema

import tests.security.rows  # noqa: F401 - teaches NDJSON to schemathesis
from api.app import create_app
from api.visit import Limits
from optimizer.config import load_attributes, load_campaign
from optimizer.dispatch.routes import Routes
from optimizer.dispatch.senders import FileSender
from optimizer.engine import Engine
from optimizer.keys import Keys, Scope
from optimizer.store import Store
from tests import databases
from tests.api.running import Place

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from schemathesis.engine.recorder import ScenarioRecorder
    from starlette.types import ASGIApp

LEAST: Final = 2000
"""How many cases are tried on each database at least."""

_CONFIGS: Final = Path(__file__).parents[2] / "configs"
_SETTINGS: Final = Path(__file__).with_name("schemathesis.toml")
_DOCUMENT: Final = "/openapi.json"
_OPEN: Final = ("GET /healthz", "GET /readyz", "GET /unsubscribe/{token}", "POST /unsubscribe/{token}")
"""What is answered to everybody."""
_REFUSED: Final = frozenset({400, 401, 405, 415, 422})
"""What whoever has no key may be answered; besides 401 these are for requests that are malformed."""


@dataclass(frozen=True)
class Effort:
    """How much is tried.

    Attributes:
        examples: how many are generated for each operation, and how many sequences of calls.
        edges: whether every bound of the document is tried from both sides.
        sequences: whether calls that hand ids on are tried.
        seed: of the examples; by default they are the same each time.
    """

    examples: int
    edges: bool = True
    sequences: bool = True
    seed: int | None = None


@dataclass
class Survey:
    """What was tried, and what was found."""

    cases: Counter[str] = field(default_factory=Counter)
    """By operation."""
    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    """By operation and status of the answer."""
    found: list[str] = field(default_factory=list)

    def __add__(self, other: Survey) -> Survey:
        return Survey(self.cases + other.cases, self.statuses + other.statuses, self.found + other.found)

    def note(self, record: ScenarioRecorder) -> None:
        """Add the cases of a scenario, their answers and what is wrong with these."""
        for case_id, node in record.cases.items():
            name = node.value.operation.label
            self.cases[name] += 1
            interaction = record.interactions.get(case_id)
            response = interaction.response if interaction is not None else None
            if response is not None:
                self.statuses[name, response.status_code] += 1
            for check in record.checks.get(case_id, ()):
                if check.failure_info is not None:
                    answer = response.content[:2000] if response is not None else b""
                    told = (name, check.name, check.failure_info.failure, check.failure_info.code_sample, answer)
                    self.found.append("\n".join(map(str, told)))


def surveyed(where: ASGIApp | str, key: str, effort: Effort, *, known: bool = True) -> Survey:
    """Try the application, or what answers at a URL.

    Args:
        where: the application, or where it is served.
        key: one with the scope admin, by which the document is read.
        effort: how much is tried.
        known: whether the key is sent with the cases, too.
    """
    settings = schemathesis.Config.from_path(_SETTINGS)
    if effort.seed is not None:
        settings.update(seed=effort.seed, max_failures=None)
    caller = {"Authorization": f"Bearer {key}"}
    schema = (
        schemathesis.openapi.from_url(where + _DOCUMENT, config=settings, headers=caller)
        if isinstance(where, str)
        else schemathesis.openapi.from_asgi(_DOCUMENT, where, config=settings, headers=caller)
    )
    schema.config.generation.update(max_examples=effort.examples, deterministic=effort.seed is None)
    schema.config.update(headers=caller if known else {}, continue_on_failure=True)
    schema.config.phases.coverage.enabled = effort.edges
    schema.config.phases.stateful.enabled = effort.sequences
    survey = Survey()
    for event in from_schema(schema).execute():
        if isinstance(event, events.ScenarioFinished):
            survey.note(event.recorder)
        elif isinstance(event, events.NonFatalError):
            survey.found.append(event.info.format())
        elif isinstance(event, events.FatalError):
            raise event.exception
    survey.found += [f"{name} was never called" for name in _names(schema.raw_schema) - set(survey.cases)]
    return survey


def surveyed_without_a_key(app: ASGIApp, key: str, effort: Effort) -> Survey:
    """The same without a key, where everything has to be refused."""
    survey = surveyed(app, key, effort, known=False)
    for (name, status), times in survey.statuses.items():
        if name not in _OPEN and status not in _REFUSED:
            survey.found.append(f"{name} answered {times} callers without a key with {status}")
    return survey


@contextmanager
def service(folder: Path) -> Iterator[tuple[ASGIApp, str]]:
    """The application with a campaign, and a key that may do everything."""
    attributes = load_attributes(_CONFIGS / "attributes.yaml")
    with Store(databases.fresh_url(folder)) as store:
        engine = Engine(store, attributes, Routes.to(FileSender(folder / "outbox")))
        engine.load_campaign(load_campaign(_CONFIGS / "winback.yaml", attributes))
        yield create_app(engine, limits=Limits(rate=1e9)), Keys(engine.runtime).create([Scope.ADMIN])


def surveyed_over_http(folder: Path, effort: Effort) -> Survey:
    """Try a process that serves."""
    place = Place.make(folder, winback=(_CONFIGS / "winback.yaml").read_text(encoding="utf-8"))
    key = place.optimizer("keys", "create", "--scope", "admin").stdout.split()[-1]
    with place.service() as running:
        survey = surveyed(f"http://127.0.0.1:{running.port()}", key, effort)
        wrong = [line for line in running.log().splitlines() if '"level":"error"' in line.replace(" ", "")]
        return survey + Survey(found=[f"The process logged {line}" for line in wrong])


def main() -> None:
    """Print how many cases of each operation were tried on each database, and exit with 1 where something was found."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seed", type=int, help="of the examples; by default they are the same each time")
    seed = options.parse_args().seed
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("critical"))
    failed = False
    for kind in databases.KINDS:
        began_s = time.perf_counter()
        with databases.on(kind), tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            folder.chmod(0o755)  # PostgreSQL reads below it as a user of its own
            with service(folder) as (app, key):
                parts = {
                    "with a key": surveyed(app, key, Effort(70, seed=seed)),
                    "without a key": surveyed_without_a_key(app, key, Effort(10, sequences=False, seed=seed)),
                }
            parts["over HTTP"] = surveyed_over_http(folder, Effort(5, seed=seed))
        failed |= _told(kind, parts, time.perf_counter() - began_s)
    sys.exit(int(failed))


def _told(kind: str, parts: Mapping[str, Survey], took_s: float) -> bool:
    """Print it; whether it has failed."""
    whole = sum(parts.values(), Survey())
    shares = ", ".join(f"{survey.cases.total():,} {name}" for name, survey in parts.items())
    print(f"\n{kind}: {whole.cases.total():,} cases in {took_s:.0f} s ({shares})")
    for name, cases in sorted(whole.cases.items()):
        answers = {status: times for (of, status), times in sorted(whole.statuses.items()) if of == name}
        print(f"  {name:45} {cases:6,}  " + "  ".join(f"{status}: {times:,}" for status, times in answers.items()))
    for number, found in enumerate(whole.found, 1):
        print(f"\n{number}. {found}")
    print(f"  {len(whole.found)} failures")
    few = whole.cases.total() < LEAST
    if few:
        print(f"  fewer than {LEAST:,} cases")
    return few or bool(whole.found)


def _names(document: Mapping[str, Any]) -> set[str]:
    """Every operation."""
    return {f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods}


if __name__ == "__main__":
    main()
