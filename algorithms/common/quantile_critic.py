"""Quantile critics on RLlib's DQN: N quantiles an action, and risk functionals that choose by them.

Quantile regression as in QR-DQN (Dabney et al., arXiv:1710.10044): theta_1..theta_N stand for the
distribution that gives mass 1/N to each, and estimate F^{-1} at the midpoints
tau_i = (i - 1/2) / N.

RLlib's DQN gives sampling, replay, target networks and epsilon-greedy. `QuantileModule` turns its
head of `num_atoms` outputs an action into quantiles, `QuantileLearner` replaces its loss. A method
says in `QuantileModule.action_values` what an action is worth, and in `QuantileLearner.targets`
what its quantiles learn.
"""

from abc import abstractmethod
from typing import Any, Literal

import numpy as np
import torch
from ray.rllib.algorithms.dqn import DQNConfig
from ray.rllib.algorithms.dqn.dqn_learner import QF_LOSS_KEY, QF_MEAN_KEY, QF_PREDS
from ray.rllib.algorithms.dqn.torch.default_dqn_torch_rl_module import DefaultDQNTorchRLModule
from ray.rllib.algorithms.dqn.torch.dqn_torch_learner import DQNTorchLearner
from ray.rllib.core.columns import Columns
from ray.rllib.core.models.base import ENCODER_OUT
from ray.rllib.utils.annotations import override
from ray.rllib.utils.metrics import TD_ERROR_KEY

from tenfold.algorithms.common.gymnasium_tasks import GymnasiumConfig
from tenfold.algorithms.common.network_parameters import Buffer, DQNParameters, LearningRate, Share
from tenfold.envs.risk.measures import Distortion, Entropic
from tenfold.platform.parameters import parameter
from tenfold.platform.rllib_keys import Network

QUANTILES = "quantiles"
NEXT_QUANTILES = "next_quantiles"
NEXT_VALUES = "next_values"


def quantile_huber_loss(
    predicted: torch.Tensor, targets: torch.Tensor, kappa: float
) -> torch.Tensor:
    """The quantile Huber loss (arXiv:1710.10044, equation 10), summed over quantiles.

        rho_tau(u) = |tau - 1{u < 0}| L_kappa(u),   L_kappa(u) = u^2 / 2 below kappa, else linear

    L_kappa is divided by kappa, so that kappa -> 0 gives the pinball loss; kappa = 0 is that loss.

    Args:
        predicted: theta, (B, N).
        targets: Samples of the distribution, (B, M).
        kappa: Where the loss becomes linear, in reward units, 0 or more.

    Returns:
        (B,).
    """
    N = predicted.shape[-1]
    tau = (torch.arange(N, device=predicted.device) + 0.5) / N
    u = targets[:, None, :] - predicted[:, :, None]  # (B, N, M)
    if kappa > 0.0:
        size = torch.where(u.abs() <= kappa, 0.5 * u**2 / kappa, u.abs() - 0.5 * kappa)
    else:
        size = u.abs()
    loss = (tau[None, :, None] - (u.detach() < 0.0).float()).abs() * size
    return loss.mean(dim=-1).sum(dim=-1)


def risk_of_quantiles(quantiles: torch.Tensor, measure: Distortion | Entropic) -> torch.Tensor:
    """A risk measure of the distribution that gives equal mass to each quantile.

    Args:
        quantiles: (..., N), in any order (networks may let them cross).
        measure: See `tenfold.envs.risk.measures`.

    Returns:
        (...).
    """
    N = quantiles.shape[-1]
    if isinstance(measure, Entropic):
        total = torch.logsumexp(measure.gamma * quantiles, dim=-1) - np.log(N)
        return total / measure.gamma
    weights = np.diff(measure.h(np.linspace(0.0, 1.0, N + 1)))
    ordered = quantiles.sort(dim=-1).values
    return ordered @ torch.as_tensor(weights, dtype=quantiles.dtype, device=quantiles.device)


class QuantileModule(DefaultDQNTorchRLModule):
    """A DQN module whose `num_atoms` outputs an action are quantiles."""

    @abstractmethod
    def action_values(self, quantiles: torch.Tensor, batch: dict[str, Any]) -> torch.Tensor:
        """What each action is worth, (B, A), from quantiles (B, A, N) and the observations."""

    @override(DefaultDQNTorchRLModule)
    def _qf_forward_helper(self, batch: dict[str, Any], encoder: Any, head: Any) -> dict[str, Any]:
        outputs = head(encoder(batch)[ENCODER_OUT])
        quantiles = outputs.unflatten(-1, (-1, self.num_atoms))  # (B, A, N)
        return {QUANTILES: quantiles, QF_PREDS: self.action_values(quantiles, batch)}

    @override(DefaultDQNTorchRLModule)
    def _forward_train(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Quantiles here, and those of the target network at the next observations.

        Returns:
            `QUANTILES` and `NEXT_QUANTILES` (B, A, N), `QF_PREDS` and `NEXT_VALUES` (B, A). With
            double Q-learning `NEXT_VALUES` are the online network's, which choose the action.
        """
        after = {Columns.OBS: batch[Columns.NEXT_OBS]}
        here, target = self.compute_q_values(batch), self.forward_target(after)
        values = target[QF_PREDS]
        if self.uses_double_q:
            with torch.no_grad():
                values = self.compute_q_values(after)[QF_PREDS]
        return {**here, NEXT_QUANTILES: target[QUANTILES], NEXT_VALUES: values}


class QuantileLearner(DQNTorchLearner):
    """DQN's learner with the quantile Huber loss; subclasses say what the targets are."""

    @abstractmethod
    def targets(
        self, config: DQNConfig, batch: dict[str, Any], fwd_out: dict[str, torch.Tensor]
    ) -> torch.Tensor:
        """Samples of the distribution to learn, (B, M); no gradient flows through them."""

    @override(DQNTorchLearner)
    def compute_loss_for_module(
        self, *, module_id: str, config: DQNConfig, batch: dict[str, Any], fwd_out: dict[str, Any]
    ) -> torch.Tensor:
        predicted = at_actions(fwd_out[QUANTILES], batch[Columns.ACTIONS])  # (B, N)
        with torch.no_grad():
            targets = self.targets(config, batch, fwd_out)  # (B, M)
        losses = quantile_huber_loss(predicted, targets, config.kappa)
        loss = losses.mean()
        off = (targets.mean(dim=-1) - predicted.detach().mean(dim=-1)).abs()
        self.metrics.log_value(key=(module_id, TD_ERROR_KEY), value=off, reduce="item_series")
        logged = {QF_LOSS_KEY: loss, QF_MEAN_KEY: fwd_out[QF_PREDS].mean()}
        self.metrics.log_dict(logged, key=module_id, window=1)
        return loss


def at_actions(values: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
    """The entries of (B, A, ...) at actions (B,): (B, ...)."""
    return values[torch.arange(len(actions), device=values.device), actions.long()]


class QuantileConfig(GymnasiumConfig, DQNConfig):
    """DQN's config with what quantile critics share.

    Replay is uniform: priorities would change the distribution of next states that the quantiles
    learn, and weights would correct its mean only.
    """

    class Parameters(DQNParameters):
        """Quantile critics; the rest is in `DQNParameters`."""

        num_atoms: int = parameter(40, "Quantiles of an action", ge=2, le=10_000)
        kappa: float = parameter(
            0.01,
            "Where the quantile Huber loss becomes linear; small against the rewards, since it "
            "pulls quantiles towards the mean; 0 is the pinball loss",
            ge=0,
            le=1e6,
        )
        gamma: float = parameter(1.0, "Discount of a step", ge=0, le=1)
        lr: LearningRate = parameter(1e-3, "Learning rate of Adam, or its schedule")
        epsilon: Share = parameter(
            [[0, 1.0], [8_000, 0.05]], "Share of random actions, or its schedule"
        )
        tau: float = parameter(
            0.03, "Share of the network that its target takes over in an update", gt=0, le=1
        )
        target_network_update_freq: int = parameter(
            1, "Steps between two updates of the target", unit="env steps", ge=0, le=10**9
        )
        train_batch_size_per_learner: int = parameter(
            64, "Steps of a training batch, for each learner", ge=1, le=10**9
        )
        network: Network = parameter(
            {"fcnet_hiddens": [64, 64], "head_fcnet_hiddens": []},
            "Layers of the network",
            alias="model_config",
        )
        num_envs_per_env_runner: int = parameter(
            8, "Environments that a runner steps through together", ge=1, le=10_000
        )
        replay_buffer_config: Buffer = parameter(
            {"type": "EpisodeReplayBuffer", "capacity": 50_000}, "The replay buffer"
        )
        n_step: Literal[1] = parameter(1, "Targets look one step ahead")
        dueling: Literal[False] = parameter(False, "A quantile critic has one head")
