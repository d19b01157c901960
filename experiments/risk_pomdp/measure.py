"""Regret of risk-sensitive learning with hindsight observation, every learner on every POMDP.

    python experiments/risk_pomdp/measure.py --seeds 10 --episodes 2000

Regret is exact, against the optimum over all history-dependent policies. The tuned scale of the
bonus is the best of a few on seeds that the table does not use. Intervals are 95 % Student-t.
"""

import time
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer
from rich.progress import track
from scipy.stats import t as student_t

from tenfold.algorithms.risk_pomdp.beta import best_plan, evaluate
from tenfold.algorithms.risk_pomdp.learner import HindsightLearner
from tenfold.envs.risk.pomdp import TabularPOMDP
from tenfold.envs.risk.pomdp_benchmarks import make_pomdp
from tenfold.envs.risk.pomdp_names import POMDP_NAMES

RESULTS = Path(__file__).parent.parent / "results" / "risk_pomdp"
GAMMA, NEUTRAL, DELTA = -1.0, -1e-6, 0.05
SCALES = (0.1, 0.03, 0.01, 0.003)
TUNING_SEEDS = (1_000, 1_001, 1_002, 1_003)


def run(
    pomdp: TabularPOMDP, planning: float, scale: float, episodes: int, seed: int
) -> tuple[np.ndarray, float, float]:
    """Cumulative regret (K,), value of the last policy, and milliseconds an episode."""
    learner = HindsightLearner(pomdp.rewards, pomdp.O, planning, scale, DELTA, episodes)
    optimum = best_plan(pomdp, GAMMA).value
    rng = np.random.default_rng(seed)
    gaps, seconds = np.zeros(episodes), 0.0
    for k in range(episodes):
        start = time.process_time()
        policy = learner.plan().policy
        seconds += time.process_time() - start
        gaps[k] = optimum - evaluate(pomdp, GAMMA, policy)
        learner.update(pomdp.play(policy, rng))
    return gaps.cumsum(), optimum - gaps[-1], 1e3 * seconds / episodes


def slope(regret: np.ndarray) -> float:
    """Log-log slope of the regret over the second half; 0 where it does not grow."""
    half = np.arange(len(regret) // 2, len(regret))
    return float(np.polyfit(np.log(half + 1), np.log(np.maximum(regret[half], 1e-9)), 1)[0])


def shown(values: list[float], digits: int) -> str:
    """Mean and half the width of its interval."""
    half = student_t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values))
    return f"{np.mean(values):.{digits}f} ± {half:.{digits}f}"


def tuned(pomdp: TabularPOMDP, episodes: int) -> float:
    """The scale with the least mean regret over the tuning seeds."""

    def total(scale: float) -> float:
        return sum(run(pomdp, GAMMA, scale, episodes, seed)[0][-1] for seed in TUNING_SEEDS)

    return min(SCALES, key=total)


def main(
    seeds: Annotated[int, typer.Option(help="Independent runs.")] = 10,
    episodes: Annotated[int, typer.Option(help="K.")] = 2_000,
) -> None:
    """Write the table of all learners and POMDPs."""
    rows = []
    for name in track(POMDP_NAMES, "POMDPs"):
        pomdp = make_pomdp(name, H=3)
        optimum = best_plan(pomdp, GAMMA).value
        best = tuned(pomdp, episodes)
        for label, planning, scale in (
            ("bonus, scale 1", GAMMA, 1.0),
            (f"bonus, tuned {best:g}", GAMMA, best),
            ("greedy", GAMMA, 0.0),
            (f"risk-neutral, scale {best:g}", NEUTRAL, best),
        ):
            found = [run(pomdp, planning, scale, episodes, seed) for seed in range(seeds)]
            near = sum(value >= optimum - 0.01 * abs(optimum) for _, value, _ in found)
            rows.append(
                {
                    "POMDP": name.split("/")[1],
                    "learner": label,
                    "regret": shown([regret[-1] for regret, _, _ in found], 2),
                    "slope": shown([slope(regret) for regret, _, _ in found], 2),
                    "within 1 %": f"{near}/{seeds}",
                    "ms an episode": f"{np.mean([ms for _, _, ms in found]):.2f}",
                }
            )
    table = pd.DataFrame(rows)
    RESULTS.mkdir(parents=True, exist_ok=True)
    table.to_csv(RESULTS / "regret.csv", index=False)
    print(table.to_string(index=False))


if __name__ == "__main__":
    typer.run(main)
