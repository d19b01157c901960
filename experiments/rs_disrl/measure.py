"""Measurements of risk-sensitive distributional RL; each writes CSV and Markdown, and figures.

    python -m experiments.rs_disrl.measure regret path
    python -m experiments.rs_disrl.measure coverage
    python -m experiments.rs_disrl.measure ascent
    python -m experiments.rs_disrl.measure planners
    python -m experiments.rs_disrl.measure grid
    python -m experiments.rs_disrl.measure queue

`regret` compares all learners on one task, the optimistic ones at the theory's radius and at the
best of a few scales, chosen by the regret of a seed that the table does not use. Intervals are 95 %
Student-t.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from scipy.stats import beta as beta_distribution

from experiments.regret_report import best_scale, interval, plot_curves, regret_row
from tenfold.algorithms.rs_disrl.algorithm import next_planning
from tenfold.algorithms.rs_disrl.learners import (
    Counting,
    IteratedRisk,
    LinearV,
    Oracle,
    RSDisRL,
    ShiftedReturns,
    Uniform,
)
from tenfold.algorithms.rs_disrl.planner import StaticPlanner
from tenfold.envs.risk.brute_force import best_risk
from tenfold.envs.risk.measures import CVaR, Distortion, Entropic, Expectation, RiskMeasure
from tenfold.envs.risk.returns import GridMDP, project
from tenfold.envs.risk.static_benchmarks import grid_mdp, make_static_task
from tenfold.envs.risk.static_measures import make_measure, mean_cvar
from tenfold.platform.tables import save_table

RESULTS = Path(__file__).parent.parent / "results" / "rs_disrl"
DELTA, KNOTS = 0.05, 5
SCALES = (1.0, 0.3, 0.1, 0.03)
TUNING_SEEDS = (1_000,)
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

CLIMBED = (
    "spectral",
    "exponential_spectrum",
    "proportional_hazard",
    "wang",
    "mean_cvar",
    "mean_semideviation",
)

app = typer.Typer(help=__doc__, no_args_is_help=True, pretty_exceptions_enable=False)
Seeds = Annotated[int, typer.Option(help="Independent runs.")]


@dataclass(frozen=True)
class Setting:
    """A task as it is measured.

    Attributes:
        task: Its name.
        rho: Name of the measure.
        parameters: Of the measure.
        episodes: K.
        fields: Of the task, where they differ from its defaults.
        without: Learners that take too long here.
        replan_share: Growth of the episodes after which a policy is planned anew.
    """

    task: str
    rho: str
    parameters: Mapping[str, Any]
    episodes: int
    fields: Mapping[str, Any] = field(default_factory=dict)
    without: tuple[str, ...] = ()
    replan_share: float = 0.2

    def build(self) -> tuple[GridMDP, RiskMeasure]:
        return make_static_task(self.task, **self.fields), make_measure(self.rho, self.parameters)


FAMILY_V = ("V-LSR", "V-MLE", "V-LSR linear")
SETTINGS = {
    "path": Setting("static/BudgetedPath-v0", "cvar", {"alpha": 0.25}, 2_000, {"H": 4}),
    "path_mixture": Setting(
        "static/BudgetedPath-v0",
        "mean_cvar",
        {"alpha": 0.25, "weight": 0.5},
        1_000,
        {"H": 4},
        ("M-MLE", "V-MLE", "V-LSR linear"),
    ),
    "betting": Setting(
        "static/Betting-v0",
        "cvar",
        {"alpha": 0.5},
        2_000,
        {"H": 3, "capital": 2, "most": 5, "win": 0.7},
    ),
    "lotteries": Setting("static/TwoLotteries-v0", "cvar", {"alpha": 0.5}, 2_000),
    "lotteries_entropic": Setting("static/TwoLotteries-v0", "entropic", {"gamma": -3.0}, 2_000),
    "inventory": Setting(
        "static/Inventory-v0",
        "cvar",
        {"alpha": 0.25},
        1_000,
        {"H": 4, "most": 5, "orders": 3},
        (*FAMILY_V, "M-MLE"),
    ),
    "queue": Setting(
        "static/QueueBacklog-v0",
        "cvar",
        {"alpha": 0.1},
        1_000,
        {"H": 6, "capacity": 3},
        (*FAMILY_V, "M-MLE"),
    ),
}

Maker = Callable[[GridMDP, RiskMeasure, int, float], Counting]
WITH_BONUS: dict[str, Maker] = {
    "M-LSR": lambda m, rho, K, c: RSDisRL(m, rho, "model", "lsr", K, c, DELTA),
    "M-MLE": lambda m, rho, K, c: RSDisRL(m, rho, "model", "mle", K, c, DELTA),
    "V-LSR": lambda m, rho, K, c: RSDisRL(m, rho, "value", "lsr", K, c, DELTA),
    "V-MLE": lambda m, rho, K, c: RSDisRL(m, rho, "value", "mle", K, c, DELTA),
    "V-LSR linear": lambda m, rho, K, c: LinearV(m, rho, KNOTS, K, c, DELTA),
    "Keramati-style": lambda m, rho, K, c: ShiftedReturns(m, rho, c),
    "risk-neutral": lambda m, rho, K, c: RSDisRL(m, Expectation(), "model", "lsr", K, c, DELTA),
    "iterated risk": lambda m, rho, K, c: IteratedRisk(m, rho, c),
}
WITHOUT_BONUS: dict[str, Maker] = {
    "greedy": lambda m, rho, K, c: RSDisRL(m, rho, "model", "lsr", K, 0.0, DELTA),
    "uniform": lambda m, rho, K, c: Uniform(m, rho),
    "oracle": lambda m, rho, K, c: Oracle(m, rho),
}


@dataclass(frozen=True)
class Run:
    """Cumulative regret (K,), the exact value of the last policy, and milliseconds of processor
    time that the learner took an episode."""

    regret: np.ndarray
    value: float
    milliseconds: float


def run(make: Maker, setting: Setting, scale: float, seed: int) -> Run:
    """Play a setting's episodes."""
    mdp, rho = setting.build()
    K = setting.episodes
    optimum = StaticPlanner(mdp).solve(rho).value
    learner = make(mdp, rho, K, scale)
    gaps, due, spent = np.empty(K), 0, 0.0
    for k in range(K):
        start = time.process_time()
        if k >= due:
            policy = learner.plan(np.random.default_rng([seed, k, 0])).policy
            spent += time.process_time() - start
            value, due = mdp.risk(rho, policy), next_planning(k, setting.replan_share)
        gaps[k] = optimum - value
        episode = mdp.play(policy, np.random.default_rng([seed, k, 1]))
        start = time.process_time()
        learner.update(episode)
        spent += time.process_time() - start
    return Run(np.cumsum(gaps), value, 1e3 * spent / K)


@app.command()
def regret(name: str, seeds: Seeds = 10) -> None:
    """Regret of all learners on one of the settings: path, betting, lotteries, inventory, ..."""
    if name not in SETTINGS:
        raise typer.BadParameter(f"No setting '{name}': choose one of {', '.join(SETTINGS)}.")
    setting = SETTINGS[name]
    mdp, rho = setting.build()
    optimum = StaticPlanner(mdp).solve(rho).value
    compared: list[tuple[str, Maker, float | None]] = []
    for label, make in WITH_BONUS.items():
        if label not in setting.without:
            tuned = best_scale(partial(run, make, setting), SCALES, TUNING_SEEDS)
            compared += [(label, make, 1.0), (f"{label}, tuned", make, tuned)]
    compared += [(label, make, None) for label, make in WITHOUT_BONUS.items()]
    rows, curves = [], {}
    for label, make, scale in compared:
        runs = [run(make, setting, scale or 1.0, seed) for seed in range(seeds)]
        curves[label] = np.array([r.regret for r in runs])
        values = np.array([r.value for r in runs])
        gap, half = interval(100.0 * (1.0 - values / optimum))
        row = regret_row(label, scale, curves[label], values, optimum)
        spent = float(np.mean([r.milliseconds for r in runs]))
        rows.append(row | {"gap, %": gap, "gap ±": half, "ms an episode": spent})
        Console().print(f"{label}: {row['regret']:.1f}")
    about = (
        f"{setting.task}, {dict(setting.fields)}, {rho}, K = {setting.episodes:,}, {seeds} seeds; "
        f"optimum {optimum:.4f}. Slope: log-log, second half."
    )
    save_table(RESULTS / f"regret_{name}", rows, about)
    plot_curves(RESULTS / f"regret_{name}.png", curves, about)


@app.command()
def ascent(worlds: int = 12) -> None:
    """Planned values of the measures that are climbed against all policies, on tiny MDPs."""
    tiny = {"BudgetedPath, H = 3": make_static_task("static/BudgetedPath-v0", H=3)}
    tiny |= {f"random {seed}": random_mdp(seed) for seed in range(worlds)}
    rows = []
    for task, mdp in tiny.items():
        for name in CLIMBED:
            rho = make_measure(name, EXAMPLES[name])
            best, value = best_risk(mdp, rho), StaticPlanner(mdp).solve(rho).value
            short = max(0.0, 100.0 * (best - value) / best)
            short = 0.0 if short < 1e-7 else short
            rows.append(
                {"world": task, "rho": name, "planned": value, "best": best, "short, %": short}
            )
    optimal = sum(row["short, %"] == 0.0 for row in rows)
    save_table(RESULTS / "ascent", rows, f"{optimal} of {len(rows)} policies are optimal.")


@app.command()
def gaps(worlds: int = 120) -> None:
    """How far an ascent alone falls short of the optimum of mixtures of mean and CVaR."""
    rows = []
    for seed in range(worlds):
        planner = StaticPlanner(middling_mdp(seed))
        for alpha, weight in ((0.05, 0.7), (0.1, 0.5), (0.2, 0.5)):
            rho = mean_cvar(alpha, weight)
            climbed = max(planner._climb(rho, g).value for g in planner._starts())
            best = planner.solve(rho).value
            short = max(0.0, 100.0 * (best - climbed) / best)
            rows.append({"world": seed, "alpha": alpha, "weight": weight, "short, %": short})
    short = np.array([row["short, %"] for row in rows])
    about = (
        f"{np.sum(short > 1e-7)} of {len(short)} ascents fall short, by up to {short.max():.2f} %; "
        f"mean {short.mean():.3f} %, 95th percentile {np.percentile(short, 95):.2f} %."
    )
    save_table(RESULTS / "gaps", rows, about)
    print(about)


def middling_mdp(seed: int) -> GridMDP:
    """Three states, four actions, four steps, two outcomes with rewards 0 to 7."""
    rng = np.random.default_rng(seed)

    def outcomes(h: int, s: int, a: int) -> list[tuple[int, int, float]]:
        p = rng.dirichlet(np.full(2, 0.5))
        return [(int(rng.integers(3)), int(rng.integers(8)), float(p[o])) for o in range(2)]

    return grid_mdp(4, 3, 4, outcomes, 0, 0.1)


def random_mdp(seed: int) -> GridMDP:
    """Two states, two actions, two steps, two outcomes with rewards 0 to 3."""
    rng = np.random.default_rng(seed)

    def outcomes(h: int, s: int, a: int) -> list[tuple[int, int, float]]:
        p = rng.dirichlet(np.ones(2))
        return [(o, int(rng.integers(4)), float(p[o])) for o in range(2)]

    return grid_mdp(2, 2, 2, outcomes, 0, 0.25)


@app.command()
def planners() -> None:
    """Every measure on three tasks: what the planner finds, and its upper bound."""
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
    save_table(
        RESULTS / "planners",
        rows,
        "Planned values and upper bounds (spectral and distortion measures).",
    )


@app.command()
def grid() -> None:
    """Bias of the categorical projection against the grid step, on a normal-like distribution."""
    rng = np.random.default_rng(0)
    values, mass = np.sort(rng.beta(2, 5, 2_000)), np.full(2_000, 1 / 2_000)
    rows = []
    for step in (0.2, 0.1, 0.05, 0.02, 0.01):
        points = np.linspace(0.0, 1.0, round(1 / step) + 1)
        projected = project(values, mass, points)
        row: dict[str, float] = {"step": step}
        for name, parameters in EXAMPLES.items():
            rho = make_measure(name, parameters)
            row[name] = float(rho(points, projected) - rho(values, mass))
        rows.append(row)
    save_table(
        RESULTS / "grid",
        rows,
        "Bias of rho after projection onto a grid, 2,000 draws of Beta(2, 5).",
    )


@app.command()
def queue() -> None:
    """The queue scheduler under CVaR and entropic risk of the return, exactly, beside the mean."""
    mdp = make_static_task("static/QueueBacklog-v0")
    measures: dict[str, RiskMeasure] = {"mean": Expectation()}
    measures |= {f"CVaR {alpha:g}": CVaR(alpha) for alpha in (0.5, 0.25, 0.1, 0.05)}
    measures |= {f"entropic {gamma:g}": Entropic(gamma) for gamma in (-0.5, -1.0, -2.0, -4.0)}
    rows = []
    for name, rho in measures.items():
        mass = mdp.return_distribution(StaticPlanner(mdp).solve(rho).policy)
        worst = mdp.H - mdp.returns  # of the time-summed backlog, in units of 2 capacity
        order = np.argsort(worst)
        levels = np.cumsum(mass[order])
        rows.append(
            {
                "rho": name,
                "mean return": float(mdp.returns @ mass),
                "CVaR 0.05": float(CVaR(0.05)(mdp.returns, mass)),
                "mean total backlog": float(8 * worst @ mass),
                "p99 total backlog": float(8 * worst[order][np.searchsorted(levels, 0.99)]),
            }
        )
    save_table(
        RESULTS / "queue", rows, "static/QueueBacklog-v0, exact; backlog summed over the 10 steps."
    )


@app.command()
def coverage(runs: int = 200, episodes: int = 40) -> None:
    """How often every set holds the truth, and the planned value is at least the optimum."""
    setting = SETTINGS["path"]
    mdp, rho = setting.build()
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
            low, high = beta_distribution.ppf(
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
    save_table(
        RESULTS / "coverage",
        rows,
        f"{runs} runs of {episodes} uniform episodes on {setting.task}, H = 4.",
    )


if __name__ == "__main__":
    app()
