"""Losses of the critics, the policy and its temperature.

    theta_k:  quantile Huber loss of Z_k(s, y, a) against r + Z'(s', y', a'),   a' ~ pi(. | s', y')
    phi:      E alpha log pi(a | s, y) - min_k U_k(s, y, a),                    a ~ pi(. | s, y)
    alpha:    -E log alpha (log pi(a | s, y) + target entropy)

The bonus alpha of the entropy is in the policy's loss alone: Z is the distribution of rewards, as
rho must see it, and not of rewards with bonuses.
"""

from typing import Any

import torch
from ray.rllib.algorithms.sac.sac_learner import QF_LOSS_KEY, QF_MEAN_KEY
from ray.rllib.core.columns import Columns
from ray.rllib.core.learner.learner import POLICY_LOSS_KEY
from ray.rllib.utils.annotations import override

from tenfold.algorithms.common.off_policy_replay import ReplayLearner
from tenfold.algorithms.common.quantile_critic import (
    NEXT_QUANTILES,
    QUANTILES,
    quantile_huber_loss,
)
from tenfold.algorithms.rs_disrl_sac.module import LOG_TEMPERATURE, LOGP, WORTH


class RiskActorCriticLearner(ReplayLearner):
    """Follows the return distribution, and backs up whole distributions."""

    @override(ReplayLearner)
    def build(self) -> None:
        self.believed: dict[str, float] = {}  # rho(F) of each module
        super().build()
        config, device = self.config, self._device
        self.first = torch.as_tensor(config.first_observations(), device=device)
        shifts = torch.as_tensor(config.candidate_shifts(), dtype=torch.float32)
        self.shifts = shifts.to(device)
        self.climbed, self.rho = config.climbed_measure(), config.measure()
        self.module.foreach_module(lambda _, module: module.unwrapped().make_target_networks())

    @override(ReplayLearner)
    def configure_optimizers_for_module(self, module_id: str, config: Any = None) -> None:
        module = self.module[module_id].unwrapped()
        self.register_adams(
            module_id,
            ("qf", module.qf.parameters(), config.critic_lr),
            ("policy", module.pi.parameters(), config.actor_lr),
            ("alpha", [module.log_alpha], config.alpha_lr),
        )

    @override(ReplayLearner)
    def before_gradient_based_update(self, *, timesteps: dict[str, Any]) -> None:
        super().before_gradient_based_update(timesteps=timesteps)
        for module_id, module in self.module._rl_modules.items():
            plain = module.unwrapped()
            plain.follow(self.first, self.climbed, self.shifts)
            self.believed[module_id] = plain.believed_risk(self.rho)

    @override(ReplayLearner)
    def targets_due(self, module_id: str, steps: int) -> bool:
        """They move after every gradient step."""
        return True

    @override(ReplayLearner)
    def compute_loss_for_module(
        self, *, module_id: str, config: Any, batch: dict[str, Any], fwd_out: dict[str, Any]
    ) -> torch.Tensor:
        """The sum of the three: no two of them reach the same parameter."""
        going_on = 1.0 - batch[Columns.TERMINATEDS]
        rewards = batch[Columns.REWARDS] / config.return_scale
        targets = rewards[:, None] + going_on[:, None] * fwd_out[NEXT_QUANTILES]  # (B, N)
        losses = [quantile_huber_loss(q, targets, config.kappa) for q in fwd_out[QUANTILES]]
        critic_loss = torch.stack(losses).mean(dim=-1).sum()
        logp, log_alpha = fwd_out[LOGP], fwd_out[LOG_TEMPERATURE]
        policy_loss = (log_alpha.exp().detach() * logp - fwd_out[WORTH]).mean()
        gap = logp.detach().mean() + config.entropy_target(self.actions_of(module_id))
        self._log(module_id, fwd_out, critic_loss, policy_loss)
        return critic_loss + policy_loss - log_alpha * gap

    def actions_of(self, module_id: str) -> int:
        """Numbers of an action."""
        return int(self.module[module_id].unwrapped().action_space.shape[0])

    def _log(
        self,
        module_id: str,
        fwd_out: dict[str, Any],
        critic_loss: torch.Tensor,
        policy_loss: torch.Tensor,
    ) -> None:
        scale = self.module[module_id].unwrapped().scale
        logged = {
            QF_LOSS_KEY: critic_loss.detach(),
            QF_MEAN_KEY: scale * fwd_out[QUANTILES].detach().mean(),
            POLICY_LOSS_KEY: policy_loss.detach(),
            "alpha_value": fwd_out[LOG_TEMPERATURE].detach().exp(),
            "believed_risk": self.believed[module_id],
        }
        self.metrics.log_dict(logged, key=module_id, window=1)
