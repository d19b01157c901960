"""A player that searches: it follows a solved strategy, and solves again where that one ends.

Both players' ranges are public beliefs: they start as the spot's and follow every action by Bayes'
rule under the solved strategies. The player solves again from the decision at hand

- when the action was not in the tree: once more with the real action put in;
- when the strategy never takes the action: it then says nothing, and the range stays as it was;
- when a card comes;
- at every decision, if an abstraction chooses the sizes there.

This is re-solving without gadgets ("unsafe" in the terms of Brown and Sandholm 2017): it keeps an
equilibrium only as far as the other player's range is the believed one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tenfold.algorithms.rl_cfr.mdp import Decision, Solving, bet_tree
from tenfold.algorithms.rl_cfr.policies import HandStrategy, History
from tenfold.algorithms.rl_cfr.solver import Solver
from tenfold.algorithms.rl_cfr.subgame import Subgame
from tenfold.envs.poker.cards import HAND_COUNT, live_hands
from tenfold.envs.poker.rules import BettingState
from tenfold.envs.poker.spot import Spot

Abstraction = Callable[[Decision], Sequence[int]]
"""The raises at a decision, such as a trained one of `load_abstraction`."""

NEVER = 1e-6
"""A player's chance of an action below which the strategy is taken never to choose it."""


@dataclass(frozen=True)
class Tree:
    """A solved subgame."""

    subgame: Subgame
    solver: Solver

    def strategy(self, node: int) -> HandStrategy:
        """The average strategy at a decision; uniform for hands that are not in the tree."""
        moves, hands = self.subgame.moves[node], self.subgame.hands
        probabilities = np.full((len(moves), HAND_COUNT), 1.0 / len(moves))
        probabilities[:, hands] = self.solver.strategy(node)
        return HandStrategy(moves, probabilities)


@dataclass
class _Place:
    """A public state, the beliefs there, and the decision of a solved tree that it is."""

    history: History
    ranges: NDArray[np.float64]
    tree: Tree | None = None
    node: int = 0
    below: dict[int, "_Place"] = field(default_factory=dict)


class Resolver:
    """A `Policy` by search; what it has solved it remembers, for both seats and all deals.

    Args:
        spot: Where the hand starts.
        solving: How it solves.
        abstraction: The raises at the decision that a solve starts from; None takes the default.
    """

    def __init__(
        self, spot: Spot, solving: Solving, abstraction: Abstraction | None = None
    ) -> None:
        self._spot, self._solving, self._abstraction = spot, solving, abstraction
        self._root = self._solve(_Place(History.of(spot), spot.ranges))

    def __call__(self, history: History) -> HandStrategy:
        """The strategy of the player to act."""
        place = self._find(history)
        assert place.tree is not None
        return place.tree.strategy(place.node)

    def ranges(self, history: History) -> NDArray[np.float64]:
        """(2, 1326) public beliefs after a history."""
        return self._find(history).ranges

    def _find(self, history: History) -> _Place:
        place = self._root
        for action in history.actions:
            place = self._below(place, action, self._act)
            if place.history.chance and len(place.history.board) < len(history.board):
                card = history.board[len(place.history.board)]
                place = self._below(place, card, self._deal)
        return place

    def _below(self, place: _Place, key: int, step: Callable[[_Place, int], _Place]) -> _Place:
        if key not in place.below:
            place.below[key] = step(place, key)
        return place.below[key]

    def _act(self, place: _Place, action: int) -> _Place:
        tree, node = place.tree, place.node
        assert tree is not None
        if action not in tree.subgame.moves[node]:
            tree, node = self._search(place.history, place.ranges, [action]), 0
        move = tree.subgame.moves[node].index(action)
        player = place.history.state.player
        reach = place.ranges[player] * tree.strategy(node).probabilities[move]
        expected = bool(reach.sum() > NEVER * place.ranges[player].sum())
        ranges = place.ranges.copy()
        if expected:
            ranges[player] = reach / reach.max()
        after = _Place(place.history.apply(action), ranges)
        if after.history.state.over or after.history.chance:
            return after
        if not expected or self._abstraction:
            return self._solve(after)
        after.tree, after.node = tree, int(tree.subgame.game.tree.children(node)[move])
        return after

    def _deal(self, place: _Place, card: int) -> _Place:
        history = place.history.deal(card)
        return self._solve(_Place(history, place.ranges * live_hands(history.board)))

    def _solve(self, place: _Place) -> _Place:
        place.tree = self._search(place.history, place.ranges, [])
        return place

    def _search(self, history: History, ranges: NDArray[np.float64], real: Sequence[int]) -> Tree:
        """Solve from a decision on, with some raises that the tree must have there."""
        decision = Decision(history.board, history.state, ranges)
        chosen = self._abstraction(decision) if self._abstraction else None
        tree = bet_tree(decision, chosen, self._solving)

        def raises(state: BettingState) -> Sequence[int]:
            return sorted({*tree(state), *real}) if state == history.state else tree(state)

        spot = Spot(history.board, self._spot.rules, ranges)
        subgame = Subgame(spot, raises, root=history.state)
        solver = Solver(subgame.game, self._solving.variant)
        solver.iterate(self._solving.iterations)
        return Tree(subgame, solver)
