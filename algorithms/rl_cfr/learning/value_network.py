"""The PBS value network: what every hand is worth at the start of a street, for both players.

    value of hand h of player i, in pots  =  its equity when nobody bets any more  +  (K o_i)[h]

K being the soft buckets of `buckets.py`. The first term is exact and knows blockers; the network
learns the second, what betting adds, from root values of solved subgames (DeepStack, Moravcik et
al. 2017; ReBeL, Brown et al. 2020). Before it has learned anything it says 0: check down.

In a zero-sum game the two players' second terms cancel on average over the hands dealt. With w_i
the buckets' shares of player i's hands that are dealt (each sums to 1), the network's raw outputs z
are corrected by half of their error each, as in DeepStack:

    o_i = z_i - 1/2 (w_0 . z_0 + w_1 . z_1)
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import huber_loss

from tenfold.algorithms.rl_cfr.learning.actor_critic import perceptron
from tenfold.algorithms.rl_cfr.learning.buckets import bucket_count, buckets
from tenfold.algorithms.rl_cfr.mdp import Decision
from tenfold.envs.poker.rules import BettingState
from tenfold.envs.poker.spot import dealable

CONTEXT = 2
"""Numbers beside the ranges, see `context`."""

RIDGE = 1e-4
"""Of the fit of buckets' targets to hands' values."""

DELTA = 0.1
"""Pots at which the loss turns from squared to linear."""


class ValueSamples(NamedTuple):
    """Public belief states at the start of a street with the values of a solved subgame.

    N of them, B buckets; the player who acts first comes first.

    Attributes:
        shares: (N, 2, B) of each range in the buckets, K^T r, with sum 1.
        dealt: (N, 2, B) w, the same of the hands that are dealt, given that hands block each other.
        context: (N, CONTEXT).
        targets: (N, 2, B) what betting adds in pots.
        weights: (N, 2, B) of the targets in the loss: how many hands they come from.
    """

    shares: NDArray[np.float32]
    dealt: NDArray[np.float32]
    context: NDArray[np.float32]
    targets: NDArray[np.float32]
    weights: NDArray[np.float32]


class ValueNetwork(torch.nn.Module):
    """o of one street; its outputs start from 0.

    Args:
        street: 1 flop, 2 turn, 3 river.
        hidden: Widths of the hidden layers.
    """

    def __init__(self, street: int, hidden: Sequence[int]) -> None:
        super().__init__()
        self.B = bucket_count(street)
        self.net = perceptron([2 * self.B + CONTEXT, *hidden, 2 * self.B])
        torch.nn.init.zeros_(self.net[-1].weight)
        torch.nn.init.zeros_(self.net[-1].bias)

    def forward(self, shares: Tensor, dealt: Tensor, context: Tensor) -> Tensor:
        """(N, 2, B) from the columns of `ValueSamples`."""
        # Sums over the buckets up to each: ranges that are near each other look alike.
        below = 2.0 * shares.cumsum(dim=2) - 1.0
        z = self.net(torch.cat([below.flatten(1), context], dim=1))
        z = z.unflatten(1, (2, self.B))
        error = (dealt * z).sum(dim=(1, 2), keepdim=True)
        return z - 0.5 * error

    def loss(self, batch: ValueSamples) -> Tensor:
        """Weighted Huber loss in pots squared; the mean over the batch."""
        shares, dealt, about, targets, weights = (torch.from_numpy(part) for part in batch)
        losses = huber_loss(self(shares, dealt, about), targets, reduction="none", delta=DELTA)
        return (weights * losses).sum(dim=2).mean()


def context(state: BettingState) -> list[float]:
    """Of the start of a street: logarithms of the stack in pots and of the pot in big blinds."""
    stack = state.rules.depth - state.level
    return [np.log(stack / state.pot) / 2.0, np.log(state.pot / state.rules.big_blind) / 4.0]


def starts_street(state: BettingState) -> bool:
    """Whether a street begins here: nobody has acted on it."""
    return not state.acted and max(state.bets) == 0


def value_sample(
    decision: Decision,
    values: NDArray[np.float64],
    equities: NDArray[np.float64],
    deck: int,
) -> ValueSamples:
    """One sample, N = 1.

    Args:
        decision: The start of a street.
        values: (2, 1326) counterfactual values of its solved subgame, as `Solver.values` gives.
        equities: (2, 1326) chance of each hand to win when nobody bets, ties half.
        deck: See `Spot.deck`.
    """
    state, ranges = decision.state, decision.ranges
    K = buckets(decision.board, deck).matrix(bucket_count(state.street))  # (1326, B)
    mass = dealable(ranges)[::-1]  # (2, 1326)
    dealt = ranges * mass
    dealt /= dealt.sum(axis=1, keepdims=True)
    known = dealt > 1e-12
    payoffs = values / np.where(known, mass, 1.0)
    added = np.where(known, (payoffs + state.level) / state.pot - equities, 0.0)
    # Half of a hand's weight is its share of the range, half is the same for all of them.
    alpha = 0.5 * (dealt + known / known.sum(axis=1, keepdims=True))
    weights = alpha @ K  # (2, B)
    targets = [
        np.linalg.solve((K.T * a) @ K + RIDGE * np.eye(K.shape[1]), K.T @ (a * each))
        for a, each in zip(alpha, added, strict=True)
    ]
    shares = ranges @ K / (ranges @ K).sum(axis=1, keepdims=True)
    columns = shares, dealt @ K, np.array(context(state)), np.stack(targets), weights
    return ValueSamples(*(column[None].astype(np.float32) for column in columns))
