"""A strategy for the full game of no-limit Leduc that leaves only its own raises to an abstraction.

`full_game.translate` and `nested` must answer raises that their tree has not got, and what this
loses hides what the choice of sizes loses. Here each player is solved for in a tree of its own: its
decisions offer the abstraction's raises, the other's every raise. The result is the best strategy,
up to CFR's error, of those that use no other raise, whatever comes. Hence

    exploitability = 1/2 sum_i [v_i(every raise) - v_i(own raises chosen)]

is what the abstraction itself gives away. The price is a tree that grows with the other's raises.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from tenfold.algorithms.rl_cfr.abstraction import Abstraction
from tenfold.algorithms.rl_cfr.leduc.full_game import every_raise
from tenfold.algorithms.rl_cfr.mdp import Decision, Solving, has_choice
from tenfold.algorithms.rl_cfr.play.growth import follow
from tenfold.algorithms.rl_cfr.solver.solver import Solver
from tenfold.algorithms.rl_cfr.worlds.leduc import (
    DECK,
    History,
    LeducWorld,
    actions,
    public_tree,
)
from tenfold.envs.poker.rules import BettingState, openspiel_action


def solve_own_raises(
    world: LeducWorld, abstraction: Abstraction, solving: Solving, variant: str, iterations: int
) -> tuple[dict[History, NDArray[np.float64]], int]:
    """Both players' strategies, by the histories of the full game, and the nodes of both trees.

    After a raise of its own that the abstraction does not choose a player is uniform; no answer of
    the other depends on that.

    Args:
        world: The game.
        abstraction: Names the raises at a decision.
        solving: Of the solves that beliefs come from; its default raises stand below the decisions
            that are chosen already.
        variant: Of CFR, for the trees that are played.
        iterations: Of it.
    """
    strategies: dict[History, NDArray[np.float64]] = {}
    size = 0
    for player in (0, 1):
        own = OwnTree(world, abstraction, solving, player)
        own.solve(variant, iterations)
        size += len(own.subgame.game.tree.kind)
        for history, state in own.states.items():
            if state.player == player:
                moves = actions(state, every_raise(state))
                offered = actions(state, own.raises(history, state))
                strategies[history] = np.zeros((len(moves), DECK))
                strategies[history][[moves.index(move) for move in offered]] = own.strategy(history)

    def uniform_elsewhere(history: History, state: BettingState) -> Sequence[int]:
        count = len(actions(state, every_raise(state)))
        strategies.setdefault(history, np.full((count, DECK), 1.0 / count))
        return every_raise(state)

    public_tree(own.root, uniform_elsewhere)
    return strategies, size


class OwnTree:
    """One player's tree of the whole game.

    It grows from the root downwards: the abstraction chooses at the player's highest decisions that
    it has not chosen at yet, by the beliefs of the solution so far, in which the default raises
    stand below; then the tree is solved again.

    Attributes:
        root: Where the game starts.
        states: The betting by history.
        subgame: The present tree.
    """

    def __init__(
        self, world: LeducWorld, abstraction: Abstraction, solving: Solving, player: int
    ) -> None:
        self._world, self._abstraction, self._solving = world, abstraction, solving
        self._player = player
        self._chosen: dict[History, Sequence[int]] = {}
        self.root = world.root(np.random.default_rng(0))
        found: dict[History, Sequence[int]] | None = None
        while found is None or found:
            self.solve(solving.variant, solving.iterations)
            found = dict(self._choices((), self.root))
            self._chosen |= found

    def solve(self, variant: str, iterations: int) -> None:
        """Solve the present tree from scratch."""
        self.states: dict[History, BettingState] = {}
        self.subgame, self._nodes = public_tree(self.root, self.raises)
        self._solver = Solver(self.subgame.game, variant)
        self._solver.iterate(iterations)

    def raises(self, history: History, state: BettingState) -> Sequence[int]:
        """Every raise of the other; of the player the chosen ones, or else the default's."""
        self.states[history] = state
        if state.player != self._player:
            return every_raise(state)
        if history in self._chosen:
            return self._chosen[history]
        return self._solving.default.raises(state)

    def strategy(self, history: History) -> NDArray[np.floating]:
        """(A, 6): the average strategy at a decision."""
        return self._solver.strategy(self._nodes[history])

    def _choices(
        self, history: History, decision: Decision
    ) -> Iterator[tuple[History, Sequence[int]]]:
        """The raises at the highest decisions from here on that nothing was chosen at yet."""
        state = decision.state
        if state.player == self._player and history not in self._chosen:
            choice = has_choice(decision, self._solving)
            yield history, self._abstraction(decision) if choice else []
            return
        moves = actions(state, self.raises(history, state))
        for move, chances in zip(moves, self.strategy(history), strict=True):
            after = state.apply(move)
            if after.over:
                continue
            ranges, _ = follow(decision.ranges, state.player, chances)
            done = (*history, openspiel_action(move))
            for card, dealt in self._world.deals(Decision(decision.board, after, ranges)):
                yield from self._choices((*done, *card), dealt)
