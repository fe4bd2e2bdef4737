"""Shapley's and Owen's values."""

from __future__ import annotations

from itertools import combinations

import pytest

from simulator.worlds.games import BUCKETS, PLAYERS, WITHIN_EXECUTION, Values, coalition, coefficients

LETTERS = {"c": "customer", "e": "experience", "p": "placement", "t": "earlier_touches"}


def game(worth: dict[str, float]) -> Values:
    """V of every subset of the players by their letters; what is not given is the sum of its members."""
    of = {}
    for size in range(5):
        for letters in combinations("cept", size):
            key = "".join(letters)
            value = worth.get(key, sum(worth.get(letter, 0.0) for letter in letters))
            of[coalition([LETTERS[letter] for letter in letters])] = value
    return Values(of)


def test_players_who_add_up_get_what_they_bring() -> None:
    values = game({"c": 1.0, "e": 2.0, "p": 3.0, "t": 4.0})
    assert values.shares == pytest.approx({"customer": 0.1, "experience": 0.2, "execution": 0.7})
    assert values.within_execution == pytest.approx({"placement": 0.3, "earlier_touches": 0.4})


def test_shares_within_execution_by_hand() -> None:
    # Nothing is worth anything but placement with earlier touches (6) and both with the customer or everybody (12).
    # Orders of C, E, X: X gets 6 unless C is before it, then 12; C gets the 6 more if it comes after X. Within X the
    # second of its members to come gets all: half each.
    worth = {key: 0.0 for size in range(5) for key in map("".join, combinations("cept", size))}
    values = game(worth | {"pt": 6.0, "cpt": 12.0, "ept": 6.0, "cept": 12.0})
    assert values.shares == pytest.approx({"customer": 3 / 12, "experience": 0.0, "execution": 9 / 12})
    assert values.within_execution == pytest.approx({"placement": 4.5 / 12, "earlier_touches": 4.5 / 12})


def test_what_a_member_brings_is_told_from_what_the_union_brings() -> None:
    # Earlier touches alone help who chooses the message (2); with the placement they bring nothing more.
    worth = {"e": 1.0, "p": 4.0, "pt": 4.0, "et": 3.0, "ep": 5.0, "ept": 5.0, "t": 0.0, "c": 0.0}
    for key in ("ce", "cp", "cpt", "cet", "cep", "cept"):
        worth[key] = worth[key.replace("c", "")]
    values = game(worth | {"ct": 0.0})
    within = values.within_execution
    assert values.shares == pytest.approx({"customer": 0.0, "experience": 0.2, "execution": 0.8})
    # E comes before X in half of the orders, and T before P in half of those: 2 x 1/4, of 5 in all.
    assert within["earlier_touches"] == pytest.approx(0.5 / 5)
    assert within["placement"] == pytest.approx(3.5 / 5)


def test_the_weights_of_each_player_sum_to_nothing_and_those_of_all_to_the_whole() -> None:
    total: dict[frozenset[str], float] = {}
    for player in (BUCKETS[0], BUCKETS[1], *WITHIN_EXECUTION):
        own = coefficients(player)
        assert sum(own.values()) == pytest.approx(0.0)
        for players, weight in own.items():
            total[players] = total.get(players, 0.0) + weight
    left = {players: weight for players, weight in total.items() if abs(weight) > 1e-12}
    assert left == pytest.approx({coalition(PLAYERS): 1.0, frozenset(): -1.0})
