"""A player that searches: it follows a solved tree, and solves again where that one ends.

Both players' ranges are public beliefs: they start as the spot's and follow every action by Bayes'
rule under the solved strategies. The player solves again

- when a bet was not in the tree: from the decision of the one who bet, with the real bet in it, so
  that the answer is to all that this player may do there, and not to one bet;
- when the strategy never takes the action: it then says nothing, and the ranges stay;
- when a card comes.

This is re-solving without a gadget ("unsafe" in the terms of Brown and Sandholm 2017): it keeps an
equilibrium as far as the other player's range is the believed one.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tenfold.algorithms.rl_cfr.mdp import Decision, Solving
from tenfold.algorithms.rl_cfr.play.growth import Abstraction, Tree, follow, grow
from tenfold.algorithms.rl_cfr.play.policies import HandStrategy, History
from tenfold.algorithms.rl_cfr.solver.subgame import Leaf
from tenfold.envs.poker.cards import live_hands
from tenfold.envs.poker.spot import Spot


@dataclass
class _Place:
    """A public state, the beliefs there, and the decision of a solved tree that it is.

    `again` has the trees that were solved from here for actions outside that one.
    """

    history: History
    ranges: NDArray[np.float64]
    tree: Tree | None = None
    node: int = 0
    below: dict[int, "_Place"] = field(default_factory=dict)
    again: dict[int, Tree] = field(default_factory=dict)


class Resolver:
    """A `Policy` by search; what it has solved it remembers, for both seats and all deals.

    Args:
        spot: Where the hand starts.
        solving: How it solves.
        abstraction: Chooses the raises of its trees, see `grow`; None takes the default ones.
        leaf: Values the ends of streets, where its trees then end; None takes every card to come.
    """

    def __init__(
        self,
        spot: Spot,
        solving: Solving,
        abstraction: Abstraction | None = None,
        leaf: Leaf | None = None,
    ) -> None:
        self._solving, self._abstraction, self._leaf = solving, abstraction, leaf
        self._root = self._solve(_Place(History.of(spot), spot.ranges))

    def __call__(self, history: History) -> HandStrategy:
        """The strategy of the player to act."""
        place = self._find(history)
        assert place.tree is not None
        return place.tree.strategy(place.node)

    def ranges(self, history: History) -> NDArray[np.float64]:
        """(2, 1326) public beliefs after a history."""
        return self._find(history).ranges

    def offering(self, history: History, action: int) -> tuple[Tree, int]:
        """The solved tree in which a decision has an action, and its node there.

        That is the tree which the player follows, or, for an action outside it, the one that it
        solves again from the decision with that action beside its own.
        """
        return self._offering(self._find(history), action)

    def exploitability(self) -> float:
        """How accurate the first solution is: the mean gain of best answers in its tree, chips."""
        assert self._root.tree is not None
        return self._root.tree.solver.values().exploitability

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
        tree, node = self._offering(place, action)
        move = tree.subgame.moves[node].index(action)
        chances = tree.strategy(node).probabilities[move]
        ranges, expected = follow(place.ranges, place.history.state.player, chances)
        after = _Place(place.history.apply(action), ranges, tree, tree.child(node, move))
        if after.history.state.over or after.history.chance or expected:
            return after
        return self._solve(after)

    def _offering(self, place: _Place, action: int) -> tuple[Tree, int]:
        assert place.tree is not None
        if action in place.tree.subgame.moves[place.node]:
            return place.tree, place.node
        if action not in place.again:
            place.again[action] = self._grow(place, (action,))
        return place.again[action], 0

    def _deal(self, place: _Place, card: int) -> _Place:
        history = place.history.deal(card)
        return self._solve(_Place(history, place.ranges * live_hands(history.board)))

    def _solve(self, place: _Place) -> _Place:
        place.tree, place.node = self._grow(place), 0
        return place

    def _grow(self, place: _Place, real: tuple[int, ...] = ()) -> Tree:
        decision = Decision(place.history.board, place.history.state, place.ranges)
        return grow(decision, self._solving, self._abstraction, real, self._leaf)
