"""Scripted policies of the particle worlds, as good or as bad as their knobs say.

An agent looks for a target in what it observes itself, and pushes toward it:

    action = clip(gain (target - damping velocity)) + noise N(0, I)

or, with probability `exploration` in a step, it acts uniformly at random. All but one aim are
Markovian: they depend on the present observation only. `drawn` is not: the agents of six_landmarks
go to distinct landmarks that are drawn for an episode, so that the data hold several ways of equal
worth.
"""

from dataclasses import asdict, dataclass
from itertools import permutations
from typing import Any

import numpy as np

from tenfold.envs.mpe.scenarios import scenario

_PREY_LEAD = 0.1  # seconds by which a chaser aims ahead


@dataclass(frozen=True)
class Skill:
    """Knobs of a controller.

    Attributes:
        aim: ``assigned``: the landmark that is one's own in the assignment of least total distance;
            ``nearest``: the nearest landmark, whoever else goes there; ``prey``: the prey, a little
            ahead; ``drawn``: a landmark drawn for the episode, another for each agent.
        gain: Action for a unit of distance.
        damping: Seconds of one's own velocity to take off the distance.
        noise: Standard deviation of the noise on the action.
        exploration: Probability that a step's action is uniform.
    """

    aim: str
    gain: float
    damping: float = 0.0
    noise: float = 0.0
    exploration: float = 0.0


class Controller:
    """The agents of W worlds, with one skill or one for each world.

    Attributes:
        skill: Its knobs.
    """

    def __init__(self, task: str, skill: Skill, seed: Any) -> None:
        """Make a controller.

        Args:
            task: Name of the world.
            skill: Its knobs.
            seed: As `numpy.random.default_rng` takes it.
        """
        self.skill = skill
        self._scenario = scenario(task)
        self._rng = np.random.default_rng(seed)
        self.exploration: np.ndarray | float = skill.exploration

    def begin(self, count: int, share: np.ndarray | None = None) -> None:
        """Begin an episode.

        Args:
            count: How many worlds, W.
            share: How much of the skill each world's agents have, (W,); the rest of their steps is
                uniformly random. All of it by default.
        """
        own = 1.0 - self.skill.exploration
        self.exploration = 1.0 - own * (np.ones(count) if share is None else share)
        landmarks = len(self._scenario.sizes) - self._scenario.moving
        if self.skill.aim == "drawn":
            self._drawn = self._rng.random((count, landmarks)).argsort(axis=1)

    def act(self, seen: np.ndarray) -> np.ndarray:
        """Actions, float32 (W, n, 2), for observations (W, n, o)."""
        W, n, _ = seen.shape
        own = self.skill.gain * (self.target(seen) - self.skill.damping * seen[..., :2])
        own = np.clip(own, -1.0, 1.0) + self.skill.noise * self._rng.normal(size=own.shape)
        uniform = self._rng.uniform(-1.0, 1.0, own.shape)
        explores = self._rng.random((W, n)) < np.reshape(self.exploration, (-1, 1))
        return np.clip(np.where(explores[..., None], uniform, own), -1, 1).astype(np.float32)

    def about(self) -> dict[str, Any]:
        """What acted, for a data card."""
        return {"controller": asdict(self.skill)}

    def target(self, seen: np.ndarray) -> np.ndarray:
        """Where each agent wants to go, relative to itself, (W, n, 2)."""
        W, n, _ = seen.shape
        landmarks = len(self._scenario.sizes) - self._scenario.moving
        first_other = 4 + 2 * landmarks
        if self.skill.aim == "prey":
            prey = first_other + 2 * (n - 1)
            ahead: np.ndarray = seen[..., prey : prey + 2]
            return ahead + _PREY_LEAD * seen[..., prey + 2 : prey + 4]
        places = seen[..., 4:first_other].reshape(W, n, landmarks, 2)
        if self.skill.aim == "nearest":
            choice = np.linalg.norm(places, axis=-1).argmin(axis=-1)
        elif self.skill.aim == "drawn":
            choice = self._drawn[:, :n]
        else:
            choice = _assign(places, seen[..., first_other : first_other + 2 * (n - 1)])
        return np.take_along_axis(places, choice[..., None, None], axis=2)[:, :, 0]


def _assign(places: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Each agent's landmark by the assignment that it finds best from what it sees, (W, n)."""
    W, n, _, _ = places.shape
    orders = np.array(list(permutations(range(n))))  # row: agent -> landmark
    choice = np.empty((W, n), np.int64)
    for i in range(n):
        team = np.insert(others[:, i].reshape(W, n - 1, 2), i, 0.0, axis=1)
        gaps = np.linalg.norm(team[:, :, None] - places[:, i, None], axis=-1)  # (W, n, n)
        totals = gaps[:, np.arange(n), orders].sum(axis=-1)  # (W, orders)
        choice[:, i] = orders[totals.argmin(axis=1), i]
    return choice
