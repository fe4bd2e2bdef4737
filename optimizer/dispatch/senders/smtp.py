"""E-mail by SMTP (RFC 5321): a message in text and HTML from the template, with one-click unsubscribing (RFC 8058).

Where the line is between not sent and perhaps sent: a server takes a message over with its answer to the dot that ends
it. Whatever fails before the dot was handed over was not sent; what fails after it and before the answer is unknown.
"""

from __future__ import annotations

import re
import smtplib
import socket
import ssl
import time
from contextlib import suppress
from datetime import timedelta
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate
from functools import partial
from typing import TYPE_CHECKING, Annotated, Final, Literal, Self, TypeAlias

from pydantic import AfterValidator, Field, SecretStr, model_validator

from optimizer.dispatch.kinds import ChannelSettings, Kit, Timeout
from optimizer.dispatch.senders.base import CALL_S, END_S, NO_ADDRESS, NO_TIME, SENT, Outcome, Outgoing, Result
from optimizer.dispatch.templates import NotRendered
from optimizer.scalars import Text
from optimizer.tracebacks import told

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from optimizer.dispatch.templates import Rendered, Templates

Security: TypeAlias = Literal["starttls", "tls", "none"]

_PORTS: Final[dict[Security, int]] = {"starttls": 587, "tls": 465, "none": 25}
_MAILBOX: Final = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@([A-Za-z0-9-]{1,63}\.)*[A-Za-z0-9-]{1,63}")
_ENHANCED: Final = re.compile(rb"[245]\.\d{1,3}\.\d{1,3}\b")
_FORM: Final = SMTP.clone(max_line_length=998, cte_type="7bit")
"""How a message is written: what every server takes. A link is longer than the lines into which headers are folded."""
_OK: Final = 250
_ALSO_OK: Final = {251, 252}
_GO_AHEAD: Final = 354
_FAILED: Final = 500
_LEADING_DOT: Final = re.compile(rb"(?m)^\.")
_BAD_ADDRESS: Final = Outcome(Result.PERMANENT, "the address is not one of e-mail")


def _mailbox(text: str) -> str:
    """An address that a server can be given as it stands. Raises ValueError."""
    if not _MAILBOX.fullmatch(text):
        raise ValueError(f"{text!r} is not an e-mail address such as news@example.com")
    return text


Mailbox: TypeAlias = Annotated[Text, AfterValidator(_mailbox)]


class SmtpSettings(ChannelSettings):
    """E-mail through a mail server."""

    kind: Literal["smtp"] = Field(description="smtp.")
    host: Text = Field(description="The mail server.")
    port: Annotated[int | None, Field(strict=True, ge=1, le=65_535)] = Field(
        default=None, description="Its port; by default 587, or 465 with tls, or 25 with none."
    )
    security: Security = Field(
        default="starttls",
        description="starttls: encrypted, or not at all. tls: encrypted from the start. none: for a server on this "
        "machine.",
    )
    username: Text | None = Field(default=None, description="Who we are to it; by default it does not ask.")
    password: SecretStr | None = Field(default=None, description="And the password.")
    from_address: Mailbox = Field(alias="from", description="The address that messages come from.")
    name: Text | None = Field(default=None, description="And the name beside it.")
    reply_to: Mailbox | None = Field(default=None, description="Where answers go; by default to the same address.")
    unsubscribe_mailto: Mailbox | None = Field(
        default=None, description="An address that unsubscribes whoever writes to it, beside the link."
    )
    timeout: Timeout = Field(
        default=timedelta(seconds=10), description="How long to wait for each answer of the server."
    )

    renders = True
    titled = True

    @model_validator(mode="after")
    def _password_with_its_user(self) -> Self:
        if self.password is not None and self.username is None:
            raise ValueError("a password needs its username")
        return self

    def make(self, kit: Kit) -> SmtpSender:
        """The sender of the channel. Raises InvalidInput where the password is missing."""
        password = None if self.username is None else kit.secret(self.password, "password")
        return SmtpSender(self, kit.templates, password)


class SmtpSender:
    """Sends each touch as a message of its own, all of a call over one connection.

    A message's `Message-ID` is made of its decision, so that what comes back of it, and a second one, can be told.
    """

    batch: int = 100
    needs_address: bool = True

    def __init__(self, settings: SmtpSettings, templates: Templates, password: str | None = None) -> None:
        self._settings = settings
        self._templates = templates
        self._password = password
        self._domain = settings.from_address.rpartition("@")[2]

    def send(self, touches: Sequence[Outgoing]) -> Sequence[Outcome]:
        """Send them one after the other; those whose turn does not come in time are given back."""
        until_s = time.monotonic() + CALL_S
        with _Session(self._settings, self._password) as session:
            return [self._one(session, touch) if time.monotonic() < until_s else NO_TIME for touch in touches]

    def _one(self, session: _Session, touch: Outgoing) -> Outcome:
        if touch.address is None:
            return NO_ADDRESS
        try:
            recipient = _addressed(touch.address)
        except ValueError:
            # What it says holds the address.
            return _BAD_ADDRESS
        try:
            message = self.message(touch, self._templates.render(touch, subject=True), recipient).as_bytes()
        except NotRendered as error:
            return Outcome(Result.PERMANENT, error.why)
        except ValueError as error:
            return Outcome(Result.PERMANENT, f"the message cannot be written: {type(error).__name__}")
        return session.deliver(recipient, message)

    def message(self, touch: Outgoing, rendered: Rendered, recipient: str) -> EmailMessage:
        """The message of a touch. Every header is made of checked parts, on one line each."""
        settings, message = self._settings, EmailMessage(_FORM)
        message["Subject"] = rendered.subject or ""
        message["From"] = Address(settings.name or "", addr_spec=settings.from_address)
        message["To"] = Address(addr_spec=recipient)
        if settings.reply_to is not None:
            message["Reply-To"] = Address(addr_spec=settings.reply_to)
        message["Date"] = formatdate()
        message["Message-ID"] = f"<{touch.decision_id}@{self._domain}>"
        message["Auto-Submitted"] = "auto-generated"
        ways = [f"<{rendered.unsubscribe_url}>"] if rendered.unsubscribe_url else []
        if settings.unsubscribe_mailto is not None:
            ways.append(f"<mailto:{settings.unsubscribe_mailto}?subject=unsubscribe%20{touch.decision_id}>")
        if ways:
            message["List-Unsubscribe"] = ", ".join(ways)
        if ways[:1] and ways[0].startswith("<https://"):
            message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
        if touch.test:
            message["X-Test-Send"] = "yes"
        message.set_content(rendered.body)
        if rendered.html is not None:
            message.add_alternative(rendered.html, subtype="html")
        return message


class _Session:
    """One connection to the server, made when it is first needed, and anew after it was lost."""

    def __init__(self, settings: SmtpSettings, password: str | None) -> None:
        self._settings = settings
        self._password = password
        self._smtp: smtplib.SMTP | None = None
        self._unreachable: Outcome | None = None
        self._end_s = time.monotonic() + END_S

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._smtp is not None:
            with suppress(OSError, smtplib.SMTPException):
                self._smtp.quit()
            self._smtp.close()

    def deliver(self, recipient: str, message: bytes) -> Outcome:
        """Hand one message over. A server that could not be reached is not tried again in this session."""
        if self._unreachable is not None:
            return self._unreachable
        if self._smtp is None:
            try:
                self._smtp = self._connected()
            except (OSError, smtplib.SMTPException) as error:
                self._unreachable = Outcome(Result.TEMPORARY, f"the mail server cannot be used: {_told(error)}")
                return self._unreachable
        over = False
        try:
            refusal = self._refusal(self._smtp, recipient)
            if refusal is None:
                self._wait(self._smtp)
                self._smtp.send(_dotted(message))
                over = True
                self._wait(self._smtp)
                code, text = self._smtp.getreply()
                return SENT if code == _OK else _refused(code, text)
        except (OSError, smtplib.SMTPException) as error:
            self._lose()
            if over:
                return Outcome(Result.UNKNOWN, f"no answer after the message was handed over: {_told(error)}")
            return Outcome(Result.TEMPORARY, f"the connection was lost before the message was over: {_told(error)}")
        return refusal

    def _lose(self) -> None:
        if self._smtp is not None:
            self._smtp.close()
            self._smtp = None

    def _left_s(self) -> float:
        """How long the next answer may take: never nothing, which would mean for ever."""
        return max(0.1, min(self._settings.timeout.total_seconds(), self._end_s - time.monotonic()))

    def _wait(self, smtp: smtplib.SMTP) -> None:
        if smtp.sock is not None:
            smtp.sock.settimeout(self._left_s())

    def _connected(self) -> smtplib.SMTP:
        settings, timeout_s = self._settings, self._left_s()
        port, name = settings.port or _PORTS[settings.security], socket.gethostname()
        if settings.security == "tls":
            context = ssl.create_default_context()
            smtp: smtplib.SMTP = smtplib.SMTP_SSL(settings.host, port, name, timeout=timeout_s, context=context)
        else:
            smtp = smtplib.SMTP(settings.host, port, name, timeout=timeout_s)
        try:
            if settings.security == "starttls":
                # Where the server does not offer it, this raises: nothing is sent in the clear.
                smtp.starttls(context=ssl.create_default_context())
            if settings.username is not None:
                smtp.login(settings.username, self._password or "")
            else:
                smtp.ehlo_or_helo_if_needed()
        except BaseException:
            smtp.close()
            raise
        return smtp

    def _refusal(self, smtp: smtplib.SMTP, recipient: str) -> Outcome | None:
        """Begin a message; why it is refused, if it is, and then the server is ready for another one."""
        for step, wanted in (
            (partial(smtp.mail, self._settings.from_address), _OK),
            (partial(smtp.rcpt, recipient), _OK),
            (partial(smtp.docmd, "DATA"), _GO_AHEAD),
        ):
            self._wait(smtp)
            code, text = step()
            if code != wanted and not (wanted == _OK and code in _ALSO_OK):
                try:
                    smtp.rset()
                except (OSError, smtplib.SMTPException):
                    self._lose()
                return _refused(code, text)
        return None


def _addressed(address: str) -> str:
    """The address as the server gets it: in ASCII, the domain as DNS has it. Raises ValueError."""
    mailbox, _, domain = address.strip().rpartition("@")
    return _mailbox(f"{mailbox}@{domain if domain.isascii() else domain.encode('idna').decode()}")


def _dotted(message: bytes) -> bytes:
    """The message as it follows DATA: a dot that begins a line is doubled, and one alone ends it."""
    return _LEADING_DOT.sub(b"..", message).removesuffix(b"\r\n") + b"\r\n.\r\n"


def _refused(code: int, text: bytes) -> Outcome:
    """What a refusal means. Its text usually repeats the address and is not told; its enhanced code (RFC 3463) is."""
    enhanced = _ENHANCED.match(text)
    detail = f"the mail server answered {code}" + (f" {enhanced[0].decode()}" if enhanced else "")
    return Outcome(Result.PERMANENT if code >= _FAILED else Result.TEMPORARY, detail)


def _told(error: Exception) -> str:
    if isinstance(error, smtplib.SMTPResponseException):
        return f"it answered {error.smtp_code}"
    return told(error) if error.__class__.__module__ != smtplib.__name__ else type(error).__name__
