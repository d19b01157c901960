"""Measurements of risk-sensitive distributional RL; each writes CSV and Markdown, and figures.

    python experiments/rs_disrl/measure.py regret path
    python experiments/rs_disrl/measure.py planners
    python experiments/rs_disrl/measure.py grid
    python experiments/rs_disrl/measure.py queue

`regret` compares all learners on one task, the optimistic ones at the theory's radius and at the
best of a few scales, chosen by the regret of seeds that the table does not use. Intervals are 95 %
Student-t.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich.console import Console
from scipy.stats import beta as beta_law
from scipy.stats import t as student_t

from tenfold.algorithms.rs_disrl.algorithm import next_plan
from tenfold.algorithms.rs_disrl.learners import (
    Counting,
    IteratedRisk,
    Oracle,
    RSDisRL,
    ShiftedReturns,
    Uniform,
)
from tenfold.algorithms.rs_disrl.planner import StaticPlanner
from tenfold.envs.risk.measures import CVaR, Distortion, Expectation
from tenfold.envs.risk.returns import GridMDP, project
from tenfold.envs.risk.static_benchmarks import make_static_task
from tenfold.envs.risk.static_measures import make_measure

RESULTS = Path(__file__).parent.parent / "results" / "rs_disrl"
DELTA, SHARE, POINTS = 0.05, 0.05, 60
SCALES = (1.0, 0.3, 0.1, 0.03)
TUNING_SEEDS = (1_000, 1_001)
EXAMPLES: dict[str, Mapping[str, Any]] = {
    "expectation": {},
    "cvar": {"alpha": 0.25},
    "spectral": {"alphas": (0.1, 0.5, 1.0), "weights": (0.2, 0.3, 0.5)},
    "exponential_spectrum": {"k": 3.0},
    "proportional_hazard": {"k": 2.5},
    "wang": {"shift": 0.7},
    "entropic": {"gamma": -1.5},
    "mean_cvar": {"alpha": 0.2, "weight": 0.5},
    "mean_semideviation": {"c": 0.8},
}

app = typer.Typer(help=__doc__, no_args_is_help=True, pretty_exceptions_enable=False)
Seeds = Annotated[int, typer.Option(help="Independent runs.")]


@dataclass(frozen=True)
class Setting:
    """A task as it is measured, under CVaR."""

    task: str
    alpha: float
    episodes: int
    fields: Mapping[str, Any] = field(default_factory=dict)


SETTINGS = {
    "path": Setting("static/BudgetedPath-v0", 0.25, 2_000, {"H": 4}),
    "betting": Setting("static/Betting-v0", 0.25, 1_000, {"H": 3, "capital": 2, "most": 5}),
    "lotteries": Setting("static/TwoLotteries-v0", 0.5, 2_000),
}

Maker = Callable[[GridMDP, CVaR, int, float], Counting]
WITH_BONUS: dict[str, Maker] = {
    "M-LSR": lambda m, rho, K, c: RSDisRL(m, rho, "model", "lsr", K, c, DELTA),
    "M-MLE": lambda m, rho, K, c: RSDisRL(m, rho, "model", "mle", K, c, DELTA),
    "V-LSR": lambda m, rho, K, c: RSDisRL(m, rho, "value", "lsr", K, c, DELTA),
    "V-MLE": lambda m, rho, K, c: RSDisRL(m, rho, "value", "mle", K, c, DELTA),
    "Keramati-style": lambda m, rho, K, c: ShiftedReturns(m, rho, c),
    "risk-neutral": lambda m, rho, K, c: RSDisRL(m, Expectation(), "model", "lsr", K, c, DELTA),
    "iterated CVaR": lambda m, rho, K, c: IteratedRisk(m, rho, c),
}
WITHOUT_BONUS: dict[str, Maker] = {
    "greedy": lambda m, rho, K, c: RSDisRL(m, rho, "model", "lsr", K, 0.0, DELTA),
    "uniform": lambda m, rho, K, c: Uniform(m, rho),
    "oracle": lambda m, rho, K, c: Oracle(m, rho),
}


def run(make: Maker, setting: Setting, scale: float, seed: int) -> tuple[np.ndarray, float]:
    """Cumulative regret (K,) of a run and the exact value of its last policy."""
    mdp, rho = make_static_task(setting.task, **setting.fields), CVaR(setting.alpha)
    K = setting.episodes
    optimum = StaticPlanner(mdp).solve(rho).value
    learner = make(mdp, rho, K, scale)
    gaps, due = np.empty(K), 0
    for k in range(K):
        if k >= due:
            policy = learner.plan(np.random.default_rng([seed, k, 0])).policy
            value, due = mdp.risk(rho, policy), next_plan(k, SHARE)
        gaps[k] = optimum - value
        learner.update(mdp.play(policy, np.random.default_rng([seed, k, 1])))
    return np.cumsum(gaps), value


def slope(regret: np.ndarray) -> float:
    """Log-log slope of a regret curve over the second half of the episodes; 0 without regret."""
    k = np.unique(np.geomspace(len(regret) // 2, len(regret), POINTS).astype(int))
    if regret[k[0] - 1] <= 1e-9:
        return 0.0
    return float(np.polyfit(np.log(k), np.log(regret[k - 1]), 1)[0])


def interval(values: np.ndarray) -> tuple[float, float]:
    """Mean and half width of its 95 % interval."""
    half = student_t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values))
    return float(np.mean(values)), float(half)


def best_scale(make: Maker, setting: Setting) -> float:
    """The scale of least regret on the tuning seeds."""
    totals = {c: sum(run(make, setting, c, s)[0][-1] for s in TUNING_SEEDS) for c in SCALES}
    return min(totals, key=lambda c: totals[c])


@app.command()
def regret(name: str, seeds: Seeds = 10) -> None:
    """Regret of all learners on one of the settings: path, betting, lotteries."""
    setting = SETTINGS[name]
    mdp = make_static_task(setting.task, **setting.fields)
    optimum = StaticPlanner(mdp).solve(CVaR(setting.alpha)).value
    plans: list[tuple[str, Maker, float | None]] = []
    for label, make in WITH_BONUS.items():
        plans += [(label, make, 1.0), (f"{label}, tuned", make, best_scale(make, setting))]
    plans += [(label, make, None) for label, make in WITHOUT_BONUS.items()]
    rows, curves = [], {}
    for label, make, scale in plans:
        runs = [run(make, setting, scale or 1.0, seed) for seed in range(seeds)]
        total, total_half = interval(np.array([r[-1] for r, _ in runs]))
        rate, rate_half = interval(np.array([slope(r) for r, _ in runs]))
        value, value_half = interval(np.array([v for _, v in runs]))
        rows.append(
            {
                "learner": label,
                "bonus scale": "-" if scale is None else f"{scale:g}",
                "regret": total,
                "regret ±": total_half,
                "slope": rate,
                "slope ±": rate_half,
                "final value": value,
                "value ±": value_half,
                "within 1 %": f"{sum(v >= 0.99 * optimum for _, v in runs)}/{seeds}",
            }
        )
        curves[label] = np.array([r for r, _ in runs])
        Console().print(f"{label}: {total:.1f}")
    about = (
        f"{setting.task}, {dict(setting.fields)}, CVaR {setting.alpha:g}, K = "
        f"{setting.episodes:,}, {seeds} seeds; optimum {optimum:.4f}. Slope: log-log, second half."
    )
    save(f"regret_{name}", rows, about)
    plot_curves(f"regret_{name}", curves, about)


def plot_curves(name: str, curves: Mapping[str, np.ndarray], about: str) -> None:
    """Mean regret with 95 % bands over seeds, on logarithmic axes."""
    figure = Figure(figsize=(9, 5.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for number, (label, regrets) in enumerate(curves.items()):
        k = np.unique(np.geomspace(1, regrets.shape[1], 120).astype(int))
        shown = regrets[:, k - 1]
        if shown.max() < 1e-9:
            continue
        style = "--" if label.endswith("tuned") else "-"
        (drawn,) = axes.plot(k, shown.mean(axis=0), style, label=label, color=f"C{number % 10}")
        half = student_t.ppf(0.975, len(shown) - 1) * shown.std(axis=0, ddof=1)
        half /= np.sqrt(len(shown))
        low = np.maximum(shown.mean(axis=0) - half, 1e-3)
        axes.fill_between(k, low, shown.mean(axis=0) + half, alpha=0.15, color=drawn.get_color())
    axes.set(xscale="log", yscale="log", xlabel="episode", ylabel="cumulative regret")
    axes.set_title(about, fontsize=8)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7, ncols=2)
    figure.savefig(RESULTS / f"{name}.png", dpi=130)


@app.command()
def planners() -> None:
    """Every measure on every task: what the planner finds, its bound, and Markov's best."""
    rows = []
    for task in ("static/BudgetedPath-v0", "static/Betting-v0", "static/Inventory-v0"):
        mdp = make_static_task(task)
        planner = StaticPlanner(mdp)
        for name, parameters in EXAMPLES.items():
            rho = make_measure(name, parameters)
            value = planner.solve(rho).value
            bound = planner.upper_bound(rho) if isinstance(rho, Distortion) else np.nan
            rows.append(
                {"task": task, "rho": name, "value": value, "bound": bound, "gap": bound - value}
            )
    save("planners", rows, "Planned values and upper bounds (spectral and distortion measures).")


@app.command()
def grid() -> None:
    """Bias of the categorical projection against the grid step, on a normal-like law."""
    rng = np.random.default_rng(0)
    values, law = np.sort(rng.beta(2, 5, 2_000)), np.full(2_000, 1 / 2_000)
    rows = []
    for step in (0.2, 0.1, 0.05, 0.02, 0.01):
        points = np.linspace(0.0, 1.0, round(1 / step) + 1)
        projected = project(values, law, points)
        row: dict[str, float] = {"step": step}
        for name, parameters in EXAMPLES.items():
            rho = make_measure(name, parameters)
            row[name] = float(rho(points, projected) - rho(values, law))
        rows.append(row)
    save("grid", rows, "Bias of rho after projection onto a grid, 2,000 draws of Beta(2, 5).")


@app.command()
def queue() -> None:
    """The queue scheduler under CVaR of the return against the risk-neutral one, exactly."""
    mdp = make_static_task("static/QueueBacklog-v0")
    rows = []
    for alpha in (1.0, 0.5, 0.25, 0.1, 0.05):
        law = mdp.law(StaticPlanner(mdp).solve(CVaR(alpha)).policy)
        worst = mdp.H - mdp.returns  # of the time-summed backlog, in units of 2 capacity
        order = np.argsort(worst)
        levels = np.cumsum(law[order])
        rows.append(
            {
                "alpha": alpha,
                "mean return": float(mdp.returns @ law),
                "CVaR 0.05": float(CVaR(0.05)(mdp.returns, law)),
                "mean total backlog": float(8 * worst @ law),
                "p99 total backlog": float(8 * worst[order][np.searchsorted(levels, 0.99)]),
            }
        )
    save("queue", rows, "static/QueueBacklog-v0, exact; backlog summed over the 10 steps.")


@app.command()
def coverage(runs: int = 400, episodes: int = 60) -> None:
    """How often every set holds the truth, and the planned value is at least the optimum."""
    setting = SETTINGS["path"]
    mdp, rho = make_static_task(setting.task, **setting.fields), CVaR(setting.alpha)
    optimum, rows = StaticPlanner(mdp).solve(rho).value, []
    for label in ("M-LSR", "M-MLE", "V-LSR", "V-MLE"):
        for scale in (1.0, 0.1):
            held = 0
            for seed in range(runs):
                learner = WITH_BONUS[label](mdp, rho, episodes, scale)
                for k in range(episodes):
                    policy = np.random.default_rng([seed, k, 0]).integers(
                        mdp.A, size=(mdp.H, mdp.S, mdp.Y)
                    )
                    learner.update(mdp.play(policy, np.random.default_rng([seed, k, 1])))
                held += learner.plan(np.random.default_rng(0)).value >= optimum - 1e-12
            low, high = beta_law.ppf(
                [0.025, 0.975], [held, held + 1], [runs - held + 1, runs - held]
            )
            rows.append(
                {
                    "learner": label,
                    "bonus scale": scale,
                    "optimistic": held / runs,
                    "low": 0.0 if np.isnan(low) else float(low),
                    "high": 1.0 if np.isnan(high) else float(high),
                }
            )
    save("coverage", rows, f"{runs} runs of {episodes} uniform episodes on {setting.task}, H = 4.")


def save(name: str, rows: Iterable[Mapping[str, Any]], about: str) -> None:
    """Write a table as CSV and Markdown, and print it."""
    table = pd.DataFrame(list(rows))
    RESULTS.mkdir(parents=True, exist_ok=True)
    table.to_csv(RESULTS / f"{name}.csv", index=False, float_format="%.6g")
    lines = [f"{about}\n", "| " + " | ".join(table) + " |", "|" + "---|" * len(table.columns)]
    for _, values in table.iterrows():
        cells = [f"{v:,.4g}" if isinstance(v, float) else str(v) for v in values]
        lines.append("| " + " | ".join(cells) + " |")
    (RESULTS / f"{name}.md").write_text("\n".join(lines) + "\n")
    Console(width=180).print(table.round(4).to_string(index=False))


if __name__ == "__main__":
    app()
