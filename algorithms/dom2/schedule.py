"""The noise of the diffusion: b_t = alpha_t a + sigma_t xi, with alpha_t^2 + sigma_t^2 = 1.

`t` runs from 0 (the action) to 1 (noise). The variance-preserving schedule of DPM-Solver
(arXiv:2206.00927, appendix D.4) is

    log alpha_t = -(beta_1 - beta_0) t^2 / 4 - beta_0 t / 2

and its discrete form in T steps, as Diffusion-QL has it, is the same function at t = i / T.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import softplus

ScheduleName = Literal["vp_linear", "vp_discrete", "cosine"]
Spacing = Literal["uniform", "logsnr"]
Prediction = Literal["epsilon", "sample", "v"]

_COSINE_OFFSET = 0.008
_COSINE_END = 0.9946  # beyond it alpha is 0 in float32 (arXiv:2206.00927, appendix D.4)


@dataclass(frozen=True)
class Schedule:
    """alpha_t, sigma_t and lambda_t = log(alpha_t / sigma_t).

    Attributes:
        name: ``vp_linear``; ``vp_discrete``, whose times are multiples of 1 / T; or ``cosine``.
        beta0: beta_0 of the two first.
        beta1: beta_1.
        T: Steps of ``vp_discrete``.
    """

    name: ScheduleName = "vp_linear"
    beta0: float = 0.1
    beta1: float = 20.0
    T: int = 100

    @property
    def end(self) -> float:
        """The last time there is."""
        return _COSINE_END if self.name == "cosine" else 1.0

    def log_alpha(self, t: Tensor) -> Tensor:
        """log alpha_t of times of any shape."""
        if self.name == "cosine":
            s = _COSINE_OFFSET
            angle = math.pi / 2 * (t + s) / (1 + s)
            return torch.log(torch.cos(angle)) - math.log(math.cos(math.pi / 2 * s / (1 + s)))
        return -(self.beta1 - self.beta0) * t**2 / 4 - self.beta0 * t / 2

    def alpha_sigma(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """alpha_t and sigma_t of times of any shape."""
        log_alpha = self.log_alpha(t)
        return log_alpha.exp(), (-torch.expm1(2 * log_alpha)).sqrt()

    def log_snr(self, t: Tensor) -> Tensor:
        """lambda_t, which falls with t."""
        log_alpha = self.log_alpha(t)
        return log_alpha - 0.5 * torch.log(-torch.expm1(2 * log_alpha))

    def time_of(self, lam: Tensor) -> Tensor:
        """The inverse of `log_snr`."""
        log_alpha = -0.5 * softplus(-2 * lam)
        if self.name == "cosine":
            s = _COSINE_OFFSET
            cosine = (log_alpha + math.log(math.cos(math.pi / 2 * s / (1 + s)))).exp()
            return torch.arccos(cosine.clamp(max=1)) * 2 / math.pi * (1 + s) - s
        c = -2 * log_alpha  # (beta_1 - beta_0) t^2 / 2 + beta_0 t = c
        span = self.beta1 - self.beta0
        return 2 * c / (self.beta0 + (self.beta0**2 + 2 * span * c).sqrt())

    def training_times(self, shape: tuple[int, ...], t_min: float, device: torch.device) -> Tensor:
        """Times to train on: uniform on [t_min, end], or on the T times of ``vp_discrete``."""
        if self.name == "vp_discrete":
            return torch.randint(1, self.T + 1, shape, device=device) / self.T
        return t_min + (self.end - t_min) * torch.rand(shape, device=device)

    def solver_times(self, N: int, spacing: Spacing, t_min: float) -> Tensor:
        """1 = t_N > ... > t_0 = t_min, (N + 1,) float64, the latest first.

        ``vp_discrete`` is trained at times i / T only, so there each but t_0 is the nearest of
        those.

        Args:
            N: Steps.
            spacing: Uniform in t or in lambda.
            t_min: t_0.
        """
        start, stop = torch.tensor([self.end, t_min], dtype=torch.float64)
        if spacing == "logsnr":
            high, low = self.log_snr(start), self.log_snr(stop)
            times = self.time_of(torch.linspace(float(high), float(low), N + 1).double())
            times = torch.cat([start[None], times[1:-1], stop[None]])
        else:
            times = torch.linspace(self.end, t_min, N + 1, dtype=torch.float64)
        if self.name == "vp_discrete":
            inner = (times[:-1] * self.T).round().clamp(min=1) / self.T
            times = torch.cat([inner, stop[None]])
        return times


def target_of(
    prediction: Prediction, a: Tensor, xi: Tensor, alpha: Tensor, sigma: Tensor
) -> Tensor:
    """What the network should say of b = alpha a + sigma xi: xi, a, or v = alpha xi - sigma a."""
    if prediction == "epsilon":
        return xi
    return a if prediction == "sample" else alpha * xi - sigma * a


def split(
    prediction: Prediction, output: Tensor, b: Tensor, alpha: Tensor, sigma: Tensor, clip: bool
) -> tuple[Tensor, Tensor]:
    """The action and the noise that a network's output at b stands for.

    Args:
        prediction: What the network says.
        output: What it said, (..., m).
        b: (..., m).
        alpha: alpha_t, to multiply b.
        sigma: sigma_t.
        clip: Hold the action in [-1, 1], where actions lie, and let the noise follow.
    """
    if prediction == "epsilon":
        a, xi = (b - sigma * output) / alpha, output
    elif prediction == "sample":
        a, xi = output, (b - alpha * output) / sigma
    else:
        a, xi = alpha * b - sigma * output, alpha * output + sigma * b
    if clip:
        a = a.clamp(-1, 1)
        xi = (b - alpha * a) / sigma
    return a, xi
