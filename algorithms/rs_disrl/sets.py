"""Confidence sets over outcome distributions, and the member that is best for given outcome values.

Around the empirical distribution p of n outcomes:

- LSR: { q: n TV(q, p)^2 <= beta }, the excess of the squared loss against indicators of events, for
  the worst event. The best member moves sqrt(beta / n) of mass from the worst outcomes to the best.
- MLE: { q: n KL(p || q) <= beta }, the distributions whose log-likelihood is within beta of the
  largest. The best member is that of KL-UCRL (Filippi et al., 2010), by a one-dimensional root.

Both grow with beta, so the value of the best member does too.

Optimism asks for less than sets that hold the truth: the best member's mean of one fixed function
of the outcomes, the optimum's utility to come, must be at least the true mean. For MLE sets this
needs beta = log(1 / delta') + log(n + 1) / 2 + log 2 only, whatever the number of outcomes
(`likelihood_radius`): the confidence `mean`, as against `set`.
"""

import math
from typing import Literal

import numpy as np

from tenfold.algorithms.common.likelihood_radius import likelihood_radius

BISECTIONS = 32
# Relative distances of values below this count as 0.
TINY = 1e-12

Estimator = Literal["lsr", "mle"]
Confidence = Literal["set", "mean"]


def radius(
    estimator: Estimator,
    counts: np.ndarray,
    outcomes: int,
    log_union: float,
    scale: float,
    fixed_order: bool,
    confidence: Confidence = "set",
) -> np.ndarray:
    """beta / n as the sets need it: a mass (LSR) or a divergence (MLE).

    Args:
        estimator: Which set.
        counts: n, any shape.
        outcomes: O, the number of possible outcomes.
        log_union: log(1 / delta') of one set.
        scale: Factor of the radius; a divergence has its square.
        fixed_order: Whether the set must hold only for the order of the outcomes by their true
            values (optimism), not for the whole distribution (the truth is inside).
        confidence: What the sets of MLE promise.

    Returns:
        Same shape as `counts`; infinite at 0.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        if estimator == "lsr":
            dimension = 0.0 if fixed_order else 0.5 * math.sqrt(outcomes - 1)
            found = scale * (dimension + math.sqrt(log_union / 2.0)) / np.sqrt(counts)
        elif confidence == "mean":
            found = scale**2 * likelihood_radius(counts, 2, log_union) / counts
        else:
            free = max(outcomes - 1, 1)
            bits = log_union + free * np.log(math.e * (1.0 + counts / free))
            found = scale**2 * bits / counts
    return np.where(counts > 0, found, math.inf)


def best_member(
    estimator: Estimator, p: np.ndarray, values: np.ndarray, size: np.ndarray
) -> np.ndarray:
    """The member of each set with the largest mean of the outcome values.

    Args:
        estimator: Which set.
        p: Empirical probabilities, outcomes on axis -2: (..., O, Y or 1).
        values: (..., O, Y) float64.
        size: The radius, (..., Y or 1), see `radius`.

    Returns:
        (..., O, Y) probabilities.
    """
    p, values = np.broadcast_arrays(p, values)
    size = np.broadcast_to(size, values[..., 0, :].shape)
    return _shifted(p, values, size) if estimator == "lsr" else _tilted(p, values, size)


def _shifted(p: np.ndarray, values: np.ndarray, mass: np.ndarray) -> np.ndarray:
    """Move `mass` from the worst outcomes to the best."""
    order = np.argsort(values, axis=-2, kind="stable")
    levels = np.cumsum(np.take_along_axis(p, order, axis=-2), axis=-2)
    levels[..., -1, :] = 1.0
    moved = np.minimum(mass, 1.0)[..., None, :]
    kept = np.diff(np.maximum(levels - moved, 0.0), axis=-2, prepend=0.0)
    kept[..., -1, :] += moved[..., 0, :]
    member = np.empty(p.shape)
    np.put_along_axis(member, order, kept, axis=-2)
    return member


def _tilted(p: np.ndarray, values: np.ndarray, divergence: np.ndarray) -> np.ndarray:
    """The maximiser over { q: KL(p || q) <= divergence }.

    On the support of p it is q_i proportional to p_i / (nu - v_i). With f(nu) = sum p log(nu - v)
    + log sum p / (nu - v), falling from its largest value to 0, either f(nu) = divergence has a
    root above the best value, or the best outcome, unseen, gets 1 - exp(f(best) - divergence).
    """
    seen = p > 0.0
    best = values.max(axis=-2, keepdims=True)
    limit = divergence[..., None, :]
    spread = best - values.min(axis=-2, keepdims=True)
    unit = np.where(spread > TINY, spread, 1.0)
    gaps = (best - values) / unit  # in [0, 1]

    def f(offset: np.ndarray) -> np.ndarray:
        away = gaps + offset
        with np.errstate(divide="ignore", invalid="ignore"):
            logs = np.where(seen, p * np.log(away), 0.0).sum(axis=-2, keepdims=True)
            inverse = np.where(seen, p / away, 0.0).sum(axis=-2, keepdims=True)
            total: np.ndarray = logs + np.log(inverse)
        return total

    low = np.full(limit.shape, math.log(TINY))
    high = np.full(limit.shape, math.log(1.0 / TINY))
    for _ in range(BISECTIONS):
        middle = (low + high) / 2.0
        above = f(np.exp(middle)) > limit
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    unseen_best = ~(seen & (gaps <= TINY)).any(axis=-2, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        at_best = f(np.zeros(limit.shape))
        to_best = np.where(unseen_best & (at_best < limit), -np.expm1(at_best - limit), 0.0)
        offset = np.where(to_best > 0.0, 0.0, np.exp(high))
        tilted = np.where(seen, p / (gaps + offset), 0.0)
        member = (1.0 - to_best) * tilted / tilted.sum(axis=-2, keepdims=True)
    everything = ~np.isfinite(limit) | (spread <= TINY)
    first_best = np.arange(values.shape[-2])[:, None] == gaps.argmin(axis=-2)[..., None, :]
    member = np.where(everything, p, member + to_best * first_best)
    return np.where(~np.isfinite(limit), first_best.astype(float), member)
