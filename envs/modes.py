"""A coordination game of one step with several optimal joint modes: what averaging does to one.

Each of n agents names a point a_j in [-1, 1]^2. K points c_k lie on a circle. The team's reward is

    free:   mean over j of max_k exp(-||a_j - c_k||^2 / (2 s^2)): any point will do for anyone
    match:  max_k prod_j exp(-||a_j - c_k||^2 / (2 s^2)): all must choose the same point

so that there are K^n (free) or K (match) optimal joint actions with reward 1, and the mean of them,
the centre, is worth nothing. Agents see nothing of use (one zero). `match` is what independent
policies cannot solve from a mixture of modes: n of them agree by chance in K^(1-n) of the cases.
"""

from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tenfold.platform.parameters import Parameters, check, parameter

GAME_NAMES = ("free", "match")
RADIUS, WIDTH = 0.7, 0.1


class ModesFields(Parameters):
    """What the game takes."""

    modes: Annotated[int, Field(ge=2, le=16)] = parameter(4, "Points of worth, K", ge=2, le=16)
    players: int = parameter(2, "Agents, n", ge=2, le=8)


class ModesGame:
    """W games at once.

    Attributes:
        task: ``free`` or ``match``.
        count: W.
        fields: What it was given.
        agents: Names of the agents.
        observation_sizes: 1 for each agent.
        action_size: 2.
        episode_steps: 1.
        points: The points of worth, (K, 2).
    """

    action_size = 2
    episode_steps = 1

    def __init__(self, task: str, count: int, seed: int, **fields: Any):
        """Make the games; the seed is not needed, since nothing in them is random.

        Raises:
            ValueError: There is no such game or field, or a value is not valid.
        """
        if task not in GAME_NAMES:
            raise ValueError(f"No game '{task}': choose one of {', '.join(GAME_NAMES)}.")
        check(ModesFields, fields)
        self.task, self.count, self.fields = task, count, ModesFields(**fields)
        self.agents = tuple(f"agent_{i}" for i in range(self.fields.players))
        self.observation_sizes = (1,) * len(self.agents)
        angles = 2 * np.pi * (np.arange(self.fields.modes) + 0.5) / self.fields.modes
        self.points = RADIUS * np.stack([np.cos(angles), np.sin(angles)], axis=1)

    def reset(self, seed: int | None = None) -> np.ndarray:
        """Zeros, float32 (W, n, 1)."""
        return np.zeros((self.count, len(self.agents), 1), np.float32)

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, bool]:
        """Play.

        Args:
            actions: Points, float (W, n, 2).

        Returns:
            Zeros (W, n, 1), rewards float64 (W, n), equal for all agents, and True.
        """
        gaps = actions[:, :, None] - self.points  # (W, n, K, 2)
        closeness = np.exp(-(gaps**2).sum(axis=-1) / (2 * WIDTH**2))
        if self.task == "free":
            worth = closeness.max(axis=-1).mean(axis=1)
        else:
            worth = closeness.prod(axis=1).max(axis=-1)
        return self.reset(), np.repeat(worth[:, None], len(self.agents), axis=1), True


class ModesPlayers:
    """The mixture: each game's players name an optimal joint mode, with a little noise.

    In `free` every player draws a point of its own, in `match` all name the one that is drawn.
    """

    def __init__(self, game: ModesGame, noise: float, exploration: float, seed: Any) -> None:
        """Make the players.

        Args:
            game: What they play.
            noise: Standard deviation around a point.
            exploration: Probability that a player acts uniformly at random.
            seed: As `numpy.random.default_rng` takes it.
        """
        self.game, self.noise, self.exploration = game, noise, exploration
        self._rng = np.random.default_rng(seed)

    def begin(self, count: int, share: np.ndarray | None = None) -> None:
        """Draw the modes of the games to come; see `Controller.begin`."""
        K, n = self.game.fields.modes, len(self.game.agents)
        drawn = self._rng.integers(K, size=(count, n))
        self._mode = drawn if self.game.task == "free" else np.repeat(drawn[:, :1], n, axis=1)
        self._explores = 1.0 - (1.0 - self.exploration) * (
            np.ones(count) if share is None else share
        )

    def act(self, seen: np.ndarray) -> np.ndarray:
        """Actions, float32 (W, n, 2)."""
        W, n, _ = seen.shape
        named = self.game.points[self._mode] + self.noise * self._rng.normal(size=(W, n, 2))
        uniform = self._rng.uniform(-1.0, 1.0, named.shape)
        explores = self._rng.random((W, n)) < self._explores[:, None]
        return np.clip(np.where(explores[..., None], uniform, named), -1, 1).astype(np.float32)

    def about(self) -> dict[str, Any]:
        """What acted, for a data card."""
        return {"modes": {"noise": self.noise, "exploration": self.exploration}}
