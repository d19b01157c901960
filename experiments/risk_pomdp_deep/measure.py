"""Beside the deep agents of entropic risk: a risk-neutral peer of equal steps, and exact optima.

    python -m experiments.risk_pomdp_deep.measure treatment tiger

writes `peers.csv` and `peers.md` into experiments/results/risk_pomdp_deep. Policies are evaluated
as those of runs are: exactly, over all histories.
"""

from collections.abc import Iterator
from typing import Any

from experiments.deep_peers import Budget, Policy, Values, write_table
from tenfold.algorithms.risk_pomdp.algorithm import RISK_NEUTRAL
from tenfold.algorithms.risk_pomdp.beta import evaluate, solve
from tenfold.algorithms.risk_pomdp_deep.evaluation import history_policy
from tenfold.envs.risk.pomdp import HistoryPolicy

# PPO has no updates like these: an update after every 24 steps.
BUDGET = Budget(
    collected=24,
    updates=1,
    lr=(0.003, 0.003),
    batch=64,
    warmup=500,
    exploring=10_000,
    exploration=0.05,
)
GAMMAS = (RISK_NEUTRAL, -1.0, -3.0, -5.0)


def worth(config: Any, policy: HistoryPolicy) -> Values:
    """Mean return, and entropic risk at the experiment's `judged_gamma`."""
    pomdp, gamma = config.true_model(), config.gamma_of_evaluations()
    return {
        "mean": evaluate(pomdp, RISK_NEUTRAL, policy),
        f"risk at {gamma:g}": evaluate(pomdp, gamma, policy),
    }


def optima(config: Any) -> Iterator[tuple[str, Values]]:
    """What the optimum of each gamma is worth."""
    for gamma in GAMMAS:
        label = f"optimum at gamma = {0.0 if gamma == RISK_NEUTRAL else gamma:g}"
        yield label, worth(config, solve(config.true_model(), gamma).policy)


def played(config: Any, policy: Policy) -> Values:
    """What an agent's policy of observations is worth."""
    return worth(config, history_policy(policy, config.true_model()))


if __name__ == "__main__":
    write_table(
        "risk_pomdp_deep",
        "Exact values over all histories.",
        lambda config: config.make_task(),
        played,
        optima,
        lambda config: BUDGET,
    )
