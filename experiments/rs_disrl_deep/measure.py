r"""Static risk against risk-neutral agents of one code and budget: CSV, Markdown and a figure.

    python -m experiments.rs_disrl_deep.measure train collected/Inventory-v0 --steps 15000 \
        --fragment 4 --updates 4 --last-lr 0.0003
    python -m experiments.rs_disrl_deep.measure train collected/BudgetedPath-v0 --agent 0.5
    python -m experiments.rs_disrl_deep.measure report

`train` appends one row a run to `experiments/results/rs_disrl_deep/runs.csv`, `report` makes the
table and the frontiers of all rows, one for each task and budget. Greedy policies are evaluated: on
grid tasks by the exact return distribution, on the others by 2,000 episodes. sb3-contrib's QR-DQN,
which is risk-neutral, learns from the same observations and the same number of environment steps.
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
from tenfold.algorithms.rs_disrl.planner import StaticPlanner
from tenfold.algorithms.rs_disrl_deep.config import RSDisRLDeepConfig
from tenfold.envs.risk.collected import GridControl, all_observations, make_collected
from tenfold.envs.risk.estimates import played_returns
from tenfold.envs.risk.measures import CVaR

RESULTS = Path(__file__).parent.parent / "results" / "rs_disrl_deep"
FIELDS: dict[str, dict[str, Any]] = {
    "collected/Inventory-v0": {"H": 4, "most": 5, "orders": 3},
    "collected/BudgetedPath-v0": {"H": 4},
    "collected/Betting-v0": {"H": 3, "capital": 2, "most": 5, "win": 0.7},
    "collected/CurvyRoad-v0": {"T": 20, "cost": 3.0},
}
UNITS: dict[str, dict[str, float]] = {
    "collected/Inventory-v0": {"return_scale": 2.0, "shift_span": 1.0},
    "collected/BudgetedPath-v0": {"return_scale": 1.0, "shift_span": 0.5},
    "collected/Betting-v0": {"return_scale": 1.0, "shift_span": 0.5},
    "collected/CurvyRoad-v0": {"return_scale": 10.0, "shift_span": 4.0},
}
EPISODES = 2_000
EXPLORING = 2_000, 0.1  # steps of exploration, and its share afterwards

app = typer.Typer(help=__doc__, no_args_is_help=True, pretty_exceptions_enable=False)


def make_env(task: str) -> gym.Env[np.ndarray, Any]:
    """A task with the fields that it is measured with."""
    return make_collected(task, **FIELDS[task])


def learnt(task: str, alpha: float, seed: int, budget: Budget) -> Policy:
    """The greedy policy of an agent of ours."""
    config = RSDisRLDeepConfig().environment(task, env_config=FIELDS[task]).debugging(seed=seed)
    rho = ("expectation", {}) if alpha == 1.0 else ("cvar", {"alpha": alpha})
    config.update_from_dict({"rho": rho[0], "rho_parameters": rho[1], **UNITS[task]})
    return quantile_agent(config, budget, *EXPLORING)


def evaluate(task: str, policy: Policy) -> list[float]:
    """CVaR of the return of a policy at each level."""
    env = make_env(task)
    if isinstance(env.unwrapped, GridControl):
        mdp = env.unwrapped.mdp
        table = all_observations(mdp)
        actions = policy(table.reshape(-1, table.shape[-1])).reshape(table.shape[:-1])
        values, mass = mdp.returns, mdp.return_distribution(actions)
    else:
        envs = [make_env(task) for _ in range(EPISODES)]
        values, mass = played_returns(envs, policy, 10_000), np.full(EPISODES, 1 / EPISODES)
    return [float(CVaR(level)(values, mass)) for level in LEVELS]


add_training(app, RESULTS, 3_000, EXPLORING, make_env, learnt, evaluate)


@app.command("report")
def make_report() -> None:
    """The table of means, what is better than the risk-neutral agent seed by seed, the frontier."""
    about = (
        "CVaR of the return of the greedy policy at each level (1: mean), 95 % Student-t over "
        f"seeds. 'Gain' is CVaR {REPORTED} over the risk-neutral agent of the same seed."
    )
    report(RESULTS, about, f"CVaR {REPORTED} of the return", digits=3, optima=optima)


def optima(task: str) -> dict[float, list[float]]:
    """What the optimum of each level is worth at all levels, on grid tasks."""
    env = make_env(task).unwrapped
    if not isinstance(env, GridControl):
        return {}
    best = {a: StaticPlanner(env.mdp).solve(CVaR(a)).policy for a in LEVELS}
    masses = {a: env.mdp.return_distribution(policy) for a, policy in best.items()}
    return {
        alpha: [float(CVaR(at)(env.mdp.returns, mass)) for at in LEVELS]
        for alpha, mass in masses.items()
    }


if __name__ == "__main__":
    app()
