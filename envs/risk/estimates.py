"""Returns of played episodes, and a risk measure of them with a bootstrap interval."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from scipy.stats import bootstrap

from tenfold.envs.risk.measures import RiskMeasure

# Resamples of an interval, and how many are held at once.
RESAMPLES, BATCH = 1_000, 100


@dataclass(frozen=True)
class RiskEstimate:
    """rho of the empirical distribution of a sample, and the ends of its interval."""

    value: float
    low: float
    high: float


def estimate_risk(
    rho: RiskMeasure,
    returns: np.ndarray,
    rng: np.random.Generator,
    confidence_level: float = 0.95,
) -> RiskEstimate:
    """rho of sampled returns, with a percentile bootstrap interval over episodes.

    For measures of a tail the estimate is biased, and the interval tells the spread only: at CVaR
    alpha about alpha n episodes count.

    Args:
        rho: The measure.
        returns: (n,) of independent episodes, n at least 2.
        rng: Of the resamples.
        confidence_level: Of the interval.

    Raises:
        ValueError: Fewer than 2 returns.
    """
    if len(returns) < 2:
        raise ValueError(f"An interval needs at least 2 episodes, not {len(returns)}.")

    def statistic(sample: np.ndarray, axis: int) -> np.ndarray:
        values = np.moveaxis(sample, axis, -1)
        return rho.of(values, np.full(values.shape, 1.0 / values.shape[-1]))

    value = float(statistic(returns, -1))
    if np.ptp(returns) == 0.0:
        return RiskEstimate(value, value, value)
    found = bootstrap(
        (returns,),
        statistic,
        n_resamples=RESAMPLES,
        batch=BATCH,
        method="percentile",
        confidence_level=confidence_level,
        rng=rng,
    ).confidence_interval
    return RiskEstimate(value, float(found.low), float(found.high))


def played_returns(
    envs: Sequence[gym.Env[np.ndarray, Any]], policy: Callable[[np.ndarray], np.ndarray], seed: int
) -> np.ndarray:
    """Returns of one episode in each environment.

    Args:
        envs: Of one task.
        policy: Observations (B, n) of the B that are not over yet to actions (B,).
        seed: Environment i starts from `seed` + i.

    Returns:
        (len(envs),) float64.
    """
    seen = np.array([env.reset(seed=seed + i)[0] for i, env in enumerate(envs)])
    totals, going = np.zeros(len(envs)), np.arange(len(envs))
    while len(going):
        steps = [envs[int(i)].step(a) for i, a in zip(going, policy(seen), strict=True)]
        totals[going] += [step[1] for step in steps]
        on = np.array([not (step[2] or step[3]) for step in steps])
        seen, going = np.array([step[0] for step in steps])[on], going[on]
    return totals
