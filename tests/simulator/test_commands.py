"""The simulator's commands, with tiny worlds."""

from __future__ import annotations

import json
import re
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from optimizer.clock import to_us
from optimizer.commands import build_app
from optimizer.config import load_settings
from optimizer.dispatch.routes import Routes
from optimizer.dispatch.senders import FileSender
from optimizer.engine import Engine
from tests.simulator.factory import ATTRIBUTES, CONFIGS

if TYPE_CHECKING:
    from pathlib import Path

PNG = b"\x89PNG\r\n\x1a\n"


def run(*arguments: str | int | Path) -> Result:
    package = EntryPoint("simulator", "simulator.commands:register", "optimizer.commands")
    return CliRunner().invoke(build_app([package]), [str(argument) for argument in arguments])


def simulate(out: Path, *, seed: int = 1) -> Result:
    config = CONFIGS / "factorial.yaml"
    return run("simulate", config, "--days", 3, "--customers", 40, "--seed", seed, "--out", out)


def test_simulate_writes_its_result_its_log_and_its_picture_and_nothing_else(tmp_path: Path) -> None:
    out = tmp_path / "made" / "for it"
    done = simulate(out)
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in out.iterdir()) == ["decisions.parquet", "result.json", "rewards.png"]
    result = json.loads((out / "result.json").read_bytes())
    assert result["setting"]["customers"] == 40
    assert sum(group["decisions"] for group in result["groups"]) == 80
    assert pq.read_metadata(out / "decisions.parquet").num_rows == 80
    assert (out / "rewards.png").read_bytes().startswith(PNG)
    for group in result["groups"]:
        assert re.search(rf"{group['group']}\W+{group['decisions']}\W+{group['touches_sent']}\W", done.stdout)
    assert "in the last 5 days" in done.stdout


def test_simulate_writes_the_same_files_for_the_same_seed(tmp_path: Path) -> None:
    for out, seed in (("a", 1), ("b", 1), ("c", 2)):
        simulate(tmp_path / out, seed=seed)
    for name in ("decisions.parquet", "result.json", "rewards.png"):
        first, again, other = ((tmp_path / out / name).read_bytes() for out in "abc")
        assert first == again
        assert first != other


def test_simulate_refuses_a_campaign_that_the_world_does_not_know(tmp_path: Path) -> None:
    done = run("simulate", CONFIGS / "hillstrom.yaml", "--out", tmp_path)
    assert done.exit_code == 1
    assert "campaign 'hillstrom' has other arms than the factorial world" in done.stderr


def test_replay_writes_every_order_and_the_policies_beside_it(tmp_path: Path) -> None:
    header = "recency,history_segment,history,mens,womens,zip_code,newbie,channel,segment,visit,conversion,spend"
    arms = ("Mens E-Mail", "Womens E-Mail", "No E-Mail")
    rows = [f"{i % 12},1) $0 - $100,{i}.5,1,0,Rural,0,Web,{arms[i % 3]},{i % 2},0,{i % 4}.25" for i in range(60)]
    log = tmp_path / "log.csv"
    log.write_text("\n".join([header, *rows]), encoding="utf-8")
    layout = CONFIGS / "worlds" / "hillstrom.yaml"
    config, out = CONFIGS / "hillstrom.yaml", tmp_path / "out"
    done = run("replay", config, "--log", log, "--format", layout, "--orders", 2, "--out", out)
    assert done.exit_code == 0, done.output
    found = json.loads((out / "replay.json").read_bytes())
    assert [order["policy"] for order in found["orders"]] == ["learned", "learned"]
    assert {other["policy"]: other["customers"] for other in found["others"]} == {
        "mens": 20,
        "womens": 20,
        "no_send": 20,
        "random": 60,
    }
    assert found["others"][3]["outcomes"]["visited"]["mean"] == 0.5
    visits = [order["outcomes"]["visited"]["mean"] for order in found["orders"]]
    assert found["learned"]["outcomes"]["visited"]["mean"] == pytest.approx(sum(visits) / 2)
    assert "learned: the mean of 2 orders" in done.stdout


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    path = tmp_path / "demo.yaml"
    path.write_text(
        f"version: 1\n"
        f"database: sqlite:///{tmp_path / 'demo' / 'optimizer.db'}\n"
        f"attributes_file: {CONFIGS / 'attributes.yaml'}\n"
        f"outbox: {tmp_path / 'outbox'}\n"
        f"secret_file: {tmp_path / 'secret'}\n"
        f"port: 8123\n",
        encoding="utf-8",
    )
    return path


def demo(settings: Path) -> Result:
    campaign = CONFIGS / "factorial.yaml"
    return run("demo", "--config", settings, "--campaign", campaign, "--customers", 40, "--days", 5)


def test_the_demonstration_leaves_a_campaign_that_has_learned_until_now(settings: Path, tmp_path: Path) -> None:
    done = demo(settings)
    assert done.exit_code == 0, done.output
    loaded = load_settings(settings)
    engine = Engine.at(loaded.database, ATTRIBUTES, Routes.to(FileSender(loaded.outbox)), loaded.publish_every)
    report = engine.campaign("factorial")
    assert report.decisions >= 80
    assert report.learned > 0
    assert report.snapshot_id is not None
    newest = max(run.started_us for run in engine.runs("factorial"))
    assert 0 <= to_us(engine.runtime.clock.now()) - newest < 2.1 * 86_400e6
    explained = re.search(r"/v1/decisions/(\S+)/explain", done.stdout)
    assert explained is not None
    decision = engine.decision(explained[1])
    assert decision.group == "treatment"
    assert f'"customer_id":"{decision.customer_id}"' in done.stdout
    assert done.stdout.count("curl -s http://127.0.0.1:8123/v1/") == 4
    engine.close()
    assert (tmp_path / "demo" / "result.json").exists()
    assert not (tmp_path / "outbox").exists()


def test_the_demonstration_touches_no_database_that_is_there(settings: Path) -> None:
    database = load_settings(settings).database.removeprefix("sqlite:///")
    place = settings.parent / "demo"
    place.mkdir()
    (place / "optimizer.db").write_bytes(b"precious")
    done = demo(settings)
    assert done.exit_code == 1
    assert f"{database} exists already" in done.stderr
    assert (place / "optimizer.db").read_bytes() == b"precious"
