"""CVaR as a constraint: the largest mean of the return among policies with CVaR_alpha >= c.

CVaR_alpha(X) = max_b { b + E min(X - b, 0) / alpha }, with b on the return grid, so a policy is
feasible iff for some b

    k_b = E min(X - b, 0) >= alpha (c - b).

For a fixed b this is a linear program over occupation measures of (s, y) with one constraint. Its
solution is a lottery over two deterministic policies, drawn before the episode (one policy alone
may have to give up more). The Lagrangian's dual function

    min over lambda >= 0 of  max over policies of E[X + lambda min(X - b, 0)] - lambda alpha (c - b)

is minimised exactly: the maximum is convex and piecewise linear in lambda, each planning gives a
line of it, and two lines are replaced until none is above where they meet. The best b is the
solution; a b whose dual function is somewhere below what was found is left out. With confidence
sets each planning is optimistic, hence so is the result.
"""

from dataclasses import dataclass

import numpy as np

from tenfold.algorithms.rs_disrl.planner import Solution, StaticPlanner
from tenfold.envs.risk.measures import CVaR, Expectation

_CLOSE = 1e-11


@dataclass(frozen=True)
class Lottery:
    """One of a few policies, drawn before the episode.

    Attributes:
        policies: (n, H, S, Y) int.
        chances: (n,) float64.
        distribution: Of the return as it is believed to be, (Y,).
        value: Its mean, at least the optimum under optimism.
        budget: b, in grid steps.
        price: lambda, what a unit of k_b is worth in units of the mean.
    """

    policies: np.ndarray
    chances: np.ndarray
    distribution: np.ndarray
    value: float
    budget: int
    price: float

    def draw(self, rng: np.random.Generator) -> Solution:
        """One of the policies."""
        one = int(rng.choice(len(self.chances), p=self.chances))
        return Solution(self.policies[one], self.distribution, self.value)


@dataclass(frozen=True)
class _Line:
    """A policy, its distribution, and its mean and k_b."""

    solution: Solution
    mean: float
    k: float


class ConstrainedPlanner:
    """Plans for the mean under CVaR_alpha >= c.

    Args:
        planner: Plans for utilities of the return.
        alpha: Risk level.
        least: c, in the unit of the planner's returns.
    """

    def __init__(self, planner: StaticPlanner, alpha: float, least: float) -> None:
        self.planner, self.alpha, self.least = planner, alpha, least
        self.returns = planner.mdp.returns

    def largest(self) -> float:
        """The largest CVaR of a policy."""
        return self.planner.solve(CVaR(self.alpha)).value

    def solve(self) -> Lottery:
        """The best lottery; where no policy is feasible, the policy of the largest CVaR."""
        needed = self.alpha * (self.least - self.returns)  # of k_b, for each b
        slack = self.planner.shortfalls() - needed
        mean = self.planner.plan_for(self.returns, Expectation())
        best: Lottery | None = None
        for b in np.argsort(-slack, kind="stable"):
            if slack[b] < -_CLOSE:
                break
            if best is not None and self._dual(int(b), best.price, needed[b]) <= best.value:
                continue
            found = self._at(int(b), float(needed[b]), mean)
            if best is None or found.value > best.value:
                best = found
        if best is not None:
            return best
        safest = self.planner.solve(CVaR(self.alpha))
        value = float(self.returns @ safest.distribution)
        return _lottery([safest], np.ones(1), value, int(slack.argmax()), np.inf)

    def _dual(self, b: int, price: float, needed: float) -> float:
        """The dual function of b at a price: no lottery that is feasible with b has more."""
        return float(self.planner.reached(self._utility(b, price)[None])[0] - price * needed)

    def _at(self, b: int, needed: float, best_mean: Solution) -> Lottery:
        """The best lottery for a b that some policy is feasible with."""
        low = self._line(b, best_mean)
        if low.k >= needed - _CLOSE:
            return _lottery([low.solution], np.ones(1), low.mean, b, 0.0)
        high = self._line(b, self.planner.plan_for(self._short_of(b), Expectation()))
        while True:
            price = (low.mean - high.mean) / (high.k - low.k)
            line = self._line(b, self.planner.plan_for(self._utility(b, price), Expectation()))
            if line.mean + price * line.k <= low.mean + price * low.k + _CLOSE:
                break
            low, high = (low, line) if line.k >= needed else (line, high)
        share = min(max((needed - low.k) / (high.k - low.k), 0.0), 1.0)
        value = (1.0 - share) * low.mean + share * high.mean
        chances = np.array([1.0 - share, share])
        return _lottery([low.solution, high.solution], chances, value, b, price)

    def _line(self, b: int, solution: Solution) -> _Line:
        p = solution.distribution
        return _Line(solution, float(self.returns @ p), float(self._short_of(b) @ p))

    def _utility(self, b: int, price: float) -> np.ndarray:
        return self.returns + price * self._short_of(b)

    def _short_of(self, b: int) -> np.ndarray:
        return np.minimum(self.returns - self.returns[b], 0.0)


def _lottery(
    solutions: list[Solution], chances: np.ndarray, value: float, budget: int, price: float
) -> Lottery:
    return Lottery(
        np.array([each.policy for each in solutions]),
        chances,
        chances @ np.array([each.distribution for each in solutions]),
        value,
        budget,
        price,
    )
