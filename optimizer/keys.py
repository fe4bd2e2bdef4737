"""The callers' keys: made and shown once, kept as keyed digests, and what a caller who has one may do.

A key reads `co_<key_id>_<secret>`. The key_id is no secret: it finds the key, and stands in logs and in the audit. Of
the rest (190 random bits) the service keeps a digest alone, keyed with its own secret.
"""

from __future__ import annotations

import secrets
import string
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import orjson

from optimizer import audit
from optimizer.clock import from_us
from optimizer.errors import Conflict, InvalidInput, NotFound
from optimizer.secret import same
from optimizer.store import keys
from optimizer.store.keys import KeyRow

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime, timedelta

    from sqlalchemy import Connection

    from optimizer.runtime import Runtime

PREFIX: Final = "co_"
PURPOSE: Final = "api_key"
"""What the digests of keys are made for, see `Secret.digest`."""

_ALPHABET: Final = string.ascii_letters + string.digits
_ID_LENGTH: Final = 10
_SECRET_LENGTH: Final = 32
_LABEL_LENGTH: Final = 200


class Scope(StrEnum):
    """What a key is good for."""

    DECIDE = "decide"
    """Ask for decisions."""
    EVENTS = "events"
    """Report events."""
    READ = "read"
    """See campaigns, runs, decisions, customers and reports."""
    MANAGE = "manage"
    """Store and erase customers; run, pause and resume campaigns."""
    ADMIN = "admin"
    """Everything, in the key's tenant and campaigns."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, and what they may do.

    Attributes:
        key_id: of the key that they have; None where none is needed.
        tenant: whose data they see, and nobody else's.
        scopes: what the key is good for; `admin` includes the others.
        campaigns: the only ones that exist for them; None is all.
    """

    key_id: str | None
    tenant: str
    scopes: frozenset[Scope]
    campaigns: frozenset[str] | None = None

    @property
    def by(self) -> str:
        """How the audit calls them."""
        return "anonymous" if self.key_id is None else f"key:{self.key_id}"

    def may(self, scope: Scope) -> bool:
        """Whether their key is good for this."""
        return scope in self.scopes or Scope.ADMIN in self.scopes

    def sees(self, campaign_id: str) -> bool:
        """Whether this campaign exists for them, if it does at all."""
        return self.campaigns is None or campaign_id in self.campaigns


@dataclass(frozen=True, slots=True)
class KeyReport:
    """A key as it is shown again and again: everything but the secret."""

    key_id: str
    label: str
    scopes: Sequence[Scope]
    campaigns: Sequence[str] | None
    created_at: datetime
    ends_at: datetime | None
    state: str
    """`active`, `expired` or `revoked`."""


class Keys:
    """Makes, lists and ends the keys of one tenant."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def create(
        self,
        scopes: Sequence[Scope],
        *,
        label: str = "",
        campaigns: Sequence[str] | None = None,
        lifetime: timedelta | None = None,
        by: str = audit.SERVICE,
    ) -> str:
        """Make a key with these scopes, and return it: it cannot be shown again.

        `campaigns` are the only ones that it is good for. Raises InvalidInput.
        """
        if not scopes:
            raise InvalidInput(f"a key needs a scope: {', '.join(Scope)}")
        if campaigns is not None and not campaigns:
            raise InvalidInput("a key that is bound to campaigns names one at least")
        if len(label) > _LABEL_LENGTH or not (label.isprintable() or not label):
            raise InvalidInput(f"a label has {_LABEL_LENGTH} printable characters at most")
        runtime = self._runtime
        key_id, now_us = _random(_ID_LENGTH), runtime.now_us()
        key = f"{PREFIX}{key_id}_{_random(_SECRET_LENGTH)}"
        row = KeyRow(
            key_id,
            runtime.tenant,
            label,
            runtime.secret.digest(PURPOSE, key),
            orjson.dumps(sorted(set(scopes))).decode(),
            None if campaigns is None else orjson.dumps(sorted(set(campaigns))).decode(),
            now_us,
            None if lifetime is None else now_us + _us(lifetime),
            None,
        )

        def change(connection: Connection) -> None:
            keys.insert_key(connection, row)
            audit.note(connection, runtime, by, audit.Action.CREATED, {_object(key_id): _told(row)})

        runtime.store.write(change)
        return key

    def reports(self) -> list[KeyReport]:
        """Every key that there ever was, in the order in which they were made."""
        now_us = self._runtime.now_us()
        rows = self._runtime.store.read(partial(keys.keys_of, tenant=self._runtime.tenant))
        return [_report(row, now_us) for row in rows]

    def revoke(self, key_id: str, after: timedelta | None = None, by: str = audit.SERVICE) -> KeyReport:
        """End a key now, or after some time: until then it and the one that takes its place are good both.

        Raises NotFound, and Conflict where it has ended already.
        """
        runtime = self._runtime
        now_us = runtime.now_us()

        def change(connection: Connection) -> KeyReport:
            row = keys.key_by_id(connection, runtime.tenant, key_id)
            if row is None:
                raise NotFound(f"there is no key {key_id!r}; optimizer keys list shows those there are")
            state = _report(row, now_us).state
            if state != "active":
                raise Conflict(f"key {key_id} is {state} already")
            if after is None:
                row = row._replace(revoked_us=now_us)
            else:
                row = row._replace(expires_us=min(now_us + _us(after), row.expires_us or now_us + _us(after)))
            keys.end_key(connection, row)
            ends_us = now_us if after is None else row.expires_us
            audit.note(connection, runtime, by, audit.Action.REVOKED, {_object(key_id): {"ends_us": ends_us}})
            return _report(row, now_us)

        return runtime.store.write(change)


@dataclass(frozen=True, slots=True)
class KeyRing:
    """The keys of all tenants as they were at one time.

    Attributes:
        locked: whether any key was ever made: then every caller needs one.
    """

    locked: bool
    _held: Mapping[str, tuple[str, int | None, Caller]]

    @classmethod
    def read(cls, runtime: Runtime) -> KeyRing:
        """The keys as they are now."""
        rows = runtime.store.read(keys.all_keys)
        held = {row.key_id: (row.digest, row.expires_us, _caller(row)) for row in rows if row.revoked_us is None}
        return cls(bool(rows), held)

    def caller(self, key: str, runtime: Runtime) -> Caller | None:
        """Who has this key; None for one that is not good, or is no longer."""
        key_id, _, rest = key.removeprefix(PREFIX).partition("_")
        found = self._held.get(key_id)
        if found is None or not rest:
            return None
        digest, expires_us, caller = found
        if not same(runtime.secret.digest(PURPOSE, key), digest):
            return None
        return caller if expires_us is None or runtime.now_us() < expires_us else None


def _caller(row: KeyRow) -> Caller:
    scopes = frozenset(Scope(scope) for scope in orjson.loads(row.scopes))
    campaigns = None if row.campaigns is None else frozenset(orjson.loads(row.campaigns))
    return Caller(row.key_id, row.tenant, scopes, campaigns)


def _report(row: KeyRow, now_us: int) -> KeyReport:
    state = "active"
    if row.revoked_us is not None:
        state = "revoked"
    elif row.expires_us is not None and row.expires_us <= now_us:
        state = "expired"
    ends_us = row.expires_us if row.revoked_us is None else row.revoked_us
    return KeyReport(
        row.key_id,
        row.label,
        [Scope(scope) for scope in orjson.loads(row.scopes)],
        None if row.campaigns is None else orjson.loads(row.campaigns),
        from_us(row.created_us),
        None if ends_us is None else from_us(ends_us),
        state,
    )


def _told(row: KeyRow) -> dict[str, Any]:
    """What the audit says of a new key."""
    caller = _caller(row)
    return {
        "label": row.label,
        "scopes": sorted(caller.scopes),
        "campaigns": None if caller.campaigns is None else sorted(caller.campaigns),
        "expires_us": row.expires_us,
    }


def _object(key_id: str) -> str:
    """How a key is named in the audit."""
    return f"key:{key_id}"


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def _us(span: timedelta) -> int:
    return round(span.total_seconds() * 1_000_000)
