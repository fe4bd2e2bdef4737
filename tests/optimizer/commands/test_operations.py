"""The commands on a service's database; `tests/api/test_service.py` types some of them beside a running service."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import orjson
import pytest

from optimizer.opening import operator
from tests.optimizer.commands.typing_in import run
from tests.optimizer.example import ATTRIBUTES, messages_only

if TYPE_CHECKING:
    from pathlib import Path


pytestmark = pytest.mark.usefixtures("logging_as_before")


@pytest.fixture
def campaign(tmp_path: Path) -> Path:
    path = tmp_path / "c.yaml"
    path.write_text(messages_only().replace(", ends_at: 2026-01-07T00:00:00Z", ""))
    return path


def said(settings: Path, *arguments: str | Path) -> str:
    result = run(settings, *arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_campaign_is_loaded_once_and_listed(settings: Path, campaign: Path) -> None:
    assert said(settings, "campaign", "load", campaign).endswith(" is current now\n")
    assert said(settings, "campaign", "load", campaign).endswith(" was current already\n")
    listed = said(settings, "campaign", "list")
    assert "active" in listed
    assert said(settings, "campaign", "pause", "c") == "c: paused\n"
    assert "paused" in said(settings, "campaign", "list")
    assert said(settings, "campaign", "resume", "c") == "c: active\n"


def test_a_folder_stands_for_its_campaign_files(settings: Path, campaign: Path) -> None:
    (campaign.parent / "attributes.yaml").write_text(ATTRIBUTES.read_text())
    assert said(settings, "campaign", "load", campaign.parent).startswith("c: version ")


def test_where_one_campaign_is_broken_none_is_loaded(settings: Path, campaign: Path) -> None:
    broken = campaign.parent / "d.yaml"
    broken.write_text(messages_only("owner: me").replace("id: c,", "id: d,").replace("14d", "soon"))
    result = run(settings, "campaign", "load", campaign, broken)
    assert result.exit_code == 1
    assert [line.split(": ")[:2] for line in result.stderr.splitlines()] == [
        [f"{broken}:6:46", "reward.events[0].window"],
        [f"{broken}:7:1", "owner"],
    ]
    assert run(settings, "campaign", "pause", "c").exit_code == 1


def test_two_files_with_one_campaign_id_are_refused(settings: Path, campaign: Path) -> None:
    other = campaign.parent / "other.yaml"
    other.write_text(campaign.read_text())
    result = run(settings, "campaign", "load", campaign.parent)
    assert (result.exit_code, result.stderr) == (
        1,
        f"{other}:1:1: campaign.id: c is the campaign of {campaign} already\n",
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("campaign", "pause", "none"), "there is no campaign 'none': load its file first"),
        (("run", "none"), "there is no campaign 'none': load its file first"),
        (("verify", "none"), "there is no decision 'none'"),
        (("verify", "--campaign", "none"), "there is no campaign 'none': load its file first"),
        (("verify",), "give a decision's id, or --campaign with a campaign's"),
        (("verify", "none", "--campaign", "none"), "give a decision's id, or --campaign with a campaign's"),
    ],
)
def test_what_does_not_exist_is_a_message_and_exit_code_1(
    settings: Path, arguments: tuple[str, ...], message: str
) -> None:
    result = run(settings, *arguments)
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", f"{message}\n")


def test_every_rejected_row_is_reported_and_the_good_ones_are_loaded(settings: Path, campaign: Path) -> None:
    customers = campaign.parent / "customers.csv"
    customers.write_text("customer_id,plan,days_inactive\na,gold,3\nb,,x\n,gold,1\nb,basic,\n")
    result = run(settings, "customers", "load", customers)
    assert (result.exit_code, result.stdout) == (1, "2 customers loaded, 2 rows rejected\n")
    assert [line.split(": ")[:2] for line in result.stderr.splitlines()] == [
        [f"{customers}:3", "attributes.days_inactive"],
        [f"{customers}:4", "customer_id"],
    ]
    said(settings, "campaign", "load", campaign)
    assert said(settings, "run", "c", "--occasion", "first") == "c: run first is finished, 2 customers decided\n"
    assert said(settings, "verify", "--campaign", "c") == "2 decisions verified, 0 of them differ\n"


def test_a_file_of_good_rows_ends_with_success(settings: Path, tmp_path: Path) -> None:
    customers = tmp_path / "customers.ndjson"
    customers.write_text('{"customer_id": "a", "attributes": {"plan": "gold"}}\n')
    assert said(settings, "customers", "load", customers) == "1 customer loaded, 0 rows rejected\n"


def test_what_is_typed_is_in_the_audit_log_with_who_typed_it(
    settings: Path, campaign: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGNAME", "eve")
    (tmp_path / "people.csv").write_text("customer_id,address.email\nana,ana@example.com\nbob,bob@example.com\n")
    said(settings, "campaign", "load", campaign)
    said(settings, "customers", "load", tmp_path / "people.csv")
    said(settings, "campaign", "pause", "c")
    assert said(settings, "customers", "erase", "ana") == "the customer is erased\n"
    again = run(settings, "customers", "erase", "ana")
    assert (again.exit_code, again.stderr) == (1, "there is no customer 'ana'\n")
    log = [orjson.loads(line) for line in said(settings, "audit").splitlines()]
    assert [(row["by"], row["action"]) for row in log] == [
        ("cli:eve", "erased"),
        ("cli:eve", "paused"),
        ("cli:eve", "stored"),
        ("cli:eve", "stored"),
        ("cli:eve", "loaded"),
    ]
    assert "example.com" not in repr(log)
    mine = [orjson.loads(line)["action"] for line in said(settings, "audit", "--customer", "ana").splitlines()]
    assert mine == ["erased", "stored"]
    assert len(said(settings, "audit", "--limit", "2").splitlines()) == 2
    assert len(said(settings, "audit", "--object", "campaign:c", "--since", "2026-01-01").splitlines()) == 2
    assert said(settings, "audit", "--since", "2999-01-01") == ""


def test_a_user_without_a_name_is_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.setattr("getpass.getuser", nameless)
    assert operator() == f"cli:{os.getuid()}"


def test_a_database_that_cannot_be_opened_is_a_message(settings: Path) -> None:
    settings.write_text(settings.read_text().replace("/it.db", "/service.yaml/it.db"))
    result = run(settings, "campaign", "list")
    assert result.exit_code == 1
    assert result.stderr.startswith("the database sqlite:///")


def test_removed_arms_are_shown_as_a_table(settings: Path, campaign: Path) -> None:
    said(settings, "campaign", "load", campaign)
    said(settings, "campaign", "pause", "c")
    file = campaign.parent / "customers.csv"
    file.write_text("customer_id\nc1\n")
    said(settings, "customers", "load", file)
    assert "reason" in said(settings, "removals", "c")
    assert "reason" in said(settings, "removals", "c", "--from", "2026-01-01", "--until", "2026-02-01T12:00:00")
    assert run(settings, "removals", "none").exit_code == 1
