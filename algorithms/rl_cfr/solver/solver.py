"""CFR on one public tree: iterations, average strategies, values and exploitability."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tenfold.algorithms.rl_cfr.solver import kernels
from tenfold.algorithms.rl_cfr.solver.game import Game
from tenfold.algorithms.rl_cfr.solver.tree import DECISION
from tenfold.algorithms.rl_cfr.solver.variants import PREDICTIVE, VARIANTS, check_variant


class Values(NamedTuple):
    """What the average strategies are worth, in payoff units (chips) a deal.

    Attributes:
        hands: (2, H) counterfactual values: sums over the other player's hands, not normalised.
        answers: (2, H) the same of best answers.
        players: Expected payoff of each player; their sum is the game's `total`.
        best: Expected payoff of each player that answers best.
        exploitability: Mean of what the two best answers gain, as OpenSpiel defines it.
    """

    hands: NDArray[np.floating]
    answers: NDArray[np.floating]
    players: tuple[float, float]
    best: tuple[float, float]
    exploitability: float


class Solver:
    """CFR with alternating updates on compiled kernels, in the precision of the tree.

    Args:
        game: What to solve.
        variant: One of `VARIANTS`.

    Raises:
        ValueError: The variant is unknown, or the tree has leaves and nobody values them.
    """

    def __init__(self, game: Game, variant: str) -> None:
        check_variant(variant)
        if game.tree.leaves and game.leaf is None:
            raise ValueError("The tree is depth-limited: give a leaf evaluator.")
        self.game, self.variant, self.iteration = game, variant, 0
        tree = game.tree
        dtype = tree.swing.dtype
        self.regrets = np.zeros((tree.rows, tree.hands), dtype)
        self.sums = np.zeros_like(self.regrets)
        self._forecast = np.zeros_like(self.regrets if variant in PREDICTIVE else self.regrets[:0])
        self._buffers = kernels.make_buffers(tree)
        self._ranges = np.ascontiguousarray(game.ranges, dtype)

    def iterate(self, iterations: int) -> None:
        """Run iterations: in each, first player 0 and then player 1 updates its regrets."""
        predictive = self.variant in PREDICTIVE
        first, last = self.iteration + 1, self.iteration + iterations
        weights = np.array(
            [VARIANTS[self.variant](t) for t in range(first, last + 1)], self.regrets.dtype
        ).reshape(-1, 3)
        arrays = self._ranges, self.regrets, self._forecast, self.sums
        if self.game.leaf is None:
            kernels.iterate(self.game.tree, *arrays, weights, predictive, self._buffers)
        else:
            for each in weights:
                for player in (0, 1):
                    self._value_leaves(player, self._forecast if predictive else self.regrets)
                    args = *arrays, each, predictive, self._buffers
                    kernels.update(self.game.tree, player, *args)
        self.iteration = last

    def strategy(self, node: int) -> NDArray[np.floating]:
        """The average strategy at a decision, (A, H); uniform for hands that never get there.

        Raises:
            ValueError: The node is no decision.
        """
        self._check_decision(node)
        tree = self.game.tree
        row, count = tree.row[node], tree.actions[node]
        sigma = np.empty((count, tree.hands), self.sums.dtype)
        kernels.match(sigma, self.sums[row : row + count], count, np.empty_like(sigma[0]))
        return sigma[:, tree.orbit] if tree.alike[node] else sigma

    def play(self, node: int, law: NDArray[np.floating]) -> None:
        """Make (A, H) probabilities the average strategy at a decision."""
        row = self.game.tree.row[node]
        self.sums[row : row + self.game.tree.actions[node]] = law

    def values(self) -> Values:
        """Values of the average strategies and of the best answers to them, exact on the tree.

        At leaves both are what the leaf evaluator says of the average strategies.
        """
        hands = np.stack([self._evaluate(player, best=False) for player in (0, 1)])
        answers = np.stack([self._evaluate(player, best=True) for player in (0, 1)])
        ranges = self.game.ranges.astype(np.float64)
        players = (ranges * hands).sum(axis=1) / self.game.mass
        best = (ranges * answers).sum(axis=1) / self.game.mass
        return Values(
            hands=hands,
            answers=answers,
            players=(float(players[0]), float(players[1])),
            best=(float(best[0]), float(best[1])),
            exploitability=float(best.sum() - self.game.total) / 2.0,
        )

    def action_values(self, node: int, best: bool) -> NDArray[np.float64]:
        """What the actions of a decision are worth to each hand of its player, (A, H).

        Counterfactual as `Values.hands`: sums over the other player's hands, weighted by the chance
        that its average strategy gets them here.

        Args:
            node: The decision.
            best: Whether its player goes on with best answers, or with its average strategy.

        Raises:
            ValueError: The node is no decision.
        """
        self._check_decision(node)
        tree = self.game.tree
        values = np.empty((tree.actions[node], tree.hands), self.sums.dtype)
        self._evaluate(int(tree.player[node]), best, node, values)
        return values.astype(np.float64)

    def _evaluate(
        self, player: int, best: bool, node: int = -1, values: NDArray[np.floating] | None = None
    ) -> NDArray[np.float64]:
        """Values of a player's hands at the root; those of a node's actions go into `values`."""
        self._value_leaves(player, self.sums)
        out = self.sums[:0] if values is None else values
        args = self.game.tree, player, self._ranges, self.sums, best, node, out
        kernels.evaluate(*args, self._buffers)
        return self._buffers.value[0].astype(np.float64)

    def _check_decision(self, node: int) -> None:
        if self.game.tree.kind[node] != DECISION:
            raise ValueError(f"Node {node} is no decision: nobody acts there.")

    def _value_leaves(self, player: int, mass: NDArray[np.floating]) -> None:
        if self.game.leaf is None:
            return
        tree = self.game.tree
        reaches = np.empty((tree.leaves, 2, tree.hands), self.sums.dtype)
        for who in (0, 1):
            out = np.empty_like(reaches[:, who])
            kernels.leaf_reaches(tree, who, self._ranges, mass, out, self._buffers)
            reaches[:, who] = out
        self._buffers.leaf_values[:] = self.game.leaf(reaches)[:, player]
