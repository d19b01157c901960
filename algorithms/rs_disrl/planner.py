"""Planning max over policies of rho(return) on the augmented state (s, y), exact or optimistic.

The base is dynamic programming for a utility g of the return, U_{H+1}(s, y) = g(y) and

    U_h(s, y) = max_a max_q sum_o q_o U_{h+1}(s'_o, y + r_o),    q in the set of (h, s, a),

exact for the expectation and the entropic measure. CVaR = max_b { b + E min(X - b, 0) / alpha }
needs one g for each b; all of them are one sweep over the signed budget y - b (Baeuerle and Ott,
2011). A mixture of the mean and CVaRs, w_0 E X + sum_j w_j CVaR_j X, is the same with a budget for
each CVaR,

    max_b { E g_b(X) },    g_b(x) = w_0 x + sum_j w_j (b_j + min(x - b_j, 0) / alpha_j),

so planning for every b on the return grid is exact; with two CVaRs or more, where that would be too
many problems, a coarser grid of them says where to climb from. Every other measure is climbed: plan
for the derivative g at the current distribution, take that of the resulting policy, and so on, from
several starts;
for spectral measures each step is an ascent (Baeuerle and Glauner, 2021) and `upper_bound` says how
far the result can be from the optimum.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np

from tenfold.algorithms.rs_disrl.sets import Estimator, best_member
from tenfold.envs.risk.measures import (
    CVaR,
    Distortion,
    Entropic,
    Expectation,
    RiskMeasure,
    Spectral,
)
from tenfold.envs.risk.returns import GridMDP
from tenfold.envs.risk.static_measures import influence

# Steps of an ascent from one start, the starts from CVaR's budgets, and pieces of a distortion.
MOST_STEPS, STARTS, PIECES = 20, 5, 200
GAIN = 1e-12
# Utilities that a mixture of CVaRs is planned for, and how many of them at once.
MOST_UTILITIES, AT_ONCE = 256, 64
# Measures whose optimum maximises the mean of one utility of the return.
WITH_UTILITY = (Expectation, Entropic, CVaR)


@dataclass(frozen=True)
class Belief:
    """What is known of the outcome probabilities: sets around estimates, or exact values.

    Attributes:
        probabilities: (H, S, A, O, Y or 1) float64.
        sizes: Radii, (H, S, A, Y or 1); None when the probabilities are exact.
        estimator: Which set.
    """

    probabilities: np.ndarray
    sizes: np.ndarray | None = None
    estimator: Estimator = "lsr"


@dataclass(frozen=True)
class Solution:
    """A policy (H, S, Y) int, its believed return distribution (Y,), and rho of that."""

    policy: np.ndarray
    distribution: np.ndarray
    value: float


class StaticPlanner:
    """Plans for static risk measures.

    Args:
        mdp: Outcomes, rewards and first state; its probabilities are used when no belief is given.
        belief: Probabilities and sets to plan with.
    """

    def __init__(self, mdp: GridMDP, belief: Belief | None = None) -> None:
        self.mdp = mdp
        self.belief = belief or Belief(mdp.probabilities[..., None])
        self.per_return = self.belief.probabilities.shape[-1] > 1

    def solve(self, rho: RiskMeasure) -> Solution:
        """The policy of the largest rho; see the module's text for what is exact."""
        if isinstance(rho, WITH_UTILITY):
            return self.plan_for(self.best_utility(rho), rho)
        starts = list(self._starts())
        if isinstance(rho, Spectral):
            utilities, exact = self._mixtures(rho)
            reached = self.reached(utilities)
            if exact:
                return self.plan_for(utilities[reached.argmax()], rho)
            starts += list(utilities[np.argsort(-reached)[:STARTS]])
        return max((self._climb(rho, g) for g in starts), key=lambda found: found.value)

    def best_utility(self, rho: Expectation | Entropic | CVaR) -> np.ndarray:
        """The utility of the return (Y,) whose mean the optimum maximises."""
        if isinstance(rho, Expectation):
            return self.mdp.returns
        if isinstance(rho, CVaR):
            budget = int((self.mdp.returns + self.shortfalls() / rho.alpha).argmax())
            return self._short_of(budget)
        # The largest exponent is taken out, so nothing overflows.
        worst = 0.0 if rho.gamma < 0.0 else self.mdp.returns[-1]
        utility: np.ndarray = np.sign(rho.gamma) * np.exp(rho.gamma * (self.mdp.returns - worst))
        return utility

    def to_come(self, utility: np.ndarray) -> list[np.ndarray]:
        """The largest mean of a utility (Y,) from (s, y) on after each action, (S, A, Y) a step."""
        values, found = np.tile(utility, (self.mdp.S, 1)), []
        for h in reversed(range(self.mdp.H)):
            found.append(self._step(h, values)[0])
            values = found[-1].max(axis=1)
        return found[::-1]

    def upper_bound(self, rho: Distortion) -> float:
        """A bound on what any policy can reach, for a concave distortion.

        The chords of a concave h lie below it and so bound rho from above; they make a mixture of
        CVaRs, and the optimum of a mixture is at most the mixture of the optima.
        """
        levels = np.linspace(0.0, 1.0, PIECES + 1)
        slopes = np.diff(rho.h(levels)) * PIECES
        weights = (slopes - np.append(slopes[1:], 0.0)) * levels[1:]  # of CVaR at levels[1:]
        reached = self.mdp.returns + self.shortfalls() / levels[1:, None]
        return float(weights @ reached.max(axis=1))

    def shortfalls(self) -> np.ndarray:
        """max over policies of E min(X - b, 0) for each b of the return grid, (Y,)."""
        Y = self.mdp.Y
        if self.per_return:
            return self.reached(np.minimum(self.mdp.returns - self.mdp.returns[:, None], 0.0))
        signed = self.mdp.step * np.arange(1 - Y, Y)
        values = self._sweep(np.minimum(signed, 0.0))[0]
        return values[self.mdp.initial, Y - 1 :: -1]

    def plan_for(self, utility: np.ndarray, rho: RiskMeasure) -> Solution:
        """The policy of the largest mean utility (Y,), evaluated by rho."""
        _, policy, weights = self._sweep(utility)
        distribution = self.mdp.return_distribution(policy, weights)
        return Solution(policy, distribution, float(rho.of(self.mdp.returns, distribution)))

    def _sweep(self, utility: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Dynamic programming for a nondecreasing utility (n,) on a grid of n points.

        Returns:
            U_1 (S, n), the policy (H, S, n), and the outcome probabilities that it was
            planned with under its actions, (H, S, n, O).
        """
        H, S, n = self.mdp.H, self.mdp.S, len(utility)
        values = np.tile(utility, (S, 1))
        policy = np.empty((H, S, n), dtype=np.int64)
        weights = np.empty((H, S, n, self.mdp.probabilities.shape[-1]))
        for h in reversed(range(H)):
            q, probabilities = self._step(h, values)
            policy[h] = q.argmax(axis=1)
            values = q.max(axis=1)
            chosen = np.take_along_axis(probabilities, policy[h][:, None, None], axis=1)[:, 0]
            weights[h] = chosen.transpose(0, 2, 1)
        return values, policy, weights

    def _step(self, h: int, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Q_h (..., S, A, n) from U_{h+1} (..., S, n), and its probabilities (..., S, A, O, n)."""
        mdp, belief, n = self.mdp, self.belief, values.shape[-1]
        after = np.minimum(np.arange(n) + mdp.rewards[h][..., None], n - 1)  # (S, A, O, n)
        outcome_values = values[..., mdp.nexts[h][..., None], after]
        p = belief.probabilities[h]
        if belief.sizes is not None:
            p = best_member(belief.estimator, p, outcome_values, belief.sizes[h])
        q = (p * outcome_values).sum(axis=-2)
        return q, np.broadcast_to(p, outcome_values.shape)

    def _short_of(self, budget: int) -> np.ndarray:
        return np.minimum(self.mdp.returns - self.mdp.returns[budget], 0.0)

    def _starts(self) -> Iterator[np.ndarray]:
        """Utilities to climb from: the mean's, and CVaR's for a few budgets."""
        yield self.mdp.returns
        for budget in np.linspace(1, self.mdp.Y - 1, min(STARTS, self.mdp.Y - 1)).astype(int):
            yield self._short_of(int(budget))

    def _mixtures(self, rho: Spectral) -> tuple[np.ndarray, bool]:
        """The utilities g_b (n, Y) of a mixture of CVaRs, and whether these are all budgets b."""
        returns = self.mdp.returns
        levels = list(zip(rho.alphas, rho.weights, strict=True))
        mean = sum(weight for alpha, weight in levels if alpha == 1.0)
        tails = [(alpha, weight) for alpha, weight in levels if alpha < 1.0 and weight > 0.0]
        exact = self.mdp.Y ** len(tails) <= MOST_UTILITIES
        most = self.mdp.Y if exact else math.floor(MOST_UTILITIES ** (1 / len(tails)))
        grid = np.linspace(0, self.mdp.Y - 1, min(most, self.mdp.Y)).round().astype(int)
        # A level's share of g for each of its budgets, (budgets, Y).
        shares = [
            weight
            * (returns[grid][:, None] + np.minimum(returns - returns[grid][:, None], 0) / alpha)
            for alpha, weight in tails
        ]
        return np.array([mean * returns + sum(each) for each in product(*shares)]), exact

    def reached(self, utilities: np.ndarray) -> np.ndarray:
        """The largest mean of each of n utilities (n, Y) that a policy reaches, (n,)."""
        found = []
        for first in range(0, len(utilities), AT_ONCE):
            some = utilities[first : first + AT_ONCE]
            values = np.repeat(some[:, None], self.mdp.S, axis=1)
            for h in reversed(range(self.mdp.H)):
                values = self._step(h, values)[0].max(axis=-2)
            found.append(values[:, self.mdp.initial, 0])
        return np.concatenate(found)

    def _climb(self, rho: RiskMeasure, utility: np.ndarray) -> Solution:
        best = self.plan_for(utility, rho)
        for _ in range(MOST_STEPS):
            higher = self.plan_for(influence(rho, self.mdp.returns, best.distribution), rho)
            if higher.value <= best.value + GAIN:
                break
            best = higher
        return best
