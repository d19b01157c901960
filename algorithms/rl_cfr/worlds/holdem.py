"""Hold'em from some street on as a world of the abstraction MDP.

Rivers are solved to the end of the hand. On earlier streets a tree ends with the betting round, and
the value network of the next street values its leaves, unless a turn's tree enumerates the rivers;
the hand then goes on to a card, dealt as likely as both ranges make it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tenfold.algorithms.rl_cfr.learning.value_network import ValueNetwork
from tenfold.algorithms.rl_cfr.mdp import Decision, Rooted
from tenfold.algorithms.rl_cfr.solver import kernels
from tenfold.algorithms.rl_cfr.solver.subgame import Leaf, Subgame, all_in_signs
from tenfold.algorithms.rl_cfr.solver.terminals import showdown_values
from tenfold.algorithms.rl_cfr.worlds.leaves import network_leaves
from tenfold.envs.poker.cards import HAND_COUNT, HANDS, live_hands
from tenfold.envs.poker.rules import STREETS, BettingState, start
from tenfold.envs.poker.spot import BOARD_CARDS, Spot, dealable, deals
from tenfold.envs.poker.starts import StreetStarts
from tenfold.envs.poker.strength import board_order

FLOP, TURN, RIVER = (STREETS.index(name) for name in ("flop", "turn", "river"))

FLOOR = 1e-3
"""In random subgames a player holds the other's hands as well, with this share of their weight."""

_CARDS = HANDS.astype(np.int32)


class Starts(Protocol):
    """How an episode starts."""

    @property
    def street(self) -> int: ...

    @property
    def deck(self) -> int: ...

    def sample(self, rng: np.random.Generator) -> Spot: ...

    def decision(self, spot: Spot, rng: np.random.Generator) -> BettingState: ...


class HoldemWorld:
    """Hold'em; H = 1326. Trees hold a bet and a raise a street.

    Args:
        starts: Where hands start.
        networks: Street -> value network, for each of `valued`; without them only rivers are
            solved.
        enumerate_rivers: Trees hold all cards to come to the end of the hand, and no network is
            asked. It is meant for turns.

    Attributes:
        deck: Cards of the deck, the lowest ones of 52.
        valued: Streets after the first one: trees of the street before end at their starts.
        leaf: What values those ends; None if trees hold all rivers.
    """

    max_raises: int = 2

    def __init__(
        self,
        starts: Starts,
        networks: Mapping[int, ValueNetwork] | None = None,
        enumerate_rivers: bool = False,
    ) -> None:
        self.starts, self.deck = starts, starts.deck
        self.valued = () if enumerate_rivers else tuple(range(starts.street + 1, RIVER + 1))
        self.leaf: Leaf | None = None if enumerate_rivers else network_leaves(networks or {})

    def root(self, rng: np.random.Generator) -> Decision:
        spot = self.starts.sample(rng)
        return Decision(spot.board, self.starts.decision(spot, rng), spot.ranges)

    def subgame(
        self, decision: Decision, raises: Callable[[BettingState], Sequence[int]]
    ) -> Rooted:
        board, state = decision.board, decision.state
        spot = Spot(board, state.rules, decision.ranges, self.deck)
        # What hands would be worth that a player cannot hold, value networks alone ask.
        own_hands = not self.valued
        subgame = Subgame(spot, raises, root=state, leaf=self.leaf, own_hands=own_hands)
        return Rooted(subgame.game, subgame.moves[0], subgame.hands)

    def weights(self, ranges: NDArray[np.float64]) -> NDArray[np.float64]:
        return deals(ranges)

    def equities(self, decision: Decision) -> NDArray[np.float64]:
        if decision.state.street == RIVER:
            return river_equities(decision.board, decision.ranges, self.deck)
        live = live_hands(decision.board, self.deck) & decision.ranges.any(axis=0)
        hands = np.flatnonzero(live)
        signs = all_in_signs(tuple(sorted(decision.board)), tuple(hands.tolist()), self.deck)
        won = np.zeros((2, HAND_COUNT))
        won[:, hands] = decision.ranges[::-1, hands] @ signs.T
        free = dealable(decision.ranges)[::-1]
        return np.where(free > kernels.TINY, 0.5 + 0.5 * won / np.maximum(free, kernels.TINY), 0.5)

    def deal(self, decision: Decision, rng: np.random.Generator) -> Decision:
        state, board = decision.state, decision.board
        missing = BOARD_CARDS[state.street] - len(board)
        if not missing:
            return decision
        # The cards are dealt after a pair of hands, drawn by the ranges.
        own = deals(decision.ranges)[0]
        first = int(rng.choice(HAND_COUNT, p=own / own.sum()))
        other = decision.ranges[1] * live_hands(HANDS[first])
        second = int(rng.choice(HAND_COUNT, p=other / other.sum()))
        seen = [*board, *HANDS[first], *HANDS[second]]
        left = np.setdiff1d(np.arange(self.deck), seen)
        cards = rng.choice(left, missing, replace=False).tolist()
        after = (*board, *cards)
        return Decision(after, state, decision.ranges * live_hands(after))


def situation(street: int, deck: int, rng: np.random.Generator) -> Decision:
    """The start of a random subgame on a street, to learn values from.

    Pots and stacks reach further than those of `StreetStarts`'s decisions, as far as betting on the
    streets before can lead.
    """
    starts = StreetStarts(street=street, deck=deck, pots=(2.0, 200.0), ratios=(0.05, 15.0))
    spot = starts.sample(rng)
    return Decision(spot.board, start(spot.rules), spot.ranges + FLOOR * spot.ranges[::-1])


def river_equities(
    board: tuple[int, ...], ranges: NDArray[np.float64], deck: int
) -> NDArray[np.float64]:
    """(2, 1326): chance of each hand to win on a full board, ties half; 1/2 against nothing."""
    others = ranges[[1, 0, 1, 0]]
    terms = (0.5, 0.5, 1.0, 1.0), (0.5, 0.5, 0.0, 0.0)
    found = showdown_values(board_order(board, deck), _CARDS, others, *terms)
    won, free = found[:2], found[2:]
    return np.where(free > kernels.TINY, won / np.maximum(free, kernels.TINY), 0.5).clip(0.0, 1.0)
