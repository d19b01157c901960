"""RLlib's keys: typed, and those that nothing reads refused; what a trial asks for.

Costs some 10 seconds, nearly all of it imports and three small iterations of PPO.
"""

import math
from typing import Any

import numpy as np
import pytest
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig

from tenfold.platform import rllib_keys
from tenfold.platform.configuration import build_config, flatten, requested
from tenfold.platform.errors import InputError
from tenfold.platform.parameters import check
from tenfold.platform.registry import get_method

BASELINES = ("ppo", "sac", "dqn")


def config_of(name: str, **changes: Any) -> Any:
    method = get_method(name)
    return build_config(method, method.tasks[0], next(iter(method.variants)), changes, seed=0)


def sentence(name: str, key: str, value: Any) -> str:
    with pytest.raises(InputError) as refusal:
        config_of(name, **{key: value})
    said = str(refusal.value)
    assert len(said.splitlines()) == 1
    return said


@pytest.mark.parametrize("name", BASELINES)
def test_every_key_of_rllib_is_typed_or_refused_with_a_reason(name: str) -> None:
    """A new version of RLlib with another key fails here until somebody looks at it."""
    config: AlgorithmConfig = get_method(name).load_config_class()()
    types = rllib_keys.types_of(config)
    for key in vars(config).keys() - rllib_keys.own_keys(config).keys():
        public = key.strip("_")
        assert (public in types) != (rllib_keys.refusal(config, public) is not None), key
    defaults = {key: rllib_keys.value_of(config, key) for key in types if key != "v_min"}
    check(rllib_keys.library_parameters(config), defaults)


def test_what_replaces_an_old_key_is_there() -> None:
    configs = [get_method(name).load_config_class()() for name in BASELINES]
    for old, new in rllib_keys.REPLACED.items():
        key, _, entry = new.partition(".")
        assert not new or any(key in rllib_keys.types_of(each) for each in configs), old
        if key == "model_config" and entry:
            assert entry in rllib_keys.Network.model_fields, old


@pytest.mark.parametrize(
    ("name", "key", "value", "read"),
    [
        ("ppo", "model.fcnet_hiddens", [8], "'model_config'"),
        ("ppo", "model", {"fcnet_hiddens": [8]}, "'model_config'"),
        ("ppo", "num_gpus", 1, "'num_gpus_per_learner'"),
        ("ppo", "num_gpus_per_worker", 1, "'num_gpus_per_env_runner'"),
        ("ppo", "num_workers", 2, "'num_env_runners'"),
        ("ppo", "num_rollout_workers", 2, "'num_env_runners'"),
        ("ppo", "num_sgd_iter", 3, "'num_epochs'"),
        ("ppo", "sgd_minibatch_size", 64, "'minibatch_size'"),
        ("ppo", "train_batch_size", 200, "'train_batch_size_per_learner'"),
        ("ppo", "lr_schedule", [[0, 1e-3]], "'lr'"),
        ("ppo", "vf_share_layers", True, "'model_config.vf_share_layers'"),
        ("ppo", "exploration_config", {}, "leave it out"),
        ("ppo", "observation_filter", "MeanStdFilter", "leave it out"),
        ("dqn", "exploration_config", {}, "'epsilon'"),
        ("dqn", "buffer_size", 100, "'replay_buffer_config.capacity'"),
        ("dqn", "hiddens", [8], "'model_config.head_fcnet_hiddens'"),
        ("dqn", "noisy", True, "leave it out"),
        ("sac", "q_model_config.fcnet_hiddens", [8], "'model_config'"),
        ("sac", "optimization", {}, "'actor_lr'"),
        ("icvar_deep", "num_gpus", 1, "'num_gpus_per_learner'"),
        ("ppo", "framework", "tf2", "always torch"),
        ("ppo", "callbacks_class", "a.B", "takes code"),
        ("ppo", "input_read_method", "read_json", "recorded data"),
        ("ppo", "policies", ["a"], "several agents"),
        ("softmw", "lr", 1e-3, "not read by this method"),
        ("icvar", "num_learners", 2, "not read by this method"),
    ],
)
def test_what_the_new_stack_does_not_read_is_refused_with_what_it_does(
    name: str, key: str, value: Any, read: str
) -> None:
    said = sentence(name, key, value)
    assert read in said
    assert f"'{key.partition('.')[0]}' of {name}" in said


@pytest.mark.parametrize(
    ("name", "key", "value", "right"),
    [
        ("ppo", "model_config.fcnet_hidens", [8], "did you mean 'fcnet_hiddens'?"),
        ("ppo", "model_config.fcnet_hiddens", [8, 0], "'model_config.fcnet_hiddens.1': give 1 or"),
        ("ppo", "model_config.fcnet_hiddens", "big", "give a list"),
        ("ppo", "model_config.fcnet_activation", "rulu", "choose one of tanh, relu"),
        ("ppo", "model_config.fcnet_kernel_initializer", "orthogonal", "works in place"),
        ("ppo", "model_config", 3, "give a mapping"),
        ("ppo", "model_config.fcnet_hiddens.0", 3, "'model_config.fcnet_hiddens', which is no"),
        ("ppo", "lr", [[0, 1e-3]], "2 entries"),
        ("ppo", "lr", [[5, 1e-3], [9, 1e-4]], "steps that go up from 0"),
        ("ppo", "lr", [[0, 1e-3], [9, math.nan]], "'lr.1.1': give a finite number"),
        ("ppo", "num_envs_per_env_runner", 0, "give 1 or more"),
        ("ppo", "evaluation_sample_timeout_s", "long", "give a number"),
        ("ppo", "evaluation_sample_timeout_s", math.inf, "give a finite number"),
        ("ppo", "evaluation_num_env_runners", -1, "give 0 or more"),
        ("ppo", "sample_timeout_s", -1, "give 0 or more"),
        ("ppo", "normalize_actions", "yes", "give true or false"),
        ("ppo", "batch_mode", "all", "choose one of truncate_episodes, complete_episodes"),
        ("ppo", "env_config", 3, "give a mapping"),
        ("ppo", "evaluation_config", "x", "give a mapping"),
        ("sac", "lr", 1e-3, "actor_lr"),
        ("sac", "replay_buffer_config.type", "ReplayBuffer", "choose one of EpisodeReplayBuffer"),
        ("sac", "replay_buffer_config.capacity", 0, "give 1 or more"),
        ("dqn", "n_step", 0, "give 1 or more"),
        ("softmw", "num_env_runners", True, "give a whole number"),
    ],
)
def test_a_wrong_value_is_one_sentence(name: str, key: str, value: Any, right: str) -> None:
    said = sentence(name, key, value)
    assert right in said
    assert key.rpartition(".")[2] in said


@pytest.mark.usefixtures("ray_session")
def test_a_schedule_of_the_learning_rate_is_followed() -> None:
    method = get_method("ppo")
    config = config_of("ppo", **method.smoke, lr=[[0, 1e-3], [512, 0.0]])
    algorithm = method.load_trainable()(config)
    rates, steps = [], []
    for _ in range(3):
        result = flatten(algorithm.train(), separator="/")
        rates.append(float(result["learners/default_policy/default_optimizer_learning_rate"]))
        steps.append(result["num_env_steps_sampled_lifetime"])
    algorithm.stop()
    np.testing.assert_allclose(rates, 1e-3 * (1.0 - np.array(steps) / 512), rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "changes", "asked"),
    [
        ("ppo", {}, {"CPU": 1.0}),
        ("ppo", {"num_env_runners": 3, "num_gpus_per_learner": 1}, {"CPU": 4.0, "GPU": 1.0}),
        ("dqn", {"evaluation_num_env_runners": 2, "evaluation_interval": 1}, {"CPU": 3.0}),
        ("softmw", {"num_env_runners": 2}, {"CPU": 3.0}),
        ("qsr", {}, {"CPU": 1.0}),
        ("qsr", {"workers": 4, "gpus_per_worker": 0.5}, {"CPU": 4.0, "GPU": 2.0}),
        ("qsr", {"workers": 4, "min_workers": 2, "cpus_per_worker": 2}, {"CPU": 4.0}),
    ],
)
def test_what_a_trial_asks_for(name: str, changes: Any, asked: dict[str, float]) -> None:
    assert requested(get_method(name), config_of(name, **changes)) == asked
