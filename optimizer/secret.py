"""The service's own secret: what makes its digests of keys and addresses worthless to whoever reads the database.

Without it the digest of an address can be found by trying all addresses; with it only the service can tell whether two
are the same.
"""

from __future__ import annotations

import hmac
import os
import secrets
from contextlib import suppress
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from optimizer.errors import InvalidInput

if TYPE_CHECKING:
    from pathlib import Path

MIN_LENGTH: Final = 32
"""How many bytes a secret has at least."""

_DIGEST_BYTES: Final = 32


class Secret:
    """Makes keyed digests (BLAKE2b); those for one purpose tell nothing about those for another.

    >>> secret = Secret(b"an example of thirty-two bytes...")
    >>> secret.digest("address", "ana@example.com") == secret.digest("api_key", "ana@example.com")
    False
    """

    def __init__(self, raw: bytes) -> None:
        """Raises InvalidInput where `raw` has less than `MIN_LENGTH` bytes."""
        if len(raw) < MIN_LENGTH:
            raise InvalidInput(f"the secret has {len(raw)} bytes; it needs {MIN_LENGTH} at least, chosen at random")
        self._root = blake2b(raw).digest()
        self._keyed: dict[str, blake2b] = {}

    @classmethod
    def ephemeral(cls) -> Secret:
        """A random one, for what ends with the process: simulations and tests."""
        return cls(os.urandom(MIN_LENGTH))

    @classmethod
    def from_file(cls, path: Path) -> Secret:
        """The secret in a file, which is made with a random one, readable by its owner alone, if it is new.

        White space around it does not count. Raises InvalidInput where the file cannot be read or made, or is too
        short.
        """
        try:
            if not path.exists():
                _make(path)
            raw = path.read_bytes().strip()
        except OSError as error:
            raise InvalidInput(
                f"the secret cannot be kept in {path}: {error.strerror}; make the file readable, name another one in "
                "secret_file, or set OPTIMIZER_SECRET"
            ) from error
        try:
            return cls(raw)
        except InvalidInput as error:
            raise InvalidInput(f"{path}: {error.message}") from error

    def digest(self, purpose: str, text: str) -> str:
        """The keyed digest of a text, 64 hexadecimal digits. `purpose` says what it is for: `api_key`, `address`."""
        keyed = self._keyed.get(purpose)
        if keyed is None:
            key = blake2b(purpose.encode(), key=self._root, digest_size=_DIGEST_BYTES).digest()
            keyed = self._keyed[purpose] = blake2b(key=key, digest_size=_DIGEST_BYTES)
        # A copy has the key in it already.
        made = keyed.copy()
        made.update(text.encode())
        return made.hexdigest()


def same(one: str, other: str) -> bool:
    """Whether two digests are equal, in a time that does not tell how far they agree."""
    return hmac.compare_digest(one.encode(), other.encode())


def _make(path: Path) -> None:
    """Write a new secret so that it appears complete or not at all; of two who make one, the first wins."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_urlsafe(MIN_LENGTH).encode())
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()
