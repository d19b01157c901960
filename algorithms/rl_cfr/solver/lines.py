"""The betting lines of a spot, each walked once, and the nodes that cards make of them.

Betting does not depend on cards. So the rules are asked once a line; what is below a chance node is
the same after every card and copied in whole arrays.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from tenfold.algorithms.rl_cfr.solver.dealing import Deal
from tenfold.algorithms.rl_cfr.solver.tree import (
    CHANCE,
    DECISION,
    FOLD,
    LEAF,
    MATRIX,
    SHOWDOWN,
)
from tenfold.envs.poker.rules import BettingState


class Expanded(NamedTuple):
    """Nodes in preorder.

    Attributes:
        line: (N,) the line of a node.
        parent: (N,) -1 at the root.
        action: (N,) which child of its parent a node is.
        board: (N,) place of a node's board among those of its street.
    """

    line: NDArray[np.int32]
    parent: NDArray[np.int32]
    action: NDArray[np.int32]
    board: NDArray[np.int32]


@dataclass
class Lines:
    """The lines of a betting tree, in preorder; one card stands for all at a chance node.

    Args:
        moves: The actions at a decision.
        last: The street on which hands end at a showdown; before it, all-ins end by a matrix.
        limited: Whether lines end where a card would come.

    Attributes:
        states: Betting by line; that after the betting round at chance nodes and leaves.
        actions: Actions of a decision by line; empty elsewhere.
        kind: One of the tree's kinds by line.
        street: The street of the cards that are out, by line.
        depth: Nodes above, by line.
        player: Who decides, by line; -1 elsewhere.
        children: Lines below by line.
    """

    moves: Callable[[BettingState], Sequence[int]]
    last: int
    limited: bool
    states: list[BettingState] = field(default_factory=list)
    actions: list[list[int]] = field(default_factory=list)
    kind: list[int] = field(default_factory=list)
    street: list[int] = field(default_factory=list)
    depth: list[int] = field(default_factory=list)
    player: list[int] = field(default_factory=list)
    children: list[list[int]] = field(default_factory=list)

    def add(self, state: BettingState, street: int, depth: int = 0) -> int:
        """Add a state and all below it; `street` is that of the cards that are out."""
        line = len(self.states)
        actions: list[int] = []
        if state.over:
            shown = SHOWDOWN if street == self.last else MATRIX
            kind = shown if state.folded is None else FOLD
        elif street < state.street:
            kind = LEAF if self.limited else CHANCE
        else:
            kind, actions = DECISION, list(self.moves(state))
        self.states.append(state)
        self.actions.append(actions)
        self.kind.append(kind)
        self.street.append(street)
        self.depth.append(depth)
        self.player.append(state.player if kind == DECISION else -1)
        below: list[int] = []
        self.children.append(below)
        if kind == CHANCE:
            below.append(self.add(state, state.street, depth + 1))
        below += [self.add(state.apply(action), street, depth + 1) for action in actions]
        return line

    def expand(self, deal: Deal, line: int = 0) -> Expanded:
        """The nodes of a line and of all below it.

        Args:
            deal: The cards that come after the board of the line.
            line: The line.
        """
        parts = [Expanded(*(np.array([each], np.int32) for each in (line, -1, 0, 0)))]
        size = 1
        for place, below in enumerate(self.children[line]):
            if self.kind[line] == CHANCE:
                part = self._deal_out(deal, below)
            else:
                part = self.expand(deal, below)
                part.action[0] = place
            parent = part.parent + size
            parent[part.parent < 0] = 0
            parts.append(part._replace(parent=parent))
            size += len(part.line)
        return _joined(parts)

    def _deal_out(self, deal: Deal, line: int) -> Expanded:
        """The nodes of a line after each card; parents of -1 are the chance node."""
        parts: list[Expanded] = []
        cards, size = 0, 0
        passed = np.zeros(1 + self.last, np.int32)  # boards by street, from the line's on
        known: dict[Deal, Expanded] = {}
        for after, run in groupby(deal):
            if after not in known:
                known[after] = self.expand(after, line)
            part, count = known[after], len(list(run))
            nodes = len(part.line)
            street = np.array(self.street)[part.line] - self.street[line]
            boards = np.array([1, len(after), *[0] * self.last], np.int32)
            copy = np.repeat(np.arange(count, dtype=np.int32), nodes)
            parent = np.tile(part.parent, count) + copy * nodes + size
            parent[::nodes] = -1
            action = np.tile(part.action, count)
            action[::nodes] = cards + np.arange(count)
            board = np.tile((passed[street] + part.board).astype(np.int32), count)
            board += copy * np.tile(boards[street], count)
            parts.append(Expanded(np.tile(part.line, count), parent, action, board))
            cards, size = cards + count, size + count * nodes
            passed += count * boards[: len(passed)]
        return _joined(parts)


def _joined(parts: Sequence[Expanded]) -> Expanded:
    return Expanded(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


Value = TypeVar("Value")


class ByNode(Mapping[int, Value]):
    """What the lines of a tree's decisions have, by node."""

    def __init__(
        self, values: Sequence[Value], line: NDArray[np.int32], kind: NDArray[np.int32]
    ) -> None:
        self._values, self._line, self._kind = values, line, kind

    def __getitem__(self, node: int) -> Value:
        if not 0 <= node < len(self._kind) or self._kind[node] != DECISION:
            raise KeyError(node)
        return self._values[self._line[node]]

    def __iter__(self) -> Iterator[int]:
        return iter(np.flatnonzero(self._kind == DECISION).tolist())

    def __len__(self) -> int:
        return int((self._kind == DECISION).sum())
