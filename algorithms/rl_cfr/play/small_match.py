"""Duplicate deals on small games of OpenSpiel: its states are the rules, policies the players."""

from collections.abc import Sequence
from itertools import accumulate

import numpy as np
import pyspiel
from numpy.typing import NDArray
from open_spiel.python.algorithms.expected_game_score import policy_value
from open_spiel.python.policy import Policy

CALL = 1
"""Check or call, by the number of OpenSpiel's poker games."""


class CheckCall(Policy):
    """Never bets and never folds."""

    def __init__(self, game: "pyspiel.Game") -> None:
        super().__init__(game, [0, 1])

    def action_probabilities(
        self, state: "pyspiel.State", player_id: int | None = None
    ) -> dict[int, float]:
        """Legal action -> probability."""
        return {action: float(action == CALL) for action in state.legal_actions()}


def play_small(
    game: "pyspiel.Game",
    policies: Sequence[Policy],
    luck: Sequence[float],
    rng: np.random.Generator,
) -> list[float]:
    """Returns of both players after one hand.

    Args:
        game: Two players.
        policies: Of player 0 and player 1.
        luck: The k-th chance event takes the outcome at this quantile, the k-th of [0, 1).
        rng: Draws the actions.
    """
    state, events = game.new_initial_state(), iter(luck)
    while not state.is_terminal():
        if state.is_chance_node():
            state.apply_action(_at_quantile(dict(state.chance_outcomes()), next(events)))
        else:
            policy = policies[state.current_player()]
            state.apply_action(_at_quantile(policy.action_probabilities(state), rng.random()))
    returns: list[float] = state.returns()
    return returns


def duplicate_small(
    game: "pyspiel.Game", policies: Sequence[Policy], deals: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """What the first policy wins a hand in each deal, played from both seats: (deals,)."""
    first, second = policies
    won = np.empty(deals)
    for deal, luck in enumerate(rng.random((deals, game.max_chance_nodes_in_history()))):
        ahead = play_small(game, (first, second), luck, rng)[0]
        behind = play_small(game, (second, first), luck, rng)[1]
        won[deal] = (ahead + behind) / 2
    return won


def expected_small(game: "pyspiel.Game", policies: Sequence[Policy]) -> float:
    """The exact mean of `duplicate_small`, by OpenSpiel's walk over the whole game."""
    first, second = policies
    ahead = policy_value(game.new_initial_state(), [first, second])[0]
    behind = policy_value(game.new_initial_state(), [second, first])[1]
    return float(ahead + behind) / 2


def _at_quantile(chances: dict[int, float], quantile: float) -> int:
    """The outcome at a quantile of a distribution over outcomes."""
    outcomes, sums = list(chances), list(accumulate(chances.values()))
    place = int(np.searchsorted(sums, quantile * sums[-1], side="right"))
    return outcomes[place]
