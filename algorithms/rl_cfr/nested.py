"""A strategy for the full game of no-limit Leduc that solves again where a raise leaves its tree.

`full_game.translate` takes a raise outside the tree for one inside; here the player solves the
public state of the one who raised once more, with the real raise beside the abstraction's own and
the default raises below, and answers by that solution. Beliefs follow both by Bayes' rule. It is
what the player of rivers does (`resolving.py`), written out for every history.
"""

import numpy as np
from numpy.typing import NDArray

from tenfold.algorithms.rl_cfr.abstraction import Abstraction
from tenfold.algorithms.rl_cfr.full_game import Chosen, choose, every_raise, solve_chosen
from tenfold.algorithms.rl_cfr.growth import follow
from tenfold.algorithms.rl_cfr.leduc import (
    DECK,
    History,
    LeducWorld,
    actions,
    public_tree,
)
from tenfold.algorithms.rl_cfr.mdp import Decision, Solving, bet_tree, has_choice
from tenfold.algorithms.rl_cfr.solver import Solver
from tenfold.envs.poker.rules import BettingState, openspiel_action


def solve_nested(
    world: LeducWorld, abstraction: Abstraction, solving: Solving, variant: str, iterations: int
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
    """
    out: dict[History, NDArray[np.float64]] = {}

    def again(decision: Decision, real: int) -> Chosen:
        own = abstraction(decision) if has_choice(decision, solving) else []
        raises = bet_tree(decision, sorted({*own, real}), solving)
        moves: dict[History, list[int]] = {}

        def offered(history: History, state: BettingState) -> list[int]:
            found = list(raises(state)) if history else sorted({*own, real})
            moves[history] = actions(state, found)
            return found

        subgame, nodes = public_tree(decision, offered)
        solver = Solver(subgame.game, variant)
        solver.iterate(iterations)
        strategies = {at: solver.strategy(node) for at, node in nodes.items()}
        return Chosen(moves, strategies, len(subgame.game.tree.kind))

    def visit(done: History, decision: Decision, tree: Chosen, at: History) -> None:
        """`done` is the real history, `at` the same since the root of the tree."""
        state, offered = decision.state, tree.actions[at]
        moves = actions(state, every_raise(state))
        out[done] = np.zeros((len(moves), DECK))
        out[done][[moves.index(move) for move in offered]] = tree.strategies[at]
        for move in moves:
            after = state.apply(move)
            if after.over:
                continue
            inside = move in offered
            branch, there = (tree, at) if inside else (again(decision, move), ())
            law = branch.strategies[there][branch.actions[there].index(move)]
            ranges, _ = follow(decision.ranges, state.player, law)
            step = openspiel_action(move)
            for card, dealt in world.deals(Decision(decision.board, after, ranges)):
                visit((*done, step, *card), dealt, branch, (*there, step, *card))

    root = world.root(np.random.default_rng(0))
    tree = solve_chosen(world, choose(world, abstraction, solving), variant, iterations)
    visit((), root, tree, ())
    return out
