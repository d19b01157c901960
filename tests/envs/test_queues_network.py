"""Networks of queues against closed forms and an exact Markov chain; some eight seconds."""

import json
import math
from itertools import product
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import typer
from gymnasium.utils.env_checker import check_env
from typer.testing import CliRunner

import tenfold.envs.queues  # noqa: F401
from tenfold.envs.queues.network import (
    NETWORKS,
    Network,
    declare_network,
    find_network,
    read_network,
)
from tenfold.envs.queues.network_commands import network
from tenfold.envs.queues.network_policies import (
    POLICIES,
    c_mu,
    first_come,
    last_first,
    longest,
    max_pressure,
    max_weight,
    priority,
)
from tenfold.envs.queues.network_simulator import NetworkReplica, simulate_network
from tenfold.platform.errors import InputError


def one(**fields: Any) -> Network:
    """Queues at one server."""
    return declare_network({"name": "one", **fields})


def close(values: np.ndarray, expected: float, most: float = 0.03) -> None:
    """The mean over replicas is within four standard errors, which are small."""
    error = values.std(ddof=1) / np.sqrt(len(values))
    assert error < most * abs(expected)
    assert abs(values.mean() - expected) < 4 * error


def erlang_b(servers: int, offered: float) -> float:
    terms = [offered**n / math.factorial(n) for n in range(servers + 1)]
    return terms[-1] / sum(terms)


def erlang_c(servers: int, offered: float) -> float:
    """Probability of waiting."""
    blocked = erlang_b(servers, offered)
    return blocked / (1 - offered / servers * (1 - blocked))


@pytest.mark.parametrize(("servers", "lam"), [(1, 0.7), (3, 2.1), (10, 8.0)])
def test_mmc_has_erlangs_waiting_time(servers: int, lam: float) -> None:
    network = one(lam=[lam], mu=[[1.0]], servers=[servers])
    found = simulate_network(network, first_come(network), 10_000, 16, seed=1, warmup=200)
    wait = erlang_c(servers, lam) / (servers - lam)
    close(found.delay[:, 0], wait + 1)
    close(found.jobs[:, 0], lam * (wait + 1))
    close(found.busy[:, 0], lam / servers)
    close(found.sojourn, wait + 1)
    if servers == 1:  # the time in M/M/1 is exponential of rate 1 - lam
        close(found.delay_p99[:, 0], math.log(100) / (1 - lam), 0.05)


def test_erlang_loss_and_a_short_buffer() -> None:
    loss = one(lam=[3.0], mu=[[1.0]], servers=[4], buffer=[4])
    close(simulate_network(loss, first_come(loss), 5_000, 16).lost[:, 0], erlang_b(4, 3.0))
    short = one(lam=[0.9], mu=[[1.0]], buffer=[5])
    found = simulate_network(short, first_come(short), 10_000, 16)
    stationary = 0.9 ** np.arange(6) / sum(0.9 ** np.arange(6))
    close(found.lost[:, 0], stationary[-1])
    close(found.jobs[:, 0], stationary @ np.arange(6))


def test_a_jackson_network_with_feedback_has_the_product_form() -> None:
    """Of three stations; each is as M/M/c by itself, with the flows of the traffic equations."""
    network = one(
        lam=[0.3, 0.2, 0.0],
        mu=[[1.0, 0, 0], [0, 0.5, 0], [0, 0, 0.9]],
        servers=[1, 2, 1],
        routing=[[0, 0.6, 0.2], [0.1, 0, 0.5], [0.3, 0, 0]],
    )
    flows = network.flows()
    np.testing.assert_allclose(flows, [0.3, 0.2, 0.0] + network.P.T @ flows)
    found = simulate_network(network, first_come(network), 20_000, 16, seed=2, warmup=500)
    for i, (servers, mu) in enumerate([(1, 1.0), (2, 0.5), (1, 0.9)]):
        offered = flows[i] / mu
        wait = erlang_c(servers, offered) / (servers * mu - flows[i])
        close(found.jobs[:, i], flows[i] * (wait + 1 / mu))
        close(found.throughput[:, i], flows[i])
    assert network.load() == pytest.approx(max(flows / np.array([1.0, 1.0, 0.9])))


@pytest.mark.parametrize("scv", [0.0, 0.5, 1.0, 4.0])
def test_mg1_has_pollaczeks_and_khinchines_wait(scv: float) -> None:
    network = one(lam=[0.7], mu=[[1.0]], service_scv=[scv])
    found = simulate_network(network, first_come(network), 40_000, 16, seed=3, warmup=500)
    close(found.delay[:, 0], 1 + 0.7 * (1 + scv) / (2 * 0.3), 0.05)


def test_dm1_waits_by_its_root() -> None:
    """Arrivals every 1 / lam: the wait is s / (mu (1 - s)) with s = exp(-mu (1 - s) / lam)."""
    network = one(lam=[0.8], mu=[[1.0]], arrival_scv=[0.0])
    root = 0.5
    for _ in range(200):
        root = math.exp(-(1 - root) / 0.8)
    found = simulate_network(network, first_come(network), 20_000, 16, seed=3, warmup=500)
    close(found.delay[:, 0], 1 / (1 - root))


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 0, 1]])
def test_mg1_with_priorities_waits_as_cobham_says(order: list[int]) -> None:
    """Without preemption: W_k = sum lam E S^2 / 2 / ((1 - load above k) (1 - load to k))."""
    lam, mu, scv = np.array([0.2, 0.15, 0.25]), np.array([1.0, 0.5, 1.5]), np.array([0.0, 1.0, 3.0])
    network = one(lam=lam.tolist(), mu=[mu.tolist()], service_scv=scv.tolist())
    found = simulate_network(network, priority(network, order), 40_000, 16, seed=4, warmup=500)
    rest = (lam * (1 + scv) / mu**2).sum() / 2
    above = 0.0
    for k in order:
        to = above + lam[k] / mu[k]
        close(found.delay[:, k], rest / ((1 - above) * (1 - to)) + 1 / mu[k], 0.05)
        above = to


def test_preemption_leaves_the_first_class_alone_and_the_work_the_same() -> None:
    network = one(lam=[0.4, 0.4], mu=[[1.0, 1.0]], preemptive=True)
    found = simulate_network(network, priority(network, [1, 0]), 40_000, 16, seed=5, warmup=500)
    close(found.jobs[:, 1], 0.4 / 0.6)
    close(found.jobs.sum(axis=1), 0.8 / 0.2, 0.05)


def test_setups_lengthen_services_as_pollaczek_and_khinchine_say() -> None:
    """Two alike classes, first come first served: every other job finds the server set up for the
    other class, by independent fair coins; so services are 1 or 1 + D."""
    network = one(lam=[0.2, 0.2], mu=[[1.0, 1.0]], service_scv=[0, 0], setup=[1.0, 1.0])
    found = simulate_network(network, first_come(network), 40_000, 16, seed=6, warmup=500)
    mean, second = 1.5, (1 + 4) / 2
    close(found.delay.mean(axis=1), mean + 0.4 * second / (2 * (1 - 0.4 * mean)))
    close(found.setups.sum(axis=1), 0.4 / 2)
    close(found.busy[:, 0], 0.4 * mean)


def chain(network: Network, policy: Any) -> np.ndarray:
    """Mean jobs of each queue of a preemptive network with short buffers, by its Markov chain.

    One server a pool; written apart from the simulator.
    """
    limits = [int(limit) for limit in network.limits]
    states = list(product(*(range(limit + 1) for limit in limits)))
    place = {state: number for number, state in enumerate(states)}
    rates = np.zeros((len(states), len(states)))
    mu, P = np.array(network.mu), network.P
    for state in states:
        jobs = np.array(state)

        def go(rate: float, to: np.ndarray, here: int = place[state]) -> None:
            rates[here, place[tuple(np.minimum(to, limits))]] += rate

        for i, lam in enumerate(network.lam):
            go(lam, jobs + np.eye(len(jobs), dtype=int)[i])
        free, left = set(range(network.S)), jobs.copy()
        while True:
            pairs = [
                (policy.constant[s, i] + policy.slope[s, i] @ jobs, -s, -i)
                for s in free
                for i in range(network.K)
                if left[i] > 0 and mu[s, i] > 0
            ]
            pairs = [pair for pair in pairs if pair[0] >= 0]
            if not pairs:
                break
            _, s, i = max(pairs)
            s, i = -s, -i
            free.remove(s)
            left[i] -= 1
            after = jobs - np.eye(len(jobs), dtype=int)[i]
            for j in range(network.K):
                go(mu[s, i] * P[i, j], after + np.eye(len(jobs), dtype=int)[j])
            go(mu[s, i] * (1 - P[i].sum()), after)
    np.fill_diagonal(rates, 0.0)
    generator = rates - np.diag(rates.sum(axis=1))
    equations = np.vstack([generator.T[1:], np.ones(len(states))])
    stationary = np.linalg.solve(equations, np.eye(len(states))[-1])
    return stationary @ np.array(states)


@pytest.mark.parametrize("rule", [c_mu, max_weight, max_pressure, longest, last_first])
@pytest.mark.parametrize("name", ["n_model", "criss_cross"])
def test_every_rule_is_its_markov_chain(name: str, rule: Any) -> None:
    fields = NETWORKS[name].model_dump() | {"buffer": [5] * NETWORKS[name].K}
    network = Network.model_validate(fields)
    policy = rule(network)
    found = simulate_network(network, policy, 6_000, 16, seed=7, warmup=100)
    for i, expected in enumerate(chain(network, policy)):
        close(found.jobs[:, i], expected, 0.05)


def test_the_c_mu_rule_costs_the_least_at_one_server() -> None:
    """Buyukkoc, Varaiya and Walrand (1985): preemptive, exponential; by the exact chain."""
    network = one(
        lam=[0.2, 0.3, 0.1],
        mu=[[1.0, 2.0, 0.7]],
        h=[1.0, 0.6, 3.0],
        preemptive=True,
        buffer=[8, 8, 8],
    )
    orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]]
    costs = [chain(network, priority(network, order)) @ network.costs for order in orders]
    best = chain(network, c_mu(network)) @ network.costs
    assert best == pytest.approx(min(costs))
    assert costs.index(min(costs)) == orders.index([2, 1, 0])


def test_priority_to_those_that_leave_is_unstable_where_max_pressure_is_not() -> None:
    """Rybko and Stolyar (1992): every pool's load is 0.77."""
    network = NETWORKS["rybko_stolyar"]
    assert network.load() == pytest.approx(0.1 + 1 / 1.5)
    stable = simulate_network(network, max_pressure(network), 4_000, 2, seed=8)
    unstable = simulate_network(network, last_first(network), 4_000, 2, seed=8)
    assert stable.cost.max() < 10
    assert unstable.cost.min() > 200


def test_jobs_are_conserved_and_runs_can_be_cut() -> None:
    network = one(
        lam=[0.9, 1.3],
        mu=[[1.0, 0.5], [0.0, 0.6]],
        servers=[1, 3],
        routing=[[0.1, 0.3], [0.2, 0.0]],
        buffer=[None, 7],
        setup=[0.1, 0.0],
        arrival_scv=[2.0, 0.0],
        start=[300, 2],
    )
    policy = max_weight(network)
    whole, cut = (NetworkReplica(network, 3, 1) for _ in range(2))
    whole.run(policy, 500.0)
    for part in (1e-3, 77.7, 500.0):
        cut.run(policy, part)
    cut.run(policy, 500.0, events=5)
    np.testing.assert_allclose(cut.state.jobs, whole.state.jobs)
    np.testing.assert_allclose(cut.sums.area, whole.sums.area)
    sums, state = whole.sums, whole.state
    np.testing.assert_array_equal(np.array([300, 2]) + sums.came - sums.ended, state.jobs)
    in_service = np.bincount(state.serves[state.serves >= 0], minlength=2)
    np.testing.assert_array_equal(state.waiting + in_service, state.jobs)
    assert state.jobs[1] <= 7
    assert sums.lost[1] > 0 == sums.lost[0]
    assert (sums.histogram.sum(axis=1) == sums.ended).all()


def test_two_policies_meet_the_same_arrivals() -> None:
    network = one(lam=[0.4, 0.4], mu=[[1.0, 0.9]], arrival_scv=[1.0, 3.0])
    runs = [NetworkReplica(network, 5) for _ in range(2)]
    for run, order in zip(runs, ([0, 1], [1, 0]), strict=True):
        run.run(priority(network, order), 1_000.0)
    np.testing.assert_array_equal(runs[0].sums.came, runs[1].sums.came)
    np.testing.assert_array_equal(runs[0].state.due, runs[1].state.due)
    assert (runs[0].sums.area != runs[1].sums.area).all()


QGYM = """
name: 'criss'
lam_type: 'constant'
lam_params: {val: [0.9, .000001, 0.9]}
network: [[1,0,1],[0,1,0]]
mu: [[2,0,2],[0,1,0]]
h: [1,1,1]
init_queues: [0, 0, 0]
queue_event_options: [[1., 0, 0.], [0., 0., 0.], [0., 0, 1.],
                      [-1., 1., 0.], [0., -1., 0.], [0., 0., -1.]]
train_T: 20000
test_T: 10000
num_pool: 1
"""


def test_a_file_of_qgym_is_the_same_network(tmp_path: Path) -> None:
    path = tmp_path / "criss.yaml"
    path.write_text(QGYM)
    found, own = read_network(path), NETWORKS["criss_cross"]
    np.testing.assert_array_equal(found.P, own.P)
    assert (found.mu, found.preemptive, found.name) == (own.mu, True, "criss")
    np.testing.assert_allclose(found.lam, own.lam, atol=1e-6)
    path.write_text(QGYM.replace("'constant'", "'hyper'"))
    with pytest.raises(ValueError, match=r"criss.yaml: QGym's 'lam_type' is read as constant only"):
        read_network(path)
    path.write_text(QGYM.replace("[[2,0,2],[0,1,0]]", "[[2,0,2]]"))
    with pytest.raises(ValueError, match=r"criss.yaml: QGym's 'network' and 'mu' need as many"):
        read_network(path)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"lam": [1, 2]}, "each row of 'mu' needs 2 numbers"),
        ({"h": [1, 2]}, "'h' needs 1 numbers as 'lam' has, not 2"),
        ({"servers": [1, 1]}, "'servers' needs 1 numbers"),
        ({"servers": [0]}, "servers.0: .*greater than or equal to 1"),
        ({"lam": [0]}, "'lam' is 0 everywhere"),
        ({"mu": [[0]]}, "'mu' lets no pool serve queue 0"),
        ({"routing": [[1.2]]}, "sum is at most 1"),
        ({"routing": [[1.0]]}, "keeps some jobs for ever"),
        ({"preemptive": True, "service_scv": [2]}, "'preemptive' needs exponential"),
        ({"preemptive": True, "setup": [2]}, "'preemptive' needs exponential"),
        ({"lam": ["fast"]}, "lam.0: .*number"),
        ({"lamda": [1]}, "lamda: there is no such key"),
        ({"lam": [math.nan]}, "lam.0: .*finite"),
    ],
)
def test_what_is_no_network_is_refused_in_one_sentence(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=f"^mine: .*{said}") as refusal:
        declare_network({"name": "x", "lam": [0.5], "mu": [[1.0]]} | fields, "mine")
    assert len(str(refusal.value).splitlines()) == 1


def test_unknown_names_and_orders_are_refused() -> None:
    with pytest.raises(ValueError, match="no network 'crisscross': choose one of parallel, tandem"):
        find_network("crisscross")
    with pytest.raises(ValueError, match=r"names each of 3 queues once, not \[0, 1\]"):
        priority(NETWORKS["criss_cross"], [0, 1])
    with pytest.raises(ValueError, match="give until, events or both"):
        NetworkReplica(NETWORKS["parallel"]).run(first_come(NETWORKS["parallel"]))
    with pytest.raises(ValueError, match="time must be above 0"):
        simulate_network(NETWORKS["parallel"], first_come(NETWORKS["parallel"]), 0)


def test_gymnasium_accepts_the_network_and_it_is_the_simulator() -> None:
    environment = gym.make("tenfold/QueueNetwork-v0", network="criss_cross", horizon=200)
    check_env(environment.unwrapped, skip_render_check=True)
    network = NETWORKS["criss_cross"]
    observation, _ = environment.reset(seed=9)
    replica, policy = NetworkReplica(network, 9), max_pressure(network)
    cost, truncated = 0.0, False
    while not truncated:
        indices = policy.constant + policy.slope @ observation
        observation, reward, _, truncated, info = environment.step(
            (indices / 1e3).astype(np.float32).ravel()
        )
        cost -= float(reward)
        replica.run(policy, events=1)
        np.testing.assert_array_equal(observation, replica.state.jobs)
    assert info["time"] == replica.state.clock[0]
    assert cost == pytest.approx(replica.sums.area @ network.costs)
    assert set(POLICIES) == {rule(network).name for rule in POLICIES.values()}


def told(*arguments: str) -> Any:
    app = typer.Typer()
    app.command()(network)
    return CliRunner().invoke(app, list(arguments))


def test_the_command_compares_policies_on_a_file(tmp_path: Path) -> None:
    """Two queues at one server, the second dearer; Cobham's waits say what the table must."""
    path = tmp_path / "dear.yaml"
    path.write_text("name: dear\nlam: [0.3, 0.3]\nmu: [[1, 1]]\nh: [1, 5]\nbuffer: [null, 50]\n")
    short = ("--time", "20000", "--replicas", "8")
    done = told(str(path), "--policy", "c_mu", "--policy", "0,1", *short, "--json")
    found = json.loads(done.stdout)
    assert found["load"] == pytest.approx(0.6)
    waits = [1 + 0.6 / 0.7, 1 + 0.6 / (0.7 * 0.4)]  # of the queue served first, and the other
    for policy, order in (("c_mu", [1, 0]), ("0,1", [0, 1])):
        each = found["policies"][policy]
        np.testing.assert_allclose([each["delay"][i] for i in order], waits, rtol=0.05)
        cost = 0.3 * (np.array([1.0, 5.0])[order] @ waits)
        assert each["cost"] == pytest.approx(cost, rel=0.05)
        assert 0 < each["cost_half_width"] < 0.1 * cost
        assert each["lost"] == [0.0, 0.0]
    table = told(str(path), "--policy", "c_mu", *short).stdout
    assert "dear" in table
    assert "Load 0.600" in table


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["criss"], "there is no network 'criss': choose one of parallel"),
        (["criss_cross", "--policy", "cmu"], "Unknown policy 'cmu'"),
        (["criss_cross", "--policy", "0,1"], "names each of 3 queues once"),
        (["criss_cross", "--time", "-1"], "time must be above 0"),
        (["criss_cross", "--time", "inf"], "finite"),
        (["missing.yaml"], "missing.yaml: cannot be read"),
    ],
)
def test_the_command_refuses_in_one_sentence(arguments: list[str], said: str) -> None:
    refusal = told(*arguments).exception
    assert isinstance(refusal, InputError)
    assert said in str(refusal)
    assert len(str(refusal).splitlines()) == 1
