"""W particle worlds side by side: reset them, step them with all agents' actions at once.

Learned agents only are seen from outside; the prey of tag and world is part of the world (`prey`).
All worlds begin and end together, since an episode ends by its time limit only.

Two simulators (`physics_order`): ``legacy`` is OMAR's fork, in which a step changes the velocity
first and an agent's acceleration counts twice (an action of 1 is a force of 9 for a predator, of 16
for the prey); ``mpe2`` moves the place first, by the old velocity, and counts it once. Data of one
do not fit the other.

Source: `ling-pan/OMAR` and `lizr16/OM2P` (the fork), `mpe2` 1.1.1.
"""

from typing import Any

import numpy as np

from tenfold.envs.mpe.fields import WorldFields
from tenfold.envs.mpe.names import WORLD_NAMES
from tenfold.envs.mpe.observations import observe
from tenfold.envs.mpe.physics import advance
from tenfold.envs.mpe.prey import VIGOUR, flee
from tenfold.envs.mpe.rewards import give_rewards
from tenfold.envs.mpe.scenarios import SENSITIVITY, SIX, WORLD, scenario
from tenfold.platform.parameters import check

LANDMARKS_OF_SIX = 6


class ParticleWorlds:
    """W worlds of one task.

    Attributes:
        task: Name of the world.
        count: W.
        fields: What it was given, see `WorldFields`.
        agents: Names of the learned agents.
        observation_sizes: Of each learned agent.
        action_size: 2: the force in each direction, in [-1, 1].
        episode_steps: Length of an episode.
        places: Of all entities, float64 (W, E, 2).
        velocities: Of all that move, float64 (W, A, 2). Who writes into these two calls `look`,
            since the prey acts on what it saw last.
        speed_limits: Of all that move, in this episode, float64 (W, A).
        available: Which landmarks of six_landmarks count in this episode, bool (W, 6).
    """

    action_size = 2

    def __init__(self, task: str, worlds: int, seed: int, **fields: Any) -> None:
        """Make the worlds and begin their first episode.

        Args:
            task: Its name, see `names`.
            worlds: How many, W.
            seed: Of the starts, and in streams of their own of what shifts draw.
            **fields: See `WorldFields`.

        Raises:
            ValueError: There is no such task or field, or a value is not valid.
        """
        if task not in WORLD_NAMES:
            raise ValueError(f"No particle world '{task}': choose one of {', '.join(WORLD_NAMES)}.")
        check(WorldFields, fields)
        self.task, self.count, self.fields = task, worlds, WorldFields(**fields)
        self.scenario = scenario(task)
        self._check_shifts()
        self.agents = self.scenario.agents
        self.observation_sizes = (self.scenario.observation_size,) * len(self.agents)
        self.episode_steps = self.fields.episode_steps
        self._legacy = self.fields.physics_order == "legacy"
        strengths = self.scenario.accelerations
        squared = self._legacy & (strengths != SENSITIVITY)
        self._strengths = np.where(squared, strengths**2, strengths)[:, None]
        E, A, n = len(self.scenario.sizes), self.scenario.moving, len(self.agents)
        self.places, self.velocities = np.zeros((worlds, E, 2)), np.zeros((worlds, A, 2))
        self._forces, self._actions = np.zeros((worlds, A, 2)), np.zeros((worlds, A, 2), np.float32)
        self._seen = np.zeros((worlds, n, self.scenario.observation_size), np.float32)
        prey_sees = self.scenario.observation_size - 2
        self._seen_by_prey = np.zeros((worlds, 1, prey_sees), np.float32)
        self._rewards = np.zeros((worlds, n))
        self.speed_limits = np.zeros((worlds, A))
        self.available = np.ones((worlds, LANDMARKS_OF_SIX), bool)
        self.reset(seed)

    def reset(self, seed: int | None = None) -> np.ndarray:
        """Begin an episode in every world.

        One world that is reset with a seed starts as mpe2's does that is reset with that seed.

        Args:
            seed: Starts the streams of random numbers anew; they go on without one.

        Returns:
            Observations, float32 (W, n, o).
        """
        if seed is not None:
            self._starts = np.random.default_rng(seed)
            self._shifts = np.random.default_rng([seed, 1])
        half = self.scenario.start
        entities = [*range(len(half)), *self.scenario.redrawn]
        width = half[entities][:, None]
        drawn = self._starts.uniform(-width, width, (self.count, len(entities), 2))
        self.places[:, entities] = drawn
        self.velocities[:] = 0.0
        if self.scenario.kind == SIX:
            self._place_six(drawn)
        self._draw_shifts()
        self._step = 0
        return self.look()

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, bool]:
        """Move all worlds by one step.

        Args:
            actions: Of the learned agents, float (W, n, 2); they are clipped to [-1, 1] and rounded
                to float32, as they are stored.

        Returns:
            Observations float32 (W, n, o), rewards float64 (W, n), and whether the episodes are
            over by their time limit.
        """
        n = len(self.agents)
        np.clip(actions, -1.0, 1.0, out=self._actions[:, :n])
        if self.scenario.prey:
            limit = VIGOUR[self.scenario.kind] / self._strengths[n, 0]
            flee(self._actions[:, n], self._seen_by_prey[:, 0], self.scenario.kind, limit)
        np.multiply(self._actions, self._strengths, out=self._forces)
        sizes, kind = self.scenario.sizes, self.scenario.kind
        collides, limits = self.scenario.collides, self.speed_limits
        forces = self._forces
        advance(self.places, self.velocities, forces, sizes, collides, limits, self._legacy)
        omar = self.fields.reward == "omar"
        give_rewards(self._rewards, self.places, sizes, kind, omar, self.available)
        self._step += 1
        return self.look(), self._rewards.copy(), self._step >= self.episode_steps

    def look(self) -> np.ndarray:
        hiding = self.scenario.kind == WORLD and not self._legacy
        about = self.places, self.velocities, self.scenario.sizes, self.scenario.kind
        observe(self._seen, *about, 0, hiding)
        if self.scenario.prey:
            observe(self._seen_by_prey, *about, len(self.agents), hiding)
        return self._seen.copy()

    def _place_six(self, drawn: np.ndarray) -> None:
        """Agents near the centre, landmarks on the unit circle."""
        n = len(self.agents)
        self.places[:, :n] = self.fields.start * drawn[:, :n]
        angles = 2 * np.pi * np.arange(LANDMARKS_OF_SIX) / LANDMARKS_OF_SIX
        self.places[:, n:] = np.stack([np.cos(angles), np.sin(angles)], axis=1)

    def _draw_shifts(self) -> None:
        n, limit = len(self.agents), self.fields.max_speed
        self.speed_limits[:] = self.scenario.speed_limits
        if isinstance(limit, list):
            self.speed_limits[:, :n] = self._shifts.uniform(limit[0], limit[1], (self.count, n))
        elif limit is not None:
            self.speed_limits[:, :n] = limit
        self.available[:] = True
        gone = self.fields.unavailable
        if isinstance(gone, list):
            self.available[:, gone] = False
        elif gone:
            order = self._shifts.random((self.count, LANDMARKS_OF_SIX)).argsort(axis=1)
            np.put_along_axis(self.available, order[:, :gone], False, axis=1)

    def _check_shifts(self) -> None:
        limit, gone = self.fields.max_speed, self.fields.unavailable
        if isinstance(limit, list) and limit[0] > limit[1]:
            raise ValueError(f"Bad value {limit} for 'max_speed': give [low, high].")
        if gone and self.scenario.kind != SIX:
            raise ValueError(
                f"Bad value {gone} for 'unavailable': only six_landmarks can lose landmarks, not "
                f"{self.task}."
            )
        if isinstance(gone, list) and len(set(gone)) == LANDMARKS_OF_SIX:
            raise ValueError(f"Bad value {gone} for 'unavailable': leave one landmark at least.")
