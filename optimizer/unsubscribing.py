"""The link in a message by which its recipient unsubscribes: a signed token that names the decision, and nobody.

It has no end: a message may be read years later, and whoever has it may always unsubscribe, as long as the decision is
kept. Only the service's secret makes tokens, so that nobody unsubscribes others by trying.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from optimizer.secret import same

if TYPE_CHECKING:
    from optimizer.secret import Secret

PATH: Final = "/unsubscribe/"
"""Below this the path is a token."""
TRIAL: Final = "test"
"""What stands in the place of a token in a test send, which belongs to no decision."""

_PURPOSE: Final = "unsubscribe"
_DIGITS: Final = 32
"""How many hexadecimal digits sign a token: 128 bits."""
_SIGN_BYTES: Final = _DIGITS // 2


@dataclass(frozen=True, slots=True)
class Links:
    """Makes the links, which lead to this service as it is reached from outside (`https://service.example`)."""

    secret: Secret
    public_url: str

    def to(self, tenant: str, decision_id: str) -> str:
        """The link of a touch."""
        return self.public_url + PATH + token(self.secret, tenant, decision_id)

    def of_trial(self) -> str:
        """The link of a test send: it leads to the same page, which changes nothing."""
        return self.public_url + PATH + TRIAL


def token(secret: Secret, tenant: str, decision_id: str) -> str:
    """The token that unsubscribes whom this decision was about.

    >>> from optimizer.secret import Secret
    >>> secret = Secret(b"an example of thirty-two bytes...")
    >>> named(secret, token(secret, "default", "019b-7"))
    ('default', '019b-7')
    """
    name = f"{decision_id} {tenant}"
    return base64.urlsafe_b64encode(_sign(secret, name) + name.encode()).rstrip(b"=").decode()


def named(secret: Secret, text: str) -> tuple[str, str] | None:
    """The tenant and the decision that a token names; None where we have not made it."""
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        sign, name = raw[:_SIGN_BYTES], raw[_SIGN_BYTES:].decode()
    except (binascii.Error, ValueError):
        return None
    if not same(sign.hex(), _sign(secret, name).hex()):
        return None
    decision_id, _, tenant = name.partition(" ")
    return tenant, decision_id


def _sign(secret: Secret, name: str) -> bytes:
    return bytes.fromhex(secret.digest(_PURPOSE, name)[:_DIGITS])
