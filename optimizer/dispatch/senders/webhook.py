"""A signed web hook (Standard Webhooks): each touch is a POST of JSON to one address, which carries it out.

Where the line is between not sent and perhaps sent: a receiver acts on a request that it has whole. Whatever fails
before the last byte was written was not sent; a connection that is lost after it, or an answer that does not come, is
unknown. `webhook-id` is the decision's id, by which the receiver recognises a repetition.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeAlias
from urllib.parse import quote, urlsplit

import httpx
import orjson
from pydantic import AfterValidator, Field, SecretStr

from optimizer.dispatch.destination import Refused, resolved
from optimizer.dispatch.kinds import ChannelSettings, Kit, Timeout
from optimizer.dispatch.senders.base import CALL_S, END_S, NO_TIME, SENT, Outcome, Outgoing, Result
from optimizer.dispatch.signing import Signer
from optimizer.errors import InvalidInput
from optimizer.scalars import Flag, Text
from optimizer.tracebacks import told

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from optimizer.dispatch.templates import Templates

AT_ONCE: Final = 16
"""How many requests are under way at one time."""
ID_HERE: Final = "{id}"
"""What stands in a `status_url` where the id of the touch belongs."""

_NEVER_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.WriteTimeout)
_TRY_AGAIN: Final = {408, 409, 425, 429, 503}
"""The words for not having taken a request. Of any other failure of its own a server says nothing that can be relied
on: it may have failed after it had taken the touch."""
_PORTS: Final = {"http": 80, "https": 443}
_OPEN: Final = Outcome(Result.UNKNOWN, "no answer came in time")
_MAX_READ: Final = 64 << 10


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username or parts.fragment:
        raise ValueError("expected an address such as https://provider.example/touches, without a name or password")
    if parts.port == 0:
        raise ValueError("0 is no port")
    return text


def _status_url(text: str) -> str:
    if ID_HERE not in urlsplit(text).path + urlsplit(text).query:
        raise ValueError(f"expected {ID_HERE} where the id of the touch belongs")
    return _url(text)


Url: TypeAlias = Annotated[Text, AfterValidator(_url)]
StatusUrl: TypeAlias = Annotated[Text, AfterValidator(_status_url)]


class WebhookSettings(ChannelSettings):
    """To a web hook, which carries the touches out."""

    kind: Literal["webhook"] = Field(description="webhook.")
    url: Url = Field(description="The address that takes touches.")
    secret: SecretStr | None = Field(
        default=None, description="What requests are signed with: whsec_ and base64, 24 bytes at least."
    )
    status_url: StatusUrl | None = Field(
        default=None, description="The address that tells what became of a touch, with {id} where its id belongs."
    )
    allow_private: Flag = Field(
        default=False, description="Whether it may be inside: on this machine, or in a network that is not public."
    )
    timeout: Timeout = Field(
        default=timedelta(seconds=10), description="How long to wait for a connection, and for an answer."
    )

    def make(self, kit: Kit) -> WebhookSender:
        """The sender of the channel. Raises InvalidInput where the secret is missing or has not its form."""
        secret = kit.secret(self.secret, "secret")
        try:
            signer = Signer(secret)
        except InvalidInput as error:
            raise kit.wrong(error.message, "secret") from error
        kind = WebhookSender if self.status_url is None else AnsweringWebhookSender
        return kind(self, signer, kit.templates)


@dataclass(frozen=True, slots=True)
class _Request:
    """What is asked about one touch."""

    method: str
    url: str
    touch: str
    body: bytes


class WebhookSender:
    """Sends each touch as a request of its own, several at one time."""

    batch: int = 200
    needs_address: bool = False

    def __init__(self, settings: WebhookSettings, signer: Signer, templates: Templates) -> None:
        self._settings = settings
        self._signer = signer
        self._templates = templates

    def send(self, touches: Sequence[Outgoing]) -> Sequence[Outcome]:
        """Send them."""
        url = self._settings.url
        requests = [_Request("POST", url, touch.decision_id, orjson.dumps(self._body(touch))) for touch in touches]
        return self._each(requests, _taken, _not_taken)

    def _body(self, touch: Outgoing) -> dict[str, Any]:
        """What the receiver gets: the reference of the message, and not the customer's attributes."""
        fields = {name: getattr(touch, name) for name in Outgoing.__slots__ if name not in {"attributes", "offer"}}
        return fields | {
            "offer": orjson.loads(touch.offer),
            "unsubscribe_url": self._templates.unsubscribe_url(touch),
        }

    def _each(
        self,
        requests: Sequence[_Request],
        answered: Callable[[int], Outcome],
        failed: Callable[[Exception], Outcome],
    ) -> list[Outcome]:
        """What came of each request: by the status of its answer, or by what went wrong."""
        if not requests:
            return []
        begin_s = time.monotonic()
        url = httpx.URL(requests[0].url)
        try:
            ip = resolved(_host(url), url.port or _PORTS[url.scheme], allow_private=self._settings.allow_private)
        except (Refused, OSError) as error:
            return [failed(error)] * len(requests)
        with self._client() as client:
            pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="webhook")
            try:
                one = partial(self._one, client, ip, begin_s + CALL_S, answered, failed)
                under_way = [pool.submit(one, request) for request in requests]
                done, _ = wait(under_way, begin_s + END_S - time.monotonic())
                return [each.result() if each in done else NO_TIME if each.cancel() else _OPEN for each in under_way]
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _client(self) -> httpx.Client:
        # Nothing of the environment: by way of a proxy it would not be the checked address that is connected to.
        return httpx.Client(
            verify=httpx.create_ssl_context(),
            trust_env=False,
            follow_redirects=False,
            timeout=self._settings.timeout.total_seconds(),
            # A connection for each request: where a receiver answers twice, the second answer would be taken for that
            # to the next touch.
            limits=httpx.Limits(max_connections=AT_ONCE, max_keepalive_connections=0),
        )

    def _one(  # noqa: PLR0913, PLR0917 -- what one request is made with
        self,
        client: httpx.Client,
        ip: str,
        until_s: float,
        answered: Callable[[int], Outcome],
        failed: Callable[[Exception], Outcome],
        request: _Request,
    ) -> Outcome:
        if time.monotonic() >= until_s:
            return NO_TIME
        url = httpx.URL(request.url)
        headers = {
            "Host": url.netloc.decode("ascii"),
            "Content-Type": "application/json",
            **self._signer.headers(request.touch, int(time.time()), request.body),
        }
        # TLS still asks for a certificate of the host that was named.
        named = {"sni_hostname": _host(url)}
        try:
            with client.stream(
                request.method, url.copy_with(host=ip), content=request.body, headers=headers, extensions=named
            ) as answer:
                outcome = answered(answer.status_code)
                _finish(answer, until_s)
                return outcome
        except httpx.HTTPError as error:
            return failed(error)


class AnsweringWebhookSender(WebhookSender):
    """The same for a provider that tells what became of a touch."""

    def ask(self, touches: Sequence[Outgoing]) -> Sequence[Outcome]:
        """Ask for each: 200 says that it was sent, 404 that it never was taken, 410 that it was refused for good."""
        url = self._settings.status_url or ""
        requests = [
            _Request("GET", url.replace(ID_HERE, quote(touch.decision_id, safe="")), touch.decision_id, b"")
            for touch in touches
        ]
        asked = self._each(requests, _known, _not_told)
        # What was not asked for want of time is as little known as before.
        return [_OPEN if outcome is NO_TIME else outcome for outcome in asked]


def _taken(status: int) -> Outcome:
    """What the answer to a touch says of it."""
    if 200 <= status < 300:  # noqa: PLR2004 -- the successful ones
        return SENT
    if status in _TRY_AGAIN:
        return Outcome(Result.TEMPORARY, f"it answered {status}")
    if status >= 500:  # noqa: PLR2004 -- the server's own failures
        return Outcome(Result.UNKNOWN, f"it answered {status}")
    redirected = ", and redirects are not followed" if 300 <= status < 400 else ""  # noqa: PLR2004 -- the redirects
    return Outcome(Result.PERMANENT, f"it answered {status}{redirected}")


def _not_taken(error: Exception) -> Outcome:
    """What a failure before an answer says of the touch."""
    if isinstance(error, Refused):
        return Outcome(Result.PERMANENT, "its address is not public; allow_private would let it be")
    if isinstance(error, OSError):
        return Outcome(Result.TEMPORARY, f"its name cannot be resolved: {told(error)}")
    never = isinstance(error, _NEVER_SENT)
    what = "it was not reached" if never else "no answer after the request was sent"
    return Outcome(Result.TEMPORARY if never else Result.UNKNOWN, f"{what}: {type(error).__name__}")


def _known(status: int) -> Outcome:
    """What the provider says of a touch."""
    told_by = {200: SENT, 404: Outcome(Result.TEMPORARY, "the provider does not know it")}
    gone = Outcome(Result.PERMANENT, "the provider has refused it")
    unknown = Outcome(Result.UNKNOWN, f"asked for it, the provider answered {status}")
    return told_by.get(status) or (gone if status == httpx.codes.GONE else unknown)


def _not_told(error: Exception) -> Outcome:
    return Outcome(Result.UNKNOWN, f"the provider cannot be asked: {type(error).__name__}")


def _host(url: httpx.URL) -> str:
    return url.raw_host.decode("ascii").strip("[]")


def _finish(answer: httpx.Response, until_s: float) -> None:
    """Read what is left of a short answer: who is cut off in the middle of it may think that it was not heard."""
    read = 0
    try:
        for chunk in answer.iter_raw():
            read += len(chunk)
            if read > _MAX_READ or time.monotonic() > until_s:
                return
    except httpx.HTTPError:
        # Its status came, and says all.
        return
