"""TD3's module with `EnsembleCritic` and a deterministic policy of J subnetworks."""

from collections.abc import Sequence
from typing import Any

import torch
from ray.rllib.core.columns import Columns
from ray.rllib.utils.annotations import override
from torch import nn

from tenfold.algorithms.omnet.base_learner import reduced
from tenfold.algorithms.omnet.critic import EnsembleCritic
from tenfold.algorithms.omnet.layers import SubnetworkMLP
from tenfold.algorithms.omnet.masks import MaskScheme
from tenfold.algorithms.omnet.module import POLICY_MEMBERS
from tenfold.algorithms.td3.module import TD3Module


class SubnetworkActor(nn.Module):
    """pi_j(s) = tanh(network of subnetwork j), (B, act) in [-1, 1].

    Attributes:
        network: (B, obs) -> (J, B, act).
        members: J.
    """

    def __init__(
        self,
        observation_size: int,
        action_size: int,
        hiddens: Sequence[int],
        *,
        scheme: MaskScheme,
        rescale_init: bool,
        activation: str,
    ) -> None:
        """Make the policy; arguments as `EnsembleCritic` takes them."""
        super().__init__()
        self.network = SubnetworkMLP(
            [observation_size, *hiddens, action_size],
            scheme=scheme,
            rescale_init=rescale_init,
            activation=activation,
        )
        self.members = self.network.members

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        """Actions by all subnetworks in turn: the batch is cut into J slices, one for each.

        Args:
            observations: (B, obs); where J does not divide B, filled up with its first rows.
        """
        count, J = len(observations), self.members
        if J == 1:
            return torch.tanh(self.network(observations)[0])
        filled = torch.cat([observations, observations[: -count % J]])
        return torch.tanh(self.network(filled.unflatten(0, (J, -1))).flatten(0, 1)[:count])

    def modes(self, observations: torch.Tensor) -> torch.Tensor:
        """The action of each subnetwork, (J, B, act)."""
        return torch.tanh(self.network(observations))


class OMNetTD3Module(TD3Module):
    """Members k of the critic and j of the policy; `model_config["omnet"]` says how many.

    Attributes:
        critic_steps: Gradient steps of the critic so far, int64.
        actor_steps: Those of the policy.
    """

    online_targets = 0

    @override(TD3Module)
    def setup(self) -> None:
        self.policy_is_due = True
        self.told = told = self.model_config["omnet"]
        sizes = (self.observation_space.shape[0], self.action_space.shape[0])
        layers = {
            "hiddens": told["hiddens"],
            "activation": told["activation"],
            "rescale_init": told["rescale_init"],
        }
        self.pi = SubnetworkActor(*sizes, scheme=MaskScheme(**told["policy_masks"]), **layers)
        for layer in self.pi.network.layers:
            layer.frozen = self.inference_only
        if not self.inference_only:
            self.qf = EnsembleCritic(
                *sizes,
                num_critics=told["num_critics"],
                scheme=MaskScheme(**told["critic_masks"]),
                dropout=told["dropout"],
                layer_norm=told["layer_norm"],
                **layers,
            )
        self.register_buffer("critic_steps", torch.zeros((), dtype=torch.int64))
        self.register_buffer("actor_steps", torch.zeros((), dtype=torch.int64))

    @override(TD3Module)
    def get_non_inference_attributes(self) -> list[str]:
        return [*super().get_non_inference_attributes(), "critic_steps", "actor_steps"]

    @override(TD3Module)
    def _forward_inference(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """The mean of the subnetworks' actions, or one subnetwork's, by `eval_sampling`."""
        modes = self.pi.modes(batch[Columns.OBS])
        chosen = self.told["eval_sampling"]
        return {Columns.ACTIONS: modes.mean(dim=0) if chosen == "mean" else modes[chosen]}

    @override(TD3Module)
    def _forward_exploration(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """The action of the subnetwork in POLICY_MEMBERS, or the mean, with TD3's noise."""
        modes = self.pi.modes(batch[Columns.OBS])  # (J, B, act)
        if self.told["policy_sampling"] == "mean":
            actions = modes.mean(dim=0)
        else:
            rows = torch.arange(modes.shape[1], device=modes.device)
            members = batch.get(POLICY_MEMBERS)
            if members is None:
                members = torch.randint(len(modes), rows.shape, device=modes.device)
            actions = modes[members, rows]
        noise = self.model_config["exploration_noise"] * torch.randn_like(actions)
        return {Columns.ACTIONS: (actions + noise).clamp(-1.0, 1.0)}

    @override(TD3Module)
    def values(self, observations: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        """Q_k(s, a) of all members, (E, B); of each on its slice, (E, b); of one, (1, B)."""
        mode = self.told["subnet_batch_mode"]
        if mode == "split":
            return self.qf(self.qf.split(observations), self.qf.split(actions))
        one = torch.randint(self.qf.members, (1,), device=observations.device)
        return self.qf(observations, actions, one if mode == "sample" else None)

    @override(TD3Module)
    def values_for_policy(self, observations: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        """The mean or the least of all members, (B,)."""
        return reduced(self.qf(observations, actions), self.told["actor_q_reduce"], 0.0)

    @override(TD3Module)
    @torch.no_grad()
    def forward_target(self, batch: dict[str, Any], **kwargs: Any) -> torch.Tensor:
        """`target_reduce` of Q'_k(s', a') over m members drawn at random, (B,)."""
        seen = batch[Columns.NEXT_OBS]
        members = self.target_qf.drawn(self.told["target_subset"], seen.device)
        values = self.target_qf(seen, self.smoothed_actions(seen), members)
        return reduced(values, self.told["target_reduce"], self.told["target_quantile"])

    def member_values(self, seen: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        """Q_k(s, a) of all members, (E, B)."""
        values: torch.Tensor = self.qf(seen, actions)
        return values

    def action_diversity(self, seen: torch.Tensor) -> torch.Tensor:
        """Standard deviation of the subnetworks' actions, mean over states and actions."""
        return self.pi.modes(seen).std(dim=0, correction=0).mean()

    def temperature(self) -> float:
        """Values are those of the greedy policy: no entropy."""
        return 0.0
