"""Stage 2 of OMNet: a gradient step of the critic, and now and then one of policy and temperature.

One target for all members, from a random subset U of m of them:

    y = r + gamma (1 - terminated) [min_{k in U} Qbar_k(s', a') - alpha log pi(a'|s')],
    a' ~ pi(.|s')
    L(theta) = (1/K) sum_k E[(Q_k(s, a) - y)^2]
    L(phi)   = E[alpha log pi(a|s) - (1/K) sum_k Q_k(s, a)],   a ~ pi(.|s)

`ReplayLearner` draws a fresh batch for each gradient step and moves the target after it.
"""

import logging
from collections.abc import Sequence
from typing import Any

import torch
from ray.rllib.algorithms.sac.sac_learner import (
    LOGPS_KEY,
    QF_PREDS,
)
from ray.rllib.algorithms.sac.torch.sac_torch_learner import SACTorchLearner
from ray.rllib.core.columns import Columns
from ray.rllib.core.learner.learner import POLICY_LOSS_KEY
from ray.rllib.utils.annotations import override

from tenfold.algorithms.common.off_policy_replay import ReplayLearner
from tenfold.algorithms.omnet.base_learner import SubnetworkLearner, reduced
from tenfold.algorithms.omnet.module import OMNetModule

logger = logging.getLogger(__name__)

ALPHA_KEY = "alpha_value"


class OMNetLearner(SubnetworkLearner, SACTorchLearner):
    """SAC's learner with many members in the critic, and the policy stepped apart from it."""

    @override(SACTorchLearner)
    def build(self) -> None:
        super().build()
        self._of_actor: dict[str, dict[str, torch.Tensor]] = {}

    @override(SACTorchLearner)
    def configure_optimizers_for_module(self, module_id: str, config: Any = None) -> None:
        module = self.module[module_id].unwrapped()
        self.register_adams(
            module_id,
            ("qf", module.qf.parameters(), config.critic_lr),
            ("policy", module.pi.parameters(), config.actor_lr),
            ("alpha", [module.log_alpha], config.alpha_lr),
        )

    @override(SACTorchLearner)
    def _get_target_entropy(self, module_id: str) -> float:
        config = self.config.get_config_for_module(module_id)
        space = self._module_spec.module_specs[module_id].action_space
        entropy: float = config.entropy_target(space.shape[0])
        return entropy

    @override(ReplayLearner)
    def _update(self, batch: dict[str, Any], **kwargs: Any) -> tuple[Any, Any, Any]:
        losses = {}
        for module_id, rows in batch.items():
            config = self.config.get_config_for_module(module_id)
            module: OMNetModule = self.module[module_id].unwrapped()
            fwd_out = module.forward_train(rows)
            losses[module_id] = self.compute_loss_for_module(
                module_id=module_id, config=config, batch=rows, fwd_out=fwd_out
            )
            self._descend(module_id, config, {"qf": losses[module_id]})
            module.critic_steps += 1
            if int(module.critic_steps) % config.critic_steps_per_actor_step() == 0:
                self._step_actor(module_id, config, module, rows)
            self.metrics.log_dict(self._of_actor.get(module_id, {}), key=module_id, window=1)
        return {}, losses, {}

    @override(SACTorchLearner)
    def compute_loss_for_module(
        self, *, module_id: str, config: Any, batch: dict[str, Any], fwd_out: dict[str, Any]
    ) -> torch.Tensor:
        """The critic's loss, from what `OMNetModule._forward_train` gives."""
        module: OMNetModule = self.module[module_id].unwrapped()
        with torch.no_grad():
            after = reduced(fwd_out["q_target_next"], config.target_reduce, config.target_quantile)
            after = after - module.log_alpha.exp() * fwd_out["logp_next_resampled"]
            going_on = 1.0 - batch[Columns.TERMINATEDS].float()
            target = batch[Columns.REWARDS] + config.gamma * going_on * after  # (B,)
        return self.critic_loss(module_id, config, fwd_out[QF_PREDS], target)

    def _step_actor(
        self, module_id: str, config: Any, module: OMNetModule, batch: dict[str, Any]
    ) -> None:
        actions, logp = module.pi.sample(batch[Columns.OBS])
        chosen = {Columns.OBS: batch[Columns.OBS], Columns.ACTIONS: actions}
        alpha = module.log_alpha.exp().detach()
        policy_loss = (alpha * logp - module.compute_q_values(chosen)).mean()
        entropy_gap = logp.detach().mean() + self.target_entropy[module_id]
        alpha_loss = -module.log_alpha * entropy_gap
        self._descend(module_id, config, {"policy": policy_loss, "alpha": alpha_loss})
        module.actor_steps += 1
        self._of_actor[module_id] = {
            POLICY_LOSS_KEY: policy_loss.detach(),
            "alpha_loss": alpha_loss.detach(),
            ALPHA_KEY: alpha,
            LOGPS_KEY: logp.detach().mean(),
        }

    def _descend(self, module_id: str, config: Any, losses: dict[str, torch.Tensor]) -> None:
        """A step of each named optimiser on its loss; none where a gradient is not finite."""
        gradients: dict[Any, torch.Tensor] = {}
        for name, loss in losses.items():
            own = self._optimizer_parameters[self.get_optimizer(module_id, name)]
            # Of these parameters alone: a policy's loss needs no gradients of the critic's weights.
            gradients |= zip(own, torch.autograd.grad(loss, own), strict=True)
        self.average(list(gradients.values()))
        norm = torch.nn.utils.get_total_norm(gradients.values())
        if not torch.isfinite(norm):
            logger.warning("A gradient of %s is not finite: its step is left out.", list(losses))
            return
        if config.grad_clip is not None or config.log_gradients:
            gradients = self._clipped(module_id, config, list(losses), gradients)
        for parameter, gradient in gradients.items():
            parameter.grad = gradient
        for name in losses:
            self.get_optimizer(module_id, name).step()

    def _clipped(
        self, module_id: str, config: Any, names: Sequence[str], gradients: dict[Any, torch.Tensor]
    ) -> dict[Any, torch.Tensor]:
        """RLlib's clipping, which goes through all optimisers, of those with gradients now."""
        every = self._module_optimizers[module_id]
        self._module_optimizers[module_id] = {f"{module_id}_{name}" for name in names}
        try:
            clipped: dict[Any, torch.Tensor] = self.postprocess_gradients_for_module(
                module_id=module_id, config=config, module_gradients_dict=gradients
            )
        finally:
            self._module_optimizers[module_id] = every
        return clipped
