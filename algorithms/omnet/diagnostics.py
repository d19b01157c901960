"""What subnetworks have become: their spread, dead units, rank, diversity; and the values' bias."""

import math
from typing import Any, Protocol

import numpy as np
import torch
from ray.rllib.core.columns import Columns

from tenfold.algorithms.omnet.critic import EnsembleCritic
from tenfold.algorithms.omnet.layers import SubnetworkMLP
from tenfold.algorithms.omnet.masks import overlap_matrix


class Described(Protocol):
    """What is asked of a module, whatever the base algorithm.

    Attributes:
        training: As torch has it.
        qf: The critic.
    """

    training: bool
    qf: EnsembleCritic

    def train(self, mode: bool = True) -> Any: ...

    def member_values(self, seen: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        """Q_e(s, a) of all members, (E, B)."""

    def action_diversity(self, seen: torch.Tensor) -> torch.Tensor:
        """How differently the subnetworks act, a scalar."""

    def temperature(self) -> float:
        """alpha, the weight of the entropy; 0 where there is none."""


# Of an episode that was cut, only states count whose return lacks at most this share: with gamma =
# 0.99 the first 350 of 1,000, as in REDQ's protocol.
CUT_SHARE = 0.0015
# A unit is dormant whose mean activation is at most this share of its layer's (arXiv:2302.12902).
DORMANT = 0.025


@torch.no_grad()
def describe(module: Described, seen: torch.Tensor, actions: torch.Tensor) -> dict[str, float]:
    """Metrics of a module on some steps; draws nothing at random.

    Args:
        module: What is trained.
        seen: s, (B, obs).
        actions: a, (B, act), or (B,) where they are discrete.

    Returns:
        `q_mean_K` of each member k, `q_spread` (standard deviation across members, mean over
        steps), `dead_units` and `dormant_units` (shares of hidden units of the critic),
        `effective_rank` (of its last hidden layer, mean over members), `mask_overlap` (mean
        Jaccard index of pairs of masks) and `action_diversity` (of the subnetworks that act).
    """
    was_training = module.training
    module.train(False)
    values = module.member_values(seen, actions)  # (E, B)
    inputs = seen if module.qf.discrete else torch.cat([seen, actions], dim=-1)
    hidden = hidden_units(module.qf.network, inputs)
    diversity = float(module.action_diversity(seen))
    module.train(was_training)
    scales = [layer.abs().mean(dim=1) for layer in hidden]  # (E, n) each
    shares = [scale / scale.mean(dim=-1, keepdim=True).clamp_min(1e-12) for scale in scales]
    share = torch.cat([each.flatten() for each in shares])
    overlap = overlap_matrix(module.qf.network.masks, module.qf.network.sizes)
    pairs = overlap[~np.eye(len(overlap), dtype=bool)]
    found = {
        "q_spread": float(values.std(dim=0, correction=0).mean()),
        "dead_units": float((share == 0.0).float().mean()),
        "dormant_units": float((share <= DORMANT).float().mean()),
        "effective_rank": float(np.mean([effective_rank(each) for each in hidden[-1]])),
        "mask_overlap": float(pairs.mean()) if len(pairs) else 1.0,
        "action_diversity": diversity,
    }
    return found | {f"q_mean_{k}": float(mean) for k, mean in enumerate(values.mean(dim=1))}


def hidden_units(network: SubnetworkMLP, inputs: torch.Tensor) -> list[torch.Tensor]:
    """Activations of each hidden layer of all members, (E, B, n) each; n of kept units only."""
    found: list[torch.Tensor] = []
    hooks = [
        layer.register_forward_pre_hook(lambda _, given: found.append(given[0]))
        for layer in list(network.layers)[1:]
    ]
    network(inputs)
    for hook in hooks:
        hook.remove()
    return [each if each.ndim == 3 else each.expand(network.members, -1, -1) for each in found]


def effective_rank(features: torch.Tensor) -> float:
    """Singular values that make up 99 % of their sum (arXiv:2010.14498): srank.

    Args:
        features: (B, n).
    """
    singular = torch.linalg.svdvals(features)
    total = singular.cumsum(0)
    if total[-1] == 0.0:
        return 0.0
    return float((total < 0.99 * total[-1]).sum() + 1)


@torch.no_grad()
def value_errors(module: Described, episodes: list[Any], gamma: float) -> dict[str, float]:
    """The bias of Q against Monte-Carlo returns of the policy, by REDQ's protocol.

    Returns are the soft ones that Q estimates, G_t = r_t + gamma (G_{t+1} - alpha log pi(a|s)).
    Errors are divided by the absolute mean of the returns (arXiv:2101.05982, section 3).

    Args:
        module: What is trained.
        episodes: Of the policy that is valued; with `ACTION_LOGP` among their extra model outputs
            where there is a temperature.
        gamma: Discount.

    Returns:
        `value_bias_mean` and `value_bias_std` of the mean of all members, and
        `error_cosine`, the mean cosine of pairs of members' errors; empty if no state counts.
    """
    device, alpha = module.qf.network.mask_digest.device, module.temperature()
    returns, seen, actions = [], [], []
    for episode in episodes:
        rewards = np.asarray(episode.get_rewards(), np.float64)
        logp = np.zeros(len(rewards))
        if alpha > 0.0:
            logp = np.asarray(episode.get_extra_model_outputs(Columns.ACTION_LOGP), np.float64)
        each = soft_returns(rewards, logp, alpha, gamma)
        kept = len(each) if episode.is_terminated else len(each) - _tail(gamma)
        count = int(max(0, kept))
        returns.append(each[:count])
        seen.append(np.asarray(episode.get_observations())[:count])
        actions.append(np.asarray(episode.get_actions())[:count])
    truth = np.concatenate(returns)
    if not len(truth):
        return {}
    was_training = module.training
    module.train(False)
    values = module.member_values(
        torch.as_tensor(np.concatenate(seen), dtype=torch.float32, device=device),
        torch.as_tensor(np.concatenate(actions), device=device),
    )
    module.train(was_training)
    errors = values.cpu().double().numpy() - truth  # (E, n)
    scale = max(abs(truth.mean()), 1e-9)
    bias = errors.mean(axis=0) / scale
    found = {"value_bias_mean": float(bias.mean()), "value_bias_std": float(bias.std())}
    if len(errors) > 1:
        unit = errors / np.maximum(np.linalg.norm(errors, axis=1, keepdims=True), 1e-12)
        cosines = (unit @ unit.T)[~np.eye(len(unit), dtype=bool)]
        found["error_cosine"] = float(cosines.mean())
    return found


def _tail(gamma: float) -> float:
    """Steps after which a return lacks at most `CUT_SHARE` of what it is worth."""
    if not 0.0 < gamma < 1.0:
        return math.inf if gamma else 0
    return math.ceil(math.log(CUT_SHARE) / math.log(gamma))


def soft_returns(rewards: np.ndarray, logp: np.ndarray, alpha: float, gamma: float) -> np.ndarray:
    """G_t = r_t + gamma (G_{t+1} - alpha log pi(a_{t+1}|s_{t+1})), with G_T = 0 at the end.

    Args:
        rewards: (T,).
        logp: log pi(a_t|s_t), (T,).
        alpha: Temperature.
        gamma: Discount.

    Returns:
        (T,).
    """
    found = np.zeros(len(rewards))
    after = 0.0
    for t in range(len(rewards) - 1, -1, -1):
        found[t] = rewards[t] + gamma * after
        after = found[t] - alpha * logp[t]
    return found
