"""Showdowns in O(hands) in torch: sums over the hands in the order of their strength.

Entries of a board are its hands from the weakest on, and behind them, for each card, those of them
that hold it, again from the weakest on. With X[i] the sum of the reaches of the first i entries, a
hand's strength begins and ends at places l and u among n hands, and among the m hands of a card c,
which begin at s, at places l_c and u_c. What a hand of the cards a and b beats, less what beats it,
among the hands that it can be dealt with is

    X[l] + X[u] - E_all - sum_{c in a, b} (X[l_c] + X[u_c] - E_c),   E_all = X[0] + X[n]
                                                                      E_c   = X[s] + X[s + m]

for X[l] is weaker, X[n] - X[u] is stronger, and the same holds among the hands of a card.
"""

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from tenfold.algorithms.rl_cfr.solver.kernels import DECK
from tenfold.algorithms.rl_cfr.solver.tree import PublicTree

ALL, NONE = DECK, DECK + 1
"""Places of the sums E of all hands, and of 0, behind those of the cards."""

_SIDES: tuple[Literal["left", "right"], ...] = ("left", "right")


class Orders(NamedTuple):
    """The orders of n boards of B games, as places for `torch.gather`.

    Attributes:
        entries: (n, B, 3 H) hands; what is missing to 3 H is 0 and stands behind all others.
        places: (n, B, 6 H) l, u, l_a, u_a, l_b, u_b of each hand; 0 for those that are blocked.
        ends: (n, B, 2 (DECK + 2)) first and last places of the sums E.
        sums: (n, B, 3 H) which of these a hand takes: a, b and `ALL`, or `NONE`.
    """

    entries: Tensor
    places: Tensor
    ends: Tensor
    sums: Tensor

    def ahead(self, reach: Tensor) -> Tensor:
        """What each hand beats less what beats it, (n, B, K, H) -> (n, B, K, H)."""
        before = pad(_take(reach, self.entries, 1).squeeze(3).cumsum(dim=3), (1, 0))
        ends = _take(before, self.ends, 2).sum(dim=3)
        places, sums = _take(before, self.places, 6), _take(ends, self.sums, 3)
        ahead = places[..., :2, :].sum(dim=3).sub_(places[..., 2:, :].sum(dim=3))
        return ahead.add_(sums[..., :2, :].sum(dim=3)).sub_(sums[..., 2, :])


def _take(source: Tensor, places: Tensor, parts: int) -> Tensor:
    """(n, B, K, .) at places (n, B, parts * m) -> (n, B, K, parts, m)."""
    index = places[:, :, None].expand(-1, -1, source.shape[2], -1)
    return source.gather(3, index).unflatten(3, (parts, -1))


def order_board(tree: PublicTree, table: int, hands: int) -> list[NDArray[np.int64]]:
    """The attributes of `Orders` for one board of one game.

    Args:
        tree: `PublicTree`.
        table: The board.
        hands: H, at least the tree's.
    """
    size, _, count = tree.sizes[table].tolist()
    bounds = tree.groups[0, table, : count + 1]
    order, group = tree.order[0, table, :size], np.repeat(np.arange(count), np.diff(bounds))
    # Both cards of each hand, from the weakest on: a card's hands stay in the order of strength.
    cards = tree.cards[order].ravel()
    sort = np.argsort(cards, kind="stable")
    entries = np.zeros(3 * hands, np.int64)
    entries[: 3 * size] = np.concatenate([order, np.repeat(order, 2)[sort]])
    keys = cards.astype(np.int64) * (count + 1) + np.repeat(group, 2)
    places, sums = np.zeros((6, hands), np.int64), np.full((3, hands), NONE)
    places[:2, order] = bounds[group], bounds[group + 1]
    for half, side in enumerate(_SIDES):
        found = size + np.searchsorted(keys[sort], keys, side)
        places[2 + half, order], places[4 + half, order] = found[::2], found[1::2]
    sums[:, order] = cards[::2], cards[1::2], np.full(size, ALL)
    ends = np.zeros((2, DECK + 2), np.int64)
    for half, side in enumerate(_SIDES):
        ends[half, :DECK] = size + np.searchsorted(cards[sort], np.arange(DECK), side)
    ends[1, ALL] = size
    return [entries, places.ravel(), ends.ravel(), sums.ravel()]
