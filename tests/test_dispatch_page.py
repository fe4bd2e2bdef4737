"""The settings that `docs/dispatch.md` shows are settings, and its tables name what there is."""

from __future__ import annotations

import re
from pathlib import Path

import orjson
import pytest

from api.models import CallbackIn
from optimizer.config import check_files, load_settings
from optimizer.dispatch.channels import routes_of
from optimizer.dispatch.kinds import BUILT_IN, EVENTS, settings_of
from optimizer.dispatch.senders import Answers, Result
from optimizer.secret import Secret
from tests.optimizer.example import ATTRIBUTES, CONFIGS

PAGE = (Path(__file__).parents[1] / "docs" / "dispatch.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
SIGNING = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
SECRETS = {
    ("email", "smtp"): {"EMAIL__PASSWORD": "s"},
    ("sms", "webhook"): {"SMS__SECRET": SIGNING, "SMS__CALLBACKS__SECRET": SIGNING},
    ("sms", "apprise"): {"SMS__URL": f"twilio://AC{'0' * 32}:{'1' * 32}@+15555550100/{{address}}"},
    ("chat", "apprise"): {"CHAT__URL": "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#campaigns"},
}
"""What the page says to give by the environment."""


@pytest.mark.parametrize("block", BLOCKS)
def test_every_example_of_settings_makes_senders(block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(CONFIGS.parent)
    path = tmp_path / "service.yaml"
    path.write_text(f"version: 1\nattributes_file: {ATTRIBUTES}\n{block}")
    assert check_files([path]) == []
    for channel, settings in load_settings(path).channels.items():
        for name, value in SECRETS.get((channel, settings.kind), {}).items():
            assert f"OPTIMIZER_CHANNELS__{name}" in PAGE
            monkeypatch.setenv(f"OPTIMIZER_CHANNELS__{name}", value)
    routes = routes_of(load_settings(path), Secret.ephemeral())
    assert routes.channels


def test_every_kind_has_an_example_and_a_row_that_says_what_it_can() -> None:
    assert {point.name for point in BUILT_IN} == set(re.findall(r"kind: (\w+)", "".join(BLOCKS)))
    rows = dict(re.findall(r"^\| `(\w+)` \| .* \| (yes|no) \|$", PAGE, re.MULTILINE))
    assert rows == {point.name: "yes" if settings_of(point.name).renders else "no" for point in BUILT_IN}
    assert all(f"| `{result}` |" in PAGE for result in Result)
    assert Answers.__doc__


def test_the_example_of_a_callback_is_one() -> None:
    [block] = re.findall(r"^```json\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    assert [CallbackIn.model_validate(row).permanent for row in orjson.loads(block)] == [True, False]
    assert all(f"`{name}`" in PAGE for name in EVENTS)
