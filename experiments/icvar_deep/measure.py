"""Beside the deep agents of iterated CVaR: a risk-neutral peer of equal budget, and exact optima.

    python -m experiments.icvar_deep.measure shortcut queue

writes `peers.csv` and `peers.md` into experiments/results/icvar_deep. Policies are evaluated as
those of runs are: exactly, at every level.
"""

from collections.abc import Iterator
from typing import Any

from experiments.deep_peers import Policy, Values, write_table
from tenfold.algorithms.common.risk_levels import LEVELS
from tenfold.algorithms.icvar.planner import IteratedCVaR
from tenfold.algorithms.icvar_deep.evaluation import iterated_cvar
from tenfold.envs.risk.control import TableEnv, make_control

AT = (*LEVELS, 1.0)


def evaluate(config: Any, policy: Policy) -> Values:
    """Iterated CVaR of a policy at each level (1: mean return)."""
    values = iterated_cvar(make_control(config.env, **config.env_config), policy, AT)
    return {f"at {at:g}": value for at, value in zip(AT, values, strict=True)}


def optima(config: Any) -> Iterator[tuple[str, Values]]:
    """What the optimum of each level is worth at all levels, on tasks with a table."""
    env = make_control(config.env, **config.env_config)
    if isinstance(env, TableEnv):
        planners = {at: IteratedCVaR(env.mdp, at) for at in AT}
        for alpha, planner in planners.items():
            policy = planner.optimal().policy
            values = {at: each.evaluate(policy)[0] for at, each in planners.items()}
            worth = {f"at {at:g}": float(env.mdp.initial @ v) for at, v in values.items()}
            yield f"optimum at alpha = {alpha:g}", worth


if __name__ == "__main__":
    write_table(
        "icvar_deep",
        "Iterated CVaR at each level (1: mean return), exact.",
        lambda config: make_control(config.env, **config.env_config),
        evaluate,
        optima,
    )
