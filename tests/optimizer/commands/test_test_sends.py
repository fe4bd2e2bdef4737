from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
import pytest

from tests.optimizer.commands.typing_in import run
from tests.optimizer.dispatch.senders.providers import MailProvider
from tests.optimizer.example import CONFIGS, WINBACK

if TYPE_CHECKING:
    from pathlib import Path

SEND = ("test-send", "winback-q1", "--message", "ten_percent", "--channel", "email")


@pytest.fixture
def loaded(settings: Path, tmp_path: Path) -> Path:
    (tmp_path / "people.csv").write_text("customer_id,address.email\nqa-1,qa1@e.example\nana,ana@e.example\n")
    assert run(settings, "campaign", "load", WINBACK).exit_code == 0
    assert run(settings, "customers", "load", tmp_path / "people.csv").exit_code == 0
    return settings


def test_a_message_goes_to_the_test_list_by_the_channels_own_sender(loaded: Path) -> None:
    with MailProvider().running() as provider:
        loaded.write_text(
            loaded.read_text()
            + f"templates: {CONFIGS}/templates\nchannels:\n  email: {{kind: smtp, host: 127.0.0.1, "
            + f"port: {provider.port}, security: none, from: news@service.example}}\n"
        )
        done = run(loaded, *SEND)
        assert done.stdout == "qa-1: sent\nqa-2: refused: there is no such customer\n"
        assert done.exit_code == 1
        [message] = provider.messages
        assert provider.recipients == ["qa1@e.example"]
    assert b"Subject: [TEST] 10% off, for you" in message
    assert b"X-Test-Send: yes" in message
    entry = orjson.loads(run(loaded, "audit", "--limit", "1").output)
    assert (entry["action"], entry["object"]) == ("tested", "campaign:winback-q1")
    assert entry["by"].startswith("cli:")


def test_only_those_on_the_list_get_one(loaded: Path, tmp_path: Path) -> None:
    done = run(loaded, *SEND, "--customer", "ana")
    assert (done.exit_code, done.output) == (1, "ana: refused: not on the campaign's test list\n")
    assert not (tmp_path / "outbox").exists()
    done = run(loaded, *SEND, "--customer", "qa-1")
    assert (done.exit_code, done.output) == (0, "qa-1: sent\n")
    [line] = (tmp_path / "outbox" / "email.jsonl").read_bytes().splitlines()
    assert orjson.loads(line)["test"] is True
