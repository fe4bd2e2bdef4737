"""An address is recognised however it is written, and kept so that nobody can read it."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.secret import Secret
from optimizer.store.rows import CustomerRow
from optimizer.store.suppressions import SuppressionRow, insert_suppressions
from optimizer.suppression import EVERY, Cause, address_digest, barring, customer_digest, normalised, suppressed
from tests.optimizer.engine_example import SECRET, Rig

pytestmark = pytest.mark.databases


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ana@example.com", " Ana@EXAMPLE.com\n"),
        ("straße@example.de", "STRASSE@example.de"),
        ("\uff41na@example.com", "ana@example.com"),
        ("+52 55 1234 5678", "+52 (55) 1234-5678"),
        ("+525512345678", "0052.55.1234.5678"),
        (" device-token ", "device-token"),
    ],
)
def test_one_address_written_in_two_ways_is_one(one: str, other: str) -> None:
    assert normalised(one) == normalised(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ana@example.com", "ana@example.org"),
        ("+525512345678", "+525512345679"),
        ("Token", "token"),
        ("5512345678", "+525512345678"),
    ],
)
def test_two_addresses_stay_two(one: str, other: str) -> None:
    assert normalised(one) != normalised(other)


@given(st.text(max_size=20), st.sampled_from(["", "@example.com"]))
def test_writing_an_address_so_twice_changes_nothing(name: str, domain: str) -> None:
    once = normalised(name + domain)
    assert normalised(once) == once


def test_the_digest_is_keyed_and_shows_nothing_of_the_address() -> None:
    digest = address_digest(SECRET, "ana@example.com")
    assert digest == address_digest(SECRET, "Ana@example.com")
    assert digest != address_digest(Secret(b"another" * 8), "ana@example.com")
    assert "ana" not in digest


def person(customer_id: str = "ana", **addresses: str) -> CustomerRow:
    return CustomerRow(
        "default", customer_id, "s", "{}", None, orjson.dumps(addresses).decode(), "{}", loaded=True, updated_us=0
    )


def suppress(rig: Rig, digest: str, channel: str, cause: Cause, *, after_us: int = 0) -> None:
    row = SuppressionRow("default", channel, digest, cause.value, rig.now_us + after_us)
    rig.store.write(lambda c: insert_suppressions(c, [row]))


def barred(rig: Rig, *people: CustomerRow) -> list[dict[str, str]]:
    """By channel: the cause."""
    found = rig.store.read(lambda c: suppressed(c, rig.engine.runtime, people))
    return [{channel: row.cause for channel, row in each.items()} for each in found]


def test_an_address_stays_suppressed_for_its_first_cause_on_its_channel_and_for_its_tenant() -> None:
    digest = address_digest(SECRET, "ana@example.com")
    with Rig() as rig:
        suppress(rig, digest, "email", Cause.COMPLAINED)
        suppress(rig, digest, "email", Cause.BOUNCED, after_us=1)
        other = SuppressionRow("other", "push", digest, Cause.BOUNCED.value, rig.now_us)
        rig.store.write(lambda c: insert_suppressions(c, [other]))
        people = [
            person(email="ANA@example.com", push="ana@example.com"),
            person(email="bob@example.com"),
            person(),
        ]
        assert barred(rig, *people) == [{"email": Cause.COMPLAINED}, {}, {}]


@given(st.permutations([(5, Cause.BOUNCED), (3, Cause.UNSUBSCRIBED), (3, Cause.COMPLAINED), (9, Cause.NO_CONSENT)]))
@settings(max_examples=10)
def test_whatever_is_told_first_the_earliest_cause_stays(told: list[tuple[int, Cause]]) -> None:
    with Rig() as rig:
        for after_us, cause in told:
            suppress(rig, address_digest(SECRET, "ana@example.com"), "email", cause, after_us=after_us)
        (row,) = rig.dump("suppressions")["suppressions"]
        assert row[3:] == (Cause.COMPLAINED, rig.now_us + 3)


def test_an_address_may_be_suppressed_on_every_channel_and_so_may_a_customer_by_id() -> None:
    with Rig() as rig:
        suppress(rig, address_digest(SECRET, "5551234"), EVERY, Cause.REQUESTED)
        suppress(rig, customer_digest(SECRET, "bob"), "push", Cause.UNSUBSCRIBED)
        suppress(rig, customer_digest(SECRET, "eve"), EVERY, Cause.COMPLAINED)
        people = [
            person(sms="555-1234", chat="555 1234", email="ana@example.com"),
            person("bob", email="bob@example.com"),
            person("eve"),
        ]
        assert barred(rig, *people) == [
            {"sms": Cause.REQUESTED, "chat": Cause.REQUESTED},
            {"push": Cause.UNSUBSCRIBED},
            {EVERY: Cause.COMPLAINED},
        ]
        ana, bob, eve = rig.store.read(lambda c: suppressed(c, rig.engine.runtime, people))
        assert [barring(ana, channel) is not None for channel in ("sms", "email", None)] == [True, False, False]
        assert [barring(bob, channel) is not None for channel in ("push", "email", None)] == [True, False, False]
        assert [barring(eve, channel) is not None for channel in ("push", "email", None)] == [True, True, True]


def test_the_id_of_a_customer_is_no_address() -> None:
    assert customer_digest(SECRET, "ana") != address_digest(SECRET, "ana")


@pytest.mark.parametrize("others", [0, 3, 50])
def test_many_are_looked_up_at_once_however_many_are_suppressed(others: int) -> None:
    people = [person(f"c{i}", email=f"c{i}@example.com") for i in range(40)]
    with Rig() as rig:
        assert barred(rig, *people) == [{}] * 40
        suppress(rig, address_digest(SECRET, "c7@example.com"), "email", Cause.BOUNCED)
        suppress(rig, customer_digest(SECRET, "c8"), EVERY, Cause.REQUESTED)
        for number in range(others):
            suppress(rig, customer_digest(SECRET, f"other-{number}"), EVERY, Cause.REQUESTED)
        found = barred(rig, *people)
        assert (found.pop(8), found.pop(7)) == ({EVERY: Cause.REQUESTED}, {"email": Cause.BOUNCED})
        assert found == [{}] * 38
