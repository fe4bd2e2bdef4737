from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
import pytest

from optimizer.dispatch.senders import FileSender, Result
from tests.optimizer.dispatch.senders.touch import touch

if TYPE_CHECKING:
    from pathlib import Path


def test_each_tenant_and_channel_has_a_file_of_its_own(tmp_path: Path) -> None:
    sender = FileSender(tmp_path)
    sender.send([touch(1), touch(2, tenant="mail.jsonl"), touch(3, channel="sms"), touch(4, tenant="mail.jsonl")])
    files = {str(path.relative_to(tmp_path)): path for path in tmp_path.rglob("*.jsonl") if path.is_file()}
    assert sorted(files) == ["mail.jsonl", "sms.jsonl", "tenants/mail.jsonl/mail.jsonl"]
    theirs = [orjson.loads(line) for line in files["tenants/mail.jsonl/mail.jsonl"].read_bytes().splitlines()]
    assert [line["customer_id"] for line in theirs] == ["c-17-2", "c-17-4"]


def test_a_line_says_whom_to_reach_with_what_and_not_the_attributes(tmp_path: Path) -> None:
    FileSender(tmp_path).send([touch(1)])
    assert orjson.loads((tmp_path / "mail.jsonl").read_bytes()) == {
        "decision_id": touch(1).decision_id,
        "tenant": "default",
        "campaign_id": "winback",
        "customer_id": "c-17-1",
        "address": "ana1@example.org",
        "channel": "mail",
        "message": "warm",
        "template": "warm_mail",
        "version": 2,
        "send_at": "2026-01-12T15:00:00+00:00",
        "test": False,
    }


@pytest.mark.parametrize("left", [40, 1, 100])
def test_a_torn_line_is_not_a_sent_one(tmp_path: Path, left: int) -> None:
    sender, path = FileSender(tmp_path), tmp_path / "mail.jsonl"
    sender.send([touch(1), touch(2)])
    path.write_bytes(path.read_bytes()[:-left])
    torn = Result.SENT if left == 1 else Result.TEMPORARY
    assert [each.result for each in sender.ask([touch(1), touch(2)])] == [Result.SENT, torn]
    sender.send([touch(3)])
    assert [each.result for each in sender.ask([touch(2), touch(3)])] == [torn, Result.SENT]


def test_a_file_that_is_gone_tells_nothing(tmp_path: Path) -> None:
    sender = FileSender(tmp_path)
    sender.send([touch(1)])
    assert [each.result for each in sender.ask([touch(1), touch(2)])] == [Result.SENT, Result.TEMPORARY]
    (tmp_path / "mail.jsonl").unlink()
    assert [each.result for each in sender.ask([touch(1)])] == [Result.UNKNOWN]


def test_an_id_in_another_field_is_not_a_sent_one(tmp_path: Path) -> None:
    sender = FileSender(tmp_path)
    sender.send([touch(1, customer_id=touch(2).decision_id)])
    assert [each.result for each in sender.ask([touch(2)])] == [Result.TEMPORARY]
