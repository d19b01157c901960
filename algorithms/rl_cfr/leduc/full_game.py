"""What an abstraction is worth in the full game of no-limit Leduc, where every raise is allowed.

1. `choose`: the abstraction names the raises at every public state that its own raises reach, from
   the root on; the ranges there come from subgames solved on the way (chosen raises at their root,
   default ones below).
2. `solve_chosen`: CFR on that whole tree.
3. `translate`: a strategy for the full game. A raise that the tree has not got is taken for one of
   its neighbours A < x < B (in pots) by the pseudo-harmonic mapping of Ganzfried and Sandholm
   (2013), in its deterministic form: for A where (B - x)(1 + A) / ((B - A)(1 + x)) is at least 1/2.
   Own raises keep their share of the pot. Once the tree takes the hand for all-in and the real one
   is not, the player checks and calls.
4. `exploitability` of it, exact, against answers with every raise.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyspiel
from numpy.typing import NDArray
from open_spiel.python.policy import Policy

from tenfold.algorithms.rl_cfr.abstraction import Abstraction
from tenfold.algorithms.rl_cfr.mdp import Decision, Solving, after, has_choice, solve
from tenfold.algorithms.rl_cfr.solver.solver import Solver, Values
from tenfold.algorithms.rl_cfr.worlds.leduc import (
    DECK,
    History,
    LeducWorld,
    actions,
    game_string,
    public_tree,
)
from tenfold.envs.poker.rules import CALL, FOLD, BettingState, openspiel_action
from tenfold.envs.poker.sizes import pot_raise

Strategies = Mapping[History, NDArray[np.floating]]
"""(A, 6) probabilities by history; the actions are fold where there is a bet, call, the raises."""


class Chosen(NamedTuple):
    """A solved tree of an abstraction.

    Attributes:
        actions: By history.
        strategies: By history.
        nodes: Size of the tree.
    """

    actions: Mapping[History, list[int]]
    strategies: Strategies
    nodes: int


def choose(
    world: LeducWorld, abstraction: Abstraction, solving: Solving
) -> dict[History, list[int]]:
    """The raises at every public state of the abstraction's tree, by history."""
    chosen: dict[History, list[int]] = {}

    def visit(history: History, decision: Decision) -> None:
        raises = abstraction(decision) if has_choice(decision, solving) else []
        chosen[history] = raises
        solved = solve(world, decision, raises, solving)
        for place, move in enumerate(solved.actions):
            following = after(world, decision, solved, place)
            if following is None:
                continue
            done = (*history, openspiel_action(move))
            for card, dealt in world.deals(following):
                visit((*done, *card), dealt)

    visit((), world.root(np.random.default_rng(0)))
    return chosen


def solve_chosen(
    world: LeducWorld, chosen: Mapping[History, list[int]], variant: str, iterations: int
) -> Chosen:
    """CFR on the tree of chosen raises."""
    root = world.root(np.random.default_rng(0))
    states: dict[History, BettingState] = {}

    def raises(history: History, state: BettingState) -> list[int]:
        states[history] = state
        return chosen[history]

    subgame, nodes = public_tree(root, raises)
    solver = Solver(subgame.game, variant)
    solver.iterate(iterations)
    return Chosen(
        actions={history: actions(states[history], chosen[history]) for history in nodes},
        strategies={history: solver.strategy(node) for history, node in nodes.items()},
        nodes=len(subgame.game.tree.kind),
    )


def translate(world: LeducWorld, tree: Chosen) -> dict[History, NDArray[np.float64]]:
    """The strategy for the full game, by its histories."""
    out: dict[History, NDArray[np.float64]] = {}

    def visit(
        history: History, cards: int, state: BettingState, seen: History, believed: BettingState
    ) -> None:
        """`seen` and `believed` are what the tree takes the real history and betting for."""
        moves = actions(state, every_raise(state))
        out[history] = strategy = np.zeros((len(moves), DECK))
        if believed.over:
            strategy[moves.index(CALL)] = 1.0
        else:
            for move, row in zip(tree.actions[seen], tree.strategies[seen], strict=True):
                strategy[moves.index(played(move, believed, state))] += row
        for move in moves:
            real = state.apply(move)
            if real.over:
                continue
            done, taken, belief = (*history, openspiel_action(move)), seen, believed
            if not believed.over:
                meant = understood(move, state, believed, tree.actions[seen])
                taken, belief = (*seen, openspiel_action(meant)), believed.apply(meant)
            if real.street == cards:
                visit(done, cards, real, taken, belief)
                continue
            for card in range(DECK):
                visit((*done, card), cards + 1, real, (*taken, card), belief)

    start = world.root(np.random.default_rng(0)).state
    visit((), 0, start, (), start)
    return out


def search(
    world: LeducWorld, abstraction: Abstraction, solving: Solving, variant: str, iterations: int
) -> dict[History, NDArray[np.float64]]:
    """The strategy for the full game by all steps of the module; arguments as of `solve_nested`."""
    tree = solve_chosen(world, choose(world, abstraction, solving), variant, iterations)
    return translate(world, tree)


def every_raise(state: BettingState) -> Sequence[int]:
    """All legal raises."""
    return range(state.raises[0], state.raises[1] + 1) if state.raises else ()


def fraction(state: BettingState, target: int) -> float:
    """A raise in pots, after the call."""
    return (target - max(state.committed)) / (state.pot + state.to_call)


def played(move: int, believed: BettingState, state: BettingState) -> int:
    """The real action for one of the tree: the same share of the pot, all-in for all-in."""
    if move in (FOLD, CALL):
        return move
    if state.raises is None:
        return CALL
    low, high = state.raises
    if move == believed.rules.depth:
        return high
    return min(max(pot_raise(state, fraction(believed, move)), low), high)


def understood(
    move: int, state: BettingState, believed: BettingState, offered: Sequence[int]
) -> int:
    """The tree's action that a real one is taken for, see the module."""
    raises = [each for each in offered if each > CALL]
    if move in (FOLD, CALL):
        return move
    if not raises:
        return CALL
    if move == state.rules.depth:
        return raises[-1]
    x = fraction(state, move)
    sizes = [fraction(believed, each) for each in raises]
    above = int(np.searchsorted(sizes, x))
    if above in (0, len(raises)):
        return raises[min(above, len(raises) - 1)]
    A, B = sizes[above - 1], sizes[above]
    return raises[above - ((B - x) * (1.0 + A) >= 0.5 * (B - A) * (1.0 + x))]


def exploitability(world: LeducWorld, strategies: Strategies) -> float:
    """Mean gain of the two best answers in the full game, in chips a hand."""
    return _evaluate(world, strategies, strategies).exploitability


def expected_win(world: LeducWorld, first: Strategies, second: Strategies) -> float:
    """What the first strategy wins from the second, in chips a hand, in either seat as often."""
    ahead = _evaluate(world, first, second).players[0]
    behind = _evaluate(world, second, first).players[1]
    return (ahead + behind) / 2


def _evaluate(world: LeducWorld, *seats: Strategies) -> Values:
    """The full game with the strategy of player 0 and that of player 1, exact."""
    root = world.root(np.random.default_rng(0))
    subgame, nodes = public_tree(root, lambda history, state: every_raise(state))
    solver, tree = Solver(subgame.game, "cfr"), subgame.game.tree
    for history, node in nodes.items():
        solver.play(node, seats[tree.player[node]][history])
    return solver.values()


class FullGamePolicy(Policy):
    """Strategies for the full game as a policy of OpenSpiel's game."""

    def __init__(self, world: LeducWorld, strategies: Strategies) -> None:
        super().__init__(pyspiel.load_game(game_string(world.rules.depth)), [0, 1])
        self._strategies = strategies

    def action_probabilities(
        self, state: "pyspiel.State", player_id: int | None = None
    ) -> dict[int, float]:
        """Legal action -> probability."""
        player = state.current_player() if player_id is None else player_id
        history = state.history()
        strategy = self._strategies[tuple(history[2:])][:, history[player]]
        return dict(zip(state.legal_actions(), strategy.tolist(), strict=True))
