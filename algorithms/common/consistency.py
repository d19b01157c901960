"""Latent consistency distillation without images: what arXiv:2310.04378 does to any diffusion.

A diffusion's ODE carries noise to data; a consistency function f jumps from any of its points to
its end, and is the identity at time 0. Here are, in this order, the noise schedule and the solver's
grid, f with its boundary condition, the distillation step (LCM-LoRA report, Algorithm 1), and
multistep sampling. Nothing here knows what z is: latents of images (`lcm`), actions, or points of
the plane (the tests, where the exact score is the teacher).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from torch import Tensor

Prediction = Literal["epsilon", "sample", "v_prediction"]


def broadcast(values: Tensor, like: Tensor) -> Tensor:
    """Values (B,) shaped (B, 1, ..., 1), to multiply `like` (B, ...)."""
    return values.view(-1, *(1,) * (like.dim() - 1))


@dataclass(frozen=True)
class NoiseSchedule:
    """z_t = alpha_t z_0 + sigma_t eps, with alpha_t = sqrt(abar_t), sigma_t = sqrt(1 - abar_t).

    Attributes:
        abar: Cumulated alphas of diffusers' schedulers (`alphas_cumprod`), (T,) float32.
        prediction: What a network's output m is: ``epsilon``; ``sample`` (z_0); or
            ``v_prediction`` (alpha eps - sigma z_0).
    """

    abar: Tensor
    prediction: Prediction = "epsilon"

    def alpha_sigma(self, t: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """alpha_t and sigma_t of timesteps (B,), each to multiply `like` (B, ...)."""
        abar = broadcast(self.abar.to(like.device)[t], like)
        return abar.sqrt(), (1 - abar).sqrt()

    def noised(self, z0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        """z_t of data and noise (B, ...) at timesteps (B,)."""
        alpha, sigma = self.alpha_sigma(t, z0)
        return alpha * z0 + sigma * eps

    def x0_eps(self, m: Tensor, z: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """Data and noise that a network's output stands for.

        Args:
            m: Output of the network at (z, t), (B, ...).
            z: (B, ...).
            t: (B,) int64.
        """
        alpha, sigma = self.alpha_sigma(t, z)
        if self.prediction == "epsilon":
            return (z - sigma * m) / alpha, m
        if self.prediction == "sample":
            return m, (z - alpha * m) / sigma
        return alpha * z - sigma * m, alpha * m + sigma * z


@dataclass(frozen=True)
class SolverGrid:
    """N solver steps over T timesteps, each of k = T // N: t_i = k (i + 1) - 1, i = 0 .. N - 1.

    The successor of t_i is t_{i-1}, and 0 for the first.

    Attributes:
        N: Solver steps.
        T: Timesteps of the schedule.
    """

    N: int
    T: int = 1000

    def __post_init__(self) -> None:
        if not 1 <= self.N <= self.T:
            raise ValueError(
                f"Bad value {self.N} for the number of solver steps: give from 1 to {self.T}."
            )

    @property
    def k(self) -> int:
        """Skipping step."""
        return self.T // self.N

    @cached_property
    def timesteps(self) -> Tensor:
        """t_i, (N,) int64."""
        return self.k * torch.arange(1, self.N + 1) - 1

    @cached_property
    def successors(self) -> Tensor:
        """t'_i = max(t_i - k, 0), (N,) int64."""
        return (self.timesteps - self.k).clamp(min=0)


@dataclass(frozen=True)
class Boundary:
    """c_skip and c_out, so that f is the identity at t = 0 whatever the network says.

    c_skip = sigma_data^2 / (tau^2 + sigma_data^2), c_out = tau / sqrt(tau^2 + sigma_data^2), with
    tau = timestep_scaling t, as in diffusers' `LCMScheduler`.

    Attributes:
        timestep_scaling: s.
        sigma_data: Deviation that the data are taken to have.
    """

    timestep_scaling: float = 10.0
    sigma_data: float = 0.5

    def c_skip(self, t: Tensor) -> Tensor:
        """Weight of z."""
        tau = self.timestep_scaling * t.float()
        return self.sigma_data**2 / (tau**2 + self.sigma_data**2)

    def c_out(self, t: Tensor) -> Tensor:
        """Weight of the network's z_0."""
        tau = self.timestep_scaling * t.float()
        return tau / (tau**2 + self.sigma_data**2) ** 0.5


@dataclass(frozen=True)
class ConsistencyFunction:
    """f(z, t) = c_skip(t) z + c_out(t) x0(z, t).

    Attributes:
        schedule: Says what z_0 a network's output stands for.
        boundary: c_skip and c_out.
    """

    schedule: NoiseSchedule
    boundary: Boundary = Boundary()

    def __call__(self, m: Tensor, z: Tensor, t: Tensor) -> Tensor:
        """f, given the network's output at (z, t).

        Args:
            m: (B, ...), any float type; f is computed in z's.
            z: (B, ...).
            t: (B,) int64.
        """
        x0, _ = self.schedule.x0_eps(m.to(z.dtype), z, t)
        c_skip, c_out = self.boundary.c_skip(t), self.boundary.c_out(t)
        return broadcast(c_skip, z) * z + broadcast(c_out, z) * x0


Network = Callable[[Tensor, Tensor], Tensor]
"""(z, t) -> m: what a network says of points (B, ...) at timesteps (B,)."""
Distance = Callable[[Tensor, Tensor], Tensor]
DistanceName = Literal["l2", "huber"]


def guided(cond: Tensor, uncond: Tensor, w: Tensor) -> Tensor:
    """cond + w (cond - uncond): the papers' guidance; diffusers' `guidance_scale` is 1 + w.

    Args:
        cond: With the condition, (B, ...).
        uncond: Without it, (B, ...).
        w: (B,).
    """
    return cond + broadcast(w, cond) * (cond - uncond)


def solver_step(
    schedule: NoiseSchedule,
    grid: SolverGrid,
    i: Tensor,
    z: Tensor,
    cond: Tensor,
    uncond: Tensor,
    w: Tensor,
) -> Tensor:
    """z' at t'_i: one guided step of the teacher's ODE from z at t_i.

    Args:
        schedule: The teacher's.
        grid: Solver steps.
        i: Places on the grid, (B,).
        z: (B, ...).
        cond: The teacher's output m at (z, t_i) with the condition, (B, ...).
        uncond: The same without it.
        w: Guidance, (B,).
    """
    t = grid.timesteps.to(z.device)[i]
    x0_c, eps_c = schedule.x0_eps(cond.to(z.dtype), z, t)
    x0_u, eps_u = schedule.x0_eps(uncond.to(z.dtype), z, t)
    x0, eps = guided(x0_c, x0_u, w), guided(eps_c, eps_u, w)
    return schedule.noised(x0, eps, grid.successors.to(z.device)[i])  # the DDIM step


def consistency_loss(
    f: ConsistencyFunction,
    student: Network,
    target: Network,
    z: Tensor,
    t: Tensor,
    z_next: Tensor,
    t_next: Tensor,
    distance: Distance,
) -> Tensor:
    """d(f_student(z, t), f_target(z', t')), without a gradient through the target.

    Args:
        f: The consistency function.
        student: What learns.
        target: The student itself, or a moving average of it.
        z: Points at t, (B, ...) float32.
        t: (B,).
        z_next: Points at t' on the same trajectories, (B, ...).
        t_next: (B,).
        distance: Of predictions and goals, to a scalar.
    """
    prediction = f(student(z, t), z, t)
    with torch.no_grad():
        goal = f(target(z_next, t_next), z_next, t_next)
    return distance(prediction, goal)


def make_distance(name: DistanceName, huber_c: float) -> Distance:
    """d: ``l2`` is mean (a - b)^2, ``huber`` mean sqrt((a - b)^2 + c^2) - c, both elementwise.

    Args:
        name: Which.
        huber_c: c.
    """

    def l2(a: Tensor, b: Tensor) -> Tensor:
        return (a - b).square().mean()

    def huber(a: Tensor, b: Tensor) -> Tensor:
        return (((a - b).square() + huber_c**2).sqrt() - huber_c).mean()

    return {"l2": l2, "huber": huber}[name]


@torch.no_grad()
def update_average(average: list[Tensor], new: list[Tensor], decay: float) -> None:
    """theta' <- decay theta' + (1 - decay) theta, in place."""
    torch._foreach_lerp_(average, new, 1 - decay)


def sampling_timesteps(grid: SolverGrid, n: int) -> list[int]:
    """The n timesteps of diffusers' `LCMScheduler`: 4 of N = 50 are 999, 759, 499, 259.

    Args:
        grid: What the student was trained on.
        n: Steps.

    Raises:
        ValueError: The grid has fewer.
    """
    if not 1 <= n <= grid.N:
        raise ValueError(f"Bad value {n} for the number of steps: give from 1 to {grid.N}.")
    backwards = grid.timesteps.flip(0)
    places = np.floor(np.linspace(0, grid.N, n, endpoint=False)).astype(int)
    return [int(t) for t in backwards[places]]


@torch.no_grad()
def multistep_sample(
    f: ConsistencyFunction,
    network: Network,
    z: Tensor,
    timesteps: Sequence[int],
    generator: torch.Generator | None = None,
) -> Tensor:
    """Data from noise, (B, ...): z_0 = f(z, t); between two jumps noise of the next t is added.

    Args:
        f: The consistency function.
        network: A distilled network.
        z: Standard normal noise, (B, ...).
        timesteps: Falling, as `sampling_timesteps` gives them.
        generator: Of the noise in between; one step draws none.
    """
    for place, step in enumerate(timesteps):
        t = torch.full((len(z),), step, device=z.device)
        z0 = f(network(z, t), z, t)
        if place + 1 == len(timesteps):
            break
        noise = torch.randn(z.shape, generator=generator, dtype=z.dtype).to(z.device)
        z = f.schedule.noised(z0, noise, torch.full_like(t, timesteps[place + 1]))
    return z0
