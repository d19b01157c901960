"""Leaves of a depth-limited tree, valued by the value network of the next street.

A leaf is the end of a betting round. Its counterfactual values add, over every next card c (before
the flop over a sample of flops), what the network says of the beliefs after it:

    v_i(h) = check-down value  +  pot sum_c p(c) m_i(c, h) (K_c o_i(c))[h]

m_i(c, h) being the reach of the other's hands that share no card with h or c, and p(c) the chance
of c given both hands. The check-down value is exact, by the all-in equities of the board.
"""

from collections.abc import Mapping
from functools import lru_cache, partial
from itertools import combinations
from math import comb
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray

from tenfold.algorithms.rl_cfr.learning.buckets import bucket_count, buckets
from tenfold.algorithms.rl_cfr.learning.value_network import ValueNetwork, context
from tenfold.algorithms.rl_cfr.solver.kernels import DECK, TINY
from tenfold.envs.poker.cards import HANDS
from tenfold.envs.poker.spot import BOARD_CARDS

if TYPE_CHECKING:
    from tenfold.algorithms.rl_cfr.solver.subgame import Subgame

FLOPS = 24
"""Flops that stand for all of them at leaves before the flop."""

SLIGHT = 1e-9
"""Share of a range below which nothing of it is left after a card, rounding apart."""


class NextBoards(NamedTuple):
    """The boards after a leaf; C of them, H hands of the subgame, k buckets of a hand.

    Attributes:
        places: (C, H, k) int32 buckets of each hand.
        share: (C, H, k) float32 its share in them.
        live: (C, H) whether the board leaves the hand.
        chance: Of each board given both hands.
    """

    places: NDArray[np.int32]
    share: NDArray[np.float32]
    live: NDArray[np.bool_]
    chance: float


@lru_cache(maxsize=16)
def next_boards(board: tuple[int, ...], hands: tuple[int, ...], deck: int) -> NextBoards:
    """All boards that one more street can bring, or a sample of `FLOPS` flops, always the same."""
    street = BOARD_CARDS.index(len(board)) + 1
    more = BOARD_CARDS[street] - len(board)
    left = [card for card in range(deck) if card not in board]
    dealt = list(combinations(left, more))
    if street == 1:
        rows = np.random.default_rng(deck).choice(len(dealt), FLOPS, replace=False)
        dealt = [dealt[row] for row in rows]
    # Given two hands, four cards are not to come; a sample stands for as many boards as there are.
    chance = comb(len(left), more) / (len(dealt) * comb(len(left) - 4, more))
    tables = [buckets((*board, *cards), deck) for cards in dealt]
    rows = np.array(hands)
    return NextBoards(
        places=np.stack([table.places[rows] for table in tables]),
        share=np.stack([table.share[rows] for table in tables]),
        live=np.stack([table.share[rows].any(axis=1) for table in tables]),
        chance=chance,
    )


class NetworkLeaves:
    """The `LeafEvaluator` of a depth-limited subgame.

    Args:
        networks: Street -> its value network.
        subgame: Whose leaves.
    """

    def __init__(self, networks: Mapping[int, ValueNetwork], subgame: "Subgame") -> None:
        street, spot = subgame.root.street + 1, subgame.spot
        self._network, self._signs = networks[street], subgame.signs()
        self._boards = next_boards(spot.board, tuple(subgame.hands.tolist()), spot.deck)
        self._cards = HANDS[subgame.hands].astype(np.int32)
        states = subgame.leaf_states
        self._pots = np.array([state.pot for state in states], np.float64)
        self._levels = np.array([state.level for state in states], np.float64)
        C, B = len(self._boards.live), bucket_count(street)
        about = np.array([context(state) for state in states], np.float32)
        self._context = torch.from_numpy(about.repeat(C, axis=0))  # (L C, CONTEXT)
        shape = len(states), C, 2
        self._shares, self._dealt = np.empty((2, *shape, B), np.float32)
        self._mass = np.empty((*shape, len(subgame.hands)), np.float32)
        self._free = np.empty((len(states), 2, len(subgame.hands)))

    def __call__(self, reaches: NDArray[np.floating]) -> NDArray[np.floating]:
        """Counterfactual values (L, 2, H) of leaves, in chips since the start of the rules."""
        places, share, live, chance = self._boards
        tables = self._cards, places, share, live
        _gather(reaches, *tables, self._shares, self._dealt, self._mass, self._free)
        with torch.inference_mode():
            shares, dealt = (torch.from_numpy(x).flatten(0, 1) for x in (self._shares, self._dealt))
            o = self._network(shares, dealt, self._context).numpy().reshape(self._shares.shape)
        won = reaches[:, ::-1] @ self._signs.T  # (L, 2, H)
        half = 0.5 * self._pots[:, None, None]
        out = (half - self._levels[:, None, None]) * self._free + half * won
        _scatter(out, o, places, share, self._mass, chance * self._pots)
        return out


def network_leaves(
    networks: Mapping[int, ValueNetwork],
) -> "partial[NetworkLeaves]":
    """What `Subgame` takes as its `leaf`."""
    return partial(NetworkLeaves, networks)


@njit(cache=True, fastmath=True, nogil=True)
def _gather(reaches, cards, places, share, live, shares, dealt, mass, free):
    """Fill what the network sees after every board, the masses m, and those before any board."""
    all_by_card, by_card = np.empty((2, 2, DECK))
    everything, total = np.empty((2, 2))
    for leaf in range(len(reaches)):
        r = reaches[leaf]
        all_by_card[:] = 0.0
        everything[:] = 0.0
        _add(r, cards, 1.0, live[0], False, all_by_card, everything)
        _add(r, cards, 1.0, live[0], True, all_by_card, everything)
        for i in range(2):
            for h in range(len(cards)):
                free[leaf, i, h] = _left(r, cards, all_by_card, everything, 1 - i, h)
        for c in range(len(live)):
            by_card[:] = all_by_card
            total[:] = everything
            _add(r, cards, -1.0, live[c], False, by_card, total)
            for i in range(2):
                x, w, m = shares[leaf, c, i], dealt[leaf, c, i], mass[leaf, c, i]
                x[:] = 0.0
                w[:] = 0.0
                pairs = 0.0
                unknown = total[i] <= SLIGHT * everything[i]
                scale = 1.0 / live[c].sum() if unknown else 1.0 / total[i]
                for h in range(len(cards)):
                    if not live[c, h]:
                        m[h] = 0.0
                        continue
                    m[h] = max(_left(r, cards, by_card, total, 1 - i, h), 0.0)
                    both = r[i, h] * m[h]
                    pairs += both
                    own = scale * (1.0 if unknown else r[i, h])
                    for j in range(places.shape[2]):
                        x[places[c, h, j]] += own * share[c, h, j]
                        w[places[c, h, j]] += both * share[c, h, j]
                if pairs > TINY:
                    for b in range(len(w)):
                        w[b] /= pairs


@njit(inline="always")
def _add(r, cards, sign, live, which, by_card, total):
    """Add the reaches of the hands that are live, or of those that are not, to sums by card."""
    for h in range(len(cards)):
        if live[h] == which:
            for i in range(2):
                total[i] += sign * r[i, h]
                by_card[i, cards[h, 0]] += sign * r[i, h]
                by_card[i, cards[h, 1]] += sign * r[i, h]


@njit(inline="always")
def _left(r, cards, by_card, total, player, h):
    """The reach of a player's hands that share no card with hand h."""
    blocked = by_card[player, cards[h, 0]] + by_card[player, cards[h, 1]] - r[player, h]
    return total[player] - blocked


@njit(cache=True, fastmath=True, nogil=True)
def _scatter(out, o, places, share, mass, scale):
    """Add the network's part of the values."""
    for leaf in range(len(out)):
        for c in range(len(places)):
            for i in range(2):
                for h in range(out.shape[2]):
                    if mass[leaf, c, i, h] == 0.0:
                        continue
                    value = 0.0
                    for j in range(places.shape[2]):
                        value += share[c, h, j] * o[leaf, c, i, places[c, h, j]]
                    out[leaf, i, h] += scale[leaf] * mass[leaf, c, i, h] * value
