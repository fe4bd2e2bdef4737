"""HTTP/1.1 as uvicorn reads it, with limits to what stands before a body, which no application sees until it is whole.

Uvicorn waits for the end of a head for ever, and keeps all of it: a caller without a key could fill the memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api import problems

if TYPE_CHECKING:
    import asyncio

    from api.problems import Problem

MAX_BYTES: Final = 64 << 10
"""How large a head may be that comes in parts."""
WITHIN_S: Final = 20.0
"""How long it may take, also the first one of a connection."""


class Heads(HttpToolsProtocol):
    """One connection. A head that is too large or too slow is refused, and the connection ended."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 -- as uvicorn makes it
        super().__init__(*args, **kwargs)
        self._open = False
        self._bytes = 0
        self._late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn declares it
        """Wait for the first request."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        self._come()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """The next bytes."""
        before = self._open
        super().data_received(data)
        if not self._open or self.transport.is_closing():
            return
        if before:
            self._bytes += len(data)
            if self._bytes > MAX_BYTES:
                detail = f"Address and headers together are larger than {MAX_BYTES >> 10} KiB."
                self._refuse(problems.problem(431, detail))
        elif self._late is None:
            self._wait()

    def on_message_begin(self) -> None:
        """A head begins."""
        self._open = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """A head is whole."""
        self._open = False
        self._come()
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """What cannot be read is answered as every other problem is."""
        self._come()
        self._refuse(problems.problem(400, msg))

    def _wait(self) -> None:
        self._late = self.loop.call_later(WITHIN_S, self._too_late)

    def _come(self) -> None:
        self._bytes = 0
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _too_late(self) -> None:
        if self._open:
            self._refuse(problems.problem(408, f"Address and headers did not come within {WITHIN_S:g} seconds."))
        else:
            self.transport.close()

    def _refuse(self, found: Problem) -> None:
        """Answer and end the connection; a request before this one may still be waiting for its answer."""
        if self.cycle is None or self.cycle.response_complete:
            body = found.model_dump_json().encode()
            head = (
                f"HTTP/1.1 {found.status} {found.title}\r\ncontent-type: {problems.MEDIA_TYPE}\r\n"
                f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
            )
            self.transport.write(head.encode("ascii") + body)
        self.transport.close()
