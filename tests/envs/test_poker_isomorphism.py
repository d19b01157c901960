"""Suit isomorphism: known counts of boards, and that strength does not see a renaming."""

from itertools import combinations

import numpy as np
import pytest

from tenfold.envs.poker.cards import HANDS, format_cards, hand_index, live_hands, parse_cards
from tenfold.envs.poker.isomorphism import (
    CARD_MAPS,
    HAND_MAPS,
    PERMUTATIONS,
    canonical_board,
    canonical_boards,
    move_hands,
    next_cards,
    symmetries,
)
from tenfold.envs.poker.ranges import parse_range
from tenfold.envs.poker.strength import board_ranks


@pytest.mark.parametrize(("cards", "boards", "classes"), [(2, 1326, 169), (3, 22_100, 1_755)])
def test_the_known_numbers_of_classes(cards: int, boards: int, classes: int) -> None:
    every = np.array(list(combinations(range(52), cards)))
    forms, chosen = canonical_boards(every)
    assert len(every) == boards
    assert len(np.unique(forms, axis=0)) == classes
    assert (np.sort(CARD_MAPS[chosen[:, None], every], axis=1) == forms).all()
    again, _ = canonical_boards(forms)
    assert (again == forms).all()


def test_turns_have_as_many_classes_as_burnside_counts() -> None:
    every = np.array(list(combinations(range(52), 4)))
    forms, _ = canonical_boards(every)
    # Each renaming of a cycle type fixes the boards made of whole cycles: the average of these
    # counts over the 24 renamings is the number of classes.
    fixed = [
        int((np.sort(CARD_MAPS[p, every], axis=1) == every).all(axis=1).sum()) for p in range(24)
    ]
    assert len(np.unique(forms, axis=0)) == sum(fixed) / 24 == 16_432


def test_renamed_boards_have_the_same_form_and_strengths() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        board = rng.permutation(52)[:5]
        ranks = board_ranks(board)
        for p in rng.permutation(24)[:3]:
            renamed = CARD_MAPS[p, board]
            assert canonical_board(renamed)[0] == canonical_board(board)[0]
            assert (board_ranks(renamed)[HAND_MAPS[p]] == ranks).all()
            assert (move_hands(ranks, p) == board_ranks(renamed)).all()


def test_hands_move_as_their_cards() -> None:
    for p in range(24):
        for hand in (0, 500, 1325):
            c1, c2 = HANDS[hand]
            assert HAND_MAPS[p, hand] == hand_index(CARD_MAPS[p, c1], CARD_MAPS[p, c2])
    assert (PERMUTATIONS[0] == range(4)).all()


def test_symmetries_respect_board_and_ranges() -> None:
    monotone = parse_cards("AsKs7s")
    assert len(symmetries(monotone)) == 6
    assert len(symmetries(monotone, parse_range("22+,AK"))) == 6
    assert len(symmetries(monotone, parse_range("22+,AhKh"))) == 2
    assert len(symmetries(parse_cards("AsKd7h2c"))) == 1
    assert len(symmetries(parse_cards("AsAdKsKd"))) == 4


@pytest.mark.parametrize(
    ("board", "classes"), [("AsKs7s", 23), ("AsKd7h2c", 48), ("AsKs7s2s", 22), ("AsAdKsKd", 24)]
)
def test_next_cards_of_one_class_stand_for_each_other(board: str, classes: int) -> None:
    cards = parse_cards(board)
    found = next_cards(cards, symmetries(cards))
    members = [card for group in found.values() for card, _ in group]
    assert sorted(members) == [card for card in range(52) if card not in cards]
    assert len(found) == classes, format_cards(found)
    for lowest, group in found.items():
        assert group[0] == (lowest, 0)
        for card, p in group:
            after = live_hands([*cards, lowest])
            assert (move_hands(after, p) == live_hands([*cards, card])).all()
