"""The critic of iterated CVaR and what it learns.

    Y(s, a) = r + gamma V(s'),     V(s') = max_a' Q(s', a'),     Q(s, a) = CVaR_alpha(Y(s, a))

The next state's distribution is reduced to the number V(s') before it is a target, so the only
randomness of a target is that of one step, and the N quantiles of (s, a) estimate the distribution
of Y(s, a). (QR-DQN backs up all quantiles of s' instead and so learns the distribution of the
return.)
"""

from typing import Any

import numpy as np
import torch
from ray.rllib.algorithms.dqn import DQNConfig
from ray.rllib.core.columns import Columns
from ray.rllib.utils.annotations import override
from ray.rllib.utils.metrics import (
    ENV_RUNNER_RESULTS,
    EPISODE_RETURN_MEAN,
    NUM_ENV_STEPS_SAMPLED_LIFETIME,
)

from tenfold.algorithms.common.quantile_critic import (
    NEXT_QUANTILES,
    NEXT_VALUES,
    QuantileLearner,
    QuantileModule,
    at_actions,
    risk_of_quantiles,
)
from tenfold.algorithms.common.risk_levels import LEVELS, at_levels
from tenfold.algorithms.common.seeded_replay import SeededDQN
from tenfold.algorithms.icvar_deep.evaluation import iterated_cvar
from tenfold.envs.risk.control import BUILDERS, make_control
from tenfold.envs.risk.measures import CVaR


class ICVaRModule(QuantileModule):
    """Actions are worth the CVaR of their quantiles, at the level in the buffer `alpha`.

    The level is part of the weights: it comes to the runners with them, and into checkpoints.
    """

    @override(QuantileModule)
    def setup(self) -> None:
        super().setup()
        self.register_buffer("alpha", torch.tensor(1.0, dtype=torch.float64))

    @override(QuantileModule)
    def action_values(self, quantiles: torch.Tensor, batch: dict[str, Any]) -> torch.Tensor:
        return risk_of_quantiles(quantiles, CVaR(float(self.alpha)))


class ICVaRLearner(QuantileLearner):
    """Sets the risk level of the moment, and backs up single values."""

    @override(QuantileLearner)
    def before_gradient_based_update(self, *, timesteps: dict[str, Any]) -> None:
        super().before_gradient_based_update(timesteps=timesteps)
        steps = timesteps.get(NUM_ENV_STEPS_SAMPLED_LIFETIME, 0)
        for module_id, module in self.module._rl_modules.items():
            config = self.config.get_config_for_module(module_id)
            alpha = config.level(steps)
            module.unwrapped().alpha.fill_(alpha)
            self.metrics.log_value((module_id, "alpha"), alpha, window=1)

    @override(QuantileLearner)
    def targets(
        self, config: DQNConfig, batch: dict[str, Any], fwd_out: dict[str, torch.Tensor]
    ) -> torch.Tensor:
        """r + gamma V(s'), (B, 1)."""
        module = self.module[next(iter(self.module.keys()))].unwrapped()
        best = fwd_out[NEXT_VALUES].argmax(dim=-1)
        after = at_actions(fwd_out[NEXT_QUANTILES], best)  # (B, N)
        value = risk_of_quantiles(after, CVaR(float(module.alpha)))
        going_on = 1.0 - batch[Columns.TERMINATEDS].float()
        targets = batch[Columns.REWARDS] + config.gamma * going_on * value
        return targets[:, None]


class ICVaRDeep(SeededDQN):
    """DQN with the critic of iterated CVaR."""

    @override(SeededDQN)
    def evaluate(self, parallel_train_future: Any = None) -> dict[str, Any]:
        """The greedy policy's iterated CVaR at the level of evaluations and at `LEVELS`, and its
        mean return.

        All are exact on the control tasks. Elsewhere the risk of each step is not known: episodes
        are played, as RLlib does, and `policy_value` is their mean return.
        """
        config, module = self.config, self.get_module()
        if config.env not in BUILDERS:
            played: dict[str, Any] = super().evaluate(parallel_train_future)
            mean = played[ENV_RUNNER_RESULTS][EPISODE_RETURN_MEAN]
            return {**played, "policy_value": mean}

        def policy(seen: np.ndarray) -> np.ndarray:
            outputs = module.forward_inference({Columns.OBS: torch.as_tensor(seen)})
            return np.asarray(outputs[Columns.ACTIONS])

        env = make_control(config.env, **config.env_config)
        levels = (config.alpha_of_evaluations(), 1.0, *LEVELS)
        value, mean, *others = iterated_cvar(env, policy, levels)
        named = dict(zip(at_levels("iterated_cvar"), others, strict=True))
        return {"policy_value": value, "expected_return": mean, **named}
