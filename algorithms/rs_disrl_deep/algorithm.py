"""A quantile critic that maximises a static risk measure of the whole return.

The critic learns the distribution Z(s, y, a) of the rewards to come, where y is what was collected
so far (the last entry of the observation), as QR-DQN does. Actions do not maximise its mean but

    U(s, y, a) = E g(y + Z(s, y, a)),     g = rho(F) + rho'_F - E_F rho'_F

with F the distribution of the return and rho'_F the derivative of rho there: the first-order
estimate of rho if y + Z were the return. Any measure that has a derivative works: CVaR gives min(x
- b, 0) / alpha with b the quantile of F at alpha, the mean gives x. As the critic learns, F and g
  follow.

Following its own distribution, an agent may stay at one that is best only as seen from itself. So y
is shifted at random in training (rewards do not depend on it), and the critic knows the
distributions of all policies that are greedy for a shifted g; F is the best of them (for CVaR: over
b).
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from ray.rllib.algorithms.dqn import DQNConfig
from ray.rllib.algorithms.dqn.dqn_learner import QF_PREDS
from ray.rllib.core.columns import Columns
from ray.rllib.utils.annotations import override

from tenfold.algorithms.common.distribution_figure import draw_distributions
from tenfold.algorithms.common.quantile_critic import (
    NEXT_QUANTILES,
    NEXT_VALUES,
    QUANTILES,
    QuantileLearner,
    QuantileModule,
    at_actions,
)
from tenfold.algorithms.common.seeded_replay import SeededDQN
from tenfold.envs.risk.estimates import estimate_risk, played_returns
from tenfold.envs.risk.measures import RiskMeasure

# Slope that every utility has besides the measure's: of actions of equal risk, the better mean.
TIE = 1e-3
# Seed of the episodes that evaluate a policy, far from those of training.
EVALUATION_SEED = 1_000_000


class StaticRiskModule(QuantileModule):
    """Quantiles of the rewards to come in units of `return_scale`, and the utility g.

    g is linear between the `knots`, the N quantiles of F: it has the value `heights[i]` at
    `knots[i]` and the slope `slopes[i]` from there to the next, and `slopes[0]` below the first. It
    is part of the weights: it comes to the runners with them, and into checkpoints.
    """

    @override(QuantileModule)
    def setup(self) -> None:
        super().setup()
        self.scale = self.model_config["return_scale"]
        self.span = self.model_config["shift_span"]
        self.register_buffer("knots", torch.zeros(self.num_atoms))
        self.register_buffer("slopes", torch.ones(self.num_atoms))
        self.register_buffer("heights", torch.zeros(self.num_atoms))

    @override(QuantileModule)
    def _qf_forward_helper(self, batch: dict[str, Any], encoder: Any, head: Any) -> dict[str, Any]:
        seen = batch[Columns.OBS]
        scaled = torch.cat([seen[:, :-1], seen[:, -1:] / self.scale], dim=-1)
        outputs: dict[str, Any] = super()._qf_forward_helper(
            {**batch, Columns.OBS: scaled}, encoder, head
        )
        return outputs

    @override(QuantileModule)
    def action_values(self, quantiles: torch.Tensor, batch: dict[str, Any]) -> torch.Tensor:
        y = batch[Columns.OBS][:, -1, None, None]  # scaled by the helper, as the quantiles are
        return self.utility(self.scale * (y + quantiles)).mean(dim=-1)

    @override(QuantileModule)
    def _forward_train(self, batch: dict[str, Any]) -> dict[str, Any]:
        """The base's outputs for y shifted at random, here and at the next observation alike."""
        here, after = batch[Columns.OBS], batch[Columns.NEXT_OBS]
        shift = torch.zeros_like(here)
        shift[:, -1].uniform_(-self.span, self.span)
        shifted = {**batch, Columns.OBS: here + shift, Columns.NEXT_OBS: after + shift}
        outputs: dict[str, Any] = super()._forward_train(shifted)
        return outputs

    def utility(self, returns: torch.Tensor) -> torch.Tensor:
        """g of each return, any shape."""
        below = torch.searchsorted(self.knots, returns.detach().contiguous())  # 0 to N
        anchor = (below - 1).clamp(min=0)
        return self.heights[anchor] + self.slopes[anchor] * (returns - self.knots[anchor])

    @torch.no_grad()
    def follow(self, first: torch.Tensor, rho: RiskMeasure, shifts: torch.Tensor) -> float:
        """Take F from the target network, and g from F.

        Args:
            first: The first observations, (M, n); a return distribution is the mean of theirs.
            rho: The measure.
            shifts: Of y, (J,) in reward units; F is the distribution of the largest rho, of equal
                ones the first.

        Returns:
            rho(F).
        """
        J, N = len(shifts), len(self.knots)
        seen = first.repeat(J, 1)
        seen[:, -1] += shifts.repeat_interleave(len(first))
        outputs = self.forward_target({Columns.OBS: seen})
        greedy = at_actions(outputs[QUANTILES], outputs[QF_PREDS].argmax(dim=-1))  # (J M, N)
        # Equal masses: N groups of M neighbours, each as its mean, which keeps the mean of F.
        pooled = greedy.reshape(J, -1).sort(dim=-1).values.reshape(J, N, -1).mean(dim=-1)
        each = self.scale * pooled.double().numpy()  # (J, N)
        knots = each[rho.of(each, np.full(each.shape, 1.0 / N)).argmax()]
        risk, slopes, heights = tangent(rho, knots)
        for name, values in (("knots", knots), ("slopes", slopes), ("heights", heights)):
            getattr(self, name).copy_(torch.as_tensor(values))
        return risk


def tangent(rho: RiskMeasure, knots: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """The derivative of a measure at the distribution of N equal masses.

    Args:
        rho: The measure.
        knots: (N,) in ascending order.

    Returns:
        rho(F), the slopes (N,) of g from each knot to the next, and its values (N,) there, such
        that their mean is rho(F). Where the measure has a kink, any slope between those of both
        neighbours is a derivative; this one is the steeper, which asks for more.
    """
    N = len(knots)
    masses = np.full(N, 1.0 / N)
    risk = float(rho.of(knots, masses))
    slopes = N * rho.derivative(knots, masses) + TIE
    heights = np.concatenate([[0.0], np.cumsum(slopes[:-1] * np.diff(knots))])
    return risk, slopes, heights - heights.mean() + risk


class StaticRiskLearner(QuantileLearner):
    """Follows the return distribution, and backs up whole distributions as QR-DQN does."""

    @override(QuantileLearner)
    def build(self) -> None:
        super().build()
        self.first = torch.as_tensor(self.config.first_observations())
        self.shifts = torch.as_tensor(self.config.candidate_shifts(), dtype=torch.float32)
        self.rho = self.config.measure()

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


class RSDisRLDeep(SeededDQN):
    """DQN whose critic and policy serve a static risk measure."""

    @override(SeededDQN)
    def evaluate(self, parallel_train_future: Any = None) -> dict[str, float]:
        """Play `judged_episodes` greedy episodes: rho of the return with its bootstrap interval."""
        config, module = self.config, self.get_module()

        def policy(seen: np.ndarray) -> np.ndarray:
            chosen = module.forward_inference({Columns.OBS: torch.as_tensor(seen)})
            return np.asarray(chosen[Columns.ACTIONS])

        envs = [config.make_task() for _ in range(config.judged_episodes)]
        self.played = played_returns(envs, policy, EVALUATION_SEED)
        found = estimate_risk(config.measure(), self.played, np.random.default_rng(EVALUATION_SEED))
        return {
            "risk": found.value,
            "risk_low": found.low,
            "risk_high": found.high,
            "believed_risk": float(module.heights.double().mean()),
            "episode_return_mean": float(self.played.mean()),
        }

    def draw_evaluation(self, folder: Path) -> list[Path]:
        """Distribution functions of the last evaluation's returns and of what the critic believes.

        Returns:
            The files written, in `folder`.
        """
        knots = self.get_module().knots.double().numpy()
        distributions = {
            name: (values, np.full(len(values), 1.0 / len(values)))
            for name, values in (("played", self.played), ("believed", knots))
        }
        draw_distributions(folder / "returns.png", distributions, self.config.measure())
        return [folder / "returns.png"]
