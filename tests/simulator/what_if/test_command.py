"""`optimizer whatif` and `optimizer ablation` on a service's database."""

from __future__ import annotations

import json
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING

import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner, Result

from optimizer.commands import build_app
from optimizer.policy import Uniform
from simulator.loop import ClosedLoop
from simulator.worlds import FactorialConfig, FactorialWorld
from tests.simulator.factory import ATTRIBUTES, CONFIGS, FACTORIAL, STARTS

if TYPE_CHECKING:
    from pathlib import Path

    from optimizer.campaign import CampaignFile

pytestmark = pytest.mark.usefixtures("logging_as_before")

RULES = {
    "quiet_hours": [{"from": "10:00", "to": "13:00", "action": "drop"}],
    "caps": [{"id": "weekly", "count": 1, "window": {"rolling": "7d"}}],
}


def run(*arguments: str | Path) -> Result:
    package = EntryPoint("simulator", "simulator.commands:register", "optimizer.commands")
    wide = {"COLUMNS": "200", "TERMINAL_WIDTH": "200"}
    return CliRunner(env=wide).invoke(build_app([package]), [str(argument) for argument in arguments])


def written(campaign: CampaignFile, path: Path) -> Path:
    YAML().dump(campaign.model_dump(mode="json", by_alias=True, exclude_none=True), path)
    return path


@pytest.fixture(scope="module")
def ruled() -> CampaignFile:
    data = FACTORIAL.model_dump(mode="json", by_alias=True)
    return type(FACTORIAL).model_validate(data | {"contact_policy": RULES})


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory, ruled: CampaignFile) -> Path:
    """A service on whose database a campaign with rules has run for nine days over 100 people."""
    folder = tmp_path_factory.mktemp("service")
    url = f"sqlite:///{folder / 'service.db'}"
    world = FactorialWorld(FactorialConfig(), 100, seed=1)
    loop = ClosedLoop(ruled, ATTRIBUTES, world, seed=1, starts=STARTS, url=url)
    for _ in loop.run(STARTS.replace(day=10)):
        pass
    loop.close()
    path = folder / "service.yaml"
    text = (
        f"version: 1\ndatabase: {url}\nattributes_file: {CONFIGS / 'attributes.yaml'}\nsecret_file: {folder / 'key'}\n"
    )
    path.write_text(text, encoding="utf-8")
    return path


def test_whatif_shows_and_writes_the_change_the_difference_and_the_prices(
    settings: Path, ruled: CampaignFile, tmp_path: Path
) -> None:
    settled = ruled.campaign.model_copy(update={"max_touches_per_customer": 1})
    changed = ruled.model_copy(update={"campaign": settled, "policy": Uniform(kind="uniform")})
    done = run(
        "whatif", "factorial", written(changed, tmp_path / "changed.yaml"), "--config", settings, "--out", tmp_path
    )
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "whatif.json").read_bytes())
    assert [change["field"] for change in found["changes"]] == ["campaign.max_touches_per_customer", "policy.kind"]
    assert found["values"][0]["difference"]["low"] < found["values"][0]["difference"]["high"]
    priced = {price["name"]: price for price in found["prices"]}
    assert set(priced) == {"contact_policy.quiet_hours[0]", "contact_policy.caps[weekly]"}
    cap = priced["contact_policy.caps[weekly]"]
    # Whom the cap stops gets nothing, though nearly every arm is liked more than nothing.
    assert 0.3 < cap["removed"] < 1.0
    assert 0.0 < cap["favourite"] <= cap["removed"]
    assert cap["gain"]["value"] > 0.0
    for said in (
        "campaign.max_touches_per_customer: null -> 1",
        "Held as logged: every customer's history",
        "Refused: totals (touches, spend)",
        "contact_policy.caps[weekly]",
        "nothing was tried where a rule removed an arm",
    ):
        assert said in done.stdout


def test_whatif_refuses_what_a_rule_never_let_happen_and_says_where_it_can_tell(settings: Path, tmp_path: Path) -> None:
    done = run("whatif", "factorial", written(FACTORIAL, tmp_path / "changed.yaml"), "--config", settings)
    assert done.exit_code == 0, done.output
    assert "decisions in which the log cannot tell" in done.stdout
    assert "had no probability in those decisions" in done.stdout


def test_whatif_wants_the_changed_configuration_of_that_campaign(settings: Path, tmp_path: Path) -> None:
    done = run("whatif", "another", written(FACTORIAL, tmp_path / "changed.yaml"), "--config", settings)
    assert done.exit_code == 1
    assert "campaign.id is 'factorial': expected a changed 'another'" in done.stderr


def test_ablation_says_what_is_missing(settings: Path) -> None:
    done = run("ablation", "factorial", "--config", settings)
    assert done.exit_code == 1
    assert "the log cannot tell the shares" in done.stderr
    assert "decisions left out: only one arm was allowed" in done.stderr
