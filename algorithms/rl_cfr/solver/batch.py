"""Many subgames at once in torch: one tree shape, a board, ranges and payoffs each.

The same updates as `Solver`, on tensors (B, A, H). Showdowns are matrix products with the signs of
each board, which is what a GPU does best; on a processor `Solver` is faster.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tenfold.algorithms.rl_cfr.solver.game import Game
from tenfold.algorithms.rl_cfr.solver.kernels import DECK, TINY
from tenfold.algorithms.rl_cfr.solver.solver import Values, mean_gain
from tenfold.algorithms.rl_cfr.solver.tree import (
    CHANCE,
    DECISION,
    FOLD,
    MATRIX,
    SHOWDOWN,
    PublicTree,
)
from tenfold.algorithms.rl_cfr.solver.variants import PREDICTIVE, VARIANTS, check_variant


class BatchSolver:
    """CFR on B games of equal shape; the interface of `Solver`, with a batch axis in front.

    Args:
        games: Their trees agree in nodes, players and actions; hands are padded to the largest.
        variant: One of `VARIANTS`.
        device: Such as "cpu" or "cuda".
        dtype: torch.float32 or torch.float64.

    Raises:
        ValueError: The variant is unknown, shapes differ, or a tree has leaves, merged cards, locks
            or lists of hands by player.
    """

    def __init__(
        self, games: Sequence[Game], variant: str, device: str, dtype: torch.dtype
    ) -> None:
        check_variant(variant)
        self.games, self.variant, self.iteration = games, variant, 0
        self.tree = tree = games[0].tree
        for each in games:
            _check_shape(each.tree, tree)
        self._hands = max(each.tree.hands for each in games)
        self._kind: dict[str, Any] = {"device": device, "dtype": dtype}
        self._ranges = self._stack([each.ranges for each in games])  # (B, 2, H)
        self._base = torch.stack([torch.tensor(each.tree.base, **self._kind) for each in games])
        self._swing = torch.stack([torch.tensor(each.tree.swing, **self._kind) for each in games])
        self._groups = [_terminal_groups(tree, player) for player in (0, 1)]
        self._holds = self._stack([_incidence(each.tree) for each in games], axis=0)  # (B, H, 52)
        self._live = [
            self._stack([_live(each.tree, table) for each in games])  # (B, H)
            for table in range(len(tree.sizes))
        ]
        self._signs = {
            (kind, index): self._square([_signs(each.tree, kind, index) for each in games])
            for groups in self._groups
            for _, kind, index in groups
            if kind != FOLD
        }
        self.regrets = torch.zeros(len(games), tree.rows, self._hands, **self._kind)
        self.sums = torch.zeros_like(self.regrets)
        self._forecast = torch.zeros_like(self.regrets) if variant in PREDICTIVE else self.regrets
        self._children = [tree.children(node).tolist() for node in range(len(tree.kind))]

    def iterate(self, iterations: int) -> None:
        """Run iterations: in each, first player 0 and then player 1 updates its regrets."""
        for _ in range(iterations):
            self.iteration += 1
            for player in (0, 1):
                self._update(player)

    def strategy(self, node: int) -> torch.Tensor:
        """The average strategies at a decision, (B, A, H)."""
        return _match(self.sums[:, self._rows(node)])

    def values(self) -> list[Values]:
        """What each game's average strategies are worth, see `Solver.values`."""
        hands = [self._evaluate(player, best=False) for player in (0, 1)]
        best = [self._evaluate(player, best=True) for player in (0, 1)]
        result = []
        for place, game in enumerate(self.games):
            cut = slice(game.tree.hands)
            own = np.stack([each[place, cut].double().cpu().numpy() for each in hands])
            answers = np.stack([each[place, cut].double().cpu().numpy() for each in best])
            players = (game.ranges * own).sum(axis=1) / game.mass
            top = (game.ranges * answers).sum(axis=1) / game.mass
            result.append(
                Values(
                    hands=own,
                    answers=answers,
                    players=(float(players[0]), float(players[1])),
                    best=(float(top[0]), float(top[1])),
                    exploitability=mean_gain(top, players, game.total),
                )
            )
        return result

    def _update(self, player: int) -> None:
        tree = self.tree
        keep, fade, weight, kept = VARIANTS[self.variant](self.iteration)
        predictive = self.variant in PREDICTIVE
        sigmas = self._strategies(self._forecast)
        own = self._reaches(player, sigmas, torch.ones_like(self._ranges[:, player]))
        for node, sigma in sigmas.items():
            if tree.player[node] == player:
                new = weight * own[node][:, None] * sigma
                self.sums[:, self._rows(node)] = kept * self.sums[:, self._rows(node)] + new
        reaches = self._reaches(1 - player, sigmas, self._ranges[:, 1 - player])
        values = self._terminal_values(player, reaches)
        for node in reversed(range(len(tree.kind))):
            if not self._children[node]:
                continue
            below = torch.stack([values.pop(child) for child in self._children[node]], dim=1)
            if tree.kind[node] == CHANCE or tree.player[node] != player:
                values[node] = below.sum(dim=1)
                continue
            values[node] = (sigmas[node] * below).sum(dim=1)
            gain = below - values[node][:, None]  # (B, A, H)
            rows = self._rows(node)
            old = self.regrets[:, rows]
            if predictive:
                self.regrets[:, rows] = (old + gain).clamp(min=0)
                self._forecast[:, rows] = self.regrets[:, rows] + gain
            else:
                self.regrets[:, rows] = keep * old.clamp(min=0) + fade * old.clamp(max=0) + gain

    def _evaluate(self, player: int, best: bool) -> torch.Tensor:
        """Values of a player's hands against the average strategies, (B, H)."""
        tree = self.tree
        sigmas = self._strategies(self.sums)
        reaches = self._reaches(1 - player, sigmas, self._ranges[:, 1 - player])
        values = self._terminal_values(player, reaches)
        for node in reversed(range(len(tree.kind))):
            if not self._children[node]:
                continue
            below = torch.stack([values.pop(child) for child in self._children[node]], dim=1)
            if tree.kind[node] == CHANCE or tree.player[node] != player:
                values[node] = below.sum(dim=1)
            elif best:
                values[node] = below.amax(dim=1)
            else:
                values[node] = (sigmas[node] * below).sum(dim=1)
        return values[0]

    def _strategies(self, mass: torch.Tensor) -> dict[int, torch.Tensor]:
        """Decision -> strategy (B, A, H)."""
        decisions = np.flatnonzero(self.tree.kind == DECISION).tolist()
        return {node: _match(mass[:, self._rows(node)]) for node in decisions}

    def _reaches(
        self, player: int, sigmas: dict[int, torch.Tensor], root: torch.Tensor
    ) -> list[torch.Tensor]:
        """Reach (B, H) of a player's hands at every node."""
        tree = self.tree
        reaches = [root]
        for node in range(1, len(tree.kind)):
            above = tree.parent[node]
            reach = reaches[above]
            if tree.player[above] == player:
                reach = reach * sigmas[above][:, tree.action[node]]
                reach = torch.where(reach > TINY, reach, 0.0)
            reaches.append(reach)
        return reaches

    def _terminal_values(self, player: int, reaches: list[torch.Tensor]) -> dict[int, torch.Tensor]:
        values = {}
        for (table, kind, index), nodes in self._groups[player].items():
            reach = torch.stack([reaches[node] for node in nodes], dim=1)  # (B, K, H)
            out = torch.zeros_like(reach)
            if table >= 0:
                live = self._live[table][:, None]
                reach = reach * live
                shared = reach @ self._holds @ self._holds.mT  # the hand itself counts twice
                free = (reach.sum(dim=2, keepdim=True) - shared + reach) * live
                out = self._base[:, nodes, player][..., None] * free
            if kind != FOLD:
                signs = self._signs[kind, index]
                out = out + self._swing[:, nodes][..., None] * (reach @ signs.mT)
            values.update({node: out[:, place] for place, node in enumerate(nodes)})
        return values

    def _rows(self, node: int) -> slice:
        row = int(self.tree.row[node])
        return slice(row, row + int(self.tree.actions[node]))

    def _stack(self, arrays: Sequence[NDArray[np.floating]], axis: int = -1) -> torch.Tensor:
        """Stack arrays whose `axis` are the hands, padded with zeros."""
        stacked = []
        for each in arrays:
            widths = [(0, 0)] * each.ndim
            widths[axis] = (0, self._hands - each.shape[axis])
            stacked.append(torch.tensor(np.pad(each, widths), **self._kind))
        return torch.stack(stacked)

    def _square(self, arrays: Sequence[NDArray[np.floating]]) -> torch.Tensor:
        """Stack (H, H) matrices, padded with zeros."""
        wide = [np.pad(each, (0, self._hands - len(each))) for each in arrays]
        return torch.tensor(np.stack(wide), **self._kind)


def _match(mass: torch.Tensor) -> torch.Tensor:
    """Strategies (B, A, H) in proportion to positive masses, uniform where there are none."""
    positive = mass.clamp(min=0)
    norm = positive.sum(dim=1, keepdim=True)
    return torch.where(norm > 0, positive / norm.clamp(min=TINY), 1.0 / mass.shape[1])


def _check_shape(tree: PublicTree, other: PublicTree) -> None:
    lists = (tree.counts < tree.hands).any()
    if tree.leaves or tree.renamings.shape[1] or lists or len(tree.fixed):
        raise ValueError(
            "A batch takes no leaves, no merged cards, no locks and no hands of one player alone: "
            "use Solver."
        )
    for name in ("kind", "parent", "action", "player", "table"):
        if not np.array_equal(getattr(tree, name), getattr(other, name)):
            raise ValueError(f"Games of a batch differ in '{name}': give trees of one shape.")


def _terminal_groups(tree: PublicTree, player: int) -> dict[tuple[int, int, int], list[int]]:
    """Terminals by table, kind, and number of the matrix (or table) of their signs."""
    groups: dict[tuple[int, int, int], list[int]] = {}
    for node, kind in enumerate(tree.kind.tolist()):
        if kind in (FOLD, SHOWDOWN, MATRIX):
            table = int(tree.table[node])
            index = int(tree.matrix[node, player]) if kind == MATRIX else table
            groups.setdefault((table, kind, index), []).append(node)
    return groups


def _incidence(tree: PublicTree) -> NDArray[np.float64]:
    """(H, 52): which cards a hand holds."""
    return (tree.cards[:, :, None] == np.arange(DECK)).any(axis=1).astype(np.float64)


def _live(tree: PublicTree, table: int) -> NDArray[np.float64]:
    """(H,): 1 for the hands that a board leaves."""
    live = np.zeros(tree.hands)
    live[tree.order[0, table, : tree.sizes[table, 0]]] = 1.0
    return live


def _signs(tree: PublicTree, kind: int, index: int) -> NDArray[np.floating]:
    """(H, H): +1 where the row's hand wins, -1 where it loses, 0 for ties and shared cards."""
    if kind == MATRIX:
        return tree.matrices[index].reshape(tree.hands, tree.hands)
    size, _, groups = tree.sizes[index]
    strength = np.full(tree.hands, -1)
    bounds = tree.groups[0, index, : groups + 1]
    strength[tree.order[0, index, :size]] = np.repeat(np.arange(groups), np.diff(bounds))
    holds = _incidence(tree)
    apart = (holds @ holds.T == 0) & (strength >= 0) & (strength >= 0)[:, None]
    return np.sign(strength[:, None] - strength) * apart
