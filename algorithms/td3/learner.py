"""Losses of TD3, and when its policy and its targets move."""

from typing import Any

import torch
from ray.rllib.algorithms.sac.sac_learner import (
    QF_LOSS_KEY,
    QF_MAX_KEY,
    QF_MEAN_KEY,
    QF_MIN_KEY,
    QF_PREDS,
    QF_TARGET_NEXT,
)
from ray.rllib.core.columns import Columns
from ray.rllib.core.learner.learner import POLICY_LOSS_KEY
from ray.rllib.utils.annotations import override

from tenfold.algorithms.common.off_policy_replay import ReplayLearner
from tenfold.algorithms.td3.module import Q_OF_POLICY


class TD3Learner(ReplayLearner):
    """Q_i learn y at every gradient step, pi and the targets move at every `policy_delay`-th."""

    @override(ReplayLearner)
    def build(self) -> None:
        self._policy_losses: dict[str, torch.Tensor] = {}  # of the last step that moved it
        super().build()
        self.module.foreach_module(lambda _, module: module.unwrapped().make_target_networks())

    @override(ReplayLearner)
    def configure_optimizers_for_module(self, module_id: str, config: Any = None) -> None:
        module = self._module[module_id]
        self.register_adams(
            module_id,
            ("qf", self.get_parameters(module.qf), config.critic_lr),
            ("policy", self.get_parameters(module.pi), config.actor_lr),
        )

    @override(ReplayLearner)
    def _update(self, batch: dict[str, Any]) -> Any:
        due = (self.gradient_steps + 1) % self.config.policy_delay == 0
        for module in self.module.values():
            module.unwrapped().policy_is_due = due
        return super()._update(batch)

    @override(ReplayLearner)
    def targets_due(self, module_id: str, steps: int) -> bool:
        """They move with the policy (algorithm 1)."""
        due: bool = self.module[module_id].unwrapped().policy_is_due
        return due

    @override(ReplayLearner)
    def compute_loss_for_module(
        self, *, module_id: str, config: Any, batch: dict[str, Any], fwd_out: dict[str, Any]
    ) -> torch.Tensor:
        """The critics' loss against y, and -mean Q_1(s, pi(s)) where the policy is due."""
        values = fwd_out[QF_PREDS]  # (N, B)
        going_on = 1.0 - batch[Columns.TERMINATEDS]
        y = batch[Columns.REWARDS] + config.gamma * going_on * fwd_out[QF_TARGET_NEXT]  # (B,)
        loss = self.critic_loss(module_id, config, values, y)
        if Q_OF_POLICY in fwd_out:
            policy_loss = -fwd_out[Q_OF_POLICY].mean()
            loss = loss + policy_loss
            self._policy_losses[module_id] = policy_loss.detach()
        if module_id in self._policy_losses:
            value = self._policy_losses[module_id]
            self.metrics.log_value((module_id, POLICY_LOSS_KEY), value, window=1)
        return loss

    def critic_loss(
        self, module_id: str, config: Any, predicted: torch.Tensor, target: torch.Tensor
    ) -> torch.Tensor:
        """sum_i mean (Q_i - y)^2, logged with the values' mean, largest and least.

        Args:
            module_id: Of the module.
            config: Of the module.
            predicted: Q_i(s, a), (N, B).
            target: y, (B,), without gradient.
        """
        loss = ((predicted - target) ** 2).mean(dim=1).sum()
        values = predicted.detach()
        logged = {
            QF_LOSS_KEY: loss.detach(),
            QF_MEAN_KEY: values.mean(),
            QF_MAX_KEY: values.max(),
            QF_MIN_KEY: values.min(),
        }
        self.metrics.log_dict(logged, key=module_id, window=1)
        return loss
