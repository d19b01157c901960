"""The particle worlds' entities: how many, how large, how strong, and where they start.

Entities are in one order: learned agents, the prey (of tag and world), then landmarks. Numbers
are those of the OMAR fork of the multi-agent particle environments, which agree with mpe2 1.1.1
except for the reward and the six-landmark world (from the first author's later code).
"""

from dataclasses import dataclass

import numpy as np

from tenfold.envs.mpe.names import WORLD_NAMES

SPREAD, TAG, WORLD, SIX = range(len(WORLD_NAMES))  # in compiled code a world is its number
FORESTS, FOOD = 2, 2
SENSITIVITY = 5.0  # of agents without an acceleration of their own


@dataclass(frozen=True)
class Scenario:
    """One world.

    Attributes:
        kind: Its number, the place of its name in `WORLD_NAMES`.
        agents: Names of the learned agents.
        prey: Whether one more agent is moved by `prey.flee`.
        sizes: Radii by entity, float64 (E,).
        collides: Whether an entity is solid, bool (E,).
        accelerations: By agent, the prey's too, float64 (A,).
        speed_limits: By agent, inf where there is none, float64 (A,).
        start: Half-width of the square that an entity starts in, float64 (E,).
        redrawn: Entities whose start mpe2 draws once more, and so moves the stream of random
            numbers: food and forests of world.
        tail: Numbers at the end of an observation: silent communication, the prey's velocity, in
            which forest one is.
    """

    kind: int
    agents: tuple[str, ...]
    prey: bool
    sizes: np.ndarray
    collides: np.ndarray
    accelerations: np.ndarray
    speed_limits: np.ndarray
    start: np.ndarray
    redrawn: tuple[int, ...]
    tail: int

    @property
    def moving(self) -> int:
        """Number of agents with the prey."""
        return len(self.accelerations)

    @property
    def observation_size(self) -> int:
        """Of a learned agent: velocity, place, landmarks, other agents, tail."""
        return 4 + 2 * (len(self.sizes) - 1) + self.tail


def scenario(task: str) -> Scenario:
    """A world by its name.

    Raises:
        KeyError: There is none of that name.
    """
    return {"spread": _spread, "tag": _tag, "world": _world, "six_landmarks": _six}[task]()


def _navigation(kind: int, size: float, landmarks: int) -> Scenario:
    """Three agents of one size, and landmarks that they are to cover."""
    return Scenario(
        kind=kind,
        agents=tuple(f"agent_{i}" for i in range(3)),
        prey=False,
        sizes=np.array([size] * 3 + [0.05] * landmarks),
        collides=np.array([True] * 3 + [False] * landmarks),
        accelerations=np.full(3, SENSITIVITY),
        speed_limits=np.full(3, np.inf),
        start=np.ones(3 + landmarks),
        redrawn=(),
        tail=4,
    )


def _spread() -> Scenario:
    return _navigation(SPREAD, 0.15, 3)


def _six() -> Scenario:
    return _navigation(SIX, 0.1, 6)


def _tag() -> Scenario:
    return Scenario(
        kind=TAG,
        agents=tuple(f"adversary_{i}" for i in range(3)),
        prey=True,
        sizes=np.array([0.075] * 3 + [0.05] + [0.2] * 2),
        collides=np.array([True] * 6),
        accelerations=np.array([3.0] * 3 + [4.0]),
        speed_limits=np.array([1.0] * 3 + [1.3]),
        start=np.array([1.0] * 4 + [0.9] * 2),
        redrawn=(),
        tail=2,
    )


def _world() -> Scenario:
    return Scenario(
        kind=WORLD,
        agents=tuple(f"adversary_{i}" for i in range(3)),
        prey=True,
        sizes=np.array([0.075] * 3 + [0.045] + [0.2] + [0.03] * FOOD + [0.3] * FORESTS),
        collides=np.array([True] * 5 + [False] * (FOOD + FORESTS)),
        accelerations=np.array([3.0] * 3 + [4.0]),
        speed_limits=np.array([1.0] * 3 + [1.3]),
        start=np.array([1.0] * 4 + [0.9] * (1 + FOOD + FORESTS)),
        redrawn=(5, 6, 7, 8),
        tail=4,
    )
