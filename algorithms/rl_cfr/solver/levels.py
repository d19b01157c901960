"""The nodes of a tree level by level, so that one operation takes many of them at once.

A node but the root belongs to the action that leads to it. These nodes stand in the order of the
player who takes the action (chance comes last), then by how many actions there are, depth, parent
and action. So the children of all decisions of one player, at one depth or at all of them, that
have equally many actions are one slice, and a view (decisions, actions, ...) of it.
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tenfold.algorithms.rl_cfr.solver.tree import PublicTree

CHANCE_PLAYER = 2
"""Stands for chance among the players."""


class Siblings(NamedTuple):
    """The children of D decisions (or chance nodes) with A actions each.

    Attributes:
        player: Who acts.
        first: The place of the first child; the root has place 0.
        shape: (D, A).
        nodes: (D,) places of the decisions themselves.
        reached: (D,) rows of the player's reaches there, see `Levels.reached`; not for chance.
    """

    player: int
    first: int
    shape: tuple[int, int]
    nodes: Tensor
    reached: Tensor

    @property
    def size(self) -> int:
        """How many children there are."""
        return self.shape[0] * self.shape[1]

    @property
    def places(self) -> slice:
        """Places of the children."""
        return slice(self.first, self.first + self.size)

    @property
    def rows(self) -> slice:
        """The children among all nodes but the root."""
        return slice(self.first - 1, self.first - 1 + self.size)


class Levels:
    """The order of a tree's nodes.

    Args:
        tree: `PublicTree` of N nodes.
        device: Where tensors of places live.

    Attributes:
        place: (N,) places of the nodes.
        rows: Slices of player 0's, player 1's and chance's children among all nodes but the root.
        reached: (2, N) by node: the row of each player's reaches there. Row 0 is the root's; a
            player's own children follow in their order.
        levels: Siblings from the root downwards.
        players: Player 0's siblings whatever their depth, and player 1's.
    """

    def __init__(self, tree: PublicTree, device: torch.device) -> None:
        self._device = device
        above, depth = tree.parent[1:], tree.depth
        actions = np.bincount(above, minlength=len(depth))
        player = np.where(tree.player < 0, CHANCE_PLAYER, tree.player)
        keys = tree.action[1:], above, depth[above], actions[above], player[above]
        order = np.lexsort(keys)
        self.place = np.zeros(len(depth), np.int64)
        self.place[1 + order] = np.arange(1, len(depth))
        bounds = np.searchsorted(player[above][order], np.arange(CHANCE_PLAYER + 2)).tolist()
        self.rows = [slice(*bounds[who : who + 2]) for who in range(CHANCE_PLAYER + 1)]
        self.reached = np.zeros((2, len(depth)), np.int64)
        for level in range(1, int(depth.max()) + 1):
            nodes = np.flatnonzero(depth == level)
            self.reached[:, nodes] = self.reached[:, tree.parent[nodes]]
            for who in (0, 1):
                own = nodes[player[tree.parent[nodes]] == who]
                self.reached[who, own] = self.place[own] - bounds[who]
        self._first = np.zeros(len(depth), np.int64)
        eldest = 1 + np.flatnonzero(tree.action[1:] == 0)
        self._first[tree.parent[eldest]] = self.place[eldest]
        inner = np.flatnonzero(actions)
        columns = np.stack([depth[inner], player[inner], actions[inner]], axis=1)
        self.levels = self._siblings(inner, columns)
        self.players: list[list[Siblings]] = []
        for who in (0, 1):
            own = np.flatnonzero(player[inner] == who)
            own = own[np.argsort(depth[inner[own]], kind="stable")]
            self.players.append(self._siblings(inner[own], columns[own, 1:]))

    def _siblings(self, nodes: NDArray[np.int64], keys: NDArray[np.int64]) -> list[Siblings]:
        """The children of nodes, those of equal keys (whose last one is A) together."""
        found = []
        for key in np.unique(keys, axis=0):
            own = nodes[(keys == key).all(axis=1)]
            who, count = key[-2:].tolist()
            reached = self.reached[min(who, 1), own]
            places = (
                torch.tensor(each, device=self._device) for each in (self.place[own], reached)
            )
            found.append(Siblings(who, int(self._first[own[0]]), (len(own), count), *places))
        return found
