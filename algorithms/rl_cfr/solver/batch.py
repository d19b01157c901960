"""Many subgames at once in torch: one tree shape, a board, ranges and payoffs each.

The same updates as `Solver`. Strategies, reaches, values and regrets of a level of the tree, of all
games, are one tensor each, so an iteration's operations are as many as the tree has levels, however
many nodes and games there are. None of them reads a number of the CPU or gives it one: on a GPU one
iteration is captured as a CUDA graph and replayed. On a processor `Solver` is faster.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tenfold.algorithms.rl_cfr.solver.batch_terminals import Terminals
from tenfold.algorithms.rl_cfr.solver.game import Game
from tenfold.algorithms.rl_cfr.solver.kernels import TINY
from tenfold.algorithms.rl_cfr.solver.levels import Levels
from tenfold.algorithms.rl_cfr.solver.solver import Values, mean_gain
from tenfold.algorithms.rl_cfr.solver.tree import DECISION, PublicTree
from tenfold.algorithms.rl_cfr.solver.variants import PREDICTIVE, VARIANTS, check_variant

SHAPE = ("kind", "parent", "action", "player", "table", "matrix")
"""Of a `PublicTree`: in these the trees of a batch agree."""

AT_ONCE = 256
"""Iterations whose weights are brought to the device together."""


@contextmanager
def _in_any_order() -> Iterator[None]:
    """Lets cuBLAS multiply where torch is asked for deterministic algorithms.

    It is deterministic here, in one stream, but torch refuses it unless an environment variable
    has been set before.
    """
    asked = torch.get_deterministic_debug_mode()
    torch.set_deterministic_debug_mode(0)
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(asked)


class BatchSolver:
    """CFR on B games of equal shape; the interface of `Solver`, with a batch axis in front.

    Args:
        games: Their trees agree in nodes, players and actions; hands are padded to the largest.
        variant: One of `VARIANTS`.
        device: Such as "cpu" or "cuda".
        dtype: torch.float32 or torch.float64.

    Attributes:
        regrets: (actions of all decisions, B, H), in the order of `Levels.rows`.
        sums: The average strategies, not normalised, as well.

    Raises:
        ValueError: The variant is unknown, shapes differ, or a tree has leaves, merged cards, locks
            or lists of hands by player.
    """

    @_in_any_order()
    def __init__(
        self,
        games: Sequence[Game],
        variant: str,
        device: torch.device | str,
        dtype: torch.dtype,
    ) -> None:
        check_variant(variant)
        self.games, self.variant, self.iteration = games, variant, 0
        self.tree = tree = games[0].tree
        for each in games:
            _check_shape(each.tree, tree)
        self._device = torch.device(device)
        hands = max(each.tree.hands for each in games)
        kind: dict[str, Any] = {"device": self._device, "dtype": dtype}
        self._levels = levels = Levels(tree, self._device)
        self._terminals = Terminals(games, levels, hands, kind)
        ranges = np.zeros((2, len(games), hands))
        for place, game in enumerate(games):
            ranges[:, place, : game.tree.hands] = game.ranges
        self._ranges = torch.tensor(ranges, **kind)
        actions = levels.rows[1].stop
        self.regrets = torch.zeros(actions, len(games), hands, **kind)
        self.sums = torch.zeros_like(self.regrets)
        self._forecast = torch.zeros_like(self.regrets) if variant in PREDICTIVE else self.regrets
        self._sigma = torch.zeros_like(self.regrets)
        self._values = torch.zeros(len(tree.kind), len(games), hands, **kind)
        # A player's own actions alone; row 0 stays 1, for nothing has been done at the root.
        self._reaches = [
            torch.ones(1 + own.stop - own.start, len(games), hands, **kind)
            for own in levels.rows[:2]
        ]
        self._weights = torch.zeros(AT_ONCE, len(VARIANTS[variant](1)), **kind)
        self._turn = torch.zeros(1, dtype=torch.int64, device=self._device)
        self._replay: Callable[[], None] | None = None
        for player in (0, 1):
            self._follow(player, self._forecast, self._sigma, self._reaches[player])

    @_in_any_order()
    def iterate(self, iterations: int) -> None:
        """Run iterations: in each, first player 0 and then player 1 updates its regrets."""
        last = self.iteration + iterations
        while self.iteration < last:
            first = self.iteration + 1
            weights = [VARIANTS[self.variant](t) for t in range(first, last + 1)[:AT_ONCE]]
            self._weights[: len(weights)] = torch.tensor(weights, dtype=self._weights.dtype)
            self._turn.zero_()
            for _ in weights:
                self._advance()
            self.iteration += len(weights)

    def strategy(self, node: int) -> Tensor:
        """The average strategies at a decision, (B, A, H).

        Raises:
            ValueError: The node is no decision.
        """
        if self.tree.kind[node] != DECISION:
            raise ValueError(f"Node {node} is no decision: nobody acts there.")
        first = int(self._levels.place[self.tree.children(node)[0]]) - 1
        masses = self.sums[first : first + int(self.tree.actions[node])].clamp(min=0)
        return _share(masses[None])[0].transpose(0, 1)

    @_in_any_order()
    def values(self) -> list[Values]:
        """What each game's average strategies are worth, see `Solver.values`."""
        sigma, reaches = torch.empty_like(self.sums), [torch.ones_like(r) for r in self._reaches]
        for player in (0, 1):
            self._follow(player, self.sums, sigma, reaches[player])
        hands, answers = (
            np.stack([self._worth(player, sigma, reaches, best) for player in (0, 1)], axis=1)
            for best in (False, True)
        )  # (B, 2, H)
        result = []
        for game, own, top in zip(self.games, hands, answers, strict=True):
            own, top = own[:, : game.tree.hands], top[:, : game.tree.hands]
            players, best = ((game.ranges * each).sum(axis=1) / game.mass for each in (own, top))
            result.append(
                Values(
                    hands=own,
                    answers=top,
                    players=(float(players[0]), float(players[1])),
                    best=(float(best[0]), float(best[1])),
                    exploitability=mean_gain(best, players, game.total),
                )
            )
        return result

    def _advance(self) -> None:
        """One iteration; on a GPU the first one warms up for the capture of the next ones."""
        if self._replay is not None:
            self._replay()
        elif self._device.type != "cuda":
            self._iteration()
        else:
            with torch.cuda.device(self._device):
                aside, now = torch.cuda.Stream(), torch.cuda.current_stream()
                aside.wait_stream(now)
                with torch.cuda.stream(aside):
                    self._iteration()
                now.wait_stream(aside)
                graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(graph):
                    self._iteration()
            self._replay = graph.replay

    def _iteration(self) -> None:
        keep, fade, weight, kept = self._weights.index_select(0, self._turn)[0].unbind()
        for player in (0, 1):
            own = self._levels.rows[player]
            self.sums[own].mul_(kept).addcmul_(self._reaches[player][1:], weight)
            gain = self._gain(player)
            regrets = self.regrets[own]
            if self.variant in PREDICTIVE:
                regrets.add_(gain).clamp_(min=0)
                torch.add(regrets, gain, out=self._forecast[own])
            else:
                factor = torch.where(regrets > 0, keep, fade)
                torch.addcmul(gain, regrets, factor, out=regrets)
            self._follow(player, self._forecast, self._sigma, self._reaches[player])
        self._turn.add_(1)

    def _gain(self, player: int) -> Tensor:
        """What each action gives a player's hands beyond the decision's strategy, (A., B, H)."""
        self._back_up(player, self._sigma, self._reaches[1 - player])
        together = self._levels.players[player]
        means = [self._values.index_select(0, each.nodes) for each in together]
        for each, mean in zip(together, means, strict=True):
            self._values[each.places].unflatten(0, each.shape).sub_(mean[:, None])
        return self._values[1:][self._levels.rows[player]]

    def _worth(
        self, player: int, sigma: Tensor, reaches: Sequence[Tensor], best: bool
    ) -> NDArray[np.float64]:
        """Values (B, H) of a player's hands at the root."""
        self._back_up(player, sigma, reaches[1 - player], best)
        found: NDArray[np.float64] = self._values[0].double().cpu().clone().numpy()
        return found

    def _back_up(self, player: int, sigma: Tensor, reach: Tensor, best: bool = False) -> None:
        """Values of a player's hands at all nodes, from the terminals to the root.

        Args:
            player: Whose values.
            sigma: Its strategies, in the order of `regrets`.
            reach: (rows, B, H) of the other player's actions.
            best: Whether it plays best answers and not its strategies.
        """
        values = self._values
        self._terminals.settle(player, reach * self._ranges[1 - player], values)
        for each in reversed(self._levels.levels):
            below = values[each.places].unflatten(0, each.shape)  # (D, A, B, H)
            if each.player != player:
                total = below.sum(dim=1)
            elif best:
                total = below.amax(dim=1)
            else:
                total = (sigma[each.rows].unflatten(0, each.shape) * below).sum(dim=1)
            values.index_copy_(0, each.nodes, total)

    def _follow(self, player: int, mass: Tensor, sigma: Tensor, reach: Tensor) -> None:
        """A player's strategies in proportion to positive masses, and what they reach.

        Args:
            player: Whose.
            mass: In the order of `regrets`.
            sigma: Out, in the same order.
            reach: Out, (rows, B, H); row 0 is kept.
        """
        own = self._levels.rows[player]
        torch.clamp(mass[own], min=0, out=sigma[own])
        for each in self._levels.players[player]:
            _share(sigma[each.rows].unflatten(0, each.shape))
        for each in self._levels.levels:
            if each.player == player:
                above = reach.index_select(0, each.reached)[:, None]
                begin = each.first - own.start
                after = reach[begin : begin + each.size].unflatten(0, each.shape)
                torch.mul(above, sigma[each.rows].unflatten(0, each.shape), out=after)
        torch.threshold_(reach[1:], TINY, 0.0)


def _share(mass: Tensor) -> Tensor:
    """Divide masses (D, A, B, H) by their sums over the actions; uniform where all are 0."""
    norm = mass.sum(dim=1, keepdim=True)
    return mass.div_(norm).masked_fill_(norm <= 0, 1.0 / mass.shape[1])


def is_batchable(tree: PublicTree) -> bool:
    """Whether a batch takes a tree: it has no leaves, merged cards, locks or lists by player."""
    lists = (tree.counts < tree.hands).any()
    return not (tree.leaves or tree.renamings.shape[1] or lists or len(tree.fixed))


def _check_shape(tree: PublicTree, other: PublicTree) -> None:
    if not is_batchable(tree):
        raise ValueError(
            "A batch takes no leaves, no merged cards, no locks and no hands of one player alone: "
            "use Solver."
        )
    for name in SHAPE:
        if not np.array_equal(getattr(tree, name), getattr(other, name)):
            raise ValueError(f"Games of a batch differ in '{name}': give trees of one shape.")
