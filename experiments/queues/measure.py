"""Measurements of queue scheduling; each writes a CSV and a Markdown table, and prints the table.

    python experiments/queues/measure.py headline
    python experiments/queues/measure.py all --replicas 64 --horizon 1000000

All schedulers of a measurement meet the same arrivals and services (common random numbers). Numbers
are means over replicas with 95 % Student-t intervals. A record is one world however many replicas
replay it, and has no interval.
"""

import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import track
from scipy.stats import linregress
from scipy.stats import t as student_t

from tenfold.algorithms.softmw.exp3splus import EXP3SPlus
from tenfold.algorithms.softmw.schedulers import SCHEDULERS, make_scheduler
from tenfold.envs.queues.metrics import Metrics, running_mean_slopes
from tenfold.envs.queues.names import SCENARIO_NAMES
from tenfold.envs.queues.scenario import Scenario, declare
from tenfold.envs.queues.scenarios import scenario
from tenfold.envs.queues.simulator import Simulator

RESULTS = Path(__file__).parent.parent / "results" / "queues"
FEASIBLE = [name for name in SCENARIO_NAMES if name not in ("asymmetric", "infeasible")]

app = typer.Typer(help=__doc__, no_args_is_help=True, pretty_exceptions_enable=False)
Replicas = Annotated[int, typer.Option(help="Replicas of each world.")]
Horizon = Annotated[int, typer.Option(help="Slots T.")]


@dataclass(frozen=True)
class Run:
    """A scheduler on a scenario: what was measured, the seconds that it took, whether the replicas
    are different worlds."""

    metrics: Metrics
    seconds: float
    random: bool

    def interval(self, values: np.ndarray) -> tuple[float, float]:
        """Mean over the replicas and half width of its 95 % interval, NaN without one."""
        return interval(values) if self.random else (float(values.mean()), math.nan)


def simulate(
    world: str | Scenario, scheduler: str, replicas: int, horizon: int, **fields: Any
) -> Run:
    """Run a scheduler on a scenario."""
    constants = fields.pop("constants", {})
    spec = scenario(world, **fields) if isinstance(world, str) else world
    simulator = Simulator(spec, replicas, seed=1)
    chosen = make_scheduler(scheduler, spec, replicas, **constants)
    start = time.perf_counter()
    simulator.run(chosen, horizon)
    return Run(simulator.metrics(), time.perf_counter() - start, spec.random)


def interval(values: np.ndarray) -> tuple[float, float]:
    """Mean and half width of its 95 % interval, NaN for fewer than two values."""
    n = len(values)
    if n < 2:
        return float(values.mean()), math.nan
    half = student_t.ppf(0.975, n - 1) * values.std(ddof=1) / np.sqrt(n)
    return float(values.mean()), float(half)


def row(run: Run, **labels: Any) -> dict[str, Any]:
    """One line of a table; slopes are times T, so in work units over the whole run.

    The running mean's slope is positive for every stable queue that starts empty (the start fades
    as 1 / T), the oracle's included. So it stands there twice, from the first slot and with the
    first quarter of the slots left out as warm-up, beside the growth of the backlog itself over
    the last half; `trend` says what is sure of that.
    """
    metrics, T = run.metrics, run.metrics.slots
    backlog, half = run.interval(metrics.backlog_mean)
    delay, delay_half = run.interval(metrics.delay_p99)
    slope, slope_half = run.interval(running_mean_slopes(metrics) * T)
    settled, settled_half = run.interval(running_mean_slopes(metrics, warmup=T // 4) * T)
    late, late_half = run.interval(late_growth(metrics))
    return {
        **labels,
        "backlog": backlog,
        "backlog ±": half,
        "final": float(metrics.backlog_final.mean()),
        "mean's slope x T": slope,
        "low": slope - slope_half,
        "high": slope + slope_half,
        "after warm-up": settled,
        "its low": settled - settled_half,
        "its high": settled + settled_half,
        "late growth": late,
        "late ±": late_half,
        "trend": trend(backlog, late - (late_half if run.random else 0.0)),
        "p99 delay": delay,
        "p99 ±": delay_half,
        "seconds": run.seconds,
    }


def trend(backlog: float, least_growth: float) -> str:
    """`grows` (linear growth is twice the mean), `rises` by a quarter of the mean, or `level`."""
    if least_growth > backlog:
        return "grows"
    return "rises" if least_growth > 0.25 * backlog else "level"


def late_growth(metrics: Metrics) -> np.ndarray:
    """Slope of the backlog over the last half of the slots, times T, for each replica."""
    late = metrics.curve_slots > metrics.slots / 2
    x = metrics.curve_slots[late] - metrics.curve_slots[late].mean()
    growth: np.ndarray = metrics.curve[:, late] @ x / (x @ x) * metrics.slots
    return growth


def save(name: str, rows: Iterable[Mapping[str, Any]], about: str) -> pd.DataFrame:
    """Write a table as CSV and Markdown, and print it."""
    table = pd.DataFrame(list(rows))
    RESULTS.mkdir(parents=True, exist_ok=True)
    table.to_csv(RESULTS / f"{name}.csv", index=False, float_format="%.6g")
    columns = [column for column in table if column != "seconds"]
    lines = [f"{about}\n", "| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    for _, values in table[columns].iterrows():
        cells = [_cell(value) for value in values]
        lines.append("| " + " | ".join(cells) + " |")
    (RESULTS / f"{name}.md").write_text("\n".join(lines) + "\n")
    with pd.option_context("display.width", 200, "display.max_columns", 30):
        Console(width=200).print(table.round(2).to_string(index=False))
    return table


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:,.4g}"
    return str(value)


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
    """Clipped at M = 1, at the growing threshold of the '+' versions, and not at all."""
    kinds = ("softmw", "softmw_plus", "softmw_unclipped", "ssmw", "ssmw_plus", "ssmw_unclipped")
    others = ("softmw_fast", "discounted_ucb", "uniform", "oracle")
    rows = [
        row(simulate(pareto(shape), name, replicas, horizon), shape=shape, scheduler=name)
        for shape in (2.5, 2.1)
        for name in track((*kinds, *others), f"heavy tails, shape {shape}")
    ]
    save("heavy_tails", rows, f"`heavy_tail`, {replicas} replicas, T = {horizon:,}.")


def pareto(shape: float) -> Scenario:
    """`heavy_tail` with another shape; the means, and so the load, stay."""
    world = scenario("heavy_tail").model_dump()
    for queue in world["queues"]:
        queue["arrivals"]["shape"] = queue["service"]["shape"] = shape
    return declare(world)


@app.command()
def loads(replicas: Replicas = 64, horizon: Horizon = 200_000) -> None:
    """Backlog against load, stationary."""
    rows = [
        row(simulate("stationary", name, replicas, horizon, load=load), load=load, scheduler=name)
        for load in track((0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98), "loads")
        for name in ("softmw", "ssmw", "softmw_fast", "uniform", "oracle")
    ]
    save("loads", rows, f"`stationary` at several loads, {replicas} replicas, T = {horizon:,}.")


@app.command()
def episodes(replicas: Replicas = 64, horizon: Horizon = 1_000) -> None:
    """Schedulers on the episodes that PPO learns from (learned.yaml), from empty queues."""
    names = ("softmw", "ssmw", "softmw_fast", "oracle", "uniform", "longest_queue")
    rows = [
        row(simulate(world, name, replicas, horizon), world=world, scheduler=name)
        for world in ("stationary", "asymmetric")
        for name in names
    ]
    save("episodes", rows, f"{replicas} replicas, T = {horizon:,}.")


@app.command()
def fast(replicas: Replicas = 64, horizon: Horizon = 1_000_000) -> None:
    """SoftMW-fast against SoftMW and discounted UCB on every feasible scenario, by replica."""
    rows = []
    for world in track(FEASIBLE, "fast"):
        runs = {
            name: simulate(world, name, replicas, horizon)
            for name in ("softmw", "softmw_fast", "discounted_ucb", "uniform", "oracle")
        }
        found = {name: run.metrics.backlog_mean for name, run in runs.items()}
        ratio, half = runs["softmw"].interval(found["softmw_fast"] / found["softmw"])
        same = (found["softmw_fast"] == found["discounted_ucb"]).mean()
        rows.append(
            {
                "scenario": world,
                **{name: float(values.mean()) for name, values in found.items()},
                "fast / softmw": ratio,
                "±": half,
                "equal to discounted_ucb": f"{100 * same:.0f} %",
            }
        )
    save("fast", rows, f"Time-average backlogs, {replicas} replicas, T = {horizon:,}.")


def spread(run: Run, **labels: Any) -> dict[str, Any]:
    """A line for replicas that lie far apart: median, quartiles and largest beside the mean."""
    backlog, growth = run.metrics.backlog_mean, late_growth(run.metrics)
    mean, half = run.interval(backlog)
    quarter, median, three_quarters = np.quantile(backlog, [0.25, 0.5, 0.75])
    grown, grown_half = run.interval(growth)
    return {
        **labels,
        "backlog": mean,
        "±": half,
        "median": float(median),
        "quartile": float(quarter),
        "upper quartile": float(three_quarters),
        "largest": float(backlog.max()),
        "late growth": grown,
        "late ±": grown_half,
        "trend": trend(mean, grown - grown_half),
        "replicas that grow": f"{100 * (growth > backlog).mean():.0f} %",
    }


@app.command()
def adversarial(replicas: Replicas = 64, horizon: Horizon = 1_000_000) -> None:
    """Every scheduler against the adversary, as declared."""
    rows = [
        spread(simulate("adversarial", name, replicas, horizon), scheduler=name)
        for name in track(SCHEDULERS, "adversarial")
    ]
    save("adversarial", rows, f"`adversarial`, {replicas} replicas, T = {horizon:,}.")


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
    """`asymmetric` with phases too short to follow, at loads that a fixed law carries (< 0.58)."""
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
        row(simulate(world, name, replicas, horizon), scenario=world, scheduler=name)
        for world in track(SCENARIO_NAMES, "table")
        for name in SCHEDULERS
    ]
    save("table", rows, f"Everything, {replicas} replicas, T = {horizon:,}.")


@app.command()
def region(replicas: Replicas = 16, horizon: Horizon = 200_000) -> None:
    """Stability region: time-average backlog over load and switching period."""
    all_loads, periods = (0.5, 0.6, 0.7, 0.8, 0.9), (500, 2_000, 10_000, 50_000)
    names = ("softmw", "ssmw", "softmw_fast", "uniform")
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


def draw_region(found: pd.DataFrame) -> None:
    """Heat maps of backlog over load and period, one a scheduler."""
    names = list(found["scheduler"].unique())
    all_loads, periods = sorted(found["load"].unique()), sorted(found["period"].unique())
    figure = Figure(figsize=(3.4 * len(names), 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    norm = LogNorm(found["backlog"].min(), found["backlog"].max())
    for place, name in enumerate(names):
        axes = figure.add_subplot(1, len(names), place + 1)
        part = found[found["scheduler"] == name]
        grid = part.pivot(index="period", columns="load", values="backlog")
        image = axes.imshow(grid.to_numpy(), norm=norm, cmap="viridis", origin="lower")
        grows = part.pivot(index="period", columns="load", values="trend").to_numpy() == "grows"
        for y, x in zip(*np.nonzero(grows), strict=True):
            axes.text(x, y, "×", ha="center", va="center", color="white")
        axes.set_xticks(range(len(all_loads)), [str(load) for load in all_loads])
        axes.set_yticks(range(len(periods)), [f"{period:,}" for period in periods])
        axes.set_title(name, fontsize=10)
        axes.set_xlabel("load")
    figure.axes[0].set_ylabel("slots between switches")
    figure.colorbar(image, ax=figure.axes, label="time-average backlog (×: still growing)")
    figure.savefig(RESULTS / "region.png", dpi=120)


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
            law = bandit.probabilities(size)
            arms = (law.cumsum(axis=1) < rng.random(replicas)[:, None]).sum(axis=1).clip(max=K - 1)
            means = np.where(arms == good, 0.8, 0.2)
            bandit.update(arms, size * (rng.random(replicas) < means))
            total += size * (0.8 - (law * np.where(np.arange(K) == good, 0.8, 0.2)).sum(axis=1))
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
