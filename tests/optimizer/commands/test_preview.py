from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.optimizer.commands.typing_in import run
from tests.optimizer.example import CONFIGS, WINBACK

if TYPE_CHECKING:
    from pathlib import Path

NAMED = ("preview", "winback-q1", "--customer", "c-1")


@pytest.fixture
def loaded(settings: Path, tmp_path: Path) -> Path:
    """The shipped campaign and templates, and a customer who has all that they ask for."""
    settings.write_text(settings.read_text() + f"templates: {CONFIGS}/templates\npublic_url: https://service.example\n")
    (tmp_path / "people.csv").write_text(
        "customer_id,days_inactive,plan,address.email\nc-1,90.0,gold,c1@e.example\nc-2,,,\n"
    )
    assert run(settings, "campaign", "load", WINBACK).exit_code == 0
    assert run(settings, "customers", "load", tmp_path / "people.csv").exit_code == 0
    return settings


def test_every_creative_that_the_service_sends_is_shown(loaded: Path) -> None:
    shown = run(loaded, *NAMED)
    assert shown.exit_code == 0, shown.output
    heads = [line for line in shown.output.splitlines() if " on " in line and "version" in line]
    assert heads == [
        "miss_you_warm on email: miss_you_email version 3",
        "ten_percent on email: ten_percent_email version 1",
        "ten_percent on sms: ten_percent_sms version 2",
    ]
    assert "  it has been 90 days since you were last with us." in shown.output
    assert "  Subject: 10% off, for you" in shown.output
    assert "as a thank-you for your gold plan" in shown.output
    assert "  No more of these messages: https://service.example/unsubscribe/" in shown.output
    assert shown.output.count("the customer has no address for this channel") == 1


def test_one_message_or_channel_is_shown_alone(loaded: Path) -> None:
    one = run(loaded, *NAMED, "--message", "ten_percent", "--channel", "sms").output
    assert one.startswith("ten_percent on sms: ")
    assert "email" not in one
    # The platform sends these; whoever asks is shown them.
    assert "We have missed you" in run(loaded, *NAMED, "--channel", "push").output
    none = run(loaded, *NAMED, "--channel", "fax")
    assert (none.exit_code, none.stderr) == (
        1, "campaign winback-q1 has no such creative; leave --message or --channel out\n",
    )  # fmt: skip


def test_what_is_missing_is_named_and_the_others_are_shown(loaded: Path) -> None:
    shown = run(loaded, "preview", "winback-q1", "--customer", "c-2")
    assert shown.exit_code == 1
    assert "  cannot be sent: template miss_you_email/v3/body.txt: there is no days_inactive" in shown.output
    assert "10% off your next order." in shown.output


def test_a_sender_that_fills_templates_misses_one_and_another_hands_the_reference_on(
    loaded: Path, tmp_path: Path
) -> None:
    (tmp_path / "none").mkdir()
    without = loaded.read_text().replace(f"{CONFIGS}/templates", f"{tmp_path}/none")
    loaded.write_text(without)
    shown = run(loaded, *NAMED)
    assert (shown.exit_code, shown.output.count("its sender hands this reference on")) == (0, 3)
    loaded.write_text(without + "channels:\n  email: {kind: smtp, host: mail.example, from: news@service.example}\n")
    shown = run(loaded, *NAMED)
    assert shown.exit_code == 1
    assert "cannot be sent: there is no template miss_you_email/v3/subject.txt" in shown.output


def test_a_customer_or_a_campaign_that_is_not_there_is_named(loaded: Path) -> None:
    assert run(loaded, "preview", "winback-q1", "--customer", "x").stderr == "there is no customer 'x'\n"
    assert "there is no campaign 'x'" in run(loaded, "preview", "x", "--customer", "c-1").stderr
