"""Two policies against each other on a spot: hands played with duplicate deals, and the exact mean.

Cards and seats are luck that has nothing to do with the policies. A duplicate deal plays the same
cards twice with the seats swapped. The exact mean goes further: both policies answer for all hands
at once, so one walk over the public histories gives the expectation over all deals and all actions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from tenfold.algorithms.rl_cfr.play.policies import History, Policy
from tenfold.algorithms.rl_cfr.solver.subgame import all_in_signs
from tenfold.envs.poker.cards import CARDS, HAND_COUNT, HANDS, live_hands
from tenfold.envs.poker.spot import BOARD_CARDS, Spot, deals
from tenfold.envs.poker.strength import board_ranks


@dataclass(frozen=True)
class Deal:
    """The cards of a hand.

    Attributes:
        hands: Both players' private hands.
        cards: Cards that come on the board after the spot's.
    """

    hands: tuple[int, int]
    cards: tuple[int, ...]


def deal(spot: Spot, count: int, rng: np.random.Generator) -> list[Deal]:
    """Cards of some hands: private ones by the ranges, given that they share none, then a board."""
    weights = deals(spot.ranges)[0]
    firsts = rng.choice(HAND_COUNT, size=count, p=weights / weights.sum())
    return [_deal_beside(spot, int(first), rng) for first in firsts]


def deal_on_rivers(
    spot: Spot, rivers: Sequence[int], count: int, rng: np.random.Generator
) -> list[Deal]:
    """Cards of some hands from a turn on, which has only the given rivers, in turns."""
    dealt = []
    for place, river in enumerate(rivers):
        after = Spot((*spot.board, river), spot.rules, spot.ranges * live_hands([river]))
        share = len(range(place, count, len(rivers)))
        dealt += [Deal(each.hands, (river,)) for each in deal(after, share, rng)]
    return dealt


def _deal_beside(spot: Spot, first: int, rng: np.random.Generator) -> Deal:
    """The rest of a deal in which player 0 holds `first`."""
    weights = spot.ranges[1] * live_hands(HANDS[first])
    second = int(rng.choice(HAND_COUNT, p=weights / weights.sum()))
    dead = {*spot.board, *HANDS[first].tolist(), *HANDS[second].tolist()}
    left = [card for card in range(CARDS) if card not in dead]
    missing = BOARD_CARDS[3] - len(spot.board)
    return Deal((first, second), tuple(rng.permutation(left)[:missing].tolist()))


def play(spot: Spot, policies: Sequence[Policy], cards: Deal, rng: np.random.Generator) -> History:
    """Play one hand to its end.

    Args:
        spot: Where it starts.
        policies: Of player 0 and player 1; they see only the public history.
        cards: What is dealt.
        rng: Draws the actions.
    """
    history = History.of(spot)
    while not history.state.over:
        if history.chance:
            history = history.deal(cards.cards[len(history.board) - len(spot.board)])
            continue
        player = history.state.player
        actions, probabilities = policies[player](history)
        chances = np.cumsum(probabilities[:, cards.hands[player]])
        place = int(np.searchsorted(chances, rng.random() * chances[-1], side="right"))
        history = history.apply(actions[place])
    return history


def payoffs(spot: Spot, history: History, cards: Deal) -> tuple[float, float]:
    """Both players' chips won since the spot once a hand is over; they sum to its pot."""
    if history.state.folded is not None:
        return history.state.payoffs()
    ranks = board_ranks((*spot.board, *cards.cards))[list(cards.hands)]
    return history.state.payoffs(None if ranks[0] == ranks[1] else int(ranks[1] > ranks[0]))


def duplicate(
    spot: Spot, policies: Sequence[Policy], cards: Deal, rng: np.random.Generator
) -> float:
    """Chips a hand that the first policy wins from the second in a deal played from both seats."""
    first, second = policies
    ahead, _ = payoffs(spot, play(spot, (first, second), cards, rng), cards)
    _, behind = payoffs(spot, play(spot, (second, first), cards, rng), cards)
    return (ahead + behind - spot.rules.pot) / 2


def expected_payoffs(spot: Spot, policies: Sequence[Policy]) -> tuple[float, float]:
    """The exact mean of `payoffs` over all deals and actions.

    Every public history that the policies reach is asked for, on a turn with every river: policies
    that search need long for that.
    """
    half = spot.rules.pot / 2
    ahead = _ahead(spot, policies, None)
    return half + ahead, half - ahead


def expected_gain(
    spot: Spot, policies: Sequence[Policy], rivers: Sequence[int] | None = None
) -> float:
    """The exact mean of `duplicate`: chips a hand, both seats taken equally often.

    Args:
        spot: Where hands start.
        policies: The one that gains, and the other.
        rivers: Cards of a turn that stand for all. If they were drawn as `deal` does, the result is
            an unbiased estimate, free of the luck of hands and actions; both seats meet the same
            ones, so that equal policies still get exactly 0. None takes every card.
    """
    first, second = policies
    ahead, behind = _ahead(spot, (first, second), rivers), _ahead(spot, (second, first), rivers)
    return (ahead - behind) / 2


def _ahead(spot: Spot, policies: Sequence[Policy], rivers: Sequence[int] | None) -> float:
    """Mean chips of player 0 beyond half of the spot's pot."""
    mass, weights = deals(spot.ranges)[0].sum(), None
    if rivers is not None:
        weights = dict.fromkeys(rivers, 0.0)
        for river in rivers:
            left = deals(spot.ranges * live_hands([river]))[0].sum()
            weights[river] += mass / (left * len(rivers))
    return float(_walk(spot, policies, History.of(spot), spot.ranges, weights) / mass)


def _walk(
    spot: Spot,
    policies: Sequence[Policy],
    history: History,
    reach: NDArray[np.float64],
    weights: Mapping[int, float] | None,
) -> float:
    """What `_ahead` averages, summed over the (2, 1326) reaches of both players after a history.

    `weights` are those of the cards that may come; None gives all of them their chance, given both
    hands.
    """
    state = history.state
    mass = deals(reach)[0].sum()
    if not mass > 0:
        return 0.0
    if state.over:
        total = mass * (state.payoffs()[0] - spot.rules.pot / 2)
        if state.folded is None:
            hands = np.flatnonzero(spot.ranges.any(axis=0))
            signs = all_in_signs(tuple(sorted(history.board)), tuple(hands.tolist()))
            won = reach[0, hands] @ (signs @ reach[1, hands].astype(np.float32))
            total += state.pot / 2 * won
        return float(total)
    if history.chance:
        if weights is None:
            left = [card for card in range(CARDS) if card not in history.board]
            cards = dict.fromkeys(left, 1.0 / (len(left) - 4))
        else:
            cards = dict(weights)
        return sum(
            weight * _walk(spot, policies, history.deal(card), reach * live_hands([card]), weights)
            for card, weight in cards.items()
        )
    actions, probabilities = policies[state.player](history)
    total = 0.0
    for action, chances in zip(actions, probabilities, strict=True):
        after = reach.copy()
        after[state.player] *= chances
        total += _walk(spot, policies, history.apply(action), after, weights)
    return total


@dataclass(frozen=True)
class Score:
    """A mean over spots with its interval.

    Attributes:
        mean: In thousandths of a big blind a hand.
        half_width: Of the 95 % interval by Student's t; spots are the sample, for deals of one spot
            share its strategies. None for one spot, which says nothing of how they differ.
    """

    mean: float
    half_width: float | None

    def metrics(self, name: str) -> dict[str, float]:
        """The mean as a metric, and its interval as `_low` and `_high` if there is one."""
        if self.half_width is None:
            return {name: self.mean}
        low, high = self.mean - self.half_width, self.mean + self.half_width
        return {name: self.mean, f"{name}_low": low, f"{name}_high": high}


def score(gains: Sequence[float] | NDArray[np.float64]) -> Score:
    """The mean and interval of gains by spot, in mbb a hand."""
    values = np.asarray(gains, dtype=float)
    if len(values) < 2:
        return Score(float(values.mean()), None)
    width = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return Score(float(values.mean()), float(width))
