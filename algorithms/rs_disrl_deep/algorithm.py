"""A quantile critic that maximises a static risk measure of the whole return.

The critic learns the distribution Z(s, y, a) of the rewards to come as QR-DQN does. Actions
maximise U(s, y, a) = E g(y + Z(s, y, a)), which `tenfold.algorithms.common.return_utility` has.
"""

from typing import Any

import torch
from ray.rllib.algorithms.dqn import DQNConfig
from ray.rllib.algorithms.dqn.dqn_learner import QF_PREDS
from ray.rllib.core.columns import Columns
from ray.rllib.utils.annotations import override

from tenfold.algorithms.common.quantile_critic import (
    NEXT_QUANTILES,
    NEXT_VALUES,
    QUANTILES,
    QuantileLearner,
    QuantileModule,
    at_actions,
)
from tenfold.algorithms.common.return_utility import ReturnUtility, at_shifts
from tenfold.algorithms.common.seeded_replay import SeededDQN
from tenfold.algorithms.common.static_risk import RiskEvaluation
from tenfold.envs.risk.measures import RiskMeasure


class StaticRiskModule(ReturnUtility, QuantileModule):
    """Quantiles of the rewards to come in units of `return_scale`, and the utility g."""

    @override(QuantileModule)
    def setup(self) -> None:
        super().setup()
        told = self.model_config
        self.make_utility(self.num_atoms, told["return_scale"], told["shift_span"])

    @override(QuantileModule)
    def _qf_forward_helper(self, batch: dict[str, Any], encoder: Any, head: Any) -> dict[str, Any]:
        scaled = {**batch, Columns.OBS: self.scaled(batch[Columns.OBS])}
        outputs: dict[str, Any] = super()._qf_forward_helper(scaled, encoder, head)
        return outputs

    @override(QuantileModule)
    def action_values(self, quantiles: torch.Tensor, batch: dict[str, Any]) -> torch.Tensor:
        y = batch[Columns.OBS][:, -1, None, None]  # scaled by the helper, as the quantiles are
        return self.utility(self.scale * (y + quantiles)).mean(dim=-1)

    @override(QuantileModule)
    def _forward_train(self, batch: dict[str, Any]) -> dict[str, Any]:
        """The base's outputs for y shifted at random, here and at the next observation alike."""
        here, after = self.shifted(batch[Columns.OBS], batch[Columns.NEXT_OBS])
        shifted = {**batch, Columns.OBS: here, Columns.NEXT_OBS: after}
        outputs: dict[str, Any] = super()._forward_train(shifted)
        return outputs

    @torch.no_grad()
    def follow(self, first: torch.Tensor, rho: RiskMeasure, shifts: torch.Tensor) -> float:
        """Take F from the target network, and g from F.

        Args:
            first: The first observations, (M, n).
            rho: The measure.
            shifts: Of y, (J,) in reward units.

        Returns:
            rho(F).
        """
        outputs = self.forward_target({Columns.OBS: at_shifts(first, shifts)})
        greedy = at_actions(outputs[QUANTILES], outputs[QF_PREDS].argmax(dim=-1))  # (J M, N)
        return self.take_distribution(rho, greedy, len(shifts))


class StaticRiskLearner(QuantileLearner):
    """Follows the return distribution, and backs up whole distributions as QR-DQN does."""

    @override(QuantileLearner)
    def build(self) -> None:
        super().build()
        self.first = torch.as_tensor(self.config.first_observations())
        self.shifts = torch.as_tensor(self.config.candidate_shifts(), dtype=torch.float32)
        self.rho = self.config.climbed_measure()

    @override(QuantileLearner)
    def before_gradient_based_update(self, *, timesteps: dict[str, Any]) -> None:
        super().before_gradient_based_update(timesteps=timesteps)
        for module_id, module in self.module._rl_modules.items():
            risk = module.unwrapped().follow(self.first, self.rho, self.shifts)
            self.metrics.log_value((module_id, "believed_risk"), risk, window=1)

    @override(QuantileLearner)
    def targets(
        self, config: DQNConfig, batch: dict[str, Any], fwd_out: dict[str, torch.Tensor]
    ) -> torch.Tensor:
        """r + Z(s', y', a') for the a' of the largest U, in units of `return_scale`, (B, N)."""
        best = fwd_out[NEXT_VALUES].argmax(dim=-1)
        after = at_actions(fwd_out[NEXT_QUANTILES], best)  # (B, N)
        going_on = 1.0 - batch[Columns.TERMINATEDS].float()
        scaled = batch[Columns.REWARDS] / config.return_scale
        return scaled[:, None] + going_on[:, None] * after


class RSDisRLDeep(RiskEvaluation, SeededDQN):
    """DQN whose critic and policy serve a static risk measure."""
