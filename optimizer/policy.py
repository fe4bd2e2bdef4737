"""How arms are chosen for the treatment group, as a campaign file says it."""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeAlias

from pydantic import Discriminator, Field, Tag

from optimizer.scalars import Id, Number, Part, Share

Crosses: TypeAlias = Annotated[
    Annotated[Literal["default"], Tag("default")]
    | Annotated[tuple[Annotated[tuple[Id, ...], Field(min_length=1)], ...], Tag("list"), Field(min_length=1)],
    Discriminator(lambda value: "list" if isinstance(value, list | tuple) else "default"),
]


class _PolicyBase(Part):
    uniform_share: Share = Field(
        default=0.0, description="The total share of probability that is spread uniformly over the allowed arms."
    )
    crosses: Crosses = Field(
        default="default",
        description="default, or the combinations that the model learns: lists of feature names and of the dimensions "
        "message, channel and timing, each with at least one dimension.",
    )
    importance: Literal["one", "mtr"] = Field(
        default="one", description="How decisions weigh in learning: one (all alike) or mtr (inverse propensity)."
    )


class SquareCB(_PolicyBase):
    """Explores the less, the larger an arm's predicted gap to the best one."""

    kind: Literal["squarecb"] = Field(default="squarecb", description="squarecb, the default.")


class EpsilonGreedy(_PolicyBase):
    """The best arm, and with probability epsilon any allowed one."""

    kind: Literal["epsilon_greedy"] = Field(description="epsilon_greedy.")
    epsilon: Share = Field(default=0.05, description="The probability of exploring, 0 to 1.")


class Softmax(_PolicyBase):
    """Probabilities proportional to exp(lambda x predicted reward)."""

    kind: Literal["softmax"] = Field(description="softmax.")
    softmax_lambda: Annotated[Number, Field(gt=0)] = Field(
        default=10.0, description="How sharply the better arms are preferred; rewards are in units of the largest one."
    )


class Greedy(_PolicyBase):
    """Always the best arm: explores nothing."""

    kind: Literal["greedy"] = Field(description="greedy.")
    uniform_share: Annotated[Number, Field(ge=0, le=0)] = Field(
        default=0.0, description="Always 0: greedy never explores."
    )


class Uniform(_PolicyBase):
    """Any allowed arm, all alike."""

    kind: Literal["uniform"] = Field(description="uniform.")


POLICIES: Final[dict[str, type[_PolicyBase]]] = {
    "squarecb": SquareCB,
    "epsilon_greedy": EpsilonGreedy,
    "softmax": Softmax,
    "greedy": Greedy,
    "uniform": Uniform,
}


def _policy_tag(value: object) -> str | None:
    kind = value.get("kind", "squarecb") if isinstance(value, dict) else getattr(value, "kind", "squarecb")
    policy = POLICIES.get(kind) if isinstance(kind, str) else None
    return policy.__name__ if policy else None


Policy: TypeAlias = Annotated[
    Annotated[SquareCB, Tag("SquareCB")]
    | Annotated[EpsilonGreedy, Tag("EpsilonGreedy")]
    | Annotated[Softmax, Tag("Softmax")]
    | Annotated[Greedy, Tag("Greedy")]
    | Annotated[Uniform, Tag("Uniform")],
    Discriminator(
        _policy_tag,
        custom_error_type="policy_kind",
        custom_error_message="unknown kind of policy; allowed: " + ", ".join(POLICIES),
    ),
]
"""How the treatment group's arms are chosen."""
