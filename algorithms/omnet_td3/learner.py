"""TD3's learner with many members in the critic."""

from typing import Any

import torch
from ray.rllib.core.columns import Columns
from ray.rllib.utils.annotations import override
from torch.nn import functional

from tenfold.algorithms.omnet.diagnostics import describe
from tenfold.algorithms.td3.learner import TD3Learner


class OMNetTD3Learner(TD3Learner):
    """All members learn one target."""

    @override(TD3Learner)
    def critic_loss(self, module_id: str, values: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """(1/K) sum_k mean (Q_k - y)^2, or the sum, or Huber's loss, as the config says.

        Args:
            module_id: Of the module.
            values: Q_k, (E, B), or (E, b) where the batch is split into E slices.
            y: The target, (B,).
        """
        config = self.config.get_config_for_module(module_id)
        if config.subnet_batch_mode == "split":
            y = self.module[module_id].unwrapped().qf.split(y)
        y = y.expand_as(values)
        loss = functional.mse_loss if config.critic_loss == "mse" else functional.huber_loss
        of_members = loss(values, y, reduction="none").mean(dim=1)
        return of_members.mean() if config.critic_loss_reduction == "mean" else of_members.sum()

    def diagnose(self, module_id: str, columns: dict[str, Any]) -> dict[str, float]:
        """What the subnetworks have become, see `tenfold.algorithms.omnet.diagnostics.describe`.

        Args:
            module_id: Of the module.
            columns: Steps of the replay, OBS (B, obs) and ACTIONS (B, act).
        """
        seen, actions = (
            torch.as_tensor(columns[name]).to(self._device)
            for name in (Columns.OBS, Columns.ACTIONS)
        )
        return describe(self.module[module_id].unwrapped(), seen, actions)
