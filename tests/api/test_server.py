from __future__ import annotations

import socket
import threading
import time
from typing import TYPE_CHECKING

import orjson
import pytest
import uvicorn

from api.app import create_app

if TYPE_CHECKING:
    from collections.abc import Iterator

    from optimizer.engine import Engine


@pytest.fixture
def port(engine: Engine) -> Iterator[int]:
    """A real server on a free port of this machine."""
    server = uvicorn.Server(uvicorn.Config(create_app(engine), port=0, log_level="error", lifespan="on"))
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
