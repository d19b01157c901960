"""A public tree as flat arrays in preorder, the form that the kernels walk.

Every node of the tree is a public state; both players' private hands are vectors of H entries. What
chance does is folded into the terminals (their payoffs carry the probability of the public cards),
so a chance node just adds up its children, and all reaches start from the ranges.

A terminal pays player p with hand h, against the opponent's reach r (a weight a hand)::

    base[p] * sum_o r[o] [h and o can be dealt]  +  swing * sum_o r[o] S[h, o]

with S = +1 where h beats o, -1 where o beats h (a fold has swing 0). S is a board's order of
strengths (`SHOWDOWN`, O(H)) or a matrix (`MATRIX`: all-in equities, games of OpenSpiel).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

DECISION, CHANCE, FOLD, SHOWDOWN, MATRIX, LEAF = range(6)


class PublicTree(NamedTuple):
    """The arrays; N nodes, H hands, T boards, Q matrices, P renamings of hands.

    Attributes:
        events: (2N,) int32: node n on entering it, ``~n`` on leaving it, in the order of a walk.
        kind: (N,) one of `DECISION` ... `LEAF`.
        parent: (N,) -1 at the root.
        action: (N,) which child of its parent a node is.
        depth: (N,) 0 at the root.
        player: (N,) who decides, -1 elsewhere.
        actions: (N,) number of actions of a decision.
        row: (N,) first of a decision's `actions` rows in the arrays (rows, H) of a solver;
            for a `LEAF` its place among the leaves.
        table: (N,) the board of a terminal, -1 if hands never block each other.
        base: (N, 2) payoff when nobody is stronger, times the chance of the public cards.
        swing: (N,) what winning adds to it, times the same.
        matrix: (N, 2) which matrix a `MATRIX` terminal takes for each player.
        members: (N, 2) under a chance node: rows start, stop of `renamings` whose images of this
            child its parent adds up.
        renamings: (P, H) int32: hand h of the child is hand ``renamings[., h]`` of the image.
        order: (T, H) int32: hands that a board leaves, from the weakest on; -1 behind them.
        groups: (T, H + 1) int32: bounds of equal strength in `order`.
        sizes: (T, 2) int32: number of hands and of groups.
        cards: (H, 2) int32: the cards of a hand.
        matrices: (Q, H, H) float: S for the player that has the row.
        orbit: (H,) int32: the first of the hands that the renamings of merged cards make of a hand,
            those before the cards come; such hands play alike.
        alike: (N,) bool: nodes before the first merged cards, where that holds.
    """

    events: NDArray[np.int32]
    kind: NDArray[np.int32]
    parent: NDArray[np.int32]
    action: NDArray[np.int32]
    depth: NDArray[np.int32]
    player: NDArray[np.int32]
    actions: NDArray[np.int32]
    row: NDArray[np.int32]
    table: NDArray[np.int32]
    base: NDArray[np.floating]
    swing: NDArray[np.floating]
    matrix: NDArray[np.int32]
    members: NDArray[np.int32]
    renamings: NDArray[np.int32]
    order: NDArray[np.int32]
    groups: NDArray[np.int32]
    sizes: NDArray[np.int32]
    cards: NDArray[np.int32]
    matrices: NDArray[np.floating]
    orbit: NDArray[np.int32]
    alike: NDArray[np.bool_]

    @property
    def hands(self) -> int:
        """H."""
        return len(self.cards)

    @property
    def rows(self) -> int:
        """Actions of all decisions together: regrets are (rows, H)."""
        return int(self.actions.sum())

    @property
    def leaves(self) -> int:
        """Number of nodes that a leaf evaluator values."""
        return int((self.kind == LEAF).sum())

    def children(self, node: int) -> NDArray[np.int64]:
        """The children of a node in the order of their actions."""
        return np.flatnonzero(self.parent == node)


@dataclass
class TreeBuilder:
    """Nodes are added in preorder: a node, then all below its first action, and so on.

    Attributes:
        cards: (H, 2) cards of the hands; zeros where hands have none.
    """

    cards: NDArray[np.int32]
    nodes: list[tuple[int, ...]] = field(default_factory=list)
    payoffs: list[tuple[float, float, float]] = field(default_factory=list)
    tables: list[tuple[NDArray[np.int32], NDArray[np.int32]]] = field(default_factory=list)
    matrices: list[NDArray[np.floating]] = field(default_factory=list)
    renamings: list[NDArray[np.int32]] = field(default_factory=list)
    _rows: int = 0
    _leaves: int = 0

    def add(
        self,
        kind: int,
        parent: int,
        action: int,
        player: int = -1,
        actions: int = 0,
        table: int = -1,
        base: Sequence[float] = (0.0, 0.0),
        swing: float = 0.0,
        matrix: tuple[int, int] = (-1, -1),
        renamings: Sequence[NDArray[np.int32]] = (),
    ) -> int:
        """Add a node under an earlier one; the fields are those of `PublicTree`."""
        depth = self.nodes[parent][3] + 1 if parent >= 0 else 0
        row = self._leaves if kind == LEAF else self._rows
        self._rows += actions
        self._leaves += kind == LEAF
        start = len(self.renamings)
        self.renamings += renamings
        numbers = kind, parent, action, depth, player, actions, row, table
        self.nodes.append((*numbers, *matrix, start, len(self.renamings)))
        self.payoffs.append((base[0], base[1], swing))
        return len(self.nodes) - 1

    def add_table(self, order: NDArray[np.int32], groups: NDArray[np.int32]) -> int:
        """Add a board: its hands from the weakest on, and the bounds of equal strength."""
        self.tables.append((order, groups))
        return len(self.tables) - 1

    def add_matrix(self, matrix: NDArray[np.floating]) -> int:
        """Add an (H, H) matrix for `MATRIX` terminals."""
        self.matrices.append(matrix)
        return len(self.matrices) - 1

    def build(
        self, dtype: type[np.floating], orbit: NDArray[np.integer] | None = None
    ) -> PublicTree:
        """The tree, its floats in the precision that the solver shall work in.

        Args:
            dtype: That precision.
            orbit: See `PublicTree`; to be given if any renamings are.
        """
        hands = len(self.cards)
        nodes = np.array(self.nodes, dtype=np.int32)
        payoffs = np.array(self.payoffs, dtype=dtype)
        order = np.full((len(self.tables), hands), -1, dtype=np.int32)
        groups = np.zeros((len(self.tables), hands + 1), dtype=np.int32)
        sizes = np.zeros((len(self.tables), 2), dtype=np.int32)
        for table, (live, bounds) in enumerate(self.tables):
            order[table, : len(live)] = live
            groups[table, : len(bounds)] = bounds
            sizes[table] = len(live), len(bounds) - 1
        columns = [np.ascontiguousarray(column) for column in nodes.T]
        return PublicTree(
            events=_events(columns[1]),
            kind=columns[0],
            parent=columns[1],
            action=columns[2],
            depth=columns[3],
            player=columns[4],
            actions=columns[5],
            row=columns[6],
            table=columns[7],
            base=np.ascontiguousarray(payoffs[:, :2]),
            swing=np.ascontiguousarray(payoffs[:, 2]),
            matrix=np.ascontiguousarray(nodes[:, 8:10]),
            members=np.ascontiguousarray(nodes[:, 10:12]),
            renamings=np.array(self.renamings, dtype=np.int32).reshape(-1, hands),
            order=order,
            groups=groups,
            sizes=sizes,
            cards=np.ascontiguousarray(self.cards, dtype=np.int32),
            matrices=np.array(self.matrices, dtype=dtype).reshape(-1, hands, hands),
            orbit=np.arange(hands, dtype=np.int32) if orbit is None else orbit.astype(np.int32),
            alike=_before_chance(columns[0], columns[1]) & (orbit is not None),
        )


def _before_chance(kind: NDArray[np.int32], parent: NDArray[np.int32]) -> NDArray[np.bool_]:
    """(N,): nodes with no chance node above them; such a node itself is one."""
    before = np.ones(len(kind), dtype=np.bool_)
    for node, above in enumerate(parent.tolist()):
        before[node] = above < 0 or (before[above] and kind[above] != CHANCE)
    return before


def _events(parent: NDArray[np.int32]) -> NDArray[np.int32]:
    events: list[int] = []
    path: list[int] = []
    for node, above in enumerate(parent.tolist()):
        while path and path[-1] != above:
            events.append(~path.pop())
        events.append(node)
        path.append(node)
    events += [~node for node in reversed(path)]
    return np.array(events, dtype=np.int32)
