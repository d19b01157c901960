"""Solved trees whose raises an abstraction chooses at every decision of the street.

What an abstraction chooses depends on the beliefs at a decision, and those on the solution above
it. So a tree grows from the root downwards: choose at the root, solve, choose at the decisions that
follow, by the ranges of that solution, solve again, until every decision that can have raises has
been chosen. The last solution is of one tree, whole: a strategy against which no opponent's bet is
outside the game that was solved, unlike one pieced together from solves at every decision, whose
calls no bluff would be answerable to.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tenfold.algorithms.rl_cfr.mdp import Decision, Solving
from tenfold.algorithms.rl_cfr.play.policies import HandStrategy
from tenfold.algorithms.rl_cfr.solver.solver import Solver
from tenfold.algorithms.rl_cfr.solver.subgame import Leaf, Subgame
from tenfold.envs.poker.cards import HAND_COUNT
from tenfold.envs.poker.rules import BettingState
from tenfold.envs.poker.spot import Spot, dealable

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

    def action_values(self, node: int) -> NDArray[np.float64]:
        """What each action of a decision on the root's street is worth to each hand, (A, 1326).

        In chips from the decision on, the pot included: a fold is worth 0. The other player follows
        the average strategy, which also says what it may hold; the one who decides goes on with
        best answers to it. Its own average strategy would do for the hands that it brings here, but
        where a hand hardly ever goes, its average is one of early iterations and no measure.

        0 for hands beside which the other player holds nothing.
        """
        tree = self.subgame.game.tree
        player = int(tree.player[node])
        reach = self.subgame.spread(self.subgame.game.ranges[1 - player])
        below, above = node, int(tree.parent[node])
        while above >= 0:
            if tree.player[above] != player:
                reach *= self.strategy(above).probabilities[tree.action[below]]
            below, above = above, int(tree.parent[above])
        mass = dealable(reach)
        values = self.subgame.spread(self.solver.action_values(node, best=True))
        won = np.divide(values, mass, out=np.zeros_like(values), where=mass > 0)
        return won + self.subgame.states[node].committed[player] * (mass > 0)

    def child(self, node: int, place: int) -> int:
        """The node after a decision's action at `place`."""
        return int(self.subgame.game.tree.children(node)[place])


def follow(
    ranges: NDArray[np.float64], player: int, chances: NDArray[np.float64]
) -> tuple[NDArray[np.float64], bool]:
    """Ranges after an action, by Bayes' rule.

    Args:
        ranges: (2, 1326).
        player: Who acted.
        chances: (1326,) of the action by hand.

    Returns:
        The (2, 1326) ranges, and whether the player ever takes the action: one that it never takes
        says nothing, and the ranges stay.
    """
    reach = ranges[player] * chances
    if not reach.sum() > NEVER * ranges[player].sum():
        return ranges, False
    after = ranges.copy()
    after[player] = reach / reach.max()
    return after, True


LATER_RAISES = 1
"""Bets and raises on each street after the root's: those streets are solved again at their card."""


def grow(
    decision: Decision,
    solving: Solving,
    abstraction: Abstraction | None = None,
    real: Sequence[int] = (),
    leaf: Leaf | None = None,
) -> Tree:
    """A solved tree from a decision on.

    Args:
        decision: The root, with the beliefs there.
        solving: The default raises, the most raises a street, and how to solve.
        abstraction: Chooses the raises of the root's street; None takes the default.
        real: Raises that the root must have.
        leaf: Values the end of the root's street; None takes the tree to the end of the hand.
    """
    root = decision.state
    chosen: dict[BettingState, Sequence[int]] = {}

    def raises(state: BettingState) -> Sequence[int]:
        usual: Sequence[int] = []
        most = solving.max_raises if state.street == root.street else LATER_RAISES
        if state.raised < most:
            usual = chosen[state] if state in chosen else solving.default.raises(state)
        return sorted({*usual, *real}) if state == root else usual

    def open_to_choice(state: BettingState) -> bool:
        free = state.raised < solving.max_raises and state.raises is not None
        return free and state.street == root.street and state not in chosen

    if abstraction and open_to_choice(root):
        chosen[root] = abstraction(decision)
    spot = Spot(decision.board, root.rules, decision.ranges)
    while True:
        subgame = Subgame(spot, raises, root=root, leaf=leaf)
        solver = Solver(subgame.game, solving.variant)
        solver.iterate(solving.iterations)
        tree = Tree(subgame, solver)
        found = _next_choices(decision, tree, open_to_choice) if abstraction else []
        if not abstraction or not found:
            return tree
        chosen |= {each.state: abstraction(each) for each in found}


def _next_choices(
    decision: Decision, tree: Tree, open_to_choice: Callable[[BettingState], bool]
) -> list[Decision]:
    """The highest decisions that are open to choice, with the beliefs there."""
    found = []
    waiting = [(0, decision.ranges)]
    while waiting:
        node, ranges = waiting.pop()
        state = tree.subgame.states.get(node)
        if state is None or state.street != decision.state.street:
            continue
        if open_to_choice(state):
            found.append(Decision(decision.board, state, ranges))
            continue
        for place, chances in enumerate(tree.strategy(node).probabilities):
            after, _ = follow(ranges, state.player, chances)
            waiting.append((tree.child(node, place), after))
    return found
