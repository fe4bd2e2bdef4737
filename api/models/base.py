"""What the models of all resources share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

if TYPE_CHECKING:
    from collections.abc import Mapping


Key = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]+$")]
"""An identifier that the caller chose: 1 to 256 characters, none of them a control character."""

Flag = Annotated[bool, Field(strict=True)]


def examples(*shown: Mapping[str, Any]) -> dict[str, Any]:
    """These examples as the extra part of a JSON Schema."""
    return {"examples": list(shown)}


class Sent(BaseModel):
    """What callers send; an unknown field is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)
