"""Beside the deep agents of static risk: a risk-neutral peer of equal budget, and exact optima.

    python -m experiments.rs_disrl_deep.measure path betting inventory

writes `peers.csv` and `peers.md` into experiments/results/rs_disrl_deep. Policies are evaluated by
the exact return distribution of the grid; runs play episodes.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from experiments.deep_peers import Policy, Values, write_table
from tenfold.algorithms.common.risk_levels import LEVELS
from tenfold.algorithms.rs_disrl.planner import StaticPlanner
from tenfold.envs.risk.collected import all_observations
from tenfold.envs.risk.measures import CVaR
from tenfold.envs.risk.returns import GridMDP

AT = (*LEVELS, 1.0)


def worth(mdp: GridMDP, actions: np.ndarray) -> Values:
    """CVaR of the return at each level (1: mean) of a policy, (H, S, Y) actions."""
    mass = mdp.return_distribution(actions)
    return {f"at {at:g}": float(CVaR(at)(mdp.returns, mass)) for at in AT}


def grid(config: Any) -> GridMDP:
    """The tabular task behind a config's environment."""
    mdp: GridMDP = config.make_task().unwrapped.mdp
    return mdp


def evaluate(config: Any, policy: Policy) -> Values:
    """What a policy of observations is worth."""
    mdp = grid(config)
    seen = all_observations(mdp)
    return worth(mdp, policy(seen.reshape(-1, seen.shape[-1])).reshape(seen.shape[:-1]))


def optima(config: Any) -> Iterator[tuple[str, Values]]:
    """What the optimum of each level is worth at all levels."""
    mdp = grid(config)
    for alpha in AT:
        best = StaticPlanner(mdp).solve(CVaR(alpha)).policy
        yield f"optimum at alpha = {alpha:g}", worth(mdp, best)


if __name__ == "__main__":
    write_table(
        "rs_disrl_deep",
        "CVaR of the return at each level (1: mean), exact.",
        lambda config: config.make_task(),
        evaluate,
        optima,
    )
