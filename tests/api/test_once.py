from __future__ import annotations

import threading
from datetime import timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest

from api import once
from api.app import create_app
from optimizer.errors import Unavailable
from tests.api.keyed import a_key, client_with

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastapi.testclient import TestClient
    from httpx2 import Response

    from optimizer.clock import VirtualClock
    from optimizer.engine import Engine

QUESTION = {"campaign_id": "winback-q1", "customer_id": "ana", "request_id": "r1"}
DAY = timedelta(days=1)


def ask(client: TestClient, key: str = "k1", path: str = "/v1/decisions", **changed: Any) -> Response:  # noqa: ANN401 -- JSON
    return client.post(path, json=QUESTION | changed, headers={"Idempotency-Key": key})


def kept(engine: Engine) -> list[tuple[Any, ...]]:
    query = "select idempotency_key, status from idempotency_keys order by 1"
    return engine.runtime.store.read(lambda c: [tuple(row) for row in c.exec_driver_sql(query)])


def test_a_request_that_is_sent_again_is_answered_as_the_first_time(client: TestClient, engine: Engine) -> None:
    first, again = ask(client), ask(client)
    assert (first.status_code, "idempotent-replayed" in first.headers) == (200, False)
    assert (again.status_code, again.headers["idempotent-replayed"]) == (200, "true")
    assert again.content == first.content
    assert again.headers["content-type"] == first.headers["content-type"]
    assert again.headers["x-content-type-options"] == "nosniff"
    assert not first.json()["replayed"], "it is the first answer, not one to a repeated question"
    assert kept(engine) == [("k1", 200)]


def test_without_the_header_nothing_is_kept(client: TestClient, engine: Engine) -> None:
    client.post("/v1/decisions", json=QUESTION)
    assert kept(engine) == []


def test_another_process_answers_it_too(client: TestClient, engine: Engine) -> None:
    first = ask(client)
    with type(client)(create_app(engine), "http://localhost") as another:
        again = ask(another)
    assert (again.headers["idempotent-replayed"], again.content) == ("true", first.content)


def test_another_body_under_the_same_key_is_refused(client: TestClient) -> None:
    ask(client)
    answer = ask(client, customer_id="bob")
    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")


def test_a_key_is_one_callers_and_one_paths(engine: Engine) -> None:
    app = create_app(engine)
    keys = [a_key(engine), a_key(engine), a_key(engine, tenant="theirs")]
    pause, resume = (f"/v1/campaigns/winback-q1/{what}" for what in ("pause", "resume"))
    for key in keys[:2]:
        with client_with(app, key) as client:
            for path in (pause, resume):
                answer = ask(client, path=path)
                assert (answer.status_code, "idempotent-replayed" in answer.headers) == (200, False)
    with client_with(app, keys[2]) as client:
        assert ask(client, path=pause).status_code == 404


def test_a_path_may_be_as_long_as_it_likes(client: TestClient) -> None:
    # Longer than an index of PostgreSQL takes, also when it is compressed.
    name = "".join(sha256(bytes([number])).hexdigest() for number in range(100))
    assert ask(client, path=f"/v1/campaigns/{name}/pause").status_code == 422


def test_while_the_first_one_runs_the_second_is_told_to_wait(
    client: TestClient, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, go_on = threading.Event(), threading.Event()
    pause = engine.pause

    def slowly(campaign_id: str, *, by: str) -> object:
        entered.set()
        assert go_on.wait(10)
        return pause(campaign_id, by=by)

    monkeypatch.setattr(engine, "pause", slowly)
    path = "/v1/campaigns/winback-q1/pause"
    answers: list[Response] = []
    first = threading.Thread(target=lambda: answers.append(ask(client, path=path)))
    first.start()
    assert entered.wait(10)
    second = ask(client, path=path)
    go_on.set()
    first.join()
    assert (second.status_code, second.json()["code"]) == (409, "idempotency_key_running")
    assert second.headers["retry-after"] == "1"
    assert answers[0].status_code == 200
    assert ask(client, path=path).headers["idempotent-replayed"] == "true"


def test_a_first_one_that_died_is_given_up_after_a_minute(
    client: TestClient, engine: Engine, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(once.Once, "_settle", lambda *_: None)
    assert ask(client).status_code == 200
    assert kept(engine) == [("k1", None)]
    monkeypatch.undo()
    assert ask(client).status_code == 409
    clock.advance_to(clock.now() + timedelta(seconds=61))
    answer = ask(client)
    assert (answer.status_code, "idempotent-replayed" in answer.headers) == (200, False)
    assert answer.json()["replayed"], "the decision itself is not made twice"
    assert kept(engine) == [("k1", 200)]


def test_what_comes_too_late_does_not_replace_the_answer_of_who_took_over(
    client: TestClient, engine: Engine, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    late: list[Any] = []
    monkeypatch.setattr(once.Once, "_settle", lambda _, claim: late.append(claim))
    ask(client)
    monkeypatch.undo()
    clock.advance_to(clock.now() + timedelta(seconds=61))
    taken_over = ask(client)
    once.Once(client.app, engine.runtime)._settle(late[0]._replace(answer=b"late"))  # noqa: SLF001 - what the slow one does
    assert ask(client).content == taken_over.content


@pytest.mark.parametrize("changed", [{"campaign_id": "none"}, {"attributes": {"unknown": 1}}, {"request_id": ""}])
def test_what_failed_is_tried_again_under_the_same_key(
    client: TestClient, engine: Engine, changed: dict[str, Any]
) -> None:
    assert ask(client, **changed).status_code in {404, 422}
    assert kept(engine) == []
    assert ask(client).status_code == 200


def test_a_service_that_failed_is_tried_again_under_the_same_key(
    client: TestClient, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise Unavailable("the database is gone")

    monkeypatch.setattr(engine, "deciding", fails)
    assert ask(client).status_code == 503
    monkeypatch.setattr(engine, "deciding", lambda *_, **__: 1 / 0)
    assert ask(client).status_code == 500
    monkeypatch.undo()
    assert ask(client).status_code == 200
    assert kept(engine) == [("k1", 200)]


def test_an_answer_is_kept_for_a_day(client: TestClient, engine: Engine, clock: VirtualClock) -> None:
    ask(client)
    clock.advance_to(clock.now() + DAY)
    assert ask(client).headers["idempotent-replayed"] == "true"
    clock.advance_to(clock.now() + timedelta(seconds=1))
    forget = once.forgetting(engine.runtime)
    assert forget.run() == 1
    assert kept(engine) == []
    assert "idempotent-replayed" not in ask(client).headers


def test_an_old_answer_is_not_given_though_it_was_not_removed_yet(client: TestClient, clock: VirtualClock) -> None:
    ask(client)
    clock.advance_to(clock.now() + 2 * DAY)
    assert ask(client, customer_id="bob", request_id="r2").status_code == 200


@pytest.mark.parametrize(
    ("path", "media_type"),
    [("/v1/events", "application/x-ndjson"), ("/v1/decisions:batch", "application/json"), ("/v1/customers:batch", "")],
)
def test_rows_have_ids_of_their_own(client: TestClient, path: str, media_type: str) -> None:
    headers = {"Idempotency-Key": "k", "Content-Type": media_type}
    answer = client.post(path, content=b"{}\n", headers=headers)
    assert (answer.status_code, "each row" in answer.json()["detail"]) == (422, True)


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "é"])
def test_a_key_is_visible_characters(client: TestClient, key: str) -> None:
    answer = client.post("/v1/decisions", json=QUESTION, headers=[(b"Idempotency-Key", key.encode("latin-1"))])
    assert (answer.status_code, "Idempotency-Key" in answer.json()["detail"]) == (422, True)


def test_a_get_ignores_it(client: TestClient, engine: Engine) -> None:
    assert client.get("/v1/campaigns", headers={"Idempotency-Key": "k"}).status_code == 200
    assert kept(engine) == []


def test_a_body_that_is_too_large_is_refused_under_a_key_too(client: TestClient, engine: Engine) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(9):
            yield b" " * (1 << 20)

    headers = {"Idempotency-Key": "k", "Content-Type": "application/json"}
    assert client.post("/v1/decisions", content=chunks(), headers=headers).status_code == 413
    assert kept(engine) == []


def test_one_of_many_at_once_is_the_first(client: TestClient) -> None:
    answers: list[Response] = []
    threads = [threading.Thread(target=lambda: answers.append(ask(client))) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    first = [answer for answer in answers if answer.status_code == 200 and "idempotent-replayed" not in answer.headers]
    assert len(first) == 1
    for answer in answers:
        assert answer.status_code == 409 or answer.content == first[0].content
