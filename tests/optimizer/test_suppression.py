"""An address is recognised however it is written, and kept so that nobody can read it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer.secret import Secret
from optimizer.store.suppressions import SuppressionRow, insert_suppressions
from optimizer.suppression import Cause, address_digest, normalised, suppressed
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


def test_an_address_stays_suppressed_for_its_first_cause_on_its_channel_and_for_its_tenant() -> None:
    digest = address_digest(SECRET, "ana@example.com")
    with Rig() as rig:
        for cause in (Cause.COMPLAINED, Cause.BOUNCED):
            row = SuppressionRow("default", "email", digest, cause.value, rig.now_us)
            rig.store.write(lambda c, row=row: insert_suppressions(c, [row]))  # type: ignore[misc]
        other = SuppressionRow("other", "push", digest, Cause.BOUNCED.value, rig.now_us)
        rig.store.write(lambda c: insert_suppressions(c, [other]))
        books = [
            {"email": "ANA@example.com", "push": "ana@example.com"},
            {"email": "bob@example.com"},
            {},
        ]
        found = rig.store.read(lambda c: suppressed(c, rig.engine.runtime, books))
        assert [{channel: row.cause for channel, row in each.items()} for each in found] == [
            {"email": Cause.COMPLAINED},
            {},
            {},
        ]
