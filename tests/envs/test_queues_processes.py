"""Processes have the distributions that they declare, and senseless declarations are refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from tenfold.algorithms.softmw import METHOD
from tenfold.envs.queues import draws
from tenfold.envs.queues.processes import Bernoulli, Lognormal, OnOff, Poisson, Queue
from tenfold.envs.queues.scenario import Scenario, declare, read_scenario
from tenfold.envs.queues.scenarios import companions, scenario
from tenfold.envs.queues.simulator import Simulator
from tenfold.envs.queues.tables import LOGNORMAL, PARETO
from tenfold.platform.registry import load_attribute

U = (np.arange(2_000) + 0.5) / 2_000  # the middle of 2,000 equal cells of [0, 1)


def one_queue(arrivals: dict[str, Any], service: dict[str, Any] | None = None) -> Scenario:
    service = service or {"kind": "deterministic", "rate": 1}
    return declare({"name": "one", "queues": [{"arrivals": arrivals, "service": service}]})


def rates_of(rate: Any, slots: int, replicas: int = 1, seed: int = 0) -> np.ndarray:
    """The true mean of a deterministic arrival process in each slot, (slots, replicas)."""
    simulator = Simulator(one_queue({"kind": "deterministic", "rate": rate}), replicas, seed)
    rates = np.empty((slots, replicas))
    for t in range(slots):
        simulator.step(np.zeros(replicas, dtype=int))
        rates[t] = simulator.state.arrivals[:, 0]
    return rates


@pytest.mark.parametrize("rate", [0.05, 0.7, 3.0, 40.0, 500.0])
def test_poisson_is_the_quantile_function(rate: float) -> None:
    ours = [draws.poisson(rate, u) for u in U]
    np.testing.assert_array_equal(ours, stats.poisson.ppf(U, rate))


def test_poisson_of_the_largest_uniform_number_ends() -> None:
    assert draws.poisson(1.0, 1 - 2**-53) == pytest.approx(18, abs=1)


def test_pareto_is_the_quantile_function() -> None:
    shape, mean = 2.5, 0.7
    least = mean * (shape - 1) / shape
    ours = [draws.draw(PARETO, mean, (shape - 1) / shape, -1 / shape, u, 0.0) for u in U]
    np.testing.assert_allclose(ours, stats.pareto.ppf(U, shape, scale=least), rtol=1e-12)


def test_lognormal_has_its_distribution() -> None:
    sigma, mean = 0.6, 2.0
    rng = np.random.default_rng(0)
    ours = [
        draws.draw(LOGNORMAL, mean, sigma, -(sigma**2) / 2, u, v) for u, v in rng.random((5_000, 2))
    ]
    expected = stats.lognorm(sigma, scale=mean * np.exp(-(sigma**2) / 2))
    assert expected.mean() == pytest.approx(mean)
    assert stats.kstest(ours, expected.cdf).pvalue > 0.01


@pytest.mark.parametrize("leave", [0.02, 0.5, 0.9])
def test_times_in_a_state_are_geometric(leave: float) -> None:
    ours = [draws.geometric(leave, u) for u in U]
    np.testing.assert_array_equal(ours, stats.geom.ppf(U, leave))


def test_a_state_that_is_left_at_once_lasts_one_slot() -> None:
    assert {draws.geometric(1.0, u) for u in U} == {1.0}


@pytest.mark.parametrize(
    ("arrivals", "mean", "variance"),
    [
        ({"kind": "bernoulli", "rate": 0.3}, 0.3, 0.21),
        ({"kind": "poisson", "rate": 0.8}, 0.8, 0.8),
        ({"kind": "deterministic", "rate": 0.4}, 0.4, 0.0),
        ({"kind": "pareto", "rate": 0.5, "shape": 4.5}, 0.5, 0.25 / (4.5 * 2.5)),
        ({"kind": "lognormal", "rate": 0.5, "sigma": 0.5}, 0.5, 0.25 * (np.exp(0.25) - 1)),
    ],
)
def test_amounts_have_the_declared_mean_and_variance(
    arrivals: dict[str, Any], mean: float, variance: float
) -> None:
    simulator = Simulator(one_queue(arrivals), 200, seed=1)
    amounts = np.empty((500, 200))
    for t in range(500):
        simulator.step(np.zeros(200, dtype=int))
        amounts[t] = simulator.state.arrivals[:, 0]
    assert abs(amounts.mean() - mean) <= 4 * np.sqrt(variance / amounts.size) + 1e-12
    assert amounts.var() == pytest.approx(variance, rel=0.05, abs=1e-12)


def test_piecewise_rates_follow_the_schedule() -> None:
    repeating = rates_of({"kind": "piecewise", "values": [0.5, 1.5, 0.0], "every": 3}, 20)[:, 0]
    np.testing.assert_array_equal(repeating, np.tile(np.repeat([0.5, 1.5, 0.0], 3), 3)[:20])
    once = rates_of({"kind": "piecewise", "values": [0.5, 1.5, 0.25], "at": [1, 4, 9]}, 12)[:, 0]
    np.testing.assert_array_equal(once, np.repeat([0.5, 1.5, 0.25], [3, 5, 4]))


def test_modulators_multiply() -> None:
    wave = {"kind": "periodic", "period": 7, "amplitude": 0.5, "phase": 0.25}
    steps = {"kind": "piecewise", "values": [1.0, 3.0], "every": 5}
    t = np.arange(1, 31)
    expected = (
        0.2
        * (1 + 0.5 * np.sin(2 * np.pi * ((t - 1) / 7 + 0.25)))
        * np.where((t - 1) // 5 % 2 == 0, 1.0, 3.0)
    )
    np.testing.assert_allclose(rates_of([0.2, wave, steps], 30)[:, 0], expected, rtol=1e-12)


def test_on_off_has_its_sojourn_times_and_starts_stationary() -> None:
    modulator = {"kind": "on_off", "on": 2.0, "off": 0.5, "mean_on": 4, "mean_off": 12}
    on = rates_of(modulator, 400, replicas=500, seed=3) == 2.0
    assert on[0].mean() == pytest.approx(0.25, abs=0.06)
    assert on.mean() == pytest.approx(0.25, abs=0.01)
    assert (on[:-1] & ~on[1:]).sum() / on[:-1].sum() == pytest.approx(1 / 4, rel=0.03)
    assert (~on[:-1] & on[1:]).sum() / (~on[:-1]).sum() == pytest.approx(1 / 12, rel=0.03)


def test_walk_goes_one_step_on_its_grid_and_is_uniform_on_it() -> None:
    modulator = {"kind": "walk", "low": 0.2, "high": 0.6, "step": 0.1, "every": 5}
    rates = rates_of(modulator, 200, replicas=800, seed=3)
    cells = np.rint((rates - 0.2) / 0.1)
    np.testing.assert_allclose(rates, 0.2 + 0.1 * cells, atol=1e-12)
    moves = np.diff(cells, axis=0)
    assert set(np.unique(moves)) == {-1, 0, 1}
    moved = np.flatnonzero((moves != 0).any(axis=1))
    assert set((moved + 1) % 5) == {0}  # between slots 5 and 6, 10 and 11, ...
    for slot in (0, 199):
        shares = np.bincount(cells[slot].astype(int), minlength=5) / 800
        np.testing.assert_allclose(shares, 0.2, atol=0.05)


def test_the_adversary_withdraws_what_was_served_most() -> None:
    simulator = Simulator(scenario("adversarial", period=10), 1)
    plan = [0] * 7 + [1] * 3 + [1] * 10 + [0] * 5 + [1] * 5  # queue 0, queue 1, a tie
    served = []
    for action in [*plan, 0]:
        simulator.step(np.array([action]))
        served.append(simulator.state.rates[0, 2:].copy())
    np.testing.assert_allclose(served[9], [0.9, 0.9])
    np.testing.assert_allclose(served[10], [0.09, 0.9])
    np.testing.assert_allclose(served[20], [0.9, 0.09])
    np.testing.assert_allclose(served[30], [0.09, 0.9])


GOOD = {"arrivals": {"kind": "poisson", "rate": 0.1}, "service": {"kind": "bernoulli", "rate": 0.5}}


def with_service(**service: Any) -> dict[str, Any]:
    return {"name": "w", "queues": [GOOD, {**GOOD, "service": service}]}


PLACE = "queues.1.service"


@pytest.mark.parametrize(
    ("declaration", "parts"),
    [
        ({"queues": [GOOD]}, ["name", "required"]),
        ({"name": "w", "queues": []}, ["queues", "at least 1"]),
        ({"name": "w", "queues": [GOOD], "colour": "red"}, ["colour", "no such key"]),
        ({"name": "w", "queues": [GOOD], "horizon": 0}, ["horizon", "0"]),
        ({"name": "w", "queues": [GOOD], "replicas": "many"}, ["replicas", "'many'"]),
        ({"name": "w", "queues": [GOOD], "replicas": True}, ["replicas", "integer", "True"]),
        ({"name": "w", "queues": [GOOD], "horizon": "9"}, ["horizon", "integer", "'9'"]),
        ({"name": "w", "queues": [GOOD], "horizon": 10**12}, ["horizon", "1000000000"]),
        (with_service(kind="bernoulli", rate="0.5"), [f"{PLACE}.rate", "number", "'0.5'"]),
        (with_service(kind="bernoulli", rate=True), [f"{PLACE}.rate", "number", "True"]),
        (with_service(kind="binomial", rate=0.5), [PLACE, "'binomial'", "'bernoulli'"]),
        (with_service(rate=0.5), [PLACE, "kind"]),
        (with_service(kind="bernoulli"), [f"{PLACE}.rate", "required"]),
        (with_service(kind="bernoulli", rate=0.5, size=2), [f"{PLACE}.size", "no such key"]),
        (with_service(kind="bernoulli", rate=1.5), [PLACE, "reaches 1.5", "[0, 1]"]),
        (with_service(kind="bernoulli", rate=-0.5), [f"{PLACE}.rate", "-0.5"]),
        (with_service(kind="bernoulli", rate="fast"), [f"{PLACE}.rate", "'fast'"]),
        (with_service(kind="poisson", rate=float("nan")), [f"{PLACE}.rate", "finite", "nan"]),
        (with_service(kind="poisson", rate=501), [PLACE, "500", "501"]),
        (with_service(kind="poisson", rate=[]), [f"{PLACE}.rate", "at least 1"]),
        (with_service(kind="pareto", rate=1, shape=1), [f"{PLACE}.shape", "greater than 1"]),
        (with_service(kind="lognormal", rate=1, sigma=0), [f"{PLACE}.sigma", "greater than 0"]),
        (with_service(kind="trace", path="none.csv", queue=-1), [f"{PLACE}.queue", "-1"]),
        (with_service(kind="poisson", rate={"kind": "spiral"}), ["piecewise", "walk", "spiral"]),
        (
            with_service(kind="poisson", rate={"kind": "piecewise", "values": [1, 2]}),
            [f"{PLACE}.rate", "either 'every' or 'at'"],
        ),
        (
            with_service(kind="poisson", rate={"kind": "piecewise", "values": [1], "at": [1, 2]}),
            ["as many entries"],
        ),
        (
            with_service(
                kind="poisson", rate={"kind": "piecewise", "values": [1, 2], "at": [3, 2]}
            ),
            ["start with slot 1"],
        ),
        (
            with_service(kind="poisson", rate={"kind": "periodic", "period": 9, "amplitude": 2}),
            ["amplitude", "less than or equal to 1"],
        ),
        (
            with_service(kind="poisson", rate={"kind": "on_off", "mean_on": 0.5, "mean_off": 2}),
            ["mean_on", "0.5"],
        ),
        (
            with_service(
                kind="poisson",
                rate={"kind": "walk", "low": 0.1, "high": 0.55, "step": 0.2, "every": 5},
            ),
            ["whole number of steps"],
        ),
        (
            with_service(
                kind="bernoulli", rate=[0.6, {"kind": "periodic", "period": 9, "amplitude": 0.9}]
            ),
            [PLACE, "reaches 1.14"],
        ),
        (
            {
                "name": "w",
                "queues": [
                    {
                        "arrivals": {
                            "kind": "poisson",
                            "rate": {"kind": "adversarial", "window": 5, "low": 0.1},
                        },
                        "service": GOOD["service"],
                    }
                ],
            },
            ["queues.0", "cannot modulate arrivals"],
        ),
    ],
)
def test_a_declaration_without_sense_is_refused_in_one_sentence(
    declaration: dict[str, Any], parts: list[str]
) -> None:
    with pytest.raises(ValueError, match=r"^scenario: ") as refusal:
        declare(declaration)
    sentence = str(refusal.value)
    assert len(sentence.splitlines()) == 1
    for part in parts:
        assert part in sentence, sentence


def test_adversaries_must_agree_on_their_window() -> None:
    queues = [
        {
            **GOOD,
            "service": {
                "kind": "bernoulli",
                "rate": [0.9, {"kind": "adversarial", "window": window, "low": 0}],
            },
        }
        for window in (5, 6)
    ]
    with pytest.raises(ValueError, match="window is 5 and 6"):
        Simulator(declare({"name": "w", "queues": queues}), 1)


def test_yaml_declares_a_scenario_with_traces_beside_it(tmp_path: Path) -> None:
    (tmp_path / "record.csv").write_text("slot,queue,arrivals,service\n1,0,2,0\n2,0,0,5\n")
    path = tmp_path / "scenario.yaml"
    path.write_text(
        "name: mine\nhorizon: 30\nreplicas: 2\nqueues:\n"
        "- arrivals: {kind: trace, path: record.csv, queue: 0, scale: 1.5}\n"
        "  service: {kind: bernoulli, rate: [0.5, {kind: periodic, period: 10, amplitude: 1}]}\n"
    )
    declared = scenario(str(path), horizon=40)
    assert (declared.name, declared.horizon, declared.replicas, declared.K) == ("mine", 40, 2, 1)
    simulator = Simulator(declared)
    arrived = []
    for _ in range(4):
        simulator.step(np.zeros(2, dtype=int))
        arrived.append(simulator.state.arrivals[0, 0])
    assert arrived == [3.0, 0.0, 3.0, 0.0]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("name: [1", "is not YAML"),
        ("- 1", "a scenario is a mapping"),
        ("name: w\nqueues: 3", "queues: Input should be a valid tuple, not 3"),
        ("name: w\nhorizon: 9\nhorizon: 10", "the key 'horizon' stands twice"),
        ("name: no\nqueues: []", "queues: Tuple should have at least 1 item"),
        ("name: true\nqueues: []", "name: Input should be a valid string, not True"),
        (
            "name: w\nhorizon: yes\nqueues: [{arrivals: &p {kind: poisson, rate: 1}, service: *p}]",
            "horizon: Input should be a valid integer, not 'yes'",
        ),
        ("? [name]\n: w", "a key is a list"),
    ],
)
def test_a_bad_yaml_file_is_refused_by_name(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "scenario.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"scenario\.yaml: ") as refusal:
        read_scenario(path)
    assert sentence in str(refusal.value)
    assert len(str(refusal.value).splitlines()) == 1


def test_yaml_follows_version_1_2(tmp_path: Path) -> None:
    path = tmp_path / "scenario.yaml"
    path.write_text(
        "name: off\nabout: 'yes'\nhorizon: 1e3\nreplicas: 010\nqueues:\n"
        "- &queue\n"
        "  arrivals:\n    kind: poisson\n"
        "    rate: [1e-3, {kind: on_off, on: 3, mean_on: 5, mean_off: 9}]\n"
        "  service: {kind: lognormal, rate: 5e-1, sigma: .5}\n"
        "- <<: *queue\n"
        "  service: {kind: bernoulli, rate: 1}\n"
    )
    declared = read_scenario(path)
    assert (declared.name, declared.about) == ("off", "yes")
    assert (declared.horizon, declared.replicas) == (1_000, 10)
    arrivals, service = declared.queues[0].arrivals, declared.queues[0].service
    assert arrivals == Poisson(rate=[0.001, OnOff(on=3.0, mean_on=5, mean_off=9)])
    assert service == Lognormal(rate=0.5, sigma=0.5)
    assert declared.queues[1] == Queue(arrivals=arrivals, service=Bernoulli(rate=1))


def test_the_traces_that_a_scenario_names_are_its_companions(tmp_path: Path) -> None:
    path = tmp_path / "scenario.yaml"
    path.write_text(
        "name: w\nqueues:\n"
        "- &one {arrivals: {kind: trace, path: a.csv, queue: 0},"
        " service: {kind: trace, path: deep/b.parquet, queue: 0}}\n"
        "- *one\n"
        "- {arrivals: {kind: trace, path: /far/c.csv.gz, queue: 1},"
        " service: {kind: bernoulli, rate: 0.5}}\n"
    )
    own = [tmp_path / "a.csv", tmp_path / "deep" / "b.parquet", Path("/far/c.csv.gz")]
    assert companions(path) == own
    assert companions(tmp_path / "a.csv") == companions("a.csv.gz") == []
    assert load_attribute(METHOD.task_companions or "") is companions
    with pytest.raises(ValueError, match=r"none\.yaml: cannot be read"):
        companions(tmp_path / "none.yaml")


def missing_queue(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "a.csv").write_text("slot,queue,arrivals,service\n1,0,2,0\n")
    trace = {"kind": "trace", "path": str(tmp_path / "a.csv"), "queue": 1}
    return {"name": "w", "queues": [{"arrivals": trace, "service": trace}]}


def test_a_queue_that_the_trace_lacks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.csv: queue 1 is asked for.*queues 0 to 0"):
        Simulator(declare(missing_queue(tmp_path)), 1)


REFUSED_FIELDS: list[tuple[Callable[[], Scenario], str]] = [
    (lambda: scenario("swiching"), "there is no scenario 'swiching'"),
    (lambda: scenario("stationary", period=5), "'stationary' has no field 'period'"),
    (lambda: scenario("switching", speed=5), "'switching' has no field 'speed'"),
    (lambda: scenario("switching", period=0.5), "period: .* not 0.5"),
    (lambda: scenario("switching", load=-1), "load: .* not -1"),
    (lambda: scenario("switching", load="high"), "load: .* not 'high'"),
    (lambda: scenario("switching", horizon=0), "horizon: .* not 0"),
    (lambda: scenario("stationary", load=30), "cannot have load 30: .* reaches 3.8"),
    (lambda: scenario("nowhere.csv"), r"nowhere\.csv: there is no such trace file"),
    (lambda: scenario("nowhere.yaml"), r"nowhere\.yaml: cannot be read"),
]


@pytest.mark.parametrize(("build", "sentence"), REFUSED_FIELDS)
def test_a_scenario_refuses_in_one_sentence(build: Callable[[], Scenario], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence) as refusal:
        build()
    assert len(str(refusal.value).splitlines()) == 1
