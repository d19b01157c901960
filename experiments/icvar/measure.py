"""Measurements of iterated CVaR RL; each writes CSV and Markdown tables, and figures.

    python -m experiments.icvar.measure regret mixture
    python -m experiments.icvar.measure levels
    python -m experiments.icvar.measure queue

`regret` compares all learners on one task, each at its theoretical bonus and at the best of a few
scales, chosen by the regret of seeds that the table does not use. Intervals are 95 % Student-t.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich.progress import track

from experiments.regret_report import best_scale, interval, plot_curves, regret_row
from tenfold.algorithms.icvar.baselines import EpsilonGreedy, Oracle, TabularUCB, Uniform
from tenfold.algorithms.icvar.config import ICVaRConfig
from tenfold.algorithms.icvar.ensemble import NeuralEnsemble
from tenfold.algorithms.icvar.general import FiniteClass, ICVaRG, LinearClass, mixtures
from tenfold.algorithms.icvar.learners import Learner
from tenfold.algorithms.icvar.linear import ICVaRL
from tenfold.algorithms.icvar.planner import IteratedCVaR
from tenfold.envs.risk.benchmarks import make_task
from tenfold.envs.risk.mdp import return_distribution
from tenfold.envs.risk.measures import CVaR
from tenfold.envs.risk.mixture import Mixture
from tenfold.platform.tables import save_table

RESULTS = Path(__file__).parent.parent / "results" / "icvar"
DELTA, CLASS_SIZE = 0.05, 32
SCALES = (0.3, 0.1, 0.03, 0.01, 0.003)
TUNING_SEEDS = (1_000, 1_001)

app = typer.Typer(help=__doc__, no_args_is_help=True, pretty_exceptions_enable=False)
Seeds = Annotated[int, typer.Option(help="Independent runs.")]


@dataclass(frozen=True)
class Setting:
    """A task as it is measured.

    Attributes:
        task: Its name.
        alpha: Risk level.
        episodes: K.
        fields: Of the task, where they differ from its defaults.
        neural: Whether the neural ensemble takes part, which is slow.
    """

    task: str
    alpha: float
    episodes: int
    fields: Mapping[str, Any] = field(default_factory=dict)
    neural: bool = False

    def build(self) -> Mixture:
        return make_task(self.task, self.alpha, **self.fields)


SETTINGS = {
    "mixture": Setting("mdp/RandomMixture-v0", 0.25, 6_000, {"instance": 3}),
    "mixture_neural": Setting("mdp/RandomMixture-v0", 0.25, 100, {"instance": 3}, neural=True),
    "shortcut": Setting("mdp/RiskyShortcut-v0", 0.25, 4_000),
    "lake": Setting("mdp/FrozenLake-v0", 0.25, 2_000, {"H": 8}),
    "lower_bound": Setting("mdp/LowerBound-v0", 0.5, 3_000),
}


def neural(task: Mixture, alpha: float, K: int, scale: float, seed: int) -> ICVaRG:
    """ICVaR-G over the neural ensemble of the method's default sizes."""
    sizes = ICVaRConfig()
    ensemble = NeuralEnsemble(
        task,
        alpha,
        K,
        DELTA,
        scale,
        sizes.class_size,
        sizes.hidden,
        sizes.gradient_steps,
        sizes.lr,
        seed,
    )
    return ICVaRG(task, ensemble)


Maker = Callable[[Mixture, float, int, float, int], Learner]
NEURAL = "ICVaR-G neural"
WITH_BONUS: dict[str, Maker] = {
    "ICVaR-L": lambda task, alpha, K, scale, seed: ICVaRL(task, alpha, K, scale, DELTA),
    "ICVaR-G linear": lambda task, alpha, K, scale, seed: ICVaRG(
        task, LinearClass(task, alpha, K, DELTA, scale)
    ),
    "ICVaR-G finite": lambda task, alpha, K, scale, seed: ICVaRG(
        task, FiniteClass(mixtures(task, CLASS_SIZE, 0), task.mdp.H, alpha, DELTA, scale)
    ),
    NEURAL: neural,
    "tabular bonus (ICVaR-RM)": lambda task, alpha, K, scale, seed: TabularUCB(
        task.mdp, alpha, K, scale, DELTA
    ),
    "risk-neutral (UCRL-VTR)": lambda task, alpha, K, scale, seed: ICVaRL(
        task, 1.0, K, scale, DELTA
    ),
}
WITHOUT_BONUS: dict[str, Maker] = {
    "epsilon-greedy 0.05": lambda task, alpha, K, scale, seed: EpsilonGreedy(task, alpha, 0.05),
    "uniform": lambda task, alpha, K, scale, seed: Uniform(task.mdp),
    "oracle": lambda task, alpha, K, scale, seed: Oracle(IteratedCVaR(task.mdp, alpha)),
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
    learner = make(task, setting.alpha, K, scale, seed)
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


@app.command()
def regret(name: str, seeds: Seeds = 10) -> None:
    """Regret of all learners on one of the settings: mixture, mixture_neural, shortcut, ..."""
    setting = SETTINGS[name]
    task = setting.build()
    optimum = float(task.mdp.initial @ IteratedCVaR(task.mdp, setting.alpha).optimal().values[0])
    compared: list[tuple[str, Maker, float | None]] = []
    for label, make in track(WITH_BONUS.items(), description="tuning"):
        if label == NEURAL and not setting.neural:
            continue
        tuned = best_scale(partial(run, make, setting), SCALES, TUNING_SEEDS)
        compared += [(label, make, 1.0), (f"{label}, tuned", make, tuned)]
    compared += [(label, make, None) for label, make in WITHOUT_BONUS.items()]
    rows, curves = [], {}
    for label, make, scale in track(compared, description=name):
        runs = [run(make, setting, scale or 1.0, seed) for seed in range(seeds)]
        curves[label] = np.array([r.regret for r in runs])
        values = np.array([r.value for r in runs])
        rows.append(regret_row(label, scale, curves[label], values, optimum))
    about = (
        f"{setting.task}, alpha = {setting.alpha:g}, K = {setting.episodes:,}, {seeds} seeds; "
        f"optimal value {optimum:.4f}. Slope: log-log, second half."
    )
    save_table(RESULTS / f"regret_{name}", rows, about)
    plot_curves(RESULTS / f"regret_{name}.png", curves, about)


@app.command()
def levels(seeds: Seeds = 10, episodes: int = 3_000) -> None:
    """Regret on the lower-bound instance as alpha falls: its end is seen with alpha^(H - 2)."""
    rows = []
    alphas = (1.0, 0.7, 0.5, 0.35, 0.25)
    chosen = {name: WITH_BONUS[name] for name in ("ICVaR-L", "tabular bonus (ICVaR-RM)")}
    for label, make in chosen.items():
        middle = Setting("mdp/LowerBound-v0", 0.5, episodes)
        scale = best_scale(partial(run, make, middle), SCALES, TUNING_SEEDS)
        for alpha in track(alphas, description=label):
            setting = Setting("mdp/LowerBound-v0", alpha, episodes)
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
        f"mdp/LowerBound-v0 with H = 4, K = {episodes:,}, {seeds} seeds; the scale is the best "
        "one at alpha = 0.5. A uniform choice has regret 0.2 an episode at every alpha."
    )
    table = save_table(RESULTS / "levels", rows, about)
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
        task = make_task("mdp/QueueBacklog-v0", alpha)
        mdp = task.mdp
        policy = IteratedCVaR(mdp, alpha).optimal().policy
        occupancy, total = mdp.initial, np.zeros(mdp.S)
        for h in range(mdp.H):
            occupancy = occupancy @ mdp.transitions[h, np.arange(mdp.S), policy[h]]
            total += occupancy / mdp.H
        backlog = np.add(*np.divmod(np.arange(mdp.S), 5))
        shares = np.bincount(backlog, weights=total)
        returns, mass = return_distribution(mdp, policy)
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
    save_table(
        RESULTS / "queue", rows, "mdp/QueueBacklog-v0, exact; backlog after each of the 10 steps."
    )


if __name__ == "__main__":
    app()
