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

from tenfold.algorithms.rl_cfr.solver.layout import (
    CHANCE,
    DECISION,
    FOLD,
    LEAF,
    MATRIX,
    SHOWDOWN,
    Layout,
    lay_out,
)

__all__ = ["CHANCE", "DECISION", "FOLD", "LEAF", "MATRIX", "SHOWDOWN", "PublicTree", "TreeBuilder"]


class PublicTree(NamedTuple):
    """The arrays; N nodes, T boards, Q matrices, P renamings of hands.

    H hands are those of either player; each player's own list has `counts` of them, and the arrays
    by player are as wide as the longer list.

    Attributes:
        kind: (N,) one of `DECISION` ... `LEAF`.
        parent: (N,) -1 at the root.
        action: (N,) which child of its parent a node is.
        depth: (N,) 0 at the root.
        player: (N,) who decides, -1 elsewhere.
        actions: (N,) number of actions of a decision.
        row: (N,) number of actions of the decisions before; for a `LEAF` its place among the
            leaves.
        first: (N,) int64: where the (actions, hands of its player) numbers of a decision begin in
            the flat arrays of a solver.
        table: (N,) the board of a terminal, -1 if hands never block each other.
        base: (N, 2) payoff when nobody is stronger, times the chance of the public cards.
        swing: (N,) what winning adds to it, times the same.
        matrix: (N, 2) which matrix a `MATRIX` terminal takes for each player.
        members: (N, 2) under a chance node: rows start, stop of `renamings` whose images of this
            child its parent adds up.
        cards: (H, 2) int32: the cards of a hand.
        counts: (2,) hands of each player's list.
        held: (2, .) each player's hands, as places among the H.
        holds: (2, ., 2) their cards.
        twin: (2, .) where the other's list has the same hand; the other's count if nowhere.
        renamings: (2, P, .) int32: hand h of the child is hand ``renamings[., h]`` of the image.
        order: (2, T, .) int32: hands that a board leaves, from the weakest on; -1 behind them.
        groups: (2, T, .) int32: bounds in `order` of the strengths that either player can have.
        sizes: (T, 3) int32: number of either player's hands, and of strengths.
        matrices: (Q, H0 * H1) float: S for the player that has the row.
        orbit: (2, O, .) int32: the first of the hands that the renamings of merged cards make of a
            hand; before those cards such hands play alike. One row for each board after which cards
            are merged.
        alike: (N,) the row of `orbit` that holds on a node's street and board; -1 for none.
        locked: (N,) int64: where the (actions, hands of its player) probabilities of a decision
            begin in `fixed`; -1 where none is fixed.
        fixed: Flat: probabilities that are fixed, -1 for hands that are free.
        layout: `Layout`.
    """

    kind: NDArray[np.int32]
    parent: NDArray[np.int32]
    action: NDArray[np.int32]
    depth: NDArray[np.int32]
    player: NDArray[np.int32]
    actions: NDArray[np.int32]
    row: NDArray[np.int32]
    first: NDArray[np.int64]
    table: NDArray[np.int32]
    base: NDArray[np.floating]
    swing: NDArray[np.floating]
    matrix: NDArray[np.int32]
    members: NDArray[np.int32]
    cards: NDArray[np.int32]
    counts: NDArray[np.int64]
    held: NDArray[np.int32]
    holds: NDArray[np.int32]
    twin: NDArray[np.int32]
    renamings: NDArray[np.int32]
    order: NDArray[np.int32]
    groups: NDArray[np.int32]
    sizes: NDArray[np.int32]
    matrices: NDArray[np.floating]
    orbit: NDArray[np.int32]
    alike: NDArray[np.int32]
    locked: NDArray[np.int64]
    fixed: NDArray[np.floating]
    layout: Layout

    @property
    def hands(self) -> int:
        """H."""
        return len(self.cards)

    @property
    def rows(self) -> int:
        """Actions of all decisions together."""
        return int(self.actions.sum())

    @property
    def size(self) -> int:
        """Numbers of a solver's flat arrays: an action of a decision and a hand of its player."""
        counts = self.counts[np.maximum(self.player, 0)]
        return int((self.actions * counts).sum())

    @property
    def leaves(self) -> int:
        """Number of nodes that a leaf evaluator values."""
        return int((self.kind == LEAF).sum())

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(each.nbytes for each in (*self[:-1], *self.layout))

    def children(self, node: int) -> NDArray[np.int64]:
        """The children of a node in the order of their actions."""
        return np.flatnonzero(self.parent == node)

    def mine(self, player: int) -> NDArray[np.int32]:
        """A player's hands, as places among the H."""
        return self.held[player, : self.counts[player]]


class Nodes(NamedTuple):
    """Columns of nodes in preorder, see `PublicTree`; leaves are numbered where rows are.

    `lock` is the place of what is fixed at a decision among all that is, -1 for none.
    """

    kind: NDArray[np.int32]
    parent: NDArray[np.int32]
    action: NDArray[np.int32]
    depth: NDArray[np.int32]
    player: NDArray[np.int32]
    actions: NDArray[np.int32]
    table: NDArray[np.int32]
    matrix: NDArray[np.int32]
    members: NDArray[np.int32]
    alike: NDArray[np.int32]
    lock: NDArray[np.int32]
    base: NDArray[np.float64]
    swing: NDArray[np.float64]


@dataclass
class TreeBuilder:
    """Nodes are added in preorder: a node, then all below its first action, and so on.

    Attributes:
        cards: (H, 2) cards of the hands; zeros where hands have none.
        lists: Each player's hands, as ascending places among the H; None gives both all of them.
        orbits: Rows (H,) of `PublicTree.orbit`, in places among the H.
        fixed: (actions, H) probabilities that are fixed at the decisions of a line, -1 for hands
            that are free.
    """

    cards: NDArray[np.int32]
    lists: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None
    nodes: list[tuple[int, ...]] = field(default_factory=list)
    payoffs: list[tuple[float, float, float]] = field(default_factory=list)
    tables: list[tuple[NDArray[np.int32], NDArray[np.int32]]] = field(default_factory=list)
    matrices: list[NDArray[np.floating]] = field(default_factory=list)
    renamings: list[NDArray[np.int32]] = field(default_factory=list)
    orbits: list[NDArray[np.int32]] = field(default_factory=list)
    fixed: list[NDArray[np.float64]] = field(default_factory=list)

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
    ) -> int:
        """Add a node under an earlier one; the fields are those of `PublicTree`."""
        depth = self.nodes[parent][3] + 1 if parent >= 0 else 0
        numbers = kind, parent, action, depth, player, actions, table
        self.nodes.append((*numbers, *matrix))
        self.payoffs.append((base[0], base[1], swing))
        return len(self.nodes) - 1

    def add_table(self, order: NDArray[np.int32], groups: NDArray[np.int32]) -> int:
        """Add a board: its hands from the weakest on, and the bounds of equal strength."""
        self.tables.append((order, groups))
        return len(self.tables) - 1

    def add_matrix(self, matrix: NDArray[np.floating]) -> int:
        """Add a matrix for `MATRIX` terminals, (hands of a player, hands of the other)."""
        self.matrices.append(matrix)
        return len(self.matrices) - 1

    def build(self, dtype: type[np.floating]) -> PublicTree:
        """The tree of the nodes that were added, in the precision that a solver shall work in."""
        columns = np.array(self.nodes, np.int32)
        payoffs = np.array(self.payoffs)
        members, none = np.zeros((len(columns), 2), np.int32), np.full(len(columns), -1, np.int32)
        values = *columns[:, :7].T, columns[:, 7:], members, none, none, payoffs[:, :2]
        return self.assemble(Nodes._make((*values, payoffs[:, 2])), dtype)

    def assemble(self, nodes: Nodes, dtype: type[np.floating]) -> PublicTree:
        """The tree of given nodes.

        Args:
            nodes: Their columns; those that were added do not count.
            dtype: Precision of the solver.
        """
        hands = len(self.cards)
        lists = self.lists or (np.arange(hands), np.arange(hands))
        counts = np.array([len(each) for each in lists])
        width = int(counts.max())
        places = np.full((2, hands), -1)
        held, twin = np.zeros((2, 2, width), np.int32)
        holds = np.zeros((2, width, 2), np.int32)
        renamings = np.zeros((2, len(self.renamings), width), np.int32)
        orbits = np.zeros((2, len(self.orbits), width), np.int32)
        for player, mine in enumerate(lists):
            places[player, mine] = np.arange(len(mine))
            held[player, : len(mine)] = mine
            holds[player, : len(mine)] = self.cards[mine]
        for player, mine in enumerate(lists):
            other = places[1 - player, mine]
            twin[player, : len(mine)] = np.where(other < 0, counts[1 - player], other)
            for place, renaming in enumerate(self.renamings):
                renamings[player, place, : len(mine)] = places[player, renaming[mine]]
            for place, orbit in enumerate(self.orbits):
                orbits[player, place, : len(mine)] = places[player, orbit[mine]]
        columns = [np.ascontiguousarray(each, np.int32) for each in nodes[:9]]
        kind, parent, action, depth, player_column, actions, table, matrix, members = columns
        sizes_of = actions * counts[np.maximum(player_column, 0)]
        leaf = kind == LEAF
        row = np.where(leaf, np.cumsum(leaf) - 1, np.cumsum(actions) - actions)
        locked, fixed = _fixed(nodes, self.fixed, lists)
        return PublicTree(
            *(kind, parent, action, depth, player_column, actions),
            row=row.astype(np.int32),
            first=np.cumsum(sizes_of) - sizes_of,
            table=table,
            base=np.ascontiguousarray(nodes.base, dtype),
            swing=np.ascontiguousarray(nodes.swing, dtype),
            matrix=matrix,
            members=members,
            cards=np.ascontiguousarray(self.cards, dtype=np.int32),
            counts=counts,
            held=held,
            holds=holds,
            twin=twin,
            renamings=renamings,
            **_orders(self.tables, places, width),
            matrices=np.array([each.ravel() for each in self.matrices], dtype).reshape(
                -1, counts.prod()
            ),
            orbit=orbits,
            alike=np.ascontiguousarray(nodes.alike, np.int32),
            locked=locked,
            fixed=fixed.astype(dtype),
            layout=lay_out(kind, parent, action, player_column, actions, table, matrix),
        )


def _orders(
    tables: Sequence[tuple[NDArray[np.int32], NDArray[np.int32]]],
    places: NDArray[np.int64],
    width: int,
) -> dict[str, NDArray[np.int32]]:
    """`order`, `groups` and `sizes` of `PublicTree` from boards of the H hands."""
    order = np.full((2, len(tables), width), -1, np.int32)
    most = max((len(bounds) for _, bounds in tables), default=1)
    groups = np.zeros((2, len(tables), most), np.int32)
    sizes = np.zeros((len(tables), 3), np.int32)
    for table, (live, bounds) in enumerate(tables):
        sizes[table, 2] = len(bounds) - 1
        for player in (0, 1):
            mine = places[player, live]
            kept = mine >= 0
            count = int(kept.sum())
            sizes[table, player] = count
            order[player, table, :count] = mine[kept]
            groups[player, table, : len(bounds)] = np.append(0, np.cumsum(kept))[bounds]
    return {"order": order, "groups": groups, "sizes": sizes}


def _fixed(
    nodes: Nodes,
    fixed: Sequence[NDArray[np.float64]],
    lists: tuple[NDArray[np.int64], NDArray[np.int64]],
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """`locked` and `fixed` of `PublicTree`, from (actions, H) probabilities of betting lines."""
    starts, parts, size = np.full(len(fixed) + 1, -1, np.int64), [np.zeros(0)], 0
    for place, strategy in enumerate(fixed):
        decisions = np.flatnonzero(nodes.lock == place)
        if len(decisions):
            part = strategy[:, lists[nodes.player[decisions[0]]]].ravel()
            starts[place], size = size, size + len(part)
            parts.append(part)
    return starts[nodes.lock], np.concatenate(parts)
