"""The networks of all agents in one module: policies, critics, and the targets of both."""

from copy import deepcopy
from typing import Any

import torch
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.torch import TorchRLModule
from ray.rllib.utils.annotations import override
from torch import Tensor, nn

from tenfold.algorithms.dom2.critics import softmax_choice
from tenfold.algorithms.dom2.networks import StackedCritic, StackedMLP
from tenfold.algorithms.dom2.policies import Policy, Shared, make_policy


class StackedAgents(TorchRLModule):
    """n agents that share nothing but this module; made of ``model_config["config"]``, see
    `DOM2Config`, with spaces of the shapes (n, o) and (n, m).

    Attributes:
        policy: What learns; `target_policy` follows it.
        critic: K critics an agent, and `target_critic`; None where nothing asks for them.
        value: State values of IQL, else None.
        mean: Of observations, (n, 1, o), 0 where they are not normalised; `std` likewise.
        updates: Updates so far, a buffer, so that it is in checkpoints.
    """

    policy: Policy
    target_policy: Policy
    critic: nn.Module | None
    target_critic: nn.Module | None
    value: nn.Module | None
    mean: Tensor
    std: Tensor
    updates: Tensor

    @override(TorchRLModule)
    def setup(self) -> None:
        c = self.config_ = self.model_config["config"]
        n, o = self.observation_space.shape
        m = self.action_space.shape[1]
        networks = 1 if c.share_parameters else n
        self.policy = make_policy(c, networks, o, m)
        self.target_policy = _follower(self.policy)
        self.critic = self.target_critic = self.value = None
        if c.uses_critic:
            seen = o if not c.ctde else n * o + (n - 1) * m
            critic = StackedCritic(2 if c.twin_q else 1, networks, seen, m, c.critic_hidden)
            self.critic = Shared(critic, axis=1) if c.share_parameters else critic
            self.target_critic = _follower(self.critic)
        if c.expectile is not None:
            h = c.critic_hidden
            value = StackedMLP(networks, [o, h, h, 1])
            self.value = Shared(value) if c.share_parameters else value
        self.register_buffer("mean", torch.zeros(n, 1, o))
        self.register_buffer("std", torch.ones(n, 1, o))
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))
        statistics = self.model_config.get("statistics")
        if statistics is not None:
            self.mean.copy_(torch.as_tensor(statistics[0])[:, None])
            self.std.copy_(torch.as_tensor(statistics[1])[:, None])

    @override(TorchRLModule)
    def train(self, mode: bool = True) -> "StackedAgents":
        """Switch dropout of what learns; targets have none."""
        super().train(mode)
        for target in (self.target_policy, self.target_critic):
            if target is not None:
                target.eval()
        return self

    def normalised(self, o: Tensor) -> Tensor:
        """Observations (n, B, o) as networks see them."""
        return (o - self.mean) / self.std

    def seen_by_critic(self, o: Tensor, a: Tensor) -> Tensor:
        """What each critic is shown beside its agent's action, (n, B, ...).

        Its agent's observation; a centralised critic (``ctde``) is shown all agents' observations
        and the others' actions.

        Args:
            o: Normalised, (n, B, o).
            a: All agents' actions, (n, B, m).
        """
        if not self.config_.ctde:
            return o
        n = len(o)
        everyone = torch.cat(list(o), dim=-1)
        others = [torch.cat([a[i] for i in range(n) if i != j], dim=-1) for j in range(n)]
        return torch.stack([torch.cat([everyone, each], dim=-1) for each in others])

    @torch.no_grad()
    def actions(self, o: Tensor, candidates: int = 1) -> Tensor:
        """What the agents do, (n, B, m).

        Args:
            o: As the environment shows them, (n, B, o).
            candidates: Actions drawn, of which softmax of Q chooses one.
        """
        policy = self.target_policy if self.config_.act_with == "target" else self.policy
        training = policy.training
        policy.eval()
        seen = self.normalised(o)
        each = (seen.shape[1], candidates)
        drawn = policy.act(seen.repeat_interleave(candidates, dim=1)).unflatten(1, each)
        policy.train(training)
        if candidates == 1:
            return drawn[:, :, 0]
        assert self.critic is not None
        q = self.critic(seen, drawn).amin(dim=0)
        return softmax_choice(drawn, q)

    @override(TorchRLModule)
    def _forward(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Actions (B, n, m) at observations (B, n, o)."""
        o = batch[Columns.OBS].transpose(0, 1)
        acted = self.actions(o, self.config_.eval_candidates).transpose(0, 1)
        return {Columns.ACTIONS: acted}


def _follower(network: Any) -> Any:
    """A copy that is not trained by gradients."""
    copied = deepcopy(network).eval()
    copied.requires_grad_(False)
    return copied
