"""What the learners of OMNet share: the critic's loss, and what a module says of itself."""

from typing import Any

import torch
from ray.rllib.algorithms.sac.sac_learner import QF_LOSS_KEY, QF_MEAN_KEY, TD_ERROR_MEAN_KEY
from ray.rllib.core.columns import Columns
from torch.nn import functional

from tenfold.algorithms.common.off_policy_replay import ReplayLearner
from tenfold.algorithms.omnet.diagnostics import describe, value_errors
from tenfold.algorithms.omnet.ledger import spent


class SubnetworkLearner(ReplayLearner):
    """A learner of modules with an `EnsembleCritic` named `qf`."""

    def critic_loss(
        self, module_id: str, config: Any, predicted: torch.Tensor, target: torch.Tensor
    ) -> torch.Tensor:
        """(1/K) sum_k E[(Q_k - y)^2], or what `critic_loss` and `critic_loss_reduction` say.

        Args:
            module_id: Of the module.
            config: Of the module.
            predicted: Q_k(s, a), (E, B), of one member (1, B), or of slices (E, b).
            target: y, (B,), without gradients; cut into slices here if the batch was.

        Returns:
            A scalar, logged with the mean value and the mean absolute error.
        """
        if config.subnet_batch_mode == "split":
            target = self.module[module_id].unwrapped().qf.split(target)
        if config.critic_loss == "mse":
            each = (predicted - target) ** 2
        else:
            each = functional.huber_loss(predicted, target.expand_as(predicted), reduction="none")
        of_members = each.mean(dim=1)
        mean = config.critic_loss_reduction == "mean"
        loss = of_members.mean() if mean else of_members.sum()
        logged = {
            QF_LOSS_KEY: loss.detach(),
            QF_MEAN_KEY: predicted.detach().mean(),
            TD_ERROR_MEAN_KEY: (predicted.detach() - target).abs().mean(),
        }
        self.metrics.log_dict(logged, key=module_id, window=1)
        return loss

    def diagnose(self, module_id: str, columns: dict[str, Any]) -> dict[str, float]:
        """What the subnetworks have become, see `diagnostics.describe`, and what it has cost.

        Args:
            module_id: Of the module.
            columns: Steps of the replay, OBS (B, obs) and ACTIONS.
        """
        module = self.module[module_id].unwrapped()
        seen, actions = (
            torch.as_tensor(columns[name]).to(self._device)
            for name in (Columns.OBS, Columns.ACTIONS)
        )
        config = self.config.get_config_for_module(module_id)
        rows = config.train_batch_size_per_learner * (config.num_learners or 1)
        return {**describe(module, seen, actions), **spent(module, rows)}

    def value_bias(self, module_id: str, episodes: list[Any]) -> dict[str, float]:
        """The critic's bias on episodes of the policy, see `diagnostics.value_errors`."""
        gamma = self.config.get_config_for_module(module_id).gamma
        return value_errors(self.module[module_id].unwrapped(), episodes, gamma)


def reduced(values: torch.Tensor, how: str, level: float) -> torch.Tensor:
    """One value of each row from those of m members.

    Args:
        values: (m, B).
        how: "min", "mean" or "quantile".
        level: Of the quantile, 0 for the least.

    Returns:
        (B,).
    """
    if how == "quantile":
        return values.quantile(level, dim=0)
    return values.amin(dim=0) if how == "min" else values.mean(dim=0)
