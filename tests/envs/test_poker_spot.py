"""Spots: what is refused, and how likely hands are dealt against brute force."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenfold.envs.poker.cards import HAND_COUNT, HANDS, live_hands
from tenfold.envs.poker.spot import deals, random_spot, read_spot, street_name

GIVEN: dict[str, Any] = {
    "board": "AsKd7h2c3d",
    "pot": 1_000,
    "stacks": "9500",
    "ranges": ["random", "22+,AK"],
    "big_blind": 100,
}


def test_a_spot_is_read() -> None:
    spot = read_spot(**{**GIVEN, "stacks": "9500, 8000"})
    assert (spot.rules.stacks, spot.rules.pot, spot.rules.depth) == ((9_500, 8_000), 1_000, 8_000)
    assert street_name(spot) == "river"
    assert ((spot.ranges[0] > 0) == live_hands(spot.board)).all()
    assert street_name(read_spot(**{**GIVEN, "board": "AsKd7h"})) == "flop"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"board": "AsKd"}, "Board 'AsKd' has 2 cards"),
        ({"board": "AsKd7h2cAs"}, "Card 'As' stands twice"),
        ({"pot": 0}, "Bad pot '0'"),
        ({"pot": "5.5"}, r"Bad pot '5\.5': give chips above 0, whole ones"),
        ({"pot": "1e3"}, "Bad pot '1e3'"),
        ({"pot": "nan", "decimals": True}, "Bad pot 'nan'"),
        ({"pot": "5.12345", "decimals": True}, "at most 4 decimals"),
        ({"pot": "2000000000"}, "up to 1,000,000,000"),
        ({"board": "AsKd\n"}, "Board 'AsKd' has 2 cards"),
        ({"stacks": "many"}, "Bad stacks 'many'"),
        ({"stacks": "9500,0"}, "Bad stacks"),
        ({"stacks": "1,2,3"}, "Bad stacks"),
        ({"stacks": "95.5"}, "Bad stacks"),
        ({"big_blind": 0}, "Bad big blind '0'"),
        ({"big_blind": "-1"}, "Bad big blind '-1'"),
        ({"ranges": ["AA"]}, "1 ranges given"),
        ({"ranges": ["AA", "A9x"]}, "Cannot read range 'A9x'"),
        ({"ranges": ["AcAd", "AdAh,AcKs:0.3"]}, "no hand can be dealt"),
    ],
)
def test_bad_spots_are_refused_by_name(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_spot(**{**GIVEN, **change})


@pytest.mark.parametrize(
    ("pot", "stacks", "blind", "unit", "rules"),
    [
        ("1000", "9500", None, 1, (1_000, (9_500, 9_500), 100)),
        ("50", "200", None, 100, (5_000, (20_000, 20_000), 500)),
        ("5.5", "97.5,80", None, 1_000, (5_500, (97_500, 80_000), 550)),
        ("1500", "97.25", "2.5", 100, (150_000, (9_725, 9_725), 250)),
    ],
)
def test_decimals_are_counted_in_units(
    pot: str, stacks: str, blind: str | None, unit: int, rules: tuple[int, tuple[int, int], int]
) -> None:
    given = {**GIVEN, "pot": pot, "stacks": stacks, "big_blind": blind}
    spot = read_spot(**given, decimals=True)
    assert spot.unit == unit
    assert (spot.rules.pot, spot.rules.stacks, spot.rules.big_blind) == rules


def test_the_smallest_bet_follows_the_pot_and_the_sizes() -> None:
    given = {**GIVEN, "big_blind": None}
    assert read_spot(**given).rules.big_blind == 100
    assert read_spot(**{**given, "pot": 50}).rules.big_blind == 5
    assert read_spot(**{**given, "pot": 3}).rules.big_blind == 1
    assert read_spot(**given, fractions=(0.25, 1.0)).rules.big_blind == 100
    assert read_spot(**given, fractions=(0.05, 1.0)).rules.big_blind == 50


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_deals_agree_with_counting_pairs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    ranges = np.zeros((2, HAND_COUNT))
    for row in ranges:
        row[rng.choice(HAND_COUNT, size=40, replace=False)] = rng.random(40)
    expected = np.zeros_like(ranges)
    for a in np.flatnonzero(ranges[0]):
        for b in np.flatnonzero(ranges[1]):
            if not set(HANDS[a]) & set(HANDS[b]):
                expected[0, a] += ranges[0, a] * ranges[1, b]
                expected[1, b] += ranges[0, a] * ranges[1, b]
    np.testing.assert_allclose(deals(ranges), expected, atol=1e-9)
    np.testing.assert_allclose(*deals(ranges).sum(axis=1))


def test_random_spots_are_the_seeds() -> None:
    spots = [random_spot(np.random.default_rng(s), 200, 5_000, 100) for s in (1, 1, 2)]
    assert spots[0].board == spots[1].board != spots[2].board
    assert (spots[0].ranges.sum(axis=1) == 1081).all()
