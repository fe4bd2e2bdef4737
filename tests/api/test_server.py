from __future__ import annotations

import socket
import threading
import time
from typing import TYPE_CHECKING

import orjson
import pytest
import uvicorn

from api.app import create_app
from api.visit import Limits

if TYPE_CHECKING:
    from collections.abc import Iterator

    from optimizer.engine import Engine


@pytest.fixture
def port(engine: Engine) -> Iterator[int]:
    """A real server on a free port of this machine."""
    app = create_app(engine, limits=Limits(body_s=2))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", lifespan="on"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join()


def test_a_client_that_reads_nothing_before_it_has_sent_everything_gets_every_answer(port: int) -> None:
    """The answers are larger than what the connection holds unread, and so is the body."""
    n = 12_000
    body = b"".join(
        orjson.dumps({"campaign_id": "winback-q1", "customer_id": f"c{i}", "request_id": "r" * 200 + str(i)}) + b"\n"
        for i in range(n)
    )
    head = b"POST /v1/decisions:batch HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(head % len(body) + body)
        received = b""
        while chunk := connection.recv(1 << 20):
            received += chunk
    assert received.startswith(b"HTTP/1.1 200 ")
    assert received.count(b'"decision_id"') == n


def test_a_client_that_stops_sending_is_told_so_and_its_connection_closed(port: int) -> None:
    head = (
        b"POST /v1/decisions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(head + b"{")
        received = b""
        while chunk := connection.recv(1 << 20):
            received += chunk
    assert received.startswith(b"HTTP/1.1 408 ")
    assert b'"code":"request_timeout"' in received
