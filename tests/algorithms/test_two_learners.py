"""Two learners, each with half of a batch, are one learner with all of it. Without Ray.

Costs 40 processor seconds, most of them for imports. The file is the test and, run as a script,
what each of the two processes does.
"""

import subprocess
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from ray.rllib.core.columns import Columns
from ray.rllib.core.learner.training_data import TrainingData
from ray.rllib.env.env_context import EnvContext
from ray.rllib.evaluation.postprocessing import Postprocessing
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch
from ray.tune.registry import ENV_CREATOR, _global_registry

from tenfold.algorithms.common.off_policy_replay import ReplayLearner
from tenfold.algorithms.risk_pomdp_deep.algorithm import HINDSIGHT_STATES
from tenfold.platform.configuration import build_config
from tenfold.platform.registry import Method, get_method, methods


def method_keys(method: Method) -> Collection[str]:
    """The keys that a method's config declares."""
    config = method.load_config_class()
    declared: Collection[str] = getattr(config, "Parameters", config).model_fields
    return declared


MODULE, ROWS, STEPS = "default_policy", 16, 3
METHODS = tuple(name for name, method in methods().items() if "num_learners" in method_keys(method))
ON_POLICY = ("ppo", "risk_pomdp_deep")
# Adam's first steps are the learning rate whatever the gradient: the sums of two halves and of
# the whole differ by their rounding, and weights by less than a thousandth of a step.
RATE = 1e-3
TOLERANCE = 1e-3 * RATE


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder where two processes left what they and a single learner learnt."""
    place = tmp_path_factory.mktemp("learners")
    commands = [[sys.executable, __file__, str(rank), str(place)] for rank in (0, 1)]
    processes = [subprocess.Popen(command) for command in commands]
    assert [process.wait() for process in processes] == [0, 0]
    return place


def test_all_methods_with_learners_are_here() -> None:
    assert {"dqn", "icvar_deep", "omnet", "ppo", "rs_disrl_sac", "sac", "td3"} <= set(METHODS)


@pytest.mark.parametrize("name", METHODS)
def test_two_learners_are_one_of_twice_the_batch(name: str, learnt: Path) -> None:
    """The halves hold other rows: learners that did not average would draw apart at once."""
    first, one, other, alone = (
        np.load(learnt / f"{name}-{who}.npz") for who in ("first", 0, 1, "alone")
    )
    for key in one:
        np.testing.assert_array_equal(one[key], other[key], err_msg=f"{name} {key}")
        np.testing.assert_allclose(one[key], alone[key], rtol=0, atol=TOLERANCE, err_msg=key)
    moved = [np.abs(one[key] - first[key]).max() for key in one if one[key].dtype == np.float32]
    assert max(moved) > 100 * TOLERANCE


def without_noise(patch: pytest.MonkeyPatch) -> None:
    """Take the noise of losses out, which half of a batch cannot have as the whole has it."""

    def standard(shape: Any, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
        return torch.zeros(shape, dtype=dtype, device=device)

    def middle(tensor: torch.Tensor, low: float = 0.0, high: float = 1.0) -> torch.Tensor:
        return tensor.fill_((low + high) / 2)

    patch.setattr(torch.distributions.normal, "_standard_normal", standard)
    patch.setattr(torch, "randn_like", torch.zeros_like)
    patch.setattr(torch, "normal", lambda mean, std: mean)
    patch.setattr(torch.Tensor, "uniform_", middle)


def rows_of(name: str, observations: spaces.Space[Any], actions: Any, seed: int) -> dict[str, Any]:
    """Random steps of a task, ROWS for each of two learners."""
    rng, rows = np.random.default_rng(seed), 2 * ROWS
    actions.seed(seed)
    columns = {
        Columns.OBS: rng.normal(size=(rows, *observations.shape)).astype(np.float32),
        Columns.NEXT_OBS: rng.normal(size=(rows, *observations.shape)).astype(np.float32),
        Columns.ACTIONS: np.stack([actions.sample() for _ in range(rows)]),
        Columns.REWARDS: rng.normal(size=rows).astype(np.float32),
        Columns.TERMINATEDS: (rng.random(rows) < 0.2).astype(np.float32),
        "weights": np.ones(rows, np.float32),
        "n_step": np.ones(rows, np.float32),
    }
    if name in ON_POLICY:
        columns |= {
            Postprocessing.ADVANTAGES: rng.normal(size=rows).astype(np.float32),
            Postprocessing.VALUE_TARGETS: rng.normal(size=rows).astype(np.float32),
            Columns.ACTION_DIST_INPUTS: rng.normal(size=(rows, actions.n)).astype(np.float32),
            Columns.ACTION_LOGP: -rng.uniform(1, 2, rows).astype(np.float32),
            Columns.LOSS_MASK: np.ones(rows, bool),
            HINDSIGHT_STATES: rng.integers(0, 2, rows),
        }
    return columns


def learn(name: str, rank: int, learners: int, folder: Path) -> None:
    """Some steps of one of two learners, on rows that the other does not see, or of one alone."""
    method, rows = get_method(name), 2 * ROWS // learners
    changes = {**method.smoke, "train_batch_size_per_learner": rows}
    changes["num_learners"] = learners if learners > 1 else 0
    rates = dict.fromkeys(("lr", "actor_lr", "critic_lr", "alpha_lr"), RATE)
    fields = method_keys(method)
    changes |= {key: rate for key, rate in rates.items() if key in fields}
    # The policy's subnetworks share out a batch, and have other rows of a half.
    changes |= {"policy_subnets": 1} if "policy_subnets" in fields else {}
    changes |= {"minibatch_size": rows} if name in ON_POLICY else {}
    method.load_trainable()
    config = build_config(method, method.tasks[0], next(iter(method.variants)), changes, seed=0)
    made = _global_registry.contains(ENV_CREATOR, config.env)
    make = _global_registry.get(ENV_CREATOR, config.env) if made else None
    env = make(EnvContext(dict(config.env_config), 0)) if make else gym.make(config.env)
    found = (env.observation_space, env.action_space)
    torch.manual_seed(0)
    learner = config.build_learner(spaces={"__env__": found, MODULE: found})
    module = learner.module[MODULE].unwrapped()
    if learners == 1:
        save(folder / f"{name}-first.npz", learner, module)
    with pytest.MonkeyPatch.context() as patch:
        without_noise(patch)
        for step in range(STEPS):
            whole = rows_of(name, *found, seed=step)
            part = {key: each[rank * rows : (rank + 1) * rows] for key, each in whole.items()}
            many = {"gradient_steps": 1} if isinstance(learner, ReplayLearner) else {}
            batch = part if many else {key: torch.tensor(each) for key, each in part.items()}
            torch.manual_seed(step)  # which members count in a target
            learner.update(
                training_data=TrainingData(
                    batch=MultiAgentBatch({MODULE: SampleBatch(batch)}, rows)
                ),
                timesteps={"num_env_steps_sampled_lifetime": step + 1},
                **many,
            )
    save(folder / f"{name}-{'alone' if learners == 1 else rank}.npz", learner, module)


def save(path: Path, learner: Any, module: torch.nn.Module) -> None:
    """The module's weights, and SAC's temperatures, which RLlib keeps outside of it."""
    weights = {key: each.cpu().numpy() for key, each in module.state_dict().items()}
    temperatures = getattr(learner, "curr_log_alpha", {})
    weights |= {f"alpha {key}": each.detach().numpy() for key, each in temperatures.items()}
    np.savez(path, **weights)


if __name__ == "__main__":
    number, place = int(sys.argv[1]), Path(sys.argv[2])
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{place}/store", rank=number, world_size=2
    )
    for each in METHODS:
        learn(each, number, 2, place)
        if number == 0:
            learn(each, 0, 1, place)
    torch.distributed.destroy_process_group()
