"""Lines of dsjson taken apart into rows: values as they stand there, to be checked many at a time.

What a line means follows Vowpal Wabbit's own reader (`parse_example_json.cc` of 9.11): a line without actions (`a`,
`_outcomes`) is no example, nor is one with `_skipLearn`; the arm drawn is the one of `_labelIndex`, and `_label_cost`
its cost; `o`, `VWState` and `Version` change nothing. Slots' actions count from 0, `a` from 1.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from simulator.logs.dsjson_actions import BadActions

if TYPE_CHECKING:
    from simulator.logs.dsjson_actions import Actions, Listed

NOT_LEARNED: Final = "not learned (_skipLearn)"
DANGLING: Final = "reward without a decision"
UNLABELLED: Final = "decision without a reward"
NO_ACTIONS: Final = "decision without actions"

_JOINED: Final = frozenset({"RewardValue", "EnqueuedTimeUtc", "Observations", "o", "EventId", "DeferredAction"})

_OF_SLOTS: Final = frozenset({"Timestamp", "EventId", "_customer"})
_OF_ONE: Final = frozenset({"p", "_original_label_cost"})


class BadLine(ValueError):
    """Why a line cannot be taken: `args` are the field and what is wrong."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What the first decision says, and hence all of them must: chunks of a log say the same things.

    Attributes:
        slots: whether there are several slots a line.
        needed: those of `p`, `Timestamp`, `EventId`, `_customer` and `_original_label_cost` that it has; for slots
            none of the first and last.
        pdrop: the share of decisions that was dropped before they were logged. Vowpal Wabbit gives what is left the
            weight 1 / (1 - pdrop); an equal weight of all decisions changes no mean.
    """

    slots: bool
    needed: frozenset[str]
    pdrop: Any

    @classmethod
    def of(cls, value: dict[str, Any]) -> Layout:
        """That of a decision."""
        slots = "_outcomes" in value
        needed = _OF_SLOTS if slots else _OF_SLOTS | _OF_ONE
        return cls(slots, needed & value.keys(), value.get("pdrop") or 0)

    @property
    def distribution(self) -> bool:
        """Whether the probabilities of all candidates are said."""
        return self.slots or "p" in self.needed

    def check(self, value: dict[str, Any]) -> None:
        """Raise `BadLine` where a decision does not say what the first one says; it may say more."""
        if ("_outcomes" in value) is not self.slots:
            raise BadLine("_outcomes", "a log has decisions of one slot or of several: split it")
        if not self.needed <= value.keys():
            raise BadLine(min(self.needed - value.keys()), "is missing, and the first decision has it")
        pdrop = value.get("pdrop") or 0
        if pdrop != self.pdrop:
            raise BadLine(
                "pdrop",
                f"is {pdrop!r} and was {self.pdrop!r} in the first decision: such decisions stand for different "
                "numbers of decisions; split the log where it changes",
            )


@dataclass(slots=True)
class Rows:
    """n decisions of one slot each.

    Attributes:
        line: the number of the row's line among those that were read with it.
        value: what the line says, but for its context; of a slot what it would say were it the only one.
        context: `c` without its actions and slots.
        candidates: the arms of the actions that the row numbers.
    """

    line: list[int] = field(default_factory=list)
    value: list[dict[str, Any]] = field(default_factory=list)
    context: list[dict[str, Any]] = field(default_factory=list)
    candidates: list[tuple[int, ...]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.line)


@dataclass(slots=True)
class LineReader:
    """Takes lines apart."""

    actions: Actions
    layout: Layout | None = None

    def read(self, number: int, line: bytes, rows: Rows) -> str | None:
        """Append the line's decisions, or say what it is instead.

        Raises `BadLine` and orjson.JSONDecodeError.
        """
        value, listed = self.actions.parse(line)
        other = _other(value)
        if other is not None:
            return other
        if self.layout is None:
            self.layout = Layout.of(value)
        else:
            self.layout.check(value)
        context = value["c"]
        if listed is None:
            try:
                listed = self.actions.of(context.get("_multi"), line)
            except BadActions as error:
                raise BadLine("c._multi", str(error)) from None
        context.pop("_multi")
        if self.layout.slots:
            return _slots(number, value, listed, rows)
        _check_list("a", value["a"])
        if self.layout.distribution:
            _check_list("p", value["p"])
        rows.line.append(number)
        rows.value.append(value)
        rows.context.append(context)
        rows.candidates.append(listed.arms)
        return None


def _other(value: Any) -> str | None:  # noqa: ANN401 - anything that JSON may hold
    """What a line is that is no decision with a reward to be learned; None for one that is."""
    if type(value) is not dict:
        raise BadLine("line", "expected a JSON object")
    if "c" not in value:
        if _JOINED.isdisjoint(value):
            raise BadLine("c", "is missing: neither a decision nor a reward")
        return DANGLING
    if type(value["c"]) is not dict:
        raise BadLine("c", "expected an object")
    if value.get("_skipLearn"):
        return NOT_LEARNED
    several = "_outcomes" in value
    if not value.get("_outcomes" if several else "a"):
        return NO_ACTIONS
    if not several and "_label_cost" not in value:
        return UNLABELLED
    return None


def _check_list(name: str, value: object) -> None:
    if type(value) is not list:
        raise BadLine(name, "expected a list")


def _slots(number: int, value: dict[str, Any], listed: Listed, rows: Rows) -> str | None:
    """A row for each slot: of a slate, whose cost is that of all together, or of slots with a cost each."""
    outcomes, context = value["_outcomes"], value["c"]
    _check_list("_outcomes", outcomes)
    slots = context.pop("_slots", None)
    own = Rows()
    for position, outcome in enumerate(outcomes):
        if type(outcome) is not dict:
            raise BadLine("_outcomes", f"slot {position}: expected an object")
        cost = outcome.get("_label_cost", value.get("_label_cost"))
        if cost is None:
            return UNLABELLED
        ranked, p = (each if type(each) is list else [each] for each in map(outcome.get, ("_a", "_p")))
        if not ranked or not p:
            raise BadLine("_outcomes", f"slot {position}: no _a or no _p")
        features = slots[position] if type(slots) is list and position < len(slots) else None
        alone = {"a": [each + 1 if type(each) is int else each for each in ranked], "p": p, "position": position}
        label = {"_label_cost": cost, "_label_probability": p[0], "_labelIndex": ranked[0], "_label_Action": None}
        own.line.append(number)
        own.value.append(value | alone | label)
        own.context.append({**context, "slot": features} if type(features) is dict else context)
        own.candidates.append(listed.of_slot(position))
    rows.line += own.line
    rows.value += own.value
    rows.context += own.context
    rows.candidates += own.candidates
    return None
