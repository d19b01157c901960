"""Statistics over seeds and tasks, with the definitions of Agarwal et al. (arXiv:2108.13264).

Interquartile means, stratified bootstrap percentile intervals (tasks are the strata, seeds are
resampled within each) and the probability of improvement. Their own package, rliable, does not
import beside pandas 3 (its dependency arch), so the same definitions stand on `scipy.stats`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import bootstrap, t, trim_mean

CONFIDENCE = 0.95
RESAMPLES = 2_000


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval; the interval is None when one seed allows none."""

    value: float
    low: float | None
    high: float | None


def mean(scores: np.ndarray, axis: int = -1) -> np.ndarray:
    """Mean over seeds."""
    return np.mean(scores, axis=axis)


def iqm(scores: np.ndarray, axis: int = -1) -> np.ndarray:
    """Interquartile mean: the mean of the middle half of the scores."""
    return trim_mean(scores, 0.25, axis=axis)


def estimate(
    strata: Sequence[np.ndarray],
    statistic: Callable[[np.ndarray, int], np.ndarray],
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Estimate:
    """A statistic of all scores together, with a stratified bootstrap interval.

    Args:
        strata: Scores of each task (seeds of that task,); their numbers may differ.
        statistic: `mean` or `iqm`.
        seed: Of the resampling.
        resamples: Number of bootstrap samples.
    """

    def of_all(*samples: np.ndarray, axis: int = -1) -> np.ndarray:
        return statistic(np.concatenate(samples, axis=axis), axis)

    return _with_interval(list(strata), of_all, seed, resamples)


def probability_of_improvement(
    ours: Sequence[np.ndarray],
    theirs: Sequence[np.ndarray],
    mode: str,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Estimate:
    """How likely a random run of ours beats a random run of theirs, averaged over tasks.

    The Mann-Whitney form, ties counting one half.

    Args:
        ours: Scores of each task (seeds,).
        theirs: The other's scores of the same tasks, in the same order.
        mode: ``"min"`` when less is better, else ``"max"``.
        seed: Of the resampling.
        resamples: Number of bootstrap samples.
    """
    sign = -1.0 if mode == "min" else 1.0

    def averaged(*samples: np.ndarray, axis: int = -1) -> np.ndarray:
        ours_then_theirs = [np.moveaxis(sample, axis, -1) for sample in samples]
        half = len(ours_then_theirs) // 2
        pairs = zip(ours_then_theirs[:half], ours_then_theirs[half:], strict=True)
        wins = [
            np.mean((np.sign(sign * (x[..., :, None] - y[..., None, :])) + 1) / 2, axis=(-2, -1))
            for x, y in pairs
        ]
        return np.mean(wins, axis=0)

    return _with_interval([*ours, *theirs], averaged, seed, resamples)


def band(curves: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean curve and its pointwise 95 % Student-t band over seeds.

    Args:
        curves: (seeds, points).

    Returns:
        Mean, low and high, each (points,); low and high equal the mean for one seed.
    """
    centre = curves.mean(axis=0)
    n = len(curves)
    if n < 2:
        return centre, centre, centre
    half = t.ppf(0.5 + CONFIDENCE / 2, n - 1) * curves.std(axis=0, ddof=1) / np.sqrt(n)
    return centre, centre - half, centre + half


def _with_interval(
    samples: list[np.ndarray], statistic: Callable[..., Any], seed: int, resamples: int
) -> Estimate:
    arrays = [np.asarray(sample, dtype=np.float64) for sample in samples]
    value = float(statistic(*arrays))
    if min(len(array) for array in arrays) < 2:
        return Estimate(value, None, None)
    if all(np.ptp(array) == 0 for array in arrays):
        return Estimate(value, value, value)
    interval = bootstrap(
        arrays,
        statistic,
        n_resamples=resamples,
        confidence_level=CONFIDENCE,
        method="percentile",
        vectorized=True,
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Estimate(value, float(interval.low), float(interval.high))
