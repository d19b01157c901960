"""Batches of all agents at once from a data set in memory, trajectories drawn by integer weights.

A batch has rows first, then the agent axis: ``obs`` float32 (B, n, o), ``actions`` (B, n, m),
``rewards`` (B, n), ``new_obs`` (B, n, o) and ``terminateds`` bool (B, n), which are RLlib's names.
Agents that observe less than others are padded with zeros.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from ray.rllib.core.columns import Columns
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch

from tenfold.envs.offline.dataset import OfflineDataset

AGENTS = "agents"
"""Id of the module that holds the networks of all agents."""
Batch = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Transitions:
    """The joint steps of some trajectories, with an agent axis.

    Attributes:
        obs: float32 (T, n, o).
        actions: float32 (T, n, m).
        rewards: float32 (T, n).
        new_obs: float32 (T, n, o).
        terminateds: bool (T,).
        lengths: Steps of each trajectory, int64 (E,); trajectories follow one another.
    """

    obs: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    new_obs: np.ndarray
    terminateds: np.ndarray
    lengths: np.ndarray

    @classmethod
    def of(cls, data: OfflineDataset, episodes: np.ndarray | None = None) -> "Transitions":
        """Those of a data set.

        Args:
            data: The data.
            episodes: Numbers of the trajectories to keep, sorted; all when None.
        """
        lengths = np.bincount(data.episode)
        rows: np.ndarray | slice = slice(None)
        if episodes is not None:
            rows = np.flatnonzero(np.isin(data.episode, episodes))
            lengths = lengths[episodes]

        def stacked(by_agent: Mapping[str, np.ndarray]) -> np.ndarray:
            return stack_padded([by_agent[name][rows] for name in data.agents])

        return cls(
            obs=stacked(data.obs),
            actions=stacked(data.actions),
            rewards=stacked(data.rewards),
            new_obs=stacked(data.next_obs),
            terminateds=data.terminated[rows],
            lengths=lengths,
        )


def stack_padded(arrays: list[np.ndarray]) -> np.ndarray:
    """One array an agent, (T,) or (T, width), as (T, n) or (T, n, widest), padded with zeros."""
    if arrays[0].ndim == 1:
        return np.stack(arrays, axis=1)
    width = max(array.shape[1] for array in arrays)
    return np.stack([np.pad(a, ((0, 0), (0, width - a.shape[1]))) for a in arrays], axis=1)


class WeightedSampler:
    """Draws steps: a trajectory in proportion to weight x length, and a step of it uniformly.

    That is a uniform draw from the multiset in which each trajectory appears as often as its weight
    says: draw u of agent j is entry u of that multiset, which is never built.

    Args:
        data: The steps.
        weights: w(tau) of each agent, int64 (E, n).
        joint: All agents' rows are of the same joint steps; needs equal weights of all agents.

    Raises:
        ValueError: `joint` with weights that differ between agents.
    """

    def __init__(self, data: Transitions, weights: np.ndarray, joint: bool = False) -> None:
        if joint and (weights != weights[:, :1]).any():
            raise ValueError(
                "Joint rows need equal weights of all agents: weigh by the team's return."
            )
        self.data, self.weights, self.joint = data, weights, joint
        self._copies = np.cumsum(weights * data.lengths[:, None], axis=0)  # (E, n)
        self._starts = np.cumsum(data.lengths) - data.lengths

    @property
    def totals(self) -> np.ndarray:
        """Size of each agent's multiset, int64 (n,)."""
        return self._copies[-1]

    def rows(self, draws: np.ndarray) -> np.ndarray:
        """Rows of `data` at entries of the multisets, int64 (B, n) -> (B, n)."""
        found = np.empty_like(draws)
        for j in range(draws.shape[1]):
            episode = np.searchsorted(self._copies[:, j], draws[:, j], side="right")
            length = self.data.lengths[episode]
            end = self._copies[episode, j]
            found[:, j] = self._starts[episode] + (draws[:, j] - end) % length
        return found

    def sample(self, size: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """A batch, see the module.

        Args:
            size: Rows B.
            rng: What is drawn from.
        """
        n = self.weights.shape[1]
        draws = rng.integers(self.totals[:1] if self.joint else self.totals, size=(size, n))
        if self.joint:
            draws = np.repeat(draws[:, :1], n, axis=1)
        return self.gather(self.rows(draws))

    def gather(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """The steps at rows (B, n), each of its agent."""
        agents = np.arange(rows.shape[1])
        return {
            Columns.OBS: self.data.obs[rows, agents],
            Columns.ACTIONS: self.data.actions[rows, agents],
            Columns.REWARDS: self.data.rewards[rows, agents],
            Columns.NEXT_OBS: self.data.new_obs[rows, agents],
            Columns.TERMINATEDS: self.data.terminateds[rows],
        }

    def coverage(self, drawn: int) -> float:
        """Expected share of steps drawn at least once, after so many rows of each agent."""
        chance = self.weights / self.totals  # of one step of each trajectory
        unseen = np.exp(-drawn * chance) * self.data.lengths[:, None]
        return float(1 - unseen.sum() / (self.data.lengths.sum() * self.weights.shape[1]))


def stacked_batch(batch: Batch) -> MultiAgentBatch:
    """A batch for a `MultiRLModule` whose one module holds all agents' networks."""
    return MultiAgentBatch({AGENTS: SampleBatch(dict(batch))}, env_steps=len(batch[Columns.OBS]))


def agent_batches(batch: Batch, agents: tuple[str, ...], sizes: list[int]) -> MultiAgentBatch:
    """A batch for a `MultiRLModule` that has one module an agent, named as the agents are.

    Args:
        batch: See the module.
        agents: Names, in the order of the agent axis.
        sizes: Widths of their observations, without padding.
    """
    made = {}
    for j, (name, size) in enumerate(zip(agents, sizes, strict=True)):
        own = {column: np.ascontiguousarray(values[:, j]) for column, values in batch.items()}
        for column in (Columns.OBS, Columns.NEXT_OBS):
            own[column] = own[column][:, :size]
        made[name] = SampleBatch(own)
    return MultiAgentBatch(made, env_steps=len(batch[Columns.OBS]))
