"""Schedulers against plain readings of their formulas, and what their guarantees rest on."""

import math
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tenfold.algorithms.softmw import METHOD
from tenfold.algorithms.softmw import scheduler as scheduler_module
from tenfold.algorithms.softmw.algorithm import joined, summary
from tenfold.algorithms.softmw.config import SoftMWConfig
from tenfold.algorithms.softmw.exp3splus import EXP3SPlus
from tenfold.algorithms.softmw.schedulers import SCHEDULERS, make_scheduler
from tenfold.envs.queues.metrics import Metrics
from tenfold.envs.queues.names import SCENARIO_NAMES
from tenfold.envs.queues.scenario import Scenario, declare
from tenfold.envs.queues.scenarios import SAMPLE_TRACE, SCENARIOS, scenario
from tenfold.envs.queues.simulator import Simulator
from tenfold.platform.configuration import build_config
from tenfold.platform.errors import InputError
from tenfold.platform.experiment import make_experiment
from tenfold.platform.study import resolve_study

K = 4
UNCLIPPED = ("softmw_unclipped", "ssmw_unclipped")
FAMILY = ("softmw", "ssmw", "ssmw_doubling", "softmw_plus", "ssmw_plus", *UNCLIPPED)
CONSTANTS_OF = {name: list(kind.Constants.model_fields) for name, kind in SCHEDULERS.items()}
SMALL = {
    "ssmw": {"W": 7},
    "ssmw_unclipped": {"W": 7},
    "ssmw_doubling": {"W": 7},
    "ssmw_plus": {"W": 7},
}


def serve(scheduler: Any, slots: int, seed: int = 0) -> list[tuple[np.ndarray, ...]]:
    """Drive one replica by hand; returns (q, p, action, service) of each slot.

    Services go up to 3: half of them are above the bound of 1.5 that the schedulers are told.
    """
    rng = np.random.default_rng(seed)
    q = np.zeros(scheduler.K)
    history = []
    for _ in range(slots):
        p = scheduler.probabilities(q)
        action = rng.choice(scheduler.K, p=p)
        services = rng.random(scheduler.K) * 3.0
        scheduler.update(action, services[action])
        history.append((q.copy(), p, action, services[action]))
        q[action] = max(q[action] - services[action], 0.0)
        q += rng.random(scheduler.K) < 0.3
    return history


def expected(name: str, history: list[Any], constants: dict[str, Any]) -> list[np.ndarray]:
    """The probabilities that the docstring of softmw.py gives, with lists and loops only."""
    c = SCHEDULERS[name].Constants(**constants)
    x = [1 / K] * K
    sizes: list[float] = []
    found = []
    for t, (q, _, action, service) in enumerate(history, start=1):
        M = c.c_M * t ** (1 / (2 * c.p)) if name.endswith("_plus") else 1.5
        G = M * max(q)
        sizes.append(G)
        exponent = 0.25 - c.delta / 2
        if name.startswith("softmw"):
            total, growth, e, top = sum(g * g for g in sizes), t**exponent, 1 / (t + 1), max(sizes)
        else:
            W = c.W
            if name == "ssmw_doubling":
                while t >= 2 * W:
                    W *= 2
                # the sum starts anew whenever the window doubles, and at its multiples
                start = (t // W) * W if t >= W else 1
            else:
                start = max(1, t - W + 1)
            total, growth, e, top = sum(g * g for g in sizes[start - 1 :]), W**exponent, 1 / W, G
        eta = c.c_eta * growth / math.sqrt(1 + K * total)
        eta = min(eta, 1 / (2 * K * top)) if top > 0 else eta
        gamma = eta * K * G
        p = np.array([(1 - gamma) * weight + gamma / K for weight in x])
        found.append(p)
        gain = q[action] * (service if name in UNCLIPPED else min(service, M))
        x[action] *= math.exp(eta * gain / p[action])
        x = [(1 - e) * weight / sum(x) + e / K for weight in x]
    return found


@pytest.mark.parametrize("name", FAMILY)
def test_probabilities_are_those_of_the_formulas(name: str) -> None:
    constants = SMALL.get(name, {})
    scheduler = SCHEDULERS[name](K, bound=1.5, **constants)
    history = serve(scheduler, 600)
    right = expected(name, history, constants)
    for (_, p, _, _), wanted in zip(history, right, strict=True):
        np.testing.assert_allclose(p, wanted, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("name", UNCLIPPED)
def test_without_clipping_one_large_service_takes_all_the_weight(name: str) -> None:
    """exp(eta Q S / p) would overflow: p still sums to 1, and mixing brings the others back."""
    free, clipped = SCHEDULERS[name](K), SCHEDULERS[name.removesuffix("_unclipped")](K)
    for scheduler in (free, clipped):
        scheduler.probabilities(np.array([5.0, 4.0, 3.0, 2.0]))
        scheduler.update(3, 1e12)
    assert free.state[0, 3] > clipped.state[0, 3]
    assert free.state[0, :K].sum() == pytest.approx(1.0)
    e = 1 / 2 if name.startswith("softmw") else 1 / free.constants.W
    np.testing.assert_allclose(free.state[0, :K], [e / K] * 3 + [1 - e + e / K], rtol=1e-12)


def test_exp3splus_is_its_equations_whatever_the_sizes() -> None:
    rng = np.random.default_rng(1)
    bandit = EXP3SPlus(3, replicas=2, c_eta=0.7, variation=2.0)
    x = np.full((2, 3), 1 / 3)
    squares = np.zeros(2)
    for t in range(1, 2_000):
        G = np.exp(rng.normal(0, 2, size=2))
        squares += G**2
        eta = 0.7 * np.sqrt(3.0 * np.log(3 * (t + 1)) / (1 + 3 * squares))
        eta = np.minimum(eta, 1 / (2 * 3 * G))
        gamma = eta * 3 * G
        p = (1 - gamma)[:, None] * x + gamma[:, None] / 3
        np.testing.assert_allclose(bandit.probabilities(G), p, rtol=1e-9)
        arms = rng.integers(3, size=2)
        rewards = G * rng.random(2)
        bandit.update(arms, rewards)
        for r in range(2):
            estimate = np.zeros(3)
            estimate[arms[r]] = rewards[r] / p[r, arms[r]]
            x[r] *= np.exp(eta[r] * estimate)
            x[r] = (1 - 1 / (t + 1)) * x[r] / x[r].sum() + 1 / (3 * (t + 1))


def test_a_scheduler_serves_alone_in_the_lines_of_its_docstring() -> None:
    _, _, indented = (scheduler_module.__doc__ or "").partition("::\n\n")
    lines = "\n".join(line.removeprefix("    ") for line in indented.splitlines())
    rng = np.random.default_rng(0)
    names: dict[str, Any] = {
        "np": np,
        "rng": rng,
        "SoftMW": SCHEDULERS["softmw"],
        "service": np.ones(4),
        "arrivals": np.full(4, 0.2),
    }
    exec(lines, names)
    assert names["scheduler"].t == 1_001
    assert 0 < names["q"].sum() < 300  # 800 units came


lengths = st.one_of(
    st.just(0.0), st.floats(1e-9, 1e-3), st.integers(1, 40).map(float), st.floats(1, 1e9)
)


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(sorted(SCHEDULERS)),
    slots=st.lists(
        st.tuples(arrays(np.float64, K, elements=lengths), st.integers(0, K - 1), st.floats(0, 1)),
        min_size=1,
        max_size=30,
    ),
)
def test_probabilities_are_a_distribution_and_memory_stays_finite(
    name: str, slots: list[Any]
) -> None:
    scheduler = SCHEDULERS[name](K, **SMALL.get(name, {}))
    for q, action, service in slots:
        p = scheduler.probabilities(q)
        assert (p >= 0).all()
        assert p.sum() == pytest.approx(1.0, abs=1e-9)
        np.testing.assert_array_equal(p, scheduler.probabilities(q))
        if name in FAMILY:
            # eta g^ <= 1 for the largest reward that can come: what the regret bound needs.
            eta, G = scheduler.state[0, K + 1], scheduler.state[0, K + 2]
            assert (eta * G <= p * (1 + 1e-9)).all()
        if p[action] > 0:
            scheduler.update(action, service)
            assert np.isfinite(scheduler.state).all()


def test_only_the_oracle_is_told_the_rates() -> None:
    """The kernel writes true rates into the memory of whoever says so: nobody else may."""
    assert [name for name, kind in SCHEDULERS.items() if kind.knows_rates] == [
        "oracle",
        "c_mu",
    ]
    declared = scenario("switching", period=100)
    memories = {}
    for name in ("oracle", "uniform"):
        scheduler = make_scheduler(name, declared, 2)
        Simulator(declared, 2, seed=1).run(scheduler, 150)
        memories[name] = scheduler.state
    np.testing.assert_array_equal(memories["oracle"], [[0.3, 0.3, 0.95, 0.95]] * 2)
    assert (memories["uniform"] == 0).all()


@pytest.mark.parametrize("name", sorted(SCHEDULERS))
def test_replicas_of_a_batch_are_what_they_are_alone(name: str) -> None:
    declared = scenario("switching", period=100)
    together = make_scheduler(name, declared, 3)
    simulator = Simulator(declared, 3, seed=5)
    simulator.run(together, 400)
    for replica in range(3):
        alone = make_scheduler(name, declared, 1)
        single = Simulator(declared, 1, seed=5, first_replica=replica)
        single.run(alone, 150)
        single.run(alone, 250)
        np.testing.assert_array_equal(alone.state[0], together.state[replica])
        np.testing.assert_array_equal(single.q[0], simulator.q[replica])


def test_c_mu_serves_the_dearest_work_first_and_has_the_closed_form() -> None:
    """Two Bernoulli queues with equal services: the dear one is as alone, and together they are one
    queue; E Q = (lam + E A^2 - 2 lam^2) / (2 (mu - lam)) of both. The rule costs the least."""
    lam, mu, costs = (0.2, 0.3), 0.8, (1.0, 5.0)
    queues = [
        {
            "arrivals": {"kind": "bernoulli", "rate": rate},
            "service": {"kind": "bernoulli", "rate": mu},
            "cost": cost,
        }
        for rate, cost in zip(lam, costs, strict=True)
    ]
    declared = declare({"name": "two", "queues": queues})
    found = {}
    for name in ("c_mu", "oracle", "softmw_fast", "uniform"):
        simulator = Simulator(declared, 100, seed=4)
        simulator.run(make_scheduler(name, declared, 100), 10_000)
        metrics = simulator.metrics()
        found[name] = summary(metrics, declared.random, declared.costs)["cost_mean"]
        if name == "c_mu":
            dear, both = metrics.backlog_by_queue[:, 1], metrics.backlog_mean
            waited = metrics.delay_by_queue.mean(axis=0)
    expected = (
        (dear, (0.3 + 0.3 - 2 * 0.3**2) / (2 * (mu - 0.3))),
        (both, (0.5 + 0.5 + 2 * 0.2 * 0.3 - 2 * 0.5**2) / (2 * (mu - 0.5))),
    )
    for values, mean in expected:
        error = values.std(ddof=1) / np.sqrt(100)
        assert abs(values.mean() - mean) < 4 * error < 0.05 * mean
    # Little's law for each queue; a slot's end sees what arrived in it.
    np.testing.assert_allclose(waited, [(both - dear).mean() / 0.2, dear.mean() / 0.3], rtol=0.02)
    assert found["c_mu"] < 0.95 * min(found[name] for name in found if name != "c_mu")


def test_costs_survive_the_scaling_to_a_load(tmp_path: Path) -> None:
    path = tmp_path / "dear.yaml"
    queue = "{arrivals: {kind: poisson, rate: 0.1}, service: {kind: bernoulli, rate: 0.5}, cost: 3}"
    path.write_text(f"name: dear\nqueues: [{queue}]\n")
    assert scenario(str(path), load=0.5).costs == (3.0,)
    with pytest.raises(ValueError, match=r"cost: .*0"):
        declare({"name": "bad", "queues": [{**fluid(1, 1).queues[0].model_dump(), "cost": -1}]})
    with pytest.raises(ValueError, match="costs must be 4 numbers"):
        SCHEDULERS["c_mu"](K, costs=[1.0])


def test_oracle_is_maxweight() -> None:
    oracle = SCHEDULERS["oracle"](K)
    oracle.state[0] = [0.2, 0.9, 0.5, 0.1]
    assert oracle.probabilities(np.array([8.0, 1.0, 3.0, 9.0])).tolist() == [1, 0, 0, 0]
    assert oracle.probabilities(np.array([1.0, 1.0, 3.0, 9.0])).tolist() == [0, 0, 1, 0]


def test_discounted_and_window_bounds_are_recomputed_from_the_history() -> None:
    gamma, W, c = 0.9, 7, 0.3
    discounted = SCHEDULERS["discounted_ucb"](K, gamma=gamma, c=c)
    window = SCHEDULERS["window_ucb"](K, W=W, c=c)
    for scheduler, weigh in (
        (discounted, lambda age: gamma**age),
        (window, lambda age: float(age < W)),
    ):
        history = serve(scheduler, 200)
        for t, (q, p, _, _) in enumerate(history):
            seen = [(a, s, weigh(t - 1 - i)) for i, (_, _, a, s) in enumerate(history[:t])]
            n = np.array([sum(w for a, _, w in seen if a == i) for i in range(K)])
            sums = np.array([sum(s * w for a, s, w in seen if a == i) for i in range(K)])
            total = n.sum() if scheduler is discounted else min(t + 1, W)
            with np.errstate(invalid="ignore", divide="ignore"):
                upper = sums / n + np.sqrt(c * np.log(max(total, 2.0)) / n)
            index = q * np.where(n > 1e-12, np.minimum(upper, 1.0), 1.0)
            assert index[np.argmax(p)] == pytest.approx(index.max(), rel=1e-9)


def test_fast_is_the_quick_rule_below_its_threshold_and_softmw_above() -> None:
    fast = SCHEDULERS["softmw_fast"](K, B=5.0)
    quick = SCHEDULERS["discounted_ucb"](K, gamma=0.998, c=0.1)
    softmw = SCHEDULERS["softmw"](K)
    rng = np.random.default_rng(3)
    safe = False
    seen = set()
    for t, level in enumerate(np.concatenate([np.linspace(0, 40, 300), np.linspace(40, 0, 300)])):
        q = rng.dirichlet(np.ones(K)) * level
        safe = True if q.sum() > 20 else False if q.sum() < 10 else safe
        softmw.t = t + 1
        p = softmw.probabilities(q) if safe else quick.probabilities(q)
        quick.probabilities(q)
        np.testing.assert_allclose(fast.probabilities(q), p, rtol=1e-12)
        action, service = rng.choice(K, p=p), float(rng.random())
        fast.update(action, service)
        quick.update(action, service)
        if safe:
            softmw.update(action, service)
        seen.add((safe, q.sum() > 10))
    assert seen == {(False, False), (False, True), (True, True)}


@pytest.mark.parametrize(
    ("name", "constants", "parts"),
    [
        ("softmw", {"c_eta": -1}, ["c_eta", "softmw", "-1", "above 0"]),
        ("softmw", {"c_etta": 1}, ["c_etta", "softmw", "c_eta"]),
        ("softmw", {"delta": 0.9}, ["delta", "0.9"]),
        ("ssmw", {"W": 1}, ["W", "ssmw", "1"]),
        ("softmw_plus", {"p": 2}, ["p", "softmw_plus", "2"]),
        ("discounted_ucb", {"gamma": 1.0}, ["gamma", "discounted_ucb"]),
        ("softmw_fast", {"B": 0}, ["B", "softmw_fast", "0"]),
        ("uniform", {"c_eta": 1}, ["c_eta", "uniform", "none"]),
    ],
)
def test_bad_constants_are_refused_by_name(
    name: str, constants: dict[str, Any], parts: list[str]
) -> None:
    with pytest.raises(ValueError, match="constant") as refusal:
        SCHEDULERS[name](K, **constants)
    for part in parts:
        assert part in str(refusal.value)


CONSTANTS = [(name, constant) for name in sorted(SCHEDULERS) for constant in CONSTANTS_OF[name]]


@pytest.mark.parametrize(("name", "constant"), CONSTANTS)
@pytest.mark.parametrize(
    "value", ["abc", "0.5", True, [1], math.nan, math.inf, -math.inf, -1, 1e300, 10**400, {}]
)
def test_a_constant_of_the_wrong_kind_is_one_sentence(name: str, constant: str, value: Any) -> None:
    with pytest.raises(
        ValueError, match=f"'{name}': bad value .* for 'constants.{constant}'"
    ) as no:
        SCHEDULERS[name](K, **{constant: value})
    assert len(str(no.value).splitlines()) == 1
    assert len(str(no.value)) < 300


def test_exp3splus_refuses_bad_constants_in_one_sentence() -> None:
    with pytest.raises(
        ValueError, match=r"'EXP3.S\+': bad value nan for 'constants.variation'"
    ) as no:
        EXP3SPlus(3, variation=math.nan)
    assert len(str(no.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        ({"scheduler": "sofmw"}, ["'sofmw'", "'scheduler'", "ssmw_doubling"]),
        ({"scheduler": 3}, ["3", "'scheduler'"]),
        ({"signal": "rates"}, ["'rates'", "'signal'", "service, departures"]),
        ({"replicas": 0}, ["0", "'replicas'", "1 or more"]),
        ({"replicas": "4"}, ["'4'", "'replicas'", "whole number"]),
        ({"horizon": 10**12}, ["'horizon'", "1000000000"]),
        ({"horizon": 2.5}, ["2.5", "'horizon'", "whole number"]),
        ({"evaluation_duration": 0}, ["0", "'evaluation_duration'", "1 or more"]),
        ({"slots_per_iteration": True}, ["True", "'slots_per_iteration'", "whole number"]),
        ({"constants.c_eta": "abc"}, ["'abc'", "'constants.c_eta'", "number"]),
        ({"constants.c_eta": True}, ["True", "'constants.c_eta'", "number"]),
        ({"constants.c_eta": math.nan}, ["nan", "'constants.c_eta'", "finite"]),
        ({"constants.c_eta": -1}, ["-1", "'constants.c_eta'", "above 0"]),
        ({"constants.c_etta": 1}, ["'c_etta'", "'c_eta'"]),
        ({"scheduler": "ssmw", "constants.W": 2.5}, ["2.5", "'constants.W'", "whole number"]),
        ({"env_config.load": "high"}, ["'high'", "'env_config.load'", "number"]),
        ({"env_config.load": 0}, ["0", "'env_config.load'", "above 0"]),
        ({"env_config.period": 1}, ["1", "'env_config.period'", "2 or more"]),
        ({"env_config.lod": 1}, ["'lod'", "'load'"]),
        ({"env_config.replicas": math.inf}, ["inf", "'env_config.replicas'", "whole number"]),
    ],
)
def test_a_bad_value_is_refused_by_key(overrides: dict[str, Any], parts: list[str]) -> None:
    with pytest.raises(InputError) as refusal:
        build_config(METHOD, "switching", "softmw", overrides, 0)
    assert len(str(refusal.value).splitlines()) == 1
    for part in parts:
        assert part in str(refusal.value)


def test_what_a_task_may_change_has_the_defaults_of_its_table() -> None:
    def defaults(task: str) -> dict[str, Any]:
        fields = SoftMWConfig.task_parameters(task).model_fields
        return {name: field.default for name, field in fields.items()}

    sizes = {"horizon": 1_000_000, "replicas": 64}
    assert defaults("switching") == {"load": 0.6, "period": 10_000, **sizes}
    assert defaults("near_critical") == {"load": 0.98, **sizes}
    assert defaults("trace") == defaults(str(SAMPLE_TRACE)) == {"load": None, **sizes}


def test_a_scenario_file_gives_the_sizes_that_are_changed(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    queue = "{arrivals: {kind: poisson, rate: 0.1}, service: {kind: bernoulli, rate: 0.5}}"
    path.write_text(f"name: mine\nhorizon: 70\nreplicas: 3\nqueues: [{queue}]\n")
    config = build_config(METHOD, str(path), "uniform", {"env_config.load": 0.5}, 0)
    declared = config.scenario()
    assert (declared.horizon, declared.replicas, config.batch_sizes()) == (70, 3, [3])
    assert declared.queues[0].arrivals.largest_rate == pytest.approx(0.25)
    with pytest.raises(InputError, match=r"'period'.*load, horizon, replicas"):
        build_config(METHOD, str(path), "uniform", {"env_config.period": 5}, 0)


@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".parquet", ".yaml", ".yml"])
def test_files_of_every_ending_are_tasks(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"mine.of.monday{ending}"
    table = pd.DataFrame({"slot": [7, 8], "queue": 0, "arrivals": [1, 0], "service": 2})
    if ending == ".parquet":
        table.to_parquet(path)
    elif ending.startswith(".csv"):
        table.to_csv(path, index=False)
    else:
        queue = "{arrivals: {kind: poisson, rate: 0.1}, service: {kind: bernoulli, rate: 1}}"
        path.write_text(f"name: mine\nqueues: [{queue}]\n")
    experiment = make_experiment({"method": "softmw", "tasks": [str(path)]})
    resolve_study(experiment)
    assert scenario(experiment.tasks[0]).K == 1


def metrics_on(declared: Scenario, replicas: int, slots: int) -> Metrics:
    simulator = Simulator(declared, replicas, seed=1)
    simulator.run(make_scheduler("softmw", declared, replicas), slots)
    return simulator.metrics()


def fluid(arrivals: float, service: Any, replicas: int = 4) -> Scenario:
    """Two queues without a random number."""
    each = {
        "arrivals": {"kind": "deterministic", "rate": arrivals},
        "service": {"kind": "deterministic", "rate": service},
    }
    return declare({"name": "fluid", "queues": [each, each], "replicas": replicas})


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("slots", [1, 7, 8, 300])
@pytest.mark.parametrize("replicas", [1, 4])
def test_every_logged_value_is_finite_even_where_nothing_leaves(slots: int, replicas: int) -> None:
    logged = summary(metrics_on(fluid(0.5, 0.0), replicas, slots), random=False)
    assert all(math.isfinite(value) for value in logged.values())
    assert not {"delay_mean", "delay_p99", "delay_little"} & logged.keys()
    assert logged["backlog_now"] == pytest.approx(slots)
    if slots == 300:  # the running mean of 1, 2, 3, ... is half of a line
        assert logged["slope"] == pytest.approx(0.5)
    served = summary(metrics_on(fluid(0.1, 1.0), replicas, slots), random=False)
    assert all(math.isfinite(value) for value in served.values())
    assert ("delay_mean" in served) == (slots > 1)
    assert set(METHOD.metrics) - set(logged) <= METHOD.optional_metrics


def test_delays_are_means_over_the_replicas_in_which_work_left() -> None:
    busy, idle = metrics_on(fluid(0.1, 1.0), 3, 50), metrics_on(fluid(0.1, 0.0), 2, 50)
    both = summary(joined([busy, idle]), random=True)
    assert both["delay_mean"] == pytest.approx(busy.delay_mean.mean())
    assert both["delay_little"] == pytest.approx(busy.delay_little.mean())


@pytest.mark.parametrize(
    ("declared", "random"),
    [
        *((scenario(name), name != "trace") for name in SCENARIO_NAMES),
        (scenario(str(SAMPLE_TRACE)), False),
        (fluid(0.1, 1.0), False),
        (fluid(0.1, [1.0, {"kind": "periodic", "period": 9, "amplitude": 0.5}]), False),
        (fluid(0.1, [1.0, {"kind": "on_off", "mean_on": 9, "mean_off": 9}]), True),
    ],
    ids=lambda value: getattr(value, "name", str(value)),
)
def test_replicas_differ_where_the_scenario_says_so(declared: Scenario, random: bool) -> None:
    """Under a schedule without draws, so that only the scenario can make them differ."""
    simulator = Simulator(declared, 3, seed=2)
    simulator.run(make_scheduler("round_robin", declared, 3), 400)
    assert declared.random == random
    assert (len(np.unique(simulator.metrics().backlog_mean)) > 1) == random


def test_a_slope_has_an_interval_over_different_instances_only() -> None:
    random, record = scenario("stationary"), scenario("trace")
    several = summary(metrics_on(random, 4, 200), random.random)
    assert several["slope_low"] < several["slope"] < several["slope_high"]
    for logged in (
        summary(metrics_on(random, 1, 200), random.random),
        summary(metrics_on(record, 4, 200), record.random),
    ):
        assert "slope" in logged
        assert not {"slope_low", "slope_high"} & logged.keys()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_softmw_carries_a_load_on_which_fixed_rules_diverge(seed: int) -> None:
    declared = scenario("asymmetric", load=0.5, period=1_000)
    backlog = {}
    for name in ("softmw", "ssmw", "softmw_fast", "uniform", "longest_queue"):
        simulator = Simulator(declared, 4, seed=seed)
        simulator.run(make_scheduler(name, declared, 4), 40_000)
        backlog[name] = simulator.q.sum(axis=1).mean()
    for name in ("softmw", "ssmw", "softmw_fast"):
        assert 5 * backlog[name] < backlog["uniform"] < backlog["longest_queue"]


def test_variants_and_tasks_are_the_schedulers_and_scenarios_there_are() -> None:
    named = {variant.get("scheduler", "softmw") for variant in METHOD.variants.values()}
    assert named == set(METHOD.variants) == set(SCHEDULERS)
    choices = SoftMWConfig.Parameters.model_fields["scheduler"].annotation
    assert get_args(choices) == tuple(SCHEDULERS) == tuple(METHOD.variants)
    assert METHOD.tasks == SCENARIO_NAMES == tuple(SCENARIOS)
