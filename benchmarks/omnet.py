"""Off-policy loops beside stable-baselines3's, and what a critic update of OMNet costs.

    python benchmarks/omnet.py

Loops: SAC, TD3 and OMNet, RLlib's own loop for SAC, and the peer's SAC and TD3, all with 2 x 256
units, batches of 256 and one thread, at 1 and 5 gradient steps for each environment step. They
take turns of equal length in one process, after a warm-up; figures are medians over the turns, in
processor and in wall milliseconds for each environment step, and the ratio is of the peer's time to
ours: above 1 is faster than the peer.

Parts: where the processor time of a step goes in RLlib's loop, and what ours does in its place.

Updates: one gradient step of the critic, its target and its Polyak average, through one learner:
OMNet with K = 5 and S = 0.5 beside single and twin critics, DroQ and REDQ's ten.
"""

import logging
import os
import time
import warnings
from collections.abc import Callable
from copy import deepcopy
from statistics import median
from typing import Annotated, Any

os.environ["OMP_NUM_THREADS"] = "1"
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import numpy as np
import ray
import torch
import typer
from gymnasium import spaces
from ray.rllib.algorithms.sac import SAC as RLlibSAC
from ray.rllib.algorithms.sac.torch.sac_torch_learner import SACTorchLearner
from ray.rllib.core.columns import Columns
from ray.rllib.core.learner.training_data import TrainingData
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch
from ray.rllib.utils.replay_buffers.episode_replay_buffer import EpisodeReplayBuffer
from ray.rllib.utils.replay_buffers.prioritized_episode_buffer import PrioritizedEpisodeReplayBuffer
from rich.console import Console
from rich.table import Table
from stable_baselines3 import SAC, TD3

from tenfold.algorithms.common.transition_replay import TransitionReplay, TransitionRunner
from tenfold.algorithms.omnet.ledger import critic_step_flops
from tenfold.platform.configuration import build_config
from tenfold.platform.registry import get_method

HIDDENS, BATCH = [256, 256], 256
MODULE = "default_policy"
CRITICS = ("sinsac", "sac", "droq", "redq", "omnet", "split", "unit", "unit_split")
Loop = Callable[[int], None]


def peer(model_class: Any, task: str, utd: int, steps: int) -> Loop:
    """A loop of stable-baselines3 that takes environment steps; learns from the second turn on."""
    model = model_class(
        "MlpPolicy",
        task,
        policy_kwargs={"net_arch": HIDDENS},
        batch_size=BATCH,
        buffer_size=100_000,
        learning_starts=steps,
        train_freq=1,
        gradient_steps=utd,
        seed=0,
        device="cpu",
    )
    return lambda steps: model.learn(steps, reset_num_timesteps=False)


def config_of(method: str, variant: str, task: str, utd: int, steps: int) -> Any:
    """A config of ours whose iteration has `steps` environment steps."""
    settings: dict[str, Any] = {
        "model_config.fcnet_hiddens": HIDDENS,
        "model_config.fcnet_activation": "relu",
        "train_batch_size_per_learner": BATCH,
        "replay_buffer_config.capacity": 100_000,
        "num_steps_sampled_before_learning_starts": steps,
        "min_sample_timesteps_per_iteration": steps,
        "utd_ratio": utd,
        "evaluation_interval": None,
    }
    return build_config(get_method(method), task, variant, settings, seed=0)


def ours(config: Any) -> tuple[Loop, dict[str, float]]:
    """A loop of ours, and where the time of its last turn went."""
    algorithm = config.build_algo()
    seconds: dict[str, float] = {}

    def run(steps: int) -> None:
        begun = time.perf_counter()
        seconds.update(algorithm.train()["timers"])
        seconds["whole"] = time.perf_counter() - begun

    return run, seconds


def bare(config: Any) -> Loop:
    """The same runner, replay and learner without RLlib's algorithm around them, nor Ray."""
    runner = config.env_runner_cls(config=config, worker_index=0)
    learner = config.build_learner(spaces=runner.get_spaces())
    replay = TransitionReplay(config.replay_buffer_config["capacity"], seed=0)
    acting = runner.module.state_dict(keep_vars=True)
    learnt = learner.module[MODULE].state_dict(keep_vars=True)

    def run(steps: int) -> None:
        for _ in range(steps):
            replay.add(runner.collect())
            if replay.added >= config.num_steps_sampled_before_learning_starts:
                columns = replay.sample(BATCH * config.utd_ratio)
                learner.update(
                    training_data=TrainingData(
                        batch=MultiAgentBatch({MODULE: SampleBatch(columns)}, BATCH)
                    ),
                    timesteps={"num_env_steps_sampled_lifetime": replay.added},
                    gradient_steps=config.utd_ratio,
                    _no_metrics_reduce=True,
                )
                with torch.no_grad():
                    torch._foreach_copy_(list(acting.values()), [learnt[name] for name in acting])

    return run


def rllibs(task: str, utd: int, steps: int) -> Loop:
    """RLlib's own loop, learner and runner for SAC, with the same networks and replay."""
    settings = {
        "model_config.fcnet_hiddens": HIDDENS,
        "model_config.fcnet_activation": "relu",
        "replay_buffer_config.capacity": 100_000,
        "num_steps_sampled_before_learning_starts": steps,
        "min_sample_timesteps_per_iteration": steps,
        "training_intensity": float(utd * BATCH),
    }
    config = build_config(get_method("sac"), task, "sac", settings, seed=0)
    config = config.copy(copy_frozen=False).training(learner_class=SACTorchLearner)
    config.algo_class, config.env_runner_cls = RLlibSAC, None
    algorithm = config.build_algo()
    return lambda steps: algorithm.train()


def take_turns(loops: dict[Any, Loop], steps: int, rounds: int) -> dict[Any, tuple[float, float]]:
    """Milliseconds for each environment step, processor and wall: medians over the rounds."""
    for loop in loops.values():  # the first turn only fills a replay
        loop(steps)
        loop(steps)
    spent: dict[Any, list[tuple[float, float]]] = {name: [] for name in loops}
    for _ in range(rounds):
        for name, loop in loops.items():
            cpu, wall = time.process_time(), time.perf_counter()
            loop(steps)
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
            spent[name].append((cpu / steps * 1e3, wall / steps * 1e3))
    return {
        name: (median(cpu for cpu, _ in each), median(wall for _, wall in each))
        for name, each in spent.items()
    }


def compare_loops(
    task: str, utd: int, steps: int, rounds: int, console: Console, *, whole: bool
) -> None:
    """Print one table at one UTD: every loop, or (not `whole`) bare ones, which need no Ray."""
    loops = {f"sb3 {each.__name__}": peer(each, task, utd, steps) for each in (SAC, TD3)}
    seconds: dict[str, dict[str, float]] = {}
    for name, method, variant in (
        ("sac", "sac", "sac"),
        ("td3", "td3", "td3"),
        ("omnet sac", "omnet", "sac"),
        ("omnet split", "omnet", "split"),
        ("omnet unit_split", "omnet", "unit_split"),
        ("omnet", "omnet", "omnet"),
    ):
        config = config_of(method, variant, task, utd, steps)
        if whole:
            loops[name], seconds[name] = ours(config)
        elif name in ("sac", "td3"):
            loops[f"{name}, bare"] = bare(config)
    if whole:
        loops["RLlib's loop"] = rllibs(task, utd, steps)
    found = take_turns(loops, steps, rounds)
    table = Table(
        *("loop", "CPU ms a step", "wall ms", "updates a CPU second", "beside", "ratio CPU"),
        *("ratio wall", "collect", "learn", "other"),
        title=f"{task}, UTD {utd}, {rounds} turns of {steps} steps",
    )
    for name, (cpu, wall) in found.items():
        beside = "sb3 TD3" if "td3" in name.lower() else "sb3 SAC"
        ratios = [found[beside][i] / (cpu, wall)[i] for i in range(2)]
        parts = _parts(seconds[name]) if name in seconds else ["", "", ""]
        table.add_row(
            *(name, f"{cpu:.2f}", f"{wall:.2f}", f"{utd / cpu * 1e3:.0f}", beside),
            *(f"{ratio:.2f}" for ratio in ratios),
            *parts,
        )
    console.print(table)


def _parts(seconds: dict[str, float]) -> list[str]:
    """Shares of the last turn's wall time: collecting, learning, all else."""
    collect, learn = (
        seconds[f"{name}_seconds"] / seconds["whole"] for name in ("collect", "learn")
    )
    return [f"{collect:.0%}", f"{learn:.0%}", f"{1 - collect - learn:.0%}"]


def compare_parts(task: str, console: Console, times: int = 30) -> None:
    """Print what one step at one gradient step costs in RLlib's parts and in ours."""
    settings = {"model_config.fcnet_hiddens": HIDDENS, "model_config.fcnet_activation": "relu"}
    config = build_config(get_method("sac"), task, "sac", settings, seed=0)
    plain = config.copy(copy_frozen=False).training(learner_class=SACTorchLearner)
    steps = {"num_env_steps_sampled_lifetime": 0}
    theirs, mine = SingleAgentEnvRunner(config=plain), TransitionRunner(config=config)
    learner = plain.build_learner(spaces=theirs.get_spaces())
    own = config.build_learner(spaces=theirs.get_spaces())

    def collect() -> Any:
        theirs.get_metrics()
        return theirs.sample()

    uniform = EpisodeReplayBuffer(capacity=10_000)
    prioritised = PrioritizedEpisodeReplayBuffer(capacity=10_000)
    replay = TransitionReplay(10_000, seed=0)
    for _ in range(300):
        episodes = collect()
        uniform.add(deepcopy(episodes))
        prioritised.add(episodes)
        replay.add(mine.collect())
    drawn = {"num_items": BATCH, "n_step": 1, "gamma": 0.99, "sample_episodes": True}
    sampled = uniform.sample(**drawn)

    def connect() -> Any:
        given: dict[str, Any] = {"batch": {}, "episodes": sampled, "shared_data": {}}
        return learner._learner_connector(
            rl_module=learner.module, metrics=learner.metrics, **given
        )

    tensors = MultiAgentBatch({MODULE: SampleBatch(connect()[MODULE])}, BATCH)
    arrays = MultiAgentBatch({MODULE: SampleBatch(replay.sample(BATCH))}, BATCH)

    def move_weights() -> None:
        theirs.set_state({"rl_module": learner.module[MODULE].get_state(inference_only=True)})

    def update() -> None:
        own.update(
            training_data=TrainingData(batch=arrays),
            timesteps=steps,
            gradient_steps=1,
            _no_metrics_reduce=True,
        )

    parts: dict[str, tuple[Callable[[], Any], Callable[[], Any] | None]] = {
        "collect a step": (collect, mine.collect),
        "draw a batch, uniformly": (
            lambda: uniform.sample(**drawn),
            lambda: replay.sample(BATCH),
        ),
        "the same, prioritised": (lambda: prioritised.sample(beta=0.4, **drawn), None),
        "connectors of a batch": (connect, None),
        "update from tensors": (lambda: learner.update(batch=tensors, timesteps=steps), update),
        "weights to the runner": (move_weights, None),
    }
    flat = {
        (part, whose): _repeated(call)
        for part, pair in parts.items()
        for whose, call in zip(("RLlib", "ours"), pair, strict=True)
        if call is not None
    }
    found = take_turns(flat, times, rounds=1)
    table = Table("part", "RLlib, CPU ms", "ours, CPU ms", title=f"{task}, SAC, UTD 1")
    for part in parts:
        values = [found.get((part, whose)) for whose in ("RLlib", "ours")]
        table.add_row(part, *("" if value is None else f"{value[0]:.2f}" for value in values))
    console.print(table)


def _repeated(call: Callable[[], Any]) -> Loop:
    def run(count: int) -> None:
        for _ in range(count):
            call()

    return run


def compare_updates(rounds: int, console: Console, updates: int = 60) -> None:
    """Print what one gradient step of each critic costs, on Hopper's sizes."""
    observations, actions = 11, 3
    given = {MODULE: (spaces.Box(-1.0, 1.0, (observations,)), spaces.Box(-1.0, 1.0, (actions,)))}
    settings = {
        "model_config.fcnet_hiddens": HIDDENS,
        "train_batch_size_per_learner": BATCH,
        "policy_delay": 10**9,  # the critic alone
        "policy_subnets": 1,  # the same policy for all
    }
    rng = np.random.default_rng(0)
    columns = {
        Columns.OBS: rng.normal(size=(BATCH, observations)).astype(np.float32),
        Columns.ACTIONS: rng.uniform(-1, 1, (BATCH, actions)).astype(np.float32),
        Columns.REWARDS: rng.normal(size=BATCH).astype(np.float32),
        Columns.NEXT_OBS: rng.normal(size=(BATCH, observations)).astype(np.float32),
        Columns.TERMINATEDS: np.zeros(BATCH, np.float32),
    }
    learners = {
        variant: build_config(
            get_method("omnet"), "Hopper-v5", variant, settings, seed=0
        ).build_learner(spaces=given)
        for variant in CRITICS
    }

    def loop(learner: Any) -> Loop:
        batch = MultiAgentBatch({MODULE: SampleBatch(columns)}, BATCH)
        steps = {"num_env_steps_sampled_lifetime": 0}

        def run(count: int) -> None:
            for _ in range(count):
                learner.update(
                    training_data=TrainingData(batch=batch),
                    timesteps=steps,
                    gradient_steps=1,
                    _no_metrics_reduce=True,
                )

        return run

    loops = {variant: loop(learner) for variant, learner in learners.items()}
    found = take_turns(loops, updates, rounds)
    modules = {variant: learner.module[MODULE] for variant, learner in learners.items()}
    weights = {
        variant: sum(each.numel() for each in module.qf.parameters())
        for variant, module in modules.items()
    }
    table = Table(
        *("critic", "parameters", "of REDQ's", "ideal MFLOPs", "executed MFLOPs", "CPU ms"),
        *("wall ms", "of twin SAC's", "of REDQ's"),
        title=f"One critic update, batch {BATCH}, Hopper's sizes, {rounds} turns of {updates}",
    )
    for variant, (cpu, wall) in found.items():
        ideal, executed = (
            critic_step_flops(modules[variant], BATCH, executed=each) / 1e6
            for each in (False, True)
        )
        table.add_row(
            *(variant, f"{weights[variant]:,}", f"{weights[variant] / weights['redq']:.2f}"),
            *(f"{ideal:.0f}", f"{executed:.0f}", f"{cpu:.2f}", f"{wall:.2f}"),
            *(f"{cpu / found[other][0]:.2f}" for other in ("sac", "redq")),
        )
    console.print(table)


def main(
    task: Annotated[
        str, typer.Option(help="A Gymnasium id with continuous actions.")
    ] = "Hopper-v5",
    steps: Annotated[int, typer.Option(help="Environment steps of a turn.")] = 300,
    rounds: Annotated[int, typer.Option(help="Turns of each loop.")] = 5,
    utd: Annotated[list[int], typer.Option(help="Gradient steps a step.")] = [1, 5],  # noqa: B006
    only: Annotated[
        str, typer.Option(help="One of parts, updates, bare, loops; all when left out.")
    ] = "parts updates bare loops",
) -> None:
    """Time loops and updates."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    console = Console(width=150)
    if "parts" in only:
        compare_parts(task, console)
    if "updates" in only:
        compare_updates(rounds, console)
    for each in utd:
        if "bare" in only:
            compare_loops(task, each, steps, rounds, console, whole=False)
        if "loops" in only:
            ray.init(ignore_reinit_error=True, include_dashboard=False, log_to_driver=False)
            compare_loops(task, each, steps, rounds, console, whole=True)


if __name__ == "__main__":
    typer.run(main)
