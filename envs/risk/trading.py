"""A position in a risky asset, whose optimum under CVaR is known up to quadrature.

The action is a real number and the return a sum of normal gains, so the mean's optimum is the
largest position throughout, and the optimum of CVaR depends on what was earned so far
(`trading_optimum`).
"""

from typing import Annotated, Any, ClassVar

import gymnasium as gym
import numpy as np
from pydantic import Field

from tenfold.envs.risk.fields import Share, Steps

Gain = Annotated[float, Field(ge=-1e6, le=1e6)]
Spread = Annotated[float, Field(gt=0, le=1e6)]


class Trading(gym.Env[np.ndarray, np.ndarray]):
    """Hold a position a in [0, 1] for each of T periods, in markets that are calm or turbulent.

        reward = a X,   X ~ N(calm_gain, calm_spread^2) or N(turbulent_gain, turbulent_spread^2)

    The market of the period is seen before the position is chosen, the first one is calm, and the
    next one is the same with probability `stays`, whatever X. With the defaults both markets gain
    on average, so the largest mean is that of a = 1 throughout, and turbulence has most of the
    risk.

    Observation: 1 if turbulent else 0, share of the time gone, (2,) float32. Action: (1,) float32.
    An episode terminates after T periods. ``info`` is empty.

    The signature says what each field is and within which bounds.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}

    def __init__(
        self,
        T: Steps = 10,
        calm_gain: Annotated[Gain, Field(description="Mean of X in a calm market")] = 0.15,
        calm_spread: Annotated[Spread, Field(description="Its standard deviation")] = 0.2,
        turbulent_gain: Annotated[Gain, Field(description="Mean of X in a turbulent market")] = 0.2,
        turbulent_spread: Annotated[Spread, Field(description="Its standard deviation")] = 0.8,
        stays: Annotated[
            Share, Field(description="Probability that the market stays as it is")
        ] = 0.8,
    ) -> None:
        self.T, self.stays = T, stays
        self.gains = np.array([calm_gain, turbulent_gain])
        self.spreads = np.array([calm_spread, turbulent_spread])
        self.observation_space = gym.spaces.Box(0.0, 1.0, (2,), np.float32)
        self.action_space = gym.spaces.Box(0.0, 1.0, (1,), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.t, self.market = 0, 0
        return self._observation(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        position = min(max(float(action[0]), 0.0), 1.0)
        x = self.gains[self.market] + self.spreads[self.market] * self.np_random.standard_normal()
        if self.np_random.random() >= self.stays:
            self.market = 1 - self.market
        self.t += 1
        return self._observation(), float(position * x), self.t == self.T, False, {}

    def _observation(self) -> np.ndarray:
        return np.array([self.market, self.t / self.T], np.float32)
