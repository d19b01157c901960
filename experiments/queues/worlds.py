"""Instances that nobody chose: a random family of non-stationary scenarios, drawn by seed.

    python experiments/queues/worlds.py tune      # 50 instances, the constants of each rule
    python experiments/queues/worlds.py judge     # up to 250 others, every scheduler
    python experiments/queues/worlds.py report    # shares of instances won, with intervals

An instance is independent of every other: its kind, number of queues, time scale, rates and load
are drawn from its seed before any scheduler ran, and its arrivals and services come from streams of
the same seed. All schedulers meet the same ones, but for what the adversary does. `judge` goes on
where it was stopped; its result is one line an instance.
"""

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer
from reporting import RESULTS, interval, late_growth, median_interval, save, simulate
from rich.progress import track
from scipy.stats import binomtest

from tenfold.algorithms.softmw.schedulers import SCHEDULERS
from tenfold.envs.queues.capacity import capacity, find_phases
from tenfold.envs.queues.processes import (
    Adversarial,
    Bernoulli,
    Modulator,
    OnOff,
    Periodic,
    Piecewise,
    Poisson,
    Queue,
    Walk,
)
from tenfold.envs.queues.scenario import Scenario

KINDS = ("piecewise", "periodic", "on_off", "walk", "adversarial")
TUNING, EVALUATED = range(1_000, 1_050), range(250)
# What is tuned of each rule, three or four values alike; the rest has no constant that matters.
GRIDS: dict[str, tuple[str, tuple[float, ...]]] = {
    "softmw": ("c_eta", (0.3, 1.0, 3.0, 10.0)),
    "ssmw": ("W", (200, 2_000, 20_000)),
    "softmw_fast": ("B", (30.0, 300.0, 3_000.0)),
    "discounted_ucb": ("gamma", (0.98, 0.998, 0.9998)),
    "window_ucb": ("W", (50, 500, 5_000)),
    "thompson": ("gamma", (0.98, 0.998, 0.9998)),
    "epsilon_greedy": ("epsilon", (0.01, 0.05, 0.2)),
    "exp3s": ("e", (1e-5, 1e-4, 1e-3)),
}

app = typer.Typer(help=__doc__, no_args_is_help=True, pretty_exceptions_enable=False)
Replicas = Annotated[
    int, typer.Option(help="Replicas of each instance; an instance's value is their mean.")
]
Horizon = Annotated[int, typer.Option(help="Slots T.")]


@cache
def draw_instance(seed: int) -> Scenario:
    """The instance of a seed: kind by turns, all else at random.

    2 to 8 queues with mean services of 0.2 to 0.95, arrivals in proportions of a flat Dirichlet
    distribution, load of 0.3 to 0.95, and a time scale of 50 to 20,000 slots (log-uniform).
    """
    rng = np.random.default_rng(seed)
    kind = KINDS[seed % len(KINDS)]
    K = int(rng.integers(2, 9))
    scale = int(np.exp(rng.uniform(np.log(50), np.log(20_000))))
    low = float(rng.uniform(0, 0.5))
    shares = rng.dirichlet(np.ones(K))
    means = rng.uniform(0.2, 0.95, K)
    queues = [
        Queue(
            arrivals=Poisson(rate=float(share)),
            service=Bernoulli(rate=[float(mean), *_modulated(kind, scale, low, rng)]),
        )
        for share, mean in zip(shares, means, strict=True)
    ]
    factor = float(rng.uniform(0.3, 0.95)) * capacity(find_phases(queues, 10**6)).value
    scaled = [Queue(arrivals=q.arrivals.scaled(factor), service=q.service) for q in queues]
    return Scenario(name=f"{kind}-{seed}", queues=tuple(scaled))


def _modulated(
    kind: str, scale: int, low: float, rng: np.random.Generator
) -> list[float | Modulator]:
    """Factors of a queue's service, each at most 1 together."""
    if kind == "piecewise":
        values = tuple(float(v) for v in rng.uniform(0, 1, int(rng.integers(2, 5))))
        return [Piecewise(values=values, every=scale)]
    if kind == "periodic":
        amplitude, phase = float(rng.uniform(0.3, 1)), float(rng.uniform(0, 1))
        return [1 / (1 + amplitude), Periodic(period=scale, amplitude=amplitude, phase=phase)]
    if kind == "on_off":
        return [OnOff(on=1.0, off=low, mean_on=scale, mean_off=scale * float(rng.uniform(0.5, 2)))]
    if kind == "walk":
        return [Walk(low=0.1, high=1.0, step=0.1, every=max(1, scale // 10))]
    return [Adversarial(window=scale, low=low)]


def measured(
    seed: int, scheduler: str, constants: Mapping[str, Any], horizon: int
) -> tuple[float, bool]:
    """Time-average backlog of a scheduler on an instance, and whether it grows linearly there."""
    run = simulate(draw_instance(seed), scheduler, 1, horizon, seed, constants=dict(constants))
    backlog = float(run.metrics.backlog_mean.mean())
    return backlog, bool(late_growth(run.metrics).mean() > backlog)


@app.command()
def tune(horizon: Horizon = 200_000) -> None:
    """Choose each rule's constant on instances of their own: least mean log backlog."""
    rows = []
    for name, (constant, values) in GRIDS.items():
        for value in values:
            found = [
                measured(seed, name, {constant: value}, horizon)
                for seed in track(TUNING, f"{name}, {constant} = {value}")
            ]
            logs = np.log([backlog for backlog, _ in found])
            mean, half = interval(logs)
            grows = f"{100 * np.mean([grown for _, grown in found]):.0f} %"
            rows.append(
                {
                    "scheduler": name,
                    "constant": constant,
                    "value": value,
                    "mean log backlog": mean,
                    "±": half,
                    "grows": grows,
                }
            )
    save("worlds_tuning", rows, f"{len(TUNING)} instances, T = {horizon:,}.")


def chosen_constants() -> dict[str, dict[str, float]]:
    """The best of the tuning of each rule, as `tune` left it."""
    table = pd.read_csv(RESULTS / "worlds_tuning.csv")
    best = table.loc[table.groupby("scheduler")["mean log backlog"].idxmin()]
    return {
        each.scheduler: {each.constant: int(each.value) if each.constant == "W" else each.value}
        for each in best.itertuples()
    }


@app.command()
def judge(
    horizon: Horizon = 200_000,
    most: Annotated[int, typer.Option(help="Instances to add at most.")] = len(EVALUATED),
) -> None:
    """Every scheduler on every instance; goes on after those that are on disk."""
    path = RESULTS / "worlds.csv"
    done = len(pd.read_csv(path)) if path.exists() else 0
    constants = chosen_constants()
    for seed in track(EVALUATED[done : done + most], "instances"):
        found = {
            name: measured(seed, name, constants.get(name, {}), horizon) for name in SCHEDULERS
        }
        declared = draw_instance(seed)
        line = {
            "world": seed,
            "kind": KINDS[seed % len(KINDS)],
            "K": declared.K,
            **{name: f"{backlog:.4g}" for name, (backlog, _) in found.items()},
            "grows": " ".join(name for name, (_, grown) in found.items() if grown),
        }
        pd.DataFrame([line]).to_csv(path, mode="a", header=not path.exists(), index=False)


@app.command()
def report() -> None:
    """Shares of instances in which each rule is the best, near the best and level."""
    table = pd.read_csv(RESULTS / "worlds.csv", keep_default_na=False)
    rows = [line for kind in ("all", *sorted(set(table["kind"]))) for line in shares(table, kind)]
    about = f"{len(table)} instances drawn by seed; best: of all rules that do not know the rates."
    save("worlds_won", rows, about)


def shares(table: pd.DataFrame, kind: str) -> list[dict[str, Any]]:
    """The lines of one kind of instance; shares with Wilson's 95 % intervals, in percent."""
    part = table if kind == "all" else table[table["kind"] == kind]
    learners = [name for name, kind in SCHEDULERS.items() if not kind.knows_rates]
    backlogs = part[list(SCHEDULERS)].astype(float)
    best = backlogs[learners].min(axis=1)
    lines = []
    for name in SCHEDULERS:
        ratio = (backlogs[name] / best).to_numpy()
        level = ~part["grows"].str.split().apply(lambda grown, name=name: name in grown).to_numpy()
        middle, low, high = median_interval(ratio)
        lines.append(
            {
                "worlds": kind,
                "n": len(part),
                "scheduler": name,
                **_share("best", ratio <= 1),
                **_share("within twice the best", ratio <= 2),
                **_share("level", level),
                "median ratio to the best": middle,
                "low": low,
                "high": high,
                "95th percentile of it": float(np.quantile(ratio, 0.95)),
            }
        )
    return sorted(lines, key=lambda line: line["median ratio to the best"])


def _share(title: str, true: np.ndarray) -> dict[str, str]:
    found = binomtest(int(true.sum()), len(true))
    low, high = found.proportion_ci(method="wilson")
    return {title: f"{100 * found.statistic:.0f} % [{100 * low:.0f}, {100 * high:.0f}]"}


if __name__ == "__main__":
    app()
