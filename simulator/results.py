"""What a simulation came to: the true values that only the world knows beside what the service has observed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
import orjson

from optimizer.groups import GROUPS
from optimizer.history import DAY_US
from simulator.estimates import Mean

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from simulator.logs.service import LogPage
    from simulator.measured import Measured

LAST_DAYS = 5
"""Over how many days at the end the gap is reported beside the whole."""


@dataclass(frozen=True, slots=True)
class Observed:
    """What the service knows of the same n decisions.

    Attributes:
        subject: (n,) a number for each subject.
        reward: (n,) NaN where it is not closed.
        sent: (n,) whether a touch was sent.
    """

    subject: NDArray[np.intp]
    reward: NDArray[np.float64]
    sent: NDArray[np.bool_]

    def mean_reward(self, wanted: NDArray[np.bool_]) -> Mean:
        """The mean of the closed rewards where `wanted` (n,) is true; its interval takes the subjects as drawn."""
        closed = wanted & ~np.isnan(self.reward)
        _, subject = np.unique(self.subject[closed], return_inverse=True)
        totals, sizes = np.bincount(subject, weights=self.reward[closed]), np.bincount(subject)
        return Mean.of_clusters(totals.astype(np.float64), sizes.astype(np.float64))


class Tally:
    """Gathers `Observed` from the pages of a decision log."""

    def __init__(self) -> None:
        self._subjects: dict[str, int] = {}
        self._parts: list[tuple[list[int], list[float], list[bool]]] = []

    def add(self, page: LogPage) -> None:
        """Take the next page."""
        subjects, nothing = self._subjects, float("nan")
        known = [subjects.setdefault(row.subject_id, len(subjects)) for row in page.rows]
        closed = [page.rewards.get(row.decision_id) for row in page.rows]
        touched = [page.touches.get(row.decision_id) for row in page.rows]
        self._parts.append(
            (
                known,
                [nothing if reward is None else reward.reward for reward in closed],
                [touch is not None and touch.sent_us is not None for touch in touched],
            )
        )

    def observed(self) -> Observed:
        """Everything so far, in order."""
        return Observed(
            np.array([subject for part in self._parts for subject in part[0]], np.intp),
            np.array([reward for part in self._parts for reward in part[1]], np.float64),
            np.array([sent for part in self._parts for sent in part[2]], np.bool_),
        )


@dataclass(frozen=True, slots=True)
class GroupResult:
    """One group over the whole time.

    Attributes:
        decisions, touches_sent: how many.
        reward: the mean closed reward.
        oracle_share: the expected reward of what was chosen, as a share of the best arms' in the same states.
    """

    group: str
    decisions: int
    touches_sent: int
    reward: Mean
    oracle_share: float | None


@dataclass(frozen=True, slots=True)
class Point:
    """One group on one day of decisions; the first day is 0.

    Attributes:
        reward: the mean closed reward.
        expected, oracle, uniform: mean expected reward of what was chosen, of the best arm and of a uniform draw.
        gap_closed: see `Measured.gap_closed`.
    """

    day: int
    group: str
    decisions: int
    reward: Mean
    expected: float
    oracle: float
    uniform: float
    gap_closed: float | None


@dataclass(frozen=True, slots=True)
class Setting:
    """What was simulated: this campaign around a world of so many customers, for so many days."""

    campaign_id: str
    config_hash: str
    seed: int
    customers: int
    days: int


@dataclass(frozen=True, slots=True)
class Result:
    """A finished simulation.

    Attributes:
        setting: what was simulated.
        groups: those that occur, in the order of `GROUPS`.
        gap_closed: of treatment, between uniform and the oracle on treatment's own states.
        gap_closed_last_days: the same over the decisions of the last `LAST_DAYS` days.
        curve: each group on each day on which it had decisions.
    """

    setting: Setting
    groups: tuple[GroupResult, ...]
    gap_closed: float | None
    gap_closed_last_days: float | None
    curve: tuple[Point, ...]

    def dumps(self) -> bytes:
        """As indented JSON."""
        return orjson.dumps(asdict(self), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def summarise(setting: Setting, measured: Measured, observed: Observed) -> Result:
    """The result of decisions that the world has measured and the service observed, both in the same order."""
    day = (measured.decided_us - measured.decided_us.min(initial=np.iinfo(np.int64).max)) // DAY_US
    groups, curve = [], []
    for name in (group.value for group in GROUPS):
        mine = measured.group == name
        if not mine.any():
            continue
        sent = int(np.count_nonzero(observed.sent & mine))
        reward = observed.mean_reward(mine)
        groups.append(GroupResult(name, int(mine.sum()), sent, reward, measured.where(mine).oracle_share))
        for number in np.unique(day[mine]).tolist():
            then = mine & (day == number)
            part = measured.where(then)
            curve.append(
                Point(
                    number,
                    name,
                    int(then.sum()),
                    observed.mean_reward(then),
                    float(part.chosen.mean()),
                    float(part.best.mean()),
                    float(part.uniform.mean()),
                    part.gap_closed,
                )
            )
    treated = measured.group == "treatment"
    last = treated & (day >= setting.days - LAST_DAYS)
    return Result(
        setting,
        tuple(groups),
        measured.where(treated).gap_closed,
        measured.where(last).gap_closed,
        tuple(curve),
    )
