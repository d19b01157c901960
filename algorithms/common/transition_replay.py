"""Steps of environments as flat arrays: collected by a runner, kept in a ring, drawn uniformly.

RLlib keeps episodes as objects, cuts a batch of 256 objects out of them for each update and lets
connectors make arrays of those again. For learners whose batch is single steps, arrays from the
environment on are the same data: `TransitionRunner.collect` makes them, `TransitionReplay` keeps
them. RLlib's own `sample` and its evaluation stay as they are.
"""

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from ray.rllib.core.columns import Columns
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner
from ray.rllib.utils.annotations import override

# Column -> array (n, ...): a step a row.
Transitions = dict[str, np.ndarray]
# Rows that a replay starts with; it doubles as it fills, so that small runs stay small.
FIRST_ROWS = 4_096


class TransitionReplay:
    """The last `capacity` steps, of which each is as likely to be drawn.

    Attributes:
        rng: Where draws come from.
        size: Steps that are kept.
        added: Steps that were ever added.
    """

    def __init__(self, capacity: int, seed: int | None = None) -> None:
        """
        Args:
            capacity: Steps that are kept at most; later ones take the place of the oldest.
            seed: Of the draws.
        """
        self.capacity = capacity
        self.rng = np.random.default_rng(seed)
        self.added = 0
        self._columns: Transitions = {}

    @property
    def size(self) -> int:
        return min(self.added, self.capacity)

    def __len__(self) -> int:
        return self.size

    def add(self, fresh: Transitions) -> None:
        """Keep steps.

        Args:
            fresh: Column -> (n, ...); the same columns, shapes and dtypes at every call.
        """
        count = len(next(iter(fresh.values())))
        self._make_room(fresh, min(self.added + count, self.capacity))
        rows = np.arange(self.added, self.added + count) % self.capacity
        rows = rows[-self.capacity :]
        for name, values in fresh.items():
            self._columns[name][rows] = values[-self.capacity :]
        self.added += count

    def _make_room(self, like: Transitions, needed: int) -> None:
        """Grow the arrays to hold `needed` rows, at least twice as many as now."""
        rows = len(next(iter(self._columns.values()))) if self._columns else 0
        if needed <= rows:
            return
        rows = min(max(needed, 2 * rows, FIRST_ROWS), self.capacity)
        for name, values in like.items():
            grown = np.zeros((rows, *values.shape[1:]), values.dtype)
            kept = self._columns.get(name, grown[:0])
            grown[: len(kept)] = kept
            self._columns[name] = grown

    def sample(self, count: int) -> Transitions:
        """Draw with replacement, each step as likely as any other.

        Args:
            count: Steps to draw.

        Returns:
            Column -> (count, ...), copies.
        """
        rows = self.rng.integers(self.size, size=count)
        return {name: values[rows] for name, values in self._columns.items()}

    def get_state(self) -> dict[str, Any]:
        """All steps, and where the draws are."""
        columns = {name: values[: self.size].copy() for name, values in self._columns.items()}
        return {"columns": columns, "added": self.added, "rng": self.rng.bit_generator.state}

    def set_state(self, state: dict[str, Any]) -> None:
        """Become the replay that `get_state` was asked of."""
        self._columns = {name: values.copy() for name, values in state["columns"].items()}
        self.added = state["added"]
        self.rng.bit_generator.state = state["rng"]


class TransitionRunner(SingleAgentEnvRunner):
    """RLlib's runner, which also collects steps as arrays.

    `collect` asks the module for actions without connectors. It takes observations as
    `tenfold.envs.gymnasium_tasks` makes them, a flat box or an image, and maps actions from
    [-1, 1] to the bounds of the task, as the last of the connectors of RLlib does.
    """

    @override(SingleAgentEnvRunner)
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._steps = 0  # since the algorithm last told how many there are in all
        self._uncounted = [0, 0]  # steps and episodes that no metric has yet

    def collect(self) -> Transitions:
        """Act for `rollout_fragment_length` steps in each environment, episode after episode.

        Returns:
            Columns OBS, ACTIONS (in [-1, 1] where actions are normalised), REWARDS, NEXT_OBS and
            TERMINATEDS (float32, 1 where the episode ended in a terminal state and 0 where it was
            merely cut), each (n, ...).
        """
        if self._needs_initial_reset:
            self._start()
        due = self.config.get_rollout_fragment_length(self.worker_index) * self.num_envs
        parts: list[Transitions] = []
        collected = 0
        while collected < due:
            part = self._step()
            collected += len(part[Columns.REWARDS])
            parts.append(part)
        self._uncounted[0] += collected
        if len(parts) == 1:
            return parts[0]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _start(self) -> None:
        seen, _ = self.env.reset(seed=self._seed)
        self._needs_initial_reset = False
        self._seen = _as_network_input(seen)
        self._ended = np.zeros(self.num_envs, bool)
        self._returns = np.zeros(self.num_envs)
        self._lengths = np.zeros(self.num_envs, np.int64)

    def _step(self) -> Transitions:
        actions = self._act()
        seen, rewards, terminated, truncated, _ = self.env.step(self._for_env(actions))
        before, self._seen = self._seen, _as_network_input(seen)
        # Gymnasium resets an environment in the step after an episode's last: that is not a step.
        real = ~self._ended
        self._ended = terminated | truncated
        self._returns += rewards * real
        self._lengths += real
        self._steps += int(real.sum())
        for index in np.flatnonzero(self._ended):
            self._log_episode_metrics(int(self._lengths[index]), float(self._returns[index]), 0.0)
            self._returns[index], self._lengths[index] = 0.0, 0
            self._uncounted[1] += 1
        part = {
            Columns.OBS: before,
            Columns.ACTIONS: actions,
            Columns.REWARDS: rewards.astype(np.float32),
            Columns.NEXT_OBS: self._seen,
            Columns.TERMINATEDS: terminated.astype(np.float32),
        }
        return part if real.all() else {name: values[real] for name, values in part.items()}

    def told_beside(self, starts: np.ndarray) -> dict[str, torch.Tensor]:
        """Columns that the module gets beside observations; a subclass may have some.

        Args:
            starts: Environments whose episode begins, (num_envs,), bool.
        """
        return {}

    @torch.no_grad()
    def _act(self) -> np.ndarray:
        """Actions of the module, (num_envs, ...)."""
        batch = {Columns.OBS: torch.from_numpy(self._seen), **self.told_beside(self._lengths == 0)}
        batch = {name: values.to(self._device) for name, values in batch.items()}
        if self.config.explore:
            runners = self.config.num_env_runners or 1
            steps = self.num_env_steps_sampled_lifetime + self._steps * runners
            out = self.module.forward_exploration(batch, t=steps)
            family = self.module.get_exploration_action_dist_cls
        else:
            out = self.module.forward_inference(batch)
            family = self.module.get_inference_action_dist_cls
        if Columns.ACTIONS in out:
            actions = out[Columns.ACTIONS]
        else:
            distribution = family().from_logits(out[Columns.ACTION_DIST_INPUTS])
            if not self.config.explore:
                distribution = distribution.to_deterministic()
            actions = distribution.sample()
        return np.asarray(actions.cpu())

    def _for_env(self, actions: np.ndarray) -> np.ndarray:
        """Actions as the environment takes them (RLlib's `NormalizeAndClipActions`)."""
        space = self.env.single_action_space
        if not isinstance(space, spaces.Box):
            return actions
        if self.config.normalize_actions:
            actions = space.low + (actions + 1.0) * (space.high - space.low) / 2.0
        elif not self.config.clip_actions:
            return actions
        return np.clip(actions, space.low, space.high)

    @override(SingleAgentEnvRunner)
    def get_metrics(self) -> Any:
        if self._uncounted[0]:
            self._increase_sampled_metrics(*self._uncounted)
            self._uncounted = [0, 0]
        return super().get_metrics()

    @override(SingleAgentEnvRunner)
    def set_state(self, state: dict[str, Any]) -> None:
        before = self.num_env_steps_sampled_lifetime
        super().set_state(state)
        if self.num_env_steps_sampled_lifetime != before:
            self._steps = 0


def _as_network_input(seen: np.ndarray) -> np.ndarray:
    return np.asarray(seen, np.float32)
