"""DQN with subnetworks: the module, its target, and the algorithm on the array loop.

    y = r + gamma (1 - terminated) min_{k in U} Qbar_k(s', a*),  a* = argmax_a mean_k Q_k(s', a)

With `double_q` off, a* is what the reduced target itself takes for the best. Each episode acts by
one subnetwork, epsilon-greedily, as bootstrapped DQN does by one head (arXiv:1602.04621).
"""

from typing import Any

import torch
from ray.rllib.algorithms.dqn.dqn_learner import QF_PREDS
from ray.rllib.core.columns import Columns
from ray.rllib.core.learner.utils import make_target_network
from ray.rllib.core.rl_module.apis import InferenceOnlyAPI, QNetAPI, TargetNetworkAPI
from ray.rllib.core.rl_module.torch.torch_rl_module import TorchRLModule
from ray.rllib.utils.annotations import override
from ray.rllib.utils.schedules.scheduler import Scheduler
from torch import nn

from tenfold.algorithms.common.seeded_replay import SeededDQN
from tenfold.algorithms.omnet.algorithm import SubnetworkAlgorithm
from tenfold.algorithms.omnet.base_learner import SubnetworkLearner, reduced
from tenfold.algorithms.omnet.critic import EnsembleCritic
from tenfold.algorithms.omnet.masks import MaskScheme
from tenfold.algorithms.omnet.module import POLICY_MEMBERS

NEXT_VALUES = "next_values"


class OMNetDQNModule(TorchRLModule, InferenceOnlyAPI, QNetAPI, TargetNetworkAPI):
    """Q_k(s, .) of E members and their target; `model_config["omnet"]` as for `OMNetModule`."""

    pi = None

    @override(TorchRLModule)
    def setup(self) -> None:
        told = self.model_config["omnet"]
        self.told = told
        self.qf = EnsembleCritic(
            self.observation_space.shape[0],
            int(self.action_space.n),
            told["hiddens"],
            num_critics=told["num_critics"],
            scheme=MaskScheme(**told["critic_masks"]),
            discrete=True,
            rescale_init=told["rescale_init"],
            dropout=told["dropout"],
            layer_norm=told["layer_norm"],
            activation=told["activation"],
        )
        for layer in self.qf.network.layers:
            layer.frozen = self.inference_only
        self.online_targets = self.qf.members if told["double_q"] else 0
        self.epsilon = Scheduler(fixed_value_or_schedule=told["epsilon"], framework="torch")
        self.register_buffer("critic_steps", torch.zeros((), dtype=torch.int64))
        self.register_buffer("actor_steps", torch.zeros((), dtype=torch.int64))

    @override(TargetNetworkAPI)
    def make_target_networks(self) -> None:
        self.target_qf = make_target_network(self.qf)

    @override(TargetNetworkAPI)
    def get_target_network_pairs(self) -> list[tuple[nn.Module, nn.Module]]:
        return [(self.qf, self.target_qf)]

    @override(InferenceOnlyAPI)
    def get_non_inference_attributes(self) -> list[str]:
        return ["target_qf", "critic_steps", "actor_steps"]

    @override(TorchRLModule)
    @torch.no_grad()
    def _forward_exploration(self, batch: dict[str, Any], t: int = 0) -> dict[str, Any]:
        """Epsilon-greedy actions by one member, the mean, or an upper confidence bound.

        Args:
            batch: OBS (B, obs); POLICY_MEMBERS (B,), drawn for each row when it is not there.
            t: Environment steps so far.
        """
        seen = batch[Columns.OBS]
        values, B = self.qf(seen), len(seen)  # (E, B, A)
        if self.told["ucb_coef"]:
            spread = values.std(dim=0, correction=0)
            worth = values.mean(dim=0) + self.told["ucb_coef"] * spread
        elif self.told["policy_sampling"] == "mean":
            worth = values.mean(dim=0)
        else:
            members = batch.get(POLICY_MEMBERS)
            if members is None:
                members = torch.randint(len(values), (B,), device=seen.device)
            worth = values[members, torch.arange(B, device=seen.device)]
        self.epsilon.update(t)
        anything = torch.randint(worth.shape[1], (B,), device=seen.device)
        explores = torch.rand(B, device=seen.device) < self.epsilon.get_current_value()
        return {Columns.ACTIONS: torch.where(explores, anything, worth.argmax(dim=1))}

    @override(TorchRLModule)
    @torch.no_grad()
    def _forward_inference(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Greedy by the mean of all members, or by one, as `eval_sampling` says."""
        values, chosen = self.qf(batch[Columns.OBS]), self.told["eval_sampling"]
        worth = values.mean(dim=0) if chosen == "mean" else values[chosen]
        return {Columns.ACTIONS: worth.argmax(dim=1)}

    @override(TorchRLModule)
    def _forward_train(self, batch: dict[str, Any]) -> dict[str, Any]:
        """QF_PREDS Q_k(s, a) as `OMNetModule` has them, and NEXT_VALUES, (B,), without gradient."""
        seen, actions = batch[Columns.OBS], batch[Columns.ACTIONS].long()
        mode = self.told["subnet_batch_mode"]
        if mode == "split":
            values, actions = self.qf(self.qf.split(seen)), self.qf.split(actions)
        elif mode == "sample":
            one = torch.randint(self.qf.members, (1,), device=seen.device)
            values, actions = self.qf(seen, None, one), actions[None]
        else:
            values, actions = self.qf(seen), actions[None]
        index = actions.expand(values.shape[:2])[..., None]
        predicted = values.gather(-1, index).squeeze(-1)
        with torch.no_grad():
            after = self.forward_target({Columns.OBS: batch[Columns.NEXT_OBS]})  # (B, A)
            if self.told["double_q"]:
                best = self.qf(batch[Columns.NEXT_OBS]).mean(dim=0).argmax(dim=1, keepdim=True)
                after = after.gather(1, best).squeeze(1)
            else:
                after = after.amax(dim=1)
        return {QF_PREDS: predicted, NEXT_VALUES: after}

    @override(TargetNetworkAPI)
    def forward_target(self, batch: dict[str, Any]) -> torch.Tensor:
        """Qbar(s, .) of m members drawn at random, reduced, (B, A)."""
        seen = batch[Columns.OBS]
        members = self.target_qf.drawn(self.told["target_subset"], seen.device)
        values = self.target_qf(seen, None, members)
        return reduced(values, self.told["target_reduce"], self.told["target_quantile"])

    @override(QNetAPI)
    def compute_q_values(self, batch: dict[str, Any]) -> dict[str, torch.Tensor]:
        """Mean over members, QF_PREDS (B, A)."""
        return {QF_PREDS: self.qf(batch[Columns.OBS]).mean(dim=0)}

    def member_values(self, seen: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        """Q_e(s, a) of all members, (E, B)."""
        values = self.qf(seen)
        index = actions.long()[None, :, None].expand(len(values), -1, 1)
        return values.gather(-1, index).squeeze(-1)

    def action_diversity(self, seen: torch.Tensor) -> torch.Tensor:
        """Share of pairs of members whose best actions differ, mean over states."""
        best = self.qf(seen).argmax(dim=-1)  # (E, B)
        pairs = max(1, len(best) * (len(best) - 1))
        return (best[:, None] != best[None]).float().sum(dim=(0, 1)).mean() / pairs

    def temperature(self) -> float:
        """Values are those of the greedy policy: no entropy."""
        return 0.0


class OMNetDQNLearner(SubnetworkLearner):
    """The critic's loss on DQN's target."""

    @override(SubnetworkLearner)
    def build(self) -> None:
        super().build()
        self.module.foreach_module(lambda _, module: module.unwrapped().make_target_networks())

    @override(SubnetworkLearner)
    def compute_loss_for_module(
        self, *, module_id: str, config: Any, batch: dict[str, Any], fwd_out: dict[str, Any]
    ) -> torch.Tensor:
        going_on = 1.0 - batch[Columns.TERMINATEDS].float()
        target = batch[Columns.REWARDS] + config.gamma * going_on * fwd_out[NEXT_VALUES]
        self.module[module_id].unwrapped().critic_steps += 1
        return self.critic_loss(module_id, config, fwd_out[QF_PREDS], target)


class OMNetDQN(SubnetworkAlgorithm, SeededDQN):
    """DQN with subnetworks in its Q network."""

    values_exploring = False
