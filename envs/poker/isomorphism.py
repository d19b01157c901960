"""Suit isomorphism: suits have no order, so boards that differ by a renaming of suits are one.

A permutation of suits is a row of `PERMUTATIONS`: suit s becomes ``PERMUTATIONS[p, s]``. The
canonical board is the one whose sorted cards come first among all renamings.
"""

from collections.abc import Sequence
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from tenfold.envs.poker.cards import CARDS, HANDS

PERMUTATIONS: NDArray[np.int64] = np.array(list(permutations(range(4))))
"""(24, 4): all renamings of the suits; the first changes nothing."""

CARD_MAPS: NDArray[np.int64] = 4 * (np.arange(CARDS) // 4) + PERMUTATIONS[:, np.arange(CARDS) % 4]
"""(24, 52): card c becomes ``CARD_MAPS[p, c]``."""


def _hand_maps() -> NDArray[np.int64]:
    cards = CARD_MAPS[:, HANDS]  # (24, 1326, 2)
    high, low = cards.max(axis=2), cards.min(axis=2)
    return high * (high - 1) // 2 + low


HAND_MAPS: NDArray[np.int64] = _hand_maps()
"""(24, 1326): hand h becomes ``HAND_MAPS[p, h]``."""


def canonical_boards(
    boards: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The canonical form of many boards, each taken as a set of cards.

    Args:
        boards: (N, k) cards.

    Returns:
        (N, k) canonical boards with ascending cards, and (N,) the rows of `PERMUTATIONS` that lead
        there: ``sorted(CARD_MAPS[p, board])`` is the canonical board.
    """
    width = boards.shape[1]
    place = CARDS ** np.arange(width - 1, -1, -1, dtype=np.int64)
    renamed = np.sort(CARD_MAPS[:, boards], axis=2)  # (24, N, k)
    chosen = np.argmin(renamed @ place, axis=0)
    return renamed[chosen, np.arange(len(boards))], chosen


def canonical_board(board: Sequence[int]) -> tuple[tuple[int, ...], int]:
    """The canonical form of one board and the row of `PERMUTATIONS` that leads there."""
    forms, chosen = canonical_boards(np.array([board], dtype=np.int64))
    return tuple(forms[0].tolist()), int(chosen[0])


def move_hands(values: NDArray[np.float64], permutation: int) -> NDArray[np.float64]:
    """Values of hands after the suits are renamed.

    Args:
        values: (..., 1326): a range, or values of hands.
        permutation: Row of `PERMUTATIONS`.

    Returns:
        (..., 1326): hand ``HAND_MAPS[p, h]`` has what hand h had.
    """
    moved = np.empty_like(values)
    moved[..., HAND_MAPS[permutation]] = values
    return moved


def symmetries(board: Sequence[int], *weights: NDArray[np.float64]) -> list[int]:
    """The rows of `PERMUTATIONS` that change neither the board nor any of the ranges.

    Args:
        board: Cards; their order does not count.
        weights: Ranges, (1326,) each.
    """
    cards = sorted(board)
    return [
        p
        for p in range(len(PERMUTATIONS))
        if sorted(CARD_MAPS[p, cards]) == cards
        and all((move_hands(each, p) == each).all() for each in weights)
    ]


def next_cards(board: Sequence[int], symmetric: Sequence[int]) -> dict[int, list[tuple[int, int]]]:
    """The next cards of a board, those that are the same up to renaming put together.

    Args:
        board: Cards that are out.
        symmetric: `symmetries` of the board and the ranges.

    Returns:
        The lowest card of each class -> its members as (card, row of `PERMUTATIONS` that leads from
        the lowest card to it). The members of all classes are the cards that are not out.
    """
    classes: dict[int, list[tuple[int, int]]] = {}
    seen = set(board)
    for card in range(CARDS):
        if card in seen:
            continue
        reached = {int(CARD_MAPS[p, card]): p for p in reversed(symmetric)}
        classes[card] = sorted(reached.items())
        seen |= reached.keys()
    return classes
