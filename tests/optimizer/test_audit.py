"""Every change of a campaign, key or customer is on record, with who and when, and never with a customer's value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import pytest

from optimizer.audit import customer_object
from optimizer.secret import Secret
from optimizer.store.customers import Customer
from tests.optimizer.engine_example import START, Rig, campaign

if TYPE_CHECKING:
    from optimizer.store.audit import AuditRow

pytestmark = pytest.mark.databases

ANA = Customer(
    "ana",
    {"plan": "gold", "age": 41, "vip": None, "tags": ["shoes"]},
    "Europe/Paris",
    {"email": "ana@example.com"},
    {"email": True},
)


def changes(rig: Rig, object_: str | None = None) -> list[AuditRow]:
    """The log, the first change first."""
    return rig.engine.changes(1000, object_=object_)[::-1]


def of(rig: Rig, customer_id: str) -> list[AuditRow]:
    return changes(rig, customer_object(rig.engine.runtime.secret, customer_id))


def fields(row: AuditRow) -> dict[str, list[str | None]]:
    """By field that changed: the digests of the old and the new value, None where there was or is none."""
    details = orjson.loads(row.details)
    old, new = details.get("old", {}), details["new"]
    return {name: [old.get(name), new.get(name)] for name in old.keys() | new.keys()}


def test_what_is_done_to_a_campaign_is_noted_once_with_its_version_and_who_did_it() -> None:
    first, second = campaign(), campaign(policy={"kind": "greedy"})
    with Rig() as rig:
        rig.engine.load_campaign(first, by="cli:eve")
        rig.engine.load_campaign(first, by="cli:eve")
        rig.engine.pause("camp", by="key:one")
        rig.engine.pause("camp", by="key:two")
        rig.engine.load_campaign(second)
        rig.engine.resume("camp", by="key:two")
        rig.engine.resume("camp", by="key:two")
        rig.engine.rejoin("camp", by="cli:eve")
        told = [(row.actor, row.action, orjson.loads(row.details)) for row in changes(rig, "campaign:camp")]
        one, two = {"config_hash": first.config_hash}, {"config_hash": second.config_hash}
        assert told == [
            ("cli:eve", "loaded", one),
            ("key:one", "paused", one),
            ("service", "loaded", two),
            ("key:two", "resumed", two),
            ("cli:eve", "rejoined", two),
        ]


def test_what_failed_is_not_noted() -> None:
    with Rig() as rig:
        for change in (rig.engine.pause, rig.engine.resume, rig.engine.rejoin, rig.engine.erase_customer):
            with pytest.raises(Exception, match="there is no"):
                change("camp")
        assert changes(rig) == []


def test_a_customers_entries_say_which_fields_and_hold_no_value() -> None:
    with Rig() as rig:
        rig.engine.put_customers([ANA], by="key:one")
        rig.pass_by(hours=1)
        rig.engine.put_customers([Customer("ana", {"plan": "free"}, None, {"email": "ana@example.com"})], by="key:two")
        rig.pass_by(hours=1)
        rig.engine.erase_customer("ana", by="cli:eve")
        stored, changed, erased = of(rig, "ana")
        assert [(row.actor, row.action) for row in (stored, changed, erased)] == [
            ("key:one", "stored"),
            ("key:two", "stored"),
            ("cli:eve", "erased"),
        ]
        assert fields(stored).keys() == {
            "attributes.plan",
            "attributes.age",
            "attributes.tags",
            "addresses.email",
            "consents.email",
            "timezone",
        }
        assert all(old is None and new is not None for old, new in fields(stored).values())
        assert fields(changed).keys() == fields(stored).keys() - {"addresses.email"}, "it stayed as it was"
        assert fields(changed)["attributes.plan"][0] == fields(stored)["attributes.plan"][1]
        assert fields(changed)["attributes.age"] == [fields(stored)["attributes.age"][1], None]
        assert fields(erased) == {
            "attributes.plan": [fields(changed)["attributes.plan"][1], None],
            "addresses.email": [fields(stored)["addresses.email"][1], None],
        }
        log = repr(rig.dump("audit"))
        for value in ("ana", "gold", "free", "Paris", "shoes"):
            assert value not in log
        assert stored.at_us < changed.at_us < erased.at_us


def test_storing_what_is_known_already_is_no_change() -> None:
    with Rig() as rig:
        rig.engine.put_customers([ANA])
        rig.engine.put_customers([ANA])
        assert len(of(rig, "ana")) == 1


def test_a_value_that_comes_back_has_its_digest_again_and_no_other_customers() -> None:
    with Rig() as rig:
        for plan in ("gold", "free", "gold"):
            rig.engine.put_customers([Customer("ana", {"plan": plan}), Customer("bob", {"plan": plan, "city": plan})])
        first, second, third = (fields(row)["attributes.plan"] for row in of(rig, "ana"))
        assert third[1] == first[1] != second[1]
        bob = fields(of(rig, "bob")[0])
        assert len({first[1], *(new for _, new in bob.values())}) == 3, "of customer and field as well"


def test_a_customer_whom_an_event_had_named_is_stored_when_they_are_loaded() -> None:
    with Rig() as rig:
        rig.tell("e1", "clicked", customer_id="ana")
        assert of(rig, "ana") == []
        rig.engine.put_customers([Customer("ana")])
        (entry,) = of(rig, "ana")
        assert fields(entry) == {}


def test_of_a_batch_every_customer_is_noted_and_of_one_who_comes_twice_the_last() -> None:
    with Rig() as rig:
        rows = [Customer(f"c{i:04d}", {"age": i}) for i in range(1500)]
        rig.engine.put_customers([*rows, Customer("c0000", {"age": 7, "plan": "gold"})], by="cli:eve")
        log = rig.engine.changes(5000)
        assert len({row.object for row in log}) == len(log) == 1500
        assert {row.actor for row in log} == {"cli:eve"}
        assert fields(of(rig, "c0000")[0]).keys() == {"attributes.age", "attributes.plan"}


def test_without_the_secret_the_digests_say_nothing() -> None:
    def told(secret: Secret) -> set[str]:
        with Rig(secret=secret) as rig:
            rig.engine.put_customers([ANA])
            (entry,) = changes(rig)
            return {entry.object, *(new or "" for _, new in fields(entry).values())}

    one, other = Secret(b"1" * 32), Secret(b"2" * 32)
    assert told(one) == told(one)
    assert not told(one) & told(other)


def test_the_log_is_read_from_its_end_page_by_page() -> None:
    with Rig() as rig:
        for i in range(5):
            rig.engine.put_customers([Customer(f"c{i}")], by=f"key:{i}")
            rig.pass_by(minutes=1)
        seen: list[str] = []
        after: dict[str, Any] = {}
        while page := rig.engine.changes(2, **after):
            seen += [row.actor for row in page]
            after = {"before_id": page[-1].audit_id}
        assert seen == ["key:4", "key:3", "key:2", "key:1", "key:0"]
        since_us = int(START.timestamp() * 1_000_000) + 3 * 60_000_000
        assert [row.actor for row in rig.engine.changes(10, since_us=since_us)] == ["key:4", "key:3"]
