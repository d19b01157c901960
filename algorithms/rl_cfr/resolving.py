"""A player that searches: it follows a solved strategy, and solves again where that one ends.

Both players' ranges are public beliefs: they start as the spot's and follow every action by Bayes'
rule under the solved strategies. The player solves again from the decision at hand

- when the action was not in the tree: once more with the real action put in;
- when the strategy never takes the action: it then says nothing, and the range stays as it was;
- when a card comes;
- at every decision, if the sizes at the root depend on the beliefs (`Search.abstraction`).

This is re-solving without gadgets ("unsafe" in the terms of Brown and Sandholm 2017): it keeps an
equilibrium only as far as the other player's range is the believed one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from tenfold.algorithms.rl_cfr.policies import HandStrategy, History
from tenfold.algorithms.rl_cfr.solver import Solver
from tenfold.algorithms.rl_cfr.subgame import Subgame
from tenfold.envs.poker.cards import HAND_COUNT, live_hands
from tenfold.envs.poker.rules import BettingState
from tenfold.envs.poker.sizes import Menu
from tenfold.envs.poker.spot import Spot

Abstraction = Callable[[Spot, BettingState], Sequence[int]]
"""The raises at a decision, from the board and both ranges there (the spot's) and the betting."""

NEVER = 1e-6
"""A player's chance of an action below which the strategy is taken never to choose it."""


@dataclass(frozen=True)
class Search:
    """How a subgame is solved.

    Attributes:
        menu: Raises everywhere in the tree but at its root if there is an `abstraction`.
        max_raises: At most this many bets and raises on a street; only a real bet goes beyond.
        variant: One of `VARIANTS`.
        iterations: Of CFR.
        abstraction: The raises at the root; None takes the menu's.
    """

    menu: Menu
    max_raises: int
    variant: str
    iterations: int
    abstraction: Abstraction | None = None

    def solve(self, spot: Spot, root: BettingState, real: tuple[int, ...] = ()) -> "Solved":
        """Solve from a decision on.

        Args:
            spot: The board and both ranges at the decision.
            root: The decision.
            real: Raises that the tree must have at the root.
        """

        def raises(state: BettingState) -> Sequence[int]:
            chosen: Sequence[int] = []
            if state.raised < self.max_raises:
                if self.abstraction is not None and state == root:
                    chosen = self.abstraction(spot, root)
                else:
                    chosen = self.menu.raises(state)
            return sorted({*chosen, *(real if state == root else ())})

        subgame = Subgame(spot, raises, root=root)
        solver = Solver(subgame.game, self.variant)
        solver.iterate(self.iterations)
        return Solved(subgame, solver)


@dataclass(frozen=True)
class Solved:
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
    solved: Solved | None = None
    node: int = 0
    below: dict[int, "_Place"] = field(default_factory=dict)


class Resolver:
    """A `Policy` by search; what it has solved it remembers, for both seats and all deals.

    Args:
        spot: Where the hand starts.
        search: How it solves.
    """

    def __init__(self, spot: Spot, search: Search) -> None:
        self._spot, self._search = spot, search
        self._root = self._solve(_Place(History.of(spot), spot.ranges))

    def __call__(self, history: History) -> HandStrategy:
        """The strategy of the player to act."""
        place = self._find(history)
        assert place.solved is not None
        return place.solved.strategy(place.node)

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
        solved, node = place.solved, place.node
        assert solved is not None
        if action not in solved.subgame.moves[node]:
            solved, node = self._search_at(place, (action,)), 0
        move = solved.subgame.moves[node].index(action)
        player = place.history.state.player
        reach = place.ranges[player] * solved.strategy(node).probabilities[move]
        expected = bool(reach.sum() > NEVER * place.ranges[player].sum())
        ranges = place.ranges.copy()
        if expected:
            ranges[player] = reach / reach.max()
        after = _Place(place.history.apply(action), ranges)
        if after.history.state.over or after.history.chance:
            return after
        if not expected or self._search.abstraction:
            return self._solve(after)
        after.solved, after.node = solved, int(solved.subgame.game.tree.children(node)[move])
        return after

    def _deal(self, place: _Place, card: int) -> _Place:
        history = place.history.deal(card)
        return self._solve(_Place(history, place.ranges * live_hands(history.board)))

    def _solve(self, place: _Place) -> _Place:
        place.solved = self._search_at(place)
        return place

    def _search_at(self, place: _Place, real: tuple[int, ...] = ()) -> Solved:
        spot = replace(self._spot, board=place.history.board, ranges=place.ranges)
        return self._search.solve(spot, place.history.state, real)
