"""A grid world with a short way over thin ice and a long safe one, of which only the hint tells.

Egocentric partial view as in MiniGrid, actions that lead on. Whoever minds neither risk crosses the
ice; whoever does walks round it, on the side that the hint at the start names.
"""

from typing import Annotated, Any, ClassVar, Literal

import gymnasium as gym
import numpy as np
from pydantic import Field

from tenfold.envs.risk.fields import Share, Steps

Cells = Annotated[int, Field(ge=1, le=50)]
Size = Annotated[float, Field(ge=0, le=1e6)]
WALL, FLOOR, ICE, PLANKS, GOAL = range(5)
MOVES = ((-1, 0), (0, 1), (1, 0))  # rows, columns of up, ahead, down


class ThinIce(gym.Env[np.ndarray, np.int64]):
    """A corridor, a fork, a pond: over the ice, or round it on one of two sides.

    With `approach` = `crossing` = 3 (start S, floor ., ice I, planks P, goal G, walls blank):

                . P P P .
                .       .
          S . . . I I I G
                .       .
                . P P P .

    Actions: 0 up, 1 ahead, 2 down; into a wall one stays. Every step costs `time_cost`, the goal
    pays `goal` and ends the episode, as T steps do. A step onto a cell of ice breaks it with
    probability `thin`, onto planks of the rotten side with probability `rotten`, and costs `cost`;
    the walk goes on. Which side is rotten is drawn at the start with even chances and looks like
    the other, so movement is deterministic given the start, and the iterated CVaR of a policy is
    the sum of `cvar_of_step` over its steps, averaged over the start.

    Observation: the (2 view + 1)^2 cells around the walker, each one-hot in wall, floor, ice,
    planks, goal (what lies outside is wall); the hint, one-hot in up and down for the side that is
    safe, zeros where it is not shown; and the share of time gone. A flat float32 box.
    `hint` = "always" makes the task Markov with the default view; with "start" the hint is in the
    first observation alone and must be remembered up to the fork.

    Attributes:
        hidden_state: The safe side, 0 up or 1 down.
        hidden_states: How many there are.

    The signature says what each field is and within which bounds.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}
    hidden_states: ClassVar[int] = 2

    def __init__(
        self,
        hint: Annotated[
            Literal["always", "start"], Field(description="When the safe side is shown")
        ] = "always",
        T: Steps = 20,
        approach: Annotated[Cells, Field(description="Steps from the start to the fork")] = 3,
        crossing: Annotated[Cells, Field(description="Cells of ice, and of planks")] = 3,
        thin: Annotated[Share, Field(description="Chance that a cell of ice breaks")] = 0.04,
        rotten: Annotated[Share, Field(description="Chance that rotten planks do")] = 0.3,
        cost: Annotated[Size, Field(description="What a break costs")] = 2.0,
        time_cost: Annotated[Size, Field(description="What a step costs")] = 0.1,
        goal: Annotated[Size, Field(description="What the goal pays")] = 1.0,
        view: Annotated[
            int, Field(ge=1, le=10, description="Cells that are seen in each direction")
        ] = 2,
    ) -> None:
        self.hint, self.T, self.view = hint, T, view
        self.chances = {ICE: thin, PLANKS: rotten}
        self.cost, self.time_cost, self.goal = cost, time_cost, goal
        self.cells = _pond(approach, crossing)
        self.padded = np.pad(self.cells, view, constant_values=WALL)
        size = 5 * (2 * view + 1) ** 2 + 3
        self.observation_space = gym.spaces.Box(0.0, 1.0, (size,), np.float32)
        self.action_space = gym.spaces.Discrete(len(MOVES))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.hidden_state = int(self.np_random.integers(2))
        self.place, self.t, self.sure, self.chance = (2, 0), 0, 0.0, 0.0
        return self._observation(), {"break_probability": 0.0}

    def step(self, action: np.int64) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        (row, column), (down, right) = self.place, MOVES[int(action)]
        target = (row + down, column + right)
        inside = 0 <= target[0] < 5 and target[1] < self.cells.shape[1]
        moved = inside and self.cells[target] != WALL
        self.place = target if moved else self.place
        self.t += 1
        arrived = self.cells[self.place] == GOAL
        self.chance = self._break_probability() if moved else 0.0
        self.sure = self.goal * arrived - self.time_cost
        reward = self.sure - self.cost * float(self.np_random.random() < self.chance)
        info = {"break_probability": self.chance}
        return self._observation(), reward, bool(arrived or self.t >= self.T), False, info

    def cvar_of_step(self, alpha: float) -> float:
        """CVaR at level `alpha` of what the last step paid, given where it led."""
        return self.sure - self.cost * min(self.chance / alpha, 1.0)

    def _break_probability(self) -> float:
        kind = int(self.cells[self.place])
        on_safe_planks = kind == PLANKS and (self.place[0] == 4) == bool(self.hidden_state)
        return 0.0 if on_safe_planks else self.chances.get(kind, 0.0)

    def _observation(self) -> np.ndarray:
        row, column = self.place
        width = 2 * self.view + 1
        window = self.padded[row : row + width, column : column + width]
        seen = np.zeros(self.observation_space.shape, np.float32)
        seen[:-3] = (window[..., None] == np.arange(5)).ravel()
        if self.hint == "always" or self.t == 0:
            seen[-3 + self.hidden_state] = 1.0
        seen[-1] = self.t / self.T
        return seen


def _pond(approach: int, crossing: int) -> np.ndarray:
    """Cells by row and column, (5, approach + crossing + 2)."""
    fork, goal = approach, approach + crossing + 1
    cells = np.full((5, goal + 1), WALL)
    cells[2, :fork] = FLOOR
    cells[:, [fork, goal]] = FLOOR
    cells[2, fork + 1 : goal] = ICE
    cells[[0, 4], fork + 1 : goal] = PLANKS
    cells[2, goal] = GOAL
    return cells
