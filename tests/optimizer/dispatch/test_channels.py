from __future__ import annotations

from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING, Literal

import pytest

from optimizer.config import check_files, load_settings
from optimizer.dispatch import kinds
from optimizer.dispatch.channels import routes_of
from optimizer.dispatch.kinds import ChannelSettings, Kit, variable
from optimizer.dispatch.senders import FileSender
from optimizer.dispatch.senders.log import LogSender
from optimizer.dispatch.senders.smtp import SmtpSender
from optimizer.errors import InvalidInput
from optimizer.secret import Secret
from tests.optimizer.dispatch.senders.touch import SIGNING
from tests.optimizer.example import ATTRIBUTES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from optimizer.dispatch.routes import Routes


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "service.yaml"


def write(file: Path, channels: str = "") -> None:
    folder = file.parent
    file.write_text(
        f"version: 1\nattributes_file: {ATTRIBUTES}\ntemplates: {folder}\noutbox: {folder}/outbox\n{channels}"
    )


def problems(file: Path) -> list[str]:
    return [str(problem).removeprefix(f"{file}:") for problem in check_files([file])]


def routes(file: Path) -> Routes:
    return routes_of(load_settings(file), Secret.ephemeral())


def test_a_channel_that_is_not_named_goes_to_files(file: Path) -> None:
    write(file, "channels:\n  app: {kind: log}\n")
    found = routes(file)
    assert isinstance(found.of("app").sender, LogSender)
    other = found.of("email")
    assert isinstance(other.sender, FileSender)
    assert (other.rate, other.daily_capacity, other.at_least_once, other.callbacks) == (None, None, False, None)


def test_a_route_has_what_its_channel_says(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(
        file,
        "channels:\n  e-mail.de:\n    kind: smtp\n    host: mail.example\n    from: a@b.example\n    rate: 2.5\n"
        "    daily_capacity: 100\n    guarantee: at_least_once\n    callbacks: {names: {Open: opened}}\n",
    )
    monkeypatch.setenv("OPTIMIZER_CHANNELS__E_MAIL_DE__CALLBACKS__SECRET", SIGNING)
    found = routes(file).of("e-mail.de")
    assert isinstance(found.sender, SmtpSender)
    assert (found.rate, found.daily_capacity, found.at_least_once) == (2.5, 100, True)
    assert found.callbacks is not None
    assert (found.callbacks.names["Open"], found.callbacks.names["bounced"]) == ("opened", "bounced")
    assert SIGNING not in repr(load_settings(file))


def test_everything_wrong_with_a_channel_is_told_with_its_place(file: Path) -> None:
    write(
        file,
        "channels:\n  email:\n    kind: smtp\n    host: mail.example\n    from: news.example\n    prot: 3\n"
        "    timeout: 1h\n  sms: {kind: twillio, x: 1}\n  push: {host: a}\n  chat: log\n"
        '  hook: {kind: webhook, url: "ftp://x", rate: 0, callbacks: {names: {Open: opend}}}\n  9: {kind: log}\n',
    )
    told = problems(file)
    assert [problem.split(": ")[:2] for problem in told] == [
        ["9:11", "channels.email.from"],
        ["10:5", "channels.email.prot"],
        ["11:14", "channels.email.timeout"],
        ["12:15", "channels.sms.kind"],
        ["13:9", "channels.push.kind"],
        ["14:9", "channels.chat"],
        ["15:30", "channels.hook.url"],
        ["15:47", "channels.hook.rate"],
        ["15:76", "channels.hook.callbacks.names.Open"],
        ["16:3", "channels.9"],
    ]
    assert "unknown field; did you mean port?" in told[1]
    assert told[3].endswith("got 'twillio'; allowed: file, log, smtp, webhook, apprise")
    assert told[8].endswith("did you mean opened?")


def test_templates_have_to_be_there_where_a_sender_fills_them(file: Path) -> None:
    write(file, "channels:\n  email: {kind: smtp, host: mail.example, from: a@b.example}\n")
    assert problems(file) == []
    file.write_text(file.read_text().replace(f"templates: {file.parent}", "templates: nowhere"))
    assert problems(file) == ["3:12: templates: there is nothing at nowhere"]


@pytest.mark.parametrize("url", ["https://service.example/", "ftp://service.example", "https://a b", "service.example"])
def test_a_public_address_has_its_form(file: Path, url: str) -> None:
    write(file, f'public_url: "{url}"\n')
    [told] = problems(file)
    assert "public_url: got " in told
    assert "expected an address such as https://service.example" in told


# Secrets


HOOK = "channels:\n  sms-de: {kind: webhook, url: https://sms.example/, callbacks: {}}\n"


def test_secrets_come_from_the_environment_and_are_asked_for_at_the_start(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(file, HOOK)
    assert problems(file) == []
    with pytest.raises(InvalidInput) as caught:
        routes(file)
    assert caught.value.message == (
        "channels.sms-de.secret: required, but not given; give it as the environment variable "
        "OPTIMIZER_CHANNELS__SMS_DE__SECRET"
    )
    monkeypatch.setenv("OPTIMIZER_CHANNELS__SMS_DE__SECRET", SIGNING)
    with pytest.raises(InvalidInput, match=r"channels\.sms-de\.callbacks\.secret: required"):
        routes(file)
    monkeypatch.setenv("optimizer_channels__sms_de__callbacks__secret", SIGNING)
    assert routes(file).of("sms-de").callbacks is not None


def test_a_variable_that_gives_no_channels_secret_is_refused_by_name(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(file, HOOK)
    for name in ("SMS_DE__SECRT", "SMS__SECRET", "SMS_DE__URL", "SMS_DE"):
        with monkeypatch.context() as patch:
            patch.setenv(f"OPTIMIZER_CHANNELS__{name}", "x")
            with pytest.raises(InvalidInput, match=f"OPTIMIZER_CHANNELS__{name}: no channel has such a secret"):
                load_settings(file)


def test_all_channels_may_come_from_the_environment_as_json(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(file, HOOK)
    monkeypatch.setenv("OPTIMIZER_CHANNELS", '{"app": {"kind": "log"}}')
    assert list(load_settings(file).channels) == ["app"]
    monkeypatch.setenv("OPTIMIZER_CHANNELS", '{"app": {"kind": "lug"}}')
    with pytest.raises(InvalidInput, match="environment variable OPTIMIZER_CHANNELS: "):
        load_settings(file)


def test_a_secret_of_another_form_is_not_shown(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(file, HOOK)
    monkeypatch.setenv("OPTIMIZER_CHANNELS__SMS_DE__SECRET", SIGNING)
    monkeypatch.setenv("OPTIMIZER_CHANNELS__SMS_DE__CALLBACKS__SECRET", "hunter2!")
    with pytest.raises(InvalidInput, match=r"channels\.sms-de\.callbacks\.secret: expected whsec_") as caught:
        routes(file)
    assert "hunter2" not in caught.value.message


def test_the_name_of_a_variable_has_letters_and_digits_only() -> None:
    assert variable("e-mail.de", "callbacks", "secret") == "OPTIMIZER_CHANNELS__E_MAIL_DE__CALLBACKS__SECRET"


# Other packages


class PigeonSettings(ChannelSettings):
    """As another package would have it."""

    kind: Literal["pigeon"]
    loft: str

    def make(self, kit: Kit) -> LogSender:
        assert kit.channel == "post"
        return LogSender()


@pytest.fixture
def pigeons(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    point = EntryPoint("pigeon", f"{__name__}:PigeonSettings", kinds.GROUP)
    monkeypatch.setattr(EntryPoint, "load", lambda self: PigeonSettings if self == point else REAL_LOAD(self))
    monkeypatch.setattr(kinds, "entry_points", lambda group: [point] if group == kinds.GROUP else [])
    kinds.kinds.cache_clear()
    yield
    kinds.kinds.cache_clear()


REAL_LOAD = EntryPoint.load


@pytest.mark.usefixtures("pigeons")
def test_another_package_adds_a_kind_by_an_entry_point(file: Path) -> None:
    write(file, "channels:\n  post: {kind: pigeon, loft: north}\n")
    assert isinstance(routes(file).of("post").sender, LogSender)
    write(file, "channels:\n  post: {kind: pigeon, left: north}\n")
    told = problems(file)
    assert any("unknown field; did you mean loft?" in problem for problem in told)


def test_two_packages_do_not_add_one_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kinds, "entry_points", lambda group: [EntryPoint("smtp", "theirs:Smtp", group)])
    kinds.kinds.cache_clear()
    with pytest.raises(InvalidInput, match="two packages add a sender 'smtp'"):
        kinds.kinds()
    kinds.kinds.cache_clear()
