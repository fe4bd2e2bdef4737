"""A provider of messages that misbehaves, a process of its own: `python -m tests.chaos.provider FOLDER`.

It takes touches as signed web hooks, and has what it took on disk before it answers, if it answers at all. What it
does with a request is drawn from the touch's id and how often that came; now and then nobody listens for a while.
It does not recognise a repetition: what is sent to it twice goes out twice.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson

from optimizer.dispatch.signing import ID, SIGNATURE, TIMESTAMP, Signer
from tests.api.running import ROOT, until

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRET: Final = "whsec_Y2hhb3MgY2hhb3MgY2hhb3MgY2hhb3MgY2hhb3M="  # noqa: S105 - signs what goes to a fake
PATIENCE_S: Final = 1
"""How long those who send to it wait for an answer."""

_LATE_S: Final = 1.4
"""When it answers, or takes a touch, for those who wait no longer."""
_STRAY_S: Final = 0.03
"""How long after its answer the second one comes."""
_LINE: Final = {200: b"OK", 404: b"Not Found", 500: b"Internal Server Error", 502: b"Bad Gateway"}


@dataclass(frozen=True, slots=True)
class Deed:
    """What it may do with a touch.

    Attributes:
        weight: how likely that is, beside the others.
        takes: whether it takes the touch, and so carries it out.
        answer: the status of its answer; None: it drops the connection.
        late: whether it does all that only when nobody waits any more.
        answers_after_s: how long after that it answers.
        twice: whether it answers a second time; `cut`: whether its answer breaks off.
    """

    name: str
    weight: float
    takes: bool
    answer: int | None
    late: bool = False
    answers_after_s: float = 0.0
    twice: bool = False
    cut: bool = False


KIND: Final = Deed("takes it", 40, takes=True, answer=200)
DEEDS: Final = (
    KIND,
    Deed("takes it and answers after a moment", 20, takes=True, answer=200, answers_after_s=0.4),
    Deed("takes it and answers twice", 8, takes=True, answer=200, twice=True),
    Deed("takes it and answers late", 3, takes=True, answer=200, answers_after_s=_LATE_S),
    Deed("takes it late, and answers then", 2, takes=True, answer=200, late=True),
    Deed("takes it and answers 500", 3, takes=True, answer=500),
    Deed("takes it and answers 502", 2, takes=True, answer=502),
    Deed("takes it and drops the connection", 3, takes=True, answer=None),
    Deed("takes it and breaks off its answer", 2, takes=True, answer=200, cut=True),
    Deed("drops the connection", 4, takes=False, answer=None),
    Deed("answers 500", 2, takes=False, answer=500),
    Deed("answers 503", 9, takes=False, answer=503),
    Deed("answers 429", 3, takes=False, answer=429),
    Deed("never answers", 2, takes=False, answer=None, late=True),
    Deed("refuses it for good", 2, takes=False, answer=422),
)
TAKEN: Final = frozenset(deed.name for deed in DEEDS if deed.takes)
FOR_GOOD: Final = frozenset({"refuses it for good"})


class Ledger:
    """What it was asked, in `asked.jsonl`, and what it took, in `record.jsonl`, each line with the instant.

    The time is that of the service's processes, moved by what the file `clock` says.
    """

    def __init__(self, folder: Path) -> None:
        self._lock = threading.Lock()
        self._clock = folder / "clock"
        self._asked = (folder / "asked.jsonl").open("ab", buffering=0)
        self._record = (folder / "record.jsonl").open("ab", buffering=0)
        self._times: dict[str, int] = {}
        self._taken: set[str] = set()

    def asked(self, touch_id: str) -> int:
        """Note that a touch has come; how often it came before."""
        with self._lock:
            times = self._times.get(touch_id, 0)
            self._times[touch_id] = times + 1
        return times

    def did(self, touch_id: str, deed: str) -> None:
        """Note what was done with a request."""
        with self._lock:
            self._asked.write(orjson.dumps({"id": touch_id, "at_us": self._now_us(), "deed": deed}) + b"\n")

    def take(self, touch_id: str, deed: str, body: dict[str, Any]) -> None:
        """Take a touch: it is on disk when this returns."""
        with self._lock:
            line = {"id": touch_id, "at_us": self._now_us(), "deed": deed, "customer": body["customer_id"]}
            self._record.write(orjson.dumps(line) + b"\n")
            os.fsync(self._record.fileno())
            self._taken.add(touch_id)

    def has(self, touch_id: str) -> bool:
        """Whether it took this touch."""
        with self._lock:
            return touch_id in self._taken

    def _now_us(self) -> int:
        return int((time.time() + float(self._clock.read_text(encoding="utf-8"))) * 1e6)


class Misbehaving(ThreadingHTTPServer):
    """Listens at a port; one who comes while it does not is refused."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, ledger: Ledger, seed: int, kind: Path) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.ledger = ledger
        self.signer = Signer(SECRET)
        self._seed = seed
        self._kind = kind

    def deed(self, touch_id: str) -> Deed:
        """What to do with a touch that has come."""
        times = self.ledger.asked(touch_id)
        if self._kind.exists():
            return KIND
        chance = random.Random(f"{self._seed}/{touch_id}/{times}")
        return chance.choices(DEEDS, [deed.weight for deed in DEEDS])[0]

    def handle_error(self, request: object, client_address: object) -> None:
        """Those who wait no longer have closed their connection: that is their right."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Misbehaving

    def do_POST(self) -> None:
        length = int(self.headers["content-length"])
        body = self.rfile.read(length)
        if len(body) < length:
            return  # whoever sent it has died in the middle of it
        headers = {name: self.headers.get(name, "") for name in (ID, TIMESTAMP, SIGNATURE)}
        # The service's clock is moved, and so is the instant at which it says that it signed.
        touch_id = self.server.signer.verified(headers, body, float(headers[TIMESTAMP] or 0))
        if touch_id is None:
            self.server.ledger.did(headers[ID], "badly signed")
            self._answer(401)
            return
        deed = self.server.deed(touch_id)
        self.server.ledger.did(touch_id, deed.name)
        if deed.late:
            time.sleep(_LATE_S)
        if deed.takes:
            self.server.ledger.take(touch_id, deed.name, orjson.loads(body))
        time.sleep(deed.answers_after_s)
        self._answer(deed.answer, cut=deed.cut)
        if deed.twice:
            time.sleep(_STRAY_S)
            self._answer(deed.answer)

    def do_GET(self) -> None:
        """What became of a touch, for those who ask: it has taken it, or knows nothing of it."""
        touch_id = self.path.rpartition("/")[2]
        taken = self.server.ledger.has(touch_id)
        self.server.ledger.did(touch_id, "tells that it took it" if taken else "tells that it knows nothing of it")
        self._answer(200 if taken else 404)

    def _answer(self, status: int | None, *, cut: bool = False) -> None:
        if status is None:
            self.close_connection = True
            return
        body = b"{}"
        length = 100 if cut else len(body)
        line = _LINE.get(status, b"No")
        self.wfile.write(b"HTTP/1.1 %d %b\r\ncontent-length: %d\r\n\r\n%b" % (status, line, length, body))
        self.close_connection = self.close_connection or cut

    def log_message(self, *_: object) -> None:
        """Nothing is said of a request beside the ledger."""


def serve(folder: Path, seed: int) -> None:
    """Serve until it is ended; the port is in the file `port`."""
    ledger, kind, chance, port = Ledger(folder), folder / "kind", random.Random(seed), 0
    while True:
        with Misbehaving(port, ledger, seed, kind) as server:
            serving = threading.Thread(target=server.serve_forever, args=(0.02,))
            serving.start()
            if not port:
                port = server.server_address[1]
                draft = folder / "port.new"
                draft.write_text(str(port), encoding="utf-8")
                draft.replace(folder / "port")
            time.sleep(chance.uniform(2, 5))
            while kind.exists():
                time.sleep(1)
            server.shutdown()
            serving.join()
        ledger.did("", "refuses connections")
        time.sleep(chance.uniform(0.2, 0.8))


@dataclass(frozen=True, slots=True)
class Provider:
    """A provider that runs, and what it has written down."""

    folder: Path
    port: int

    @property
    def url(self) -> str:
        """Where it takes touches."""
        return f"http://127.0.0.1:{self.port}/touches"

    def be_kind(self) -> None:
        """From now on it takes every touch, and says so."""
        (self.folder / "kind").touch()

    def record(self) -> list[dict[str, Any]]:
        """What it took, in order: `id`, `at_us`, `deed` and `customer`."""
        return self._lines("record.jsonl")

    def asked(self) -> list[dict[str, Any]]:
        """Every request: `id`, `at_us` and `deed`."""
        return self._lines("asked.jsonl")

    def _lines(self, name: str) -> list[dict[str, Any]]:
        whole = (self.folder / name).read_bytes().rpartition(b"\n")[0]
        return [orjson.loads(line) for line in whole.splitlines()]


@contextmanager
def provider(folder: Path, clock: Path, seed: int) -> Iterator[Provider]:
    """A provider with its records in a new folder, by the time that the file `clock` moves."""
    folder.mkdir()
    (folder / "clock").symlink_to(clock)
    command = [sys.executable, "-m", "tests.chaos.provider", str(folder), "--seed", str(seed)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        try:
            until(lambda: (folder / "port").exists() or process.poll() is not None)
            assert process.poll() is None, "the provider has ended"
            yield Provider(folder, int((folder / "port").read_text(encoding="utf-8")))
        finally:
            process.kill()


def main() -> None:
    """Serve in the folder that the command line names."""
    parser = argparse.ArgumentParser(description="A provider that misbehaves")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    serve(given.folder, given.seed)


if __name__ == "__main__":
    main()
