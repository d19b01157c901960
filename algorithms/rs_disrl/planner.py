"""Planning max over policies of rho(return) on the augmented state (s, y), exact or optimistic.

The base is dynamic programming for a utility g of the return, U_{H+1}(s, y) = g(y) and

    U_h(s, y) = max_a max_q sum_o q_o U_{h+1}(s'_o, y + r_o),    q in the set of (h, s, a),

exact for the expectation and the entropic measure. CVaR = max_b { b + E min(X - b, 0) / alpha }
needs one g for each b; all of them are one sweep over the signed budget y - b (Baeuerle and Ott,
2011). Every other measure is climbed: plan for the derivative g at the current law, take the law
of that plan, and so on, from several starts; for spectral measures each step is an ascent
(Baeuerle and Glauner, 2021) and `upper_bound` says how far the result can be from the optimum.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tenfold.algorithms.rs_disrl.sets import Estimator, best_member
from tenfold.envs.risk.measures import CVaR, Distortion, Entropic, Expectation, RiskMeasure
from tenfold.envs.risk.returns import GridMDP
from tenfold.envs.risk.static_measures import influence

# Steps of an ascent from one start, the starts from CVaR's budgets, and pieces of a distortion.
MOST_STEPS, STARTS, PIECES = 20, 5, 200
GAIN = 1e-12


@dataclass(frozen=True)
class Belief:
    """What is known of the outcome laws: sets around estimates, or exact laws.

    Attributes:
        laws: (H, S, A, O, Y or 1) float64.
        sizes: Radii, (H, S, A, Y or 1); None when the laws are exact.
        estimator: Which set.
    """

    laws: np.ndarray
    sizes: np.ndarray | None = None
    estimator: Estimator = "lsr"


@dataclass(frozen=True)
class Plan:
    """A policy (H, S, Y) int, the law (Y,) of its return as believed, and rho of that."""

    policy: np.ndarray
    law: np.ndarray
    value: float


class StaticPlanner:
    """Plans for static risk measures.

    Args:
        mdp: Outcomes, rewards and first state; its probabilities are used when no belief is given.
        belief: Laws and sets to plan with.
    """

    def __init__(self, mdp: GridMDP, belief: Belief | None = None) -> None:
        self.mdp = mdp
        self.belief = belief or Belief(mdp.probabilities[..., None])
        self.per_return = self.belief.laws.shape[-1] > 1

    def solve(self, rho: RiskMeasure) -> Plan:
        """The policy of the largest rho; see the module's text for what is exact."""
        if isinstance(rho, Expectation):
            return self.plan_for(self.mdp.returns, rho)
        if isinstance(rho, Entropic):
            # The largest exponent is taken out, so nothing overflows.
            worst = 0.0 if rho.gamma < 0.0 else self.mdp.returns[-1]
            utility = np.sign(rho.gamma) * np.exp(rho.gamma * (self.mdp.returns - worst))
            return self.plan_for(utility, rho)
        if isinstance(rho, CVaR):
            budget = int((self.mdp.returns + self.shortfalls() / rho.alpha).argmax())
            return self.plan_for(self._short_of(budget), rho)
        return max((self._climb(rho, g) for g in self._starts()), key=lambda plan: plan.value)

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
            short = np.minimum(self.mdp.returns - self.mdp.returns[:, None], 0.0)  # (b, y)
            batch = np.repeat(short[:, None], self.mdp.S, axis=1)
            for h in reversed(range(self.mdp.H)):
                batch = self._step(h, batch)[0].max(axis=-2)
            return batch[:, self.mdp.initial, 0]
        signed = self.mdp.step * np.arange(1 - Y, Y)
        values = self._sweep(np.minimum(signed, 0.0))[0]
        return values[self.mdp.initial, Y - 1 :: -1]

    def plan_for(self, utility: np.ndarray, rho: RiskMeasure) -> Plan:
        """The plan of the largest mean utility (Y,), judged by rho."""
        _, policy, weights = self._sweep(utility)
        law = self.mdp.law(policy, weights)
        return Plan(policy, law, float(rho.of(self.mdp.returns, law)))

    def _sweep(self, utility: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Dynamic programming for a nondecreasing utility (n,) on a grid of n points.

        Returns:
            U_1 (S, n), the policy (H, S, n), and the outcome laws that it was planned with under
            its actions, (H, S, n, O).
        """
        H, S, n = self.mdp.H, self.mdp.S, len(utility)
        values = np.tile(utility, (S, 1))
        policy = np.empty((H, S, n), dtype=np.int64)
        weights = np.empty((H, S, n, self.mdp.probabilities.shape[-1]))
        for h in reversed(range(H)):
            q, laws = self._step(h, values)
            policy[h] = q.argmax(axis=1)
            values = q.max(axis=1)
            chosen = np.take_along_axis(laws, policy[h][:, None, None], axis=1)[:, 0]
            weights[h] = chosen.transpose(0, 2, 1)
        return values, policy, weights

    def _step(self, h: int, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Q_h (..., S, A, n) from U_{h+1} (..., S, n), and the laws (..., S, A, O, n) behind it."""
        mdp, belief, n = self.mdp, self.belief, values.shape[-1]
        after = np.minimum(np.arange(n) + mdp.rewards[h][..., None], n - 1)  # (S, A, O, n)
        outcome_values = values[..., mdp.nexts[h][..., None], after]
        laws = belief.laws[h]
        if belief.sizes is not None:
            laws = best_member(belief.estimator, laws, outcome_values, belief.sizes[h])
        q = (laws * outcome_values).sum(axis=-2)
        return q, np.broadcast_to(laws, outcome_values.shape)

    def _short_of(self, budget: int) -> np.ndarray:
        return np.minimum(self.mdp.returns - self.mdp.returns[budget], 0.0)

    def _starts(self) -> Iterator[np.ndarray]:
        """Utilities to climb from: the mean's, and CVaR's for a few budgets."""
        yield self.mdp.returns
        for budget in np.linspace(1, self.mdp.Y - 1, min(STARTS, self.mdp.Y - 1)).astype(int):
            yield self._short_of(int(budget))

    def _climb(self, rho: RiskMeasure, utility: np.ndarray) -> Plan:
        plan = self.plan_for(utility, rho)
        for _ in range(MOST_STEPS):
            higher = self.plan_for(influence(rho, self.mdp.returns, plan.law), rho)
            if higher.value <= plan.value + GAIN:
                break
            plan = higher
        return plan
