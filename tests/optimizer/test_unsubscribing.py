from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from optimizer.secret import Secret
from optimizer.unsubscribing import Links, named, token

SECRET = Secret(b"an example of thirty-two bytes...")
DECISION = "019b0000-0000-7000-8000-000000000001"


@given(st.from_regex(r"[A-Za-z][A-Za-z0-9_.-]{0,63}", fullmatch=True), st.uuids(version=4))
def test_a_token_names_its_decision_and_stands_in_an_address(tenant: str, decision: object) -> None:
    made = token(SECRET, tenant, str(decision))
    assert named(SECRET, made) == (tenant, str(decision))
    assert re.fullmatch(r"[A-Za-z0-9_-]{40,200}", made)


@given(st.data())
def test_a_changed_token_names_nothing(data: st.DataObject) -> None:
    made = token(SECRET, "ours", DECISION)
    place = data.draw(st.integers(0, len(made) - 2))
    other = data.draw(st.sampled_from("ABCxyz019-_").filter(lambda each: each != made[place]))
    assert named(SECRET, made[:place] + other + made[place + 1 :]) is None


@given(st.text())
def test_what_is_no_token_names_nothing(text: str) -> None:
    assert named(SECRET, text) is None


def test_another_secret_makes_other_tokens() -> None:
    assert named(Secret.ephemeral(), token(SECRET, "default", DECISION)) is None


def test_the_links_lead_to_the_service() -> None:
    links = Links(SECRET, "https://service.example")
    assert links.to("default", DECISION) == f"https://service.example/unsubscribe/{token(SECRET, 'default', DECISION)}"
    assert named(SECRET, links.of_trial().rpartition("/")[2]) is None
