"""The data card of an exported log: what it holds, where it comes from, and what a reader has to know of it.

It has counts and dates, and nothing about any customer.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from math import inf, isfinite
from typing import TYPE_CHECKING, Final

import orjson

from optimizer.clock import from_us
from optimizer.groups import Group

if TYPE_CHECKING:
    from collections.abc import Mapping

    from simulator.logs.service import LogPage

PERSONAL: Final = (
    "Subject ids are pseudonyms: only the database links them to customers, and no longer once a customer is erased. "
    "Names and addresses are not in the file; attributes are as the campaign was told them, request ids as the caller "
    "chose them. Treat the file as data about persons."
)
_RANDOM: Final = (Group.TREATMENT.value, Group.RANDOM_CONTROL.value)


@dataclass(frozen=True, slots=True)
class Span:
    """Some decisions: how many, the first and the last instant."""

    decisions: int
    first_us: int | None
    last_us: int | None

    def __add__(self, other: Span) -> Span:
        ends = [us for us in (self.first_us, self.last_us, other.first_us, other.last_us) if us is not None]
        return Span(self.decisions + other.decisions, min(ends, default=None), max(ends, default=None))

    def shown(self) -> dict[str, int | str | None]:
        """As the card has it."""
        first, last = (None if us is None else from_us(us).isoformat() for us in (self.first_us, self.last_us))
        return {"decisions": self.decisions, "first": first, "last": last}


@dataclass(slots=True)
class Contents:
    """Counts over the pages of a log.

    Attributes:
        spans: by the version's hash.
        groups: decisions by group.
        closed, learned: how many decisions are.
        drawn_closed: closed decisions of the groups that are learned from, which drew an arm.
        left_out: how many of these are not learned from, by reason.
        reward_sum: over what is learned from; `propensity_min` over all that drew at random.
    """

    spans: dict[str, Span] = field(default_factory=dict)
    groups: Counter[str] = field(default_factory=Counter)
    closed: int = 0
    learned: int = 0
    drawn_closed: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    reward_sum: float = 0.0
    propensity_min: float = inf

    def add(self, page: LogPage) -> None:
        """Count one page."""
        rows = page.rows
        span = Span(len(rows), rows[0].decided_us, rows[-1].decided_us)
        version = rows[0].config_hash
        self.spans[version] = self.spans[version] + span if version in self.spans else span
        self.groups.update(row.group_name for row in rows)
        for row, reward, why in zip(rows, page.closed, page.left_out, strict=True):
            random = row.group_name in _RANDOM and row.propensity is not None
            if random and row.propensity is not None:
                self.propensity_min = min(self.propensity_min, row.propensity)
            if reward is None:
                continue
            self.closed += 1
            self.drawn_closed += random
            if reward.learn:
                self.learned += 1
                self.reward_sum += reward.reward
            elif random:
                self.left_out[str(why)] += 1

    @property
    def decisions(self) -> int:
        """How many there are."""
        return sum(self.groups.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class DataCard:
    """What is told of an exported file.

    Attributes:
        campaign: its id.
        file, format, sha256, size_bytes: the file.
        exported_at: ISO 8601, UTC; only decisions made before are in it.
        software: the version that wrote it.
        decisions: all together.
        versions: of the campaign, by the hash of their configuration, with their dates.
        groups, closed, learned: counts.
        left_out: of the closed decisions that drew at random, how many are not learned from, by reason.
        left_out_share: all of these, of the closed decisions that drew at random; null without any.
        reward_mean: over what is learned from, in the campaign's unit; null without any.
        propensity_min: over all that drew at random; null without any.
        columns: what each column, or field, means.
        personal: what to know of the persons in it.
    """

    campaign: str
    file: str
    format: str
    sha256: str
    size_bytes: int
    exported_at: str
    software: str
    decisions: Mapping[str, int | str | None]
    versions: Mapping[str, Mapping[str, int | str | None]]
    groups: Mapping[str, int]
    closed: int
    learned: int
    left_out: Mapping[str, int]
    left_out_share: float | None
    reward_mean: float | None
    propensity_min: float | None
    columns: Mapping[str, str]
    personal: str = PERSONAL

    @classmethod
    def of(  # noqa: PLR0913 - what only the exporter knows
        cls,
        contents: Contents,
        *,
        campaign: str,
        file: str,
        format: str,  # noqa: A002 - the field's name
        sha256: str,
        size_bytes: int,
        exported_at: str,
        software: str,
        columns: Mapping[str, str],
    ) -> DataCard:
        """Of what a file holds."""
        whole = sum(contents.spans.values(), Span(0, None, None))
        drawn, learned = contents.drawn_closed, contents.learned
        return cls(
            campaign=campaign,
            file=file,
            format=format,
            sha256=sha256,
            size_bytes=size_bytes,
            exported_at=exported_at,
            software=software,
            decisions=whole.shown(),
            versions={name: span.shown() for name, span in contents.spans.items()},
            groups=dict(sorted(contents.groups.items())),
            closed=contents.closed,
            learned=learned,
            left_out=dict(sorted(contents.left_out.items())),
            left_out_share=contents.left_out.total() / drawn if drawn else None,
            reward_mean=contents.reward_sum / learned if learned else None,
            propensity_min=contents.propensity_min if isfinite(contents.propensity_min) else None,
            columns=columns,
        )

    def dumps(self) -> bytes:
        """As JSON."""
        return orjson.dumps(asdict(self), option=orjson.OPT_INDENT_2) + b"\n"

    def markdown(self) -> str:
        """As a page to be read."""
        total = self.decisions["decisions"]
        lines = [
            f"# Decisions of campaign `{self.campaign}`",
            "",
            (
                f"`{self.file}` ({self.format}, {self.size_bytes:,} bytes, SHA-256 `{self.sha256}`), written by "
                f"campaign-optimizer {self.software} at {self.exported_at}."
            ),
            "",
            *_table(("", "decisions", "first", "last"), [("all", *self._span(self.decisions))]),
            *_table(
                ("version", "decisions", "first", "last"),
                [(f"`{name[:12]}`", *self._span(span)) for name, span in self.versions.items()],
            ),
            *_table(("group", "decisions"), [(name, f"{n:,}") for name, n in self.groups.items()]),
            (
                f"Of {total:,} decisions {self.closed:,} are closed, and {self.learned:,} are learned from, with a "
                f"mean reward of {_number(self.reward_mean)}. The smallest propensity of a random draw is "
                f"{_number(self.propensity_min)}."
            ),
            "",
            f"Left out of learning: {_share(self.left_out_share)} of the closed decisions that drew at random.",
            "",
            *_table(("reason", "decisions"), [(name, f"{n:,}") for name, n in self.left_out.items()]),
            self.personal,
            "",
            *_table(("column", "meaning"), [(f"`{name}`", meaning) for name, meaning in self.columns.items()]),
        ]
        return "\n".join(lines)

    @staticmethod
    def _span(span: Mapping[str, int | str | None]) -> tuple[str, ...]:
        return f"{span['decisions']:,}", str(span["first"] or ""), str(span["last"] or "")


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    if not rows:
        return []
    cells = [head, tuple("---" for _ in head), *(tuple(cell.replace("|", "\\|") for cell in row) for row in rows)]
    return [*(f"| {' | '.join(row)} |" for row in cells), ""]


def _number(value: float | None) -> str:
    return "(none)" if value is None else f"{value:.6g}"


def _share(value: float | None) -> str:
    return "nothing yet" if value is None else f"{value:.2%}"
