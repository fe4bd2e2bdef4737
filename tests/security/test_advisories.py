from __future__ import annotations

import json

from tests.security.advisories import judged

GOOD = {"name": "good", "version": "1.0", "vulns": []}
BAD = {"name": "bad", "version": "1.0", "vulns": [{"id": "CVE-1", "fix_versions": ["1.1"]}]}
UNKNOWN = {"name": "unknown", "skip_reason": "Dependency not found on PyPI and could not be audited"}


def report(*packages: object) -> str:
    return json.dumps({"dependencies": packages, "fixes": []})


def test_an_advisory_is_an_error() -> None:
    found, told = judged(report(GOOD, BAD), "")
    assert found
    assert "bad 1.0: CVE-1, fixed in ['1.1']" in told


def test_what_is_clean_is_no_error() -> None:
    assert judged(report(GOOD), "") == (
        False,
        ["1 of the 1 packages in constraints.txt were looked up.", "0 advisories"],
    )


def test_what_was_not_looked_at_is_said() -> None:
    found, told = judged(report(GOOD, UNKNOWN), "")
    assert not found
    assert told[1] == "NOT AUDITED: the advisory service does not tell of unknown."


def test_it_is_said_where_nothing_was_looked_at() -> None:
    assert judged(report(UNKNOWN, UNKNOWN), "") == (
        False,
        ["NOT AUDITED: no advisory service tells of any of the 2 packages."],
    )


def test_no_advisory_service_is_said_and_no_error() -> None:
    found, told = judged("", "Traceback\nConnectionError: no route\n")
    assert not found
    assert told == [
        "NOT AUDITED: no advisory service could be asked about constraints.txt.",
        "ConnectionError: no route",
    ]
