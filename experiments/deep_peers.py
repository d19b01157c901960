"""The peers of deep risk agents: sb3-contrib's QR-DQN, and exact optima.

QR-DQN is risk-neutral and has the seeds, steps, updates, network, batch, learning rates and
exploration of the experiment that it stands beside. Each method's `measure.py` says what a policy
is worth on its tasks, and what is optimal there.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from tenfold.platform.errors import unknown
from tenfold.platform.experiment import load_experiment
from tenfold.platform.study import resolve_study
from tenfold.platform.tables import save_table

STEPS = "num_env_steps_sampled_lifetime"

Policy = Callable[[np.ndarray], np.ndarray]  # observations (B, n) to actions (B,)
Values = Mapping[str, float]  # columns of a table


@dataclass(frozen=True)
class Budget:
    """What QR-DQN may spend.

    Attributes:
        collected: Environment steps between rounds of updates.
        updates: Of a round.
        lr: The learning rate at first and at the end, between which it falls in a line.
        batch: Steps of an update.
        warmup: Environment steps before the first update.
        exploring: Steps over which random actions fall from all to `exploration`.
        exploration: Their share afterwards.
    """

    collected: int
    updates: int
    lr: tuple[float, float]
    batch: int
    warmup: int
    exploring: int
    exploration: float


def same_budget(config: Any) -> Budget:
    """The budget of a `QuantileConfig` that gives fragments, intensity and exploration."""
    collected = config.num_envs_per_env_runner * config.rollout_fragment_length
    batch = config.train_batch_size_per_learner
    rates = config.lr if isinstance(config.lr, list) else [[0, config.lr]]
    exploring, exploration = config.epsilon[-1]
    return Budget(
        collected=collected,
        updates=round(config.training_intensity * collected / batch),
        lr=(rates[0][1], rates[-1][1]),
        batch=batch,
        warmup=config.num_steps_sampled_before_learning_starts,
        exploring=exploring,
        exploration=exploration,
    )


def qr_dqn(env: gym.Env[np.ndarray, Any], seed: int, steps: int, budget: Budget) -> Policy:
    """The greedy policy of sb3-contrib's QR-DQN after `steps` environment steps."""
    from sb3_contrib import QRDQN

    first, last = budget.lr
    agent = QRDQN(
        "MlpPolicy",
        env,
        learning_rate=lambda left: last + left * (first - last),
        batch_size=budget.batch,
        train_freq=budget.collected,
        gradient_steps=budget.updates,
        learning_starts=budget.warmup,
        target_update_interval=240,
        exploration_fraction=budget.exploring / steps,
        exploration_final_eps=budget.exploration,
        gamma=1.0,
        policy_kwargs={"net_arch": [64, 64], "n_quantiles": 40},
        seed=seed,
    )
    agent.learn(steps)
    return lambda seen: agent.predict(seen, deterministic=True)[0]


def write_table(
    method: str,
    about: str,
    make_env: Callable[[Any], gym.Env[np.ndarray, Any]],
    evaluate: Callable[[Any, Policy], Values],
    optima: Callable[[Any], Iterator[tuple[str, Values]]],
    budget: Callable[[Any], Budget] = same_budget,
) -> None:
    """Train QR-DQN beside the experiments that the command line names, and plan their optima.

    Writes `peers.csv` and `peers.md` into the results of `method`.

    Args:
        method: A folder here, with experiments.
        about: What the table shows.
        make_env: From an experiment's config to the environment of QR-DQN.
        evaluate: From a config and a policy to what it is worth.
        optima: From a config to optima and what they are worth, none where nothing plans exactly.
        budget: From a config to that of QR-DQN.
    """
    here = Path(__file__).parent
    files = {file.stem: file for file in sorted((here / method).glob("*.yaml"))}
    for name in sys.argv[1:]:
        if name not in files:
            sys.exit(f"Error: {unknown('experiment', name, files)}")
    rows: list[dict[str, Any]] = []
    for name in sys.argv[1:] or files:
        study = resolve_study(load_experiment(files[name]))
        config = study.unswept(study.experiment.variants[0])
        for seed in study.experiment.seeds:
            steps = int(study.experiment.stop[STEPS])
            policy = qr_dqn(make_env(config), seed, steps, budget(config))
            row = {"experiment": name, "agent": "QR-DQN (sb3-contrib)", "seed": str(seed)}
            rows.append({**row, **evaluate(config, policy)})
        for label, values in optima(config):
            rows.append({"experiment": name, "agent": label, "seed": "-", **values})
    save_table(here / "results" / method / "peers", rows, about)
