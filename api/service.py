"""One process that is the service, or a part of it: HTTP, the periodic jobs, and a clean end."""

from __future__ import annotations

import gc
import signal
import socket
import sys
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import structlog
import uvicorn

from api import once
from api.app import create_app
from api.binding import check_binding
from api.heads import Heads
from api.timer import Timer
from optimizer.engine import Job
from optimizer.errors import Unavailable
from optimizer.store.notices import Listener
from optimizer.tenants import Tenants

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

    from api.visit import Limits
    from optimizer.engine import Engine

DRAIN_S: Final = 20
"""How long a stop waits for callers that are slow to send a request or to take its answer."""

_BACKLOG: Final = 2048


class Role(StrEnum):
    """What a process does: everything, only answering, or only what is done in the background."""

    ALL = "all"
    API = "api"
    WORKER = "worker"


_log = structlog.get_logger(__name__)


class _Server(uvicorn.Server):
    """A server that on SIGTERM or SIGINT also asks the engine to come to an end of what takes long."""

    def __init__(self, config: uvicorn.Config, engine: Engine) -> None:
        super().__init__(config)
        self._engine = engine

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._engine.stop()
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        _log.info("service_stopping", waits_s=DRAIN_S)
        await super().shutdown(sockets)


def serve(  # noqa: PLR0913 - where, what, and within which limits
    engine: Engine,
    host: str,
    port: int,
    *,
    role: Role = Role.ALL,
    limits: Limits | None = None,
    origins: Sequence[str] = (),
) -> None:
    """Answer at this address and do every tenant's jobs, as its role is, until SIGTERM or SIGINT.

    Then no connection is accepted any more, running requests are answered, and running jobs come to the end of a page;
    the engine stays open. A worker answers only how it is; several processes of the role `api` may share a port of one
    machine. Raises Unavailable where the address cannot be taken, and InvalidInput where it may not without keys.
    """
    check_binding(engine.runtime, host)
    listener = _listen(host, port, shared=role is Role.API)
    tenants = Tenants(engine)
    config = uvicorn.Config(
        create_app(engine, limits=limits, origins=origins, tenants=tenants, watched_only=role is Role.WORKER),
        http=Heads,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=DRAIN_S,
    )
    server = _Server(config, engine)
    # Uvicorn takes the signals over while it runs and raises those it got once more at the end, which must not kill us.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, server.handle_exit)
    jobs = [tenants.refreshing()] if role is Role.API else [*tenants.jobs(), once.forgetting(engine.runtime)]
    # Where the clock is set back it stands still at the last time that was read: of a process that nobody asks for a
    # while that must not be long ago, for others have closed what matured since.
    timer = Timer([*jobs, Job("read_clock", timedelta(seconds=1), engine.runtime.now_us)])
    timer.start()
    notices = Listener(engine.runtime.store.url, tenants.refresh)
    taken_host, taken_port = listener.getsockname()[:2]
    campaigns = [report.campaign_id for report in engine.campaigns()]
    _log.info(
        "service_started",
        role=role.value,
        host=taken_host,
        port=taken_port,
        database=engine.runtime.store.name,
        campaigns=campaigns,
    )
    _prepare_interpreter()
    try:
        server.run(sockets=[listener])
    finally:
        engine.stop()
        notices.close()
        timer.close()
        tenants.release()


def _prepare_interpreter() -> None:
    """Two of the interpreter's habits cost a busy service more than they bring.

    To look through everything that was loaded at the start for garbage stops all requests for a tenth of a second, and
    the thread that decides lets go of the interpreter for those that answer every 5 ms only.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)
    sys.setswitchinterval(0.001)


def _listen(host: str, port: int, *, shared: bool) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG, reuse_port=shared)
    except OSError as error:
        raise Unavailable(f"the service cannot answer at {host} port {port}: {error}") from error
