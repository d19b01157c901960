"""What terminals pay, many at once in torch.

Terminals of one kind, on boards that have equally many of them, are a group. A terminal with base
and swing pays a hand h, against the reach r of the other's hands and with the signs S::

    base * sum_o r[o] [h and o can be dealt]  +  swing * sum_o r[o] S[h, o]

The first sum goes by cards. Let t[c] be the reach of the hands that hold card c. Every hand is in
two of them, so the sum is 1/2 sum_c t[c] - t[a] - t[b] + r[h] for the hand of the cards a and b,
which itself holds both: a product of t with numbers that do not change. The second is a product,
too, or on a processor, for showdowns, sums in the order of strength (`batch_orders.py`).
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tenfold.algorithms.rl_cfr.solver.batch_orders import Orders, order_board
from tenfold.algorithms.rl_cfr.solver.game import Game
from tenfold.algorithms.rl_cfr.solver.kernels import DECK
from tenfold.algorithms.rl_cfr.solver.levels import Levels
from tenfold.algorithms.rl_cfr.solver.tree import FOLD, MATRIX, SHOWDOWN, PublicTree


class Cards(NamedTuple):
    """Which hands can be dealt together on n boards.

    Attributes:
        base: (2, n, B, K, 1) payoffs of both players.
        live: (n, B, 1, H) 1 for the hands that a board leaves.
        holds: (n, B, H, 52) 1 for each card of these hands.
        apart: (n, B, 52, H) for these hands 1/2, less 1 for each card.
    """

    base: Tensor
    live: Tensor
    holds: Tensor
    apart: Tensor


class Wins(NamedTuple):
    """What stronger hands win.

    Attributes:
        swing: (n, B, K, 1).
        signs: For each player (n, B, H, H): S, a row for each of its hands; or the boards' orders.
    """

    swing: Tensor
    signs: tuple[Tensor, Tensor] | Orders


class Group(NamedTuple):
    """Terminals on n boards, K on each, of B games with H hands.

    Attributes:
        boards: n.
        places: (n K,) of the terminals, see `Levels`.
        reached: (2, n K) rows of both players' reaches there.
        cards: None where hands never block each other.
        wins: None for folds.
    """

    boards: int
    places: Tensor
    reached: Tensor
    cards: Cards | None
    wins: Wins | None


class Terminals:
    """The terminals of B games of one shape.

    Args:
        games: Their hands are padded to H.
        levels: The order of their nodes.
        hands: H.
        kind: Device and dtype of payoffs and signs.
    """

    def __init__(
        self, games: Sequence[Game], levels: Levels, hands: int, kind: dict[str, Any]
    ) -> None:
        self._trees, self._levels = [each.tree for each in games], levels
        self._hands, self._kind = hands, kind
        tree = self._trees[0]
        boards: dict[tuple[int, ...], list[int]] = {}
        for node in np.flatnonzero(np.isin(tree.kind, (FOLD, SHOWDOWN, MATRIX))).tolist():
            key = int(tree.kind[node]), int(tree.table[node]), *tree.matrix[node].tolist()
            boards.setdefault(key, []).append(node)
        alike: dict[tuple[int, bool, int], list[tuple[int, ...]]] = {}
        for key, nodes in boards.items():
            alike.setdefault((key[0], key[1] >= 0, len(nodes)), []).append(key)
        self._groups = [
            self._group(keys, np.array([boards[key] for key in keys])) for keys in alike.values()
        ]

    def settle(self, player: int, reach: Tensor, values: Tensor) -> None:
        """Values of a player's hands at all terminals.

        Args:
            player: Whose values.
            reach: (rows, B, H) of the other player, weighted by its range.
            values: (places, B, H) out.
        """
        for group in self._groups:
            there = reach.index_select(0, group.reached[1 - player])
            there = there.unflatten(0, (group.boards, -1)).transpose(1, 2)  # (n, B, K, H)
            won = None
            if group.cards is not None:
                paid = group.cards.base[player] * there
                won = (paid @ group.cards.holds) @ group.cards.apart
                won.addcmul_(paid, group.cards.live)
            if group.wins is not None:
                staked, signs = group.wins.swing * there, group.wins.signs
                if isinstance(signs, Orders):
                    ahead = signs.ahead(staked)
                else:
                    ahead = staked @ signs[player].mT
                won = ahead if won is None else won.add_(ahead)
            assert won is not None
            values.index_copy_(0, group.places, won.transpose(1, 2).flatten(0, 1))

    def _group(self, keys: Sequence[tuple[int, ...]], nodes: NDArray[np.int64]) -> Group:
        """The group of (n, K) nodes; a key is their kind, table and both players' matrices."""
        kinds, tables, *matrices = zip(*keys, strict=True)
        cards = wins = None
        if tables[0] >= 0:
            live, holds = self._stack(tables, _live), self._stack(tables, _holds)
            base = [
                self._payoffs([tree.base[nodes, who] for tree in self._trees]) for who in (0, 1)
            ]
            cards = Cards(torch.stack(base), live, holds, apart=0.5 * live - holds.mT)
        if kinds[0] != FOLD:
            swing = self._payoffs([tree.swing[nodes] for tree in self._trees])
            signs: tuple[Tensor, Tensor] | Orders
            if kinds[0] == MATRIX:
                signs = self._stack(matrices[0], _matrix), self._stack(matrices[1], _matrix)
            elif adds_up(self._kind["device"]):
                signs = self._orders(tables)
            else:
                signs = (self._signs(tables),) * 2
            wins = Wins(swing, signs)
        device, reached = self._kind["device"], self._levels.reached[:, nodes.ravel()]
        return Group(
            boards=len(keys),
            places=torch.tensor(self._levels.place[nodes.ravel()], device=device),
            reached=torch.tensor(reached, device=device),
            cards=cards,
            wins=wins,
        )

    def _orders(self, tables: Sequence[int]) -> Orders:
        rows = [[order_board(tree, table, self._hands) for tree in self._trees] for table in tables]
        columns = zip(*(column for row in rows for column in row), strict=True)
        shape, device = (len(tables), len(self._trees)), self._kind["device"]
        stacked = (torch.tensor(np.array(column), device=device) for column in columns)
        return Orders(*(each.unflatten(0, shape) for each in stacked))

    def _signs(self, tables: Sequence[int]) -> Tensor:
        """(n, B, H, H): 1 where the row's hand wins, -1 where it loses, else 0."""
        live, holds = self._stack(tables, _live), self._stack(tables, _holds)
        strength = self._stack(tables, _strength)
        met = (holds @ holds.mT == 0) * live * live.mT
        return met * (strength.mT - strength).sign()

    def _payoffs(self, payoffs: Sequence[NDArray[np.floating]]) -> Tensor:
        """(n, B, K, 1) from (n, K) of each tree."""
        return torch.tensor(np.stack(payoffs, axis=1)[..., None], **self._kind)

    def _stack(
        self, places: Sequence[int], read: Callable[[PublicTree, int, int], NDArray[np.floating]]
    ) -> Tensor:
        """(n, B, ., .) of what a function makes of each tree at n places, for H hands."""
        rows = [[read(tree, place, self._hands) for tree in self._trees] for place in places]
        return torch.tensor(np.array(rows), **self._kind)


def adds_up(device: torch.device) -> bool:
    """Whether showdowns are sums in the order of strength on a device, see the README (Speed)."""
    return device.type == "cpu"


def _live(tree: PublicTree, table: int, hands: int) -> NDArray[np.float64]:
    """(1, hands): 1 for the hands that a board leaves."""
    live = np.zeros((1, hands))
    live[0, tree.order[0, table, : tree.sizes[table, 0]]] = 1.0
    return live


def _holds(tree: PublicTree, table: int, hands: int) -> NDArray[np.float64]:
    """(hands, 52): 1 for each card of the hands that a board leaves."""
    holds = np.zeros((hands, DECK))
    live = tree.order[0, table, : tree.sizes[table, 0]]
    holds[live[:, None], tree.cards[live]] = 1.0
    return holds


def _strength(tree: PublicTree, table: int, hands: int) -> NDArray[np.float64]:
    """(1, hands): how strong the hands that a board leaves are."""
    size, _, groups = tree.sizes[table]
    strength = np.zeros((1, hands))
    bounds = tree.groups[0, table, : groups + 1]
    strength[0, tree.order[0, table, :size]] = np.repeat(np.arange(groups), np.diff(bounds))
    return strength


def _matrix(tree: PublicTree, index: int, hands: int) -> NDArray[np.floating]:
    """(hands, hands)."""
    missing = hands - tree.hands
    return np.pad(tree.matrices[index].reshape(tree.hands, tree.hands), (0, missing))
