from __future__ import annotations

import pytest

from optimizer.errors import (
    ConfigError,
    Conflict,
    InvalidInput,
    NotFound,
    OptimizerError,
    Problem,
    Unavailable,
)


@pytest.mark.parametrize(
    ("kind", "code", "status"),
    [
        (OptimizerError, "internal", 500),
        (InvalidInput, "invalid_input", 422),
        (NotFound, "not_found", 404),
        (Conflict, "conflict", 409),
        (Unavailable, "unavailable", 503),
    ],
)
def test_codes_and_statuses_that_clients_rely_on_stay_as_they_are(
    kind: type[OptimizerError], code: str, status: int
) -> None:
    error = kind("what was wrong")
    assert (error.code, error.http_status, error.message, str(error)) == (
        code,
        status,
        "what was wrong",
        "what was wrong",
    )


def test_a_config_error_says_every_problem_on_a_line_of_its_own() -> None:
    first, second = Problem("a.yaml", 3, 5, "x.y[0]", "wrong"), Problem("a.yaml", 1, 1, "", "empty")
    error = ConfigError([first, second])
    assert str(error) == "a.yaml:3:5: x.y[0]: wrong\na.yaml:1:1: empty"
    assert error.problems == (first, second)
    assert (error.code, error.http_status) == ("invalid_config", 422)
