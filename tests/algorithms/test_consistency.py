"""The consistency core against diffusers' schedulers, and in the plane with an exact teacher.

About 20 s on one core, most of it two distillations in the plane.
"""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, LCMScheduler
from torch import Tensor, nn

from tenfold.algorithms.common.consistency import (
    Boundary,
    ConsistencyFunction,
    NoiseSchedule,
    Prediction,
    SolverGrid,
    consistency_loss,
    guided,
    make_distance,
    multistep_sample,
    sampling_timesteps,
    solver_step,
    update_average,
)

BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
LCM = LCMScheduler(**BETAS)
ABAR = LCM.alphas_cumprod
PREDICTIONS: tuple[Prediction, ...] = ("epsilon", "sample", "v_prediction")


def as_output(schedule: NoiseSchedule, x0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
    """What a network of a prediction type would say to mean this data and this noise."""
    alpha, sigma = schedule.alpha_sigma(t, x0)
    said = {"epsilon": eps, "sample": x0, "v_prediction": alpha * eps - sigma * x0}
    return said[schedule.prediction]


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_f_is_the_identity_at_time_zero_whatever_the_network_says(prediction: Prediction) -> None:
    f = ConsistencyFunction(NoiseSchedule(ABAR, prediction))
    z, m = torch.randn(2, 6, 4, 3, 3)
    torch.testing.assert_close(f(m, z, torch.zeros(6, dtype=torch.long)), z, rtol=0, atol=0)


def test_the_boundary_weights_are_those_of_the_lcm_scheduler() -> None:
    boundary = Boundary()
    for t in (0, 1, 19, 259, 999):
        c_skip, c_out = LCM.get_scalings_for_boundary_condition_discrete(torch.tensor(float(t)))
        torch.testing.assert_close(boundary.c_skip(torch.tensor(t)), c_skip)
        torch.testing.assert_close(boundary.c_out(torch.tensor(t)), c_out)
    assert float(boundary.c_skip(torch.tensor(19))) < 1e-5


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("N", [50, 20])
def test_the_solver_step_is_a_guided_ddim_step(prediction: Prediction, N: int) -> None:
    ddim = DDIMScheduler(
        **BETAS,
        clip_sample=False,
        set_alpha_to_one=False,
        timestep_spacing="trailing",
        steps_offset=0,
        prediction_type=prediction,
    )
    ddim.set_timesteps(N)
    schedule, grid = NoiseSchedule(ABAR, prediction), SolverGrid(N)
    assert ddim.timesteps.flip(0).tolist() == grid.timesteps.tolist()
    draw = torch.Generator().manual_seed(0)
    z, cond, uncond = torch.randn(3, N, 4, 8, 8, generator=draw, dtype=torch.float64)
    w = 7.5
    ours = solver_step(schedule, grid, torch.arange(N), z, cond, uncond, torch.full((N,), w))
    for i, t in enumerate(grid.timesteps):
        said = uncond[i] + (1 + w) * (cond[i] - uncond[i])  # the pipeline's guidance_scale 1 + w
        theirs = ddim.step(said, int(t), z[i]).prev_sample
        torch.testing.assert_close(ours[i], theirs, rtol=1e-6, atol=1e-6)


def test_one_network_makes_the_same_step_in_every_prediction_type() -> None:
    grid, draw = SolverGrid(50), torch.Generator().manual_seed(1)
    i = torch.arange(50)
    t = grid.timesteps[i]
    x0_c, x0_u, eps_c, noise = torch.randn(4, 50, 3, generator=draw)
    alpha, sigma = NoiseSchedule(ABAR).alpha_sigma(t, x0_c)
    z = alpha * x0_c + sigma * eps_c
    eps_u = (z - alpha * x0_u) / sigma
    steps = []
    for prediction in PREDICTIONS:
        schedule = NoiseSchedule(ABAR, prediction)
        cond = as_output(schedule, x0_c, eps_c, t)
        uncond = as_output(schedule, x0_u, eps_u, t)
        steps.append(solver_step(schedule, grid, i, z, cond, uncond, noise[:, 0].abs()))
    torch.testing.assert_close(steps[0], steps[1], rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(steps[1], steps[2], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 8, 50])
@pytest.mark.parametrize("N", [50, 20])
def test_timesteps_are_those_of_the_lcm_scheduler(n: int, N: int) -> None:
    if n > N:
        with pytest.raises(ValueError, match=f"Bad value {n} .* from 1 to {N}"):
            sampling_timesteps(SolverGrid(N), n)
        return
    LCM.set_timesteps(n, original_inference_steps=N)
    assert sampling_timesteps(SolverGrid(N), n) == LCM.timesteps.tolist()


def test_the_grid_ends_at_zero_and_refuses_what_it_cannot_be() -> None:
    grid = SolverGrid(50)
    assert grid.timesteps.tolist() == [*range(19, 1000, 20)]
    assert grid.successors.tolist() == [0, *range(19, 980, 20)]
    with pytest.raises(ValueError, match="Bad value 0"):
        SolverGrid(0)


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("n", [1, 4])
def test_multistep_sampling_is_the_lcm_schedulers(prediction: Prediction, n: int) -> None:
    scheduler = LCMScheduler(**BETAS, prediction_type=prediction)
    scheduler.set_timesteps(n)
    torch.manual_seed(3)
    weight = torch.randn(5, 5)
    z = torch.randn(7, 5)

    def network(points: Tensor, t: Tensor) -> Tensor:
        return torch.tanh(points @ weight + t[:, None] / 1000)

    theirs, draw = z, torch.Generator().manual_seed(4)
    for t in scheduler.timesteps:
        said = network(theirs, t.expand(7))
        theirs, denoised = scheduler.step(said, t, theirs, generator=draw, return_dict=False)
    f = ConsistencyFunction(NoiseSchedule(ABAR, prediction))
    timesteps = sampling_timesteps(SolverGrid(50), n)
    ours = multistep_sample(f, network, z, timesteps, torch.Generator().manual_seed(4))
    torch.testing.assert_close(ours, denoised)


def test_distances_and_moving_average_are_their_formulas() -> None:
    a, b = torch.tensor([0.0, 3.0]), torch.tensor([0.0, -1.0])
    assert float(make_distance("l2", 0.1)(a, b)) == pytest.approx(8.0)
    expected = ((0.01) ** 0.5 - 0.1 + (16.01) ** 0.5 - 0.1) / 2
    assert float(make_distance("huber", 0.1)(a, b)) == pytest.approx(expected)
    average = [torch.tensor([1.0])]
    update_average(average, [torch.tensor([3.0])], 0.95)
    assert float(average[0]) == pytest.approx(0.95 * 1 + 0.05 * 3)


def test_no_gradient_goes_through_the_target() -> None:
    f = ConsistencyFunction(NoiseSchedule(ABAR))
    student, target = nn.Linear(2, 2), nn.Linear(2, 2)
    z, z_next = torch.randn(2, 4, 2)
    t = torch.full((4,), 499)
    loss = consistency_loss(
        f,
        lambda x, t: student(x),
        lambda x, t: target(x),
        z,
        t,
        z_next,
        t - 20,
        make_distance("l2", 0.0),
    )
    loss.backward()
    assert student.weight.grad is not None
    assert target.weight.grad is None


class Mixture:
    """Equal Gaussians in the plane: the exact E[z_0 | z_t] is known.

    Args:
        means: (K, 2).
        deviation: Of each.
    """

    def __init__(self, means: Tensor, deviation: float) -> None:
        self.means = means
        self.deviation = deviation
        self.schedule = NoiseSchedule(ABAR, "sample")

    def __call__(self, z: Tensor, t: Tensor) -> Tensor:
        """E[z_0 | z_t = z], (B, 2)."""
        alpha, sigma = self.schedule.alpha_sigma(t, z)
        variance = alpha**2 * self.deviation**2 + sigma**2  # of z_t within one Gaussian, (B, 1)
        away = z[:, None] - alpha[..., None] * self.means  # (B, K, 2)
        share = torch.softmax(-away.square().sum(2) / (2 * variance), dim=1)  # (B, K)
        pulled = self.means + (alpha * self.deviation**2 / variance)[..., None] * away
        return (share[..., None] * pulled).sum(dim=1)

    def sample(self, count: int, draw: torch.Generator) -> Tensor:
        """(count, 2)."""
        places = torch.randint(len(self.means), (count,), generator=draw)
        return self.means[places] + self.deviation * torch.randn(count, 2, generator=draw)

    def ode(self, z: Tensor, steps: int) -> Tensor:
        """Where DDIM with this many steps carries noise (B, 2)."""
        grid = SolverGrid(steps)
        for i in reversed(range(steps)):
            at = torch.full((len(z),), i)
            m = self(z, grid.timesteps[at])
            z = solver_step(self.schedule, grid, at, z, m, m, torch.zeros(len(z)))
        return z


def eight_gaussians() -> Mixture:
    angle = torch.arange(8) * np.pi / 4
    return Mixture(torch.stack([angle.cos(), angle.sin()], dim=1), 0.1)


def two_moons() -> Mixture:
    angle = torch.linspace(0, np.pi, 16)
    upper = torch.stack([angle.cos() - 0.5, angle.sin() - 0.25], dim=1)
    return Mixture(torch.cat([upper, -upper]), 0.08)


class Jump(nn.Module):
    """A small network (z, t) -> z_0 in the plane."""

    def __init__(self) -> None:
        super().__init__()
        self.frequencies = torch.tensor([1.0, 2.0, 4.0]) * np.pi
        layers = [nn.Linear(8, 128), nn.SiLU(), nn.Linear(128, 128), nn.SiLU(), nn.Linear(128, 2)]
        self.layers = nn.Sequential(*layers)

    def forward(self, z: Tensor, t: Tensor) -> Tensor:
        phase = (t[:, None] / 1000) * self.frequencies
        return self.layers(torch.cat([z, phase.sin(), phase.cos()], dim=1))


def distilled(world: Mixture, steps: int) -> Callable[[Tensor, Tensor], Tensor]:
    """A network distilled from the exact teacher; the moving average of its weights."""
    torch.manual_seed(0)
    draw = torch.Generator().manual_seed(1)
    student, target = Jump(), Jump()
    target.load_state_dict(student.state_dict())
    f, grid = ConsistencyFunction(world.schedule), SolverGrid(50)
    optimizer = torch.optim.Adam(student.parameters(), lr=2e-3)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    distance = make_distance("l2", 0.0)
    for _ in range(steps):
        z0, eps = world.sample(256, draw), torch.randn(256, 2, generator=draw)
        i = torch.randint(grid.N, (256,), generator=draw)
        t, t_next = grid.timesteps[i], grid.successors[i]
        z = world.schedule.noised(z0, eps, t)
        m = world(z, t)
        z_next = solver_step(world.schedule, grid, i, z, m, m, torch.zeros(256))
        loss = consistency_loss(f, student, target, z, t, z_next, t_next, distance)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        decay.step()
        update_average(list(target.parameters()), list(student.parameters()), 0.95)
    return target


@pytest.mark.parametrize("world", [eight_gaussians(), two_moons()], ids=["gaussians", "moons"])
def test_a_distilled_jump_lands_where_the_exact_ode_does(world: Mixture) -> None:
    network = distilled(world, 1500)
    z = torch.randn(1000, 2, generator=torch.Generator().manual_seed(9))
    end = world.ode(z, 1000)
    f = ConsistencyFunction(world.schedule)

    def away(points: Tensor) -> float:
        return float((points - end).norm(dim=1).mean())

    jump = away(multistep_sample(f, network, z, [999]))
    assert away(world.ode(z, 50)) < 0.05
    assert jump < away(world.ode(z, 4))
    assert jump < 0.35 * away(world.ode(z, 1))


def test_guidance_extrapolates_from_the_unconditional() -> None:
    cond, uncond = torch.tensor([[2.0], [2.0]]), torch.tensor([[1.0], [1.0]])
    assert guided(cond, uncond, torch.tensor([0.0, 3.0])).flatten().tolist() == [2.0, 5.0]
