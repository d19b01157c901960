"""How much each trajectory counts: the data augmentation of DOM2, as integer weights.

DOM2 (arXiv:2307.01472, algorithm 1) duplicates good trajectories,

    D' <- D + sum over r_th of { tau in D : Return(tau) > r_th },

which is sampling trajectory tau with the weight w(tau) = 1 + #{r_th < Return(tau)}. The weights are
kept and the copies are not. The comparison is strict, a threshold that is listed twice counts
twice, and the return is each agent's own, as in the first author's later code (`lizr16/OM2P`); with
the team's return all agents' rows belong to one joint step.
"""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from tenfold.envs.offline.card import DataCard

Augment = Literal["none", "quantiles", "dom2", "thresholds", "exp_weight"]
ReturnOf = Literal["agent", "team"]

QUANTILES = (1 / 2, 3 / 4, 7 / 8, 7 / 8)
"""Thresholds by quantiles, which the author's code uses wherever it has none by hand."""

DOM2_THRESHOLDS: dict[tuple[str, str], tuple[float, ...]] = {
    ("spread", "expert"): (525, 550, 575, 600, 625),
    ("spread", "medium"): (200, 250, 300, 350, 400, 450, 500, 550),
    ("tag", "expert"): (200, 250, 300, 350, 400),
    ("tag", "medium"): (100, 150, 200, 250, 300),
    ("world", "expert"): (75, 100, 125, 150, 175),
    ("halfcheetah", "expert"): (3800, 3850, 3900, 3950, 4000),
    ("halfcheetah", "medium"): (1800, 1850, 1900, 1950, 2000),
    ("halfcheetah", "medium-replay"): (100, 300, 500, 1000, 1500),
}
"""(environment, level) -> thresholds of the author's code, on the scale of OMAR's rewards. Random
data have none; all others are augmented by `QUANTILES`."""

MOST = 1_000
"""The largest weight of `exp_weight`."""


def returns_for(returns: np.ndarray, return_of: ReturnOf) -> np.ndarray:
    """The return that weights each agent's trajectories, float64 (episodes, n).

    Args:
        returns: Summed rewards by episode and agent, of the same shape.
        return_of: Each agent's own, or the mean over agents for all of them.
    """
    if return_of == "team":
        returns = np.repeat(returns.mean(axis=1, keepdims=True), returns.shape[1], axis=1)
    return returns


def weights_above(returns: np.ndarray, thresholds: Sequence[float]) -> np.ndarray:
    """1 + the number of thresholds below each return, int64 of the same shape."""
    above = returns[..., None] > np.asarray(thresholds, dtype=float)
    return 1 + above.sum(axis=-1)


def trajectory_weights(
    card: DataCard,
    returns: np.ndarray,
    augment: Augment,
    thresholds: Sequence[float] = (),
    beta: float = 1.0,
) -> np.ndarray:
    """w(tau) of each agent, int64 (episodes, n).

    In a mixture each part is weighted by its own thresholds.

    Args:
        card: Names the environment and the levels of the data's parts.
        returns: As `returns_of` gives them.
        augment: ``none``; ``quantiles`` of the returns; the author's table, ``dom2``; the given
            ``thresholds``; or ``exp_weight``, which is 1 + floor(exp(beta z)) with z the
            standardised return.
        thresholds: Of ``thresholds``.
        beta: Of ``exp_weight``.
    """
    weights = np.ones(returns.shape, dtype=np.int64)
    if augment == "none":
        return weights
    start = 0
    levels = [(part.level, part.episodes) for part in card.parts]
    for level, episodes in levels or [(card.level, len(returns))]:
        part = slice(start, start + episodes)
        weights[part] = _weights_of_part(card, level, returns[part], augment, thresholds, beta)
        start += episodes
    return weights


def _weights_of_part(
    card: DataCard,
    level: str,
    returns: np.ndarray,
    augment: Augment,
    thresholds: Sequence[float],
    beta: float,
) -> np.ndarray:
    if augment == "thresholds":
        return weights_above(returns, thresholds)
    if augment == "exp_weight":
        z = (returns - returns.mean(axis=0)) / np.maximum(returns.std(axis=0), 1e-9)
        return 1 + np.floor(np.exp(np.minimum(beta * z, math.log(MOST)))).astype(np.int64)
    if augment == "dom2":
        name = card.environment.rpartition("/")[2]
        if level == "random":
            return np.ones(returns.shape, dtype=np.int64)
        if (name, level) in DOM2_THRESHOLDS:
            return weights_above(returns, DOM2_THRESHOLDS[name, level])
    cuts = np.quantile(returns, QUANTILES, axis=0)  # (4, n)
    return 1 + (returns[None] > cuts[:, None]).sum(axis=0)


def nested_episodes(episodes: int, fraction: float, seed: int) -> np.ndarray:
    """Which trajectories a share of the data keeps, sorted; smaller shares lie in larger ones.

    Args:
        episodes: How many there are.
        fraction: Share, above 0 and at most 1; one trajectory is kept at least.
        seed: Of the order in which trajectories are taken up.
    """
    order = np.random.default_rng(seed).permutation(episodes)
    return np.sort(order[: max(1, round(fraction * episodes))])


def effective_share(weights: np.ndarray) -> float:
    """Effective sample size of the weighted trajectories, as a share; the mean over agents."""
    size = weights.sum(axis=0, dtype=float) ** 2 / (weights.astype(float) ** 2).sum(axis=0)
    return float((size / len(weights)).mean())
