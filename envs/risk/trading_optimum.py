"""The optimum of `Trading` under CVaR, by dynamic programming over the shortfall.

With b the quantile of the return at alpha (Baeuerle and Ott, 2011),

    max CVaR_alpha = max_b b + v_0(b, calm),     v_T(x, .) = -x^+ / alpha,
    v_t(x, m) = max_a E v_{t+1}(x - a X, m'),    X ~ N(gain_m, spread_m^2),

where x = b - y is what is still short of b. v is 0 for x <= 0, since a = 0 keeps it, and linear far
above.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import ndtr

from tenfold.envs.risk.trading import Trading

# Points of x, of a, and nodes of Gauss and Hermite.
SHORTFALLS, POSITIONS, NODES = 1_001, 101, 64


@dataclass(frozen=True)
class TradingPlan:
    """A policy of shortfall, period and market.

    Attributes:
        value: The largest CVaR.
        target: b, what the first shortfall is counted from.
        shortfalls: x, (X,).
        positions: a at each in each period and market, (T, 2, X); in a line between two.
    """

    value: float
    target: float
    shortfalls: np.ndarray
    positions: np.ndarray

    def position(self, t: int, markets: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Positions in period t (from 0) where y was earned so far, (n,)."""
        short = self.target - y
        each = [np.interp(short, self.shortfalls, self.positions[t, m]) for m in (0, 1)]
        return np.where(short > 0.0, np.where(markets == 0, each[0], each[1]), 0.0)


def plan(env: Trading, alpha: float) -> TradingPlan:
    """The optimum of CVaR alpha.

    Args:
        env: With its fields.
        alpha: The level, above 0 and at most 1.
    """
    spread = math.sqrt(env.T) * float(env.spreads.max())
    top = env.T * float(np.abs(env.gains).max()) + 6.0 * spread
    # Finer where the position depends on the shortfall.
    x = top * np.linspace(0.0, 1.0, SHORTFALLS) ** 2
    a = np.linspace(0.0, 1.0, POSITIONS)
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    weights = weights / weights.sum()
    after = np.tile(-x / alpha, (2, 1))  # (market, X), at the end
    positions = np.empty((env.T, 2, SHORTFALLS))
    for t in reversed(range(env.T)):
        before = np.empty_like(after)
        for m, (gain, size) in enumerate(zip(env.gains, env.spreads, strict=True)):
            expected = env.stays * after[m] + (1.0 - env.stays) * after[1 - m]
            if t == env.T - 1:  # the kink at 0 is integrated in closed form
                worth = -_expected_shortfall(x[:, None] - a * gain, a * size) / alpha
            else:
                worth = sum(
                    weight * _linear_beyond(x[:, None] - a * (gain + size * node), x, expected)
                    for node, weight in zip(nodes, weights, strict=True)
                )
            best = worth.argmax(axis=1)
            before[m], positions[t, m] = worth[np.arange(SHORTFALLS), best], a[best]
        after = before
    found = minimize_scalar(
        lambda b: -(b + float(_linear_beyond(np.array(b), x, after[0]))),
        bounds=(0.0, top / 2.0),
        method="bounded",
    )
    return TradingPlan(-float(found.fun), float(found.x), x, positions)


def held(env: Trading, alpha: float) -> float:
    """CVaR alpha of a = 1 throughout, the optimum of the mean, from normal mixtures.

    Args:
        env: With its fields.
        alpha: The level.
    """
    # Probability of the present market and of so many turbulent periods before it.
    chances = np.zeros((2, env.T + 1))
    chances[0, 0] = 1.0
    for _ in range(env.T):
        counted = np.stack([chances[0], np.roll(chances[1], 1)])  # the present one is counted
        chances = env.stays * counted + (1.0 - env.stays) * counted[::-1]
    turbulent = np.arange(env.T + 1)
    periods = np.stack([env.T - turbulent, turbulent])
    mean, size = env.gains @ periods, np.sqrt(env.spreads**2 @ periods)
    share = chances.sum(axis=0)
    found = minimize_scalar(
        lambda b: share @ _expected_shortfall(b - mean, size) / alpha - b,
        bounds=(mean.min() - 6.0 * size.max(), mean.max() + 6.0 * size.max()),
        method="bounded",
    )
    return -float(found.fun)


def simulate(env: Trading, policy: TradingPlan, episodes: int, seed: int) -> np.ndarray:
    """Returns of a plan in independent episodes, (episodes,)."""
    rng = np.random.default_rng(seed)
    y, markets = np.zeros(episodes), np.zeros(episodes, int)
    for t in range(env.T):
        x = env.gains[markets] + env.spreads[markets] * rng.standard_normal(episodes)
        y += policy.position(t, markets, y) * x
        markets = np.where(rng.random(episodes) < env.stays, markets, 1 - markets)
    return y


def _expected_shortfall(mean: np.ndarray, size: np.ndarray) -> np.ndarray:
    """E (mean + size N)^+ of a standard normal N."""
    ratio = np.divide(mean, size, out=np.zeros_like(mean), where=size > 0.0)
    density = np.exp(-0.5 * ratio**2) / math.sqrt(2.0 * math.pi)
    spread: np.ndarray = mean * ndtr(ratio) + size * density
    return np.where(size > 0.0, spread, mean.clip(0.0))


def _linear_beyond(at: np.ndarray, x: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Values between the points x, 0 below them and on in a line above."""
    slope = (values[-1] - values[-2]) / (x[-1] - x[-2])
    inside = np.interp(at, x, values, left=0.0)
    extended: np.ndarray = inside + slope * np.maximum(at - x[-1], 0.0)
    return extended
