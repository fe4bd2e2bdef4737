"""Errors as the log may show them: where and of what kind, but what they say only where that cannot be a customer's.

Whatever raises an error may put into its message what it was given: an attribute's value, an address, a row that was
not inserted. Only messages that are made of other things are shown: our own of what failed in the service, the
operating system's, and the database's about itself.
"""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Final

from sqlalchemy.exc import InterfaceError, OperationalError

from optimizer.errors import OptimizerError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from structlog.typing import ExcInfo

WITHHELD: Final = "(its message is withheld: it may hold data)"

_OURS: Final = 500


def told(error: BaseException) -> str:
    """The kind of an error, and its message if that may be shown."""
    return f"{type(error).__qualname__}: {_message(error)}"


def formatted(exc_info: ExcInfo) -> str:
    """The traceback of an error and of those that led to it, each as `told`, without any values."""
    return "".join(_lines(exc_info[1], set())).rstrip("\n")


def _message(error: BaseException) -> str:
    if isinstance(error, OptimizerError) and error.http_status >= _OURS:
        return error.message
    if isinstance(error, OSError) and error.strerror:
        # Not its arguments: a mail server's refusal holds the recipients.
        return f"{error.strerror} {error.filename}" if error.filename else error.strerror
    if isinstance(error, OperationalError | InterfaceError) and error.orig is not None:
        return str(error.orig).partition("\n")[0]
    return WITHHELD if str(error) else ""


def _lines(error: BaseException, seen: set[int]) -> Iterator[str]:
    seen.add(id(error))
    earlier = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if earlier is not None and id(earlier) not in seen:
        yield from _lines(earlier, seen)
        yield "\nThat led to:\n\n"
    yield "Traceback (most recent call last):\n"
    yield from traceback.format_tb(error.__traceback__)
    yield f"{told(error)}\n"
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield "\nIn the group:\n\n"
            yield from _lines(each, seen)
