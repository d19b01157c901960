"""Critics of all agents: what they learn from, and what keeps them conservative.

With n agents, B rows, K critics an agent and Q_{j,k} of agent j on what it sees itself:

    y = r + gamma (1 - d) min_k Qbar_k(o', a'),   a' ~ the target policy
    L = sum_k E (Q_k(o, a) - y)^2
        + zeta E[ tau_l log sum_a exp((Q_k(o, a) - log rho(a)) / tau_l) - Q_k(o, a) ]

where the sum is over actions drawn from rho: uniform ones, or also noisy ones of the policy, as in
OMAR's code (arXiv:2111.11188, `ling-pan/OMAR`).
"""

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

Critic = Callable[[Tensor, Tensor], Tensor]
"""Observations (n, B, o), actions (n, B, S, m) -> Q, (K, n, B, S)."""
CQLSampler = Literal["uniform", "policy"]
POLICY_NOISE = 0.2


def bootstrap(q_next: Tensor, rewards: Tensor, terminated: Tensor, gamma: float) -> Tensor:
    """y (n, B) from Qbar at the next actions (K, n, B, S): the least over k, the best over s."""
    value = q_next.amin(dim=0).amax(dim=-1)
    return rewards + gamma * (1 - terminated.float()) * value


def sampled_actions(
    a: Tensor, samples: int, sampler: CQLSampler, policies: tuple[Tensor, Tensor] | None
) -> tuple[Tensor, Tensor]:
    """Actions of rho and log rho of each.

    Args:
        a: Recorded actions, (n, B, m), for their shape.
        samples: Of each kind.
        sampler: ``uniform`` on [-1, 1]^m, or ``policy``: also noisy actions of the policy.
        policies: Its actions at o and at o', (n, B, m), of ``policy``.

    Returns:
        (n, B, S, m) and (n, B, S), with S = samples, or 3 x samples.
    """
    n, B, m = a.shape
    uniform = 2 * torch.rand(n, B, samples, m, device=a.device) - 1
    log_rho = torch.full((n, B, samples), m * math.log(0.5), device=a.device)
    if sampler == "uniform" or policies is None:
        return uniform, log_rho
    actions, densities = [uniform], [log_rho]
    for own in policies:
        noise = POLICY_NOISE * torch.randn(n, B, samples, m, device=a.device)
        actions.append((own[:, :, None] + noise).clamp(-1, 1))
        exponent = -0.5 * (noise / POLICY_NOISE).square()
        densities.append((exponent - math.log(POLICY_NOISE * math.sqrt(2 * math.pi))).sum(dim=-1))
    return torch.cat(actions, dim=2), torch.cat(densities, dim=2)


def conservative_gap(q_rho: Tensor, log_rho: Tensor, q_data: Tensor, temperature: float) -> Tensor:
    """tau_l log sum exp((Q(o, a) - log rho(a)) / tau_l) - Q(o, a), the mean over rows, (K, n).

    Args:
        q_rho: Q at sampled actions, (K, n, B, S).
        log_rho: (n, B, S).
        q_data: Q at recorded actions, (K, n, B).
        temperature: tau_l.
    """
    soft = temperature * torch.logsumexp((q_rho - log_rho) / temperature, dim=-1)
    return (soft - q_data).mean(dim=-1)


def expectile_loss(difference: Tensor, expectile: float) -> Tensor:
    """|e - 1{u < 0}| u^2, the mean over rows (..., B): the loss of IQL's values."""
    weight = torch.where(difference < 0, 1 - expectile, expectile)
    return (weight * difference.square()).mean(dim=-1)


@torch.no_grad()
def improved_actions(
    critic: Critic, o: Tensor, own: Tensor, iterations: int, samples: int, sigma: float
) -> Tensor:
    """OMAR's actions: the best of what a cross-entropy search finds and the policy's own.

    Actions are drawn around a mean of 0, and mean and deviation move to the draws weighted by
    softmax of Q, as in OMAR's code for particle worlds.

    Args:
        critic: The critics; the first is asked.
        o: Observations, (n, B, o).
        own: The policy's actions there, (n, B, m).
        iterations: Of the search.
        samples: Draws of each.
        sigma: Deviation of the first draws.

    Returns:
        (n, B, m).
    """
    mean, deviation = torch.zeros_like(own), torch.full_like(own, sigma)
    for _ in range(iterations):
        noise = torch.randn(*own.shape[:2], samples, own.shape[2], device=own.device)
        drawn = (mean[:, :, None] + deviation[:, :, None] * noise).clamp(-1, 1)
        q = critic(o, drawn)[0]  # (n, B, S)
        weight = torch.softmax(q, dim=-1)[..., None]
        mean = (weight * drawn).sum(dim=2)
        deviation = (drawn - mean[:, :, None]).square().mean(dim=2).sqrt()
    candidates = torch.cat([drawn, own[:, :, None]], dim=2)
    q = torch.cat([q, critic(o, own[:, :, None])[0]], dim=-1)
    return best_of(candidates, q)


def best_of(candidates: Tensor, q: Tensor) -> Tensor:
    """Of candidates (n, B, S, m) those of the greatest q (n, B, S): (n, B, m)."""
    best = q.argmax(dim=-1)[..., None, None].expand(-1, -1, 1, candidates.shape[-1])
    return candidates.gather(2, best).squeeze(2)


def softmax_choice(candidates: Tensor, q: Tensor) -> Tensor:
    """Of candidates (n, B, S, m) one drawn with probabilities softmax(q): (n, B, m)."""
    n, B, S, m = candidates.shape
    drawn = torch.multinomial(torch.softmax(q, dim=-1).view(n * B, S), 1).view(n, B, 1, 1)
    return candidates.gather(2, drawn.expand(-1, -1, 1, m)).squeeze(2)
