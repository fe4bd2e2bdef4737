"""Providers in the process of the test: real servers of mail and of HTTP, which remember what they were sent."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator

    from aiosmtpd.smtp import SMTP, Envelope, Session

NO_PORT = 9
"""Where nobody listens (discard)."""


@dataclass
class Request:
    """What came in."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class HttpProvider:
    """Answers with what `answer` says of a request: a status, or None to take it whole and drop the connection."""

    answer: Callable[[Request], int | None] = lambda _: 200
    requests: list[Request] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    wait: threading.Event | None = None
    port: int = 0

    @contextmanager
    def running(self, context: ssl.SSLContext | None = None) -> Iterator[HttpProvider]:
        provider = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _take(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                names = {name.lower(): value for name, value in self.headers.items()}
                request = Request(self.command, self.path, names, body)
                provider.requests.append(request)
                if provider.wait is not None:
                    provider.wait.wait(10)
                status = provider.answer(request)
                if status is None:
                    self.close_connection = True
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                self.send_response(status)
                for name, value in provider.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            do_POST = do_GET = _take  # noqa: N815 -- the names that the library calls

            def log_message(self, *_args: object) -> None: ...

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 100

            def handle_error(self, *_args: object) -> None: ...

        server = Server(("127.0.0.1", 0), Handler)
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        self.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            if self.wait is not None:
                self.wait.set()
            server.shutdown()
            server.server_close()
            thread.join()


class MailProvider:
    """A mail server. Mailboxes that begin with `gone` it refuses for good, with `later` for now; `full` at the end."""

    def __init__(self) -> None:
        self.messages: list[Any] = []
        self.senders: list[str | None] = []
        self.recipients: list[str] = []
        self.silent = False
        self.port = 0

    @contextmanager
    def running(self, context: ssl.SSLContext | None = None, password: str | None = None) -> Iterator[MailProvider]:
        def check(_server: object, _session: object, _envelope: object, _how: str, data: Any) -> AuthResult:  # noqa: ANN401
            return AuthResult(success=data.password == (password or "").encode(), handled=False)

        controller = Controller(
            self,
            hostname="127.0.0.1",
            port=_free_port(),
            tls_context=context,
            authenticator=check,
            auth_required=password is not None,
        )
        controller.start()
        self.port = controller.port
        try:
            yield self
        finally:
            controller.stop()

    async def handle_RCPT(  # noqa: N802 -- as the library calls it
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        if address.startswith("gone"):
            return f"550 5.1.1 <{address}> is not here"
        if address.startswith("later"):
            return f"451 4.3.0 not now, {address}"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        if envelope.rcpt_tos[0].startswith("full"):
            return f"552 5.2.2 the mailbox of {envelope.rcpt_tos[0]} is full"
        self.messages.append(envelope.content)
        self.senders.append(envelope.mail_from)
        self.recipients += envelope.rcpt_tos
        if self.silent:
            transport: Any = server.transport
            transport.abort()
            return "never said"
        return "250 OK queued"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
