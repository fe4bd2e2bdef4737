"""What the models of all resources share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from optimizer.limits import ID_PATTERN, MAX_ID, MAX_TEXT, flaw

if TYPE_CHECKING:
    from collections.abc import Mapping


Key = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=MAX_ID, pattern=ID_PATTERN)]
"""An identifier that the caller chose: 1 to 256 characters, none of them a control character."""


def _within_limits(value: object) -> object:
    # Before anything else is looked at: of what is far too large, every part could be wrong.
    wrong = flaw(value)
    if wrong is not None:
        raise ValueError(wrong)
    return value


_LIMITED = BeforeValidator(_within_limits)
Facts = Annotated[dict[str, Any], _LIMITED]
"""What callers tell in names of their own: neither too much nor too deep. That it is JSON, its reader has seen to."""
Told = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=MAX_TEXT), _LIMITED]
"""A text, of whatever characters."""
Texts = Annotated[dict[str, str], _LIMITED]
Flags = Annotated[dict[str, Annotated[bool, Field(strict=True)]], _LIMITED]


def examples(*shown: Mapping[str, Any]) -> dict[str, Any]:
    """These examples as the extra part of a JSON Schema."""
    return {"examples": list(shown)}


class Sent(BaseModel):
    """What callers send; an unknown field is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)
