"""Random decisions of heads-up hold'em on one street, wide enough to learn bet sizes on.

A third of them is the first player's, a third the second player's after a check, and a third
answers a bet of any size, as when an opponent leaves every tree that was solved before; or only
some of these places are drawn, as often as each other.

A board of random cards; the pot and the stack-to-pot ratio are log-uniform within the 200 big
blinds of the full game. Each player's range is what betting on earlier streets could leave: a shape
over the percentile of strength (before the river its mean over the cards to come), blurred because
those bets were made before the last card was seen; its hands are drawn by the shape and weighted at
random. The two shapes are independent, so that
polarised meets capped and wide meets narrow.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from tenfold.envs.poker.cards import CARDS, HAND_COUNT, live_hands
from tenfold.envs.poker.potential import potential
from tenfold.envs.poker.rules import CALL, HUNL, STREETS, BettingState, Rules, start
from tenfold.envs.poker.sizes import merge, pot_raise
from tenfold.envs.poker.spot import BOARD_CARDS, Spot, deals
from tenfold.envs.poker.strength import WEAKEST, board_ranks

Shape = Callable[[NDArray[np.float64], float, float], NDArray[np.float64]]
"""Weights of hands from their percentiles u in [0, 1], a place c in [0, 1] and a width s."""

SHAPES: dict[str, Shape] = {
    "wide": lambda u, c, s: np.ones_like(u),
    "strong": lambda u, c, s: expit((u - c) / s),
    "capped": lambda u, c, s: expit((c - u) / s),
    "condensed": lambda u, c, s: np.exp(-0.5 * ((u - c) / (2 * s)) ** 2),
    "polarised": lambda u, c, s: expit((u - 0.6 - 0.35 * c) / s) + c * expit((0.3 * c - u) / s),
}


PLACES = ("first", "check", "bet")
"""Of a decision on its street: the first player's, the second's after a check, after a bet."""


@dataclass(frozen=True)
class StreetStarts:
    """The distribution of the spots and of the decisions in them.

    Attributes:
        pots: Least and largest pot, in big blinds.
        ratios: Least and largest stack-to-pot ratio; stacks stop at what 200 big blinds leave.
        bets: Least and largest first bet, in pots; bets are legal ones all the same.
        blur: Standard deviation of the noise on percentiles.
        hands: About this many hands that a range keeps.
        street: 1 flop, 2 turn, 3 river.
        deck: Cards of the deck, the lowest ones of 52.
        places: Which of `PLACES` decisions are at, each as often as the others.
    """

    pots: tuple[float, float] = (4.0, 60.0)
    ratios: tuple[float, float] = (0.5, 12.0)
    bets: tuple[float, float] = (0.2, 2.0)
    blur: float = 0.12
    hands: int = 60
    street: int = STREETS.index("river")
    deck: int = CARDS
    places: tuple[str, ...] = PLACES

    def __post_init__(self) -> None:
        if not self.places or not set(self.places) <= set(PLACES):
            raise ValueError(
                f"Bad value {self.places} for 'places': give one or more of {', '.join(PLACES)}."
            )
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
        board = tuple(sorted(rng.permutation(self.deck)[: BOARD_CARDS[self.street]].tolist()))
        pot = 2 * round(blind * _log_uniform(rng, self.pots) / 2)
        stack = min(round(pot * _log_uniform(rng, self.ratios)), HUNL.depth - pot // 2)
        rules = Rules((stack, stack), big_blind=blind, street=self.street, pot=pot)
        while True:
            ranges = np.stack([self._range(board, rng) for _ in range(2)])
            if deals(ranges).any():
                return Spot(board, rules, ranges, self.deck)

    def decision(self, spot: Spot, rng: np.random.Generator) -> BettingState:
        """A decision of the spot's street at one of the places."""
        state = start(spot.rules)
        place = self.places[rng.integers(len(self.places))]
        if place == "first":
            return state
        if place == "check":
            return state.apply(CALL)
        target = pot_raise(state, _log_uniform(rng, self.bets))
        return state.apply(merge(state, [target], all_in=False)[0])

    def _range(self, board: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float64]:
        """(1326,) weights in [0, 1]."""
        ranks, live = self._strengths(board), np.flatnonzero(live_hands(board, self.deck))
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

    def _strengths(self, board: tuple[int, ...]) -> NDArray[np.number]:
        """(1326,) by which hands are ordered, those that differ by less than 1 being equal."""
        if len(board) == BOARD_CARDS[3]:
            return board_ranks(board, self.deck)
        return WEAKEST * potential(board, self.deck).mean


def _log_uniform(rng: np.random.Generator, bounds: tuple[float, float]) -> float:
    return float(np.exp(rng.uniform(*np.log(bounds))))


@dataclass(frozen=True)
class ShortFlopStarts:
    """Flops of a short deck, where both players have put in a twentieth and may hold anything.

    Attributes:
        deck: Cards of the deck, the lowest ones of 52; hands rank as in the full deck.
        stack: Chips of each player when the hand began; the big blind is 2.
    """

    deck: int = 24
    stack: int = 100
    street: ClassVar[int] = STREETS.index("flop")

    def __post_init__(self) -> None:
        if not isinstance(self.deck, int) or self.deck not in range(12, CARDS + 1, 4):
            raise ValueError(
                f"Bad value {self.deck!r} for 'deck': give a multiple of 4 from 12 to {CARDS}."
            )
        if not isinstance(self.stack, int) or self.stack < 20:
            raise ValueError(
                f"Bad value {self.stack!r} for 'stack': give a whole number of at least 20 chips."
            )

    def sample(self, rng: np.random.Generator) -> Spot:
        """A random flop."""
        board = tuple(sorted(rng.permutation(self.deck)[: BOARD_CARDS[self.street]].tolist()))
        paid = self.stack // 20
        left = self.stack - paid
        rules = Rules((left, left), big_blind=2, street=self.street, pot=2 * paid)
        return Spot(board, rules, _anything(board, self.deck), self.deck)

    def decision(self, spot: Spot, rng: np.random.Generator) -> BettingState:
        """The first of the flop."""
        return start(spot.rules)


@dataclass(frozen=True)
class FullGameStarts:
    """Whole hands of heads-up no-limit hold'em, 200 big blinds deep."""

    street: ClassVar[int] = STREETS.index("preflop")
    deck: ClassVar[int] = CARDS

    def sample(self, rng: np.random.Generator) -> Spot:
        """The start of the game."""
        return Spot((), HUNL, _anything((), self.deck), self.deck)

    def decision(self, spot: Spot, rng: np.random.Generator) -> BettingState:
        """The dealer's first."""
        return start(spot.rules)


def _anything(board: tuple[int, ...], deck: int) -> NDArray[np.float64]:
    """(2, 1326): both players may hold any hand."""
    return np.tile(live_hands(board, deck).astype(float), (2, 1))
