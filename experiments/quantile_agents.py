"""Quantile agents of ours and their peer, trained with one budget; shared by the deep measurements.

sb3-contrib's QR-DQN, which is risk-neutral, has the same steps, network, batch and exploration.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import gymnasium as gym
import numpy as np
import pandas as pd
import ray
import torch
import typer
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from experiments.regret_report import interval
from tenfold.algorithms.common.quantile_critic import QuantileConfig

LEVELS = (0.1, 0.25, 0.5, 1.0)
REPORTED = 0.25
NEUTRAL = "alpha = 1"
QR_DQN = "QR-DQN (sb3-contrib)"
LR, BATCH, PARALLEL = 3e-3, 64, 24
WARMUP = 500  # environment steps before the first update


@dataclass(frozen=True)
class Budget:
    """What a run may spend; all agents of a comparison have the same.

    Attributes:
        steps: Of the environment.
        fragment: Steps of each of the `PARALLEL` environments between rounds of updates.
        updates: Of a round.
        last_lr: The learning rate falls to it in a line, from `LR`.
    """

    steps: int
    fragment: int
    updates: int
    last_lr: float

    @property
    def collected(self) -> int:
        """Environment steps between rounds."""
        return PARALLEL * self.fragment

    @property
    def total_updates(self) -> int:
        """Of the run."""
        return self.updates * ((self.steps - WARMUP) // self.collected)


Policy = Callable[[np.ndarray], np.ndarray]  # observations (B, n) to actions (B,)


def quantile_agent(
    config: QuantileConfig, budget: Budget, exploring: int, exploration: float
) -> Policy:
    """The greedy policy of an agent of ours.

    Args:
        config: Its task, seed and risk.
        budget: Its steps are the least number.
        exploring: Steps over which random actions fall from all to `exploration`.
        exploration: Their share afterwards.
    """
    if not ray.is_initialized():
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    config.update_from_dict(
        {
            "num_envs_per_env_runner": PARALLEL,
            "rollout_fragment_length": budget.fragment,
            "train_batch_size_per_learner": BATCH,
            "training_intensity": budget.updates * BATCH / budget.collected,
            "lr": [[0, LR], [budget.steps, budget.last_lr]],
            "num_steps_sampled_before_learning_starts": WARMUP,
            "tau": 1.0 - 0.8**budget.fragment,  # one step of the target network a round
            "epsilon": [[0, 1.0], [exploring, exploration]],
        }
    )
    agent = config.build_algo()
    while agent.train()["num_env_steps_sampled_lifetime"] < budget.steps:
        pass
    module = agent.get_module()
    agent.stop()

    def policy(seen: np.ndarray) -> np.ndarray:
        actions = module.forward_inference({"obs": torch.as_tensor(seen)})["actions"]
        return np.asarray(actions)

    return policy


def qr_dqn(
    env: gym.Env[np.ndarray, Any],
    seed: int,
    budget: Budget,
    exploring: int,
    exploration: float,
) -> Policy:
    """The greedy policy of sb3-contrib's QR-DQN; arguments as of `quantile_agent`."""
    from sb3_contrib import QRDQN

    agent = QRDQN(
        "MlpPolicy",
        env,
        learning_rate=lambda left: budget.last_lr + left * (LR - budget.last_lr),
        batch_size=BATCH,
        train_freq=budget.collected,
        gradient_steps=budget.updates,
        learning_starts=WARMUP,
        target_update_interval=240,
        exploration_fraction=exploring / budget.steps,
        exploration_final_eps=exploration,
        gamma=1.0,
        policy_kwargs={"net_arch": [64, 64], "n_quantiles": 40},
        seed=seed,
    )
    agent.learn(budget.steps)
    return lambda seen: agent.predict(seen, deterministic=True)[0]


def add_training(
    app: typer.Typer,
    results: Path,
    default_steps: int,
    exploring: tuple[int, float],
    make_env: Callable[[str], gym.Env[np.ndarray, Any]],
    learnt: Callable[[str, float, int, Budget], Policy],
    evaluate: Callable[[str, Policy], Sequence[float]],
) -> None:
    """Give a measurement its command `train`, which appends a row a run to `runs.csv`.

    Args:
        app: Of the measurement.
        results: The folder of `runs.csv`.
        default_steps: Environment steps of a run.
        exploring: Of QR-DQN, see `qr_dqn`.
        make_env: From a task to its environment.
        learnt: From a task, a level, a seed and a budget to the policy of ours.
        evaluate: From a task to what a policy is worth there at each of `LEVELS`.
    """

    @app.command()
    def train(
        task: str,
        seeds: Annotated[int, typer.Option(help="Runs of each agent.")] = 5,
        first: Annotated[int, typer.Option(help="First seed.")] = 0,
        steps: Annotated[int, typer.Option(help="Environment steps of a run.")] = default_steps,
        fragment: Annotated[
            int, typer.Option(help=f"Rounds of updates come every {PARALLEL} times so many steps.")
        ] = 1,
        updates: Annotated[int, typer.Option(help="Of a round.")] = 1,
        last_lr: Annotated[float, typer.Option(help="The learning rate falls to it.")] = LR,
        agents: Annotated[
            list[str],
            typer.Option("--agent", help="Levels of ours, 1 is risk-neutral; or qr-dqn."),
        ] = ["1", "0.25", "qr-dqn"],  # noqa: B006
    ) -> None:
        """Train and evaluate all agents on a task, one seed after the other."""
        results.mkdir(parents=True, exist_ok=True)
        path = results / "runs.csv"
        budget = Budget(steps, fragment, updates, last_lr)
        for seed in range(first, first + seeds):
            for name in agents:
                if name == "qr-dqn":
                    policy, agent = qr_dqn(make_env(task), seed, budget, *exploring), QR_DQN
                else:
                    policy, agent = learnt(task, float(name), seed, budget), f"alpha = {name}"
                row: dict[str, Any] = {"task": task, "agent": agent, "seed": seed, "steps": steps}
                row["updates"] = budget.total_updates
                row |= {
                    f"at {at:g}": v for at, v in zip(LEVELS, evaluate(task, policy), strict=True)
                }
                pd.DataFrame([row]).to_csv(path, mode="a", index=False, header=not path.exists())
                print(row, flush=True)


def report(
    results: Path,
    about: str,
    risk: str,
    digits: int,
    optima: Callable[[str], Mapping[float, Sequence[float]]],
) -> None:
    """Write `table.md` and `frontier.png` of the runs in `runs.csv`, by task and budget.

    Args:
        results: The folder of all three.
        about: The table's first paragraph.
        risk: What the figure calls the risk measure at `REPORTED`.
        digits: After the point.
        optima: From a task to what the exact optimum of a level is worth at all levels, for each
            level; empty where nothing plans exactly.
    """
    runs = pd.read_csv(results / "runs.csv")
    heads = " | ".join(f"at {at:g}" for at in LEVELS)
    lines = [
        f"{about}\n",
        f"| task | steps | updates | agent | seeds | {heads} | gain |",
        "|" + "---|" * (len(LEVELS) + 6),
    ]
    budgets = runs.groupby(["task", "steps", "updates"], sort=False)
    figure = Figure(figsize=(5 * len(budgets), 4), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(budgets), squeeze=False)[0]
    reported, planned = f"at {REPORTED:g}", set[str]()
    for axes, ((task, steps, updates), part) in zip(panels, budgets, strict=True):
        neutral = part[part["agent"] == NEUTRAL].set_index("seed")[reported]
        for agent, rows in part.groupby("agent"):
            cells = [interval(rows[f"at {at:g}"].to_numpy()) for at in LEVELS]
            shown = " | ".join(f"{mean:.{digits}f} ± {half:.{digits}f}" for mean, half in cells)
            gain = "-"
            if agent != NEUTRAL:
                ahead, half = interval(
                    (rows.set_index("seed")[reported] - neutral).dropna().to_numpy()
                )
                gain = f"{ahead:.{digits}f} ± {half:.{digits}f}"
            spent = f"{steps:,} | {updates:,}"
            lines.append(f"| {task} | {spent} | {agent} | {len(rows)} | {shown} | {gain} |")
            (x, dx), (y, dy) = cells[-1], cells[LEVELS.index(REPORTED)]
            axes.errorbar(x, y, dy, dx, marker="o", capsize=3, label=agent)
        for alpha, values in optima(task).items() if task not in planned else ():
            shown = " | ".join(f"{value:.{digits}f}" for value in values)
            lines.append(f"| {task} | - | - | optimum at alpha = {alpha:g} | - | {shown} | - |")
        planned.add(task)
        axes.set(xlabel="mean return", ylabel=risk)
        axes.set_title(f"{task}, {steps:,} steps", fontsize=10)
        axes.legend(fontsize=7)
    (results / "table.md").write_text("\n".join(lines) + "\n")
    figure.savefig(results / "frontier.png", dpi=130)
    print("\n".join(lines))
