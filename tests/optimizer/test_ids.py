from __future__ import annotations

import random
import uuid
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from optimizer.ids import IdSource, made_us, words

INSTANT_US = 1_763_780_000_123_456


def seeded(seed: int) -> IdSource:
    return IdSource(random.Random(seed).randbytes)


def test_an_id_is_a_version_7_uuid_of_its_millisecond_in_canonical_form() -> None:
    text = IdSource().uuid7(INSTANT_US)
    parsed = uuid.UUID(text)
    assert str(parsed) == text
    assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)
    assert parsed.int >> 80 == INSTANT_US // 1000


def test_an_id_tells_the_millisecond_in_which_it_was_made_and_other_text_nothing() -> None:
    assert made_us(IdSource().uuid7(INSTANT_US)) == INSTANT_US // 1000 * 1000
    assert made_us(IdSource().uuid4()) is None
    assert made_us("order-1001") is None


@given(st.lists(st.tuples(st.integers(0, 5_000), st.integers(0, 5)), max_size=20), st.integers(0, 9))
def test_ids_increase_strictly_whatever_the_clock_does(calls: list[tuple[int, int]], seed: int) -> None:
    source = seeded(seed)
    made = [text for now_us, n in calls for text in source.uuid7s(now_us, n)]
    assert all(earlier < later for earlier, later in pairwise(made))
    assert len(made) == sum(n for _, n in calls)


def test_ids_go_on_increasing_when_the_random_bits_of_a_millisecond_are_used_up() -> None:
    source = IdSource(lambda n: b"\xff" * n)
    source.uuid7(0)
    source._last_tail = (1 << 74) - 2  # noqa: SLF001 -- 2^73 ids would have to be made to get there
    before, after = source.uuid7s(0, 1)[0], source.uuid7(0)
    assert before < after
    assert uuid.UUID(before).int >> 80 == 1
    assert uuid.UUID(after).version == 7


def test_the_same_random_bytes_make_the_same_ids() -> None:
    assert seeded(1).uuid7s(5, 4) == seeded(1).uuid7s(5, 4)
    assert seeded(1).uuid7s(5, 4) != seeded(2).uuid7s(5, 4)
    assert seeded(1).uuid4() == seeded(1).uuid4()


def test_a_random_id_is_a_version_4_uuid_in_canonical_form() -> None:
    text = IdSource().uuid4()
    parsed = uuid.UUID(text)
    assert (str(parsed), parsed.version, parsed.variant) == (text, 4, uuid.RFC_4122)


def test_words_are_the_bits_of_the_ids_high_word_first() -> None:
    ids = seeded(3).uuid7s(INSTANT_US, 3)
    bits = words(ids)
    assert bits.dtype == np.uint64
    assert bits.shape == (3, 2)
    assert [(int(high) << 64) | int(low) for high, low in bits] == [uuid.UUID(text).int for text in ids]
    assert words([]).shape == (0, 2)
