from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from optimizer.errors import InvalidInput
from optimizer.secret import Secret, same

if TYPE_CHECKING:
    from pathlib import Path

RAW = b"0123456789abcdef0123456789abcdef"


def test_a_digest_depends_on_the_secret_the_purpose_and_the_text() -> None:
    digests = {
        Secret(raw).digest(purpose, text)
        for raw in (RAW, RAW[::-1])
        for purpose in ("address", "api_key")
        for text in ("ana@example.com", "bob@example.com")
    }
    assert len(digests) == 8
    assert all(len(digest) == 64 for digest in digests)
    assert Secret(RAW).digest("address", "ana@example.com") in digests


def test_a_secret_is_long_enough() -> None:
    with pytest.raises(InvalidInput, match="31 bytes; it needs 32 at least"):
        Secret(RAW[1:])


def test_a_new_file_has_a_random_secret_that_only_its_owner_reads(tmp_path: Path) -> None:
    path = tmp_path / "var" / "secret"
    made = Secret.from_file(path).digest("p", "x")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert Secret.from_file(path).digest("p", "x") == made
    assert Secret.from_file(tmp_path / "other").digest("p", "x") != made
    assert [each.name for each in path.parent.iterdir()] == ["secret"]


def test_all_who_make_one_file_at_once_have_the_same_secret(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: Secret.from_file(tmp_path / "secret").digest("p", "x"), range(64)))
    assert len(set(found)) == 1


def test_a_file_that_is_of_no_use_is_named(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("  short\n")
    with pytest.raises(InvalidInput, match=f"{path}: the secret has 5 bytes"):
        Secret.from_file(path)
    with pytest.raises(InvalidInput, match=r"Is a directory; .* set OPTIMIZER_SECRET"):
        Secret.from_file(tmp_path)


def test_digests_are_compared_whole() -> None:
    assert same("abc", "abc")
    assert not same("abc", "abd")
