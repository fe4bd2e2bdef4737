"""The logged world gives back a randomised log, whole and in random order."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from optimizer.config import load_attributes, load_campaign, load_file
from optimizer.errors import InvalidInput
from simulator.logs.mapping import LogFormat
from simulator.worlds import LoggedWorld

ROOT = Path(__file__).parents[3]
SHARED = Path(os.environ.get("SHARED_DATA", ROOT.parent / "shared" / "data"))

LAYOUT: dict[str, Any] = {
    "version": 1,
    "context": {
        "age": {"column": "years", "type": "number"},
        "member": {"column": "member", "type": "boolean"},
        "city": {"column": "city", "type": "category"},
    },
    "arm": {"column": "sent", "values": {"Mail A": "a", "Mail B": "b", "nothing": "no_send"}},
    "propensity": 0.5,
    "reward": {"column": "visit"},
    "outcomes": {"visited": "visit", "spend": "usd"},
}
CSV = """years,member,city,sent,visit,usd
31,1,Lima,Mail A,1,12.5
44,0,,nothing,0,0
,1,Quito,Mail B,0,0
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "log.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_rows_are_read_as_the_format_says(tmp_path: Path) -> None:
    world = LoggedWorld.read(write(tmp_path, CSV), LogFormat.model_validate(LAYOUT))
    first, second, third = world.rows
    assert first.attributes == {"age": 31.0, "member": True, "city": "Lima"}
    assert second.attributes == {"age": 44.0, "member": False}
    assert third.attributes == {"member": True, "city": "Quito"}
    assert [row.arm_id for row in world.rows] == ["a", "no_send", "b"]
    assert first.outcomes == {"visited": 1.0, "spend": 12.5}
    assert world.arm_ids == ("a", "b", "no_send")
    assert world.outcomes("a", "spend").tolist() == [12.5]


def test_a_gzipped_log_reads_the_same(tmp_path: Path) -> None:
    packed = tmp_path / "log.csv.gz"
    packed.write_bytes(gzip.compress(CSV.encode()))
    layout = LogFormat.model_validate(LAYOUT)
    assert LoggedWorld.read(packed, layout).rows == LoggedWorld.read(write(tmp_path, CSV), layout).rows


def test_customers_keep_their_id_where_the_log_has_one(tmp_path: Path) -> None:
    layout = LogFormat.model_validate({**LAYOUT, "customer_id": "city"})
    assert LoggedWorld.read(write(tmp_path, CSV.replace(",,", ",Cusco,")), layout).rows[1].customer_id == "Cusco"
    numbered = LoggedWorld.read(write(tmp_path, CSV), LogFormat.model_validate(LAYOUT))
    assert len({row.customer_id for row in numbered.rows}) == 3


def test_every_row_comes_once_in_an_order_set_by_the_seed(tmp_path: Path) -> None:
    body = "".join(f"{i},1,Lima,Mail A,0,0\n" for i in range(50))
    world = LoggedWorld.read(write(tmp_path, CSV.splitlines()[0] + "\n" + body), LogFormat.model_validate(LAYOUT))
    one, same, other = (list(world.shuffled(seed)) for seed in (1, 1, 2))
    assert one == same
    assert one != other
    assert sorted(row.customer_id for row in one) == [row.customer_id for row in world.rows]
    assert one != list(world.rows)


@pytest.mark.parametrize(
    ("broken", "line", "told"),
    [
        (CSV.replace("Mail B", "Mail C"), 4, "Mail C"),
        (CSV.replace("31,", "young,"), 2, "years: expected a finite number"),
        (CSV.replace("44,0", "44,yes"), 3, "member: expected 0 or 1"),
        (CSV.replace("usd", "eur"), 1, "no column usd"),
        (CSV.replace("Mail B,0,0", "Mail B,0"), 4, "the row has 5 cells, the header 6"),
        (CSV.replace("Mail B,0,0", "Mail B,0,0,0"), 4, "the row has 7 cells, the header 6"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_line(tmp_path: Path, broken: str, line: int, told: str) -> None:
    with pytest.raises(InvalidInput, match=rf"log\.csv:{line}: .*{told}"):
        LoggedWorld.read(write(tmp_path, broken), LogFormat.model_validate(LAYOUT))


def test_a_log_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot be read"):
        LoggedWorld.read(tmp_path / "absent.csv", LogFormat.model_validate(LAYOUT))


@pytest.mark.parametrize(
    "other",
    [{"propensity": "years"}, {"outcomes": {}}, {"arm": {"column": "sent"}}],
    ids=lambda other: next(iter(other)),
)
def test_a_log_that_cannot_be_replayed_is_refused(tmp_path: Path, other: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="a replay takes a log whose arms were drawn uniformly"):
        LoggedWorld.read(write(tmp_path, CSV), LogFormat.model_validate({**LAYOUT, **other}))


def test_an_unknown_field_of_the_format_is_refused() -> None:
    with pytest.raises(ValidationError, match="weight"):
        LogFormat.model_validate({**LAYOUT, "weight": "w"})


def test_the_format_of_hillstrom_fits_its_campaign() -> None:
    attributes = load_attributes(ROOT / "configs" / "attributes.yaml")
    campaign = load_campaign(ROOT / "configs" / "hillstrom.yaml", attributes)
    layout = load_file(ROOT / "configs" / "worlds" / "hillstrom.yaml", LogFormat)
    assert layout.arm.values is not None
    assert set(layout.arm.values.values()) == {*(m.id for m in campaign.catalog.messages), "no_send"}
    assert {f.name: str(f.type) for f in campaign.features} == {n: c.type for n, c in layout.context.items()}
    assert {event.name for event in campaign.reward.events} <= set(layout.outcomes)


@pytest.mark.skipif(not (SHARED / "hillstrom.csv.gz").exists(), reason="hillstrom.csv.gz is not in the shared data")
def test_hillstrom_has_the_published_rates() -> None:
    layout = load_file(ROOT / "configs" / "worlds" / "hillstrom.yaml", LogFormat)
    world = LoggedWorld.read(SHARED / "hillstrom.csv.gz", layout)
    published = {
        "mens": (21_307, 0.182757, 0.012531, 1.422617),
        "womens": (21_387, 0.151400, 0.008837, 1.077202),
        "no_send": (21_306, 0.106167, 0.005726, 0.652789),
    }
    for arm, (count, *means) in published.items():
        found = [world.outcomes(arm, name) for name in ("visited", "purchased", "spend")]
        assert [len(values) for values in found] == [count] * 3
        assert [values.mean() for values in found] == pytest.approx(means, abs=1e-6)
    declared = load_attributes(ROOT / "configs" / "attributes.yaml")
    assert not any(declared.validate_row(row.attributes)[1] for row in world.rows[:500])
