"""The RLModule: critic, its target, policy and temperature of SAC, all with subnetworks."""

from typing import Any

import torch
from ray.rllib.algorithms.sac.sac_learner import QF_PREDS
from ray.rllib.algorithms.sac.torch.default_sac_torch_rl_module import DefaultSACTorchRLModule
from ray.rllib.core.columns import Columns
from ray.rllib.core.learner.utils import make_target_network
from ray.rllib.utils.annotations import override
from torch import nn

from tenfold.algorithms.omnet.critic import EnsembleCritic
from tenfold.algorithms.omnet.masks import MaskScheme
from tenfold.algorithms.omnet.policy import SubnetworkPolicy

# The policy subnetwork that acts for each row of a batch, (B,), int64.
POLICY_MEMBERS = "policy_members"


class OMNetModule(DefaultSACTorchRLModule):
    """SAC's module with `EnsembleCritic` and `SubnetworkPolicy` in place of RLlib's networks.

    `model_config["omnet"]` holds what `OMNetConfig` says. Masks are made again from their seed here
    and in every runner; the state holds their hash.

    Attributes:
        qf: The critic, E members; not in runners unless `ucb_coef` is above 0.
        target_qf: Its Polyak average, with the same masks.
        pi: The policy, J members.
        log_alpha: log of the temperature, a scalar parameter.
        critic_steps: Gradient steps of the critic so far, int64.
        actor_steps: Those of the policy.
    """

    online_targets = 0

    @override(DefaultSACTorchRLModule)
    def setup(self) -> None:
        told = self.model_config["omnet"]
        sizes = (self.observation_space.shape[0], self.action_space.shape[0])
        hiddens, activation = told["hiddens"], told["activation"]
        self.told = told
        self.pi = SubnetworkPolicy(
            *sizes,
            hiddens,
            scheme=MaskScheme(**told["policy_masks"]),
            rescale_init=told["rescale_init"],
            activation=activation,
        )
        self.qf = EnsembleCritic(
            *sizes,
            hiddens,
            num_critics=told["num_critics"],
            scheme=MaskScheme(**told["critic_masks"]),
            rescale_init=told["rescale_init"],
            dropout=told["dropout"],
            layer_norm=told["layer_norm"],
            activation=activation,
        )
        for layer in [*self.pi.network.layers, *self.qf.network.layers]:
            layer.frozen = self.inference_only
        self.log_alpha = nn.Parameter(torch.tensor(told["initial_alpha"]).log())
        self.register_buffer("critic_steps", torch.zeros((), dtype=torch.int64))
        self.register_buffer("actor_steps", torch.zeros((), dtype=torch.int64))

    @override(DefaultSACTorchRLModule)
    def make_target_networks(self) -> None:
        self.target_qf = make_target_network(self.qf)

    @override(DefaultSACTorchRLModule)
    def get_target_network_pairs(self) -> list[tuple[nn.Module, nn.Module]]:
        return [(self.qf, self.target_qf)]

    @override(DefaultSACTorchRLModule)
    def get_non_inference_attributes(self) -> list[str]:
        learnt = ["target_qf", "log_alpha", "critic_steps", "actor_steps"]
        return learnt if self.told["ucb_coef"] else ["qf", *learnt]

    @override(DefaultSACTorchRLModule)
    def _forward_exploration(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Random actions by `policy_sampling`, or of the best of all subnetworks by `ucb_coef`.

        Args:
            batch: OBS (B, obs); POLICY_MEMBERS (B,), drawn for each row when it is not there.
            **kwargs: RLlib's.
        """
        seen, J = batch[Columns.OBS], self.pi.members
        with torch.no_grad():
            if self.told["ucb_coef"]:
                actions, logp = self._most_promising(seen)
            elif self.told["policy_sampling"] == "mean":
                actions, logp = self.pi.act_on_mean(seen)
            else:
                members = batch.get(POLICY_MEMBERS)
                if members is None:
                    members = torch.randint(J, (len(seen),), device=seen.device)
                actions, logp = self.pi.act(seen, members)
        return {Columns.ACTIONS: actions, Columns.ACTION_LOGP: logp}

    def _most_promising(self, seen: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """argmax over the subnetworks' actions of mean_k Q_k + c std_k Q_k (not in the paper)."""
        actions, logp = self.pi.candidates(seen)  # (J, B, act), (J, B)
        J, B = logp.shape
        values = self.qf(seen.repeat(J, 1), actions.flatten(0, 1))  # (E, J B)
        spread = values.std(dim=0, correction=0)
        worth = (values.mean(dim=0) + self.told["ucb_coef"] * spread).view(J, B)
        best = worth.argmax(dim=0), torch.arange(B, device=seen.device)
        return actions[best], logp[best]

    @override(DefaultSACTorchRLModule)
    def _forward_inference(self, batch: dict[str, Any]) -> dict[str, Any]:
        """The mean of the subnetworks' modes, or one subnetwork's, by `eval_sampling`."""
        with torch.no_grad():
            modes = self.pi.modes(batch[Columns.OBS])
            chosen = self.told["eval_sampling"]
            return {Columns.ACTIONS: modes.mean(dim=0) if chosen == "mean" else modes[chosen]}

    @override(DefaultSACTorchRLModule)
    def _forward_train(self, batch: dict[str, Any]) -> dict[str, Any]:
        """What the critic's loss needs.

        Returns:
            QF_PREDS, (E, B) by all members; (E, b) where the batch is split into E slices; (1, B)
            by one at random. q_target_next, (m, B), by the target's random subset, and
            logp_next_resampled, (B,), both without gradients.
        """
        with torch.no_grad():
            actions, logp = self.pi.sample(batch[Columns.NEXT_OBS])
            after = {Columns.OBS: batch[Columns.NEXT_OBS], Columns.ACTIONS: actions}
            target = self.forward_target(after)
        return {
            QF_PREDS: self._trained_values(batch),
            "q_target_next": target,
            "logp_next_resampled": logp,
        }

    def _trained_values(self, batch: dict[str, Any]) -> torch.Tensor:
        seen, actions = batch[Columns.OBS], batch[Columns.ACTIONS]
        mode = self.told["subnet_batch_mode"]
        if mode == "split":
            return self.qf(self.qf.split(seen), self.qf.split(actions))
        if mode == "sample":
            return self.qf(seen, actions, torch.randint(self.qf.members, (1,), device=seen.device))
        return self.qf(seen, actions)

    @override(DefaultSACTorchRLModule)
    def forward_target(self, batch: dict[str, Any], squeeze: bool = True) -> torch.Tensor:
        """Qbar_k(s, a) of m members drawn at random, (m, B)."""
        seen = batch[Columns.OBS]
        members = self.target_qf.drawn(self.told["target_subset"], seen.device)
        return self.target_qf(seen, batch[Columns.ACTIONS], members)

    @override(DefaultSACTorchRLModule)
    def compute_q_values(self, batch: dict[str, Any], squeeze: bool = True) -> torch.Tensor:
        """Q(s, a) as the actor sees it: the mean or the least of all members, (B,)."""
        values = self.qf(batch[Columns.OBS], batch[Columns.ACTIONS])
        return values.mean(dim=0) if self.told["actor_q_reduce"] == "mean" else values.amin(dim=0)

    def member_values(self, seen: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        """Q_e(s, a) of all members, (E, B)."""
        values: torch.Tensor = self.qf(seen, actions)
        return values

    def action_diversity(self, seen: torch.Tensor) -> torch.Tensor:
        """Standard deviation of the subnetworks' modes, mean over states and actions."""
        return self.pi.modes(seen).std(dim=0, correction=0).mean()

    def temperature(self) -> float:
        """alpha."""
        return float(self.log_alpha.exp())
