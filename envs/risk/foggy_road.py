"""The winding road in fog: where the car is can only be told from many noisy looks."""

import math
from typing import Annotated, ClassVar

import gymnasium as gym
import numpy as np
from pydantic import Field

from tenfold.envs.risk.control import CurvyRoad
from tenfold.envs.risk.fields import Steps

# Where noisy looks are cut off.
FARTHEST = 5.0


class FoggyRoad(CurvyRoad):
    """`CurvyRoad` whose place is seen through noise, so that it must be tracked over the steps.

    Observation: cos 2 pi x + noise, sin 2 pi x + noise, v, share of the time gone, (4,) float32;
    the noise is normal with deviation `fog`, drawn anew at each step, and what it gives is cut off
    at +-5. How fast a curve may be taken depends on x, so whoever tracks it drives fast where that
    is safe; whoever does not is slow everywhere or skids.

    Attributes:
        hidden_state: The eighth of the loop that the car is in, 0 to 7.
        hidden_states: How many there are.

    The signature says what each field is and within which bounds.
    """

    hidden_states: ClassVar[int] = 8

    def __init__(
        self,
        fog: Annotated[float, Field(ge=0, le=100, description="Deviation of the noise")] = 0.5,
        T: Steps = 20,
        cost: Annotated[float, Field(gt=0, le=1e6, description="What a skid costs")] = 3.0,
        steepness: Annotated[
            float, Field(gt=0, le=1e6, description="Growth of a skid's chance with excess speed")
        ] = 0.5,
        most: Annotated[float, Field(gt=0, le=1, description="Largest chance of a skid")] = 0.1,
    ) -> None:
        super().__init__(T=T, cost=cost, steepness=steepness, most=most)
        self.fog = fog
        low, high = np.array([-FARTHEST, -FARTHEST, 0.0, 0.0]), np.array([FARTHEST] * 2 + [1.0] * 2)
        self.observation_space = gym.spaces.Box(np.float32(low), np.float32(high))

    @property
    def hidden_state(self) -> int:
        """The eighth of the loop."""
        return math.floor(self.hidden_states * self.x)

    def _observation(self) -> np.ndarray:
        seen = super()._observation()
        noisy = seen[:2] + self.fog * self.np_random.standard_normal(2)
        seen[:2] = np.clip(noisy, -FARTHEST, FARTHEST)
        return seen
