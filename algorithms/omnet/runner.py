"""Stage 3 of OMNet, acting: a policy subnetwork for each episode, and episodes of evaluations."""

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from ray.rllib.core.columns import Columns
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner
from ray.rllib.env.single_agent_episode import SingleAgentEpisode
from ray.rllib.utils.annotations import override

from tenfold.algorithms.common.transition_replay import TransitionRunner
from tenfold.algorithms.omnet.module import POLICY_MEMBERS


class SubnetworkRunner(TransitionRunner):
    """Acts at random until learning starts, then by the subnetworks of the policy.

    Whole episodes, which evaluations ask for, are played in all environments at once, each of which
    gives its share of them, so that short episodes are not counted more often than long ones.
    """

    @override(TransitionRunner)
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._draws = np.random.default_rng([self._seed or 0, self.worker_index])
        self._members = np.zeros(self.num_envs, np.int64)
        self._played = False

    @override(TransitionRunner)
    def told_beside(self, starts: np.ndarray) -> dict[str, torch.Tensor]:
        """The subnetwork that acts in each environment."""
        anew = starts | (self.config.policy_sampling == "per_step")
        drawn = self._draws.integers(self.config.actors(), size=len(anew))
        self._members = np.where(anew, drawn, self._members)
        return {POLICY_MEMBERS: torch.from_numpy(self._members)}

    @override(TransitionRunner)
    def _act(self) -> np.ndarray:
        runners = self.config.num_env_runners or 1
        steps = self.num_env_steps_sampled_lifetime + self._steps * runners
        if steps >= self.config.num_steps_sampled_before_learning_starts:
            return super()._act()
        space = self.env.single_action_space
        if isinstance(space, spaces.Discrete):
            return self._draws.integers(space.n, size=self.num_envs)
        shape = (self.num_envs, *space.shape)
        return self._draws.uniform(-1.0, 1.0, shape).astype(np.float32)

    @override(SingleAgentEnvRunner)
    def sample(
        self, *, num_episodes: int | None = None, explore: bool | None = None, **kwargs: Any
    ) -> list[SingleAgentEpisode]:
        """RLlib's `sample`; whole episodes without connectors, see `play`."""
        if num_episodes is None:
            return super().sample(explore=explore, **kwargs)
        episodes = self.play(num_episodes, self.config.explore if explore is None else explore)
        self._done_episodes_for_metrics.extend(episodes)
        self._increase_sampled_metrics(sum(map(len, episodes)), len(episodes))
        return episodes

    @torch.no_grad()
    def play(self, count: int, explore: bool) -> list[SingleAgentEpisode]:
        """Play whole episodes from their beginning; nothing is counted in metrics.

        Args:
            count: Of episodes.
            explore: Act at random, as while collecting, or as at evaluations.

        Returns:
            Episodes with arrays; those of an exploring policy have `ACTION_LOGP` beside actions.
        """
        seen, _ = self.env.reset(seed=None if self._played else self._seed)
        # A later `collect` starts anew.
        self._played, self._needs_initial_reset = True, True
        left = np.bincount(np.arange(count) % self.num_envs, minlength=self.num_envs)
        starts = np.ones(self.num_envs, bool)
        under_way = [_Part(each) for each in seen]
        found: list[SingleAgentEpisode] = []
        while left.any():
            given = {
                Columns.OBS: torch.as_tensor(seen, dtype=torch.float32),
                **self.told_beside(starts),
            }
            batch = {name: values.to(self._device) for name, values in given.items()}
            if explore:
                acted = self.module.forward_exploration(
                    batch, t=self.num_env_steps_sampled_lifetime
                )
            else:
                acted = self.module.forward_inference(batch)
            out = {name: values.cpu().numpy() for name, values in acted.items()}
            actions = out.pop(Columns.ACTIONS)
            seen, rewards, terminated, truncated, _ = self.env.step(self._for_env(actions))
            ended = terminated | truncated
            for i, part in enumerate(under_way):
                if starts[i] and len(part.observations) == 0:
                    part.observations.append(seen[i])  # Gymnasium's reset after an episode
                    continue
                extra = {name: values[i] for name, values in out.items()}
                part.add(seen[i], actions[i], float(rewards[i]), extra)
                if ended[i]:
                    if left[i]:
                        found.append(part.episode(bool(terminated[i])))
                        left[i] -= 1
                    under_way[i] = _Part()
            starts = np.array([len(part.actions) == 0 for part in under_way])
        return found


class _Part:
    """An episode under way."""

    def __init__(self, *observations: np.ndarray) -> None:
        self.observations = list(observations)
        self.actions: list[np.ndarray] = []
        self.rewards: list[float] = []
        self.extra: dict[str, list[Any]] = {}

    def add(
        self, seen: np.ndarray, action: np.ndarray, reward: float, extra: dict[str, Any]
    ) -> None:
        self.observations.append(seen)
        self.actions.append(action)
        self.rewards.append(reward)
        for name, value in extra.items():
            self.extra.setdefault(name, []).append(value)

    def episode(self, terminated: bool) -> SingleAgentEpisode:
        return SingleAgentEpisode(
            observations=self.observations,
            actions=self.actions,
            rewards=self.rewards,
            terminated=terminated,
            truncated=not terminated,
            extra_model_outputs=self.extra,
            len_lookback_buffer=0,
        ).to_numpy()
