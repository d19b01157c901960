"""Measures of the user's own, and risk of sampled returns."""

import sys
import types

import numpy as np
import pytest

from tenfold.envs.risk.collected import make_collected
from tenfold.envs.risk.estimates import estimate_risk, played_returns
from tenfold.envs.risk.measures import CVaR, DualPower, Expectation
from tenfold.envs.risk.own_measures import FunctionDistortion, spectrum
from tenfold.envs.risk.static_measures import make_measure

VALUES = np.array([0.3, -1.0, 2.0, 0.7])
P = np.array([0.1, 0.4, 0.3, 0.2])


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """An importable module with measures."""
    module = types.ModuleType("own_risk")
    module.cautious = lambda k: FunctionDistortion(lambda u: 1.0 - (1.0 - u) ** k)
    module.plain = lambda: 3.0
    module.number = 4
    monkeypatch.setitem(sys.modules, "own_risk", module)
    return module


def test_a_distortion_of_ones_own_is_the_built_in_one(own) -> None:
    mine, theirs = make_measure("own_risk:cautious", {"k": 2.5}), DualPower(2.5)
    assert float(mine(VALUES, P)) == pytest.approx(float(theirs(VALUES, P)), abs=1e-12)
    np.testing.assert_allclose(mine.derivative(VALUES, P), theirs.derivative(VALUES, P))
    assert mine.lipschitz(1.0) == pytest.approx(2.5, rel=1e-3)


def test_a_spectrum_of_ones_own_is_its_integral() -> None:
    """phi(u) = 2 (1 - u) is the dual power with k = 2, and 4 on the worst quarter is CVaR."""
    mine = spectrum(lambda u: 2.0 * (1.0 - u))
    assert float(mine(VALUES, P)) == pytest.approx(float(DualPower(2.0)(VALUES, P)), abs=1e-6)
    step = spectrum(lambda u: np.where(u < 0.25, 4.0, 0.0))
    assert float(step(VALUES, P)) == pytest.approx(float(CVaR(0.25)(VALUES, P)), abs=1e-3)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: make_measure("no_such_module:f", {}), "cannot be imported"),
        (lambda: make_measure(":f", {}), "cannot be imported"),
        (lambda: make_measure("own_risk:missing", {}), "has no function 'missing'"),
        (lambda: make_measure("own_risk:number", {}), "has no function 'number'"),
        (lambda: make_measure("own_risk:cautious", {"q": 1.0}), "does not fit"),
        (lambda: make_measure("own_risk:plain", {}), "must return a RiskMeasure, not float"),
        (lambda: FunctionDistortion(lambda u: u + 0.1), "from h"),
        (lambda: FunctionDistortion(lambda u: np.sin(7.0 * u) / np.sin(7.0)), "must not fall"),
        (lambda: FunctionDistortion(lambda u: 1.0), "one finite number"),
        (lambda: spectrum(lambda u: 3.0 * (1.0 - u)), "integrate to 1"),
        (lambda: spectrum(lambda u: 2.0 - 2.5 * u), "at least 0"),
        (lambda: estimate_risk(CVaR(0.5), np.ones(1), np.random.default_rng(0)), "at least 2"),
    ],
)
def test_bad_input_is_one_sentence(own, build, words: str) -> None:
    with pytest.raises(ValueError, match=words) as refusal:
        build()
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("rho", [Expectation(), CVaR(0.25)], ids=str)
def test_bootstrap_intervals_hold_the_truth_as_often_as_they_say(rho) -> None:
    """Uniform returns: mean 1/2, CVaR_alpha = alpha / 2."""
    truth = 0.5 if isinstance(rho, Expectation) else 0.125
    rng, held = np.random.default_rng(0), 0
    for _ in range(60):
        found = estimate_risk(rho, rng.uniform(size=100), rng)
        assert found.low <= found.value <= found.high
        held += found.low <= truth <= found.high
    assert 50 <= held <= 59


def test_a_certain_return_has_no_spread() -> None:
    found = estimate_risk(CVaR(0.1), np.full(20, 0.7), np.random.default_rng(0))
    assert found.low == found.value == found.high == pytest.approx(0.7)


def test_played_returns_are_what_the_rules_pay() -> None:
    """Safe on the budgeted path: 0 or 0.3, then 0.1 a step."""
    envs = [make_collected("collected/BudgetedPath-v0", H=4) for _ in range(50)]
    returns = played_returns(envs, lambda seen: np.zeros(len(seen), int), seed=0)
    np.testing.assert_allclose(np.unique(returns.round(9)), [0.3, 0.6])


def test_episodes_are_the_same_in_fewer_environments() -> None:
    """Each starts from a seed of its own, whichever environment plays it."""

    def policy(seen: np.ndarray) -> np.ndarray:
        return (seen[:, -1] < 0.2).astype(int)

    envs = [make_collected("collected/BudgetedPath-v0", H=4) for _ in range(12)]
    many = played_returns(envs, policy, seed=3)
    np.testing.assert_array_equal(many, played_returns(envs[:5], policy, seed=3, episodes=12))
    np.testing.assert_array_equal(many[:2], played_returns(envs, policy, seed=3, episodes=2))
