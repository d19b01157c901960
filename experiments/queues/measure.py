"""Measurements of queue scheduling; each writes a CSV and a Markdown table, and prints the table.

    python experiments/queues/measure.py headline
    python experiments/queues/measure.py all --replicas 64 --horizon 1000000

All schedulers of a measurement meet the same arrivals and services (common random numbers). Numbers
are means over replicas with 95 % Student-t intervals. A record is one instance however many
replicas replay it, and has no interval.
"""

from typing import Annotated

import numpy as np
import typer
from drawing import draw_backlogs, draw_region
from reporting import (
    interval,
    median_interval,
    row,
    save,
    simulate,
    spread,
)
from rich.progress import track
from scipy.stats import linregress

from tenfold.algorithms.softmw.exp3splus import EXP3SPlus
from tenfold.algorithms.softmw.schedulers import SCHEDULERS
from tenfold.envs.queues.names import SCENARIO_NAMES
from tenfold.envs.queues.scenario import Scenario, declare
from tenfold.envs.queues.scenarios import scenario

FEASIBLE = [name for name in SCENARIO_NAMES if name not in ("asymmetric", "infeasible")]

app = typer.Typer(help=__doc__, no_args_is_help=True, pretty_exceptions_enable=False)
Replicas = Annotated[int, typer.Option(help="Replicas of each scenario.")]
Horizon = Annotated[int, typer.Option(help="Slots T.")]


@app.command()
def headline(replicas: Replicas = 64, horizon: Horizon = 1_000_000) -> None:
    """Where uniform, longest-queue and empirical MaxWeight diverge and SoftMW and SSMW do not."""
    quick = {"c_eta": 10.0}
    chosen: list[tuple[str, str, dict[str, float]]] = [
        ("softmw", "softmw", {}),
        ("softmw, c_eta = 10", "softmw", quick),
        *((name, name, {}) for name in ("ssmw", "softmw_fast", "discounted_ucb", "oracle")),
        *((name, name, {}) for name in ("uniform", "longest_queue", "maxweight_empirical")),
    ]
    for title, fields in (("headline", {}), ("headline_quick", {"load": 0.5, "period": 1_000})):
        rows = [
            row(
                simulate("asymmetric", name, replicas, horizon, constants=constants, **fields),
                scheduler=label,
            )
            for label, name, constants in track(chosen, title)
        ]
        said = ", ".join(f"{key} {value:,}" for key, value in fields.items()) or "as declared"
        save(title, rows, f"`asymmetric` ({said}), {replicas} replicas, T = {horizon:,}.")


@app.command()
def stationary(replicas: Replicas = 64, horizon: Horizon = 1_000_000) -> None:
    """Every scheduler on the stationary load."""
    rows = [
        row(simulate("stationary", name, replicas, horizon), scheduler=name)
        for name in track(SCHEDULERS, "stationary")
    ]
    save("stationary", rows, f"`stationary`, {replicas} replicas, T = {horizon:,}.")


@app.command()
def heavy_tails(replicas: Replicas = 64, horizon: Horizon = 1_000_000) -> None:
    """Clipped at M = 1, at the growing threshold of the '+' versions, and not at all.

    Below shape 2 the services have no variance and the mean backlog no finite expectation: medians
    count, and each replica's ratio to MaxWeight with known rates in the same instance.
    """
    kinds = ("softmw", "softmw_plus", "softmw_unclipped", "ssmw", "ssmw_plus", "ssmw_unclipped")
    others = ("softmw_fast", "discounted_ucb", "uniform")
    rows = []
    for shape in (2.5, 2.1, 1.9, 1.7, 1.5, 1.2):
        oracle = simulate(pareto(shape), "oracle", replicas, horizon)
        for name in track((*kinds, *others, "oracle"), f"heavy tails, shape {shape}"):
            run = oracle if name == "oracle" else simulate(pareto(shape), name, replicas, horizon)
            ratios = run.metrics.backlog_mean / oracle.metrics.backlog_mean
            times, low, high = median_interval(ratios)
            of_oracle = {"times oracle": times, "its low": low, "its high": high}
            rows.append({**spread(run, shape=shape, scheduler=name), **of_oracle})
    save("heavy_tails", rows, f"`heavy_tail`, {replicas} replicas, T = {horizon:,}.")


def pareto(shape: float) -> Scenario:
    """`heavy_tail` with another shape; the means, and so the load, stay."""
    fields = scenario("heavy_tail").model_dump()
    for queue in fields["queues"]:
        queue["arrivals"]["shape"] = queue["service"]["shape"] = shape
    return declare(fields)


@app.command()
def loads(replicas: Replicas = 64, horizon: Horizon = 200_000) -> None:
    """Backlog against load, stationary."""
    rows = [
        row(simulate("stationary", name, replicas, horizon, load=load), load=load, scheduler=name)
        for load in track((0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98), "loads")
        for name in ("softmw", "ssmw", "softmw_fast", "discounted_ucb", "uniform", "oracle")
    ]
    save("loads", rows, f"`stationary` at several loads, {replicas} replicas, T = {horizon:,}.")


@app.command()
def episodes(replicas: Replicas = 64, horizon: Horizon = 1_000) -> None:
    """Schedulers on the episodes that PPO learns from (learned.yaml), from empty queues."""
    learners = ("softmw", "ssmw", "softmw_fast", "discounted_ucb")
    names = (*learners, "oracle", "uniform", "longest_queue")
    rows = [
        row(simulate(each, name, replicas, horizon), world=each, scheduler=name)
        for each in ("stationary", "asymmetric")
        for name in names
    ]
    save("episodes", rows, f"{replicas} replicas, T = {horizon:,}.")


@app.command()
def fast(replicas: Replicas = 64, horizon: Horizon = 1_000_000) -> None:
    """SoftMW-fast against SoftMW and discounted UCB on every feasible scenario, by replica."""
    rows = []
    for each in track(FEASIBLE, "fast"):
        runs = {
            name: simulate(each, name, replicas, horizon)
            for name in ("softmw", "softmw_fast", "discounted_ucb", "uniform", "oracle")
        }
        found = {name: run.metrics.backlog_mean for name, run in runs.items()}
        ratio, half = runs["softmw"].interval(found["softmw_fast"] / found["softmw"])
        same = (found["softmw_fast"] == found["discounted_ucb"]).mean()
        rows.append(
            {
                "scenario": each,
                **{name: float(values.mean()) for name, values in found.items()},
                "fast / softmw": ratio,
                "±": half,
                "equal to discounted_ucb": f"{100 * same:.0f} %",
            }
        )
    save("fast", rows, f"Time-average backlogs, {replicas} replicas, T = {horizon:,}.")


@app.command()
def adversarial(replicas: Replicas = 64, horizon: Horizon = 1_000_000) -> None:
    """Every scheduler against the adversary, as declared."""
    runs = {
        name: simulate("adversarial", name, replicas, horizon)
        for name in track(SCHEDULERS, "adversarial")
    }
    rows = [spread(run, scheduler=name) for name, run in runs.items()]
    rows.sort(key=lambda each: each["median"])
    save("adversarial", rows, f"`adversarial`, {replicas} replicas, T = {horizon:,}.")
    draw_backlogs(runs)


@app.command()
def guarantee(replicas: Replicas = 64, horizon: Horizon = 1_000_000) -> None:
    """Where discounted UCB fails, whatever its constants, and SoftMW-fast does not.

    The adversary at load 0.5 with windows of 2,000 slots; discounted UCB with twelve pairs of
    constants, SoftMW-fast and the others as they are.
    """
    tuned = {
        f"discounted_ucb, gamma = {gamma}, c = {c}": {"gamma": gamma, "c": c}
        for gamma in (0.9, 0.98, 0.998, 0.9998)
        for c in (0.01, 0.1, 1.0)
    }
    others = ("softmw", "ssmw", "softmw_fast", "window_ucb", "thompson", "uniform")
    fields = {"load": 0.5, "period": 2_000}
    rows = [
        spread(simulate("adversarial", name, replicas, horizon, **fields), scheduler=name)
        for name in track(others, "guarantee")
    ]
    for label, constants in track(tuned.items(), "discounted UCB"):
        run = simulate(
            "adversarial", "discounted_ucb", replicas, horizon, constants=constants, **fields
        )
        rows.append(spread(run, scheduler=label))
    rows.sort(key=lambda each: each["median"])
    said = "`adversarial` at load 0.5, windows of 2,000 slots"
    save("guarantee", rows, f"{said}, {replicas} replicas, T = {horizon:,}.")


LEARNERS = ("softmw", "ssmw", "softmw_fast", "discounted_ucb", "window_ucb", "thompson")


@app.command()
def windows(replicas: Replicas = 16, horizon: Horizon = 400_000) -> None:
    """The adversary at other loads and with other windows: who is better, it or we, and where."""
    rows = [
        spread(
            simulate("adversarial", name, replicas, horizon, load=load, period=period),
            load=load,
            window=period,
            scheduler=name,
        )
        for name in track((*LEARNERS, "uniform", "oracle"), "windows")
        for load in (0.5, 0.7, 0.8)
        for period in (100, 500, 2_000)
    ]
    rows.sort(key=lambda each: (each["load"], each["window"]))
    save("windows", rows, f"`adversarial` elsewhere, {replicas} replicas, T = {horizon:,}.")


@app.command()
def flicker(replicas: Replicas = 16, horizon: Horizon = 200_000) -> None:
    """`asymmetric` with phases too short to follow, at loads that fixed probabilities carry."""
    rows = [
        row(
            simulate("asymmetric", name, replicas, horizon, load=load, period=period),
            load=load,
            period=period,
            scheduler=name,
        )
        for load in (0.45, 0.54)
        for period in track((20, 100, 500), f"flicker, load {load}")
        for name in (*LEARNERS, "uniform", "oracle")
    ]
    save("flicker", rows, f"`asymmetric`, short phases, {replicas} replicas, T = {horizon:,}.")


@app.command()
def table(replicas: Replicas = 64, horizon: Horizon = 50_000) -> None:
    """All schedulers on all scenarios."""
    rows = [
        row(simulate(each, name, replicas, horizon), scenario=each, scheduler=name)
        for each in track(SCENARIO_NAMES, "table")
        for name in SCHEDULERS
    ]
    save("table", rows, f"Everything, {replicas} replicas, T = {horizon:,}.")


@app.command()
def region(replicas: Replicas = 16, horizon: Horizon = 200_000) -> None:
    """Stability region: time-average backlog over load and switching period."""
    all_loads, periods = (0.5, 0.6, 0.7, 0.8, 0.9), (500, 2_000, 10_000, 50_000)
    names = ("softmw", "ssmw", "softmw_fast", "discounted_ucb", "uniform")
    rows = [
        row(
            simulate("switching", name, replicas, horizon, load=load, period=period),
            scheduler=name,
            load=load,
            period=period,
        )
        for name in track(names, "region")
        for load in all_loads
        for period in periods
    ]
    found = save("region", rows, f"`switching`, {replicas} replicas, T = {horizon:,}.")
    draw_region(found)


@app.command()
def regret(replicas: Replicas = 64) -> None:
    """Exponent of EXP3.S+'s dynamic regret against a comparator that switches four times.

    Bernoulli arms of means 0.8 / 0.2 with the good arm changing 4 times, rewards times a size G_t
    that grows and shrinks (1 to 10); theory: exponent 1/2 in T for a fixed number of switches.
    """
    K, switches = 4, 4
    horizons = np.array([4_000, 8_000, 16_000, 32_000, 64_000, 128_000, 256_000])
    rng = np.random.default_rng(7)
    found = []
    for T in track(horizons, "regret"):
        bandit = EXP3SPlus(K, replicas, variation=2.0 * switches)
        total = np.zeros(replicas)
        for t in range(T):
            good = (t * (switches + 1) // T) % K
            size = 1.0 + 9.0 * np.sin(np.pi * t / T) ** 2
            p = bandit.probabilities(size)
            arms = (p.cumsum(axis=1) < rng.random(replicas)[:, None]).sum(axis=1).clip(max=K - 1)
            means = np.where(arms == good, 0.8, 0.2)
            bandit.update(arms, size * (rng.random(replicas) < means))
            total += size * (0.8 - (p * np.where(np.arange(K) == good, 0.8, 0.2)).sum(axis=1))
        found.append(total)
    late = np.log(horizons[3:])  # below, exploration is at its cap of one half and regret linear
    logs = np.log(np.array(found[3:]))  # (horizons, replicas)
    slopes = np.array([linregress(late, logs[:, r]).slope for r in range(replicas)])
    exponent, half = interval(slopes)
    table_rows = [
        {"T": int(T), "regret": interval(values)[0], "±": interval(values)[1]}
        for T, values in zip(horizons, found, strict=True)
    ]
    save(
        "regret",
        table_rows,
        f"Exponent {exponent:.3f} ± {half:.3f} for T >= 32,000, {replicas} replicas; theory 1/2.",
    )
    print(f"exponent {exponent:.3f} ± {half:.3f}")


@app.command("all")
def everything(replicas: Replicas = 64, horizon: Horizon = 1_000_000) -> None:
    """Every measurement."""
    headline(replicas, horizon)
    adversarial(replicas, horizon)
    guarantee(replicas, horizon)
    windows(min(replicas, 16), min(horizon, 400_000))
    flicker(min(replicas, 16), min(horizon, 200_000))
    fast(replicas, horizon)
    stationary(replicas, horizon)
    heavy_tails(replicas, horizon)
    loads(replicas, min(horizon, 200_000))
    region(min(replicas, 16), min(horizon, 200_000))
    regret(replicas)
    table(replicas, min(horizon, 50_000))


if __name__ == "__main__":
    app()
