"""Every example of docs/contact-policy.md, done on a real engine: rules in YAML, then a table of what happens."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple

import numpy as np
import pytest

from optimizer.attributes import Attributes
from optimizer.campaign import CampaignFile
from optimizer.clock import VirtualClock, from_us
from optimizer.contact.policy import ContactPolicy
from optimizer.decisions import Decision, DecisionRequest
from optimizer.dispatch.routes import Routes
from optimizer.engine import Engine
from optimizer.ids import IdSource
from optimizer.recording import EventIn
from optimizer.store import Store, touches
from optimizer.store.customers import Customer
from optimizer.suppressing import Whom
from optimizer.yaml_file import read_yaml
from tests import databases
from tests.optimizer.engine_example import Notes

pytestmark = pytest.mark.databases

PAGE: Final = Path(__file__).parents[1] / "docs" / "contact-policy.md"
SECTION: Final = re.compile(r"^## (.+)$", re.MULTILINE)
EXAMPLE: Final = re.compile(
    r"```yaml\n(?P<yaml>(?:(?!```).)*)```\n\n"
    r"\| when \| what \| outcome \|\n\|---\|---\|---\|\n(?P<rows>(?:\|[^\n]*\|\n)+)",
    re.DOTALL,
)
CONSENTS: Final = {"email_marketing": True, "sms_marketing": True}


class Example(NamedTuple):
    """Rules, and what happens with them."""

    section: str
    rules: str
    rows: tuple[tuple[str, str, str], ...]


def examples() -> list[Example]:
    text = PAGE.read_text(encoding="utf-8")
    heads = [(match.start(), match.group(1)) for match in SECTION.finditer(text)]
    found = []
    for match in EXAMPLE.finditer(text):
        section = max(head for head in heads if head[0] < match.start())[1]
        rows = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in match["rows"].splitlines()]
        found.append(Example(section, match["yaml"], tuple((row[0], row[1], row[2]) for row in rows)))
    return found


EXAMPLES: Final = examples()


def base() -> dict[str, Any]:
    text = PAGE.read_text(encoding="utf-8")
    data: dict[str, Any] = parsed(text.split("```yaml\n", 1)[1].split("```", 1)[0])
    return data


def parsed(text: str) -> Any:  # noqa: ANN401 - whatever it says
    with TemporaryDirectory() as folder:
        path = Path(folder) / "example.yaml"
        path.write_text(text, encoding="utf-8")
        return read_yaml(path).data


def instant(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%d %H:%M").replace(tzinfo=UTC)


class Play:
    """The customers, the campaigns and the clock of one example."""

    def __init__(self, rules: str) -> None:
        self.clock = VirtualClock(datetime(2026, 3, 1, tzinfo=UTC))
        self.engine = Engine(
            Store(databases.fresh_url()),
            Attributes(),
            Routes.to(Notes()),
            clock=self.clock,
            ids=IdSource(np.random.default_rng(1).bytes),
        )
        for part in rules.split("---\n"):
            given = parsed(part)
            catalog = base()["catalog"] | given.get("catalog", {})
            self.engine.load_campaign(CampaignFile.model_validate(base() | given | {"catalog": catalog}))
        self.store_customers(CONSENTS)
        self.asked: list[Decision] = []

    def store_customers(self, consents: dict[str, bool], host: str = "example.com") -> None:
        self.engine.put_customers(
            [
                Customer(name, {}, "Europe/Madrid", {"email": f"{name}@{host}", "sms": f"+3460000000{n}"}, consents)
                for n, name in enumerate(("ana", "ben"))
            ]
        )

    def come_to(self, when: datetime) -> None:
        """Do what is due on the way there, and there."""
        while (due_us := self.engine.next_due_us()) is not None and from_us(due_us) < when:
            self.clock.advance_to(max(from_us(due_us), self.clock.now() + timedelta(seconds=1)))
            self.work()
        self.clock.advance_to(max(when, self.clock.now()))
        self.work()

    def work(self) -> None:
        for job in self.engine.jobs():
            job.run()

    def do(self, what: str, outcome: str) -> None:
        if asked := re.fullmatch(r"decide (\w+) for (\w+)", what):
            self.decide(asked[1], asked[2], outcome)
        elif withdrawn := re.fullmatch(r"ana withdraws (\w+)", what):
            self.store_customers(CONSENTS | {withdrawn[1]: False})
        elif what == "ana has another email":
            self.store_customers(CONSENTS, "example.org")
        elif what == "ana is let again":
            assert self.engine.lift(Whom("ana")) == []
        elif contacted := re.fullmatch(r"(\w+) contacted by (\w+)(?: on (.+))?", what):
            at = instant(contacted[3]) if contacted[3] else None
            self.tell("contacted", at, customer_id=contacted[1], fields={"channel": contacted[2]})
        elif happened := re.fullmatch(r"ana (\w+)", what):
            self.tell(happened[1], decision_id=self.last_touch)
        else:
            raise AssertionError(what)
        if ended := re.fullmatch(r"last touch: (\w+), (\w+)", outcome):
            last = self.last_touch
            touch = self.engine.runtime.store.read(lambda c: touches.touches_by_ids(c, "default", [last]))[last]
            assert (touch.state, touch.reason) == ended.groups()
        self.work()

    @property
    def last_touch(self) -> str:
        """The last decision that sends something."""
        return next(each.decision_id for each in reversed(self.asked) if each.reason is None)

    def tell(self, name: str, at: datetime | None = None, **names: Any) -> None:  # noqa: ANN401 - what an event names
        self.engine.record([EventIn(f"e{self.clock.now().isoformat()}", name, at, **names)])

    def decide(self, campaign_id: str, customer_id: str, outcome: str) -> None:
        (made,) = self.engine.decide([DecisionRequest(campaign_id, customer_id, f"r{len(self.asked)}")])
        assert isinstance(made, Decision), made
        chosen, *others = outcome.split("; ")
        wanted, _, at = chosen.partition(" at ")
        self.asked.append(made)
        said = f"nothing: {made.reason}" if made.reason else made.arm.id if made.arm else ""
        assert said == wanted
        if at:
            assert made.send_at is not None
            assert made.send_at.strftime("%Y-%m-%d %H:%M") == at
        assert all(check.holds for check in self.engine.verify(made.decision_id))
        candidates = {each.arm.id: each.reason for each in self.engine.explain(made.decision_id).candidates}
        for other in others:
            arm, _, reason = other.partition(": ")
            assert (candidates[arm] or "allowed") == reason, other


@pytest.mark.parametrize("example", EXAMPLES, ids=[f"{n}-{each.section}" for n, each in enumerate(EXAMPLES)])
def test_an_example_of_the_page_happens_as_it_says(example: Example) -> None:
    play = Play(example.rules)
    for when, what, outcome in example.rows:
        play.come_to(instant(when))
        try:
            play.do(what, outcome)
        except AssertionError as error:
            raise AssertionError(f"{when} {what}: {error}") from error
    play.engine.close()


def test_the_page_has_an_example_of_every_rule() -> None:
    given = [parsed(part) for each in EXAMPLES for part in each.rules.split("---\n")]
    rules = {rule for part in given for rule in part.get("contact_policy", {})}
    assert rules == ContactPolicy.model_fields.keys() - {"obeys", "counts"}
    assert {"contact_policy", "budget", "catalog", "campaign"} <= {name for part in given for name in part}
