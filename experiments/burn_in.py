"""The theory's bonus beyond its burn-in: when it falls below the gaps, predicted and measured.

    python -m experiments.burn_in icvar
    python -m experiments.burn_in rs_disrl
    python -m experiments.burn_in risk_pomdp

At `bonus_scale` 1 a learner tries a worse action until its bonus, c / sqrt(visits), is below what
the action loses; until then regret is linear, and its log-log slope is 1. The methods' READMEs
derive c. On the benchmarks of `icvar` and `rs_disrl` this takes millions of episodes, so their
tasks here are short ones with wide gaps; for `risk_pomdp` it is predicted by a learner whose counts
are their expectations. Intervals are 95 % Student-t.
"""

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
import typer
from rich.progress import track

from experiments.icvar import measure as icvar_measure
from experiments.regret_report import Played, interval, plot_curves, regret_row, slope
from experiments.risk_pomdp import measure as risk_pomdp_measure
from experiments.rs_disrl import measure as rs_disrl_measure
from tenfold.algorithms.icvar.linear import confidence_radius
from tenfold.algorithms.icvar.operators import exact_cvar
from tenfold.algorithms.icvar.planner import IteratedCVaR
from tenfold.algorithms.risk_pomdp.beta import evaluate, solve
from tenfold.algorithms.risk_pomdp.learner import HindsightLearner
from tenfold.algorithms.rs_disrl.algorithm import next_planning
from tenfold.algorithms.rs_disrl.planner import StaticPlanner
from tenfold.envs.risk.pomdp import HistoryPolicy, TabularPOMDP
from tenfold.platform.tables import save_table

# Two steps: the last one's rewards are known, so that one bonus alone decides.
SHORTCUT = {"H": 2, "p": 0.9}
OTHERS = ("ICVaR-G linear", "ICVaR-G finite", "tabular bonus (ICVaR-RM)")
EPISODES = {"icvar": 15_000, "rs_disrl": 8_000, "risk_pomdp": 100_000}
PREDICTED_SHARE = 0.01  # growth of the episodes after which an expected run plans anew

app = typer.Typer(help=__doc__, no_args_is_help=True, pretty_exceptions_enable=False)
Seeds = Annotated[int, typer.Option(help="Independent runs.")]


def last_regret(curves: np.ndarray) -> np.ndarray:
    """The last episode with regret of each curve (runs, K), counted from 1; 0 without any."""
    worse = np.diff(curves, prepend=0.0) > 1e-9
    return np.where(worse.any(axis=1), curves.shape[1] - worse[:, ::-1].argmax(axis=1), 0)


def measured(label: str, runs: Sequence[Played], values: np.ndarray, optimum: float) -> Any:
    """A row of the table, and the curves (runs, K) behind it."""
    curves = np.array([played.regret for played in runs])
    last, half = interval(last_regret(curves))
    row = regret_row(label, 1.0, curves, values, optimum)
    return row | {"last regret": last, "last ±": half}, curves


def first_gap(setting: icvar_measure.Setting) -> float:
    """What the second best first action loses, exactly."""
    mdp = setting.build().mdp
    after = IteratedCVaR(mdp, setting.alpha).optimal().values[1]
    worth = mdp.rewards[0] + exact_cvar(mdp.transitions[0], after, setting.alpha)
    second, best = np.sort(mdp.initial @ worth)[-2:]
    return float(best - second)


@app.command()
def icvar(seeds: Seeds = 10) -> None:
    """ICVaR-L at three levels on the risky shortcut of two steps, the others at one of them."""
    K = EPISODES["icvar"]
    plans = [(alpha, "ICVaR-L", 2) for alpha in (0.5, 0.4, 0.3)]  # all seeds have one regret
    plans += [(0.5, label, seeds) for label in OTHERS]
    rows, curves = [], {}
    for alpha, label, count in track(plans, description="risky shortcut"):
        setting = icvar_measure.Setting("mdp/RiskyShortcut-v0", alpha, K, SHORTCUT)
        task, gap = setting.build(), first_gap(setting)
        c = confidence_radius(task.d, 2, K, icvar_measure.DELTA, 4.0) / alpha
        optimum = float(task.mdp.initial @ IteratedCVaR(task.mdp, alpha).optimal().values[0])
        make = icvar_measure.WITH_BONUS[label]
        runs = [icvar_measure.run(make, setting, 1.0, seed) for seed in range(count)]
        values = np.array([run.value for run in runs])
        row, curves[f"{label}, alpha = {alpha:g}"] = measured(label, runs, values, optimum)
        predicted = (c / gap) ** 2 if label == "ICVaR-L" else "-"
        rows.append({"alpha": alpha, "gap": gap, "(c / gap)^2": predicted} | row)
    title = f"{setting.task}, H = 2, bonus scale 1, K = {K:,}. Slope: log-log, second half."
    save_table(icvar_measure.RESULTS / "burn_in", rows, title)
    plot_curves(icvar_measure.RESULTS / "burn_in.png", curves, title)


@app.command("rs_disrl")
def rs_disrl(seeds: Seeds = 10) -> None:
    """RS-DisRL on the budgeted path of two steps, where y matters, and the lotteries."""
    K, alpha = EPISODES["rs_disrl"], {"alpha": 0.5}
    rows, curves = [], {}
    for task, fields in (("static/BudgetedPath-v0", {"H": 2}), ("static/TwoLotteries-v0", {})):
        setting = rs_disrl_measure.Setting(task, "cvar", alpha, K, fields, replan_share=0.02)
        mdp, rho = setting.build()
        optimum = StaticPlanner(mdp).solve(rho).value
        for label in track(("M-LSR", "M-MLE", "V-LSR", "V-MLE"), description=task):
            make = rs_disrl_measure.WITH_BONUS[label]
            runs = [rs_disrl_measure.run(make, setting, 1.0, seed) for seed in range(seeds)]
            values = np.array([run.value for run in runs])
            row, curves[f"{task}, {label}"] = measured(label, runs, values, optimum)
            rows.append({"task": task} | row)
    title = f"CVaR 0.5, bonus scale 1, K = {K:,}, {seeds} seeds. Slope: log-log, second half."
    save_table(rs_disrl_measure.RESULTS / "burn_in", rows, title)
    plot_curves(rs_disrl_measure.RESULTS / "burn_in.png", curves, title)


def expected_visits(pomdp: TabularPOMDP, policy: HistoryPolicy) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of moves (H, S, A, S) and sights (H, S, O) in an episode of a policy."""
    reached = pomdp.emissions[0].T * pomdp.initial  # (histories, S) a step
    moves, sights = np.zeros_like(pomdp.transitions), np.zeros_like(pomdp.emissions)
    sights[0] = reached.T
    for h in range(pomdp.H - 1):
        taken = np.eye(pomdp.A)[policy[h]]  # (histories, A)
        moved = np.einsum("is,ia,sat->iast", reached, taken, pomdp.transitions[h])
        moves[h] = moved.sum(axis=0).swapaxes(0, 1)
        seen = np.einsum("iast,to->iaot", moved, pomdp.emissions[h + 1])
        reached = seen.reshape(-1, pomdp.S)
        sights[h + 1] = seen.sum(axis=(0, 1)).T
    return moves, sights


def expected_regret(setting: risk_pomdp_measure.Setting) -> np.ndarray:
    """Cumulative regret (K,) at scale 1 if every episode added its expected counts: no chance."""
    pomdp, K = setting.build(), setting.episodes
    learner = HindsightLearner(
        pomdp.rewards, pomdp.O, setting.gamma, 1.0, risk_pomdp_measure.DELTA, K
    )
    optimum, gaps, k = solve(pomdp, setting.gamma).value, np.empty(K), 0
    while k < K:
        policy = learner.plan().policy
        due = min(K, next_planning(k, PREDICTED_SHARE))
        gaps[k:due] = optimum - evaluate(pomdp, setting.gamma, policy)
        moves, sights = expected_visits(pomdp, policy)
        learner.first += (due - k) * pomdp.initial
        learner.moves += (due - k) * moves
        learner.sights += (due - k) * sights
        k = due
    return np.maximum(gaps, 0.0).cumsum()


@app.command("risk_pomdp")
def risk_pomdp(seeds: Seeds = 10) -> None:
    """Beta vectors on the two POMDPs whose slope is above 1/2 after a few thousand episodes."""
    K, rows, curves = EPISODES["risk_pomdp"], [], {}
    for task in ("Tiger", "Random"):
        setting = risk_pomdp_measure.Setting(task, -1.0, K, replan_share=0.001)
        optimum = solve(setting.build(), setting.gamma).value
        runs = [
            risk_pomdp_measure.run(risk_pomdp_measure.hindsight, setting, 1.0, seed)
            for seed in track(range(seeds), description=task)
        ]
        values = np.array([run.value for run in runs])
        row, curves[task] = measured("beta vectors", runs, values, optimum)
        predicted = expected_regret(setting)
        forecast = {"expected regret": predicted[-1], "expected slope": slope(predicted)}
        forecast["expected last regret"] = float(last_regret(predicted[None])[0])
        rows.append({"task": task} | row | forecast)
    title = f"H = 3, gamma = -1, bonus scale 1, K = {K:,}, {seeds} seeds. Slope: second half."
    save_table(risk_pomdp_measure.RESULTS / "burn_in", rows, title)
    plot_curves(risk_pomdp_measure.RESULTS / "burn_in.png", curves, title)


if __name__ == "__main__":
    app()
