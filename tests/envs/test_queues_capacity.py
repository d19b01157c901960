"""Loads mean what they say: the boundary of what switching policies can carry."""

from itertools import product

import numpy as np
import pytest
from scipy.optimize import linprog

from tenfold.envs.queues.capacity import Phases, capacity, find_phases, load, slack
from tenfold.envs.queues.names import SCENARIO_NAMES
from tenfold.envs.queues.scenario import declare
from tenfold.envs.queues.scenarios import SCENARIOS, scenario
from tenfold.envs.queues.simulator import Simulator

SCALABLE = [name for name in SCENARIOS if name != "trace"]


def feasible(phases: Phases, margin: float) -> bool:
    """Can each queue get its arrivals times `margin`? By a program of its own, dense."""
    n, K = phases.services.shape
    service = np.zeros((K, n * K))
    for k, i in product(range(n), range(K)):
        service[i, k * K + i] = phases.weights[k] * phases.services[k, i]
    one_server = np.kron(np.eye(n), np.ones(K))
    solution = linprog(
        np.zeros(n * K),
        A_ub=np.vstack([-service, one_server]),
        b_ub=np.concatenate([-margin * phases.arrivals, np.ones(n)]),
    )
    return solution.status == 0


def coarse(phases: Phases, points: int = 96) -> Phases:
    """Every so many phases of a sample, with equal weights (exact phases are few)."""
    n = len(phases.weights)
    if n <= points:
        return phases
    keep = slice(None, None, n // points)
    kept = phases.services[keep]
    return Phases(np.full(len(kept), 1 / len(kept)), kept, phases.arrivals)


def test_the_table_has_the_names_that_the_command_line_lists() -> None:
    assert tuple(SCENARIOS) == SCENARIO_NAMES


@pytest.mark.parametrize("name", SCALABLE)
def test_load_one_is_the_boundary(name: str) -> None:
    below = find_phases(scenario(name, load=0.9).queues, 1_000_000)
    above = find_phases(scenario(name, load=1.1).queues, 1_000_000)
    assert slack(below).value > 0
    assert slack(above).value < 0
    assert 1 / capacity(below).value == pytest.approx(0.9, rel=1e-6)
    assert feasible(coarse(below), margin=1.05)
    assert not feasible(coarse(above), margin=1.0)


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenarios_have_the_declared_load(name: str) -> None:
    made = scenario(name)
    declared = SCENARIOS[name].load
    found = load(made.queues, made.horizon)
    assert found == pytest.approx(0.757 if declared is None else declared, rel=1e-3)


def test_capacities_that_can_be_computed_by_hand() -> None:
    def carried(name: str) -> np.ndarray:
        return find_phases(scenario(name, load=1.0).queues, 1_000_000).arrivals

    np.testing.assert_allclose(carried("stationary"), 1 / sum(1 / m for m in (0.9, 0.7, 0.5, 0.3)))
    np.testing.assert_allclose(carried("switching"), 0.95 / 4)
    np.testing.assert_allclose(carried("adversarial"), 0.9 / 2)
    # Heavy 6 c / 0.475 + 2 light c / 0.6 = 1.
    c = 1 / (6 / 0.475 + 2 / 0.6)
    np.testing.assert_allclose(carried("asymmetric"), [6 * c, 6 * c, c, c])
    # Always the queue whose service is best: mean of the largest of 8 uniform draws of the grid.
    below = (np.arange(1, 12) / 11) ** 8
    best = (np.linspace(0.4, 0.9, 11) * np.diff(below, prepend=0)).sum()
    np.testing.assert_allclose(carried("drift"), best / 8, rtol=3e-3)
    # Sinusoids at phases i / 8: the best one is within 1 / 16 of a period of its peak.
    mean_peak = np.sin(np.pi / 8) / (np.pi / 8)
    np.testing.assert_allclose(carried("periodic"), (0.5 + 0.4 * mean_peak) / 8, rtol=3e-3)


def test_the_reference_policy_of_asymmetric_has_the_stated_slack() -> None:
    """The proof in `scenarios.asymmetric`, number by number, and that no policy does better."""
    phases = find_phases(scenario("asymmetric").queues, 1_000_000)
    np.testing.assert_allclose(phases.weights, [0.5, 0.5])
    np.testing.assert_allclose(
        phases.services, [[0.95, 0.05, 0.6, 0.6], [0.05, 0.95, 0.6, 0.6]], rtol=1e-12
    )
    theta = np.array([[0.67, 0.0, 0.165, 0.165], [0.0, 0.67, 0.165, 0.165]])
    np.testing.assert_allclose(theta.sum(axis=1), 1.0)
    service = (phases.weights[:, None] * theta * phases.services).sum(axis=0)
    assert (phases.arrivals + 0.055 <= service).all()
    assert slack(phases).value == pytest.approx(0.0552, abs=1e-4)
    # The reference's total variation in T = 10^6 slots.
    switches = 10**6 // 10_000 - 1
    assert switches * np.abs(theta[0] - theta[1]).sum() <= (10**6) ** (1 / 2 - 0.146)


@pytest.mark.parametrize(("name", "rate"), [("uniform", 0.138), ("longest", 0.216)])
def test_greedy_and_uniform_service_grow_on_asymmetric_as_stated(rule, name, rate) -> None:
    """Each heavy queue grows at the rate of the drift argument."""
    simulator = Simulator(scenario("asymmetric"), 8, seed=1)
    simulator.run(rule(name, 4, 8), 100_000)
    np.testing.assert_allclose(simulator.q[:, :2].mean(axis=0) / 100_000, rate, rtol=0.03)


def test_a_policy_that_knows_the_rates_is_stable_on_asymmetric(rule) -> None:
    """MaxWeight with the true rates keeps less than two phases' arrivals of one heavy queue."""
    simulator = Simulator(scenario("asymmetric"), 8, seed=1)
    simulator.run(rule("maxweight", 4, 8), 200_000)
    assert simulator.metrics().backlog_max.max() < 2 * 10_000 * 0.2631


def test_rates_that_end_are_averaged_over_the_horizon() -> None:
    rate = {"kind": "piecewise", "values": [1.0, 0.2], "at": [1, 101]}
    declared = declare(
        {
            "name": "fading",
            "horizon": 400,
            "queues": [
                {
                    "arrivals": {"kind": "bernoulli", "rate": 0.2},
                    "service": {"kind": "bernoulli", "rate": rate},
                }
            ],
        }
    )
    phases = find_phases(declared.queues, 400)
    np.testing.assert_allclose(phases.weights, [0.25, 0.75])
    assert load(declared.queues, 400) == pytest.approx(0.2 / 0.4)


def test_different_periods_are_averaged_over_their_common_cycle() -> None:
    def queue(values, every):
        rate = {"kind": "piecewise", "values": values, "every": every}
        return {
            "arrivals": {"kind": "bernoulli", "rate": 0.1},
            "service": {"kind": "bernoulli", "rate": rate},
        }

    declared = declare({"name": "two", "queues": [queue([1.0, 0.0], 2), queue([1.0, 0.0], 3)]})
    phases = find_phases(declared.queues, 10**6)
    t = np.arange(12)
    services = np.stack([t // 2 % 2 == 0, t // 3 % 2 == 0], axis=1).astype(float)
    found = np.zeros((12, 2))
    slots = np.cumsum(np.rint(phases.weights * 12).astype(int))
    for k, end in enumerate(slots):
        found[slots[k - 1] if k else 0 : end] = phases.services[k]
    np.testing.assert_array_equal(found, services)


def test_arrivals_without_work_have_no_load() -> None:
    declared = declare(
        {
            "name": "idle",
            "queues": [
                {
                    "arrivals": {"kind": "bernoulli", "rate": 0},
                    "service": {"kind": "bernoulli", "rate": 0.5},
                }
            ],
        }
    )
    with pytest.raises(ValueError, match="does work arrive"):
        load(declared.queues, 100)
