"""Risk-averse against risk-neutral agents of one code and budget: CSV, Markdown and a figure.

    python -m experiments.risk_pomdp_deep.measure train hindsight/Treatment-v0
    python -m experiments.risk_pomdp_deep.measure train hindsight/Tiger-v0
    python -m experiments.risk_pomdp_deep.measure report

`train` appends one row a run to `experiments/results/risk_pomdp_deep/runs.csv`, `report` makes the
table and the frontier of all rows. The policy of likeliest actions is evaluated exactly, over all
histories. Intervals are 95 % Student-t over seeds; 'gain' is that in the entropic risk over the
risk-neutral agent of the same seed. sb3-contrib's QR-DQN, which is risk-neutral, learns from the
same histories and the same number of environment steps.
"""

from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import ray
import typer
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from experiments.quantile_agents import LR, QR_DQN, Budget, qr_dqn
from experiments.regret_report import interval
from tenfold.algorithms.risk_pomdp.algorithm import RISK_NEUTRAL
from tenfold.algorithms.risk_pomdp.beta import evaluate, solve
from tenfold.algorithms.risk_pomdp_deep.config import RiskPOMDPDeepConfig
from tenfold.algorithms.risk_pomdp_deep.evaluation import history_policy, likeliest_policy
from tenfold.envs.risk.hindsight import make_history
from tenfold.envs.risk.pomdp import HistoryPolicy, TabularPOMDP
from tenfold.platform.tables import save_table

RESULTS = Path(__file__).parent.parent / "results" / "risk_pomdp_deep"
FIELDS: dict[str, dict[str, Any]] = {
    "hindsight/Treatment-v0": {"H": 4},
    "hindsight/Tiger-v0": {"H": 4, "accuracy": 0.95},
}
AVERSE = -3.0
NEUTRAL = "gamma = 0"
FRONTIER = (NEUTRAL, "gamma = -1", "gamma = -3")
AGENTS: dict[str, dict[str, Any]] = {
    NEUTRAL: {"gamma_risk": 0.0},
    "gamma = -1": {"gamma_risk": -1.0},
    "gamma = -3": {"gamma_risk": AVERSE},
    "gamma = -3, no hindsight": {"gamma_risk": AVERSE, "hindsight_coeff": 0.0},
}
MEAN, RISK = "mean", f"risk at {AVERSE:g}"
PARALLEL = 72  # environments; a batch is then 7 episodes of each
EXPLORING = 10_000, 0.05  # QR-DQN's steps of exploration, and its share afterwards

app = typer.Typer(help=__doc__, no_args_is_help=True, pretty_exceptions_enable=False)


def true_model(task: str) -> TabularPOMDP:
    """The POMDP of a task."""
    pomdp: TabularPOMDP = make_history(task, **FIELDS[task]).unwrapped.pomdp
    return pomdp


def evaluated(pomdp: TabularPOMDP, policy: HistoryPolicy) -> dict[str, float]:
    """Exact mean and entropic risk of a policy."""
    return {
        MEAN: evaluate(pomdp, RISK_NEUTRAL, policy),
        RISK: evaluate(pomdp, AVERSE, policy),
    }


def learnt(task: str, agent: str, seed: int, steps: int) -> HistoryPolicy:
    """The policy of an agent after some environment steps."""
    if agent == QR_DQN:
        env = make_history(task, **FIELDS[task])
        budget = Budget(steps, fragment=1, updates=1, last_lr=LR)
        return history_policy(qr_dqn(env, seed, budget, *EXPLORING), true_model(task))
    config = RiskPOMDPDeepConfig().environment(task, env_config=FIELDS[task])
    config.update_from_dict({"num_envs_per_env_runner": PARALLEL, **AGENTS[agent]})
    trained = config.debugging(seed=seed).build_algo()
    while trained.train()["num_env_steps_sampled_lifetime"] < steps:
        pass
    policy = likeliest_policy(trained.get_module(), true_model(task))
    trained.stop()
    return policy


@app.command()
def train(
    task: str,
    agents: Annotated[list[str], typer.Option(help="Of them.")] = [*AGENTS, QR_DQN],  # noqa: B006
    seeds: Annotated[int, typer.Option(help="Runs of each agent.")] = 5,
    first: Annotated[int, typer.Option(help="First seed.")] = 0,
    steps: Annotated[int, typer.Option(help="Environment steps of a run.")] = 30_000,
) -> None:
    """Train and evaluate agents on a task, one seed after the other."""
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / "runs.csv"
    for seed in range(first, first + seeds):
        for agent in agents:
            policy = learnt(task, agent, seed, steps)
            row = {"task": task, "agent": agent, "seed": seed, "steps": steps}
            row |= evaluated(true_model(task), policy)
            pd.DataFrame([row]).to_csv(path, mode="a", index=False, header=not path.exists())
            print(row, flush=True)


@app.command()
def report() -> None:
    """The table of means and gains, and the frontier of mean against risk."""
    runs = pd.read_csv(RESULTS / "runs.csv")
    rows: list[dict[str, Any]] = []
    figure = Figure(figsize=(10, 4), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, runs["task"].nunique(), squeeze=False)[0]
    for axes, (task, part) in zip(panels, runs.groupby("task", sort=False), strict=True):
        neutral = part[part["agent"] == NEUTRAL].set_index("seed")[RISK]
        points: dict[str, tuple[float, float]] = {}
        for agent, of_agent in part.groupby("agent", sort=False):
            (x, dx), (y, dy) = (interval(of_agent[key].to_numpy()) for key in (MEAN, RISK))
            row = {"task": task, "agent": agent, "seeds": len(of_agent), MEAN: x, "mean ±": dx}
            row |= {RISK: y, "risk ±": dy}
            if agent != NEUTRAL:
                ahead = (of_agent.set_index("seed")[RISK] - neutral).dropna().to_numpy()
                row["gain"], row["gain ±"] = interval(ahead)
            rows.append(row)
            axes.errorbar(x, y, dy, dx, marker="o", capsize=3, linestyle="none", label=agent)
            points[agent] = x, y
        axes.plot(
            *zip(*(points[agent] for agent in FRONTIER if agent in points), strict=True),
            color="grey",
            zorder=0,
        )
        for gamma in (RISK_NEUTRAL, -1.0, AVERSE, -5.0):
            exact = evaluated(true_model(task), solve(true_model(task), gamma).policy)
            label = f"optimum at gamma = {0.0 if gamma == RISK_NEUTRAL else gamma:g}"
            rows.append({"task": task, "agent": label, "seeds": "-"} | exact)
            axes.plot(*exact.values(), "kx")
        axes.set(xlabel="mean return", ylabel=f"entropic risk at {AVERSE:g}", title=task)
        axes.legend(fontsize=7)
    about = "Exact evaluation of likeliest actions; crosses in the figure: exact optima."
    save_table(
        RESULTS / "table", pd.DataFrame(rows).astype(object).fillna("-").to_dict("records"), about
    )
    figure.savefig(RESULTS / "frontier.png", dpi=130)


if __name__ == "__main__":
    app()
