"""What no run measures of entropic risk: bounds of planners, and regret without chance.

    python -m experiments.risk_pomdp.measure planners
    python -m experiments.risk_pomdp.measure expected

Each writes a table into experiments/results/risk_pomdp.
"""

import sys
import time
from itertools import product
from pathlib import Path

import numpy as np

from tenfold.algorithms.common.regret_curve import RegretCurve
from tenfold.algorithms.common.replanning import next_planning
from tenfold.algorithms.risk_pomdp.beta import evaluate, solve
from tenfold.algorithms.risk_pomdp.config import RiskPOMDPConfig
from tenfold.algorithms.risk_pomdp.learner import HindsightLearner
from tenfold.algorithms.risk_pomdp.point_based import PointBasedPlanner
from tenfold.envs.risk.pomdp import HistoryPolicy, TabularPOMDP
from tenfold.envs.risk.pomdp_benchmarks import make_pomdp
from tenfold.platform.errors import unknown
from tenfold.platform.tables import save_table

RESULTS = Path(__file__).parent.parent / "results" / "risk_pomdp"
GAMMA, TRIALS = -1.0, 200
LENGTHS = (3_000, 10_000, 30_000, 100_000, 400_000)  # K of expected runs
REPLAN_SHARE = 0.01


def planners() -> None:
    """Point-based bounds beside the exact planner over horizons, and what merging beliefs costs."""
    rows = []
    cases = [(task, H, 1e-9) for task in ("Tiger", "Treatment") for H in (3, 4, 5, 6, 8, 12, 16)]
    cases += [("Treatment", 6, merge) for merge in (1e-3, 1e-2, 1e-1)]
    for task, H, merge in cases:
        pomdp = make_pomdp(f"pomdp/{task}-v0", H=H)
        start = time.process_time()
        try:
            exact = solve(pomdp, GAMMA).value
        except ValueError:  # too many histories
            exact = np.nan
        middle = time.process_time()
        found = PointBasedPlanner(pomdp, GAMMA, merge=merge).solve(1e-4, TRIALS)
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
    save_table(RESULTS / "planners", rows, f"gamma = -1, at most {TRIALS} walks, gap 1e-4.")


def expected() -> None:
    """Regret and slope at scale 1 if every episode added its expected counts: no chance."""
    rows = []
    for task, K in product(("Tiger", "Random"), LENGTHS):
        curve = expected_regret(make_pomdp(f"pomdp/{task}-v0", H=3), K)
        rows.append({"POMDP": task, "K": K, "regret": curve.regret[-1], "slope": curve.slope(K)})
    save_table(RESULTS / "expected", rows, "H = 3, gamma = -1, bonus scale 1.")


def expected_regret(pomdp: TabularPOMDP, K: int) -> RegretCurve:
    """Regret over K episodes of the learner that is fed its expected counts."""
    learner = HindsightLearner(pomdp.rewards, pomdp.O, GAMMA, 1.0, RiskPOMDPConfig().delta, K)
    optimum, curve, regret, k = solve(pomdp, GAMMA).value, RegretCurve(K), 0.0, 0
    while k < K:
        policy = learner.plan().policy
        due = min(K, next_planning(k, REPLAN_SHARE))
        gap = max(optimum - evaluate(pomdp, GAMMA, policy), 0.0)
        for mark in curve.marks[(curve.marks > k) & (curve.marks <= due)]:
            curve.add(mark, regret + gap * (mark - k))
        regret += gap * (due - k)
        moves, sights = expected_visits(pomdp, policy)
        learner.first += (due - k) * pomdp.initial
        learner.moves += (due - k) * moves
        learner.sights += (due - k) * sights
        k = due
    return curve


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


MEASUREMENTS = {each.__name__: each for each in (planners, expected)}

if __name__ == "__main__":
    for name in sys.argv[1:]:
        if name not in MEASUREMENTS:
            sys.exit(f"Error: {unknown('measurement', name, MEASUREMENTS)}")
    for name in sys.argv[1:] or MEASUREMENTS:
        MEASUREMENTS[name]()
