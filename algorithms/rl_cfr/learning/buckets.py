"""Soft buckets of hand strength: what the value network sees of ranges, and says of hands.

On the river a hand's percentile lies between two of `PERCENTILES`, and the hand belongs to both by
its distance (hat functions). Before the river it has a mean percentile and a spread over the cards
to come, and belongs to up to four buckets of a grid. With K[h, b] the share of hand h in bucket b,
the rows of which sum to 1,

    a range r is K^T r,  and values o of buckets are K o for hands,

so that sum_h r[h] (K o)[h] = sum_b (K^T r)[b] o[b]: what is zero-sum in buckets is so in hands.
Renaming suits renames hands and leaves K alone.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tenfold.envs.poker.cards import HAND_COUNT, live_hands
from tenfold.envs.poker.potential import FULL, percentiles, potential

PERCENTILES = 1.0 - (1.0 - np.linspace(0.0, 1.0, 24)) ** 1.3
"""Of buckets on the river; closer together where hands are strong enough to bet."""

MEANS = np.linspace(0.0, 1.0, 12)
SPREADS = np.array([0.05, 0.2, 0.35])
"""Of the grid before the river."""


class Buckets(NamedTuple):
    """The shares K of all hands on a board, k of them not 0.

    Attributes:
        places: (1326, k) int32, the buckets of a hand.
        share: (1326, k) float32, how much of the hand is in each; 0 where the board blocks.
    """

    places: NDArray[np.int32]
    share: NDArray[np.float32]

    def matrix(self, count: int) -> NDArray[np.float64]:
        """K, (1326, count)."""
        full = np.zeros((HAND_COUNT, count))
        np.add.at(full, (np.arange(HAND_COUNT)[:, None], self.places), self.share)
        return full


def bucket_count(street: int) -> int:
    """B, the buckets of each player on a street (0 preflop .. 3 river)."""
    return len(PERCENTILES) if street == 3 else len(MEANS) * len(SPREADS)


def buckets(board: tuple[int, ...], deck: int) -> Buckets:
    """The buckets of every hand on a board of a deck, see `Spot.deck`."""
    if len(board) == FULL:
        live, u = percentiles(tuple(sorted(board)), deck)
        index, share = np.zeros((HAND_COUNT, 2), np.int32), np.zeros((HAND_COUNT, 2), np.float32)
        index[live], share[live] = _hats(u, PERCENTILES)
        return Buckets(index, share)
    mean, spread = potential(board, deck)
    rows, row_shares = _hats(mean, MEANS)
    columns, column_shares = _hats(spread, SPREADS)
    index = len(SPREADS) * rows[:, :, None] + columns[:, None, :]
    share = row_shares[:, :, None] * column_shares[:, None, :]
    share[~live_hands(board, deck)] = 0.0
    return Buckets(index.reshape(HAND_COUNT, 4), share.reshape(HAND_COUNT, 4))


def _hats(
    u: NDArray[np.floating], knots: NDArray[np.float64]
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """(n, 2) the knots around each number, and its shares of them."""
    u = u.clip(knots[0], knots[-1])
    above = np.searchsorted(knots, u).clip(1, len(knots) - 1)
    share = (u - knots[above - 1]) / (knots[above] - knots[above - 1])
    index = np.stack([above - 1, above], axis=1).astype(np.int32)
    return index, np.stack([1.0 - share, share], axis=1).astype(np.float32)
