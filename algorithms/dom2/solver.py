"""From noise to an action in N steps: DPM-Solver of orders 1 and 2, DDIM, and the DDPM chain.

With h = lambda_{t'} - lambda_t for a step from t to an earlier t', DPM-Solver-1 is

    b' = (alpha' / alpha) b - sigma' (e^h - 1) eps(b, t)

(arXiv:2206.00927, equation 3.7), which is DDIM without noise, b' = alpha' a + sigma' eps, written
in another way. DPM-Solver-2 asks the network once more, at the time whose lambda lies half-way.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from tenfold.algorithms.dom2.schedule import Prediction, Schedule, Spacing, split

SolverName = Literal["dpm1", "ddim", "dpm2", "ddpm"]
NoiseNetwork = Callable[[Tensor, Tensor], Tensor]
"""(b (..., m), t ()) -> the network's output (..., m), whose observation is already given."""


@dataclass(frozen=True)
class Step:
    """Constants of one step from t to t'.

    Attributes:
        t: Where the network is asked.
        alpha: alpha_t; sigma likewise.
        alpha_next: alpha_t'; sigma_next likewise.
        growth: e^h - 1 with h = lambda_t' - lambda_t; half_growth: e^(h / 2) - 1.
        middle: t_s, alpha_s, sigma_s of the time half-way in lambda.
    """

    t: float
    alpha: float
    sigma: float
    alpha_next: float
    sigma_next: float
    growth: float
    half_growth: float
    middle: tuple[float, float, float]


class Solver:
    """Samples actions; its steps' constants are computed once.

    Args:
        schedule: alpha and sigma.
        prediction: What the network says.
        name: Which solver.
        N: Steps.
        spacing: How their times lie.
        t_min: Where the last one ends.
        clip_x0: Hold each step's action in [-1, 1].
    """

    def __init__(
        self,
        schedule: Schedule,
        prediction: Prediction,
        name: SolverName,
        N: int,
        spacing: Spacing = "uniform",
        t_min: float = 1e-3,
        clip_x0: bool = True,
    ) -> None:
        self.prediction, self.name, self.clip_x0 = prediction, name, clip_x0
        times = schedule.solver_times(N, spacing, t_min)
        alpha, sigma = schedule.alpha_sigma(times)
        lam = schedule.log_snr(times)
        half = schedule.time_of((lam[:-1] + lam[1:]) / 2)
        alpha_s, sigma_s = schedule.alpha_sigma(half)
        self.steps = [
            Step(
                float(times[i]),
                float(alpha[i]),
                float(sigma[i]),
                float(alpha[i + 1]),
                float(sigma[i + 1]),
                math.expm1(float(lam[i + 1] - lam[i])),
                math.expm1(float(lam[i + 1] - lam[i]) / 2),
                (float(half[i]), float(alpha_s[i]), float(sigma_s[i])),
            )
            for i in range(N)
        ]

    @property
    def calls(self) -> int:
        """How often the network is asked for one action."""
        return len(self.steps) * (2 if self.name == "dpm2" else 1)

    def sample(self, network: NoiseNetwork, b: Tensor, steps_with_gradient: int | None) -> Tensor:
        """b at t_0, not yet clipped to [-1, 1].

        Args:
            network: Asked at each step.
            b: Standard normal noise, (..., m).
            steps_with_gradient: Gradients flow through this many last steps; all when None.
        """
        first = 0 if steps_with_gradient is None else len(self.steps) - steps_with_gradient
        enabled = torch.is_grad_enabled()
        for i, step in enumerate(self.steps):
            with torch.set_grad_enabled(enabled and i >= first):
                b = self._advance(network, b, step)
        return b

    def _advance(self, network: NoiseNetwork, b: Tensor, step: Step) -> Tensor:
        a, xi = self._ask(network, b, step.t, step.alpha, step.sigma)
        if self.name == "ddim":
            return step.alpha_next * a + step.sigma_next * xi
        if self.name == "ddpm":
            return self._posterior(a, b, step)
        if self.name == "dpm2":
            s, alpha_s, sigma_s = step.middle
            u = alpha_s / step.alpha * b - sigma_s * step.half_growth * xi
            _, xi = self._ask(network, u, s, alpha_s, sigma_s)
        return step.alpha_next / step.alpha * b - step.sigma_next * step.growth * xi

    def _ask(
        self, network: NoiseNetwork, b: Tensor, t: float, alpha: float, sigma: float
    ) -> tuple[Tensor, Tensor]:
        output = network(b, torch.tensor(t, dtype=b.dtype, device=b.device))
        return split(self.prediction, output, b, alpha, sigma, self.clip_x0)

    def _posterior(self, a: Tensor, b: Tensor, step: Step) -> Tensor:
        """A draw of q(b' | b, a), the step of the DDPM chain (arXiv:2006.11239, equation 7)."""
        ratio = (step.alpha / step.alpha_next) ** 2  # 1 - beta of this step
        var, var_next = step.sigma**2, step.sigma_next**2
        mean = step.alpha_next * (1 - ratio) / var * a + ratio**0.5 * var_next / var * b
        if step is self.steps[-1]:
            return mean
        return mean + (var_next / var * (1 - ratio)) ** 0.5 * torch.randn_like(b)
