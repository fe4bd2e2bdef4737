from __future__ import annotations

import json
import socket
import threading
from typing import TYPE_CHECKING

import pytest
import uvicorn

from api import heads
from api.heads import Heads
from tests.api.running import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import Receive, Scope, Send


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    assert scope["type"] == "http"
    body = b""
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    length = str(len(body)).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(heads, "WITHIN_S", 0.5)
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(hello, http=Heads, lifespan="off", log_config=None, ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    until(lambda: server.started)
    yield listener.getsockname()[1]
    server.should_exit = True
    thread.join()


def told(port: int, *parts: bytes) -> bytes:
    """What is answered until the connection is ended, or nothing more comes for a while."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        answer = b""
        try:
            for part in parts:
                connection.sendall(part)
            while chunk := connection.recv(65536):
                answer += chunk
        except ConnectionError:
            answer += b" (reset)"
        return answer


def refused(answer: bytes) -> int:
    """The status of a problem document."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"content-type: application/problem+json" in head
    assert b"connection: close" in head
    found = json.loads(body)
    assert head.startswith(f"HTTP/1.1 {found['status']} {found['title']}\r\n".encode())
    status: int = found["status"]
    return status


def test_a_head_that_never_ends_is_refused(port: int) -> None:
    answer = told(port, b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: ", *[b"a" * 4096] * 64)
    assert b"431" in answer or answer == b" (reset)"


def test_a_head_that_stops_coming_is_given_up(port: int) -> None:
    assert refused(told(port, b"GET / HTTP/1.1\r\nHost: x\r\n")) == 408


def test_a_connection_that_asks_nothing_is_ended(port: int) -> None:
    assert told(port) == b""


def test_what_cannot_be_read_is_a_problem_too(port: int) -> None:
    assert refused(told(port, b"GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n")) == 400


def test_large_bodies_and_requests_one_behind_the_other_are_nothing_to_it(port: int) -> None:
    body = b"b" * 500_000
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
    last = b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"
    answer = told(port, head, body, head[:30], head[30:] + body, last)
    assert answer.count(b"HTTP/1.1 200 OK") == 3
    assert answer.endswith(b"\r\n\r\nok")
    assert answer.count(b"b" * 500_000) == 2
