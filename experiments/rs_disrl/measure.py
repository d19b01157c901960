"""What is known exactly of static risk measures, and how often sets hold the truth.

    python -m experiments.rs_disrl.measure                     everything
    python -m experiments.rs_disrl.measure coverage queue      some of it

Each writes a table into experiments/results/rs_disrl. Regret is measured by `tenfold`, see the
experiments in this folder.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import binomtest

from tenfold.algorithms.rs_disrl.config import RSDisRLConfig
from tenfold.algorithms.rs_disrl.learners import RSDisRL
from tenfold.algorithms.rs_disrl.planner import WITH_UTILITY, StaticPlanner
from tenfold.envs.risk.brute_force import best_risk
from tenfold.envs.risk.measures import CVaR, Distortion, Entropic, Expectation, RiskMeasure
from tenfold.envs.risk.returns import GridMDP, project
from tenfold.envs.risk.static_benchmarks import grid_mdp, make_static_task
from tenfold.envs.risk.static_measures import make_measure, mean_cvar
from tenfold.platform.errors import unknown
from tenfold.platform.tables import save_table

RESULTS = Path(__file__).parent.parent / "results" / "rs_disrl"
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
DELTA = RSDisRLConfig().delta


def ascent() -> None:
    """Planned values of the other measures against all policies, on tiny MDPs."""
    tiny = {"BudgetedPath, H = 3": make_static_task("static/BudgetedPath-v0", H=3)}
    tiny |= {f"random {seed}": random_mdp(seed, 2, 2, 2, 4, 1.0, 0.25, False) for seed in range(12)}
    rows = []
    for task, mdp in tiny.items():
        for name, parameters in EXAMPLES.items():
            rho = make_measure(name, parameters)
            if isinstance(rho, WITH_UTILITY):
                continue
            best, value = best_risk(mdp, rho), StaticPlanner(mdp).solve(rho).value
            short = max(0.0, 100.0 * (best - value) / best)
            short = 0.0 if short < 1e-7 else short
            rows.append(
                {"world": task, "rho": name, "planned": value, "best": best, "short, %": short}
            )
    optimal = sum(row["short, %"] == 0.0 for row in rows)
    save_table(RESULTS / "ascent", rows, f"{optimal} of {len(rows)} policies are optimal.")


def gaps() -> None:
    """How far an ascent alone falls short of the optimum of mixtures of mean and CVaR."""
    rows = []
    for seed in range(120):
        planner = StaticPlanner(random_mdp(seed, 4, 3, 4, 8, 0.5, 0.1, True))
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


def random_mdp(
    seed: int,
    H: int,
    S: int,
    A: int,
    rewards: int,
    concentration: float,
    step: float,
    anywhere: bool,
) -> GridMDP:
    """Two outcomes of each (h, s, a) with Dirichlet probabilities and rewards of 0, 1, ... steps.

    They lead anywhere, or each to the state of its own number.
    """
    rng = np.random.default_rng(seed)

    def outcomes(h: int, s: int, a: int) -> list[tuple[int, int, float]]:
        p = rng.dirichlet(np.full(2, concentration))
        return [
            (int(rng.integers(S)) if anywhere else o, int(rng.integers(rewards)), float(p[o]))
            for o in range(2)
        ]

    return grid_mdp(H, S, A, outcomes, 0, step)


def planners() -> None:
    """Every measure on three tasks: what the planner finds, and its upper bound."""
    rows = []
    for task in ("static/BudgetedPath-v0", "static/Betting-v0", "static/Inventory-v0"):
        planner = StaticPlanner(make_static_task(task))
        for name, parameters in EXAMPLES.items():
            rho = make_measure(name, parameters)
            value = planner.solve(rho).value
            bound = planner.upper_bound(rho) if isinstance(rho, Distortion) else np.nan
            rows.append(
                {"task": task, "rho": name, "value": value, "bound": bound, "gap": bound - value}
            )
    about = "Planned values and upper bounds (spectral and distortion measures)."
    save_table(RESULTS / "planners", rows, about)


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
    about = "Bias of rho after projection onto a grid, 2,000 draws of Beta(2, 5)."
    save_table(RESULTS / "grid", rows, about)


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
    about = "static/QueueBacklog-v0, exact; backlog summed over the 10 steps."
    save_table(RESULTS / "queue", rows, about)


def coverage(runs: int = 200, episodes: int = 40) -> None:
    """How often every set holds the truth, and the planned value is at least the optimum."""
    mdp, rho = make_static_task("static/BudgetedPath-v0", H=4), CVaR(0.25)
    optimum, rows = StaticPlanner(mdp).solve(rho).value, []
    for family, estimator in ((f, e) for f in ("model", "value") for e in ("lsr", "mle")):
        for scale in (1.0, 0.1):
            held = 0
            for seed in range(runs):
                learner = RSDisRL(mdp, rho, family, estimator, episodes, scale, DELTA)
                for k in range(episodes):
                    policy = np.random.default_rng([seed, k, 0]).integers(
                        mdp.A, size=(mdp.H, mdp.S, mdp.Y)
                    )
                    learner.update(mdp.play(policy, np.random.default_rng([seed, k, 1])))
                held += learner.plan(np.random.default_rng(0)).value >= optimum - 1e-12
            between = binomtest(held, runs).proportion_ci()  # Clopper and Pearson's
            label = f"{'MV'[family == 'value']}-{estimator.upper()}"
            rows.append(
                {"learner": label, "bonus scale": scale, "optimistic": held / runs}
                | {"low": float(between.low), "high": float(between.high)}
            )
    about = f"{runs} runs of {episodes} uniform episodes on static/BudgetedPath-v0, H = 4."
    save_table(RESULTS / "coverage", rows, about)


MEASUREMENTS = {each.__name__: each for each in (ascent, gaps, planners, grid, queue, coverage)}

if __name__ == "__main__":
    for name in sys.argv[1:]:
        if name not in MEASUREMENTS:
            sys.exit(f"Error: {unknown('measurement', name, MEASUREMENTS)}")
    for name in sys.argv[1:] or MEASUREMENTS:
        MEASUREMENTS[name]()
