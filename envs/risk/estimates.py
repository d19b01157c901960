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
    envs: Sequence[gym.Env[np.ndarray, Any]],
    policy: Callable[[np.ndarray], np.ndarray],
    seed: int,
    episodes: int | None = None,
) -> np.ndarray:
    """Returns of episodes that are played side by side.

    Args:
        envs: Of one task; one whose episode is over plays the next one.
        policy: Observations (B, n) of the B that are playing to actions (B, ...).
        seed: Episode i starts from `seed` + i.
        episodes: How many; one in each environment when None.

    Returns:
        (episodes,) float64.
    """
    totals = np.zeros(len(envs) if episodes is None else episodes)
    going = list(zip(envs, range(len(totals)), strict=False))  # environment and its episode
    seen = [env.reset(seed=seed + i)[0] for env, i in going]
    begun = len(going)
    while going:
        actions = policy(np.array(seen))
        before, going, seen = going, [], []
        for (env, i), action in zip(before, actions, strict=True):
            observation, reward, terminated, truncated, _ = env.step(action)
            totals[i] += reward
            if not (terminated or truncated):
                going.append((env, i))
                seen.append(observation)
            elif begun < len(totals):
                going.append((env, begun))
                seen.append(env.reset(seed=seed + begun)[0])
                begun += 1
    return totals
