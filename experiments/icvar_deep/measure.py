r"""Risk-averse against risk-neutral agents of one code and budget: CSV, Markdown and a figure.

    python -m experiments.icvar_deep.measure train risk/RiskyShortcut-v0
    python -m experiments.icvar_deep.measure train risk/RiskyShortcut-v0 --agent 0.5 --agent 0.1
    python -m experiments.icvar_deep.measure train risk/QueueBacklog-v0 --steps 30000 \
        --fragment 10 --updates 10 --last-lr 0.0003
    python -m experiments.icvar_deep.measure train risk/CurvyRoad-v0 --steps 12000
    python -m experiments.icvar_deep.measure report

`train` appends one row a run to `experiments/results/icvar_deep/runs.csv`, `report` makes the table
and the frontiers of all rows, one for each task and budget. Greedy policies are evaluated exactly:
by backward induction on the table, and by the closed form of `CurvyRoad` averaged over 50 starts.
sb3-contrib's QR-DQN, which is risk-neutral, learns from the same number of environment steps.
"""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import typer

from experiments.quantile_agents import (
    LEVELS,
    REPORTED,
    Budget,
    Policy,
    add_training,
    quantile_agent,
    report,
)
from tenfold.algorithms.icvar.planner import IteratedCVaR
from tenfold.algorithms.icvar_deep.config import ICVaRDeepConfig
from tenfold.algorithms.icvar_deep.evaluation import iterated_cvar
from tenfold.envs.risk.control import TableEnv, make_control

RESULTS = Path(__file__).parent.parent / "results" / "icvar_deep"
FIELDS: dict[str, dict[str, Any]] = {
    "risk/RiskyShortcut-v0": {"p": 0.08},
    "risk/QueueBacklog-v0": {},
    "risk/CurvyRoad-v0": {"T": 20, "cost": 3.0},
}
EXPLORING = 3_000, 0.05  # steps of exploration, and its share afterwards

app = typer.Typer(help=__doc__, no_args_is_help=True, pretty_exceptions_enable=False)


def make_env(task: str) -> gym.Env[np.ndarray, Any]:
    """A task with the fields that it is measured with."""
    return make_control(task, **FIELDS[task])


def learnt(task: str, alpha: float, seed: int, budget: Budget) -> Policy:
    """The greedy policy of an agent of ours."""
    config = ICVaRDeepConfig().environment(task, env_config=FIELDS[task]).debugging(seed=seed)
    config.update_from_dict({"alpha": alpha})
    return quantile_agent(config, budget, *EXPLORING)


def evaluate(task: str, policy: Policy) -> list[float]:
    """Iterated CVaR of a policy at each level, exact (1 is the mean return)."""
    return iterated_cvar(make_env(task), policy, LEVELS)


add_training(app, RESULTS, 6_000, EXPLORING, make_env, learnt, evaluate)


@app.command("report")
def make_report() -> None:
    """The table of means and gains, and the frontiers of mean against risk."""
    about = (
        "Iterated CVaR of the greedy policy at each level (1: mean return), 95 % Student-t over "
        f"seeds; 'gain' is that at {REPORTED} over the risk-neutral agent of the same seed, "
        "'optimum' by exact planning at the agent's own level."
    )
    report(RESULTS, about, f"iterated CVaR at {REPORTED}", digits=2, optima=optima)


def optima(task: str) -> dict[float, list[float]]:
    """What the optimum of each level is worth at all levels, on tasks with a table."""
    env = make_env(task)
    if not isinstance(env, TableEnv):
        return {}
    planners = {alpha: IteratedCVaR(env.mdp, alpha) for alpha in LEVELS}
    policies = {alpha: planner.optimal().policy for alpha, planner in planners.items()}
    return {
        alpha: [env.mdp.initial @ planners[at].evaluate(policy)[0] for at in LEVELS]
        for alpha, policy in policies.items()
    }


if __name__ == "__main__":
    app()
