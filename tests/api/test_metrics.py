"""`/metrics`: a closed list of names, the same on the page that explains them, in the code, and in what is printed."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fastapi.testclient import TestClient
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse
from sqlalchemy import create_engine, make_url

from api.app import create_app
from api.timer import attempt
from optimizer import gauges, metrics
from optimizer.engine import Job
from optimizer.keys import Keys, Scope
from optimizer.recording import EventIn
from optimizer.store import snapshots
from optimizer.suppressing import Whom
from optimizer.suppression import Cause
from optimizer.tenants import Tenants
from tests import databases
from tests.optimizer.engine_example import Rig, campaign, only

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.core import Metric

pytestmark = pytest.mark.databases

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"


@pytest.fixture
def rig() -> Iterator[Rig]:
    budget = {"amount": 1000, "currency": "USD", "on_reach": "pause"}
    with Rig(campaign(budget=budget), url=databases.fresh_url()) as made:
        yield made


@pytest.fixture
def client(rig: Rig) -> Iterator[TestClient]:
    with TestClient(create_app(rig.engine), "http://localhost", raise_server_exceptions=False) as made:
        yield made


def families(client: TestClient) -> dict[str, Metric]:
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return {family.name: family for family in parse(answer.text)}


def value(client: TestClient, name: str, **labels: str) -> float:
    """Of a gauge or counter; it is computed anew."""
    found = families(client)[name.removesuffix("_total")]
    return sum(sample.value for sample in found.samples if labels.items() <= sample.labels.items())


def use_everything(rig: Rig, client: TestClient) -> None:
    """So that every name has a value."""
    rig.customers(20)
    asked = [rig.ask(f"c{i:03}") for i in range(20)]
    rig.engine.record([EventIn(f"e{i}", "clicked", decision_id=d.decision_id) for i, d in enumerate(asked)])
    rig.engine.pause("camp")
    rig.ask()
    rig.engine.resume("camp")
    rig.engine.auditing.audit_due()
    # An address is known by nothing but itself: what is planned for it is held back when it is due.
    sends = next(each for each in asked if each.arm is not None and each.arm.channel == "email")
    rig.engine.suppress([(Whom(address=f"{sends.customer_id}@example.com"), Cause.COMPLAINED)])
    rig.jobs()
    rig.settle()

    def fail() -> None:
        raise ValueError

    attempt(Job("any", timedelta(seconds=1), fail))
    client.get("/v1/campaigns")


def said_by_the_page() -> list[tuple[str, str, tuple[str, ...], str]]:
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| ([\w, ]*) ?\| (.+?) \| (.+) \|$", PAGE.read_text(), flags=re.MULTILINE)
    assert all(len(advice) > 20 for *_, advice in rows)
    return [
        (name, kind, tuple(filter(None, labels.strip().split(", "))), meaning.replace("\\|", "|"))
        for name, kind, labels, meaning, _ in rows
    ]


def test_the_page_explains_every_name_and_no_other() -> None:
    page = said_by_the_page()
    assert len(page) == len(set(page))
    assert set(page) == {tuple(each) for each in metrics.NAMES}


def test_a_service_prints_every_name_with_its_labels_and_no_other(rig: Rig) -> None:
    key = Keys(rig.engine.runtime).create([Scope.READ])
    with TestClient(create_app(rig.engine)) as client:
        assert client.get("/metrics").status_code == 401
        client.headers["X-Api-Key"] = key
        use_everything(rig, client)
        printed = families(client)
    expected = {each.name.removesuffix("_total"): each for each in metrics.NAMES}
    assert printed.keys() == expected.keys()
    for name, family in printed.items():
        said = expected[name]
        assert (family.type, family.documentation) == (said.kind, said.meaning)
        assert family.samples, f"{name} has no value"
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == set(said.labels), sample
            assert sample.name.removeprefix(name) in {"", "_total", "_bucket", "_count", "_sum"}


def test_who_asks_for_openmetrics_gets_it(client: TestClient) -> None:
    answer = client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    found = parse_openmetrics(answer.text)  # type: ignore[no-untyped-call]
    assert {family.name for family in found} == {each.name.removesuffix("_total") for each in metrics.NAMES}


def test_each_thing_that_is_committed_is_counted_once(rig: Rig, client: TestClient) -> None:
    mine = {"tenant": "default", "campaign": "camp"}
    names = {
        "optimizer_decisions_total": mine,
        "optimizer_closings_total": mine,
        "optimizer_learned_total": mine,
        "optimizer_snapshots_published_total": mine,
        "optimizer_touch_transitions_total": {"tenant": "default", "state": "planned"},
    }
    before = {name: value(client, name, **labels) for name, labels in names.items()}
    answers = [rig.ask(f"c{i:03}") for i in range(10)]
    rig.ask("c000", request_id="r1")
    planned = sum(answer.send_at is not None for answer in answers)
    rig.settle()
    after = {name: value(client, name, **labels) - before[name] for name, labels in names.items()}
    assert list(after.values()) == [10, 10, 10, 1, planned]


def test_events_are_counted_by_what_became_of_them(rig: Rig, client: TestClient) -> None:
    def counts() -> dict[str, float]:
        statuses = ("accepted", "duplicate", "parked", "late")
        return {status: value(client, "optimizer_events_total", status=status) for status in statuses}

    before = counts()
    decision_id = rig.ask().decision_id
    rig.tell("e1", "clicked", decision_id=decision_id)
    rig.tell("e1", "clicked", decision_id=decision_id)
    rig.tell("e2", "clicked", decision_id="none")
    rig.settle()
    rig.tell("e3", "clicked", decision_id=decision_id)
    assert {status: n - before[status] for status, n in counts().items()} == dict.fromkeys(before, 1)


def test_what_was_taken_back_is_not_counted(rig: Rig, client: TestClient) -> None:
    """The transaction fails after the decision was written in it."""
    before = value(client, "optimizer_decisions_total")
    rig.execute("create table other_touches as select * from touches")
    rig.execute("alter table touches rename to hidden")
    with pytest.raises(Exception, match="touches"):
        [rig.ask(f"c{i:03}") for i in range(20)]
    rig.execute("alter table hidden rename to touches")
    decided = len(rig.log())
    assert value(client, "optimizer_decisions_total") - before == decided


@pytest.fixture
def always_new(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gauges, "KEPT_S", 0.0)


@pytest.mark.usefixtures("always_new")
def test_what_waits_is_measured_from_when_it_was_due(rig: Rig, client: TestClient) -> None:
    rig.engine.load_campaign(only("email", "mails"))
    decision_id = rig.ask(of="mails").decision_id
    rig.pass_by(minutes=5)
    assert value(client, "optimizer_touches", state="planned") == 1
    assert value(client, "optimizer_touches_due") == 1
    assert value(client, "optimizer_touches_lag_seconds") == pytest.approx(300)
    rig.engine.outbox.dispatch_due()
    assert value(client, "optimizer_touches_due") == value(client, "optimizer_touches_lag_seconds") == 0
    rig.tell("e1", "clicked", decision_id="none")
    assert value(client, "optimizer_events_parked") == 1

    mature_s = (rig.row(decision_id).mature_us - rig.now_us) / 1e6
    rig.pass_by(seconds=mature_s + 60)
    assert value(client, "optimizer_closing_lag_seconds", campaign="mails") == pytest.approx(60)
    rig.engine.closing.close_due()
    assert value(client, "optimizer_closing_lag_seconds", campaign="mails") == 0
    rig.pass_by(seconds=90)
    assert value(client, "optimizer_learning_lag_seconds", campaign="mails") == pytest.approx(90)
    rig.engine.trainer.train_due()
    assert value(client, "optimizer_learning_lag_seconds", campaign="mails") == 0
    rig.pass_by(seconds=30)
    assert value(client, "optimizer_snapshot_age_seconds", campaign="mails") == pytest.approx(30, abs=0.01)


@pytest.mark.usefixtures("always_new")
def test_the_touches_of_a_paused_campaign_are_not_due(rig: Rig, client: TestClient) -> None:
    rig.engine.load_campaign(only("email", "mails"))
    rig.ask(of="mails")
    rig.pass_by(minutes=5)
    rig.engine.pause("mails")
    assert value(client, "optimizer_touches_due") == 0


@pytest.mark.usefixtures("always_new")
def test_a_model_that_cannot_be_used_is_a_fault_until_there_is_a_better_one(rig: Rig) -> None:
    rig.ask()
    rig.settle()
    rig.store.write(lambda c: c.exec_driver_sql("update snapshots set digest = 'another'"))
    rig.restart()
    with TestClient(create_app(rig.engine), "http://localhost") as restarted:
        assert value(restarted, "optimizer_snapshot_faults") == 1
        rig.ask("c001")
        rig.settle()
        assert value(restarted, "optimizer_snapshot_faults") == 0
    assert rig.store.read(lambda c: snapshots.latest_snapshot(c, "default", "camp")) is not None


@pytest.mark.usefixtures("always_new")
def test_leases_tell_what_this_process_does_and_what_nobody_does(rig: Rig, client: TestClient) -> None:
    assert (value(client, "optimizer_leases_held"), value(client, "optimizer_leases_free")) == (0, 1)
    rig.jobs()
    assert (value(client, "optimizer_leases_held"), value(client, "optimizer_leases_free")) == (1, 0)


@pytest.mark.usefixtures("always_new")
def test_every_tenant_is_shown_apart(rig: Rig, client: TestClient) -> None:
    other = rig.engine.of_tenant("other")
    other.load_campaign(campaign())
    other.record([EventIn("e", "clicked", decision_id="none")])
    assert value(client, "optimizer_events_parked", tenant="default") == 0
    assert value(client, "optimizer_events_parked", tenant="other") == 1


def test_the_tables_are_asked_once_in_a_while_however_many_look(rig: Rig, client: TestClient) -> None:
    assert value(client, "optimizer_events_parked") == 0
    rig.tell("e1", "clicked", decision_id="none")
    assert value(client, "optimizer_events_parked") == 0


def test_while_the_database_is_down_the_last_values_stand_and_it_says_so(rig: Rig) -> None:
    rig.tell("e", "clicked", decision_id="none")
    seconds = [0.0]
    watched = gauges.Gauges(Tenants(rig.engine), lambda: seconds[0])

    def up_and_parked() -> list[float]:
        found = {family.name: family.samples for family in watched.collect()}
        return [found[name][0].value for name in ("optimizer_database_up", "optimizer_events_parked")]

    assert up_and_parked() == [1, 1]
    break_database(rig)
    seconds[0] += gauges.KEPT_S
    assert up_and_parked() == [0, 1]


def break_database(rig: Rig) -> None:
    """PostgreSQL ends our connections and has no such database any more; SQLite has lost a table."""
    if databases.kind() == "sqlite":
        rig.execute("alter table parked rename to gone")
        return
    server = create_engine(databases.server(), isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        name = make_url(rig.store.url).database
        connection.exec_driver_sql(f"drop database {name} with (force)")
    server.dispose()
