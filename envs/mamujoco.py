"""Multi-agent MuJoCo: a half cheetah whose hind and front legs are two agents, shifted on request.

The environment is Gymnasium-Robotics' `MaMuJoCo` HalfCheetah 2x3 (three joints an agent,
observations of one's own joints and of the body, `agent_obsk` 0). Observations are cast to float32.
A shift changes the compiled model in place: torques with the power, masses and inertias with the
density, sliding friction with the friction, each as a ratio to its nominal value, and is taken back
by `restore`. Changing the density in the XML would do nothing, since the model fixes its total
mass.

Ranges and nominal values are Packer et al.'s (2018, `sunblaze-ucb/rl-generalization`). The returns
are those of HalfCheetah-v5 on the installed MuJoCo; published data sets come from version 2.0,
whose returns differ.
"""

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import mujoco
import numpy as np
from pydantic import Field

from tenfold.platform.parameters import Parameters, check, parameter

if TYPE_CHECKING:
    from pettingzoo import ParallelEnv

CHEETAH = "HalfCheetah-2x3"
_NOMINAL = {"power": 0.9, "density": 1000.0, "friction": 0.8}
# What a drawn value lies in; where there are two ranges, each is as likely.
_RANGES = {
    "random": {
        "power": [(0.7, 1.1)],
        "density": [(750.0, 1250.0)],
        "friction": [(0.5, 1.1)],
    },
    "extreme": {
        "power": [(0.5, 0.7), (1.1, 1.3)],
        "density": [(500.0, 750.0), (1250.0, 1500.0)],
        "friction": [(0.2, 0.5), (1.1, 1.4)],
    },
}

Positive = Annotated[float, Field(gt=0)]


class CheetahFields(Parameters):
    """What the half cheetah takes."""

    shift: Literal["none", "random", "extreme"] = parameter(
        "none", "Packer's ranges from which power, density and friction are drawn at each reset"
    )
    power: Positive = parameter(_NOMINAL["power"], "Torque; where nothing is drawn", gt=0)
    density: Positive = parameter(_NOMINAL["density"], "Of the body", unit="kg/m^3", gt=0)
    friction: Positive = parameter(_NOMINAL["friction"], "Sliding, of all parts", gt=0)
    episode_steps: int = parameter(1_000, "Length of an episode", unit="steps", ge=1, le=10**6)


@dataclass(frozen=True)
class _Model:
    """The numbers of a compiled model that a shift changes, as they were."""

    mass: np.ndarray
    inertia: np.ndarray
    friction: np.ndarray
    gear: np.ndarray

    @classmethod
    def of(cls, model: Any) -> "_Model":
        return cls(
            model.body_mass.copy(),
            model.body_inertia.copy(),
            model.geom_friction.copy(),
            model.actuator_gear.copy(),
        )

    def shifted(self, power: float, density: float, friction: float) -> "_Model":
        slides = self.friction.copy()
        slides[:, 0] *= friction / _NOMINAL["friction"]
        heavier = density / _NOMINAL["density"]
        return _Model(
            self.mass * heavier,
            self.inertia * heavier,
            slides,
            self.gear * (power / _NOMINAL["power"]),
        )

    def put_into(self, model: Any) -> None:
        model.body_mass[:] = self.mass
        model.body_inertia[:] = self.inertia
        model.geom_friction[:] = self.friction
        model.actuator_gear[:] = self.gear


def make_cheetah(**options: Any) -> "ParallelEnv[str, np.ndarray, np.ndarray]":
    """The half cheetah as Gymnasium-Robotics' PettingZoo parallel environment, unshifted.

    Args:
        **options: As `gymnasium.make` takes them, for example `max_episode_steps`.

    Raises:
        ValueError: Gymnasium-Robotics is not installed.
    """
    try:
        with _without_notices():
            from gymnasium_robotics import mamujoco_v1
    except ImportError:
        raise ValueError(
            f"{CHEETAH} needs Gymnasium-Robotics: install it with "
            "'pip install \"tenfold[mamujoco]\"'."
        ) from None
    with _without_notices():
        env: ParallelEnv[str, np.ndarray, np.ndarray] = mamujoco_v1.parallel_env(
            "HalfCheetah", "2x3", agent_obsk=0, **options
        )
    return env


@contextmanager
def _without_notices() -> Iterator[None]:
    """Silence what does not concern a user.

    Gymnasium-Robotics tells of the rewards of its hands when it is imported, and MuJoCo writes of a
    deprecated attribute of the cheetah into a file in the current folder.
    """
    before = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(logging.getLogger("tenfold.envs").debug)
    try:
        with redirect_stderr(io.StringIO()):
            yield
    finally:
        mujoco.set_mju_user_warning(before)


class CheetahEnvironments:
    """W half cheetahs, one after the other in this process, with the interface of `ParticleWorlds`.

    Attributes:
        task: ``HalfCheetah-2x3``.
        count: W.
        fields: What they were given, see `CheetahFields`.
        agents: ``agent_0`` (hind leg) and ``agent_1`` (front leg).
        observation_sizes: 11 each.
        action_size: 3: torques in [-1, 1].
        episode_steps: Length of an episode.
    """

    task = CHEETAH
    action_size = 3

    def __init__(self, count: int, seed: int, **fields: Any) -> None:
        """Make the environments and begin their first episode.

        Args:
            count: How many, W.
            seed: Of the starts, and in a stream of its own of what shifts draw.
            **fields: See `CheetahFields`.

        Raises:
            ValueError: A field is unknown or not valid, or Gymnasium-Robotics is not installed.
        """
        check(CheetahFields, fields)
        self.count, self.fields = count, CheetahFields(**fields)
        self.episode_steps = self.fields.episode_steps
        self._envs: list[Any] = [
            make_cheetah(max_episode_steps=self.episode_steps) for _ in range(count)
        ]
        self.agents = tuple(self._envs[0].possible_agents)
        self.observation_sizes = tuple(
            int(self._envs[0].observation_space(agent).shape[0]) for agent in self.agents
        )
        self._nominal = [_Model.of(self._model(env)) for env in self._envs]
        self.reset(seed)

    def reset(self, seed: int | None = None) -> np.ndarray:
        """Begin an episode in every environment.

        Args:
            seed: Starts the streams of random numbers anew.

        Returns:
            Observations, float32 (W, 2, 11).
        """
        if seed is not None:
            self._starts = np.random.default_rng(seed)
            self._shifts = np.random.default_rng([seed, 1])
        seen = []
        for env, nominal in zip(self._envs, self._nominal, strict=True):
            nominal.shifted(**self._draw()).put_into(self._model(env))
            observed, _ = env.reset(seed=int(self._starts.integers(2**31)))
            seen.append([observed[agent] for agent in self.agents])
        self._step = 0
        return np.array(seen, np.float32)

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, bool]:
        """Move all environments by one step; see `ParticleWorlds.step`."""
        seen, rewards = [], []
        for env, action in zip(self._envs, np.clip(actions, -1.0, 1.0), strict=True):
            moves = {agent: np.float32(action[j]) for j, agent in enumerate(self.agents)}
            observed, reward, *_ = env.step(moves)
            seen.append([observed[agent] for agent in self.agents])
            rewards.append([float(reward[agent]) for agent in self.agents])
        self._step += 1
        return np.array(seen, np.float32), np.array(rewards), self._step >= self.episode_steps

    def restore(self) -> None:
        """Take the shift out of the models."""
        for env, nominal in zip(self._envs, self._nominal, strict=True):
            nominal.put_into(self._model(env))

    @staticmethod
    def _model(env: Any) -> Any:
        return env.unwrapped.single_agent_env.unwrapped.model

    def _draw(self) -> dict[str, float]:
        """Power, density and friction of an environment's next episode."""
        if self.fields.shift == "none":
            return {name: getattr(self.fields, name) for name in _NOMINAL}
        drawn = {}
        for name, ranges in _RANGES[self.fields.shift].items():
            low, high = ranges[self._shifts.integers(len(ranges))]
            drawn[name] = float(self._shifts.uniform(low, high))
        return drawn
