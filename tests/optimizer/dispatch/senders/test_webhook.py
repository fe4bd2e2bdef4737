from __future__ import annotations

import socket
import ssl
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from standardwebhooks import Webhook

from optimizer.dispatch.senders import Outcome, Result
from optimizer.dispatch.senders.base import NO_TIME
from optimizer.errors import InvalidInput
from optimizer.unsubscribing import token
from tests.optimizer.dispatch.senders.providers import HttpProvider
from tests.optimizer.dispatch.senders.rigs import make
from tests.optimizer.dispatch.senders.touch import SECRET, SIGNING, touch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def provider() -> Iterator[HttpProvider]:
    with HttpProvider().running() as made:
        yield made


def sender(folder: Path, port: int, **fields: Any) -> Any:  # noqa: ANN401 -- with or without `ask`
    plain: dict[str, Any] = {"url": f"http://127.0.0.1:{port}/touches", "secret": SIGNING, "allow_private": True}
    return make("webhook", folder, **(plain | fields))


def test_the_reference_library_accepts_the_signature(provider: HttpProvider, tmp_path: Path) -> None:
    sent = touch(1, offer='{"id":"off10"}', send_at="2026-01-12T15:00:00+00:00")
    sender(tmp_path, provider.port).send([sent])
    [request] = provider.requests
    payload = Webhook(SIGNING).verify(request.body, request.headers)
    assert request.headers["webhook-id"] == sent.decision_id
    assert payload == {
        "decision_id": sent.decision_id,
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
        "offer": {"id": "off10"},
        "unsubscribe_url": f"https://service.example/unsubscribe/{token(SECRET, 'default', sent.decision_id)}",
    }


@pytest.mark.parametrize(
    ("statuses", "result"),
    [
        ((200, 201, 202, 204), Result.SENT),
        ((408, 409, 425, 429, 503), Result.TEMPORARY),
        ((400, 401, 403, 404, 410, 413, 422), Result.PERMANENT),
        ((301, 302, 307, 308), Result.PERMANENT),
        ((500, 501, 502, 504, 599, None), Result.UNKNOWN),
    ],
)
def test_what_an_answer_says(
    provider: HttpProvider, tmp_path: Path, statuses: tuple[int | None, ...], result: Result
) -> None:
    left = list(statuses)
    provider.answer = lambda _: left.pop()
    outcomes = sender(tmp_path, provider.port).send([touch(n) for n in range(len(statuses))])
    assert [each.result for each in outcomes] == [result] * len(statuses), outcomes


def test_who_answers_twice_does_not_answer_for_the_next_touch(tmp_path: Path) -> None:
    def serve(connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as lines:
            while line := lines.readline():
                headers = dict(each.split(b": ") for each in iter(lambda: lines.readline().strip(), b""))
                body = orjson.loads(lines.read(int(headers[b"Content-Length"])))
                assert line.startswith(b"POST ")
                taken = int(body["customer_id"].rpartition("-")[2]) % 2
                status = b"200 OK" if taken else b"503 Busy"
                connection.sendall((b"HTTP/1.1 %b\r\nContent-Length: 0\r\n\r\n" % status) * (1 + taken))

    def listen() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
        threading.Thread(target=listen, daemon=True).start()
        touches = [touch(n) for n in range(80)]
        outcomes = sender(tmp_path, listener.getsockname()[1]).send(touches)
    assert [each.result for each in outcomes] == [Result.TEMPORARY, Result.SENT] * 40


def test_redirects_are_not_followed(provider: HttpProvider, tmp_path: Path) -> None:
    with HttpProvider().running() as inside:
        provider.headers = {"Location": f"http://127.0.0.1:{inside.port}/"}
        provider.answer = lambda _: 307
        [outcome] = sender(tmp_path, provider.port).send([touch()])
        assert outcome == Outcome(Result.PERMANENT, "it answered 307, and redirects are not followed")
        assert inside.requests == []


def test_an_answer_that_does_not_come_is_unknown_and_holds_up_no_other(provider: HttpProvider, tmp_path: Path) -> None:
    provider.wait = threading.Event()
    began_s = time.monotonic()
    outcomes = sender(tmp_path, provider.port, wait_s=1.0).send([touch(n) for n in range(5)])
    assert [each.result for each in outcomes] == [Result.UNKNOWN] * 5
    assert len(provider.requests) == 5
    assert time.monotonic() - began_s < 5


def test_a_call_ends_in_time_whatever_the_provider_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It answers a byte of the head now and then, each within the time that one may take."""
    monkeypatch.setattr("optimizer.dispatch.senders.webhook.CALL_S", 0.3)
    monkeypatch.setattr("optimizer.dispatch.senders.webhook.END_S", 1.0)
    monkeypatch.setattr("optimizer.dispatch.senders.webhook.AT_ONCE", 1)
    over = threading.Event()

    def drip(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(b"HTTP/1.1 200 OK\r\n")
            while not over.wait(0.1):
                try:
                    connection.sendall(b"x")
                except OSError:
                    return

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=drip, args=(listener,), daemon=True)
        thread.start()
        began_s = time.monotonic()
        outcomes = sender(tmp_path, listener.getsockname()[1]).send([touch(1), touch(2)])
        assert time.monotonic() - began_s < 4
        over.set()
        thread.join(2)
    assert [each.result for each in outcomes] == [Result.UNKNOWN, Result.TEMPORARY]
    assert outcomes[1] is NO_TIME


# Where it may go


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:{}/", "http://localhost:{}/", "http://[::1]:{}/", "http://169.254.169.254/latest",
            "http://0x7f000001:{}/", "http://2130706433:{}/", "http://10.0.0.1/"],
)  # fmt: skip
def test_nothing_inside_is_reached(provider: HttpProvider, tmp_path: Path, url: str) -> None:
    here = url.format(provider.port)
    [outcome] = sender(tmp_path, provider.port, url=here, allow_private=False).send([touch()])
    assert outcome == Outcome(Result.PERMANENT, "its address is not public; allow_private would let it be")
    assert provider.requests == []


def test_a_name_that_leads_elsewhere_after_the_check_gains_nothing(
    provider: HttpProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: the first answer is a public address, every later one is this machine's."""
    answers: list[str] = []
    real = socket.getaddrinfo
    tried: list[Any] = []

    def resolve(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 -- as the library has it
        if host == "rebinding.example":
            answers.append("203.0.114.7" if not answers else "127.0.0.1")
            host = answers[-1]
        return real(host, port, *args, **kwargs)

    def connect(address: Any, *_args: Any, **_kwargs: Any) -> socket.socket:  # noqa: ANN401
        tried.append(address)
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(socket, "create_connection", connect)
    url = f"http://rebinding.example:{provider.port}/"
    [outcome] = sender(tmp_path, provider.port, url=url, allow_private=False).send([touch()])
    assert (outcome.result, answers) == (Result.TEMPORARY, ["203.0.114.7"])
    assert tried == [("203.0.114.7", provider.port)]


def test_a_proxy_of_the_environment_is_not_used(
    provider: HttpProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    assert sender(tmp_path, provider.port).send([touch()])[0].result is Result.SENT


def test_the_certificate_is_asked_for_the_name_and_not_for_the_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "cert.pem", "-days",
         "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"],
        cwd=tmp_path, check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    with HttpProvider().running(context) as provider:
        here = f"https://localhost:{provider.port}/"
        assert sender(tmp_path, 0, url=here).send([touch()])[0].result is Result.TEMPORARY
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
        assert sender(tmp_path, 0, url=here).send([touch()])[0].result is Result.SENT
        assert provider.requests[0].headers["host"] == f"localhost:{provider.port}"
        other = here.replace("localhost", "127.0.0.1")
        assert sender(tmp_path, 0, url=other).send([touch()])[0].result is Result.TEMPORARY
        assert len(provider.requests) == 1


def test_a_name_that_nobody_knows_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(*_args: object, **_kwargs: object) -> str:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    [outcome] = sender(tmp_path, 80, url="https://gone.example/").send([touch()])
    assert outcome.result is Result.TEMPORARY
    assert outcome.detail == "its name cannot be resolved: gaierror: Name or service not known"


# Asked afterwards


@pytest.mark.parametrize(
    ("status", "result"),
    [(200, Result.SENT), (404, Result.TEMPORARY), (410, Result.PERMANENT), (202, Result.UNKNOWN),
     (500, Result.UNKNOWN), (302, Result.UNKNOWN), (None, Result.UNKNOWN)],
)  # fmt: skip
def test_what_the_provider_says_of_a_touch(
    provider: HttpProvider, tmp_path: Path, status: int | None, result: Result
) -> None:
    provider.answer = lambda _: status
    asking = sender(tmp_path, provider.port, status_url=f"http://127.0.0.1:{provider.port}/of?id={{id}}")
    [outcome] = asking.ask([touch(1, decision_id="a/b&c")])
    assert outcome.result is result
    [request] = provider.requests
    assert (request.method, request.path) == ("GET", "/of?id=a%2Fb%26c")
    Webhook(SIGNING).verify(b"{}", _signed_again(request.headers))


def _signed_again(headers: dict[str, str]) -> dict[str, str]:
    """The reference library reads only JSON; an empty body is checked by hand, and then signed as one."""
    from optimizer.dispatch.signing import Signer  # noqa: PLC0415 -- only here

    signer = Signer(SIGNING)
    assert signer.verified(headers, b"", time.time()) == "a/b&c"
    return signer.headers("a/b&c", int(headers["webhook-timestamp"]), b"{}")


def test_a_provider_that_cannot_be_asked_leaves_a_touch_as_it_was(tmp_path: Path) -> None:
    asking = sender(tmp_path, 9, status_url="http://127.0.0.1:9/{id}")
    assert [each.result for each in asking.ask([touch()])] == [Result.UNKNOWN]
    refused = sender(tmp_path, 9, status_url="http://127.0.0.1:9/{id}", allow_private=False)
    assert [each.result for each in refused.ask([touch()])] == [Result.UNKNOWN]
    assert not hasattr(sender(tmp_path, 9), "ask")


@pytest.mark.parametrize("secret", ["short", "whsec_c2hvcnQ=", "whsec_***"])
def test_a_secret_of_another_form_is_refused_without_being_shown(tmp_path: Path, secret: str) -> None:
    with pytest.raises(InvalidInput, match=r"channels\.mail\.secret: ") as caught:
        sender(tmp_path, 80, secret=secret)
    assert secret.removeprefix("whsec_") not in caught.value.message


def test_a_payload_is_json_and_holds_no_attribute(provider: HttpProvider, tmp_path: Path) -> None:
    sender(tmp_path, provider.port).send([touch(1)])
    assert b"Zebra" not in provider.requests[0].body
    assert orjson.loads(provider.requests[0].body)["address"] == "ana1@example.org"
