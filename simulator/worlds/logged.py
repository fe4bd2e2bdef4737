"""The logged world: customers of a real, randomised test, each with the arm that chance gave and what happened then.

Replay by rejection (Li, Chu, Langford and Wang, "Unbiased offline evaluation of contextual-bandit-based news article
recommendation algorithms", WSDM 2011): the rows come in random order, a policy decides for each, and the row counts
where the decision equals the logged arm. As long as the log drew its arms uniformly and independently of the
customers, what remains is a fair sample of what the policy would have met.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from optimizer.errors import InvalidInput
from simulator.logs.plain import PlainCsv
from simulator.logs.reading import Intake

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from simulator.logs.mapping import LogFormat
    from simulator.logs.plain_rows import Taken


@dataclass(frozen=True, slots=True)
class LoggedRow:
    """One customer of the log.

    Attributes:
        customer_id: the customer.
        attributes: by declared name: float, bool or str; what the log leaves empty is absent.
        arm_id: the arm that the log drew.
        outcomes: what happened, by name; 0.0 where it did not.
    """

    customer_id: str
    attributes: Mapping[str, Any]
    arm_id: str
    outcomes: Mapping[str, float]


class LoggedWorld:
    """The rows of a log.

    Attributes:
        rows: in the order of the file.
        arm_ids: every arm that the format names, in its order.
        outcome_names: the outcomes that every row has.
    """

    def __init__(self, rows: Sequence[LoggedRow], arm_ids: Sequence[str]) -> None:
        self.rows = tuple(rows)
        self.arm_ids = tuple(dict.fromkeys(arm_ids))
        self.outcome_names = tuple(self.rows[0].outcomes) if self.rows else ()

    @classmethod
    def read(cls, path: Path, layout: LogFormat) -> LoggedWorld:
        """Read a CSV file with a header, gzipped if its name ends in `.gz`.

        Raises `InvalidInput` for a format without arms' ids, outcomes, or one propensity for all rows; and naming the
        file and line for the first thing that is not as the format says.
        """
        if layout.arm.values is None or not layout.outcomes or isinstance(layout.propensity, str):
            raise InvalidInput(
                f"{path}: a replay takes a log whose arms were drawn uniformly: its format needs arm.values, outcomes, "
                "and a number as propensity"
            )
        rows: list[LoggedRow] = []
        for taken in PlainCsv(path, layout).taken(Intake(strict=True)):
            rows += _rows(taken, layout, len(rows) + 1)
        return cls(rows, list(layout.arm.values.values()))

    def shuffled(self, seed: int) -> Iterator[LoggedRow]:
        """Every row once, in an order that depends on `seed` only."""
        for i in np.random.default_rng(seed).permutation(len(self.rows)):
            yield self.rows[i]

    def outcomes(self, arm_id: str, name: str) -> NDArray[np.float64]:
        """The outcome `name` of every row whose logged arm is `arm_id`, in the order of the file."""
        return np.array([row.outcomes[name] for row in self.rows if row.arm_id == arm_id])


def _rows(taken: Taken, layout: LogFormat, first: int) -> Iterator[LoggedRow]:
    log = taken.log
    columns = [(name, spec.type == "boolean", log.context[name].tolist()) for name, spec in layout.context.items()]
    outcomes = {name: values.tolist() for name, values in taken.outcomes.items()}
    for i, arm in enumerate(log.chosen.tolist()):
        facts = ((name, bool(values[i]) if truth else values[i], values[i]) for name, truth, values in columns)
        yield LoggedRow(
            f"row-{first + i:07d}" if taken.customer_ids is None else taken.customer_ids[i],
            {name: fact for name, fact, value in facts if value is not None and value == value},  # noqa: PLR0124 - NaN
            log.arms[arm],
            {name: values[i] for name, values in outcomes.items()},
        )
