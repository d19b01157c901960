"""RLlib's algorithm on recorded data of several agents: one learner, batched environments.

A method subclasses `OfflineAlgorithm`, whose config says which module and learner it has; see
`tenfold.algorithms.dom2` and docs/offline-multi-agent.md.
"""

import time
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.callbacks.utils import make_callback
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.multi_rl_module import MultiRLModuleSpec
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.utils import force_list
from ray.rllib.utils.annotations import override
from ray.rllib.utils.checkpoints import Checkpointable
from ray.rllib.utils.debug import update_global_seed_if_necessary
from ray.rllib.utils.metrics import LEARNER_RESULTS
from torch import nn

from tenfold.algorithms.offline.evaluation import Evaluation, evaluate_policy
from tenfold.algorithms.offline.sampler import AGENTS, Transitions, WeightedSampler, stacked_batch
from tenfold.algorithms.offline.shifts import shifts_of
from tenfold.algorithms.offline.streaming import StreamedSampler, head_of, streamed_returns
from tenfold.algorithms.offline.weights import (
    effective_share,
    nested_episodes,
    returns_for,
    trajectory_weights,
)
from tenfold.envs.offline.card import DataCard

UPDATES = "updates"
_ROWS_PER_CALL = 16_384
_EVALUATION_SEED = 1_000_003
_HEAD = 400


class JointPolicy(nn.Module):
    """What all agents do, as a network.

    Args:
        module: The module that holds their networks.
    """

    def __init__(self, module: Any) -> None:
        super().__init__()
        self.module = module

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        """Observations (B, n, o), padded to one size -> actions (B, n, m)."""
        actions: torch.Tensor = self.module.forward_inference({Columns.OBS: observations})[
            Columns.ACTIONS
        ]
        return actions


class OfflineAlgorithm(Algorithm):
    """Trains a module of all agents on weighted batches, and evaluates it in many environments.

    Attributes:
        data: The task's data set; its first episodes where Ray Data streams it.
        transitions: Steps in memory: those that are trained on, or those of `data`.
        sampler: Draws batches.
        weights: w(tau), int64 (E, n).
        updates: Updates so far.
    """

    sampler: WeightedSampler | StreamedSampler

    @override(Algorithm)
    def setup(self, config: Any) -> None:
        update_global_seed_if_necessary(self.config.framework_str, self.config.seed)
        self.callbacks = [cls() for cls in force_list(self.config.callbacks_class)]
        self.offline_data = self.env_runner_group = self.eval_env_runner_group = None
        self.evaluation_config = self.config
        self._set_up_metrics()
        self.updates = 0
        self._read()
        self.learner_group = self.config.build_learner_group(
            rl_module_spec=MultiRLModuleSpec(rl_module_specs={AGENTS: self.module_spec()})
        )
        make_callback(
            "on_algorithm_init",
            self.callbacks,
            self.config.callbacks_on_algorithm_init,
            kwargs={"algorithm": self, "metrics_logger": self.metrics},
        )

    @abstractmethod
    def module_spec(self) -> RLModuleSpec:
        """The module that holds the networks of all agents."""

    def _read(self) -> None:
        c = self.config
        streamed = c.reader == "ray_data"
        self.data = head_of(c.folder(), _HEAD) if streamed else c.read_data()
        names = self.data.agents
        returns = streamed_returns(c.folder(), names) if streamed else self.data.returns()
        kept = nested_episodes(len(returns), c.data_fraction, c.data_seed)
        card = DataCard.read(c.folder()) if streamed else self.data.card
        weights = trajectory_weights(
            card,
            returns_for(returns, c.return_of),
            c.weighed_by,
            c.thresholds,
            c.exp_weight_beta,
        )
        self.weights = weights[kept]
        if streamed:
            self.transitions = Transitions.of(self.data)
            used = np.zeros_like(weights)
            used[kept] = self.weights
            self.sampler = StreamedSampler(c.folder(), names, used, c.joint_rows, c.seed or 0)
        else:
            self.transitions = Transitions.of(self.data, kept if len(kept) < len(returns) else None)
            self.sampler = WeightedSampler(self.transitions, self.weights, joint=c.joint_rows)

    def statistics(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Mean and deviation of each agent's observations, (n, o) each; None if not asked for."""
        if not self.config.obs_norm:
            return None
        obs = self.transitions.obs
        return obs.mean(axis=0), np.maximum(obs.std(axis=0), 1e-3)

    @override(Algorithm)
    def training_step(self) -> None:
        c, started, before = self.config, time.perf_counter(), self.updates
        due = self.updates + c.updates_per_iteration
        while self.updates < due:
            count = min(max(1, _ROWS_PER_CALL // c.batch), due - self.updates)
            results = self.learner_group.update(
                batch=stacked_batch(self.minibatches(self.updates, count))
            )
            self.updates += count
        self.metrics.aggregate(results, key=LEARNER_RESULTS)
        seconds = (time.perf_counter() - started) / (self.updates - before)
        self.report(**self.evaluation_metrics(), update_seconds=seconds, **self.of_data())
        self.report(**{UPDATES: self.updates})

    def minibatches(self, first: int, count: int) -> dict[str, np.ndarray]:
        """The rows of some updates, one after another; those of update u follow from (seed, u)."""
        drawn = [
            self.sampler.sample(
                self.config.batch, np.random.default_rng([self.config.seed or 0, first + i])
            )
            for i in range(count)
        ]
        return {name: np.concatenate([each[name] for each in drawn]) for name in drawn[0]}

    def report(self, **metrics: float) -> None:
        """Log values of this iteration, exactly as they are."""
        for key, value in metrics.items():
            self.metrics.log_value(key, value, reduce="item")

    def of_data(self) -> dict[str, float]:
        """What the weights do to the data."""
        return {
            "effective_sample_share": effective_share(self.weights),
            "data_coverage": self.sampler.coverage(self.updates * self.config.batch),
        }

    @property
    def agents_module(self) -> Any:
        """The module that holds all agents' networks."""
        return self.learner_group._learner.module[AGENTS].unwrapped()

    def as_network(self) -> tuple[JointPolicy, np.ndarray]:
        """All agents' present policy, and what they see in two environments, (2, n, o) float32."""
        rows = self.transitions.obs
        return JointPolicy(self.agents_module), np.zeros((2, *rows.shape[1:]), np.float32)

    def act(self, obs: np.ndarray) -> np.ndarray:
        """Actions (W, n, m) of the present policy at observations (W, n, o), padded if need be."""
        module = self.agents_module
        device = next(module.parameters()).device
        with torch.no_grad():
            seen = torch.as_tensor(obs, dtype=torch.float32, device=device)
            acted = module.forward_inference({Columns.OBS: seen})[Columns.ACTIONS]
        return np.asarray(acted.cpu().numpy())

    def play(self, **shift: Any) -> Evaluation:
        """One episode in each of `judge_episodes` environments; the same starts each time."""
        environments = self.config.make_environments(
            self.data, self.config.judge_episodes, _EVALUATION_SEED, **shift
        )
        torch.manual_seed(_EVALUATION_SEED + (self.config.seed or 0))
        return evaluate_policy(environments, self.act, _EVALUATION_SEED, self.config.gamma)

    def evaluation_metrics(self) -> dict[str, float]:
        """Metrics of the present policy."""
        started = time.perf_counter()
        seen = self.play()
        seconds = time.perf_counter() - started
        score = float(seen.scores.mean())
        found = {
            "return": score,
            "return_std": float(seen.scores.std()),
            "clipped_actions": seen.clipped,
            "evaluation_seconds": seconds,
        }
        if self.data.card.anchors is not None:
            found["normalised_return"] = self.data.card.normalised(score)
        for name, mean in zip(self.data.agents, seen.returns.mean(axis=0), strict=True):
            found[f"return_of/{name}"] = float(mean)
        if self.config.judge_shifts:
            for name, shift in shifts_of(self.data.card.environment).items():
                found[f"return_{name}"] = float(self.play(**shift).scores.mean())
        return found | self.metrics_of_method(seen)

    def metrics_of_method(self, seen: Evaluation) -> dict[str, float]:
        """Metrics that a method adds."""
        return {}

    @override(Algorithm)
    def cleanup(self) -> None:
        super().cleanup()
        if isinstance(self.sampler, StreamedSampler):
            self.sampler.close()

    @override(Algorithm)
    def evaluate(self, parallel_train_future: Any = None) -> dict[str, float]:
        return self.evaluation_metrics()

    @override(Algorithm)
    def get_checkpointable_components(self) -> list[Any]:
        return [("learner_group", self.learner_group)]

    @override(Algorithm)
    def get_state(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        return super().get_state(*args, **kwargs) | {UPDATES: self.updates}

    @override(Algorithm)
    def set_state(self, state: Mapping[str, Any]) -> None:
        if "learner_group" in state:
            self.learner_group.set_state(state["learner_group"])
        if "training_iteration" in state:
            self._iteration = state["training_iteration"]
        self.updates = state.get(UPDATES, self.updates)

    @override(Algorithm)
    def restore_from_path(self, path: str | Path, *args: Any, **kwargs: Any) -> None:
        Checkpointable.restore_from_path(self, path, *args, **kwargs)
