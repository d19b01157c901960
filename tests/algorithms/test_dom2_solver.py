"""Schedules and solvers of DOM2 beside diffusers and closed forms; about 3 processor seconds."""

import math

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler
from hypothesis import given, settings
from hypothesis import strategies as st

from tenfold.algorithms.dom2.schedule import Schedule, split, target_of
from tenfold.algorithms.dom2.solver import Solver

SCHEDULES = [
    Schedule("vp_linear", 0.1, 20.0),
    Schedule("vp_linear", 0.1, 10.0),
    Schedule("vp_discrete", 0.1, 10.0, 50),
    Schedule("cosine"),
]
NAMES = [f"{s.name}-{s.beta1:g}" for s in SCHEDULES]


def network(b: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """Some smooth function of b and t."""
    return torch.sin(2 * b + t) - 0.3 * b


@pytest.mark.parametrize("schedule", SCHEDULES, ids=NAMES)
def test_the_schedule_preserves_variance_and_its_inverse_inverts(schedule: Schedule) -> None:
    t = torch.linspace(0.002, schedule.end, 200, dtype=torch.float64)
    alpha, sigma = schedule.alpha_sigma(t)
    torch.testing.assert_close(alpha**2 + sigma**2, torch.ones_like(t))
    torch.testing.assert_close(schedule.time_of(schedule.log_snr(t)), t, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(schedule.log_snr(t), torch.log(alpha / sigma))


def test_the_discrete_schedule_is_that_of_diffusion_ql() -> None:
    """beta_i = 1 - exp(-b0 / T - (b1 - b0) (2 i - 1) / (2 T^2)), arXiv:2208.06193, section 3."""
    T, b0, b1 = 5, 0.1, 10.0
    i = np.arange(1, T + 1)
    abar = np.cumprod(np.exp(-b0 / T - 0.5 * (b1 - b0) * (2 * i - 1) / T**2))
    alpha, _ = Schedule("vp_discrete", b0, b1, T).alpha_sigma(torch.tensor(i / T))
    np.testing.assert_allclose(alpha.numpy() ** 2, abar, rtol=1e-10)


@pytest.mark.parametrize("prediction", ["epsilon", "sample", "v"])
@pytest.mark.parametrize("spacing", ["uniform", "logsnr"])
@settings(max_examples=8, deadline=None, derandomize=True)
@given(N=st.integers(1, 20), place=st.integers(0, 3), clip=st.booleans())
def test_dpm_solver_1_is_ddim(
    prediction: str, spacing: str, N: int, place: int, clip: bool
) -> None:
    schedule = SCHEDULES[place]
    b = torch.randn(3, 7, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(N))
    one, other = (
        Solver(schedule, prediction, name, N, spacing, 1e-3, clip).sample(network, b, None)
        for name in ("dpm1", "ddim")
    )
    assert float((one - other).abs().max()) <= 1e-5 * max(1.0, float(one.abs().max()))


def test_ddim_is_that_of_diffusers() -> None:
    T = 1_000
    schedule = Schedule("vp_discrete", 0.1, 20.0, T)
    alpha, _ = schedule.alpha_sigma(torch.arange(1, T + 1, dtype=torch.float64) / T)
    abar = alpha**2
    betas = 1 - abar / torch.cat([torch.ones(1), abar[:-1]])
    theirs = DDIMScheduler(
        T, trained_betas=betas.tolist(), clip_sample=True, timestep_spacing="trailing"
    )
    theirs.alphas_cumprod = abar
    theirs.set_timesteps(10)
    mine = b = torch.randn(5, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    solver = Solver(schedule, "epsilon", "dpm1", 10, t_min=1e-6, clip_x0=True)
    times = theirs.timesteps.tolist()
    np.testing.assert_allclose([step.t for step in solver.steps], [(t + 1) / T for t in times])
    for place, t in enumerate(times[:-1]):  # the last ends at t = 0 there and at t_min here
        mine = solver._advance(network, mine, solver.steps[place])
        at = torch.tensor((t + 1) / T, dtype=torch.float64)
        b = theirs.step(network(b, at), t, b, use_clipped_model_output=True).prev_sample
        torch.testing.assert_close(mine, b, rtol=1e-5, atol=1e-5)


def gaussian_score_network(schedule: Schedule, mean: float, std: float):
    """The exact noise prediction of data N(mean, std^2)."""

    def exact(b: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        alpha, sigma = schedule.alpha_sigma(t)
        return sigma * (b - alpha * mean) / (alpha**2 * std**2 + sigma**2)

    return exact


@pytest.mark.parametrize(("name", "order"), [("dpm1", 1), ("dpm2", 2)])
def test_the_error_falls_with_the_order_of_the_solver(name: str, order: int) -> None:
    """With the exact score of a Gaussian the flow maps z to mean + scale z in closed form."""
    schedule = Schedule("vp_linear", 0.1, 20.0)
    exact = gaussian_score_network(schedule, 0.4, 0.3)
    b = torch.linspace(-2, 2, 9, dtype=torch.float64)

    def spread(t: float) -> tuple[float, float]:
        alpha, sigma = schedule.alpha_sigma(torch.tensor(t, dtype=torch.float64))
        return float(alpha), math.sqrt(float(alpha) ** 2 * 0.3**2 + float(sigma) ** 2)

    (alpha_1, s_1), (alpha_0, s_0) = spread(1.0), spread(1e-3)
    end = alpha_0 * 0.4 + s_0 / s_1 * (b - alpha_1 * 0.4)
    errors = []
    for N in (40, 80):
        solver = Solver(schedule, "epsilon", name, N, "logsnr", 1e-3, clip_x0=False)
        errors.append(float((solver.sample(exact, b, None) - end).abs().max()))
    assert math.log2(errors[0] / errors[1]) > order - 0.25


def test_the_ddpm_chain_draws_the_data_distribution() -> None:
    schedule = Schedule("vp_linear", 0.1, 20.0)
    torch.manual_seed(0)
    b = torch.randn(20_000, 1)
    solver = Solver(schedule, "epsilon", "ddpm", 200, "uniform", 1e-3, clip_x0=False)
    drawn = solver.sample(gaussian_score_network(schedule, 0.4, 0.3), b, None)
    assert float(drawn.mean()) == pytest.approx(0.4, abs=0.02)
    assert float(drawn.std()) == pytest.approx(0.3, abs=0.02)


@pytest.mark.parametrize("prediction", ["epsilon", "sample", "v"])
def test_action_and_noise_are_found_again_from_what_a_network_should_say(prediction: str) -> None:
    schedule = Schedule()
    a, xi = torch.rand(50, 2) * 2 - 1, torch.randn(50, 2)
    alpha, sigma = (x[:, None] for x in schedule.alpha_sigma(torch.linspace(0.05, 0.8, 50)))
    said = target_of(prediction, a, xi, alpha, sigma)
    for clip in (False, True):
        found, noise = split(prediction, said, alpha * a + sigma * xi, alpha, sigma, clip)
        torch.testing.assert_close(found, a, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(noise, xi, atol=1e-3, rtol=1e-3)


def test_gradients_flow_through_as_many_steps_as_said() -> None:
    asked: list[bool] = []

    def seen(b: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        asked.append(torch.is_grad_enabled())
        return network(b, t)

    solver = Solver(Schedule(), "sample", "dpm1", 4)
    solver.sample(seen, torch.randn(2, 1), 1)
    solver.sample(seen, torch.randn(2, 1), None)
    assert asked == [False, False, False, True, True, True, True, True]
