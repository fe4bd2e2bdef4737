"""For each kind of sender a provider that it can be tried against. A new kind needs a rig here."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

import orjson
import structlog

from optimizer.dispatch.kinds import Kit, settings_of
from optimizer.dispatch.senders import Outgoing, Result, Sender
from tests.optimizer.dispatch.senders.providers import NO_PORT, HttpProvider, MailProvider
from tests.optimizer.dispatch.senders.touch import SIGNING, templates

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path


@dataclass
class Rig:
    """A sender with its provider.

    Attributes:
        arrived: what the provider has taken, in any order, as text.
        spoil: makes of a touch one that the provider refuses for good; None: it takes all.
        unreachable: the same sender where its provider is not there, and what comes of a touch then.
        hush: from now on the provider takes touches and does not answer.
    """

    sender: Sender
    arrived: Callable[[], list[str]]
    spoil: Callable[[Outgoing], Outgoing] | None = None
    unreachable: tuple[Sender, Result] | None = None
    hush: Callable[[], None] | None = None


def make(kind: str, folder: Path, *, wait_s: float = 5.0, **fields: Any) -> Any:  # noqa: ANN401 -- with what it has beside
    """The sender of a channel `mail` with these settings, which waits so long for each answer."""
    settings = settings_of(kind).model_validate({"kind": kind, **fields})
    if "timeout" in type(settings).model_fields:
        settings = settings.model_copy(update={"timeout": timedelta(seconds=wait_s)})
    return settings.make(Kit("mail", templates(folder), folder / "outbox"))


@contextmanager
def file_rig(folder: Path) -> Iterator[Rig]:
    def arrived() -> list[str]:
        path = folder / "outbox" / "mail.jsonl"
        return path.read_text().splitlines() if path.exists() else []

    yield Rig(make("file", folder), arrived)


@contextmanager
def log_rig(folder: Path) -> Iterator[Rig]:
    with structlog.testing.capture_logs() as said:
        yield Rig(make("log", folder), lambda: [orjson.dumps(line).decode() for line in said])


@contextmanager
def smtp_rig(folder: Path) -> Iterator[Rig]:
    fields: dict[str, Any] = {"host": "127.0.0.1", "security": "none", "from": "news@service.example"}
    with MailProvider().running() as provider:
        yield Rig(
            make("smtp", folder, port=provider.port, **fields),
            lambda: [message.decode() for message in provider.messages],
            lambda touch: replace(touch, address=f"gone-{touch.address}"),
            (make("smtp", folder, port=NO_PORT, **fields), Result.TEMPORARY),
            lambda: setattr(provider, "silent", True),
        )


@contextmanager
def webhook_rig(folder: Path) -> Iterator[Rig]:
    def answer(request: Any) -> int | None:  # noqa: ANN401
        body = orjson.loads(request.body or b"{}")
        if request.method == "GET":
            known = {orjson.loads(each.body)["decision_id"] for each in provider.requests if each.method == "POST"}
            return 200 if request.path.rpartition("/")[2] in known else 404
        return 422 if str(body["address"]).startswith("gone") else 200

    fields: dict[str, Any] = {"secret": SIGNING, "allow_private": True}
    provider = HttpProvider(answer)
    with provider.running():
        here = f"http://127.0.0.1:{provider.port}"
        yield Rig(
            make("webhook", folder, url=f"{here}/touches", status_url=f"{here}/touches/{{id}}", **fields),
            lambda: [each.body.decode() for each in provider.requests if each.method == "POST"],
            lambda touch: replace(touch, address=f"gone-{touch.address}"),
            (make("webhook", folder, url=f"http://127.0.0.1:{NO_PORT}/", **fields), Result.TEMPORARY),
            lambda: setattr(provider, "answer", lambda _: None),
        )


@contextmanager
def apprise_rig(folder: Path) -> Iterator[Rig]:
    with HttpProvider().running() as provider:
        yield Rig(
            make("apprise", folder, url=f"json://127.0.0.1:{provider.port}/{{address}}/?rto=5&cto=5"),
            lambda: [f"{unquote(each.path)} {each.body.decode()}" for each in provider.requests],
            lambda touch: replace(touch, version=99),
            (make("apprise", folder, url=f"json://127.0.0.1:{NO_PORT}/{{address}}"), Result.UNKNOWN),
            lambda: setattr(provider, "answer", lambda _: None),
        )


RIGS: Final[dict[str, Callable[[Path], AbstractContextManager[Rig]]]] = {
    "file": file_rig,
    "log": log_rig,
    "smtp": smtp_rig,
    "webhook": webhook_rig,
    "apprise": apprise_rig,
}
