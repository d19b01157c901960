"""Networks of TD3: the policy pi, the critics Q_1 and Q_2, and their targets."""

from typing import Any

import torch
from ray.rllib.algorithms.sac.sac_learner import QF_PREDS, QF_TARGET_NEXT
from ray.rllib.core.columns import Columns
from ray.rllib.core.learner.utils import make_target_network
from ray.rllib.core.models.base import ENCODER_OUT, Model
from ray.rllib.core.models.configs import MLPHeadConfig
from ray.rllib.core.rl_module.apis import InferenceOnlyAPI, TargetNetworkAPI
from ray.rllib.core.rl_module.torch.torch_rl_module import TorchRLModule
from ray.rllib.utils.annotations import override
from torch import nn

from tenfold.algorithms.common.joint_critic import JointCriticCatalog

# Q_1(s, pi(s)), (B,), in the gradient steps that move the policy.
Q_OF_POLICY = "q_of_policy"


class TD3Catalog(JointCriticCatalog):
    """Networks as SAC's, with a head of one number in [-1, 1] an action."""

    @override(JointCriticCatalog)
    def build_pi_head(self, framework: str) -> Model:
        return MLPHeadConfig(
            input_dims=self.latent_dims,
            hidden_layer_dims=self.pi_and_qf_head_hiddens,
            hidden_layer_activation=self.pi_and_qf_head_activation,
            output_layer_activation="tanh",
            output_layer_dim=self.action_space.shape[0],
        ).build(framework)


class Policy(nn.Module):
    """pi(s), (B, actions) in [-1, 1]."""

    def __init__(self, catalog: TD3Catalog) -> None:
        super().__init__()
        self.encoder = catalog.build_encoder("torch")
        self.head = catalog.build_pi_head("torch")

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        actions: torch.Tensor = self.head(self.encoder({Columns.OBS: observations})[ENCODER_OUT])
        return actions


class Critic(nn.Module):
    """Q(s, a), (B,)."""

    def __init__(self, catalog: TD3Catalog) -> None:
        super().__init__()
        self.encoder = catalog.build_qf_encoder("torch")
        self.head = catalog.build_qf_head("torch")

    def forward(self, observations: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        encoded = self.encoder({Columns.OBS: observations, Columns.ACTIONS: actions})
        values: torch.Tensor = self.head(encoded[ENCODER_OUT])
        return values.squeeze(-1)


class TD3Module(TorchRLModule, InferenceOnlyAPI, TargetNetworkAPI):
    """pi, Q_1, Q_2 and their targets; a runner has pi alone.

    Attributes:
        policy_is_due: Whether this gradient step moves the policy; the learner says so.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        catalog_class = kwargs.pop("catalog_class", None) or TD3Catalog
        super().__init__(*args, **kwargs, catalog_class=catalog_class)

    @override(TorchRLModule)
    def setup(self) -> None:
        self.policy_is_due = True
        self.pi = Policy(self.catalog)
        if not self.inference_only:
            critics = 2 if self.model_config["twin_q"] else 1
            self.qf = nn.ModuleList(Critic(self.catalog) for _ in range(critics))

    @override(TargetNetworkAPI)
    def make_target_networks(self) -> None:
        self.target_pi = make_target_network(self.pi)
        self.target_qf = make_target_network(self.qf)

    @override(TargetNetworkAPI)
    def get_target_network_pairs(self) -> list[tuple[nn.Module, nn.Module]]:
        return [(self.pi, self.target_pi), (self.qf, self.target_qf)]

    @override(InferenceOnlyAPI)
    def get_non_inference_attributes(self) -> list[str]:
        return ["qf", "target_pi", "target_qf"]

    @override(TorchRLModule)
    def _forward_inference(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        return {Columns.ACTIONS: self.pi(batch[Columns.OBS])}

    @override(TorchRLModule)
    def _forward_exploration(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Uniform actions for the first steps, then pi(s) + N(0, exploration_noise^2), clipped.

        Args:
            batch: OBS, (B, ...).
            kwargs: `t`, environment steps so far.
        """
        told = self.model_config
        if kwargs.get("t", told["random_steps"]) < told["random_steps"]:
            shape = (len(batch[Columns.OBS]), *self.action_space.shape)
            return {
                Columns.ACTIONS: 2.0 * torch.rand(shape, device=batch[Columns.OBS].device) - 1.0
            }
        actions = self.pi(batch[Columns.OBS])
        noise = told["exploration_noise"] * torch.randn_like(actions)
        return {Columns.ACTIONS: (actions + noise).clamp(-1.0, 1.0)}

    @override(TorchRLModule)
    def _forward_train(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """What the losses need.

        Args:
            batch: OBS, ACTIONS, NEXT_OBS, (B, ...).

        Returns:
            QF_PREDS Q_i(s, a), (N, B); QF_TARGET_NEXT min_i Q'_i(s', a'), (B,), without gradient;
            where the policy is due, Q_OF_POLICY Q_1(s, pi(s)), (B,), whose gradient reaches the
            policy alone.
        """
        observations, actions = batch[Columns.OBS], batch[Columns.ACTIONS]
        out = {
            QF_PREDS: self.values(observations, actions),
            QF_TARGET_NEXT: self.forward_target(batch),
        }
        if self.policy_is_due:
            self.qf.requires_grad_(False)
            out[Q_OF_POLICY] = self.values_for_policy(observations, self.pi(observations))
            self.qf.requires_grad_(True)
        return out

    def values(self, observations: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        """Q_i(s, a), (N, B)."""
        return torch.stack([critic(observations, actions) for critic in self.qf])

    def values_for_policy(self, observations: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        """Q_1(s, a), (B,): what the policy ascends."""
        values: torch.Tensor = self.qf[0](observations, actions)
        return values

    @override(TargetNetworkAPI)
    @torch.no_grad()
    def forward_target(self, batch: dict[str, Any], **kwargs: Any) -> torch.Tensor:
        """min_i Q'_i(s', a') at the smoothed action of s', the batch's NEXT_OBS, (B,)."""
        observations = batch[Columns.NEXT_OBS]
        actions = self.smoothed_actions(observations)
        values = [critic(observations, actions) for critic in self.target_qf]
        return torch.stack(values).amin(dim=0)

    def smoothed_actions(self, observations: torch.Tensor) -> torch.Tensor:
        """a' = clip(pi'(s') + clip(noise)), (B, actions)."""
        actions: torch.Tensor = self.target_pi(observations)
        noise = self.model_config["target_policy_noise"] * torch.randn_like(actions)
        limit = self.model_config["target_noise_clip"]
        return (actions + noise.clamp(-limit, limit)).clamp(-1.0, 1.0)
