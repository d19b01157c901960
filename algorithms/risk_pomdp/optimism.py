"""Optimistic planning on an estimated model: scalars of histories, each within its range.

sigma_h(f) are the risk beliefs of the estimated model, not scaled, and b_h(s, a) >= 0 a bonus that
covers the error of one step's probabilities. With s = sign(gamma) and the reward still to come
known to lie in [low_h, high_h],

    Q_h(f, a) = <sigma_h(f), e^{gamma r_h(., a)}>  at the last step, else  sum_o V_{h+1}(f a o)
                + s <sigma_h(f), b_h(., a)>
    V_h(f) = max over a of Q_h(f, a) for gamma > 0, min for gamma < 0, then moved into
             |sigma_h(f)|_1 [e^{gamma low_h}, e^{gamma high_h}] (its ends in order)

and (1 / gamma) log of sum_o V_0(o) is the value. Without the last move this is value iteration on
beta vectors with a bonus added to each entry. The move is on the scalar of a history, never on the
entries of its vector: README.md says why the former keeps optimism and the latter does not.
"""

from dataclasses import dataclass

import numpy as np

from tenfold.envs.risk.controller import Controller
from tenfold.envs.risk.pomdp import HistoryPolicy, TabularPOMDP


@dataclass(frozen=True)
class OptimisticSolution:
    """A policy and what the learner believes to get from it.

    Attributes:
        policy: Action of every history, of equally good ones the first; or a controller.
        value: Optimistic entropic risk, at least the optimum wherever the bonus covers the errors.
    """

    policy: HistoryPolicy | Controller
    value: float


def rewards_to_come(rewards: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least and most sum of rewards from each step on, each (H + 1,), from rewards (H, S, A)."""
    low, high = (
        np.append(np.cumsum(ends[::-1])[::-1], 0.0)
        for ends in (rewards.min(axis=(1, 2)), rewards.max(axis=(1, 2)))
    )
    return low, high


def plan_optimistically(
    model: TabularPOMDP, gamma: float, bonus: np.ndarray, first_bonus: float
) -> OptimisticSolution:
    """Plan over all histories of a model.

    Args:
        model: The estimated POMDP.
        gamma: Risk parameter.
        bonus: b_h(s, a), (H, S, A).
        first_bonus: The error that the distribution of the first state and observation may make;
            the same for all policies.
    """
    model.check_histories()
    H, A, O, sign = model.H, model.A, model.O, np.sign(gamma)  # noqa: E741
    sigma = [model.emissions[0].T * model.initial]  # (histories, S) a step
    for h in range(H - 1):
        grown = np.exp(gamma * model.rewards[h])[..., None] * model.transitions[h]
        moved = np.einsum("is,sat->iat", sigma[-1], grown)
        seen = np.einsum("iat,to->iaot", moved, model.emissions[h + 1])
        sigma.append(seen.reshape(-1, model.S))
    ends = np.sort(np.exp(gamma * np.stack(rewards_to_come(model.rewards))), axis=0)  # (2, H + 1)
    policy: HistoryPolicy = []
    worth = np.empty(0)
    for h in reversed(range(H)):
        if h == H - 1:
            ahead = sigma[h] @ np.exp(gamma * model.rewards[h])
        else:
            ahead = worth.reshape(-1, A, O).sum(axis=2)
        ahead = ahead + sign * (sigma[h] @ bonus[h])  # (histories, A)
        actions = (sign * ahead).argmax(axis=1)
        policy.append(actions)
        mass = sigma[h].sum(axis=1)
        best = np.take_along_axis(ahead, actions[:, None], axis=1)[:, 0]
        worth = np.clip(best, mass * ends[0, h], mass * ends[1, h])
    expected = np.clip(worth.sum() + sign * first_bonus, ends[0, 0], ends[1, 0])
    return OptimisticSolution(policy[::-1], float(np.log(expected) / gamma))
