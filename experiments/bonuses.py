"""Bonuses that are valid and leave the burn-in: coverage and regret of likelihood's confidence.

    python -m experiments.bonuses icvar mixture            (or shortcut, lake, lower_bound)
    python -m experiments.bonuses rs_disrl path            (or lotteries, betting, inventory)
    python -m experiments.bonuses risk_pomdp tiger         (or treatment, lock, random)

The benchmark task is learnt with the default's tuned bonus, the theory's, likelihood's at scale 1,
and without any (greedy; for `icvar` epsilon-greedy, too), over the same seeds. Columns:

- covered: the share of (episode, step, state, action) at which the learner's optimistic worth is at
  least the true one. Worth is Q_h(s, a) of the optimum for `icvar`; the utility to come for the
  optimum's utility, at every y that can be reached, for `rs_disrl`; and for `risk_pomdp` the share
  at which the bonus is as large as the error of one step's probabilities for the worst vector.
- optimistic: the share of episodes whose planned value is at least the optimum.
- burn-in ends: the episode after which no policy is more than 1 % short of the optimum, and how
  many of the runs get there.

A policy is kept until the episodes have grown by a share; what its planning covered counts for all
of its episodes, which are drawn together. Intervals are 95 % Student-t over seeds.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.progress import track

from experiments.icvar import measure as icvar_measure
from experiments.regret_report import interval, plot_curves, slope
from experiments.risk_pomdp import measure as pomdp_measure
from experiments.rs_disrl import measure as static_measure
from tenfold.algorithms.icvar.baselines import EpsilonGreedy
from tenfold.algorithms.icvar.config import ICVaRConfig
from tenfold.algorithms.icvar.likelihood import LikelihoodL
from tenfold.algorithms.icvar.linear import ICVaRL
from tenfold.algorithms.icvar.operators import exact_cvar
from tenfold.algorithms.icvar.planner import IteratedCVaR
from tenfold.algorithms.risk_pomdp.beta import evaluate, solve
from tenfold.algorithms.risk_pomdp.config import RiskPOMDPConfig
from tenfold.algorithms.risk_pomdp.learner import Confidence as Widths
from tenfold.algorithms.risk_pomdp.learner import HindsightLearner
from tenfold.algorithms.risk_pomdp.optimism import rewards_to_come
from tenfold.algorithms.rs_disrl.algorithm import next_planning
from tenfold.algorithms.rs_disrl.config import RSDisRLConfig
from tenfold.algorithms.rs_disrl.learners import Family, RSDisRL
from tenfold.algorithms.rs_disrl.planner import StaticPlanner
from tenfold.algorithms.rs_disrl.sets import Confidence, Estimator
from tenfold.envs.risk.mdp import Episode
from tenfold.envs.risk.measures import CVaR
from tenfold.envs.risk.pomdp import TabularPOMDP
from tenfold.platform.tables import save_table

DELTA, NEAR, ROUNDING = 0.05, 0.01, 1e-9
# Growth of the episodes until a policy is planned anew; of static risk, as its other measurements.
REPLAN_SHARE, STATIC_REPLAN_SHARE = 0.05, 0.2
WITH_V = ("path", "lotteries")

app = typer.Typer(help=__doc__, no_args_is_help=True, pretty_exceptions_enable=False)
Seeds = Annotated[int, typer.Option(help="Independent runs.")]


@dataclass(frozen=True)
class Run:
    """Gaps of an episode's policy to the optimum (K,), and what was covered."""

    gaps: np.ndarray
    covered: float
    optimistic: float


@dataclass(frozen=True)
class Planned:
    """A policy to play: its gap to the optimum, the share that is covered, whether the planned
    value is at least the optimum, and how some episodes of it are played and learnt."""

    gap: float
    covered: float
    optimistic: bool
    play: Callable[[int, np.random.Generator], None]


def played(
    plan: Callable[[np.random.Generator], Planned], K: int, seed: int, share: float = REPLAN_SHARE
) -> Run:
    """K episodes, planned anew when they have grown by a share."""
    gaps, covered, optimistic = np.empty(K), np.empty(K), np.empty(K)
    rng, k = np.random.default_rng(seed), 0
    while k < K:
        now, due = plan(rng), min(K, next_planning(k, share))
        gaps[k:due], covered[k:due] = max(now.gap, 0.0), now.covered
        optimistic[k:due] = now.optimistic
        now.play(due - k, rng)
        k = due
    return Run(gaps, float(covered.mean()), float(optimistic.mean()))


def drawn(levels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One outcome of each distribution function (n, outcomes), (n,)."""
    draws = rng.random(len(levels)) * levels[:, -1]
    outcomes: np.ndarray = (draws[:, None] >= levels).sum(axis=1)
    return outcomes


def row(learner: str, runs: list[Run], optimum: float) -> dict[str, Any]:
    """A row of the table."""
    gaps = np.array([run.gaps for run in runs])
    regret, half = interval(gaps.sum(axis=1))
    rate, rate_half = interval(np.array([slope(np.cumsum(each)) for each in gaps]))
    far = gaps > NEAR * optimum
    ends = np.where(far.any(axis=1), gaps.shape[1] - far[:, ::-1].argmax(axis=1), 0)
    ended = ends < gaps.shape[1]
    return {
        "learner": learner,
        "covered, %": 100.0 * float(np.mean([run.covered for run in runs])),
        "optimistic, %": 100.0 * float(np.mean([run.optimistic for run in runs])),
        "regret": regret,
        "regret ±": half,
        "slope": rate,
        "slope ±": rate_half,
        "burn-in ends": float(np.median(ends[ended])) if ended.any() else "-",
        "ended": f"{int(ended.sum())}/{len(runs)}",
    }


def icvar_run(
    setting: icvar_measure.Setting,
    make: Callable[[Any, int], ICVaRL | LikelihoodL],
    seed: int,
) -> Run:
    """A run of iterated CVaR."""
    task, K, alpha = setting.build(), setting.episodes, setting.alpha
    mdp, truth, learner = task.mdp, IteratedCVaR(task.mdp, setting.alpha), make(task, K)
    best = truth.optimal().values
    worth = np.array(
        [mdp.rewards[h] + exact_cvar(mdp.transitions[h], best[h + 1], alpha) for h in range(mdp.H)]
    )

    moves = np.cumsum(mdp.transitions, axis=-1)

    def plan(rng: np.random.Generator) -> Planned:
        solution = learner.plan(rng)
        hopes = np.array([learner.worth(h) for h in range(mdp.H)])
        most = mdp.H - np.arange(mdp.H)[:, None, None]
        covered = (np.minimum(hopes, most) >= worth - ROUNDING).mean()
        optimum = mdp.initial @ best[0]

        def play(episodes: int, rng: np.random.Generator) -> None:
            states = [drawn(np.tile(np.cumsum(mdp.initial), (episodes, 1)), rng)]
            actions = []
            for h in range(mdp.H):
                actions.append(solution.policy[h, states[h]])
                states.append(drawn(moves[h, states[h], actions[h]], rng))
            for s, a in zip(np.array(states).T, np.array(actions).T, strict=True):
                learner.update(Episode(s, a, 0.0))

        return Planned(
            float(optimum - mdp.initial @ truth.evaluate(solution.policy)[0]),
            float(covered),
            bool(mdp.initial @ solution.values[0] >= optimum - ROUNDING),
            play,
        )

    return played(plan, K, seed)


@app.command()
def icvar(name: str, seeds: Seeds = 20) -> None:
    """ICVaR-L by regression and by likelihood."""
    setting, tuned = icvar_measure.SETTINGS[name], ICVaRConfig().bonus_scale
    alpha, task = setting.alpha, setting.build()
    learners: dict[str, Callable[[Any, int], ICVaRL | LikelihoodL]] = {
        f"regression, scale {tuned:g} (default)": lambda t, K: ICVaRL(t, alpha, K, tuned, DELTA),
        "regression, scale 1": lambda t, K: ICVaRL(t, alpha, K, 1.0, DELTA),
        "likelihood, scale 1": lambda t, K: LikelihoodL(t, alpha, 1.0, DELTA),
        "greedy": lambda t, K: LikelihoodL(t, alpha, 0.0, DELTA),
        "epsilon-greedy 0.05": lambda t, K: EpsilonGreedy(t, alpha, 0.05),
    }
    optimum = float(task.mdp.initial @ IteratedCVaR(task.mdp, alpha).optimal().values[0])
    runs = {
        label: [icvar_run(setting, make, seed) for seed in range(seeds)]
        for label, make in track(learners.items(), description=name)
    }
    about = f"{setting.task}, alpha = {alpha:g}, K = {setting.episodes:,}"
    report(icvar_measure.RESULTS, name, about, runs, optimum)


def static_run(setting: static_measure.Setting, make: Callable[..., RSDisRL], seed: int) -> Run:
    """A run of a static measure, which is CVaR or entropic."""
    mdp, rho = setting.build()
    K, truth = setting.episodes, StaticPlanner(mdp)
    learner = make(mdp, rho, episodes=K)
    best = truth.solve(rho)
    utility = best_utility(truth, rho)
    worth = utilities_to_come(truth, utility)  # H of (S, A, Y)
    most = mdp.rewards.reshape(mdp.H, -1).max(axis=1)
    reached = np.concatenate([[0], np.cumsum(most)[:-1]])  # the largest y of a step

    levels = np.cumsum(mdp.probabilities, axis=-1)

    def plan(rng: np.random.Generator) -> Planned:
        planner = learner.planner()
        solution = learner.plan(rng)
        hopes = utilities_to_come(planner, utility)
        held = [
            (hope[: mdp.S, :, : y + 1] >= true[:, :, : y + 1] - ROUNDING).mean()
            for hope, true, y in zip(hopes, worth, reached, strict=True)
        ]

        def play(episodes: int, rng: np.random.Generator) -> None:
            s, y = np.full(episodes, mdp.initial), np.zeros(episodes, int)
            for h in range(mdp.H):
                a = solution.policy[h, s, y]
                o = drawn(levels[h, s, a], rng)
                at = y if learner.counts.shape[-1] > 1 else 0
                np.add.at(learner.counts, (h, s, a, o, at), 1.0)
                s, y = mdp.nexts[h, s, a, o], y + mdp.rewards[h, s, a, o]

        return Planned(
            best.value - mdp.risk(rho, solution.policy),
            float(np.mean(held)),
            bool(solution.value >= best.value - ROUNDING),
            play,
        )

    return played(plan, K, seed, STATIC_REPLAN_SHARE)


def best_utility(planner: StaticPlanner, rho: Any) -> np.ndarray:
    """The utility that the optimum maximises the mean of, (Y,)."""
    returns = planner.mdp.returns
    if isinstance(rho, CVaR):
        budget = int((returns + planner.shortfalls() / rho.alpha).argmax())
        return np.minimum(returns - returns[budget], 0.0)
    worst = 0.0 if rho.gamma < 0.0 else returns[-1]
    utility: np.ndarray = np.sign(rho.gamma) * np.exp(rho.gamma * (returns - worst))
    return utility


def utilities_to_come(planner: StaticPlanner, utility: np.ndarray) -> list[np.ndarray]:
    """The largest mean of a utility from (s, y) on after each action, (S, A, Y) a step."""
    values, found = np.tile(utility, (planner.mdp.S, 1)), []
    for h in reversed(range(planner.mdp.H)):
        worth = planner._step(h, values)[0]
        values = worth.max(axis=1)
        found.append(worth)
    return found[::-1]


@app.command("rs_disrl")
def rs_disrl(name: str, seeds: Seeds = 20) -> None:
    """RS-DisRL-M, and V where its burn-in can end, with sets and with what optimism needs."""
    tuned = RSDisRLConfig().bonus_scale
    setting = static_measure.SETTINGS[name]
    mdp, rho = setting.build()
    default: tuple[Estimator, float, Confidence] = ("lsr", tuned, "set")
    kinds: dict[str, tuple[Family, Estimator, float, Confidence]] = {
        f"M-LSR, scale {tuned:g} (default)": ("model", *default),
        "M-LSR, scale 1": ("model", "lsr", 1.0, "set"),
        "M-MLE, scale 1": ("model", "mle", 1.0, "set"),
        "M-MLE for the mean, scale 1": ("model", "mle", 1.0, "mean"),
        "M, greedy": ("model", "lsr", 0.0, "set"),
    }
    if name in WITH_V:
        kinds[f"V-LSR, scale {tuned:g}"] = ("value", *default)
        kinds["V-MLE, scale 1"] = ("value", "mle", 1.0, "set")
        kinds["V-MLE for the mean, scale 1"] = ("value", "mle", 1.0, "mean")
    runs = {}
    for label, (family, estimator, scale, confidence) in track(kinds.items(), description=name):
        make = partial(
            RSDisRL,
            family=family,
            estimator=estimator,
            bonus_scale=scale,
            delta=DELTA,
            confidence=confidence,
        )
        runs[label] = [static_run(setting, make, seed) for seed in range(seeds)]
    about = f"{setting.task}, {dict(setting.fields)}, {rho}, K = {setting.episodes:,}"
    optimum = StaticPlanner(mdp).solve(rho).value
    report(static_measure.RESULTS, name, about, runs, optimum, STATIC_REPLAN_SHARE)


def pomdp_run(
    setting: pomdp_measure.Setting, make: Callable[..., HindsightLearner], seed: int
) -> Run:
    """A run of entropic risk with hindsight."""
    pomdp, gamma = setting.build(), setting.gamma
    optimum, learner = solve(pomdp, gamma).value, make(pomdp.rewards, pomdp.O)
    low, high = np.exp(gamma * np.stack(rewards_to_come(pomdp.rewards)))
    spans = np.abs(high - low)[1:, None, None] * np.exp(gamma * pomdp.rewards)  # (H, S, A)
    true = _joint(pomdp)

    starts, moves, sights = (
        np.cumsum(each, axis=-1) for each in (pomdp.initial, pomdp.transitions, pomdp.emissions)
    )

    def plan(rng: np.random.Generator) -> Planned:
        solution = learner.plan()
        off = np.maximum(_joint(learner.model()) - true, 0.0).sum(axis=(3, 4)) * spans[:-1]
        covered = (off <= learner.bonus()[:-1] + ROUNDING).mean()

        def play(episodes: int, rng: np.random.Generator) -> None:
            s, history = drawn(np.tile(starts, (episodes, 1)), rng), np.zeros(episodes, int)
            np.add.at(learner.first, s, 1.0)
            for h in range(pomdp.H):
                o = drawn(sights[h, s], rng)
                np.add.at(learner.sights, (h, s, o), 1.0)
                history = history * pomdp.O + o
                a = solution.policy[h][history]
                if h < pomdp.H - 1:
                    after = drawn(moves[h, s, a], rng)
                    np.add.at(learner.moves, (h, s, a, after), 1.0)
                    s, history = after, history * pomdp.A + a

        return Planned(
            optimum - evaluate(pomdp, gamma, solution.policy),
            float(covered),
            bool(solution.value >= optimum - ROUNDING),
            play,
        )

    return played(plan, setting.episodes, seed)


def _joint(pomdp: TabularPOMDP) -> np.ndarray:
    """Probabilities of the next state and its observation, (H - 1, S, A, S, O)."""
    joint: np.ndarray = pomdp.transitions[:-1, ..., None] * pomdp.emissions[1:, None, None]
    return joint


@app.command("risk_pomdp")
def risk_pomdp(name: str, seeds: Seeds = 20) -> None:
    """Beta vectors with both widths, over as many episodes as the theory's scale is given."""
    tuned = RiskPOMDPConfig().bonus_scale
    chosen = pomdp_measure.SETTINGS[name]
    setting = replace(chosen, episodes=chosen.long)
    kinds: dict[str, tuple[float, Widths]] = {
        f"variation, scale {tuned:g} (default)": (tuned, "variation"),
        "variation, scale 1": (1.0, "variation"),
        "likelihood, scale 1": (1.0, "likelihood"),
        "greedy": (0.0, "variation"),
    }
    runs = {}
    for label, (scale, confidence) in track(kinds.items(), description=name):
        make = partial(
            HindsightLearner,
            gamma=setting.gamma,
            bonus_scale=scale,
            delta=DELTA,
            episodes=setting.episodes,
            confidence=confidence,
        )
        runs[label] = [pomdp_run(setting, make, seed) for seed in range(seeds)]
    about = f"{setting.task}, H = 3, gamma = {setting.gamma:g}, K = {setting.episodes:,}"
    optimum = solve(setting.build(), setting.gamma).value
    report(pomdp_measure.RESULTS, name, about, runs, optimum)


def report(
    results: Path,
    name: str,
    about: str,
    runs: dict[str, list[Run]],
    optimum: float,
    share: float = REPLAN_SHARE,
) -> None:
    """Save and show the table, and the curves of regret."""
    seeds = len(next(iter(runs.values())))
    title = (
        f"{about}; {seeds} seeds, delta = {DELTA:g}, a new policy whenever the episodes have grown "
        f"by {100 * share:g} %. Slope: log-log, second half."
    )
    rows = [row(label, found, optimum) for label, found in runs.items()]
    save_table(results / f"bonuses_{name}", rows, title)
    curves = {
        label: np.array([run.gaps.cumsum() for run in found]) for label, found in runs.items()
    }
    plot_curves(results / f"bonuses_{name}.png", curves, title)


if __name__ == "__main__":
    app()
