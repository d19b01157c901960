"""DOM2 as an RLlib algorithm: the offline loop with its module, and its own metrics."""

from typing import Any

import gymnasium as gym
import numpy as np
import torch
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.utils.annotations import override

from tenfold.algorithms.dom2.module import StackedAgents
from tenfold.algorithms.dom2.policies import DiffusionPolicy
from tenfold.algorithms.offline.algorithm import OfflineAlgorithm
from tenfold.algorithms.offline.evaluation import Evaluation

_DIVERSITY_STATES, _DIVERSITY_SAMPLES = 64, 32


class DOM2(OfflineAlgorithm):
    """Diffusion policies for offline multi-agent RL, and its baselines."""

    @classmethod
    @override(OfflineAlgorithm)
    def get_default_config(cls) -> Any:
        from tenfold.algorithms.dom2.config import DOM2Config

        return DOM2Config()

    @override(OfflineAlgorithm)
    def module_spec(self) -> RLModuleSpec:
        _, n, o = self.transitions.obs.shape
        m = self.transitions.actions.shape[2]
        return RLModuleSpec(
            module_class=StackedAgents,
            observation_space=gym.spaces.Box(-np.inf, np.inf, (n, o), np.float32),
            action_space=gym.spaces.Box(-1.0, 1.0, (n, m), np.float32),
            model_config={"config": self.config, "statistics": self.statistics()},
        )

    @override(OfflineAlgorithm)
    def metrics_of_method(self, seen: Evaluation) -> dict[str, float]:
        module = self.agents_module
        found = {"action_diversity": self._diversity()}
        if isinstance(module.policy, DiffusionPolicy):
            found["solver_calls"] = module.policy.solver.calls
        if module.critic is not None and not self.config.ctde:
            found["q_overestimation"] = self._overestimation(seen)
        return found

    def _diversity(self) -> float:
        """Mean distance of two actions at one observation."""
        states = np.linspace(0, len(self.transitions.obs) - 1, _DIVERSITY_STATES).astype(int)
        repeated = np.repeat(self.transitions.obs[states], _DIVERSITY_SAMPLES, axis=0)
        drawn = torch.as_tensor(self.act(repeated)).transpose(0, 1)
        by_state = drawn.unflatten(1, (_DIVERSITY_STATES, _DIVERSITY_SAMPLES))
        distances = torch.cdist(by_state, by_state).sum(dim=(-1, -2))
        pairs = _DIVERSITY_SAMPLES * (_DIVERSITY_SAMPLES - 1)
        return float((distances / pairs).mean())

    @torch.no_grad()
    def _overestimation(self, seen: Evaluation) -> float:
        """min_k Q at the start minus what was got: rewards, then gamma^L Q at the end."""
        module, c = self.agents_module, self.config

        def value(obs: np.ndarray, actions: np.ndarray) -> np.ndarray:
            device = module.mean.device
            o = torch.as_tensor(obs, dtype=torch.float32, device=device).transpose(0, 1)
            a = torch.as_tensor(actions, device=device).transpose(0, 1)
            q = module.critic(module.normalised(o), a[:, :, None]).amin(dim=0)[..., 0]
            return np.asarray(q.T.cpu().numpy())

        end = value(seen.last, self.act(seen.last))
        got = c.reward_scale * seen.discounted + c.gamma**seen.length * end
        return float((value(*seen.first) - got).mean())
