from __future__ import annotations

import email
import email.policy
import socket
import ssl
import subprocess
import threading
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from optimizer.dispatch.senders import Result
from optimizer.dispatch.senders.smtp import SmtpSender, SmtpSettings
from optimizer.errors import InvalidInput
from optimizer.unsubscribing import token
from tests.optimizer.dispatch.senders.providers import MailProvider
from tests.optimizer.dispatch.senders.rigs import make
from tests.optimizer.dispatch.senders.touch import SECRET, templates, touch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from email.message import EmailMessage
    from pathlib import Path


@pytest.fixture
def provider() -> Iterator[MailProvider]:
    with MailProvider().running() as made:
        yield made


def sender(folder: Path, port: int, **fields: Any) -> SmtpSender:  # noqa: ANN401 -- any setting
    plain: dict[str, Any] = {"host": "127.0.0.1", "port": port, "security": "none", "from": "news@service.example"}
    made: SmtpSender = make("smtp", folder, **(plain | fields))
    return made


def read(provider: MailProvider) -> list[EmailMessage]:
    found: list[Any] = [email.message_from_bytes(raw, policy=email.policy.default) for raw in provider.messages]
    return found


def test_a_message_has_text_and_html_and_says_how_to_unsubscribe(provider: MailProvider, tmp_path: Path) -> None:
    made = sender(tmp_path, provider.port, name="The Shop", reply_to="help@service.example",
                  unsubscribe_mailto="stop@service.example")  # fmt: skip
    sent = touch(1)
    assert [each.result for each in made.send([sent])] == [Result.SENT]
    [message] = read(provider)
    assert (message["Subject"], message["To"]) == ("Hello Zebra", "ana1@example.org")
    assert (message["From"], message["Reply-To"]) == ("The Shop <news@service.example>", "help@service.example")
    assert message["Message-ID"] == f"<{sent.decision_id}@service.example>"
    link = f"https://service.example/unsubscribe/{token(SECRET, 'default', sent.decision_id)}"
    mailto = f"mailto:stop@service.example?subject=unsubscribe%20{sent.decision_id}"
    assert message["List-Unsubscribe"] == f"<{link}>, <{mailto}>"
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert b"List-Unsubscribe: <https://service.example/unsubscribe/" in provider.messages[0]
    text, html = message.iter_parts()
    assert (text.get_content_type(), html.get_content_type()) == ("text/plain", "text/html")
    # A dot alone on a line is the message's own, and does not end it.
    assert text.get_content().replace("\r\n", "\n") == "Dear Zebra,\n.\nyou have gold.\n"
    assert html.get_content().strip() == "<p>Dear Zebra</p>"
    assert (provider.senders, provider.recipients) == (["news@service.example"], ["ana1@example.org"])


def test_without_a_public_address_there_is_no_link(provider: MailProvider, tmp_path: Path) -> None:
    settings = sender(tmp_path, provider.port)._settings  # noqa: SLF001
    SmtpSender(settings, templates(tmp_path, None)).send([touch(1)])
    SmtpSender(settings, templates(tmp_path, "http://localhost:8080")).send([touch(2)])
    without, plain = read(provider)
    assert (without["List-Unsubscribe"], without["List-Unsubscribe-Post"]) == (None, None)
    # RFC 8058 asks for https.
    assert plain["List-Unsubscribe"].startswith("<http://localhost:8080/unsubscribe/")
    assert plain["List-Unsubscribe-Post"] is None


def test_a_refusal_is_the_recipients_own(provider: MailProvider, tmp_path: Path) -> None:
    addresses = ["ana@example.org", "gone@example.org", "later@example.org", "full@example.org", "ben@example.org"]
    outcomes = sender(tmp_path, provider.port).send([touch(n, address=a) for n, a in enumerate(addresses)])
    assert [(each.result, each.detail) for each in outcomes] == [
        (Result.SENT, None),
        (Result.PERMANENT, "the mail server answered 550 5.1.1"),
        (Result.TEMPORARY, "the mail server answered 451 4.3.0"),
        (Result.PERMANENT, "the mail server answered 552 5.2.2"),
        (Result.SENT, None),
    ]
    assert provider.recipients == ["ana@example.org", "ben@example.org"]


@pytest.mark.parametrize(
    "address",
    [
        "ana@example.org\r\nBcc: all@example.org",
        "ana@example.org>\r\nDATA",
        "ana@example.org, ben@example.org",
        "Ana <ana@example.org>",
        "ana",
        "@example.org",
        "",
        "añá@example.org",
        "ana@" + "x" * 70 + ".org",
    ],
)
def test_what_is_no_address_never_comes_to_the_server(provider: MailProvider, tmp_path: Path, address: str) -> None:
    [outcome] = sender(tmp_path, provider.port).send([touch(address=address)])
    assert (outcome.result, outcome.detail) == (Result.PERMANENT, "the address is not one of e-mail")
    assert provider.messages == []


def test_a_domain_of_other_letters_is_written_as_dns_has_it(provider: MailProvider, tmp_path: Path) -> None:
    assert sender(tmp_path, provider.port).send([touch(address="ana@bücher.example")])[0].result is Result.SENT
    assert provider.recipients == ["ana@xn--bcher-kva.example"]


@pytest.mark.parametrize("evil", ["x\r\nBcc: all@example.org", "x\n\nbody", "x\x00y", "x\u2028Bcc: a@b", "ü" * 300])
def test_no_attribute_makes_a_header(provider: MailProvider, tmp_path: Path, evil: str) -> None:
    attributes = orjson.dumps({"first_name": evil, "plan": "gold"}).decode()
    sender(tmp_path, provider.port).send([touch(attributes=attributes)])
    for message in read(provider):
        assert message.get_all("Bcc") is None
        assert set(message.keys()) == {
            "Subject", "From", "To", "Date", "Message-ID", "Auto-Submitted", "List-Unsubscribe",
            "List-Unsubscribe-Post", "MIME-Version", "Content-Type",
        }  # fmt: skip


def test_what_a_template_lacks_is_told_by_its_name(provider: MailProvider, tmp_path: Path) -> None:
    made = sender(tmp_path, provider.port)
    lost, nameless = made.send([touch(1, version=3), touch(2, attributes='{"plan":"gold"}')])
    assert (lost.result, lost.detail) == (Result.PERMANENT, "there is no template warm_mail/v3/subject.txt")
    assert nameless.detail == "template warm_mail/v2/subject.txt: there is no first_name"


def scripted(*answers: bytes | None) -> Callable[[socket.socket], None]:
    """A server that greets, and then answers each command in turn; None hangs up, and what is left is silence."""

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection, connection.makefile("rb") as lines:
            connection.sendall(b"220 here\r\n")
            for answer in answers:
                line = lines.readline()
                if answer is None:
                    return
                if line.strip() == b"DATA":
                    connection.sendall(b"354 go\r\n")
                    while lines.readline() != b".\r\n":
                        pass
                connection.sendall(answer)
            lines.read()

    return serve


@contextmanager
def server(*answers: bytes | None) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=scripted(*answers), args=(listener,), daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(2)


PASSWORD = "s3cret"  # noqa: S105 -- of a server in this process
OK = b"250 OK\r\n"


@pytest.mark.parametrize(
    ("answers", "result"),
    [
        ((None,), Result.TEMPORARY),  # EHLO
        ((OK,), Result.TEMPORARY),  # no answer to MAIL
        ((OK, OK, OK, None), Result.TEMPORARY),  # hangs up instead of taking DATA
        ((OK, OK, OK, b""), Result.UNKNOWN),  # no answer to the dot
        ((OK, OK, OK, b"421 closing\r\n"), Result.TEMPORARY),  # an answer to the dot: it was not taken
        ((OK, b"421 closing\r\n", None), Result.TEMPORARY),
    ],
)
def test_a_message_is_unknown_only_after_its_last_dot(
    tmp_path: Path, answers: Sequence[bytes | None], result: Result
) -> None:
    with server(*answers) as port:
        [outcome] = sender(tmp_path, port, wait_s=0.5).send([touch()])
    assert outcome.result is result, outcome


# Encryption and passwords


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "cert.pem", "-days",
         "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    return folder


@pytest.fixture
def context(certificate: Path) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    return made


def test_with_starttls_nothing_goes_in_the_clear(
    context: ssl.SSLContext, certificate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with MailProvider().running() as plain:
        [outcome] = sender(tmp_path, plain.port, host="localhost", security="starttls").send([touch()])
        assert (outcome.result, plain.messages) == (Result.TEMPORARY, [])
    with MailProvider().running(context, PASSWORD) as provider:
        secure = {"host": "localhost", "security": "starttls", "username": "us", "password": PASSWORD}
        [stranger] = sender(tmp_path, provider.port, **secure).send([touch()])
        assert stranger.result is Result.TEMPORARY
        assert "CERTIFICATE_VERIFY_FAILED" in (stranger.detail or "")
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate / "cert.pem"))
        [wrong] = sender(tmp_path, provider.port, **(secure | {"password": "guessed"})).send([touch()])
        assert (wrong.result, provider.messages) == (Result.TEMPORARY, [])
        assert "535" in (wrong.detail or "")
        assert "guessed" not in (wrong.detail or "")
        [known] = sender(tmp_path, provider.port, **secure).send([touch()])
        assert (known.result, len(provider.messages)) == (Result.SENT, 1)
        [other] = sender(tmp_path, provider.port, **(secure | {"host": "127.0.0.1"})).send([touch()])
        assert other.result is Result.TEMPORARY


def test_a_password_is_asked_for_where_there_is_a_name(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"channels\.mail\.password: required.*OPTIMIZER_CHANNELS__MAIL__PASSWORD"):
        sender(tmp_path, 25, username="us")
    settings = SmtpSettings.model_validate({"kind": "smtp", "host": "x", "from": "a@b.example", "username": "u",
                                            "password": "s3cret"})  # fmt: skip
    assert "s3cret" not in repr(settings)


def test_every_message_of_a_call_goes_over_one_connection_and_a_lost_one_is_made_anew(
    provider: MailProvider, tmp_path: Path
) -> None:
    made = sender(tmp_path, provider.port)
    provider.silent = True
    first, second = made.send([touch(1), replace(touch(2), address="gone@example.org")])
    assert (first.result, second.result) == (Result.UNKNOWN, Result.PERMANENT)
