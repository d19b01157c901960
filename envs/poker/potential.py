"""How strong hands are before the last card: percentiles of strength over the cards to come.

On a full board a hand's percentile is the share of all hands that it beats, ties half. Before, it
has a mean percentile and a spread around it: a draw and a middling pair may have the same mean, but
only the draw will know on the river whether to bet. Suits enter through strength alone, so that a
renaming of suits renames hands and changes nothing else.
"""

from functools import lru_cache
from itertools import combinations
from math import comb
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tenfold.envs.poker.cards import HAND_COUNT
from tenfold.envs.poker.isomorphism import HAND_MAPS, canonical_board
from tenfold.envs.poker.strength import board_ranks

FULL = 5
"""Cards of a full board."""

RUN_OUTS = 100
"""That a potential looks at, at most: all of the turn's, a sample of the flop's."""


class Potential(NamedTuple):
    """Percentiles of all hands on a board, 0 for those it blocks.

    Attributes:
        mean: (1326,) float32 in [0, 1].
        spread: (1326,) float32, the standard deviation over the cards to come; 0 on the river.
    """

    mean: NDArray[np.float32]
    spread: NDArray[np.float32]


def potential(board: tuple[int, ...], deck: int) -> Potential:
    """Mean and spread of the percentile of every hand, by the run-outs of the canonical board.

    Args:
        board: Up to five cards.
        deck: Cards of the deck, the lowest ones of 52.
    """
    form, renaming = canonical_board(board)
    there = HAND_MAPS[renaming]
    return Potential(*(each[there] for each in _potential(form, deck)))


@lru_cache(maxsize=512)
def _potential(board: tuple[int, ...], deck: int) -> Potential:
    counts, sums, squares = np.zeros((3, HAND_COUNT))
    for full in run_outs(board, deck, RUN_OUTS):
        live, u = percentiles(full, deck)
        counts[live] += 1
        sums[live] += u
        squares[live] += u**2
    seen = np.maximum(counts, 1)
    mean = sums / seen
    spread = np.sqrt(np.maximum(squares / seen - mean**2, 0.0))
    return Potential(mean.astype(np.float32), spread.astype(np.float32))


@lru_cache(maxsize=4096)
def percentiles(board: tuple[int, ...], deck: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The live hands of a full board, and the share of live hands that each beats, ties half."""
    ranks = board_ranks(board, deck)
    live = np.flatnonzero(ranks >= 0)
    ordered = np.sort(ranks[live])
    below = np.searchsorted(ordered, ranks[live], "left")
    upto = np.searchsorted(ordered, ranks[live], "right")
    return live, (below + upto) / (2.0 * len(live))


def run_outs(board: tuple[int, ...], deck: int, most: int) -> list[tuple[int, ...]]:
    """The full boards that a board can become, or a sample of them that is always the same.

    Args:
        board: Up to five cards.
        deck: Cards of the deck, the lowest ones of 52.
        most: If there are more boards, so many are drawn (with replacement).
    """
    left = [card for card in range(deck) if card not in board]
    missing = FULL - len(board)
    if comb(len(left), missing) <= most:
        return [tuple(sorted((*board, *more))) for more in combinations(left, missing)]
    rng = np.random.default_rng(board)
    draws = (rng.choice(left, missing, replace=False).tolist() for _ in range(most))
    return [tuple(sorted((*board, *more))) for more in draws]
