"""A load on HTTP services, made by this process alone: many connections, one thread, little work for each request.

Requests are bytes that were made beforehand, answers are only measured and told apart by their status. A connection
stays open and carries one request at a time.
"""

from __future__ import annotations

import gc
import socket
from collections import Counter, deque
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from selectors import EVENT_READ, DefaultSelector, SelectSelector
from time import perf_counter
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from selectors import BaseSelector

    from numpy.typing import NDArray

HOST: Final = "127.0.0.1"
_TIMEOUT_S: Final = 30.0
_OK: Final = "200"
_READ: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Load:
    """What came of a load.

    Attributes:
        seconds: how long it was measured.
        times_ms: (n,) how long each answer took of those that came in that time.
        answers: how many answers there were by status, those before and after that time included.
    """

    seconds: float
    times_ms: NDArray[np.float64]
    answers: Mapping[str, int]

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.times_ms) / self.seconds

    @property
    def errors(self) -> int:
        """Answers of another status than 200."""
        return sum(self.answers.values()) - self.answers.get(_OK, 0)

    def within_ms(self, share: float) -> float:
        """The time within which this share of the answers came."""
        return float(np.quantile(self.times_ms, share))


def request(path: str, body: bytes, headers: Mapping[str, str] | None = None) -> bytes:
    """A POST of JSON as it goes over the wire."""
    sent = {"Host": HOST, "Content-Type": "application/json", "Content-Length": str(len(body)), **(headers or {})}
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in sent.items()), "", ""]
    return "\r\n".join(lines).encode() + body


def closed(ports: Sequence[int], requests: Iterator[bytes], connections: int, warm_up_s: float, seconds: float) -> Load:
    """As many connections, shared out among the ports; each sends its next request when it has its answer.

    What was sent in the first `warm_up_s` is not measured. Raises TimeoutError where nothing is answered.
    """
    with _connected(ports, connections, DefaultSelector()) as (lines, selector), _undisturbed():
        times: list[float] = []
        answers: Counter[str] = Counter()
        begin = perf_counter() + warm_up_s
        end = begin + seconds
        waiting = len(lines)
        for line in lines:
            line.send(next(requests), perf_counter())
        while waiting:
            for line in _answered(selector):
                status = line.receive()
                if not status:
                    continue
                now = perf_counter()
                answers[status] += 1
                if line.sent >= begin and now <= end:
                    times.append(now - line.sent)
                if now < end:
                    line.send(next(requests), now)
                else:
                    waiting -= 1
    return Load(seconds, np.array(times) * 1e3, answers)


def steady(ports: Sequence[int], requests: Iterator[bytes], rate: float, warm_up_s: float, seconds: float) -> Load:
    """So many requests a second, whatever becomes of them; an answer's time begins when its request was due.

    So a service that stops for a while is charged with all that should have been asked meanwhile. A request for which
    none of the connections is free waits for one. Raises TimeoutError where nothing is answered.
    """
    # Of all selectors only select(2) wakes up between two milliseconds.
    with _connected(ports, _STEADY_CONNECTIONS, SelectSelector()) as (lines, selector), _undisturbed():
        free = deque(lines)
        times: list[float] = []
        answers: Counter[str] = Counter()
        start = perf_counter()
        total, sent, done = int(rate * (warm_up_s + seconds)), 0, 0
        measured_from = start + warm_up_s
        while done < total:
            now = perf_counter()
            while sent < total and free and (due := start + sent / rate) <= now:
                free.popleft().send(next(requests), due)
                sent += 1
            next_s = start + sent / rate - now if sent < total and free else _TIMEOUT_S
            for line in _answered(selector, max(next_s, 0.0)):
                status = line.receive()
                if not status:
                    continue
                answers[status] += 1
                done += 1
                free.append(line)
                if line.sent >= measured_from:
                    times.append(perf_counter() - line.sent)
        took = perf_counter() - measured_from
    return Load(took, np.array(times) * 1e3, answers)


_STEADY_CONNECTIONS: Final = 128


class _Line:
    """One connection; `sent` is when the request was sent, or should have been, whose answer is awaited."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection((HOST, port), _TIMEOUT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sent = 0.0
        self._received = b""

    def send(self, request: bytes, at: float) -> None:
        """Send a request; `at` is when its time begins."""
        self.sent = at
        self.socket.sendall(request)

    def receive(self) -> str:
        """Take what has come; the status if the answer is whole now, otherwise nothing."""
        chunk = self.socket.recv(_READ)
        if not chunk:
            raise ConnectionError(f"the service closed a connection after {self._received!r}")
        received = self._received + chunk if self._received else chunk
        self._received = received
        head, separator, body = received.partition(b"\r\n\r\n")
        if not separator:
            return ""
        length = head.lower().partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0]
        if len(body) < int(length or 0):
            return ""
        self._received = b""
        return received[9:12].decode()


def _answered(selector: BaseSelector, timeout_s: float = _TIMEOUT_S) -> Iterator[_Line]:
    """The connections on which something has come."""
    ready = selector.select(timeout_s)
    if not ready and timeout_s == _TIMEOUT_S:
        raise TimeoutError(f"no answer for {_TIMEOUT_S:.0f} s")
    return (key.data for key, _ in ready)


@contextmanager
def _connected(
    ports: Sequence[int], connections: int, selector: BaseSelector
) -> Iterator[tuple[list[_Line], BaseSelector]]:
    with ExitStack() as stack:
        stack.enter_context(selector)
        lines = [_Line(ports[i % len(ports)]) for i in range(connections)]
        for line in lines:
            stack.enter_context(line.socket)
            selector.register(line.socket, EVENT_READ, line)
        yield lines, selector


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Without the collector, which would look through all the requests again and again."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()
