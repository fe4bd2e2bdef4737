from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from optimizer.dispatch.templates import NotRendered, Rendered, Templates
from optimizer.unsubscribing import Links
from tests.optimizer.dispatch.senders.touch import SECRET, touch

if TYPE_CHECKING:
    from pathlib import Path

    from optimizer.dispatch.senders import Outgoing


@pytest.fixture
def home(tmp_path: Path) -> Path:
    made = tmp_path / "warm_mail" / "v2"
    made.mkdir(parents=True)
    (made / "body.txt").write_text("Hello")
    return made


def rendered(home: Path, sent: Outgoing | None = None, *, subject: bool = False, **files: str) -> Rendered:
    for name, text in files.items():
        (home / name.replace("_", ".")).write_text(text)
    return Templates(home.parents[1], Links(SECRET, "https://s.example")).render(sent or touch(), subject=subject)


def why(home: Path, sent: Outgoing | None = None, **files: str) -> str:
    with pytest.raises(NotRendered) as caught:
        rendered(home, sent, subject=True, subject_txt="s", **files)
    return caught.value.why


def attributes(**values: Any) -> Outgoing:  # noqa: ANN401 -- any attribute
    return touch(attributes=orjson.dumps(values).decode())


def test_a_template_knows_the_customer_the_touch_and_its_offer(home: Path) -> None:
    text = "{{ customer.plan }} {{ customer_id }} {{ campaign }} {{ message }} {{ channel }} {{ offer.value }}"
    sent = touch(1, offer=orjson.dumps({"id": "off10", "value": 10}).decode())
    assert rendered(home, sent, body_txt=text).body == "gold c-17-1 winback warm mail 10"


def test_html_is_escaped_and_text_is_not(home: Path) -> None:
    sent = attributes(name="<b>&")
    found = rendered(home, sent, body_txt="{{ customer.name }}", body_html="<p>{{ customer.name }}</p>")
    assert (found.body, found.html, found.subject) == ("<b>&", "<p>&lt;b&gt;&amp;</p>", None)


def test_a_subject_is_one_line_whatever_an_attribute_holds(home: Path) -> None:
    sent = attributes(name="x\r\nBcc: all\x0b\x85\u2028y")
    assert rendered(home, sent, subject_txt="Hi {{ customer.name }}\n").subject == "Hi x Bcc: all y"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("{{ customer.nick }}", "there is no nick"),
        ("{{ nick }}", "there is no nick"),
        ("{% if customer.nick %}x{% endif %}", "there is no nick"),
        ("{{ customer.nick.first }}", "there is no nick"),
        ("{% for each in customer.nick %}{% endfor %}", "there is no nick"),
        ("{{ customer.gone }}", "there is no gone"),
        ("{{ customer.nick | round | int }}", "there is no nick"),
        ("{{ customer.nick | abs }}", "there is no nick"),
        ("{{ '%d' % customer.nick }}", "there is no nick"),
        ("{{ customer.nick | upper }}", "there is no nick"),
        ("{{ customer.nick | join(',') }}", "there is no nick"),
        # The name comes from an attribute, which is the customer's.
        ("{{ customer[customer.plan] }}", "a variable is not there"),
        ("{{ customer.plan + 1 }}", "TypeError"),
        ("{{ 1 / 0 }}", "ZeroDivisionError"),
        ("{% include 'lost.txt' %}", "there is no template lost.txt"),
    ],
)
def test_what_is_wrong_is_told_by_name_and_never_by_value(home: Path, body: str, expected: str) -> None:
    told = why(home, attributes(plan="secret-plan", gone=None), body_txt=body)
    assert told == f"template warm_mail/v2/body.txt: {expected}"
    assert "secret-plan" not in told


def test_a_template_that_cannot_be_read_tells_its_line(home: Path) -> None:
    assert why(home, body_txt="\n{% if %}").startswith("template warm_mail/v2/body.txt, line 2: ")


def test_what_may_be_missing_has_something_in_its_place(home: Path) -> None:
    body = "{{ customer.nick | default('friend') }}{% if customer.nick is defined %}!{% endif %}"
    assert rendered(home, body_txt=body).body == "friend"


def test_a_template_or_a_version_that_is_not_there_is_named(home: Path) -> None:
    for sent, path in (
        (touch(template="lost"), "lost/v2"),
        (touch(version=7), "warm_mail/v7"),
        (touch(template="../../etc"), "../../etc/v2"),
    ):
        assert why(home, sent) == f"there is no template {path}/subject.txt"
    (home / "subject.txt").unlink()
    with pytest.raises(NotRendered, match=r"^there is no template warm_mail/v2/subject.txt$"):
        rendered(home, subject=True)


@pytest.mark.parametrize(
    "body",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ customer.__init__.__globals__ }}",
        "{{ customer.update({'plan': 'x'}) }}",
        "{{ self.__init__.__globals__ }}",
        "{{ lipsum.__globals__['os'].popen('id').read() }}",
        "{% for i in range(10**9) %}x{% endfor %}",
        "{% include '../../../etc/passwd' %}",
        "{% include '/etc/passwd' %}",
    ],
)
def test_a_template_reaches_nothing_outside_its_sandbox(home: Path, body: str) -> None:
    began_s = time.monotonic()
    assert why(home, body_txt=body).startswith("template warm_mail/v2/body.txt: ")
    assert time.monotonic() - began_s < 5


def test_a_test_send_says_so_and_its_link_is_no_ones(home: Path) -> None:
    test = touch(test=True)
    text = "{{ unsubscribe_url }}"
    assert rendered(home, test, body_txt=text).body == "[TEST] https://s.example/unsubscribe/test"
    found = rendered(home, test, body_txt=text, subject_txt="Hi")
    assert (found.subject, found.body) == ("[TEST] Hi", "https://s.example/unsubscribe/test")


def test_without_a_public_address_the_link_is_not_there(home: Path) -> None:
    (home / "body.txt").write_text("{{ unsubscribe_url }}")
    with pytest.raises(NotRendered, match="there is no unsubscribe_url"):
        Templates(home.parents[1]).render(touch())
