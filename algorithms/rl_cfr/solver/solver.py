"""CFR on one public tree: iterations, average strategies, values and exploitability."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tenfold.algorithms.rl_cfr.solver import kernels
from tenfold.algorithms.rl_cfr.solver.game import Game
from tenfold.algorithms.rl_cfr.solver.layout import Layout
from tenfold.algorithms.rl_cfr.solver.signals import make_counters
from tenfold.algorithms.rl_cfr.solver.tree import DECISION
from tenfold.algorithms.rl_cfr.solver.variants import PREDICTIVE, VARIANTS, check_variant

LEAST = 1 / 64
"""Of a walk's work, the least part that a thread takes at once."""


class Values(NamedTuple):
    """What the average strategies are worth, in payoff units (chips) a deal.

    Attributes:
        hands: (2, H) counterfactual values: sums over the other player's hands, not normalised;
            0 for hands that are not in a player's list.
        answers: (2, H) the same of best answers.
        players: Expected payoff of each player; their sum is the game's `total` if it has one.
        best: Expected payoff of each player that answers best.
        exploitability: Mean of what the two best answers gain, as OpenSpiel defines it. 0 in an
            equilibrium, also where payoffs have no constant sum.
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
        threads: Among which the first cards that come are shared out. Numbers do not depend on it.
        compressed: Whether regrets and averages are kept in 16 bits, as whole numbers times a scale
            of each decision.

    Attributes:
        regrets: Flat, see `PublicTree.first`.
        sums: The average strategies, not normalised, flat as well.
        scales: (2, nodes) scales of both, or None.

    Raises:
        ValueError: The variant is unknown, or has forecasts, which are not compressed; or the tree
            has leaves and nobody values them.
    """

    def __init__(
        self, game: Game, variant: str, threads: int = 1, compressed: bool = False
    ) -> None:
        check_variant(variant, compressed)
        if game.tree.leaves and game.leaf is None:
            raise ValueError("The tree is depth-limited: give a leaf evaluator.")
        self.game, self.variant, self.iteration = game, variant, 0
        tree = game.tree
        dtype = tree.swing.dtype
        self.regrets = np.zeros(tree.size, np.int16 if compressed else dtype)
        self.sums = np.zeros_like(self.regrets)
        self.scales = np.zeros((2, len(tree.kind)), dtype) if compressed else None
        self._forecast = np.zeros_like(self.regrets if variant in PREDICTIVE else self.regrets[:0])
        self._buffers = kernels.make_buffers(tree)
        self._threads = max(1, min(threads, len(tree.layout.tasks) - 1))
        if self._threads > 1:
            self._bounds = share_out(tree.layout, len(tree.kind), self._threads)
            self._pool = ThreadPoolExecutor(self._threads - 1)
        else:
            self._bounds = np.array([len(tree.layout.events)])
        tasks, leaf_values = self._buffers.tasks, self._buffers.leaf_values
        self._others = [
            kernels.make_buffers(tree)._replace(tasks=tasks, leaf_values=leaf_values)
            for _ in range(self._threads - 1)
        ]
        self._ranges = np.zeros((2, tree.held.shape[1]), dtype)
        for player in (0, 1):
            self._ranges[player, : tree.counts[player]] = game.ranges[player, tree.mine(player)]

    def iterate(self, iterations: int) -> None:
        """Run iterations: in each, first player 0 and then player 1 updates its regrets."""
        predictive = self.variant in PREDICTIVE
        first, last = self.iteration + 1, self.iteration + iterations
        weights = np.array(
            [VARIANTS[self.variant](t) for t in range(first, last + 1)], self._ranges.dtype
        ).reshape(-1, 4)
        if self.game.leaf is None:
            self._traverse([0, 1], kernels.UPDATE, self.sums, weights)
        else:
            for each in weights:
                for player in (0, 1):
                    self._value_leaves(player, self._forecast if predictive else self.regrets)
                    self._traverse([player], kernels.UPDATE, self.sums, each[None])
        self.iteration = last

    def get_state(self) -> dict[str, NDArray[Any]]:
        """All numbers of the solver, from which it goes on as if it had not been stopped."""
        numbers = {"regrets": self.regrets, "sums": self.sums, "forecast": self._forecast}
        if self.scales is not None:
            numbers["scales"] = self.scales
        return {**numbers, "iteration": np.array(self.iteration)}

    def set_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from `get_state` of a solver of the same game and variant.

        Raises:
            ValueError: It is of another tree or variant, or not of numbers.
        """
        own = self.get_state()
        for name, mine in own.items():
            theirs = state.get(name)
            if theirs is None or (theirs.shape, theirs.dtype) != (mine.shape, mine.dtype):
                raise ValueError(
                    "The numbers are of another tree: its sizes or hands have changed."
                )
            if not np.isfinite(theirs).all():
                raise ValueError(f"The '{name}' are no numbers any more: the file is damaged.")
        self.regrets[:], self.sums[:] = state["regrets"], state["sums"]
        self._forecast[:] = state["forecast"]
        if self.scales is not None:
            self.scales[:] = state["scales"]
        self.iteration = int(state["iteration"])

    def strategy(self, node: int) -> NDArray[np.floating]:
        """The average strategy at a decision, (A, H); uniform for hands that never get there.

        What is locked is as it was fixed.

        Raises:
            ValueError: The node is no decision.
        """
        block = np.maximum(self._block(node), 0.0)
        norm = block.sum(axis=0)
        uniform = np.full_like(block, 1.0 / len(block))
        average = np.divide(block, norm, out=uniform, where=norm > 0)
        tree, player = self.game.tree, self.game.tree.player[node]
        sigma = np.full((len(average), tree.hands), 1.0 / len(average), average.dtype)
        if tree.alike[node] >= 0:
            average = average[:, tree.orbit[player, tree.alike[node], : average.shape[1]]]
        start = tree.locked[node]
        if start >= 0:
            fixed = tree.fixed[start : start + average.size].reshape(average.shape)
            average = np.where(fixed >= 0, fixed, average)
        sigma[:, tree.mine(player)] = average
        return sigma

    def play(self, node: int, strategy: NDArray[np.floating]) -> None:
        """Make (A, H) probabilities the average strategy at a decision, but for what is locked.

        Raises:
            ValueError: The node is no decision.
        """
        tree = self.game.tree
        part = strategy[:, tree.mine(tree.player[node])]
        if self.scales is None:
            self._block(node)[:] = part
        else:
            self._block(node)[:] = np.rint(part * kernels.WHOLE)
            self.scales[1, node] = 1.0 / kernels.WHOLE

    def values(self) -> Values:
        """Values of the average strategies and of the best answers to them, exact on the tree.

        Best answers, too, keep to what is locked.

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
            exploitability=mean_gain(best, players, self.game.total),
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
        tree = self.game.tree
        player = int(tree.player[node])
        found = np.zeros((len(self._block(node)), tree.hands))
        values = np.empty((len(found), tree.held.shape[1]), self._ranges.dtype)
        self._evaluate(player, best, node, values)
        found[:, tree.mine(player)] = values[:, : tree.counts[player]]
        return found

    def _evaluate(
        self, player: int, best: bool, node: int = -1, values: NDArray[np.floating] | None = None
    ) -> NDArray[np.float64]:
        """Values (H,) of a player's hands at the root; those of a node's actions go to `values`."""
        tree = self.game.tree
        self._value_leaves(player, self.sums)
        mode = kernels.BEST if best else kernels.AVERAGE
        self._traverse([player], mode, self.sums, None, node, values)
        found = np.zeros(tree.hands)
        found[tree.mine(player)] = self._buffers.value[0, : tree.counts[player]]
        return found

    def _traverse(
        self,
        players: list[int],
        mode: int,
        sums: NDArray[np.floating],
        weights: NDArray[np.floating] | None = None,
        node: int = -1,
        values: NDArray[np.floating] | None = None,
    ) -> None:
        """Traversals of some players for each of the (n, 4) weights, see `kernels.traverse`."""
        tree, buffers = self.game.tree, self._buffers
        fading = np.zeros((1, 4), self._ranges.dtype) if weights is None else weights
        arrays = self.regrets, self._forecast, sums, self.scales
        out = buffers.norm if values is None else values
        how = mode, self.variant in PREDICTIVE, node, out
        counters = make_counters(kernels.COUNTERS)
        order = np.array(players)
        args = tree, self._ranges, order, *arrays, fading, *how, self._bounds, counters

        def take_part(thread: int, own: kernels.Buffers) -> None:
            kernels.traverse(*args, self._threads, thread, buffers, own)

        helpers = [
            self._pool.submit(take_part, thread, own)
            for thread, own in enumerate(self._others, start=1)
        ]
        try:
            take_part(0, buffers)
        except BaseException:  # Ctrl-C before it began: nobody else would let the others go on
            counters[kernels.BEGUN] = len(fading) * len(players)
            raise
        for helper in helpers:
            helper.result()

    def _block(self, node: int) -> NDArray[np.floating]:
        """The sums of a decision, (A, hands of its player).

        Raises:
            ValueError: The node is no decision.
        """
        tree = self.game.tree
        if tree.kind[node] != DECISION:
            raise ValueError(f"Node {node} is no decision: nobody acts there.")
        first, count = tree.first[node], tree.actions[node]
        hands = tree.counts[tree.player[node]]
        return self.sums[first : first + count * hands].reshape(count, hands)

    def _value_leaves(self, player: int, mass: NDArray[np.floating]) -> None:
        """Ask the leaf evaluator for a player's values under the strategies of `mass`."""
        if self.game.leaf is None:
            return
        tree, buffers = self.game.tree, self._buffers
        reaches = np.zeros((tree.leaves, 2, tree.hands), self._ranges.dtype)
        for who in (0, 1):
            self._traverse([1 - who], kernels.LEAVES, mass)
            reaches[:, who, tree.mine(who)] = buffers.leaf_values[:, : tree.counts[who]]
        values = self.game.leaf(reaches)[:, player, tree.mine(player)]
        buffers.leaf_values[:, : tree.counts[player]] = values


def share_out(layout: Layout, nodes: int, threads: int) -> NDArray[np.int64]:
    """Bounds, in `Layout.events`, of the parts of a walk that threads take one by one.

    The work is the number of nodes. Each part is half of an even share of what is left, so that
    threads have few parts to take and yet end together.

    Args:
        layout: Of the tree.
        nodes: Of the tree.
        threads: That share the work.
    """
    tasks = layout.tasks
    before = layout.roots[layout.events[tasks[:-1]]]  # nodes stand in preorder
    done = (before - before[0]) / (nodes - before[0])
    cuts, left = [0.0], 1.0
    while left > LEAST:
        left -= max(left / (2 * threads), LEAST)
        cuts.append(1.0 - left)
    places = [*np.searchsorted(done, cuts[:-1]), len(done)]
    return tasks[np.unique(places)].astype(np.int64)


def mean_gain(
    best: NDArray[np.float64], players: NDArray[np.float64], total: float | None
) -> float:
    """Mean gain of best answers; a total that is known is exact where sums are rounded."""
    return float(best.sum() - (players.sum() if total is None else total)) / 2.0
