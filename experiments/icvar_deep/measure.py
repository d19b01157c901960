"""Risk-averse against risk-neutral agents of one code and budget: CSV, Markdown and a figure.

    python experiments/icvar_deep/measure.py train risk/RiskyShortcut-v0
    python experiments/icvar_deep/measure.py train risk/CurvyRoad-v0
    python experiments/icvar_deep/measure.py report

`train` appends one row a run to `experiments/results/icvar_deep/runs.csv`, `report` makes the table
and the frontier of all rows. A greedy policy's mean and iterated CVaR are exact: by backward
induction on the table, and by the closed form of `CurvyRoad` averaged over 50 starts.
sb3-contrib's QR-DQN, which is risk-neutral, learns from the same number of environment steps.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import torch
import typer
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy.stats import t as student_t

from tenfold.algorithms.icvar.planner import IteratedCVaR
from tenfold.algorithms.icvar_deep.config import ICVaRDeepConfig
from tenfold.envs.risk.control import CurvyRoad, TableEnv, make_control

RESULTS = Path(__file__).parent.parent / "results" / "icvar_deep"
FIELDS: dict[str, dict[str, Any]] = {
    "risk/RiskyShortcut-v0": {"p": 0.08},
    "risk/CurvyRoad-v0": {"T": 20, "cost": 3.0},
}
LEVELS = (0.1, 0.25, 0.5, 1.0)
JUDGED = 0.25
BUDGET = {
    "num_envs_per_env_runner": 24,
    "lr": 3e-3,
    "num_steps_sampled_before_learning_starts": 500,
    "tau": 0.2,
    "epsilon": [[0, 1.0], [3_000, 0.05]],
}
QR_DQN = "QR-DQN (sb3-contrib)"

Policy = Callable[[np.ndarray], np.ndarray]  # observations (B, n) to actions (B,)

app = typer.Typer(help=__doc__, no_args_is_help=True, pretty_exceptions_enable=False)


def learnt(task: str, alpha: float, seed: int, steps: int) -> Policy:
    """The greedy policy of an agent of ours after some environment steps."""
    config = ICVaRDeepConfig().environment(task, env_config=FIELDS[task]).debugging(seed=seed)
    config.update_from_dict({"alpha": alpha, **BUDGET})
    agent = config.build_algo()
    while agent.train()["num_env_steps_sampled_lifetime"] < steps:
        pass
    module = agent.get_module()
    agent.stop()

    def policy(seen: np.ndarray) -> np.ndarray:
        actions = module.forward_inference({"obs": torch.as_tensor(seen)})["actions"]
        return np.asarray(actions)

    return policy


def peer(task: str, seed: int, steps: int) -> Policy:
    """The greedy policy of sb3-contrib's QR-DQN with the same steps, network and batch."""
    from sb3_contrib import QRDQN

    agent = QRDQN(
        "MlpPolicy",
        make_control(task, **FIELDS[task]),
        learning_rate=3e-3,
        batch_size=64,
        train_freq=24,
        learning_starts=500,
        target_update_interval=240,
        exploration_fraction=3_000 / steps,
        exploration_final_eps=0.05,
        gamma=1.0,
        policy_kwargs={"net_arch": [64, 64], "n_quantiles": 40},
        seed=seed,
    )
    agent.learn(steps)
    return lambda seen: agent.predict(seen, deterministic=True)[0]


def judge(task: str, policy: Policy, alphas: tuple[float, ...]) -> list[float]:
    """Iterated CVaR of a policy at each level, exact (1 is the mean return)."""
    env = make_control(task, **FIELDS[task])
    if isinstance(env, TableEnv):
        mdp = env.mdp
        seen = env.observations()
        actions = policy(seen.reshape(mdp.H * mdp.S, -1)).reshape(mdp.H, mdp.S)
        values = [IteratedCVaR(mdp, alpha).evaluate(actions)[0] for alpha in alphas]
        return [float(mdp.initial @ value) for value in values]
    assert isinstance(env, CurvyRoad)
    totals = np.zeros(len(alphas))
    for start in range(50):
        seen, _ = env.reset(seed=start)
        done = False
        while not done:
            seen, _, done, _, info = env.step(policy(seen[None])[0])
            certain = np.minimum(info["skid_probability"] / np.array(alphas), 1.0)
            totals += (env.v - env.cost * certain) / 50
    return [float(total) for total in totals]


@app.command()
def train(
    task: str,
    seeds: Annotated[int, typer.Option(help="Runs of each agent.")] = 5,
    first: Annotated[int, typer.Option(help="First seed.")] = 0,
    steps: Annotated[int, typer.Option(help="Environment steps of a run.")] = 6_000,
    frontier: Annotated[bool, typer.Option(help="The other risk levels instead.")] = False,
) -> None:
    """Train and judge all agents on a task, one seed after the other."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / "runs.csv"
    for seed in range(first, first + seeds):
        for alpha in (0.5, 0.1) if frontier else (1.0, JUDGED, None):
            if alpha is None:
                policy, agent = peer(task, seed, steps), QR_DQN
            else:
                policy, agent = learnt(task, alpha, seed, steps), f"alpha = {alpha:g}"
            values = judge(task, policy, LEVELS)
            row: dict[str, Any] = {"task": task, "agent": agent, "seed": seed, "steps": steps}
            row |= {f"at {level:g}": v for level, v in zip(LEVELS, values, strict=True)}
            pd.DataFrame([row]).to_csv(path, mode="a", index=False, header=not path.exists())
            print(row, flush=True)


def interval(values: np.ndarray) -> tuple[float, float]:
    """Mean and half width of its 95 % Student-t interval."""
    half = student_t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values))
    return float(np.mean(values)), float(half)


@app.command()
def report() -> None:
    """The table of means and the frontier of mean against risk."""
    runs = pd.read_csv(RESULTS / "runs.csv")
    lines = [
        "Iterated CVaR of the greedy policy at each level (1: mean return), 95 % Student-t over "
        "seeds; 'optimum' by exact planning at the agent's own level.\n",
        "| task | agent | seeds | " + " | ".join(f"at {level:g}" for level in LEVELS) + " |",
        "|" + "---|" * (len(LEVELS) + 3),
    ]
    figure = Figure(figsize=(10, 4), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, runs["task"].nunique(), squeeze=False)[0]
    for axes, (task, part) in zip(panels, runs.groupby("task", sort=False), strict=True):
        for agent, rows in part.groupby("agent"):
            cells = [interval(rows[f"at {level:g}"].to_numpy()) for level in LEVELS]
            shown = " | ".join(f"{mean:.2f} ± {half:.2f}" for mean, half in cells)
            lines.append(f"| {task} | {agent} | {len(rows)} | {shown} |")
            (x, dx), (y, dy) = cells[-1], cells[LEVELS.index(JUDGED)]
            axes.errorbar(x, y, dy, dx, marker="o", capsize=3, label=agent)
        env = make_control(task, **FIELDS[task])
        if isinstance(env, TableEnv):
            for alpha in LEVELS:
                best = IteratedCVaR(env.mdp, alpha).optimal().policy
                values = [
                    env.mdp.initial @ IteratedCVaR(env.mdp, level).evaluate(best)[0]
                    for level in LEVELS
                ]
                shown = " | ".join(f"{value:.2f}" for value in values)
                lines.append(f"| {task} | optimum at alpha = {alpha:g} | - | {shown} |")
        axes.set(xlabel="mean return", ylabel=f"iterated CVaR at {JUDGED}", title=task)
        axes.legend(fontsize=7)
    (RESULTS / "table.md").write_text("\n".join(lines) + "\n")
    figure.savefig(RESULTS / "frontier.png", dpi=130)
    print("\n".join(lines))


if __name__ == "__main__":
    app()
