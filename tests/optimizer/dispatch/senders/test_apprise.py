from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
import pytest

from optimizer.dispatch.senders import Result
from optimizer.errors import InvalidInput
from tests.optimizer.dispatch.senders.providers import HttpProvider
from tests.optimizer.dispatch.senders.rigs import make
from tests.optimizer.dispatch.senders.touch import touch

if TYPE_CHECKING:
    from pathlib import Path


def test_a_message_has_its_title_and_its_text(tmp_path: Path) -> None:
    with HttpProvider().running() as provider:
        make("apprise", tmp_path, url=f"json://127.0.0.1:{provider.port}/{{address}}").send([touch(1)])
        [request] = provider.requests
    body = orjson.loads(request.body)
    assert (body["title"], body["message"]) == ("Hello Zebra", "Dear Zebra,\n.\nyou have gold.")


def test_an_address_is_quoted_and_reaches_no_other_service(tmp_path: Path) -> None:
    with HttpProvider().running() as provider:
        sender = make("apprise", tmp_path, url=f"json://127.0.0.1:{provider.port}/to/{{address}}")
        sender.send([touch(1, address="../x?method=get, mailto://all@example.org")])
        paths = [request.path for request in provider.requests]
    assert len(paths) == 1
    assert paths[0].startswith("/to/")
    assert "?" not in paths[0]


def test_a_failure_is_unknown_for_nobody_says_when_it_came(tmp_path: Path) -> None:
    with HttpProvider(lambda _: 500).running() as provider:
        sender = make("apprise", tmp_path, url=f"json://127.0.0.1:{provider.port}/")
        [outcome] = sender.send([touch(address=None)])
    assert (sender.needs_address, outcome.result) == (False, Result.UNKNOWN)


def test_an_address_of_no_service_is_refused_without_being_shown(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"channels\.mail\.url: is no address of a service") as caught:
        make("apprise", tmp_path, url="nosuch://t0ken@host/{address}")
    assert "t0ken" not in caught.value.message
    with pytest.raises(InvalidInput, match="OPTIMIZER_CHANNELS__MAIL__URL"):
        make("apprise", tmp_path)
