"""Risk measures on discrete distributions: closed forms, integrals, and defining properties."""

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm, wasserstein_distance

from tenfold.envs.risk.measures import (
    CVaR,
    Distortion,
    DualPower,
    Entropic,
    Expectation,
    ExponentialSpectrum,
    RiskMeasure,
    Spectral,
)

DISTORTIONS: list[Distortion] = [
    Expectation(),
    CVaR(0.3),
    CVaR(1.0),
    Spectral((0.1, 0.5, 1.0), (0.2, 0.3, 0.5)),
    ExponentialSpectrum(3.0),
    DualPower(2.5),
]
MEASURES: list[RiskMeasure] = [*DISTORTIONS, Entropic(-1.5), Entropic(0.7)]
measures = pytest.mark.parametrize("rho", MEASURES, ids=str)
SPAN = 3.0

Distribution = tuple[np.ndarray, np.ndarray]


@st.composite
def distributions(draw: st.DrawFn, size: int = 5) -> Distribution:
    """A distribution on [0, SPAN], with ties and empty atoms among them."""
    values = draw(st.lists(st.floats(0.0, SPAN), min_size=size, max_size=size))
    weights = draw(st.lists(st.integers(0, 20), min_size=size, max_size=size).filter(any))
    return np.array(values), np.array(weights) / sum(weights)


def cdf_distance(first: Distribution, second: Distribution) -> float:
    """sup |F - G|."""
    points = np.concatenate([first[0], second[0]])
    cdfs = [(p[None, :] * (x[None, :] <= points[:, None])).sum(axis=1) for x, p in (first, second)]
    return float(np.abs(cdfs[0] - cdfs[1]).max())


@pytest.mark.parametrize(("p", "alpha"), [(0.1, 0.3), (0.3, 0.3), (0.5, 0.3), (0.2, 1.0)])
def test_cvar_of_a_coin_is_its_closed_form(p: float, alpha: float) -> None:
    assert CVaR(alpha)([1.0, 0.0], [1 - p, p]) == pytest.approx(max(1 - p / alpha, 0), abs=1e-15)


def test_cvar_is_the_mean_at_1_and_the_worst_case_near_0() -> None:
    rng = np.random.default_rng(0)
    x, p = rng.normal(size=(50, 7)), rng.dirichlet(np.ones(7), size=50)
    np.testing.assert_allclose(CVaR(1.0)(x, p), (x * p).sum(axis=1), atol=1e-12)
    np.testing.assert_allclose(CVaR(1e-9)(x, p), x.min(axis=1), atol=1e-12)


def test_cvar_equals_its_variational_form() -> None:
    rng = np.random.default_rng(1)
    for alpha in (0.05, 0.4, 0.9):
        x, p = rng.normal(size=6), rng.dirichlet(np.ones(6))
        shortfalls = np.maximum(x[:, None] - x[None, :], 0.0) @ p
        assert CVaR(alpha)(x, p) == pytest.approx((x - shortfalls / alpha).max(), abs=1e-12)


def test_entropic_of_a_coin_and_its_risk_neutral_limit() -> None:
    value = Entropic(-2.0)([0.0, 1.0], [0.25, 0.75])
    assert value == pytest.approx(-0.5 * math.log(0.25 + 0.75 * math.exp(-2.0)), abs=1e-15)
    assert Entropic(1e-7)([0.0, 1.0], [0.25, 0.75]) == pytest.approx(0.75, abs=1e-6)


def test_entropic_does_not_overflow() -> None:
    x, p = np.array([0.0, 5_000.0]), np.array([0.5, 0.5])
    assert Entropic(-1.0)(x, p) == pytest.approx(math.log(2.0))
    assert Entropic(1.0)(x, p) == pytest.approx(5_000.0 - math.log(2.0))
    assert Entropic(1.0).lipschitz(5_000.0) == math.inf


def test_dual_power_is_the_expected_minimum_of_copies() -> None:
    x, p = np.array([0.3, 2.0, 1.1]), np.array([0.2, 0.5, 0.3])
    minimum = sum(
        p[i] * p[j] * p[k] * min(x[i], x[j], x[k]) for i, j, k in product(range(3), repeat=3)
    )
    assert DualPower(3)(x, p) == pytest.approx(minimum, abs=1e-14)


def test_spectral_is_the_mixture_of_cvars() -> None:
    x, p = np.array([0.3, 2.0, 1.1]), np.array([0.2, 0.5, 0.3])
    mixed = 0.2 * CVaR(0.1)(x, p) + 0.8 * CVaR(0.6)(x, p)
    assert Spectral((0.1, 0.6), (0.2, 0.8))(x, p) == pytest.approx(mixed, abs=1e-15)


@pytest.mark.parametrize("rho", DISTORTIONS, ids=str)
def test_a_distortion_is_the_integral_of_one_minus_h_of_the_distribution(rho: Distortion) -> None:
    rng = np.random.default_rng(2)
    x, p = np.sort(rng.random(5) * SPAN), rng.dirichlet(np.ones(5))

    def tail(y: float) -> float:
        return 1.0 - float(rho.h(np.array(min(p[x <= y].sum(), 1.0))))

    integral = quad(tail, 0.0, SPAN, points=list(x), epsabs=1e-11)[0]  # of values from 0 to SPAN
    assert rho(x, p) == pytest.approx(integral, abs=1e-9)


def test_the_measures_of_a_fine_discretised_normal_law_are_its_integrals() -> None:
    n = 400_000
    u = (np.arange(n) + 0.5) / n
    x, p = norm.ppf(u), np.full(n, 1.0 / n)
    assert CVaR(0.2)(x, p) == pytest.approx(-norm.pdf(norm.ppf(0.2)) / 0.2, abs=1e-4)
    spectrum = quad(lambda v: 3 * math.exp(-3 * v) / -math.expm1(-3) * norm.ppf(v), 0, 1)[0]
    assert ExponentialSpectrum(3.0)(x, p) == pytest.approx(spectrum, abs=1e-4)
    assert Entropic(-1.5)(x, p) == pytest.approx(-0.75, abs=1e-3)  # gamma sigma^2 / 2


@measures
@settings(deadline=None, max_examples=60)
@given(
    distribution=distributions(),
    up=st.lists(st.floats(0.0, 2.0), min_size=5, max_size=5),
    c=st.floats(-2, 2),
)
def test_it_is_monotone_and_translation_equivariant(
    rho: RiskMeasure, distribution: Distribution, up: list[float], c: float
) -> None:
    x, p = distribution
    assert rho(x + np.array(up), p) >= rho(x, p) - 1e-12
    assert rho(x + c, p) == pytest.approx(float(rho(x, p)) + c, abs=1e-9)


@measures
@settings(deadline=None, max_examples=60)
@given(first=distributions(), second=distributions())
def test_it_is_lipschitz_with_its_constants(
    rho: RiskMeasure, first: Distribution, second: Distribution
) -> None:
    change = abs(float(rho(*first) - rho(*second)))
    moved = wasserstein_distance(first[0], second[0], first[1], second[1])
    assert change <= rho.lipschitz(SPAN) * moved + 1e-9
    assert change <= rho.lipschitz_cdf(SPAN) * cdf_distance(first, second) + 1e-9
    same_probabilities = abs(float(rho(first[0], first[1]) - rho(second[0], first[1])))
    assert same_probabilities <= np.abs(first[0] - second[0]).max() + 1e-9


@pytest.mark.parametrize("rho", [*DISTORTIONS, Entropic(-1.5)], ids=str)
def test_no_smaller_constant_would_do(rho: RiskMeasure) -> None:
    rare, step = 1e-6, 1e-4
    before = rho([0.0, SPAN], [rare, 1 - rare])
    after = rho([step, SPAN], [rare, 1 - rare])
    assert (after - before) / (rare * step) == pytest.approx(rho.lipschitz(SPAN), rel=1e-3)
    lifted = rho([0.0, SPAN], [0.0, 1.0])
    assert (lifted - before) / rare == pytest.approx(rho.lipschitz_cdf(SPAN), rel=1e-3)


@measures
def test_the_derivative_is_that_of_finite_differences_and_a_distribution(rho: RiskMeasure) -> None:
    x, p = np.array([0.3, 2.0, 1.1, 0.7]), np.array([0.2, 0.4, 0.25, 0.15])
    step = 1e-6 * np.eye(4)
    slopes = (rho(x + step, p) - rho(x - step, p)) / 2e-6
    derivative = rho.derivative(x, p)
    np.testing.assert_allclose(derivative, slopes, atol=1e-6)
    assert derivative.sum() == pytest.approx(1.0)
    assert (derivative >= 0.0).all()


@measures
def test_batches_are_the_single_distributions(rho: RiskMeasure) -> None:
    rng = np.random.default_rng(3)
    x, p = rng.random((2, 3, 4)), rng.dirichlet(np.ones(4), size=(2, 3))
    batch = rho(x, p)
    assert batch.shape == (2, 3)
    singles = [[rho(x[i, j], p[i, j]) for j in range(3)] for i in range(2)]
    np.testing.assert_allclose(batch, singles, atol=1e-14)


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: CVaR(0.0), "Bad value 0.0 for 'alpha'"),
        (lambda: CVaR(1.5), "Bad value 1.5 for 'alpha'"),
        (lambda: CVaR(math.nan), "Bad value nan for 'alpha'"),
        (lambda: Entropic(0.0), "Bad value 0.0 for 'gamma'"),
        (lambda: DualPower(0.5), "Bad value 0.5 for 'k'"),
        (lambda: ExponentialSpectrum(-1.0), "Bad value -1.0 for 'k'"),
        (lambda: Spectral((0.5,), (0.9,)), "must sum to 1, but some sum to 0.9"),
        (lambda: Spectral((0.5, 1.0), (1.0,)), "a weight for each of its 2 levels"),
        (lambda: Expectation()([0.0, 1.0], [0.5, 0.6]), "must sum to 1, but some sum to 1.1"),
        (lambda: Expectation()([0.0, 1.0], [-0.5, 1.5]), "must not be negative, but -0.5"),
        (lambda: Expectation()([0.0, math.inf], [0.5, 0.5]), "must be finite"),
    ],
)
def test_bad_parameters_and_distributions_are_refused_in_one_sentence(build, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        build()
