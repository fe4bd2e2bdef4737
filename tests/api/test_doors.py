from __future__ import annotations

import asyncio
import gzip
import time
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from api.doors import Doors
from api.visit import Limits
from optimizer.errors import Unavailable
from optimizer.keys import Keys, Scope
from tests.api.keyed import a_key, client_with

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import ASGIApp, Message, Receive, Send
    from starlette.types import Scope as Request

    from optimizer.engine import Engine

QUESTION = {"campaign_id": "winback-q1", "customer_id": "ana", "request_id": "r1"}


@pytest.fixture
def admin(engine: Engine) -> Iterator[TestClient]:
    with client_with(create_app(engine), a_key(engine)) as made:
        yield made


# Keys


@pytest.mark.parametrize("header", ["Authorization", "authorization", "X-Api-Key"])
def test_a_key_is_sent_in_either_header(engine: Engine, header: str) -> None:
    key = a_key(engine)
    with TestClient(create_app(engine)) as client:
        value = key if header == "X-Api-Key" else f"bearer {key}"
        assert client.get("/v1/campaigns", headers={header: value}).status_code == 200


@pytest.mark.parametrize("key", ["", "co_", "co_unknown000_secret", "nonsense", "é"])
def test_a_key_that_is_not_known_is_refused(engine: Engine, key: str) -> None:
    a_key(engine)
    with TestClient(create_app(engine)) as client:
        answer = client.get("/v1/campaigns", headers=[(b"Authorization", b"Bearer " + key.encode("latin-1"))])
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'
    assert (key or "?") not in answer.text


def test_a_refusal_says_which_scope_is_missing(engine: Engine) -> None:
    with client_with(create_app(engine), a_key(engine, Scope.EVENTS)) as client:
        answer = client.get("/v1/campaigns")
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert answer.json()["detail"] == "This needs a key with the scope read."
    assert answer.headers["www-authenticate"] == 'Bearer error="insufficient_scope", scope="read"'


def test_a_revoked_key_is_refused_within_a_second(engine: Engine) -> None:
    key = a_key(engine)
    with client_with(create_app(engine), key) as client:
        assert client.get("/v1/campaigns").status_code == 200
        Keys(engine.runtime).revoke(key.split("_")[1])
        revoked_at = time.monotonic()
        while client.get("/v1/campaigns").status_code == 200:
            assert time.monotonic() < revoked_at + 1.5


def test_the_doors_are_locked_within_a_second_of_the_first_key(engine: Engine, client: TestClient) -> None:
    assert client.get("/v1/campaigns").status_code == 200
    a_key(engine)
    made_at = time.monotonic()
    while client.get("/v1/campaigns").status_code == 200:
        assert time.monotonic() < made_at + 1.5
    assert client.get("/v1/campaigns").status_code == 401


def test_whether_it_lives_and_is_ready_is_told_to_everybody_and_details_to_whoever_may_read(engine: Engine) -> None:
    engine.serving.faults["winback-q1"] = "the newest model cannot be read"
    keys = [a_key(engine, Scope.READ), a_key(engine, Scope.DECIDE), a_key(engine, Scope.READ, campaigns=["other"])]
    with TestClient(create_app(engine)) as client:
        assert client.get("/healthz").json() == {"status": "ok"}
        assert client.get("/healthz", headers={"X-Api-Key": "wrong"}).status_code == 200
        assert client.get("/readyz").json()["notes"] == []
        notes = [client.get("/readyz", headers={"X-Api-Key": key}).json()["notes"] for key in keys]
    assert notes == [["campaign winback-q1: the newest model cannot be read"], [], []]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "localhost:8080"}, 200),
        ({"Host": "127.0.0.1"}, 200),
        ({"Host": "[::1]:8080", "Origin": "http://localhost:3000"}, 200),
        ({"Host": "service.example"}, 403),
        ({"Host": "127.0.0.1.evil.example"}, 403),
        ({"Host": "localhost", "Origin": "https://evil.example"}, 403),
        ({"Host": "localhost", "Origin": "null"}, 403),
    ],
)
def test_without_keys_a_web_page_of_others_reaches_nothing(
    client: TestClient, headers: dict[str, str], status: int
) -> None:
    answer = client.post("/v1/campaigns/winback-q1/pause", headers=headers)
    assert answer.status_code == status
    if status == 403:
        assert "optimizer keys create" in answer.json()["detail"]


def test_an_address_that_holds_nul_is_refused(admin: TestClient) -> None:
    for path in ("/v1/decisions/a%00b", "/v1/campaigns/%00", "/v1/customers/a%00", "/v1/audit?object=a%00"):
        answer = admin.get(path)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")


# Limits


@pytest.mark.parametrize("path", ["/v1/customers/%ff", "/v1/customers/%EF%BF%BD%ff", "/v1/customers/%ed%a0%80"])
def test_an_address_that_is_no_utf_8_is_refused(admin: TestClient, path: str) -> None:
    answer = admin.put(path, json={})
    assert (answer.status_code, "UTF-8" in answer.json()["detail"]) == (422, True)
    assert admin.put("/v1/customers/%ef%bf%bd", json={}).status_code == 200


@pytest.mark.parametrize("name", ["Authorization", "Content-Type", "Host", "Idempotency-Key", "Origin", "X-Api-Key"])
def test_a_header_that_stands_twice_is_refused(admin: TestClient, name: str) -> None:
    answer = admin.get("/v1/campaigns", headers=[(name, "application/json"), (name, "application/json")])
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")
    assert admin.get("/v1/campaigns", headers=[("X-Other", "1"), ("X-Other", "2")]).status_code == 200


@pytest.mark.parametrize(
    "path", ["/v1/decisions", "/v1/decisions:batch", "/v1/events", "/v1/campaigns/winback-q1/pause"]
)
def test_a_body_that_is_packed_is_refused(admin: TestClient, path: str) -> None:
    answer = admin.post(path, content=gzip.compress(b"{}"), headers={"Content-Encoding": "gzip"})
    assert (answer.status_code, answer.headers["accept-encoding"]) == (415, "identity")
    assert admin.post(path, json={}, headers={"Content-Encoding": "Identity"}).status_code != 415


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "decisions", b"{%b}"),
        ("POST", "events", b"{%b}"),
        ("PUT", "customers/ana", b'{"consents": {%b}}'),
        ("PUT", "customers/ana", b'{"addresses": {%b}}'),
        ("POST", "campaigns/winback-q1/runs", b"{%b}"),
        ("POST", "decisions:batch", b"{%b}"),
    ],
)
def test_what_is_wrong_a_thousand_times_is_told_once(admin: TestClient, method: str, path: str, body: bytes) -> None:
    fields = b",".join(b'"%d": 1' % number for number in range(5000))
    answer = admin.request(method, f"/v1/{path}", content=body % fields, headers={"Content-Type": "application/json"})
    assert answer.status_code == (200 if path.endswith(":batch") else 422)
    assert len(answer.content) < 500


def test_whoever_asks_too_often_is_told_when_to_ask_again(engine: Engine) -> None:
    with client_with(create_app(engine, limits=Limits(rate=2)), a_key(engine)) as client:
        answers = [client.get("/v1/decisions/none") for _ in range(4)]
        other = a_key(engine)
        time.sleep(1.1)
        assert client.get("/v1/decisions/none", headers={"Authorization": f"Bearer {other}"}).status_code == 404
    assert [answer.status_code for answer in answers] == [404, 404, 429, 429]
    assert answers[2].json()["code"] == "too_many_requests"
    assert answers[2].headers["retry-after"] == "1"


@pytest.mark.parametrize("path", ["/v1/decisions", "/v1/events", "/v1/campaigns/winback-q1/runs"])
def test_a_body_that_is_too_large_is_refused_whether_it_says_so_or_not(admin: TestClient, path: str) -> None:
    mebibyte = b" " * (1 << 20)

    def chunks() -> Iterator[bytes]:
        for _ in range(9):
            yield mebibyte

    for content in (mebibyte * 9, chunks()):
        answer = admin.post(path, content=content, headers={"Content-Type": "application/json"})
        assert (answer.status_code, answer.json()["code"]) == (413, "content_too_large")
        assert "8 MiB" in answer.json()["detail"]


def test_a_batch_has_only_so_many_rows(admin: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.requests.MAX_ROWS", 3)
    headers = {"Content-Type": "application/x-ndjson"}
    assert admin.post("/v1/events", content=b"{}\n" * 3, headers=headers).status_code == 200
    answer = admin.post("/v1/events", content=b"{}\n" * 4, headers=headers)
    assert (answer.status_code, "more than 3 rows" in answer.json()["detail"]) == (413, True)
    monkeypatch.setattr("api.events.MAX_ARRAY", 3)
    assert admin.post("/v1/events", json=[{}] * 3).status_code == 200
    assert admin.post("/v1/events", json=[{}] * 4).status_code == 413


@pytest.mark.parametrize(
    "attributes",
    [
        {f"a{i}": 1 for i in range(257)},
        {"plan": "a\0b"},
        {"plan": "x" * 10_001},
        {"plan": [[[[[[[[1]]]]]]]]},
        {"a\0": 1},
        {"plan": 2**64 - 1},
    ],
    ids=["names", "nul", "length", "depth", "nul in a name", "64 bits"],
)
def test_facts_that_are_too_much_are_refused_by_request_and_by_row(
    admin: TestClient, attributes: dict[str, Any]
) -> None:
    question = QUESTION | {"attributes": attributes}
    event = {"event_id": "e", "name": "clicked", "customer_id": "ana", "fields": attributes}
    for path, body in (("decisions", question), ("events", event), ("customers/ana", {"attributes": attributes})):
        answer = admin.request("PUT" if "/" in path else "POST", f"/v1/{path}", json=body)
        assert answer.status_code == 422, (path, answer.text)
    rows = [question, QUESTION]
    lines = admin.post("/v1/decisions:batch", content=b"\n".join(map(orjson.dumps, rows))).content.splitlines()
    assert [("error" in orjson.loads(line)) for line in lines] == [True, False]


@pytest.mark.parametrize("name", ["campaign_id", "customer_id", "request_id", "timezone"])
def test_a_text_that_holds_nul_is_refused_wherever_it_stands(admin: TestClient, name: str) -> None:
    answer = admin.post("/v1/decisions", json=QUESTION | {name: "a\0b"})
    assert answer.status_code == 422


@pytest.mark.parametrize("part", ["addresses", "consents", "attributes"])
def test_addresses_and_consents_have_limits_too(admin: TestClient, part: str) -> None:
    for wrong in ({"a\0": "x"}, {"email": "a\0b"}, {"email": "x" * 10_001}):
        assert admin.put("/v1/customers/ana", json={part: wrong}).status_code == 422


def test_what_is_wrong_is_told_without_the_value(admin: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    personal = "4929-1234-personal"
    bodies: list[tuple[str, str, Any]] = [
        ("POST", "decisions", QUESTION | {"attributes": {"days_inactive": personal}}),
        ("POST", "decisions", QUESTION | {"attributes": {"plan": [personal]}}),
        ("POST", "decisions", QUESTION | {"attributes": personal}),
        ("POST", "decisions", QUESTION | {"timezone": personal}),
        ("PUT", "customers/ana", {"attributes": {"days_inactive": personal}}),
        ("PUT", "customers/ana", {"addresses": {"email": [personal]}}),
        ("PUT", "customers/ana", {"addresses": personal}),
        ("PUT", "customers/ana", {"consents": {"email_marketing": personal}}),
        ("PUT", "customers/ana", {"timezone": personal}),
        ("POST", "events", {"event_id": "e", "name": "clicked", "customer_id": "a", "fields": [personal]}),
        ("POST", "events", {"event_id": "e", "name": "clicked", "customer_id": "a", "occurred_at": personal}),
        ("POST", "events", {"event_id": "e", "name": "clicked", "customer_id": {"a": personal}}),
    ]
    for method, path, body in bodies:
        answer = admin.request(method, f"/v1/{path}", json=body)
        assert answer.status_code == 422, answer.text
        assert personal not in answer.text
    batch = b"\n".join(orjson.dumps({"customer_id": "a"} | body) for _, path, body in bodies if path.startswith("cust"))
    assert personal not in admin.post("/v1/customers:batch", content=batch).text
    assert personal not in caplog.text


# Headers


def test_every_answer_has_the_security_headers_and_none_for_other_origins(engine: Engine, admin: TestClient) -> None:
    with TestClient(create_app(engine), raise_server_exceptions=False) as stranger:
        answers = [admin.get("/v1/campaigns"), admin.get("/none"), stranger.get("/v1/campaigns")]
    for answer in answers:
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert "strict-transport-security" not in answer.headers
    answer = admin.get("/v1/campaigns", headers={"Origin": "https://console.example"})
    assert not [name for name in answer.headers if name.startswith("access-control")]
    secure = admin.get("https://service.example/healthz")
    assert secure.headers["strict-transport-security"].startswith("max-age=")


def test_the_documentation_may_load_what_it_needs(admin: TestClient) -> None:
    answer = admin.get("/docs")
    policy = answer.headers["content-security-policy"]
    assert answer.status_code == 200
    sources = {
        source for source in ("https://cdn.jsdelivr.net", "https://fastapi.tiangolo.com") if source in answer.text
    }
    assert all(source in policy for source in sources)
    assert "'unsafe-inline'" in policy.partition("script-src")[2]


def test_web_pages_that_are_named_may_ask(engine: Engine) -> None:
    key = a_key(engine)
    app = create_app(engine, origins=["https://console.example"])
    with TestClient(app) as client:
        asked = {"Origin": "https://console.example", "Access-Control-Request-Method": "POST"}
        before = client.options("/v1/decisions", headers=asked | {"Access-Control-Request-Headers": "authorization"})
        assert before.status_code == 200
        assert before.headers["access-control-allow-origin"] == "https://console.example"
        answer = client.get("/v1/campaigns", headers={"Origin": "https://console.example", "X-Api-Key": key})
        assert answer.headers["access-control-allow-origin"] == "https://console.example"
        other = client.get("/v1/campaigns", headers={"Origin": "https://evil.example", "X-Api-Key": key})
        assert "access-control-allow-origin" not in other.headers


@pytest.mark.parametrize(("given", "kept"), [("order-7.a:b", True), ("a b", False), ("x" * 129, False), ("", False)])
def test_each_request_has_an_id_its_own_if_it_brings_one(admin: TestClient, given: str, kept: bool) -> None:  # noqa: FBT001
    found = admin.get("/healthz", headers={"X-Request-Id": given}).headers["x-request-id"]
    assert (found == given) is kept
    assert found


def test_an_error_that_nobody_foresaw_is_answered_with_all_headers(
    engine: Engine, admin: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "campaigns", lambda: 1 / 0)
    answer = admin.get("/v1/campaigns")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "division" not in answer.text


def test_what_is_wrong_with_the_database_is_for_the_log_alone(
    engine: Engine, admin: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails() -> None:
        raise Unavailable("no connection to db.internal:5432 as user secret") from OSError()

    monkeypatch.setattr(engine, "campaigns", fails)
    answer = admin.get("/v1/campaigns")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert "db.internal" not in answer.text


# Time


class Slow:
    """An application that takes its time, and then answers."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.finished = False

    async def __call__(self, _request: Request, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body"):
            pass
        await asyncio.sleep(self.seconds)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"done"})
        self.finished = True


def asked(app: ASGIApp, path: str = "/v1/decisions", parts: int = 1, pause_s: float = 0) -> list[Message]:
    """What is sent in answer to a body that comes in parts, with a pause before each."""
    told: list[Message] = []
    left = list(range(parts))

    async def receive() -> Message:
        await asyncio.sleep(pause_s)
        return {"type": "http.request", "body": b"x", "more_body": bool(left and left.pop() > 0)}

    async def send(message: Message) -> None:
        told.append(message)

    headers = [(b"content-length", str(parts).encode()), (b"host", b"localhost")]
    request = {
        "type": "http",
        "method": "POST",
        "path": path,
        "query_string": b"",
        "headers": headers,
        "scheme": "http",
    }

    async def run() -> None:
        await app(request, receive, send)
        await asyncio.sleep(0)

    asyncio.run(run())
    return told


def problem(told: list[Message]) -> tuple[int, str, dict[bytes, bytes]]:
    return told[0]["status"], orjson.loads(told[1]["body"])["code"], dict(told[0]["headers"])


def test_what_takes_too_long_is_answered_with_503_once_and_goes_on(engine: Engine) -> None:
    slow = Slow(0.2)
    told = asked(Doors(slow, engine.runtime, Limits(answer_s=0.05)))
    status, code, headers = problem(told)
    assert (status, code, headers[b"retry-after"], len(told)) == (503, "unavailable", b"1", 2)
    assert b"x-request-id" in headers
    assert slow.finished


def test_a_run_over_an_audience_may_take_long(engine: Engine) -> None:
    told = asked(Doors(Slow(0.2), engine.runtime, Limits(answer_s=0.05)), "/v1/campaigns/c/runs")
    assert told[0]["status"] == 200


def test_the_time_for_an_answer_begins_when_the_body_is_there(engine: Engine) -> None:
    told = asked(Doors(Slow(0), engine.runtime, Limits(answer_s=0.05, body_s=0.5)), parts=4, pause_s=0.04)
    assert told[0]["status"] == 200


def test_a_body_that_stops_coming_is_given_up(engine: Engine) -> None:
    told = asked(Doors(Slow(0), engine.runtime, Limits(body_s=0.05)), parts=2, pause_s=0.2)
    status, code, headers = problem(told)
    assert (status, code, headers[b"connection"]) == (408, "request_timeout", b"close")
