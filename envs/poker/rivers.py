"""Random river decisions of heads-up hold'em, wide enough to learn bet sizes on.

A third of them is the first player's, a third the second player's after a check, and a third
answers a bet of any size, as when an opponent leaves every tree that was solved before.

A board of five random cards; the pot and the stack-to-pot ratio are log-uniform within the 200 big
blinds of the full game. Each player's range is what betting on earlier streets could leave: a shape
over the percentile of strength, blurred because those bets were made before the river was seen; its
hands are drawn by the shape and weighted at random. The two shapes are independent, so that
polarised meets capped and wide meets narrow.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from tenfold.envs.poker.cards import CARDS, HAND_COUNT, live_hands
from tenfold.envs.poker.rules import CALL, HUNL, STREETS, BettingState, Rules, start
from tenfold.envs.poker.sizes import merge, pot_raise
from tenfold.envs.poker.spot import BOARD_CARDS, Spot, deals
from tenfold.envs.poker.strength import board_ranks

Shape = Callable[[NDArray[np.float64], float, float], NDArray[np.float64]]
"""Weights of hands from their percentiles u in [0, 1], a place c in [0, 1] and a width s."""

SHAPES: dict[str, Shape] = {
    "wide": lambda u, c, s: np.ones_like(u),
    "strong": lambda u, c, s: expit((u - c) / s),
    "capped": lambda u, c, s: expit((c - u) / s),
    "condensed": lambda u, c, s: np.exp(-0.5 * ((u - c) / (2 * s)) ** 2),
    "polarised": lambda u, c, s: expit((u - 0.6 - 0.35 * c) / s) + c * expit((0.3 * c - u) / s),
}


@dataclass(frozen=True)
class RiverLaw:
    """The law of the spots and of the decisions in them.

    Attributes:
        pots: Least and largest pot, in big blinds.
        ratios: Least and largest stack-to-pot ratio; stacks stop at what 200 big blinds leave.
        bets: Least and largest first bet, in pots; bets are legal ones all the same.
        blur: Standard deviation of the noise on percentiles.
        hands: About this many hands that a range keeps.
    """

    pots: tuple[float, float] = (4.0, 60.0)
    ratios: tuple[float, float] = (0.5, 12.0)
    bets: tuple[float, float] = (0.2, 2.0)
    blur: float = 0.12
    hands: int = 60

    def __post_init__(self) -> None:
        for name in ("pots", "ratios", "bets"):
            bounds = getattr(self, name)
            if len(bounds) != 2 or not 0 < bounds[0] <= bounds[1] < math.inf:
                raise ValueError(
                    f"Bad value {bounds} for '{name}': give two numbers above 0, the least first."
                )
        if not 0 <= self.blur < math.inf:
            raise ValueError(f"Bad value {self.blur} for 'blur': give 0 or more.")
        if not isinstance(self.hands, int) or self.hands < 1:
            raise ValueError(
                f"Bad value {self.hands} for 'hands': give a whole number of at least 1."
            )

    def sample(self, rng: np.random.Generator) -> Spot:
        """One spot; both players have the same stack, as in the full game."""
        blind = HUNL.big_blind
        board = tuple(sorted(rng.permutation(CARDS)[: BOARD_CARDS[3]].tolist()))
        pot = 2 * round(blind * _log_uniform(rng, self.pots) / 2)
        stack = min(round(pot * _log_uniform(rng, self.ratios)), HUNL.depth - pot // 2)
        rules = Rules((stack, stack), big_blind=blind, street=STREETS.index("river"), pot=pot)
        while True:
            ranges = np.stack([self._range(board, rng) for _ in range(2)])
            if deals(ranges).any():
                return Spot(board, rules, ranges)

    def decision(self, spot: Spot, rng: np.random.Generator) -> BettingState:
        """A decision of the spot's street: the first, one after a check, or one after a bet."""
        state = start(spot.rules)
        kind = rng.integers(3)
        if kind == 0:
            return state
        if kind == 1:
            return state.apply(CALL)
        target = pot_raise(state, _log_uniform(rng, self.bets))
        return state.apply(merge(state, [target], all_in=False)[0])

    def _range(self, board: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float64]:
        """(1326,) weights in [0, 1]."""
        ranks, live = board_ranks(board), np.flatnonzero(live_hands(board))
        order = np.argsort(ranks[live] + rng.random(len(live)))  # ties in random order
        percentiles = np.empty(len(live))
        percentiles[order] = (np.arange(len(live)) + 0.5) / len(live)
        percentiles += self.blur * rng.standard_normal(len(live))
        shape = SHAPES[list(SHAPES)[rng.integers(len(SHAPES))]]
        weights = shape(percentiles, rng.random(), 0.02 + 0.1 * rng.random())
        kept = live[rng.random(len(live)) * weights.sum() < self.hands * weights]
        out = np.zeros(HAND_COUNT)
        out[kept] = rng.uniform(0.25, 1.0, len(kept))
        return out


def _log_uniform(rng: np.random.Generator, bounds: tuple[float, float]) -> float:
    return float(np.exp(rng.uniform(*np.log(bounds))))
