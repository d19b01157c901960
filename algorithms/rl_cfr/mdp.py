"""The MDP over public states: solve with a chosen abstraction, compare with the default, go on.

A state is a public belief state: the board, the betting and both ranges. An action is the list of
raises that the solver may use at this very decision; everywhere below it offers the default ones,
or those of `Solving.below`: with many sizes there, for the other's replies first of all, a value
says what the choice at this decision alone is worth. The reward is what the choice gains for the
player to act,

    r = [v(chosen) - v(default)] / pot,

v being that player's value in the solved subgame after equally many CFR iterations. Then the
average strategy moves, the mover's range follows by Bayes' rule, chance deals, until the hand ends.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tenfold.algorithms.rl_cfr.solver.game import Game
from tenfold.algorithms.rl_cfr.solver.together import CPU, solve_games
from tenfold.envs.poker.rules import BettingState
from tenfold.envs.poker.sizes import Menu

FORGOTTEN = 1e-3
"""A hand leaves a range when its weight falls below this share of the range's largest."""


@dataclass(frozen=True)
class Decision:
    """A public belief state in which somebody acts.

    Attributes:
        board: Cards that are out.
        state: The betting.
        ranges: (2, H) weights of both players' hands.
    """

    board: tuple[int, ...]
    state: BettingState
    ranges: NDArray[np.float64]


class World(Protocol):
    """A game whose public states the abstraction is learned on.

    Attributes:
        max_raises: Bets and raises of a street that a tree holds, unless a config says otherwise.
        deck: Number of cards.
        valued: Streets whose starts the value network values, where trees of the street before
            end; none where every tree goes to the end of the hand.
    """

    max_raises: int
    deck: int
    valued: tuple[int, ...]

    def root(self, rng: np.random.Generator) -> Decision:
        """Where an episode starts."""
        ...

    def subgame(
        self, decision: Decision, raises: Callable[[BettingState], Sequence[int]]
    ) -> "Rooted":
        """The subgame below a decision with the raises that a bet tree offers."""
        ...

    def weights(self, ranges: NDArray[np.float64]) -> NDArray[np.float64]:
        """(2, H): how likely each hand is dealt, up to a factor; see `spot.deals`."""
        ...

    def equities(self, decision: Decision) -> NDArray[np.float64]:
        """(2, H): chance to win against the other's range if nobody bets any more, ties half."""
        ...

    def deal(self, decision: Decision, rng: np.random.Generator) -> Decision:
        """The decision with the next card on the board if a street begins, else the same."""
        ...


@dataclass(frozen=True)
class Rooted:
    """A subgame below a decision.

    Attributes:
        game: What a `Solver` takes.
        actions: A actions at the root, in the order of its children.
        hands: The hands of the world that the game's hands are.
    """

    game: Game
    actions: list[int]
    hands: NDArray[np.int64]


@dataclass(frozen=True)
class Solving:
    """How subgames are solved.

    Attributes:
        default: The raises of the default abstraction.
        max_raises: Bets and raises of a street that trees hold, those before the root included.
        variant: Of CFR, see `VARIANTS`.
        iterations: Of CFR, the same for every abstraction.
        below: The raises of all decisions below the root; None takes the default.
    """

    default: Menu
    max_raises: int
    variant: str
    iterations: int
    below: Menu | None = None


@dataclass(frozen=True)
class Solved:
    """A solved decision.

    Attributes:
        value: Chips of the player to act, since the start of the rules.
        actions: A actions at the decision.
        strategy: (A, H) their average probabilities, 0 for hands in no range.
        hands: (2, H) counterfactual values of both players' hands, see `Values`.
        nodes: Size of the tree.
    """

    value: float
    actions: list[int]
    strategy: NDArray[np.float64]
    hands: NDArray[np.float64]
    nodes: int


def bet_tree(
    decision: Decision, raises: Sequence[int] | None, solving: Solving
) -> Callable[[BettingState], Sequence[int]]:
    """The raises of a tree: those given at the decision, those of `Solving.below` elsewhere.

    Args:
        decision: The root.
        raises: Those of the root; None takes the default there.
        solving: The default, what stands below, and how many raises a street may have.
    """
    below = solving.below or solving.default

    def offered(state: BettingState) -> Sequence[int]:
        if state.raised >= solving.max_raises:
            return []
        if state == decision.state:
            return solving.default.raises(state) if raises is None else raises
        return below.raises(state)

    return offered


def solve(
    world: World, decision: Decision, raises: Sequence[int] | None, solving: Solving
) -> Solved:
    """Solve the subgame below a decision, see `bet_tree`."""
    return solve_all(world, [(decision, raises)], solving)[0]


def solve_all(
    world: World,
    asked: Sequence[tuple[Decision, Sequence[int] | None]],
    solving: Solving,
    device: str = CPU,
) -> list[Solved]:
    """Solve the subgames below decisions with given raises, see `bet_tree` and `solve_games`."""
    subgames = [world.subgame(each[0], bet_tree(*each, solving)) for each in asked]
    games = [subgame.game for subgame in subgames]
    solutions = solve_games(games, solving.variant, solving.iterations, device)
    found = []
    for (decision, _), subgame, (average, values) in zip(asked, subgames, solutions, strict=True):
        strategy = np.zeros((len(subgame.actions), decision.ranges.shape[1]))
        hands = np.zeros_like(decision.ranges)
        strategy[:, subgame.hands], hands[:, subgame.hands] = average, values.hands
        value, nodes = values.players[decision.state.player], len(subgame.game.tree.kind)
        found.append(Solved(value, subgame.actions, strategy, hands, nodes))
    return found


def gain(decision: Decision, chosen: Solved, default: Solved) -> float:
    """The reward r of the module."""
    return (chosen.value - default.value) / decision.state.pot


def frequencies(world: World, decision: Decision, solved: Solved) -> NDArray[np.float64]:
    """(A,): how often the average strategy takes each action over all dealable hands."""
    weights = world.weights(decision.ranges)[decision.state.player]
    return solved.strategy @ weights / weights.sum()


def after(world: World, decision: Decision, solved: Solved, place: int) -> Decision | None:
    """What follows the action at `place`, before the next card; None where the hand has ended.

    An action that the strategy never takes says nothing about the hand.
    """
    player = decision.state.player
    state = decision.state.apply(solved.actions[place])
    if state.over:
        return None
    ranges = decision.ranges.copy()
    reach = ranges[player] * solved.strategy[place]
    reach[reach < FORGOTTEN * ranges[player].max()] = 0.0
    if reach.any():
        ranges[player] = reach / reach.max()
    if not world.weights(ranges).any():
        ranges = decision.ranges
    return Decision(decision.board, state, ranges)


def explore(
    world: World,
    decision: Decision,
    solved: Solved,
    epsilon: float,
    rng: np.random.Generator,
) -> Decision | None:
    """One transition: an action of the average strategy, with chance epsilon a uniform one.

    Returns:
        The next decision, or None where the hand has ended.
    """
    chances = frequencies(world, decision, solved)
    chances = (1.0 - epsilon) * chances / chances.sum() + epsilon / len(chances)
    following = after(world, decision, solved, int(rng.choice(len(chances), p=chances)))
    return None if following is None else world.deal(following, rng)


def has_choice(decision: Decision, solving: Solving) -> bool:
    """Whether anyone can raise here, so that an abstraction means something."""
    return decision.state.raises is not None and decision.state.raised < solving.max_raises


def follow_choices(
    world: World,
    decision: Decision | None,
    solving: Solving,
    epsilon: float,
    rng: np.random.Generator,
) -> Decision | None:
    """This decision, or the first later one, with a choice of raises; None if there is none."""
    while decision is not None and not has_choice(decision, solving):
        solved = solve(world, decision, None, solving)
        decision = explore(world, decision, solved, epsilon, rng)
    return decision
