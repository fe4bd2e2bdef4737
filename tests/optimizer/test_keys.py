from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import orjson
import pytest

from optimizer.attributes import Attributes
from optimizer.clock import VirtualClock
from optimizer.errors import Conflict, InvalidInput, NotFound
from optimizer.ids import IdSource
from optimizer.keys import Caller, KeyRing, Keys, Scope
from optimizer.runtime import Runtime
from optimizer.secret import Secret
from optimizer.store import Store, audit
from tests import databases

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.databases

START = datetime(2026, 1, 12, 15, 0, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(START)


@pytest.fixture
def runtime(clock: VirtualClock) -> Iterator[Runtime]:
    with Store(databases.fresh_url()) as store:
        yield Runtime(store, clock, IdSource(), Attributes(), Secret(b"s" * 32))


def who(runtime: Runtime, key: str) -> Caller | None:
    return KeyRing.read(runtime).caller(key, runtime)


def test_a_key_says_who_asks_and_what_for(runtime: Runtime) -> None:
    key = Keys(runtime).create([Scope.DECIDE, Scope.EVENTS], campaigns=["b", "a"])
    key_id = key.split("_")[1]
    assert who(runtime, key) == Caller(
        key_id, "default", frozenset({Scope.DECIDE, Scope.EVENTS}), frozenset({"a", "b"})
    )


def test_the_scope_admin_includes_the_others() -> None:
    admin = Caller("k", "t", frozenset({Scope.ADMIN}))
    reader = Caller("k", "t", frozenset({Scope.READ}))
    assert all(admin.may(scope) for scope in Scope)
    assert [scope for scope in Scope if reader.may(scope)] == [Scope.READ]


def test_only_a_keyed_digest_is_kept(runtime: Runtime) -> None:
    key = Keys(runtime).create([Scope.READ])
    secret = key.split("_")[2]
    held = runtime.store.read(lambda c: [tuple(row) for row in c.exec_driver_sql("select * from api_keys")])
    entries = runtime.store.read(lambda c: audit.latest_entries(c, "default", limit=9))
    assert len(secret) == 32
    assert secret not in str(held) + str(entries)
    assert (
        KeyRing.read(runtime).caller(
            key, Runtime(runtime.store, runtime.clock, runtime.ids, Attributes(), Secret(b"t" * 32))
        )
        is None
    )


@pytest.mark.parametrize("place", [3, 12, 15, -1])
def test_a_key_with_one_wrong_character_is_no_key(runtime: Runtime, place: int) -> None:
    key = Keys(runtime).create([Scope.READ])
    wrong = list(key)
    wrong[place] = "x" if wrong[place] != "x" else "y"
    assert who(runtime, key) is not None
    assert who(runtime, "".join(wrong)) is None


def test_a_key_ends_when_it_expires(runtime: Runtime, clock: VirtualClock) -> None:
    key = Keys(runtime).create([Scope.READ], lifetime=90 * DAY)
    ring = KeyRing.read(runtime)
    clock.advance_to(START + 90 * DAY - timedelta(seconds=1))
    assert ring.caller(key, runtime) is not None
    clock.advance_to(START + 90 * DAY)
    assert ring.caller(key, runtime) is None
    assert [report.state for report in Keys(runtime).reports()] == ["expired"]


def test_a_revoked_key_ends_at_once_and_leaves_the_doors_locked(runtime: Runtime) -> None:
    assert not KeyRing.read(runtime).locked
    key = Keys(runtime).create([Scope.READ])
    report = Keys(runtime).revoke(key.split("_")[1])
    assert (report.state, report.ends_at) == ("revoked", START)
    assert who(runtime, key) is None
    assert KeyRing.read(runtime).locked
    with pytest.raises(Conflict, match="is revoked already"):
        Keys(runtime).revoke(report.key_id)


def test_keys_are_rotated_with_overlap(runtime: Runtime, clock: VirtualClock) -> None:
    old = Keys(runtime).create([Scope.READ], lifetime=90 * DAY)
    new = Keys(runtime).create([Scope.READ])
    report = Keys(runtime).revoke(old.split("_")[1], after=DAY)
    assert (report.state, report.ends_at) == ("active", START + DAY)
    assert who(runtime, old) is not None
    assert who(runtime, new) is not None
    clock.advance_to(START + DAY)
    assert who(runtime, old) is None
    assert who(runtime, new) is not None


def test_ending_a_key_later_never_lengthens_its_life(runtime: Runtime) -> None:
    key = Keys(runtime).create([Scope.READ], lifetime=DAY)
    assert Keys(runtime).revoke(key.split("_")[1], after=9 * DAY).ends_at == START + DAY


def test_a_tenant_neither_sees_nor_ends_the_keys_of_another(runtime: Runtime) -> None:
    theirs = Runtime(runtime.store, runtime.clock, runtime.ids, Attributes(), runtime.secret, tenant="theirs")
    key = Keys(theirs).create([Scope.READ])
    assert Keys(runtime).reports() == []
    with pytest.raises(NotFound):
        Keys(runtime).revoke(key.split("_")[1])
    caller = who(runtime, key)
    assert caller is not None
    assert caller.tenant == "theirs"


def test_every_change_of_a_key_is_in_the_audit(runtime: Runtime) -> None:
    key_id = Keys(runtime).create([Scope.READ], label="dashboard", by="cli:ana").split("_")[1]
    Keys(runtime).revoke(key_id, by="cli:bob")
    entries = runtime.store.read(lambda c: audit.latest_entries(c, "default", limit=9))
    assert [(e.object, e.action, e.actor) for e in entries] == [
        (f"key:{key_id}", "revoked", "cli:bob"),
        (f"key:{key_id}", "created", "cli:ana"),
    ]
    assert orjson.loads(entries[1].details) == {
        "label": "dashboard",
        "scopes": ["read"],
        "campaigns": None,
        "expires_us": None,
    }


def test_a_key_that_is_good_for_nothing_is_not_made(runtime: Runtime) -> None:
    with pytest.raises(InvalidInput, match="needs a scope: decide, events, read, manage, admin"):
        Keys(runtime).create([])
    with pytest.raises(InvalidInput, match="names one at least"):
        Keys(runtime).create([Scope.READ], campaigns=[])
    with pytest.raises(InvalidInput, match="200 printable"):
        Keys(runtime).create([Scope.READ], label="a\n")


@pytest.mark.parametrize("text", ["", "co_", "co__", "co_abc", "co_abc_", "Bearer", "ü"])
def test_no_other_text_is_a_key(runtime: Runtime, text: str) -> None:
    assert who(runtime, text) is None
