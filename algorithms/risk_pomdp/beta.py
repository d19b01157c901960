"""Risk beliefs and beta vectors: value iteration on vectors for an exponential objective.

With f = (o_0, a_0, ..., o_h) a history, and the reference measure's factor O left out since it
cancels,

    sigma_0(o)(s) = O_0(o | s) mu(s)
    sigma_{h+1}(f a o')(s') = O_{h+1}(o' | s') sum_s T_h(s' | s, a)
                              e^{gamma r_h(s, a)} sigma_h(f)(s)
    beta_h(f, a)(s) = e^{gamma r_h(s, a)} sum_{s'} T_h(s' | s, a) sum_{o'} O_{h+1}(o' | s')
                       beta_{h+1}(f a o', pi(f a o'))(s'),    beta_{H-1}(f, a) = e^{gamma r}

and E[e^{gamma R}] = sum_f <sigma_h(f), beta_h(f, pi(f))> at every step h. So the best action of a
history maximises (1 / gamma) log <sigma, beta>, whatever the scale of sigma. (Paper: change of
measure and beta vectors; the recursions are reconstructed and derived again here.)
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tenfold.envs.risk.controller import Controller
from tenfold.envs.risk.pomdp import HistoryPolicy, TabularPOMDP

MOST_EXPONENT = 300.0
"""Largest |gamma| H: e^300 squared is still a float64."""

LEAST_GAMMA = 1e-8
"""Smallest |gamma|: rounding of e^{gamma R} near 1 is divided by it, about 1e-8 here."""


def check_gamma(gamma: float, H: int, name: str = "gamma") -> None:
    """Refuse a risk parameter that is 0, lost in rounding, or whose exponentials overflow.

    Raises:
        ValueError: With the range that is right.
    """
    most = MOST_EXPONENT / H
    if not LEAST_GAMMA <= abs(gamma) <= most:
        raise ValueError(
            f"Bad value {gamma} for '{name}': with H = {H} give a number from -{most:g} to "
            f"{most:g} other than 0 and not nearer to it than {LEAST_GAMMA:g} (1e-6 stands for "
            "risk-neutral)."
        )


def risk_beliefs(pomdp: TabularPOMDP, gamma: float) -> list[np.ndarray]:
    """Risk beliefs of all histories by step, (histories, S), each scaled to sum to 1 or all 0."""
    pomdp.check_histories()
    beliefs = [_scaled(pomdp.emissions[0].T * pomdp.initial)]
    for h in range(pomdp.H - 1):
        grown = np.exp(gamma * pomdp.rewards[h])[..., None] * pomdp.transitions[h]
        moved = np.einsum("is,sat->iat", beliefs[-1], grown)
        seen = np.einsum("iat,to->iaot", moved, pomdp.emissions[h + 1])
        beliefs.append(_scaled(seen.reshape(-1, pomdp.S)))
    return beliefs


@dataclass(frozen=True)
class Solution:
    """A policy and its beta vectors.

    Attributes:
        policy: Action of every history.
        beta: Vectors beta_h(f, pi(f)) by step, (histories, S).
        value: Entropic risk (1 / gamma) log E[e^{gamma R}] of the policy.
    """

    policy: HistoryPolicy
    beta: list[np.ndarray]
    value: float


def solve(pomdp: TabularPOMDP, gamma: float) -> Solution:
    """The best of all history-dependent policies; ties go to the first action.

    Args:
        pomdp: The model.
        gamma: Risk parameter, below 0 averse, above 0 seeking.
    """
    beliefs = risk_beliefs(pomdp, gamma)

    def greedy(h: int, vectors: np.ndarray) -> np.ndarray:
        worth = np.einsum("is,ias->ia", beliefs[h], vectors)
        best: np.ndarray = (np.sign(gamma) * worth).argmax(axis=1)
        return best

    return _backward(pomdp, gamma, greedy)


def evaluate(pomdp: TabularPOMDP, gamma: float, policy: HistoryPolicy | Controller) -> float:
    """Entropic risk of a policy, exactly; a controller's at any horizon."""
    if isinstance(policy, Controller):
        return _evaluate_controller(pomdp, gamma, policy)
    return _backward(pomdp, gamma, lambda h, vectors: policy[h]).value


def _backward(
    pomdp: TabularPOMDP,
    gamma: float,
    choose: Callable[[int, np.ndarray], np.ndarray],
) -> Solution:
    pomdp.check_histories()
    H, S, A, O = pomdp.H, pomdp.S, pomdp.A, pomdp.O  # noqa: E741
    policy: HistoryPolicy = []
    betas: list[np.ndarray] = []
    for h in reversed(range(H)):
        growth = np.exp(gamma * pomdp.rewards[h])  # (S, A)
        if h == H - 1:
            vectors = np.broadcast_to(growth.T, (O * (A * O) ** h, A, S))
        else:
            after = betas[-1].reshape(-1, A, O, S)
            ahead = np.einsum("iaot,to->iat", after, pomdp.emissions[h + 1])
            vectors = np.einsum("sa,sat,iat->ias", growth, pomdp.transitions[h], ahead)
        actions = choose(h, vectors)
        policy.append(actions)
        betas.append(np.take_along_axis(vectors, actions[:, None, None], axis=1)[:, 0])
    first = pomdp.emissions[0].T * pomdp.initial
    value = float(np.log((first * betas[-1]).sum()) / gamma)
    return Solution(policy[::-1], betas[::-1], value)


def _evaluate_controller(pomdp: TabularPOMDP, gamma: float, policy: Controller) -> float:
    growth = np.exp(gamma * pomdp.rewards)
    vectors = growth[-1].T[policy.actions[-1]]  # (nodes, S)
    for h in reversed(range(pomdp.H - 1)):
        ahead = np.einsum("not,to->nt", vectors[policy.successors[h]], pomdp.emissions[h + 1])
        actions = policy.actions[h]
        moved = np.einsum("snt,nt->ns", pomdp.transitions[h][:, actions], ahead)
        vectors = growth[h].T[actions] * moved
    first = pomdp.emissions[0].T * pomdp.initial
    return float(np.log((first * vectors[policy.start]).sum()) / gamma)


def _scaled(beliefs: np.ndarray) -> np.ndarray:
    total = beliefs.sum(axis=1, keepdims=True)
    scaled: np.ndarray = np.divide(beliefs, total, out=np.zeros_like(beliefs), where=total > 0)
    return scaled
