"""The service as a real process on a real database, with commands typed beside it."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from signal import SIGINT, SIGKILL, SIGTERM
from typing import TYPE_CHECKING, Any

import httpx2
import orjson
import pytest

from tests import databases
from tests.api.running import NOW, ROOT, Place, Service, rows, sends_later, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NDJSON = {"Content-Type": "application/x-ndjson"}


@pytest.fixture(scope="module", params=databases.KINDS)
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service on each database for the tests that leave it running."""
    with databases.on(request.param):
        place = Place.make(tmp_path_factory.mktemp("service"), now=NOW, later=sends_later())
        with place.service() as running:
            yield running
            assert running.end(SIGTERM) == 0
            assert running.logged("job_failed") == []


@pytest.fixture(params=databases.KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    with databases.on(request.param):
        yield Place.make(tmp_path, now=NOW)


def questions(n: int, campaign_id: str = "now") -> bytes:
    return rows(*({"campaign_id": campaign_id, "customer_id": f"c-{i}", "request_id": f"q-{i}"} for i in range(n)))


def decisions_in(place: Place) -> dict[str, str]:
    """The id of every logged decision, by its request."""
    return dict(place.sql("select request_id, decision_id from decisions where request_id is not null"))


def test_a_started_service_is_alive_and_ready(service: Service) -> None:
    assert service.get("/healthz") == {"status": "ok"}
    assert service.get("/readyz") == {"status": "ready", "notes": []}
    assert [campaign["campaign_id"] for campaign in service.get("/v1/campaigns")] == ["later", "now"]


def test_a_decision_is_repeated_as_it_was_and_another_question_is_a_conflict(service: Service) -> None:
    first = service.decide("repeated")
    assert first["arm"]["channel"] == "email"
    assert service.decide("repeated") == first | {"replayed": True}
    other = {"campaign_id": "now", "customer_id": "c-2", "request_id": "repeated"}
    assert service.post("/v1/decisions", other, expected=409)["code"] == "conflict"


def test_a_decision_is_explained_and_its_events_are_taken_once(service: Service) -> None:
    decision = service.decide("explained")
    explanation = service.get(f"/v1/decisions/{decision['decision_id']}/explain")
    assert explanation["decision"] == decision
    assert sum(candidate["probability"] for candidate in explanation["candidates"]) == pytest.approx(1)
    event = {"event_id": "e-1", "name": "clicked", "decision_id": decision["decision_id"]}
    assert [service.post("/v1/events", event)["status"] for _ in range(2)] == ["accepted", "duplicate"]


def test_a_touch_that_is_due_is_sent_once(service: Service) -> None:
    decision = service.decide("sent", "c-sent")
    mine = until(lambda: [t for t in service.place.outbox("email") if t["decision_id"] == decision["decision_id"]])
    assert [(touch["customer_id"], touch["message"]) for touch in mine] == [("c-sent", decision["arm"]["message"])]


def test_customers_that_are_loaded_are_decided_once_in_a_run(service: Service) -> None:
    sent = rows(*({"customer_id": f"loaded-{i}", "attributes": {"plan": "gold"}} for i in range(7)))
    answer = service.client.post("/v1/customers:batch", content=sent, headers=NDJSON)
    assert answer.text.count('"stored"') == 7
    path = service.place.folder / "more.csv"
    path.write_text("customer_id,plan,days_inactive\nloaded-6,basic,1\nloaded-7,gold,2\n,gold,3\nloaded-8,gold,x\n")
    loaded = service.place.optimizer("customers", "load", str(path))
    assert (loaded.returncode, loaded.stdout) == (1, "2 customers loaded, 2 rows rejected\n")
    assert [line.split(": ")[:2] for line in loaded.stderr.splitlines()] == [
        [f"{path}:4", "customer_id"],
        [f"{path}:5", "attributes.days_inactive"],
    ]
    run = service.post("/v1/campaigns/now/runs", {"occasion": "launch"})
    assert (run["state"], run["decided"]) == ("finished", 8)
    assert service.post("/v1/campaigns/now/runs", {"occasion": "launch"}) == run
    typed = service.place.optimizer("run", "now", "--occasion", "launch")
    assert (typed.returncode, typed.stdout) == (0, "now: run launch is finished, 8 customers decided\n")


def test_a_pause_typed_beside_the_service_acts_on_decisions_within_a_second(service: Service) -> None:
    paused = service.place.optimizer("campaign", "pause", "now")
    at = time.monotonic()
    assert (paused.returncode, paused.stdout) == (0, "now: paused\n")
    decision = service.decide("while-paused")
    assert time.monotonic() - at < 1
    assert (decision["arm"], decision["reason"]) == (None, "campaign_not_active")
    assert service.post("/v1/campaigns/now/runs", {"occasion": "paused"}, expected=409)["code"] == "conflict"
    assert service.place.optimizer("campaign", "resume", "now").stdout == "now: active\n"
    assert service.decide("after-resume")["arm"] is not None


def test_a_pause_typed_beside_the_service_acts_on_due_touches_within_a_second(service: Service) -> None:
    """200 touches come due one after the other, 100 ms apart; a second after the pause all others are due at once."""
    place = service.place
    body = rows(*({"campaign_id": "later", "customer_id": f"l-{i}", "request_id": f"l-{i}"} for i in range(200)))
    service.client.post("/v1/decisions:batch", content=body, headers=NDJSON).raise_for_status()
    assert service.get("/v1/campaigns/later")["touches"] == {"planned": 200}
    place.sql(
        "update touches set due_us = ? + 100000 * (select count(*) from touches earlier "
        "where earlier.campaign_id = 'later' and earlier.decision_id < touches.decision_id) "
        "where campaign_id = 'later'",
        time.time_ns() // 1000,
    )
    until(lambda: place.outbox("push"))
    assert place.optimizer("campaign", "pause", "later").returncode == 0
    time.sleep(1)
    sent = len(place.outbox("push"))
    place.sql("update touches set due_us = ? where campaign_id = 'later'", time.time_ns() // 1000)
    time.sleep(1.5)
    assert len(place.outbox("push")) == sent < 200
    assert place.optimizer("campaign", "resume", "later").returncode == 0
    until(lambda: len(place.outbox("push")) == 200)
    assert len({touch["decision_id"] for touch in place.outbox("push")}) == 200


def test_a_version_loaded_beside_the_service_decides_from_then_on(service: Service) -> None:
    before = service.decide("before-version")
    path = service.place.folder / "changed.yaml"
    path.write_text(NOW.replace("id: warm", "id: cordial").replace("id: direct", "id: frank"))
    loaded = service.place.optimizer("campaign", "load", str(path))
    assert loaded.stdout.endswith("is current now\n")
    after = service.decide("after-version")
    assert after["config_hash"] != before["config_hash"]
    assert after["arm"]["message"] in {"cordial", "frank"}
    assert service.decide("before-version") == before | {"replayed": True}


def test_decisions_are_verified_beside_the_service(service: Service) -> None:
    decision_id = service.decide("verified")["decision_id"]
    one = service.place.optimizer("verify", decision_id)
    assert one.returncode == 0
    assert f"{decision_id}: draw: holds" in one.stdout
    service.place.sql("update decisions set propensity = 0.25 where decision_id = ?", decision_id)
    whole = service.place.optimizer("verify", "--campaign", "now")
    assert whole.returncode == 1
    assert f"{decision_id}: draw: DIFFERS" in whole.stdout
    assert whole.stdout.endswith(" verified, 1 of them differ\n")


def test_the_document_shows_every_endpoint_with_examples(service: Service) -> None:
    document = service.get("/openapi.json")
    posts = {path for path, methods in document["paths"].items() if "post" in methods}
    assert posts >= {
        "/v1/decisions",
        "/v1/decisions:batch",
        "/v1/events",
        "/v1/customers:batch",
        "/v1/campaigns/{campaign_id}/runs",
        "/v1/campaigns/{campaign_id}/pause",
        "/v1/campaigns/{campaign_id}/resume",
    }
    bodies = {path: document["paths"][path]["post"].get("requestBody") for path in posts}
    assert {path for path, body in bodies.items() if body is None} == {
        "/unsubscribe/{token}",
        "/v1/campaigns/{campaign_id}/pause",
        "/v1/campaigns/{campaign_id}/resume",
        "/v1/touches/{decision_id}/cancel",
    }
    for path, body in bodies.items():
        for media in body["content"].values() if body else ():
            assert list(examples(media["schema"], document)), path


def examples(schema: dict[str, Any], document: dict[str, Any]) -> Iterator[object]:
    """The examples of a schema and of those that it names."""
    yield from schema.get("examples", [])
    if "$ref" in schema:
        yield from examples(document["components"]["schemas"][schema["$ref"].rpartition("/")[2]], document)
    for inner in (*schema.get("oneOf", []), *schema.get("anyOf", [])):
        yield from examples(inner, document)


@pytest.mark.parametrize("signal", [SIGTERM, SIGINT])
def test_an_asked_for_end_answers_what_is_running_and_loses_nothing(place: Place, signal: int) -> None:
    """Callers ask without a pause, one of them with a batch, while the signal comes."""
    acknowledged: dict[str, str] = {}
    refused = threading.Event()
    with place.service() as service:
        url = str(service.client.base_url)

        def ask(caller: int) -> None:
            with httpx2.Client(base_url=url, timeout=30) as client:
                for i in range(100_000):
                    body = {"campaign_id": "now", "customer_id": f"c-{caller}", "request_id": f"{caller}-{i}"}
                    try:
                        answer = client.post("/v1/decisions", json=body)
                    except httpx2.TransportError:
                        refused.set()
                        return
                    acknowledged[body["request_id"]] = answer.json()["decision_id"]

        callers = [threading.Thread(target=ask, args=(caller,)) for caller in range(4)]
        for caller in callers:
            caller.start()
        until(lambda: len(acknowledged) > 50)
        with service.client.stream("POST", "/v1/decisions:batch", content=questions(4000), headers=NDJSON) as batch:
            lines = batch.iter_lines()
            answers = [orjson.loads(next(lines))]
            service.process.send_signal(signal)
            answers += [orjson.loads(line) for line in lines]
        assert service.process.wait(timeout=30) == 0
        for caller in callers:
            caller.join()
        assert refused.is_set()
        assert service.logged("service_stopped")
        assert service.logged("job_failed") == []
    assert len(answers) == 4000
    acknowledged |= {answer["decision"]["request_id"]: answer["decision"]["decision_id"] for answer in answers}
    stored = decisions_in(place)
    assert {request_id: stored.get(request_id) for request_id in acknowledged} == acknowledged


def test_a_service_killed_in_a_batch_has_kept_every_decision_that_it_acknowledged(place: Place) -> None:
    acknowledged: dict[str, str] = {}
    with place.service() as service:
        with (
            suppress(httpx2.TransportError),
            service.client.stream("POST", "/v1/decisions:batch", content=questions(8_000), headers=NDJSON) as batch,
        ):
            for line in batch.iter_lines():
                decision = orjson.loads(line)["decision"]
                acknowledged[decision["request_id"]] = decision["decision_id"]
                if len(acknowledged) == 1500:
                    service.process.kill()
        assert service.process.wait(timeout=30) == -SIGKILL
    assert 1500 <= len(acknowledged) < 8_000
    stored = decisions_in(place)
    assert {request_id: stored.get(request_id) for request_id in acknowledged} == acknowledged
    with place.service() as service:
        answer = service.client.post("/v1/decisions:batch", content=questions(8_000), headers=NDJSON)
        again = [orjson.loads(line)["decision"] for line in answer.text.splitlines()]
    replayed = {decision["request_id"]: decision["decision_id"] for decision in again if decision["replayed"]}
    assert replayed == stored
    assert len(decisions_in(place)) == 8_000


def many_customers(place: Place, n: int) -> None:
    path = place.folder / "customers.ndjson"
    path.write_bytes(rows(*({"customer_id": f"c-{i}", "attributes": {"plan": "gold"}} for i in range(n))))
    assert place.optimizer("customers", "load", str(path)).stdout == f"{n:,} customers loaded, 0 rows rejected\n"


def test_a_run_killed_halfway_goes_on_and_decides_everybody_once(place: Place) -> None:
    n = 8_000
    assert place.optimizer("campaign", "load", str(place.folder / "campaigns")).returncode == 0
    many_customers(place, n)
    with (place.folder / "run-log").open("wb") as log, place.started("run", "now", "--occasion", "a", log=log) as run:
        decided = until(lambda: place.sql("select count(*) from decisions")[0][0])
        run.kill()
        assert run.wait(timeout=30) == -SIGKILL
    assert 0 < decided <= place.sql("select count(*) from decisions")[0][0] < n
    again = place.optimizer("run", "now", "--occasion", "a")
    assert again.stdout == f"now: run a is finished, {n:,} customers decided\n"
    assert place.sql("select count(*), count(distinct subject_id) from decisions") == [(n, n)]


def test_a_service_that_ends_in_a_run_leaves_the_rest_to_the_next_start(place: Place) -> None:
    """The caller is told so; the scheduler of the next start, and whoever runs it beside, go through it together."""
    n = 8_000
    with place.service() as service:
        many_customers(place, n)
        answers: list[httpx2.Response] = []
        body = {"occasion": "a"}
        caller = threading.Thread(
            target=lambda: answers.append(service.client.post("/v1/campaigns/now/runs", json=body))
        )
        caller.start()
        until(lambda: place.sql("select count(*) from decisions")[0][0])
        assert service.end(SIGTERM) == 0
        caller.join()
    assert [answer.status_code for answer in answers] == [503]
    assert 0 < place.sql("select count(*) from decisions")[0][0] < n
    with place.service():
        typed = place.optimizer("run", "now", "--occasion", "a")
    assert typed.stdout == f"now: run a is finished, {n:,} customers decided\n"
    assert place.sql("select decided from runs") == [(n,)]
    assert place.sql("select count(*), count(distinct subject_id) from decisions") == [(n, n)]


def test_a_broken_snapshot_leaves_the_last_good_one_serving(place: Place) -> None:
    """While the service runs, and when it is started; then a learner that cannot be read starts again from the log."""
    with place.service() as service:
        service.client.post("/v1/decisions:batch", content=questions(50), headers=NDJSON).raise_for_status()
        until(lambda: service.get("/v1/campaigns/now")["learned"] == 50)
        [[good]] = place.sql("select snapshot_id from snapshots")
        place.sql(
            "insert into snapshots (tenant, snapshot_id, campaign_id, learner_key, published_us, watermark_us, "
            "watermark_id, learned, digest, body, resume_digest, resume, base) select tenant, 'broken', campaign_id, "
            "learner_key, published_us + 1, watermark_us, watermark_id, learned, ?, body, ?, resume, base "
            "from snapshots where snapshot_id = ?",
            "of something else",
            "of something else",
            good,
        )
        [note] = until(lambda: service.get("/readyz")["notes"])
        assert note.startswith("campaign now: snapshot broken cannot be read")
        assert service.decide("broken-later")["snapshot_id"] == good
        assert service.end(SIGTERM) == 0
        assert [line["snapshot"] for line in service.logged("snapshot_unreadable")] == ["broken"]
    with place.service() as service:
        assert [line["snapshot"] for line in service.logged("snapshot_unreadable")] == ["broken"]
        assert service.decide("broken-before")["snapshot_id"] not in {"broken", None}
        until(lambda: service.get("/v1/campaigns/now")["learned"] == 52)
        assert service.logged("learner_unreadable")
        assert service.get("/readyz")["notes"] == []
        assert service.end(SIGTERM) == 0


def test_a_campaign_in_the_database_is_served_without_its_file_and_without_its_attributes(tmp_path: Path) -> None:
    """The rules of a version that was loaded stay as they are, whatever is declared today."""
    text = NOW.replace("catalog:", "audience: {attr: plan, op: ==, value: gold}\ncatalog:")
    place = Place.make(tmp_path, now=text)
    assert place.optimizer("campaign", "load", str(tmp_path / "campaigns")).returncode == 0
    (tmp_path / "campaigns" / "now.yaml").unlink()
    (tmp_path / "attributes.yaml").write_text("version: 1\nattributes: []\n")
    settings = tmp_path / "service.yaml"
    settings.write_text(settings.read_text().replace(f"{ROOT}/configs/attributes.yaml", f"{tmp_path}/attributes.yaml"))
    with place.service() as service:
        assert service.decide("stranger")["reason"] == "not_in_audience"
        assert service.end(SIGTERM) == 0
        assert service.logged("job_failed") == []


def test_a_broken_campaign_stops_the_start_with_everything_that_is_wrong(tmp_path: Path) -> None:
    place = Place.make(tmp_path, a=NOW.replace("  lateness", "  latenes"), b=NOW.replace("window: 1s", "window: soon"))
    answer = place.optimizer("serve")
    assert answer.returncode == 1
    assert [line.split(": ")[:2] for line in answer.stderr.splitlines()] == [
        [f"{tmp_path}/campaigns/a.yaml:11:3", "reward.latenes"],
        [f"{tmp_path}/campaigns/b.yaml:12:46", "reward.events[0].window"],
    ]
    assert place.sql("select * from campaigns") == []


def test_an_address_that_is_taken_stops_the_start(service: Service, place: Place) -> None:
    answer = place.optimizer("serve", "--port", str(service.client.base_url.port))
    assert answer.returncode == 1
    assert "cannot answer at 127.0.0.1 port" in answer.stderr
