"""The simulator against closed forms, against single steps, and against its own invariants."""

import json
import subprocess
import sys
from collections import deque

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenfold.envs.queues.memory import CURVE_POINTS, FIFO_CAPACITY
from tenfold.envs.queues.metrics import Metrics, running_mean_slope
from tenfold.envs.queues.scenario import Scenario, declare
from tenfold.envs.queues.scenarios import SCENARIOS, scenario
from tenfold.envs.queues.simulator import Simulator


def one_queue(arrivals, service):
    return declare({"name": "one", "queues": [{"arrivals": arrivals, "service": service}]})


def ages(simulator):
    """Sum over the waiting work of its age at the end of the last slot, (R,)."""
    totals = np.zeros(simulator.R)
    for r in range(simulator.R):
        for i in range(simulator.K):
            head, count = simulator.state.ring[r, i, :2]
            batches = simulator.state.batches[r, i, (head + np.arange(count)) % FIFO_CAPACITY]
            totals[r] += ((simulator.t - batches[:, 0]) * batches[:, 1]).sum()
    return totals


@pytest.mark.parametrize("lam", [0.3, 0.6])
@pytest.mark.parametrize(
    ("kind", "second_moment"),
    [("bernoulli", lambda lam: lam), ("poisson", lambda lam: lam + lam**2)],
)
@pytest.mark.parametrize("mu", [0.8, 1.0])
def test_mean_backlog_has_the_closed_form(rule, kind, second_moment, lam, mu):
    """Bernoulli service, any arrivals: E Q^2 does not change, so
    E Q = (lam + E A^2 - 2 lam^2) / (2 (mu - lam)); with mu = 1 and Poisson it is discrete M/D/1.
    """
    queues = one_queue({"kind": kind, "rate": lam}, {"kind": "bernoulli", "rate": mu})
    simulator = Simulator(queues, replicas=200, seed=3)
    simulator.run(rule("uniform", 1, 200), 10_000)
    means = simulator.metrics().backlog_mean
    expected = (lam + second_moment(lam) - 2 * lam**2) / (2 * (mu - lam))
    error = max(means.std(ddof=1) / np.sqrt(200), 1e-12)
    assert error < 0.01 * expected
    assert abs(means.mean() - expected) < 4 * error


def test_deterministic_queue_is_followed_exactly(rule):
    queues = one_queue(
        {"kind": "deterministic", "rate": 0.75},
        {"kind": "deterministic", "rate": {"kind": "piecewise", "values": [0.5, 2.0], "every": 4}},
    )
    simulator = Simulator(queues, replicas=1)
    scheduler = rule("uniform", 1, 1)
    q, backlogs = 0.0, []
    for t in range(1, 21):
        simulator.run(scheduler, 1)
        q = max(q - (0.5 if (t - 1) // 4 % 2 == 0 else 2.0), 0.0) + 0.75
        backlogs.append(q)
        assert simulator.q[0, 0] == q
    metrics = simulator.metrics()
    assert metrics.backlog_mean[0] == pytest.approx(np.mean(backlogs), abs=1e-12)
    assert metrics.backlog_max[0] == max(backlogs)
    assert metrics.drift[0] == pytest.approx(q**2 / 2 / 20)
    assert metrics.service_share[0, 0] == 1.0
    assert metrics.wasted[0] == pytest.approx((12 * 0.5 + 8 * 2.0 - (15 - q)) / 20)


@pytest.mark.parametrize("name", SCENARIOS)
def test_batch_equals_single_replicas_stepped_by_hand(rule, same_states, name):
    """Nothing depends on the batch, on the cut into calls, nor on who names the actions."""
    queues, R, T = scenario(name, horizon=50_000), 3, 300
    batch = Simulator(queues, R, seed=7)
    scheduler = rule("longest", queues.K, R)
    batch.run(scheduler, T)
    by_slot = Simulator(queues, R, seed=7)
    actions, chooser = [], rule("longest", queues.K, R)
    for _ in range(T):
        by_slot.run(chooser, 1)
        actions.append(by_slot.state.action.copy())
    np.testing.assert_array_equal(chooser.state, scheduler.state)
    assert chooser.t == scheduler.t == T + 1
    stepped = Simulator(queues, R, seed=7)
    for action in actions:
        stepped.step(action)
    same_states(batch, by_slot)
    same_states(batch, stepped)
    for r in range(R):
        single = Simulator(queues, 1, seed=7, first_replica=r)
        single.run(rule("longest", queues.K, 1), T)
        for part in ("state", "sums"):
            for field, value in getattr(single, part)._asdict().items():
                whole = getattr(getattr(batch, part), field)
                np.testing.assert_array_equal(value[0], whole[r], err_msg=field)


@pytest.mark.parametrize("name", [name for name in SCENARIOS if name != "adversarial"])
def test_two_schedulers_meet_the_same_instance(rule, name):
    queues = scenario(name)
    simulators = [Simulator(queues, 2, seed=5) for _ in range(2)]
    for name, simulator in zip(("uniform", "maxweight"), simulators, strict=True):
        simulator.run(rule(name, queues.K, 2), 2_000)
    first, second = (simulator.metrics() for simulator in simulators)
    np.testing.assert_array_equal(first.arrived, second.arrived)
    np.testing.assert_array_equal(simulators[0].state.rates, simulators[1].state.rates)
    assert (first.departed != second.departed).any()


@pytest.mark.parametrize("name", SCENARIOS)
def test_saved_simulation_goes_on_exactly(rule, same_states, name):
    queues, R = scenario(name, horizon=5_000), 2
    whole, scheduler = Simulator(queues, R, seed=1), rule("uniform", queues.K, R)
    whole.run(scheduler, 1_234)
    saved = whole.get_state()
    arrays = {key: value for key, value in saved.items() if isinstance(value, np.ndarray)}
    values = json.loads(json.dumps({k: v for k, v in saved.items() if k not in arrays}))
    memory = scheduler.state.copy()
    whole.run(scheduler, 1_000)
    resumed, other = Simulator(queues, R, seed=99), rule("uniform", queues.K, R)
    resumed.set_state(arrays | values)
    other.state[...], other.t = memory, 1_235
    resumed.run(other, 1_000)
    same_states(whole, resumed)
    np.testing.assert_array_equal(scheduler.state, other.state)


RATES = st.floats(0.05, 0.6)
DISTRIBUTIONS = st.sampled_from(
    [
        {"kind": "bernoulli"},
        {"kind": "poisson"},
        {"kind": "deterministic"},
        {"kind": "pareto", "shape": 2.5},
        {"kind": "lognormal", "sigma": 0.7},
    ]
)
MODULATORS = st.sampled_from(
    [
        {"kind": "piecewise", "values": [0.2, 1.5], "every": 17},
        {"kind": "piecewise", "values": [1.0, 0.0, 1.4], "at": [1, 40, 90]},
        {"kind": "periodic", "period": 23, "amplitude": 0.5},
        {"kind": "on_off", "mean_on": 5, "mean_off": 9},
        {"kind": "walk", "low": 0.5, "high": 1.5, "step": 0.25, "every": 3},
    ]
)
PROCESSES = st.builds(
    lambda kind, rate, modulator: {**kind, "rate": [rate, *modulator]},
    DISTRIBUTIONS,
    RATES,
    st.lists(MODULATORS, max_size=1),
)


@settings(max_examples=40, deadline=None)
@given(
    pairs=st.lists(st.tuples(PROCESSES, PROCESSES), min_size=1, max_size=5),
    seed=st.integers(0, 10**6),
    cut=st.integers(1, 1_499),
    name=st.sampled_from(["uniform", "longest", "maxweight"]),
)
def test_work_is_conserved_and_littles_law_holds(rule, pairs, seed, cut, name):
    queues = declare({"name": "any", "queues": [{"arrivals": a, "service": s} for a, s in pairs]})
    simulator = Simulator(queues, replicas=2, seed=seed)
    scheduler = rule(name, queues.K, 2)
    simulator.run(scheduler, cut)
    simulator.run(scheduler, 1_500 - cut)
    sums = simulator.sums
    assert (simulator.q >= 0).all()
    np.testing.assert_allclose(sums.arrived - sums.departed, simulator.q, atol=1e-8)
    # Each unit of work is counted once in every slot that it is there for.
    whole = sums.delay.sum(axis=1) + ages(simulator)
    np.testing.assert_allclose(whole, sums.backlog.sum(axis=1), rtol=1e-9, atol=1e-6)
    np.testing.assert_allclose(
        sums.delay_histogram.sum(axis=1), sums.departed.sum(axis=1), atol=1e-8
    )
    np.testing.assert_allclose(sums.curve.sum(axis=1), sums.backlog.sum(axis=1), rtol=1e-9)
    np.testing.assert_array_equal(sums.served.sum(axis=1), [1_500, 1_500])
    together = Simulator(queues, replicas=2, seed=seed)
    together.run(rule(name, queues.K, 2), 1_500)
    np.testing.assert_array_equal(together.q, simulator.q)


def test_delays_equal_those_of_a_plain_fifo_queue(rule):
    """An independent account of every unit of work, in a deque."""
    queues = one_queue(
        {"kind": "poisson", "rate": [0.7, {"kind": "on_off", "mean_on": 200, "mean_off": 100}]},
        {"kind": "lognormal", "rate": 0.8, "sigma": 0.5},
    )
    simulator, scheduler = Simulator(queues, replicas=1, seed=2), rule("uniform", 1, 1)
    waiting, left = deque(), []
    for t in range(1, 3_001):
        simulator.run(scheduler, 1)
        work = simulator.state.departures[0]
        while work > 1e-9:
            slot, amount = waiting.popleft()
            leaving = min(amount, work)
            left.append((t - slot, leaving))
            work -= leaving
            if amount - leaving > 1e-9:
                waiting.appendleft((slot, amount - leaving))
        if simulator.state.arrivals[0, 0] > 0:
            waiting.append((t, simulator.state.arrivals[0, 0]))
    delays, amounts = np.array(left).T
    metrics = simulator.metrics()
    assert metrics.fifo_resolution[0] == 1
    assert metrics.delay_mean[0] == pytest.approx(np.average(delays, weights=amounts), rel=1e-9)
    order = np.argsort(delays)
    covered = np.cumsum(amounts[order]) / amounts.sum()
    p99 = delays[order][np.searchsorted(covered, 0.99)]
    assert metrics.delay_p99[0] == pytest.approx(p99, rel=1 / 64)


def test_a_full_fifo_keeps_mean_delays_and_says_how_coarse_it_is(rule):
    """2 arrive and 1 leaves a slot: the last of T slots' departures waited T / 2."""
    queues = one_queue({"kind": "deterministic", "rate": 2}, {"kind": "deterministic", "rate": 1})
    simulator = Simulator(queues, replicas=1)
    T = 8 * FIFO_CAPACITY
    simulator.run(rule("uniform", 1, 1), T)
    metrics = simulator.metrics()
    # The unit that leaves in slot t came in slot ceil((t - 1) / 2).
    t = np.arange(2, T + 1)
    assert metrics.fifo_resolution[0] > 1
    assert metrics.delay_mean[0] == pytest.approx((t - np.ceil((t - 1) / 2)).mean(), rel=0.003)
    assert metrics.delay_p99[0] == pytest.approx(0.99 * T / 2, rel=0.02)
    total = simulator.sums.delay.sum() + ages(simulator).sum()
    assert total == pytest.approx(simulator.sums.backlog.sum(), rel=1e-9)


def test_mean_delays_by_timestamps_and_by_littles_law_agree(rule):
    simulator = Simulator(scenario("stationary", load=0.7), 16, seed=4)
    simulator.run(rule("maxweight", 4, 16), 50_000)
    metrics = simulator.metrics()
    np.testing.assert_allclose(metrics.delay_mean, metrics.delay_little, rtol=2e-3)


def test_curve_stays_small_and_keeps_the_mean(rule):
    simulator = Simulator(scenario("stationary"), 2, seed=4)
    simulator.run(rule("uniform", 4, 2), 4 * CURVE_POINTS + 123)
    metrics = simulator.metrics()
    assert CURVE_POINTS / 2 <= len(metrics.curve_slots) <= CURVE_POINTS
    assert metrics.curve_slots[-1] == metrics.slots == 4 * CURVE_POINTS + 123
    np.testing.assert_allclose(metrics.running_mean()[1][:, -1], metrics.backlog_mean, rtol=1e-12)


def test_memory_does_not_grow_with_the_slots(rule):
    simulator, scheduler = Simulator(scenario("infeasible"), 2), rule("uniform", 4, 2)
    sizes = []
    for _ in range(2):
        simulator.run(scheduler, 5_000)
        saved = simulator.get_state().values()
        sizes.append(sum(value.nbytes for value in saved if isinstance(value, np.ndarray)))
    assert sizes[0] == sizes[1]


def test_recovery_is_the_time_above_the_level_before_the_switch():
    """Idle for 100 slots after the switch: 100 slots up at 0.5 a slot and 100 slots down again."""
    queues = declare(
        {
            "name": "switch",
            "queues": [
                {
                    "arrivals": {"kind": "deterministic", "rate": 0.5},
                    "service": {"kind": "deterministic", "rate": 1.0},
                },
                {
                    "arrivals": {"kind": "deterministic", "rate": 0.0},
                    "service": {
                        "kind": "deterministic",
                        "rate": {"kind": "piecewise", "values": [1.0, 0.5], "at": [1, 501]},
                    },
                },
            ],
        }
    )
    simulator = Simulator(queues, replicas=1)
    for t in range(1, 1_001):
        simulator.step(np.array([1 if 501 <= t <= 600 else 0]))
    metrics = simulator.metrics()
    assert metrics.switches[0] == 1
    assert metrics.recovery_mean[0] == 200
    assert metrics.unrecovered[0] == 0


def test_a_switch_that_is_overtaken_counts_as_unrecovered(rule):
    """Up in bad phases of 1,000 slots, down in good ones: every second switch is overtaken."""
    queues = one_queue(
        {"kind": "deterministic", "rate": 0.5},
        {
            "kind": "deterministic",
            "rate": {"kind": "piecewise", "values": [1.0, 0.25], "every": 1_000},
        },
    )
    simulator = Simulator(queues, replicas=1)
    simulator.run(rule("uniform", 1, 1), 3_050)
    metrics = simulator.metrics()
    assert metrics.switches[0] == 3
    assert metrics.recovery_mean[0] == 500  # 1,000 and 0; the third is still open
    assert metrics.unrecovered[0] == 0.5


@pytest.mark.parametrize("signal", ["service", "departures"])
def test_the_scheduler_learns_the_signal_of_its_queue(rule, signal):
    queues = one_queue({"kind": "deterministic", "rate": 1}, {"kind": "deterministic", "rate": 3})
    simulator, scheduler = Simulator(queues, 1, signal=signal), rule("uniform", 1, 1)
    simulator.run(scheduler, 1)
    assert scheduler.state[0, -2] == (3 if signal == "service" else 0)
    simulator.run(scheduler, 1)
    assert scheduler.state[0, -2] == (3 if signal == "service" else 1)
    assert scheduler.state[0, -1] == 2


def test_only_an_oracle_is_told_the_rates(rule):
    queues = scenario("stationary")
    oracle, blind = rule("maxweight", 4, 2), rule("uniform", 4, 2)
    for scheduler in (oracle, blind):
        Simulator(queues, 2).run(scheduler, 10)
    np.testing.assert_array_equal(oracle.state[:, :4], [[0.9, 0.7, 0.5, 0.3]] * 2)
    np.testing.assert_array_equal(blind.state[:, :4], 0.0)


def test_beyond_capacity_every_scheduler_falls_behind(rule):
    """sum_i Q_i / mu_i grows by 0.1 a slot at least, since a slot serves 1 of it at most."""
    simulator = Simulator(scenario("infeasible"), 8, seed=1)
    simulator.run(rule("maxweight", 4, 8), 20_000)
    time_left = (simulator.q / np.array([0.9, 0.7, 0.5, 0.3])).sum(axis=1)
    np.testing.assert_allclose(time_left / 20_000, 0.1, atol=0.03)


def metrics_of_curves(curve):
    """Metrics that hold a given backlog curve (R, bins) and nothing else."""
    R, bins = curve.shape
    nothing = {name: np.zeros(R) for name in Metrics.__dataclass_fields__}
    slots = np.arange(1, bins + 1) * 10
    return Metrics(**nothing | {"slots": 10 * bins, "curve_slots": slots, "curve": curve})


def test_slope_of_linear_growth_is_half_its_rate():
    slots = np.arange(1, 1_001) * 10
    growth = np.array([[0.1], [0.3]])
    slope = running_mean_slope(metrics_of_curves(growth * (slots - 5)))
    assert slope.mean == pytest.approx(0.1, rel=1e-6)
    # Two slopes 0.05 and 0.15: half-width t_{0.975, 1} * 0.0707 / sqrt(2).
    assert slope.high - slope.mean == pytest.approx(12.7062 * 0.05, rel=1e-4)


def test_slope_of_noise_covers_zero_and_needs_two_replicas():
    noise = np.random.default_rng(0).normal(50, 5, size=(64, 1_000))
    slope = running_mean_slope(metrics_of_curves(noise))
    assert slope.low < 0 < slope.high
    with pytest.raises(ValueError, match="at least 2 replicas"):
        running_mean_slope(metrics_of_curves(noise[:1]))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"signal": "rewards"}, "signal must be 'service' or 'departures', not 'rewards'"),
        ({"replicas": 0}, "replicas must be >= 1"),
        ({"seed": -1}, "seed and first_replica >= 0"),
    ],
)
def test_a_bad_argument_is_refused(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        Simulator(scenario("stationary"), **arguments)


@pytest.mark.parametrize("actions", [[0, 4], [-1, 0], [0], [[0], [0]]])
def test_actions_that_name_no_queue_are_refused(actions):
    simulator = Simulator(scenario("stationary"), 2)
    with pytest.raises(ValueError, match="actions must be 2 queue numbers from 0 to 3"):
        simulator.step(np.array(actions))


def test_a_scheduler_of_another_size_is_refused(rule):
    simulator = Simulator(scenario("stationary"), 2)
    with pytest.raises(ValueError, match="made for 3 replicas of 4 queues"):
        simulator.run(rule("uniform", 4, 3), 1)


def test_a_new_process_does_not_compile_the_kernel_again():
    code = (
        "from tenfold.envs.queues import kernel;"
        "print(sum(kernel.run.stats.cache_hits.values()),"
        " sum(kernel.run.stats.cache_misses.values()))"
    )
    again = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert again.stdout.split() == ["1", "0"]


def test_scenario_is_declared_data():
    queues = scenario("switching", load=0.5, period=100, horizon=1_000, replicas=3)
    assert declare(queues.model_dump()) == queues
    assert Scenario.model_validate_json(queues.model_dump_json()) == queues
