"""The betting lines of a spot, each walked once, and the nodes that cards make of them.

Betting does not depend on cards. So the rules are asked once a line; what is below a chance node is
the same after every card and copied in whole arrays.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

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
        path: (N,) number of the cards that led there: that of the first card times the number of
            later cards, and so on.
    """

    line: NDArray[np.int32]
    parent: NDArray[np.int32]
    action: NDArray[np.int32]
    path: NDArray[np.int32]


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

    def expand(self, cards: Sequence[int], line: int = 0) -> Expanded:
        """The nodes of a line and of all below it.

        Args:
            cards: How many cards come after each board, by street from the root's on.
            line: The line.
        """
        parts = [Expanded(*(np.array([each], np.int32) for each in (line, -1, 0, 0)))]
        size = 1
        first = self.street[0]
        for place, below in enumerate(self.children[line]):
            part = self.expand(cards, below)
            parent = part.parent + size
            parent[0] = 0
            part.action[0] = place
            part = part._replace(parent=parent)
            if self.kind[line] == CHANCE:
                street = self.street[line] - first
                part = _copies(part, cards[street], prod(cards[street + 1 :]))
            parts.append(part)
            size += len(part.line)
        return Expanded(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _copies(part: Expanded, count: int, later: int) -> Expanded:
    """The nodes below a chance node after each of `count` cards, `later` paths apart."""
    nodes = len(part.line)
    card = np.repeat(np.arange(count, dtype=np.int32), nodes)
    parent = np.tile(part.parent, count) + card * nodes
    parent[::nodes] = 0
    action = np.tile(part.action, count)
    action[::nodes] = np.arange(count)
    path = np.tile(part.path, count) + card * later
    return Expanded(np.tile(part.line, count), parent, action, path)


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
