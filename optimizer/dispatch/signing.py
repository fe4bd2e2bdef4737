"""Standard Webhooks (standardwebhooks.com): what is sent can be checked by its receiver, and what comes in by us.

A message is its id, the second at which it was signed and its bytes; its signature is their HMAC-SHA256. Both sides
know the secret, written `whsec_` and base64. While a secret is changed a message may carry several signatures.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from typing import TYPE_CHECKING, Final

from optimizer.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Mapping

ID: Final = "webhook-id"
TIMESTAMP: Final = "webhook-timestamp"
SIGNATURE: Final = "webhook-signature"

TOLERANCE_S: Final = 300
"""How far the clocks of both sides may be apart: what was signed longer ago may be somebody's repetition."""

_PREFIX: Final = "whsec_"
_VERSION: Final = "v1"
_MIN_BYTES: Final = 24


class Signer:
    """Signs messages with one secret, and recognises those that were signed with it."""

    def __init__(self, secret: str) -> None:
        """Raises InvalidInput where the secret has not its form, or is too short; the message does not show it."""
        try:
            self._key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
        except (binascii.Error, ValueError) as error:
            raise InvalidInput("expected whsec_ and base64, as Standard Webhooks has it") from error
        if len(self._key) < _MIN_BYTES:
            raise InvalidInput(f"has {len(self._key)} bytes; it needs {_MIN_BYTES} at least, chosen at random")

    def headers(self, message_id: str, at_s: int, body: bytes) -> dict[str, str]:
        """The headers of a message that is signed at this second since the epoch."""
        return {ID: message_id, TIMESTAMP: str(at_s), SIGNATURE: f"{_VERSION},{self._sign(message_id, at_s, body)}"}

    def verified(self, headers: Mapping[str, str], body: bytes, now_s: float) -> str | None:
        """The id of the message; None unless it was signed with the secret, and not too long ago."""
        message_id, at = headers.get(ID), headers.get(TIMESTAMP, "")
        if not message_id or not at.isascii() or not at.isdigit() or abs(int(at[:12]) - now_s) > TOLERANCE_S:
            return None
        expected = self._sign(message_id, int(at), body).encode()
        given = [each.partition(",") for each in headers.get(SIGNATURE, "").split(" ")]
        found = [hmac.compare_digest(sign.encode(), expected) for version, _, sign in given if version == _VERSION]
        return message_id if any(found) else None

    def _sign(self, message_id: str, at_s: int, body: bytes) -> str:
        content = b"%b.%d.%b" % (message_id.encode(), at_s, body)
        return base64.b64encode(hmac.digest(self._key, content, "sha256")).decode()
