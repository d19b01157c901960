"""What the networks see of a public belief state: numbers that no renaming of suits changes."""

import numpy as np
from numpy.typing import NDArray

from tenfold.algorithms.rl_cfr.mdp import Decision, World

BINS = 10
"""Of each player's histogram of equities."""

BETTING = 8
FEATURES = BETTING + 2 * (BINS + 2)


def features(world: World, decision: Decision) -> NDArray[np.float32]:
    """A summary of the betting, then of the range of the player to act, then of the other's.

    The betting: street, who acts, raises so far, and in pots (after the call) the price of a call,
    the logarithms of what is behind and of the smallest raise, whether anyone can raise, and the
    share of the pot that this street put in. A range: its cumulative histogram of equities over
    `BINS` equal bins, their mean and their standard deviation. Cards enter by the equities only,
    which count blockers.

    Returns:
        (FEATURES,) float32, each of order 1.
    """
    state = decision.state
    pot = state.pot + state.to_call
    low, high = state.raises or (max(state.committed),) * 2
    bet = max(state.committed)
    betting = [
        state.street / 3.0,
        float(state.player),
        state.raised / 2.0,
        state.to_call / pot,
        np.log(max(high - bet, 1) / pot) / 3.0,
        np.log(max(low - bet, 1) / pot) / 3.0,
        float(high > bet),
        sum(state.bets) / state.pot,
    ]
    equities, weights = world.equities(decision), world.weights(decision.ranges)
    order = (state.player, 1 - state.player)
    ranges = [_range(equities[player], weights[player]) for player in order]
    return np.concatenate([betting, *ranges]).astype(np.float32)


def _range(equity: NDArray[np.float64], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """(BINS + 2,): cumulative histogram, mean and standard deviation of a range's equities."""
    weight = weight / weight.sum()
    counts = np.bincount(np.minimum((equity * BINS).astype(int), BINS - 1), weight, BINS)
    mean = weight @ equity
    deviation = np.sqrt(weight @ (equity - mean) ** 2)
    return np.concatenate([np.cumsum(counts), [mean, 2.0 * deviation]])
