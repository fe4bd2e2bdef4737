"""The log of a process: events with fields, as lines of JSON on stderr, or readable where that is a terminal.

Nothing of customers belongs in it: no attribute, address or id of theirs, no secret; errors say of what kind they are
and where (`optimizer.tracebacks`). What is logged for a request has its `request_id`, and its `key` if it has one.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any, Final, TextIO

import orjson
import structlog

from optimizer import tracebacks

if TYPE_CHECKING:
    from structlog.typing import ExcInfo, Processor

_root: Final = logging.getLogger()
_QUIET: Final = {
    "alembic": logging.WARNING,
    "apprise": logging.CRITICAL,
    "apscheduler": logging.ERROR,
    "httpcore": logging.WARNING,
    "httpx": logging.WARNING,
    "urllib3": logging.WARNING,
    "uvicorn": logging.WARNING,
}
"""Libraries whose less important messages say nothing that we do not log ourselves, or what no log may hold.

APScheduler warns where a job takes longer than its interval: ours may. Apprise and the clients of HTTP tell addresses.
"""


def configure(level: str) -> None:
    """Send everything logged from this level on (`debug`, `info`, `warning`, `error`), libraries' too, to stderr."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    terminal = sys.stderr.isatty()
    rendering: list[Processor] = (
        [structlog.dev.ConsoleRenderer(exception_formatter=_to_terminal)]
        if terminal
        else [
            structlog.processors.ExceptionRenderer(tracebacks.formatted),
            structlog.processors.JSONRenderer(serializer=_json),
        ]
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(level),
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
        )
    )
    _root.handlers = [handler]
    _root.setLevel(level.upper())
    for name, least in _QUIET.items():
        logging.getLogger(name).setLevel(least)


def debugging() -> bool:
    """Whether level debug is logged: to be asked on the path of every request, where a line that is dropped costs."""
    return _root.isEnabledFor(logging.DEBUG)


def _to_terminal(out: TextIO, exc_info: ExcInfo) -> None:
    out.write(f"\n{tracebacks.formatted(exc_info)}")


def _json(event: dict[str, Any], **_options: object) -> str:
    return orjson.dumps(event, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
