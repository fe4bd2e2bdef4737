"""The page needs nothing from elsewhere, says in words what its pictures show, and is fit for a phone."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from simulator.comparison.comparing import Question, compare
from simulator.comparison.numbers import Digits
from simulator.comparison.page import page
from simulator.logs.reading import Intake
from simulator.workers import Here
from tests.simulator.comparison.worlds import SIDES, Memory, changed, two_sides

if TYPE_CHECKING:
    from simulator.comparison.results import Comparison

VOID = {"meta", "br", "link", "img", "input", "hr"}


class Elements(HTMLParser):
    """Every element with its attributes; complains where a tag is not closed."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def elements(text: str) -> list[tuple[str, dict[str, str | None]]]:
    parser = Elements()
    parser.feed(text)
    parser.close()
    assert not parser.open
    return parser.found


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    more = changed(
        catalog={"messages": [{"id": "a"}, {"id": "b"}, {"id": "gift"}], "no_send": True},
    )
    question = Question(campaigns={"sides <1>": SIDES, "more": more}, publish_every=300)
    return compare("a/log & more.csv", Memory(two_sides(1_500)), Intake(), question, Here())


@pytest.fixture(scope="module")
def text(comparison: Comparison) -> str:
    return page(comparison)


def test_it_asks_for_nothing_and_runs_nothing(text: str) -> None:
    for tag, attributes in elements(text):
        assert tag not in {"script", "link", "img", "iframe", "object", "embed", "base", "form"}
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            if name in {"src", "href", "xlink:href", "action", "srcset", "data"}:
                assert value is not None
                assert value.startswith("#"), (tag, name, value)
    addresses = set(re.findall(r"[a-z]+://[^\"'<>\s)]*", text))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}  # names of vocabularies
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)


def test_each_picture_is_well_formed_and_says_in_words_what_it_shows(text: str) -> None:
    pictures = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    assert len(pictures) == 4
    ids: list[str] = []
    for picture in pictures:
        root = ET.fromstring(picture)  # noqa: S314 - our own
        assert root.get("role") == "img"
        named = (root.get("aria-labelledby") or "").split()
        texts = {each.get("id"): each.text for each in root}
        assert all(texts[each] for each in named)
        assert len(named) == 2
        mine = [each.get("id") for each in root.iter() if each.get("id")]
        ids += [each for each in mine if each is not None]
        for each in root.iter():
            for value in each.attrib.values():
                for target in re.findall(r"(?:url\(#|^#)([^)]+)", value):
                    assert target in mine
    assert len(ids) == len(set(ids))
    assert "sides &lt;1&gt; 0." in text


def test_it_is_fit_for_a_phone_and_for_those_who_do_not_see_it(text: str) -> None:
    found = elements(text)
    assert ("html", {"lang": "en"}) in found
    assert any(tag == "meta" and "width=device-width" in (a.get("content") or "") for tag, a in found)
    assert sum(tag == "h1" for tag, _ in found) == 1
    assert text.count('<div class="scroll" tabindex="0"><table>') == text.count("<table>") > 5
    assert all(attributes.get("scope") == "col" for tag, attributes in found if tag == "th")


def test_names_are_escaped(text: str) -> None:
    assert "log &amp; more.csv" in text
    assert "sides &lt;1&gt;" in text
    assert "sides <1>" not in text


def test_refusals_are_told_as_such_and_so_is_the_doubt_about_propensities(text: str) -> None:
    assert "What this log cannot tell" in text
    assert re.search(r"more cannot be judged: the log has nothing on gift \(\d+\.\d+% of its choices\)", text)
    wrong = replace(two_sides(6_000), distribution=None, propensity=np.full(6_000, 1 / 3))
    found = compare("log", Memory(wrong), Intake(), Question(campaigns={}), Here())
    assert "propensities: They are doubtful" in page(found).split("<h2>")[0]
    assert "They can be:" in text


def test_the_same_comparison_makes_the_same_page(comparison: Comparison, text: str) -> None:
    assert page(comparison) == text


def test_a_comparison_in_which_nothing_can_be_judged_is_a_page_too(comparison: Comparison) -> None:
    none = replace(comparison, policies=tuple(comparison.refused), steps=())
    assert "None of these policies can be judged on this log." in page(none)
    assert Digits.of(none).decimals == 4


def test_numbers_have_as_many_digits_as_their_uncertainty_leaves(comparison: Comparison) -> None:
    digits = Digits.of(comparison)
    assert digits.number(0.123456) == "0.123"
    assert digits.number(0.1, signed=True) == "+0.100"
    assert digits.number(None) == digits.number(float("nan")) == digits.span(None) == "-"
