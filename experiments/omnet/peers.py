"""TQC and CrossQ of sb3-contrib in the protocol of an experiment of OMNet, beside its own runs.

    python -m experiments.omnet.peers tier1 --seeds 5
    tenfold compare omnet-tier1 --by variant --baseline sac --score area --mix

Task, environment steps, updates a step, batch, widths, warm-up and evaluations are the
experiment's; rates and all else are sb3-contrib's own. CrossQ has critics of the experiment's width
as `crossq`, and of 1,024 units as `crossq_wide`, as it is shipped.
"""

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import gymnasium as gym
import torch
import typer
from stable_baselines3.common.evaluation import evaluate_policy

from experiments.deep_peers import STEPS
from tenfold.algorithms.omnet import METHOD
from tenfold.platform.experiment import load_experiment
from tenfold.platform.journal import Journal, deliver_all
from tenfold.platform.store import runs_folder, tracking_uri
from tenfold.platform.study import resolve_study


class Peer(StrEnum):
    """An algorithm of sb3-contrib, and how wide its critics are."""

    TQC = "tqc"
    CROSSQ = "crossq"
    CROSSQ_WIDE = "crossq_wide"


def scores(peer: Peer, config: Any, steps: int, seed: int) -> Iterator[tuple[int, float]]:
    """Environment steps and mean deterministic returns of a peer's evaluations."""
    from sb3_contrib import TQC, CrossQ  # only this needs the extra dev

    hiddens, task = config.told()["hiddens"], config.env
    agent = (TQC if peer is Peer.TQC else CrossQ)(
        "MlpPolicy",
        gym.make(task),
        batch_size=config.train_batch_size_per_learner,
        learning_starts=config.num_steps_sampled_before_learning_starts,
        gradient_steps=config.utd_ratio,
        gamma=config.gamma,
        policy_kwargs={
            "net_arch": {"pi": hiddens, "qf": [1024, 1024] if peer is Peer.CROSSQ_WIDE else hiddens}
        },
        seed=seed,
    )
    tests = gym.make(task)
    tests.reset(seed=seed + 1_000_000)
    every = config.min_sample_timesteps_per_iteration
    for step in range(every, steps + 1, every):
        agent.learn(every, reset_num_timesteps=False)
        episodes = config.evaluation_duration
        yield step, evaluate_policy(agent, tests, episodes, deterministic=True, warn=False)[0]


def main(
    name: Annotated[str, typer.Argument(help="An experiment of this folder.")],
    seeds: Annotated[int, typer.Option(help="As many, from 0 on.")] = 5,
    peers: Annotated[list[Peer] | None, typer.Option("--peer", help="All when left out.")] = None,
) -> None:
    """Train and record the peers."""
    torch.set_num_threads(1)
    study = resolve_study(load_experiment(Path(__file__).with_name(f"{name}.yaml")))
    experiment = study.experiment
    config = study.unswept("sac")
    common = {
        "kind": "trial",
        "method": METHOD.name,
        "experiment": experiment.name,
        "task": config.env,
        "step_unit": METHOD.step_unit,
        "metric": METHOD.metric,
        "mode": METHOD.mode,
    }
    for seed in range(seeds):
        for peer in peers or Peer:
            journal = Journal(runs_folder() / "peers", f"{experiment.name}-{peer.value}-{seed}")
            tags = {**common, "variant": peer.value, "seed": str(seed)}
            journal.start(experiment.name, f"{config.env}/{peer.value}/seed={seed}", tags)
            for step, score in scores(peer, config, int(experiment.stop[STEPS]), seed):
                journal.metrics(step, {METHOD.metric: score})
            journal.status("FINISHED")
            deliver_all([journal], tracking_uri())


if __name__ == "__main__":
    typer.run(main)
