"""Speed of the queue simulator beside Ciw and a plain Gymnasium loop, in one run.

    python benchmarks/queues.py

A queue-slot is one queue of one replica in one slot; a scenario of K = 8 queues has 8 of them a
slot. Random numbers, the scheduler's learning, delays and metrics are included for ours. Ciw
simulates customers by events: its figure is K x simulated time units / seconds of a server that
serves 8 customer classes at the same load, which is what one unit of time of ours is. The second
table is of networks in continuous time: three stations in a row (`tandem`), as jobs that went
through them.
"""

import statistics
import sys
import time
from collections.abc import Callable

import gymnasium as gym
from rich.console import Console
from rich.table import Table

import tenfold.envs.queues  # noqa: F401  (registers tenfold/Queues-v0)
from tenfold.algorithms.softmw.schedulers import make_scheduler
from tenfold.envs.queues.network import NETWORKS
from tenfold.envs.queues.network_policies import first_come
from tenfold.envs.queues.network_simulator import simulate_network
from tenfold.envs.queues.scenarios import scenario
from tenfold.envs.queues.simulator import Simulator

K, REPEATS = 8, 5
SCENARIO = "drift"  # eight queues, Bernoulli arrivals and services whose rates move


def kernel(scheduler: str, replicas: int = 64, slots: int = 20_000) -> Callable[[], int]:
    """The compiled simulator with a scheduler in the loop."""
    declared = scenario(SCENARIO)
    simulator = Simulator(declared, replicas, seed=1)
    chosen = make_scheduler(scheduler, declared, replicas)
    simulator.run(chosen, 256)

    def run() -> int:
        simulator.run(chosen, slots)
        return slots * replicas * K

    return run


def gymnasium_loop(slots: int = 5_000) -> Callable[[], int]:
    """`tenfold/Queues-v0` stepped one action at a time from Python."""
    environment = gym.make("tenfold/Queues-v0", scenario=SCENARIO)
    environment.reset(seed=1)

    def run() -> int:
        for slot in range(slots):
            environment.step(slot % K)
        return slots * K

    return run


def ciw_network(slots: float = 2_000.0) -> Callable[[], int]:
    """Ciw: one server, K customer classes, exponential arrivals and services at load 0.8."""
    import ciw

    rate = 0.8 * 0.65 / K  # drift's mean service is 0.65
    network = ciw.create_network(
        arrival_distributions={f"Class {i}": [ciw.dists.Exponential(rate)] for i in range(K)},
        service_distributions={f"Class {i}": [ciw.dists.Exponential(0.65)] for i in range(K)},
        number_of_servers=[1],
    )

    def run() -> int:
        ciw.seed(1)
        ciw.Simulation(network).simulate_until_max_time(slots)
        return int(slots) * K

    return run


def network(time: float = 20_000.0) -> Callable[[], int]:
    """Our event loop on `tandem`, delays and their percentiles included."""
    tandem = NETWORKS["tandem"]
    policy = first_come(tandem)
    simulate_network(tandem, policy, 10.0)

    def run() -> int:
        return int(simulate_network(tandem, policy, time).throughput[0, 2] * time)

    return run


def ciw_tandem(time: float = 5_000.0) -> Callable[[], int]:
    """Ciw on the same three stations."""
    import ciw

    tandem = NETWORKS["tandem"]
    stations = range(tandem.K)
    made = ciw.create_network(
        arrival_distributions=[ciw.dists.Exponential(r) if r else None for r in tandem.lam],
        service_distributions=[ciw.dists.Exponential(tandem.mu[i][i]) for i in stations],
        number_of_servers=[int(servers) for servers in tandem.pool],
        routing=tandem.P.tolist(),
    )

    def run() -> int:
        ciw.seed(1)
        simulation = ciw.Simulation(made)
        simulation.simulate_until_max_time(time)
        return len(simulation.nodes[-1].all_individuals)

    return run


def rate(run: Callable[[], int]) -> tuple[float, float]:
    """Median and largest queue-slots a second, in millions, on one core."""
    rates = []
    for _ in range(REPEATS):
        start = time.process_time()
        done = run()
        rates.append(done / (time.process_time() - start) / 1e6)
    return statistics.median(rates), max(rates)


def main() -> None:
    """Print the table."""
    try:
        import ciw  # noqa: F401
    except ImportError:
        print(
            "Error: Ciw, the peer of this benchmark, is not installed: install it with "
            "'.venv/bin/pip install --constraint constraints.txt --editable \".[dev]\"', or run "
            "'make bench'.",
            file=sys.stderr,
        )
        sys.exit(2)
    rows = {
        "compiled kernel, uniform": kernel("uniform"),
        "compiled kernel, SoftMW": kernel("softmw"),
        "compiled kernel, SSMW": kernel("ssmw"),
        "compiled kernel, SoftMW-fast": kernel("softmw_fast"),
        "Gymnasium loop": gymnasium_loop(),
        "Ciw": ciw_network(),
    }
    table = Table("simulator", "million queue-slots/s", "best", "times Ciw")
    found = {name: rate(run) for name, run in rows.items()}
    for name, (median, best) in found.items():
        table.add_row(name, f"{median:.3f}", f"{best:.3f}", f"{median / found['Ciw'][0]:,.0f}")
    Console().print(table)
    table = Table("network", "thousand jobs/s", "best", "times Ciw")
    found = {"compiled events": rate(network()), "Ciw": rate(ciw_tandem())}
    for name, (median, best) in found.items():
        times = median / found["Ciw"][0]
        table.add_row(name, f"{1e3 * median:,.1f}", f"{1e3 * best:,.1f}", f"{times:,.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()
