"""`tenfold network`: policies on a network of queues, side by side.

What it needs is imported when it runs, so that the command line stays quick.
"""

import json
import math
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from tenfold.platform.errors import InputError, unknown

if TYPE_CHECKING:
    import numpy as np

    from tenfold.envs.queues.network import Network
    from tenfold.envs.queues.network_policies import NetworkPolicy
    from tenfold.envs.queues.network_simulator import NetworkMetrics


def network(
    name: Annotated[
        str,
        typer.Argument(
            help="parallel, tandem, n_model, criss_cross, rybko_stolyar, or a YAML file, ours or "
            "QGym's."
        ),
    ],
    policy: Annotated[
        list[str] | None,
        typer.Option(
            help="fcfs, c_mu, max_weight, max_pressure, longest, last_first, or queues in order "
            "of their priority: 2,0,1; repeatable, all rules by default."
        ),
    ] = None,
    time: Annotated[float, typer.Option(help="How long is measured.")] = 10_000.0,
    warmup: Annotated[float, typer.Option(help="How long before that is left out.")] = 1_000.0,
    replicas: Annotated[int, typer.Option(min=2, max=10_000, help="Independent copies.")] = 16,
    seed: Annotated[int, typer.Option(min=0, help="Of all random streams.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Simulate a network of queues under several policies, which meet the same arrivals.

    Example: tenfold network criss_cross --policy c_mu --policy max_pressure
    """
    from tenfold.envs.queues.network import find_network
    from tenfold.envs.queues.network_policies import POLICIES
    from tenfold.envs.queues.network_simulator import simulate_network

    if not (math.isfinite(time) and math.isfinite(warmup)):
        raise InputError("Give finite numbers for both --time and --warmup.")
    try:
        network = find_network(name)
        chosen = [_policy(network, each) for each in policy or POLICIES]
        found = {
            each.name: simulate_network(network, each, time, replicas, seed, warmup)
            for each in chosen
        }
    except ValueError as error:
        raise InputError(str(error)) from None
    told = {
        "network": network.name,
        "load": network.load(),
        "time": time,
        "replicas": replicas,
        "policies": {each: _told(metrics) for each, metrics in found.items()},
    }
    if as_json:
        print(json.dumps(told))
    else:
        _show(told, network, Console(highlight=False))


def _policy(network: "Network", name: str) -> "NetworkPolicy":
    from tenfold.envs.queues.network_policies import POLICIES, priority

    if name in POLICIES:
        return POLICIES[name](network)
    try:
        order = [int(queue) for queue in name.split(",")]
    except ValueError:
        raise unknown("policy", name, POLICIES) from None
    return priority(network, order, name)


def _told(metrics: "NetworkMetrics") -> dict[str, Any]:
    """Means over the replicas, the cost with the half width of its 95 % interval."""
    from scipy.stats import t as student_t

    n = len(metrics.cost)
    half = student_t.ppf(0.975, n - 1) * metrics.cost.std(ddof=1) / math.sqrt(n)
    parts = ("jobs", "delay", "delay_p99", "throughput", "lost", "busy", "setups")
    means = {part: _mean(getattr(metrics, part)) for part in parts}
    return {"cost": float(metrics.cost.mean()), "cost_half_width": float(half), **means}


def _mean(values: "np.ndarray") -> list[float | None]:
    """Means over replicas (R, n); None where no replica has a value."""
    columns = [column[~(column != column)] for column in values.T]
    return [float(column.mean()) if len(column) else None for column in columns]


def _show(told: dict[str, Any], network: "Network", console: Console) -> None:
    console.print(
        f"{told['network']}: {network.about} Load {told['load']:.3f}, {told['replicas']} replicas, "
        f"time {told['time']:,.0f}."
    )
    table = Table("policy", "cost, 95 %", *(f"delay {i} (p99)" for i in range(network.K)), "busy")
    if network.buffer is not None:
        table.add_column("lost, %")
    for name, each in told["policies"].items():
        delays = [
            "" if mean is None else f"{mean:.3g} ({p99:.3g})"
            for mean, p99 in zip(each["delay"], each["delay_p99"], strict=True)
        ]
        cells = [name, f"{each['cost']:,.4g} ± {each['cost_half_width']:.2g}", *delays]
        cells.append(" ".join(f"{share:.2f}" for share in each["busy"]))
        if network.buffer is not None:
            cells.append(" ".join(f"{100 * (share or 0):.2f}" for share in each["lost"]))
        table.add_row(*cells)
    console.print(table)
