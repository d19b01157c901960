"""Measurements of iterated CVaR RL; each writes CSV and Markdown tables, and figures.

    python experiments/icvar/measure.py regret mixture
    python experiments/icvar/measure.py levels
    python experiments/icvar/measure.py queue

`regret` compares all learners on one task, each at its theoretical bonus and at the best of a few
scales, chosen by the regret of seeds that the table does not use. Intervals are 95 % Student-t.
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
from rich.progress import track
from scipy.stats import t as student_t

from tenfold.algorithms.icvar.baselines import EpsilonGreedy, Oracle, TabularUCB, Uniform
from tenfold.algorithms.icvar.general import FiniteClass, ICVaRG, LinearClass, mixtures
from tenfold.algorithms.icvar.learners import Learner
from tenfold.algorithms.icvar.linear import ICVaRL
from tenfold.algorithms.icvar.planner import IteratedCVaR
from tenfold.envs.risk.benchmarks import make_task
from tenfold.envs.risk.mdp import return_law
from tenfold.envs.risk.measures import CVaR
from tenfold.envs.risk.mixture import Mixture

RESULTS = Path(__file__).parent.parent / "results" / "icvar"
DELTA, CLASS_SIZE, POINTS = 0.05, 32, 60
SCALES = (0.3, 0.1, 0.03, 0.01, 0.003)
TUNING_SEEDS = (1_000, 1_001)

app = typer.Typer(help=__doc__, no_args_is_help=True, pretty_exceptions_enable=False)
Seeds = Annotated[int, typer.Option(help="Independent runs.")]


@dataclass(frozen=True)
class Setting:
    """A task as it is measured."""

    task: str
    alpha: float
    episodes: int
    fields: Mapping[str, Any] = field(default_factory=dict)

    def build(self) -> Mixture:
        return make_task(self.task, self.alpha, **self.fields)


SETTINGS = {
    "mixture": Setting("icvar/RandomMixture-v0", 0.25, 6_000, {"instance": 3}),
    "shortcut": Setting("icvar/RiskyShortcut-v0", 0.25, 4_000),
    "lake": Setting("icvar/FrozenLake-v0", 0.25, 2_000, {"H": 8}),
    "lower_bound": Setting("icvar/LowerBound-v0", 0.5, 3_000),
}

Maker = Callable[[Mixture, float, int, float], Learner]
WITH_BONUS: dict[str, Maker] = {
    "ICVaR-L": lambda task, alpha, K, scale: ICVaRL(task, alpha, K, scale, DELTA),
    "ICVaR-G linear": lambda task, alpha, K, scale: ICVaRG(
        task, LinearClass(task, alpha, K, DELTA, scale)
    ),
    "ICVaR-G finite": lambda task, alpha, K, scale: ICVaRG(
        task, FiniteClass(mixtures(task, CLASS_SIZE, 0), task.mdp.H, alpha, DELTA, scale)
    ),
    "tabular bonus (ICVaR-RM)": lambda task, alpha, K, scale: TabularUCB(
        task.mdp, alpha, K, scale, DELTA
    ),
    "risk-neutral (UCRL-VTR)": lambda task, alpha, K, scale: ICVaRL(task, 1.0, K, scale, DELTA),
}
WITHOUT_BONUS: dict[str, Maker] = {
    "epsilon-greedy 0.05": lambda task, alpha, K, scale: EpsilonGreedy(task, alpha, 0.05),
    "uniform": lambda task, alpha, K, scale: Uniform(task.mdp),
    "oracle": lambda task, alpha, K, scale: Oracle(task.mdp, alpha),
}


@dataclass(frozen=True)
class Run:
    """Cumulative regret (K,) of a run, and the exact value of its last policy."""

    regret: np.ndarray
    value: float


def run(make: Maker, setting: Setting, scale: float, seed: int) -> Run:
    """Play a setting's episodes."""
    task, K = setting.build(), setting.episodes
    planner = IteratedCVaR(task.mdp, setting.alpha)
    optimum = planner.optimal().values[0]
    learner = make(task, setting.alpha, K, scale)
    gaps, known = np.empty(K), {}
    for k in range(K):
        policy = learner.plan(np.random.default_rng([seed, k, 0])).policy
        episode = task.mdp.play(policy, np.random.default_rng([seed, k, 1]))
        key = policy.tobytes()
        if key not in known:
            known[key] = planner.evaluate(policy)[0]
        first = episode.states[0]
        gaps[k] = optimum[first] - known[key][first]
        learner.update(episode)
    return Run(np.cumsum(gaps), float(task.mdp.initial @ known[key]))


def slope(regret: np.ndarray) -> float:
    """Log-log slope of a regret curve over the second half of the episodes; 0 without regret."""
    k = np.unique(np.geomspace(len(regret) // 2, len(regret), POINTS).astype(int))
    if regret[k[0] - 1] <= 0.0:
        return 0.0 if regret[-1] <= 0.0 else np.nan
    return float(np.polyfit(np.log(k), np.log(regret[k - 1]), 1)[0])


def interval(values: np.ndarray) -> tuple[float, float]:
    """Mean and half width of its 95 % interval."""
    half = student_t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values))
    return float(np.mean(values)), float(half)


def best_scale(make: Maker, setting: Setting) -> float:
    """The scale of least regret on the tuning seeds."""
    totals = {
        scale: sum(run(make, setting, scale, seed).regret[-1] for seed in TUNING_SEEDS)
        for scale in SCALES
    }
    return min(totals, key=lambda scale: totals[scale])


def line(name: str, scale: float | None, runs: list[Run], optimum: float) -> dict[str, Any]:
    """One row of a regret table."""
    regret, regret_half = interval(np.array([r.regret[-1] for r in runs]))
    rate, rate_half = interval(np.array([slope(r.regret) for r in runs]))
    value, value_half = interval(np.array([r.value for r in runs]))
    within = sum(r.value >= 0.99 * optimum for r in runs)
    return {
        "learner": name,
        "bonus scale": "-" if scale is None else f"{scale:g}",
        "regret": regret,
        "regret ±": regret_half,
        "slope": rate,
        "slope ±": rate_half,
        "final value": value,
        "value ±": value_half,
        "within 1 %": f"{within}/{len(runs)}",
    }


@app.command()
def regret(name: str, seeds: Seeds = 10) -> None:
    """Regret of all learners on one of the settings: mixture, shortcut, lake, lower_bound."""
    setting = SETTINGS[name]
    task = setting.build()
    optimum = float(task.mdp.initial @ IteratedCVaR(task.mdp, setting.alpha).optimal().values[0])
    plans: list[tuple[str, Maker, float | None]] = []
    for label, make in track(WITH_BONUS.items(), description="tuning"):
        plans += [(label, make, 1.0), (f"{label}, tuned", make, best_scale(make, setting))]
    plans += [(label, make, None) for label, make in WITHOUT_BONUS.items()]
    rows, curves = [], {}
    for label, make, scale in track(plans, description=name):
        runs = [run(make, setting, scale or 1.0, seed) for seed in range(seeds)]
        rows.append(line(label, scale, runs, optimum))
        curves[label] = np.array([r.regret for r in runs])
    about = (
        f"{setting.task}, alpha = {setting.alpha:g}, K = {setting.episodes:,}, {seeds} seeds; "
        f"optimal value {optimum:.4f}. Slope: log-log, second half."
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
        if not shown.any():
            continue
        style = "--" if label.endswith("tuned") else "-"
        (drawn,) = axes.plot(k, shown.mean(axis=0), style, label=label, color=f"C{number % 10}")
        half = student_t.ppf(0.975, len(shown) - 1) * shown.std(axis=0, ddof=1)
        half /= np.sqrt(len(shown))
        low = np.maximum(shown.mean(axis=0) - half, 1e-3)
        axes.fill_between(k, low, shown.mean(axis=0) + half, alpha=0.15, color=drawn.get_color())
    axes.set(xscale="log", yscale="log", xlabel="episode", ylabel="cumulative regret")
    axes.set_title(about, fontsize=9)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7, ncols=2)
    figure.savefig(RESULTS / f"{name}.png", dpi=130)


@app.command()
def levels(seeds: Seeds = 10, episodes: int = 3_000) -> None:
    """Regret on the lower-bound instance as alpha falls: its end is seen with alpha^(H - 2)."""
    rows = []
    alphas = (1.0, 0.7, 0.5, 0.35, 0.25)
    chosen = {name: WITH_BONUS[name] for name in ("ICVaR-L", "tabular bonus (ICVaR-RM)")}
    for label, make in chosen.items():
        middle = Setting("icvar/LowerBound-v0", 0.5, episodes)
        scale = best_scale(make, middle)
        for alpha in track(alphas, description=label):
            setting = Setting("icvar/LowerBound-v0", alpha, episodes)
            runs = [run(make, setting, scale, seed) for seed in range(seeds)]
            mean, half = interval(np.array([r.regret[-1] for r in runs]))
            rows.append(
                {
                    "learner": f"{label}, scale {scale:g}",
                    "alpha": alpha,
                    "alpha^-(H-2)": alpha**-2,
                    "regret": mean,
                    "regret ±": half,
                    "of uniform's, %": 100 * mean / (0.3 * (1 - 1 / 3) * episodes),
                }
            )
    about = (
        f"icvar/LowerBound-v0 with H = 4, K = {episodes:,}, {seeds} seeds; the scale is the best "
        "one at alpha = 0.5. A uniform choice has regret 0.2 an episode at every alpha."
    )
    table = save("levels", rows, about)
    figure = Figure(figsize=(6, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for label, part in table.groupby("learner"):
        x, y, half = (part[key] for key in ("alpha^-(H-2)", "regret", "regret ±"))
        axes.errorbar(x, y, half, marker="o", label=label)
    axes.axhline(0.2 * episodes, color="grey", linestyle=":", label="uniform")
    axes.set(xscale="log", yscale="log", xlabel="alpha^-(H-2)", ylabel=f"regret after {episodes:,}")
    axes.legend(fontsize=8)
    figure.savefig(RESULTS / "levels.png", dpi=130)


@app.command()
def queue() -> None:
    """Backlog of the exact iterated-CVaR policies on the queue task, by forward recursion."""
    rows = []
    for alpha in (1.0, 0.75, 0.5, 0.25, 0.1):
        task = make_task("icvar/QueueBacklog-v0", alpha)
        mdp = task.mdp
        policy = IteratedCVaR(mdp, alpha).optimal().policy
        law, total = mdp.initial, np.zeros(mdp.S)
        for h in range(mdp.H):
            law = law @ mdp.transitions[h, np.arange(mdp.S), policy[h]]
            total += law / mdp.H
        backlog = np.add(*np.divmod(np.arange(mdp.S), 5))
        shares = np.bincount(backlog, weights=total)
        returns, mass = return_law(mdp, policy)
        rows.append(
            {
                "alpha": alpha,
                "mean backlog": float(shares @ np.arange(len(shares))),
                "p95": int(np.searchsorted(np.cumsum(shares), 0.95)),
                "p99": int(np.searchsorted(np.cumsum(shares), 0.99)),
                "P(backlog >= 7), %": float(100 * shares[7:].sum()),
                "mean return": float(returns @ mass),
                "CVaR 0.05 of the return": float(CVaR(0.05)(returns, mass)),
                "iterated CVaR": float(mdp.initial @ IteratedCVaR(mdp, alpha).evaluate(policy)[0]),
            }
        )
    save("queue", rows, "icvar/QueueBacklog-v0, exact; backlog after each of the 10 steps.")


def save(name: str, rows: Iterable[Mapping[str, Any]], about: str) -> pd.DataFrame:
    """Write a table as CSV and Markdown, and print it."""
    table = pd.DataFrame(list(rows))
    RESULTS.mkdir(parents=True, exist_ok=True)
    table.to_csv(RESULTS / f"{name}.csv", index=False, float_format="%.6g")
    lines = [f"{about}\n", "| " + " | ".join(table) + " |", "|" + "---|" * len(table.columns)]
    for _, values in table.iterrows():
        cells = [f"{v:,.4g}" if isinstance(v, float) else str(v) for v in values]
        lines.append("| " + " | ".join(cells) + " |")
    (RESULTS / f"{name}.md").write_text("\n".join(lines) + "\n")
    Console(width=180).print(table.round(3).to_string(index=False))
    return table


if __name__ == "__main__":
    app()
