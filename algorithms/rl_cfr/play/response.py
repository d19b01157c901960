"""How much a river policy can lose: the best response to it that may use sizes it never solved for.

The policy is asked after every public history that the response can bring about, so its answers to
bets outside its trees count as it really gives them.
"""

import numpy as np

from tenfold.algorithms.rl_cfr.play.policies import HandStrategy, History, Policy
from tenfold.algorithms.rl_cfr.solver.solver import Solver
from tenfold.algorithms.rl_cfr.solver.subgame import Subgame
from tenfold.envs.poker.rules import CALL, BettingState
from tenfold.envs.poker.sizes import Menu
from tenfold.envs.poker.spot import BOARD_CARDS, Spot


def best_response(spot: Spot, policy: Policy, seat: int, menu: Menu, max_raises: int) -> float:
    """Expected chips of the best response in one seat to a policy in the other, exact.

    Args:
        spot: A river.
        policy: The other player.
        seat: Of the response.
        menu: The response's raises.
        max_raises: The response bets or raises only if the street has fewer so far; at most 2, for
            then the betting tells the history.

    Raises:
        ValueError: The spot is no river, or more raises are asked for.
    """
    if len(spot.board) < BOARD_CARDS[3] or max_raises > 2:
        raise ValueError("Best responses need a river and at most 2 raises.")
    first = History.of(spot)
    histories = {first.state: first}
    strategies: dict[BettingState, HandStrategy] = {}

    def raises(state: BettingState) -> list[int]:
        if state.player == seat:
            found = menu.raises(state) if state.raised < max_raises else []
        else:
            strategies[state] = policy(histories[state])
            found = [action for action in strategies[state].actions if action > CALL]
        for action in (CALL, *found):
            after = histories[state].apply(action)
            histories[after.state] = after
        return found

    subgame = Subgame(spot, raises, dtype=np.float64)
    solver = Solver(subgame.game, "cfr")
    for node, state in subgame.states.items():
        if state.player != seat:
            chances = np.stack([strategies[state].of(move) for move in subgame.moves[node]])
            solver.play(node, chances[:, subgame.hands])
    return solver.values().best[seat]


def exploitability(spot: Spot, policy: Policy, menu: Menu, max_raises: int) -> float:
    """Mean gain in chips of the best responses in both seats, see `best_response`."""
    best = [best_response(spot, policy, seat, menu, max_raises) for seat in (0, 1)]
    return (sum(best) - spot.rules.pot) / 2
