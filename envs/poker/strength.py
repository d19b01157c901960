"""How strong each hand is on a full board, by phevaluator's seven-card ranks."""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from phevaluator.evaluator import evaluate_7cards

from tenfold.envs.poker.cards import CARDS, HAND_COUNT, HANDS, format_cards, live_hands

WEAKEST = 7462
"""phevaluator numbers the classes of hands from 1, the royal flush, to this."""


class BoardOrder(NamedTuple):
    """The live hands of a board from the weakest to the strongest.

    Attributes:
        hands: (1081,) int32 indices of hands.
        groups: (G + 1,) int32 bounds of the G groups of equal strength: group g is
            ``hands[groups[g]:groups[g + 1]]``.
    """

    hands: NDArray[np.int32]
    groups: NDArray[np.int32]


def board_ranks(board: Sequence[int], deck: int = CARDS) -> NDArray[np.int32]:
    """Strength of each hand with a board of five cards (read-only, remembered for many boards).

    Args:
        board: Five cards.
        deck: Cards of the deck, the lowest ones of 52.

    Returns:
        (1326,) int32: 0 .. 7461, bigger is better and equal ties; -1 where the board blocks and
        for hands that are not in the deck.

    Raises:
        ValueError: The board is not five different cards.
    """
    return _ranks(_five_cards(board), deck)


def board_order(board: Sequence[int], deck: int = CARDS) -> BoardOrder:
    """The live hands of a board in the order of their strength, see `BoardOrder`.

    Raises:
        ValueError: The board is not five different cards.
    """
    return _order(_five_cards(board), deck)


@lru_cache(maxsize=4096)
def _ranks(board: tuple[int, ...], deck: int) -> NDArray[np.int32]:
    ranks = np.full(HAND_COUNT, -1, dtype=np.int32)
    live = np.flatnonzero(live_hands(board, deck))
    ranks[live] = [WEAKEST - evaluate_7cards(*board, c1, c2) for c1, c2 in HANDS[live].tolist()]
    ranks.setflags(write=False)
    return ranks


@lru_cache(maxsize=4096)
def _order(board: tuple[int, ...], deck: int) -> BoardOrder:
    ranks = _ranks(board, deck)
    hands = np.argsort(ranks, kind="stable").astype(np.int32)[np.count_nonzero(ranks < 0) :]
    starts = np.flatnonzero(np.diff(ranks[hands], prepend=-1))
    groups = np.append(starts, len(hands)).astype(np.int32)
    hands.setflags(write=False)
    groups.setflags(write=False)
    return BoardOrder(hands, groups)


def _five_cards(board: Sequence[int]) -> tuple[int, ...]:
    cards = tuple(sorted(int(card) for card in board))
    if len(set(cards)) != 5 or len(cards) != 5 or not 0 <= cards[0] <= cards[-1] < CARDS:
        shown = format_cards(cards) if all(0 <= card < CARDS for card in cards) else str(cards)
        raise ValueError(f"Board '{shown}' has no strengths: give five different cards.")
    return cards
