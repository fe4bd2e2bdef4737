"""What a message says: templates in a folder, filled with what is known of the customer and the touch.

A creative's reference and version name a folder of files, `<reference>/v<version>/`: `subject.txt`, `body.txt` and
`body.html`. They are Jinja2 in a sandbox. A variable that is not there is an error, never an empty space: where it may
be missing, the template says what stands there instead (`{{ customer.first_name | default("friend") }}`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson
from jinja2 import (
    FileSystemLoader,
    StrictUndefined,
    TemplateError,
    TemplateNotFound,
    TemplateSyntaxError,
    UndefinedError,
    select_autoescape,
)
from jinja2.sandbox import ImmutableSandboxedEnvironment

if TYPE_CHECKING:
    from pathlib import Path

    from optimizer.dispatch.senders.base import Outgoing
    from optimizer.unsubscribing import Links

SUBJECT: Final = "subject.txt"
BODY: Final = "body.txt"
HTML: Final = "body.html"
MARK: Final = "[TEST] "
"""What a test send begins with."""


class NotRendered(Exception):
    """A message cannot be made; why, without anything that is the customer's."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


@dataclass(frozen=True, slots=True)
class Rendered:
    """A message as its recipient gets it.

    Attributes:
        subject: on one line; None where the template has none.
        html: the same as `body` in HTML; None where the template has none.
        unsubscribe_url: where its recipient unsubscribes; None where the service has no public address.
    """

    subject: str | None
    body: str
    html: str | None
    unsubscribe_url: str | None


class Templates:
    """The templates of a folder. Safe to use from several threads.

    Args:
        folder: what is below it may include and extend one another.
        links: makes the `unsubscribe_url`; without it that variable is not there.
    """

    def __init__(self, folder: Path, links: Links | None = None) -> None:
        self._links = links
        self._jinja = ImmutableSandboxedEnvironment(
            loader=FileSystemLoader(folder),
            undefined=_Missing,
            autoescape=select_autoescape(["html"], default_for_string=False),
            trim_blocks=True,
            lstrip_blocks=True,
        )

    def render(self, touch: Outgoing, *, subject: bool = False) -> Rendered:
        """The message of a touch. Raises NotRendered.

        Args:
            subject: whether it has to have one.
        """
        url = self.unsubscribe_url(touch)
        variables = _variables(touch, url)
        title = self._part(touch, SUBJECT, variables, needed=subject)
        body = self._part(touch, BODY, variables)
        html = self._part(touch, HTML, variables, needed=False)
        mark = MARK if touch.test else ""
        if title is None:
            return Rendered(None, f"{mark}{body}", html, url)
        # On one line, whatever stands in a customer's attributes: a subject becomes a header.
        return Rendered(mark + " ".join(title.split()), body or "", html, url)

    def has(self, template: str, version: int) -> bool:
        """Whether there is a body of this version."""
        try:
            self._jinja.get_template(_path(template, version, BODY))
        except TemplateError:
            return False
        return True

    def unsubscribe_url(self, touch: Outgoing) -> str | None:
        """Where the recipient of a touch unsubscribes."""
        if self._links is None:
            return None
        return self._links.of_trial() if touch.test else self._links.to(touch.tenant, touch.decision_id)

    def _part(self, touch: Outgoing, part: str, variables: dict[str, Any], *, needed: bool = True) -> str | None:
        path = _path(touch.template, touch.version, part)
        try:
            return self._jinja.get_template(path).render(variables)
        except TemplateNotFound as error:
            if error.name == path:
                if needed:
                    raise NotRendered(f"there is no template {path}") from None
                return None
            raise NotRendered(f"template {path}: there is no template {error.name}") from None
        except TemplateSyntaxError as error:
            raise NotRendered(f"template {path}, line {error.lineno}: {error.message}") from None
        except UndefinedError as error:
            raise NotRendered(f"template {path}: {self._missing(path, error)}") from None
        except Exception as error:  # noqa: BLE001 -- a template may do anything with what it is given
            # What the error says may be the customer's.
            raise NotRendered(f"template {path}: {type(error).__name__}") from None

    def _missing(self, path: str, error: UndefinedError) -> str:
        """Which variable is missing, by a name that stands in the template: another one may come from an attribute."""
        source, _, _ = self._jinja.loader.get_source(self._jinja, path) if self._jinja.loader else ("", None, None)
        name = error.message or ""
        return f"there is no {name}" if name and name in source else "a variable is not there"


class _Missing(StrictUndefined):
    """A variable that is not there: the message of its error is its name."""

    __slots__ = ()
    # What filters do with a number, and the strict one forgets.
    __round__ = __abs__ = __index__ = StrictUndefined._fail_with_undefined_error  # noqa: SLF001 -- made to be extended

    @property
    def _undefined_message(self) -> str:
        return str(self._undefined_name or "")


def _path(template: str, version: int, part: str) -> str:
    return f"{template}/v{version}/{part}"


def _variables(touch: Outgoing, url: str | None) -> dict[str, Any]:
    """What templates know. What is null is not there."""
    found: dict[str, Any] = {
        "customer": {name: value for name, value in orjson.loads(touch.attributes).items() if value is not None},
        "customer_id": touch.customer_id,
        "campaign": touch.campaign_id,
        "message": touch.message,
        "channel": touch.channel,
        "offer": orjson.loads(touch.offer),
        "unsubscribe_url": url,
    }
    return {name: value for name, value in found.items() if value is not None}
