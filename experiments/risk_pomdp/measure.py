"""Measurements of risk-sensitive learning with hindsight, as CSV and Markdown tables and figures.

    python -m experiments.risk_pomdp.measure regret treatment
    python -m experiments.risk_pomdp.measure levels
    python -m experiments.risk_pomdp.measure frontier
    python -m experiments.risk_pomdp.measure planners

`regret` compares all learners on one POMDP, those with a bonus at the theory's scale or at the best
of a few, chosen by the regret of seeds that the table does not use. Intervals are 95 % Student-t.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich.progress import track

from experiments.regret_report import best_scale, interval, plot_curves, regret_row
from tenfold.algorithms.risk_pomdp.algorithm import random_reactions
from tenfold.algorithms.risk_pomdp.baum_welch import BaumWelchLearner
from tenfold.algorithms.risk_pomdp.beta import evaluate, solve
from tenfold.algorithms.risk_pomdp.learner import HindsightLearner
from tenfold.algorithms.risk_pomdp.point_based import PointBasedPlanner
from tenfold.algorithms.rs_disrl.algorithm import next_planning
from tenfold.envs.risk.controller import Controller
from tenfold.envs.risk.measures import CVaR
from tenfold.envs.risk.pomdp import HistoryPolicy, TabularPOMDP
from tenfold.envs.risk.pomdp_benchmarks import make_pomdp
from tenfold.platform.tables import save_table

RESULTS = Path(__file__).parent.parent / "results" / "risk_pomdp"
NEUTRAL, DELTA = -1e-6, 0.05
SCALES = (0.3, 0.1, 0.03, 0.01)
TUNING_SEEDS = (10_000, 10_001)
GAMMAS = (-5.0, -1.0, -0.1, 0.1, 1.0, 5.0)
WORST = 0.1  # share of CVaR

app = typer.Typer(help=__doc__, no_args_is_help=True, pretty_exceptions_enable=False)
Seeds = Annotated[int, typer.Option(help="Independent runs.")]


@dataclass(frozen=True)
class Setting:
    """A POMDP as it is measured.

    Attributes:
        task: Its name.
        gamma: Risk parameter.
        episodes: K.
        long: K of the theory's scale, which learns slowly.
        fields: Of the task, where they differ from its defaults.
        replan_share: Growth of the episodes after which a policy is planned anew; 0 is every
            episode.
    """

    task: str
    gamma: float
    episodes: int = 500
    long: int = 3_000
    fields: Mapping[str, Any] = field(default_factory=lambda: {"H": 3})
    replan_share: float = 0.0

    def build(self) -> TabularPOMDP:
        return make_pomdp(f"pomdp/{self.task}-v0", **self.fields)


SETTINGS = {
    "tiger": Setting("Tiger", -1.0),
    "treatment": Setting("Treatment", -1.0, 1_000, 5_000),
    "lock": Setting("CombinationLock", -1.0),
    "random": Setting("Random", -1.0),
}


class Random:
    """A random policy an episode, learning nothing."""

    def __init__(self, pomdp: TabularPOMDP) -> None:
        self.pomdp = pomdp

    def policy(self, rng: np.random.Generator) -> Controller:
        return random_reactions(self.pomdp, rng)

    def update(self, episode: Any) -> None:
        pass


class Oracle(Random):
    """Knows the model."""

    def __init__(self, pomdp: TabularPOMDP, gamma: float) -> None:
        self.policy = solve(pomdp, gamma).policy

    def policy(self, rng: np.random.Generator) -> HistoryPolicy:
        return self.policy


class Planning(Random):
    """Plans from what it has learnt."""

    def __init__(self, learner: HindsightLearner) -> None:
        self.learner = learner

    def policy(self, rng: np.random.Generator) -> HistoryPolicy:
        return self.learner.plan().policy

    def update(self, episode: Any) -> None:
        self.learner.update(episode)


def hindsight(pomdp: TabularPOMDP, gamma: float, K: int, scale: float, seed: int) -> Planning:
    """The method."""
    return Planning(HindsightLearner(pomdp.rewards, pomdp.O, gamma, scale, DELTA, K))


def blind(pomdp: TabularPOMDP, gamma: float, K: int, scale: float, seed: int) -> Planning:
    """Without hindsight."""
    rng = np.random.default_rng([seed, 2])
    return Planning(BaumWelchLearner(pomdp.rewards, pomdp.O, gamma, scale, DELTA, K, rng))


Maker = Callable[[TabularPOMDP, float, int, float, int], Random]
WITH_BONUS: dict[str, Maker] = {
    "beta vectors": hindsight,
    "risk-neutral": lambda pomdp, gamma, K, scale, seed: hindsight(pomdp, NEUTRAL, K, scale, seed),
}
WITHOUT_BONUS: dict[str, Maker] = {
    "greedy": lambda pomdp, gamma, K, scale, seed: hindsight(pomdp, gamma, K, 0.0, seed),
    "no hindsight (Baum-Welch)": lambda pomdp, gamma, K, scale, seed: blind(
        pomdp, gamma, K, 0.0, seed
    ),
    "uniform": lambda pomdp, gamma, K, scale, seed: Random(pomdp),
    "oracle": lambda pomdp, gamma, K, scale, seed: Oracle(pomdp, gamma),
}


@dataclass(frozen=True)
class Run:
    """Cumulative regret (K,), the last policy and its exact value, and milliseconds of processor
    time that the learner took an episode."""

    regret: np.ndarray
    policy: HistoryPolicy | Controller
    value: float
    milliseconds: float


def run(make: Maker, setting: Setting, scale: float, seed: int) -> Run:
    """Play a setting's episodes."""
    pomdp, K, gamma = setting.build(), setting.episodes, setting.gamma
    optimum = solve(pomdp, gamma).value
    learner = make(pomdp, gamma, K, scale, seed)
    gaps, seconds, due, known = np.empty(K), 0.0, 0, {}
    for k in range(K):
        start = time.process_time()
        if k >= due:
            policy = learner.policy(np.random.default_rng([seed, k, 0]))
            seconds += time.process_time() - start
            due = next_planning(k, setting.replan_share)
            key = b"".join(actions.tobytes() for actions in policy)
            if key not in known:
                known[key] = evaluate(pomdp, gamma, policy)
        episode = pomdp.play(policy, np.random.default_rng([seed, k, 1]))
        gaps[k] = optimum - known[key]
        start = time.process_time()
        learner.update(episode)
        seconds += time.process_time() - start
    return Run(np.maximum(gaps, 0.0).cumsum(), policy, known[key], 1e3 * seconds / K)


@app.command()
def regret(name: str, seeds: Seeds = 10) -> None:
    """Regret of all learners on one of the settings: tiger, treatment, lock, random."""
    setting = SETTINGS[name]
    optimum = solve(setting.build(), setting.gamma).value
    compared: list[tuple[str, Maker, float | None]] = [("beta vectors", hindsight, 1.0)]
    for label, make in track(WITH_BONUS.items(), description="tuning"):
        tuned = best_scale(partial(run, make, setting), SCALES, TUNING_SEEDS)
        compared.append((f"{label}, tuned", make, tuned))
    compared += [(label, make, None) for label, make in WITHOUT_BONUS.items()]
    rows, curves = [], {}
    for label, make, scale in track(compared, description=name):
        K = setting.long if scale == 1.0 else setting.episodes
        playing = replace(setting, episodes=K)
        runs = [run(make, playing, scale or 0.0, seed) for seed in range(seeds)]
        curves[label] = np.array([r.regret for r in runs])
        values = np.array([r.value for r in runs])
        gap, half = interval(100 * (1 - values / optimum))
        rows.append(
            {
                **regret_row(label, scale, curves[label], values, optimum),
                "K": K,
                f"after {setting.episodes:,}": float(curves[label][:, setting.episodes - 1].mean()),
                "gap, %": gap,
                "gap ±": half,
                "ms an episode": float(np.mean([r.milliseconds for r in runs])),
            }
        )
    about = (
        f"{setting.task}, H = 3, gamma = {setting.gamma:g}, {seeds} "
        f"seeds; optimal value {optimum:.4f}. Slope: log-log, second half."
    )
    save_table(RESULTS / f"regret_{name}", rows, about)
    plot_curves(RESULTS / f"regret_{name}.png", curves, about)


@app.command()
def levels(seeds: Seeds = 10, episodes: int = 250, scale: float = 0.03) -> None:
    """Regret against |gamma| H, beside the factor of the guarantee."""
    rows = []
    figure = Figure(figsize=(6.5, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for task, marker in (("Treatment", "o"), ("Random", "s")):
        for sign in (-1.0, 1.0):
            points = []
            for size in track((0.1, 0.5, 1.0, 2.0, 3.0, 5.0), description=f"{task} {sign:+g}"):
                setting = Setting(task, sign * size, episodes)
                runs = [run(hindsight, setting, scale, seed) for seed in range(seeds)]
                mean, half = interval(np.array([r.regret[-1] for r in runs]))
                x = size * setting.build().H
                points.append((x, mean, half))
                rows.append(
                    {
                        "POMDP": task,
                        "gamma": sign * size,
                        "x = abs(gamma) H": x,
                        "(e^x - 1) / x": float(np.expm1(x) / x),
                        "regret": mean,
                        "regret ±": half,
                    }
                )
            x, y, halves = np.array(points).T
            axes.errorbar(x, y, halves, marker=marker, label=f"{task}, gamma {'<>'[sign > 0]} 0")
    reach = np.geomspace(0.3, 15.0, 50)
    axes.plot(reach, 10 * np.expm1(reach) / reach, ":", color="grey", label="factor of the bound")
    axes.set(xscale="log", yscale="log", xlabel="|gamma| H", ylabel=f"regret after {episodes:,}")
    axes.set_ylim(1.0, 3.0 * episodes)
    axes.legend(fontsize=8)
    about = f"H = 3, K = {episodes:,}, bonus scale {scale:g}, {seeds} seeds."
    save_table(RESULTS / "levels", rows, about)
    figure.savefig(RESULTS / "levels.png", dpi=130)


def return_distribution(pomdp: TabularPOMDP, policy: Controller) -> tuple[np.ndarray, np.ndarray]:
    """Atoms of the return, ascending, and their probabilities; exactly."""
    chances: dict[tuple[int, int, float], float] = defaultdict(float)  # node, state, reward so far
    for o, node in enumerate(policy.start):
        for s in range(pomdp.S):
            chances[int(node), s, 0.0] += pomdp.initial[s] * pomdp.emissions[0, s, o]
    for h in range(pomdp.H):
        after: dict[tuple[int, int, float], float] = defaultdict(float)
        for (node, s, so_far), chance in chances.items():
            a = policy.actions[h][node]
            total = round(so_far + float(pomdp.rewards[h, s, a]), 9)
            if h == pomdp.H - 1:
                after[0, 0, total] += chance
                continue
            for to, move in enumerate(chance * pomdp.transitions[h, s, a]):
                for o, sight in enumerate(move * pomdp.emissions[h + 1, to]):
                    after[int(policy.successors[h][node, o]), to, total] += sight
        chances = after
    atoms = np.array([(total, chance) for (_, _, total), chance in sorted(chances.items())])
    return atoms[:, 0], atoms[:, 1]


@app.command()
def frontier(seeds: Seeds = 10, episodes: int = 400, scale: float = 0.03) -> None:
    """Mean against risk of the return over gamma: the optimal and the learnt policies, exactly."""
    rows = []
    pomdp = make_pomdp("pomdp/Treatment-v0", H=4)
    figure = Figure(figsize=(6, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for gamma in track(GAMMAS, description="gamma"):
        setting = Setting("Treatment", gamma, episodes, fields={"H": 4})
        runs = [run(hindsight, setting, scale, seed) for seed in range(seeds)]
        best = solve(pomdp, gamma)
        policies = [best.policy, *(r.policy for r in runs)]
        points = []
        for policy in policies:
            atoms, chances = return_distribution(pomdp, Controller.of_histories(policy, pomdp.O))
            points.append((float(atoms @ chances), float(CVaR(WORST)(atoms, chances))))
        exact, learnt = points[0], np.array(points[1:])
        mean, mean_half = interval(learnt[:, 0])
        worst, worst_half = interval(learnt[:, 1])
        value, value_half = interval(np.array([r.value for r in runs]))
        rows.append(
            {
                "gamma": gamma,
                "optimal value": best.value,
                "learnt value": value,
                "value ±": value_half,
                "optimal mean": exact[0],
                "learnt mean": mean,
                "mean ±": mean_half,
                "optimal CVaR 0.1": exact[1],
                "learnt CVaR 0.1": worst,
                "CVaR ±": worst_half,
                "nodes of the optimum": Controller.of_histories(best.policy, pomdp.O).nodes,
            }
        )
        axes.errorbar(mean, worst, worst_half, mean_half, fmt="o", label=f"gamma = {gamma:g}")
        axes.plot(*exact, "kx")
    axes.set(xlabel="mean of the return", ylabel=f"CVaR {WORST:g} of the return")
    axes.set_title("learnt (dots, 95 % intervals) and optimal (crosses)", fontsize=9)
    axes.legend(fontsize=8)
    about = f"Treatment, H = 4, K = {episodes:,}, bonus scale {scale:g}, {seeds} seeds."
    save_table(RESULTS / "frontier", rows, about)
    figure.savefig(RESULTS / "frontier.png", dpi=130)


@app.command()
def planners(trials: int = 200) -> None:
    """Point-based bounds beside the exact planner over horizons, and what merging beliefs costs."""
    rows = []
    cases = [(task, H, 1e-9) for task in ("Tiger", "Treatment") for H in (3, 4, 5, 6, 8, 12, 16)]
    cases += [("Treatment", 6, merge) for merge in (1e-3, 1e-2, 1e-1)]
    for task, H, merge in track(cases, description="planners"):
        pomdp = make_pomdp(f"pomdp/{task}-v0", H=H)
        start = time.process_time()
        try:
            exact = solve(pomdp, -1.0).value
        except ValueError:  # too many histories
            exact = np.nan
        middle = time.process_time()
        found = PointBasedPlanner(pomdp, -1.0, merge=merge).solve(1e-4, trials)
        rows.append(
            {
                "POMDP": task,
                "H": H,
                "merge": f"{merge:g}",
                "exact": exact,
                "exact, s": middle - start if np.isfinite(exact) else np.nan,
                "lower": found.lower,
                "upper": found.upper,
                "gap": found.gap,
                "walks": found.trials,
                "beliefs": found.beliefs,
                "nodes": found.controller.nodes,
                "point-based, s": time.process_time() - middle,
            }
        )
    save_table(RESULTS / "planners", rows, f"gamma = -1, at most {trials} walks, gap 1e-4.")


if __name__ == "__main__":
    app()
