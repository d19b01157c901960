"""A strategy for the full game of no-limit Leduc that solves again where a raise leaves its tree.

`full_game.translate` takes a raise outside the tree for one inside; here the player solves again,
with the real raise, and answers by that solution. There are two ways:

- from the public state of the one who raised, with the real raise beside the abstraction's own and
  both ranges as believed. It is what the player of rivers does (`resolving.py`); it is safe only as
  far as the beliefs are right, for whoever raises so may hold anything.
- safely: from the answer on, below a gadget. The one who raised may hold any hand, and each hand
  may refuse, for what its best answer is worth in the tree that it left. So the answer is solved to
  leave no hand more than that (Burch et al. 2014; for raises outside a tree, Brown and Sandholm
  2017).

The raises at the root of a new tree are the abstraction's, those below it the default ones.
"""

import numpy as np
from numpy.typing import NDArray

from tenfold.algorithms.rl_cfr.abstraction import Abstraction
from tenfold.algorithms.rl_cfr.leduc.full_game import Chosen, choose, every_raise, solve_chosen
from tenfold.algorithms.rl_cfr.mdp import Decision, Solving, bet_tree, has_choice
from tenfold.algorithms.rl_cfr.play.growth import follow
from tenfold.algorithms.rl_cfr.solver.solver import Solver
from tenfold.algorithms.rl_cfr.worlds.leduc import (
    DECK,
    History,
    LeducWorld,
    actions,
    public_tree,
)
from tenfold.envs.poker.rules import CALL, BettingState, openspiel_action


def solve_nested(
    world: LeducWorld,
    abstraction: Abstraction,
    solving: Solving,
    variant: str,
    iterations: int,
    safe: bool = False,
) -> dict[History, NDArray[np.float64]]:
    """The strategy, by the histories of the full game.

    Args:
        world: The game.
        abstraction: Names the raises of the tree of the whole game (`choose`), and of the states
            that are solved again.
        solving: Of the solves that beliefs in `choose` come from; its default raises go below the
            states that are solved again.
        variant: Of CFR, for the trees that are played.
        iterations: Of it.
        safe: Which of the module's two ways.
    """
    out: dict[History, NDArray[np.float64]] = {}

    def again(
        decision: Decision, real: int | None, refused: NDArray[np.float64] | None = None
    ) -> tuple[Chosen, Solver]:
        """A tree whose root has the abstraction's raises and the real one."""
        own = abstraction(decision) if has_choice(decision, solving) else []
        first = sorted({*own, *([] if real is None else [real])})
        raises = bet_tree(decision, first, solving)
        moves: dict[History, list[int]] = {}

        def offered(history: History, state: BettingState) -> list[int]:
            found = list(raises(state)) if history else first
            moves[history] = actions(state, found)
            return found

        subgame, nodes = public_tree(decision, offered, refused)
        solver = Solver(subgame.game, variant)
        solver.iterate(iterations)
        strategies = {at: solver.strategy(node) for at, node in nodes.items()}
        return Chosen(moves, strategies, len(subgame.game.tree.kind)), solver

    def answer(decision: Decision, tree: Chosen, at: History, move: int) -> tuple[Chosen, Decision]:
        """The safe way after a raise outside the tree: a new tree from the answer on."""
        player = decision.state.player
        ranges = decision.ranges.copy()
        ranges[player] = 1.0
        ranges[:, list(decision.board)] = 0.0
        anything = Decision(decision.board, decision.state.apply(move), ranges)
        before = Decision(decision.board, decision.state, ranges)
        branch, solver = again(anything, None, worth(before, tree, at))
        after = ranges.copy()
        after[player] *= solver.strategy(0)[1]
        return branch, Decision(anything.board, anything.state, after)

    def visit(done: History, decision: Decision, tree: Chosen, at: History) -> None:
        """`done` is the real history, `at` the same since the root of the tree."""
        state, offered = decision.state, tree.actions[at]
        moves = actions(state, every_raise(state))
        out[done] = np.zeros((len(moves), DECK))
        out[done][[moves.index(move) for move in offered]] = tree.strategies[at]
        for move in moves:
            after, step = state.apply(move), openspiel_action(move)
            if after.over:
                continue
            if safe and move not in offered:
                branch, following = answer(decision, tree, at, move)
                visit((*done, step), following, branch, ())
                continue
            branch, there = tree, at
            if move not in offered:
                branch, there = again(decision, move)[0], ()
            chances = branch.strategies[there][branch.actions[there].index(move)]
            ranges, _ = follow(decision.ranges, state.player, chances)
            for card, dealt in world.deals(Decision(decision.board, after, ranges)):
                visit((*done, step, *card), dealt, branch, (*there, step, *card))

    root = world.root(np.random.default_rng(0))
    tree = solve_chosen(world, choose(world, abstraction, solving), variant, iterations)
    visit((), root, tree, ())
    return out


def worth(decision: Decision, tree: Chosen, at: History) -> NDArray[np.float64]:
    """(6,): chips a deal of the best answer of each hand of the player to act.

    Args:
        decision: Where it acts; the other's range is the one that it answers.
        tree: A solved tree that holds the decision.
        at: The decision's history there.
    """
    player = decision.state.player
    subgame, nodes = public_tree(
        decision,
        lambda history, state: [move for move in tree.actions[(*at, *history)] if move > CALL],
    )
    solver = Solver(subgame.game, "cfr")
    for history, node in nodes.items():
        solver.play(node, tree.strategies[(*at, *history)])
    others = decision.ranges[1 - player]
    met = others.sum() - others
    return np.where(met > 0, solver.values().answers[player] / np.where(met > 0, met, 1.0), 0.0)
