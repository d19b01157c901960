"""Any Gymnasium environment as a task: it trains, here and in runners, or is refused by its spaces.

Costs some 40 seconds: three small trainings, and a run of the command line with a runner.
"""

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest

from tenfold.platform.configuration import build_config, flatten
from tenfold.platform.errors import InputError
from tenfold.platform.registry import get_method

Call = Callable[..., CompletedProcess[str]]

OWN = '''
import gymnasium as gym

class Count(gym.Env):
    """Shows how often 1 was chosen; pays for it."""

    def __init__(self, limit: int = 6):
        self.limit = limit
        self.observation_space = gym.spaces.Discrete(limit + 1)
        self.action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = self.count = 0
        return self.count, {}

    def step(self, action):
        self.steps += 1
        self.count += int(action)
        return self.count, float(action), self.steps == self.limit, False, {}

gym.register("Count-v0", Count, max_episode_steps=20)
'''


def trained(name: str, task: str, iterations: int = 2, **changes: Any) -> tuple[Any, dict]:
    """A method's small trial on a task after some iterations, and its last result."""
    method = get_method(name)
    config = build_config(
        method, task, next(iter(method.variants)), {**method.smoke, **changes}, seed=0
    )
    algorithm = method.load_trainable()(config)
    for _ in range(iterations):
        result = flatten(algorithm.train(), separator="/")
    return algorithm, result


@pytest.mark.usefixtures("ray_session")
def test_taxi_trains_by_dqn() -> None:
    algorithm, result = trained("dqn", "Taxi-v3")
    assert np.isfinite(result["learners/default_policy/qf_loss"])
    assert algorithm.env_runner.env.single_observation_space.shape == (500,)
    algorithm.stop()


@pytest.mark.usefixtures("ray_session")
def test_a_static_risk_is_learnt_and_evaluated_where_episodes_end_early() -> None:
    """FrozenLake ends in a hole or at the goal; its return is 0 or 1."""
    changes = {"judged_episodes": 30, "env_config.max_episode_steps": 25}
    algorithm, _ = trained("rs_disrl_deep", "FrozenLake-v1", **changes)
    assert algorithm.env_runner.env.single_observation_space.shape == (18,)
    evaluated = algorithm.evaluate()
    assert set(algorithm.played) <= {0.0, 1.0}
    assert evaluated["risk_low"] <= evaluated["risk"] <= evaluated["risk_high"]
    algorithm.stop()


def test_an_own_environment_runs_in_a_runner_from_its_folder(tenfold: Call, runs: Path) -> None:
    (runs.parent / "own_worlds.py").write_text(OWN)
    smoke = get_method("ppo").smoke
    settings = [f"{key}={json.dumps(value)}" for key, value in smoke.items()]
    settings += ["num_env_runners=1", "env_config.limit=4"]
    done = tenfold(
        "run",
        "ppo",
        *("--task", "own_worlds:Count-v0", "--stop", "training_iteration=2"),
        *(word for setting in settings for word in ("--set", setting)),
    )
    assert done.returncode == 0, done.stderr + done.stdout
    results = next(runs.glob("tune/*/*/result.json")).read_text().splitlines()
    last = json.loads(results[-1])
    assert last["env_runners"]["episode_len_mean"] == 4.0
    assert 0.0 < last["env_runners"]["episode_return_mean"] < 4.0


@pytest.mark.parametrize(
    ("name", "task", "changes", "said"),
    [
        ("dqn", "Pendulum-v1", {}, "'Pendulum-v1' has the actions Box.*takes Discrete"),
        ("icvar_deep", "Pendulum-v1", {}, "has the actions Box.*takes Discrete"),
        ("sac", "Taxi-v3", {}, "has the actions Discrete.*takes Box"),
        ("ppo", "CartPole-v1", {"env_config.gravity": 3}, "key of env_config 'gravity'"),
        (
            "ppo",
            "CartPole-v1",
            {"env_config.sutton_barto_reward": 1},
            "'env_config.sutton_barto_reward': give true or false",
        ),
        ("ppo", "CartPole-v1", {"env_config.max_episode_steps": 0}, "give 1 or more"),
        ("sac", "Hopper-v5", {"env_config.frame_skip": "a"}, "give a whole number"),
        ("sac", "Hopper-v5", {"env_config.colour": "a"}, "cannot be made with env_config"),
        ("rs_disrl_deep", "CliffWalking-v1", {}, "max_episode_steps"),
    ],
)
def test_spaces_and_fields_that_do_not_fit_are_refused(
    name: str, task: str, changes: dict[str, Any], said: str
) -> None:
    method = get_method(name)
    with pytest.raises(InputError, match=said) as refusal:
        build_config(method, task, next(iter(method.variants)), changes, seed=0)
    assert len(str(refusal.value).splitlines()) == 1
