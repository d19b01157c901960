"""River subgames of hold'em as a world of the abstraction MDP: exact, no value network needed."""

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tenfold.algorithms.rl_cfr import kernels
from tenfold.algorithms.rl_cfr.mdp import Decision, Rooted
from tenfold.algorithms.rl_cfr.subgame import Subgame
from tenfold.envs.poker.cards import HAND_COUNT, HANDS
from tenfold.envs.poker.rivers import RiverLaw
from tenfold.envs.poker.rules import BettingState
from tenfold.envs.poker.spot import Spot, deals
from tenfold.envs.poker.strength import board_order

_CARDS = HANDS.astype(np.int32)


class RiverWorld:
    """Random rivers; H = 1326. Trees hold a bet and a raise.

    Args:
        **law: Fields of `RiverLaw` that differ from its own.

    Raises:
        ValueError: There is no such field, or its value is bad.
    """

    max_raises: int = 2

    def __init__(self, **law: Any) -> None:
        known = [field.name for field in fields(RiverLaw)]
        for name in law:
            if name not in known:
                raise ValueError(
                    f"Task river_hunl has no field '{name}': choose one of {', '.join(known)}."
                )
        self.law = RiverLaw(**law)

    def root(self, rng: np.random.Generator) -> Decision:
        spot = self.law.sample(rng)
        return Decision(spot.board, self.law.decision(spot, rng), spot.ranges)

    def subgame(
        self, decision: Decision, raises: Callable[[BettingState], Sequence[int]]
    ) -> Rooted:
        spot = Spot(decision.board, decision.state.rules, decision.ranges)
        subgame = Subgame(spot, raises, root=decision.state)
        return Rooted(subgame.game, subgame.moves[0], subgame.hands)

    def weights(self, ranges: NDArray[np.float64]) -> NDArray[np.float64]:
        return deals(ranges)

    def equities(self, decision: Decision) -> NDArray[np.float64]:
        return river_equities(decision.board, decision.ranges)

    def deal(self, decision: Decision, rng: np.random.Generator) -> Decision:
        return decision


def river_equities(board: tuple[int, ...], ranges: NDArray[np.float64]) -> NDArray[np.float64]:
    """(2, 1326): chance of each hand to win on a full board, ties half; 1/2 against nothing."""
    order, groups = board_order(board)
    won, free = np.zeros((2, 2, HAND_COUNT))
    card_sum = np.zeros((2, kernels.DECK))
    for player in (0, 1):
        tables = ranges[1 - player], order, len(order), groups, len(groups) - 1, _CARDS
        kernels.showdown(won[player], *tables, 0.5, 0.5, card_sum)
        kernels.showdown(free[player], *tables, 1.0, 0.0, card_sum)
    return np.where(free > kernels.TINY, won / np.maximum(free, kernels.TINY), 0.5).clip(0.0, 1.0)
