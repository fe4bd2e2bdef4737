"""What the models of all resources share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, StringConstraints

from optimizer.limits import ID_PATTERN, MAX_ID, flaw

if TYPE_CHECKING:
    from collections.abc import Mapping


Key = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=MAX_ID, pattern=ID_PATTERN)]
"""An identifier that the caller chose: 1 to 256 characters, none of them a control character."""


def _within_limits(value: dict[str, JsonValue]) -> dict[str, JsonValue]:
    wrong = flaw(value)
    if wrong is not None:
        raise ValueError(wrong)
    return value


Facts = Annotated[dict[str, JsonValue], AfterValidator(_within_limits)]
"""What callers tell in names of their own: neither too much nor too deep."""

Flag = Annotated[bool, Field(strict=True)]


def examples(*shown: Mapping[str, Any]) -> dict[str, Any]:
    """These examples as the extra part of a JSON Schema."""
    return {"examples": list(shown)}


class Sent(BaseModel):
    """What callers send; an unknown field is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)
