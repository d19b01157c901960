"""Two learners in two processes, without Ray. Costs ten processor seconds, for their imports.

The file is the test and, run as a script, what each of the two processes does.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from ray.rllib.core.columns import Columns
from ray.rllib.core.learner.training_data import TrainingData
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch

from tenfold.platform.configuration import build_config
from tenfold.platform.registry import get_method

MODULE, METHODS = "default_policy", ("omnet", "omnet_dqn")


def test_learners_on_different_shards_stay_equal(tmp_path: Path) -> None:
    """Gradients are averaged: apart from that, the two would draw apart at the first step."""
    commands = [[sys.executable, __file__, str(rank), str(tmp_path)] for rank in (0, 1)]
    processes = [subprocess.Popen(command) for command in commands]
    assert [process.wait() for process in processes] == [0, 0]
    for name in METHODS:
        one, other, before = (np.load(tmp_path / f"{name}-{each}.npz") for each in (0, 1, "first"))
        assert one["critic_steps"] == 3
        for key in one:
            np.testing.assert_array_equal(one[key], other[key], err_msg=f"{name} {key}")
        moved = [key for key in one if not np.array_equal(one[key], before[key])]
        assert any(key.startswith("qf.") for key in moved)


def learn(name: str, rank: int, folder: Path) -> None:
    """Three gradient steps of one of two learners, on steps that the other does not see."""
    method = get_method(name)
    changes = {**method.smoke, "train_batch_size_per_learner": 20, "num_learners": 2}
    config = build_config(method, method.tasks[0], name, changes, seed=0)
    observations, actions = config.task_spaces()
    torch.manual_seed(0)
    found = {"__env__": (observations, actions), MODULE: (observations, actions)}
    learner = config.build_learner(spaces=found)
    module = learner.module[MODULE].unwrapped()
    if rank == 0:
        save(folder / f"{name}-first.npz", module)
    rng = np.random.default_rng(rank)
    actions.seed(rank)
    columns = {
        Columns.OBS: rng.normal(size=(60, *observations.shape)).astype(np.float32),
        Columns.NEXT_OBS: rng.normal(size=(60, *observations.shape)).astype(np.float32),
        Columns.ACTIONS: np.stack([actions.sample() for _ in range(60)]),
        Columns.REWARDS: rng.normal(size=60).astype(np.float32),
        Columns.TERMINATEDS: np.zeros(60, np.float32),
    }
    torch.manual_seed(rank)
    learner.update(
        training_data=TrainingData(batch=MultiAgentBatch({MODULE: SampleBatch(columns)}, 60)),
        timesteps={"num_env_steps_sampled_lifetime": 1},
        gradient_steps=3,
    )
    save(folder / f"{name}-{rank}.npz", module)


def save(path: Path, module: torch.nn.Module) -> None:
    np.savez(path, **{key: each.cpu().numpy() for key, each in module.state_dict().items()})


if __name__ == "__main__":
    number, place = int(sys.argv[1]), Path(sys.argv[2])
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{place}/store", rank=number, world_size=2
    )
    for each in METHODS:
        learn(each, number, place)
    torch.distributed.destroy_process_group()
