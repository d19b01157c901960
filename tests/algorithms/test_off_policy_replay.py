"""The array loop does RLlib's own steps: the same update of SAC; checkpoints hold all its state.

Costs about 15 processor seconds, of which Ray and imports are 10.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from ray.rllib.algorithms.sac.torch.sac_torch_learner import SACTorchLearner
from ray.rllib.core.columns import Columns
from ray.rllib.core.learner.training_data import TrainingData
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch

from tenfold.platform.configuration import build_config
from tenfold.platform.errors import InputError
from tenfold.platform.registry import get_method

METHOD = get_method("sac")
ID = "default_policy"
SPACES = {ID: (spaces.Box(-1.0, 1.0, (3,)), spaces.Box(-2.0, 2.0, (1,)))}
STEPS = {"num_env_steps_sampled_lifetime": 0}


def config(**overrides: Any) -> Any:
    return build_config(METHOD, "Pendulum-v1", "sac", {**METHOD.smoke, **overrides}, seed=0)


def steps(rows: int, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        Columns.OBS: rng.normal(size=(rows, 3)).astype(np.float32),
        Columns.ACTIONS: rng.uniform(-0.9, 0.9, (rows, 1)).astype(np.float32),
        Columns.REWARDS: rng.normal(size=rows).astype(np.float32),
        Columns.NEXT_OBS: rng.normal(size=(rows, 3)).astype(np.float32),
        Columns.TERMINATEDS: (rng.random(rows) < 0.3).astype(np.float32),
    }


def batch_of(columns: dict[str, Any]) -> MultiAgentBatch:
    return MultiAgentBatch({ID: SampleBatch(columns)}, 1)


def assert_same_networks(one: Any, other: Any, tolerance: float) -> None:
    for name, value in one.module[ID].state_dict().items():
        torch.testing.assert_close(
            value, other.module[ID].state_dict()[name], rtol=0, atol=tolerance
        )


@pytest.mark.parametrize("twin_q", [True, False], ids=["twin", "single"])
def test_an_update_is_rllibs_update(twin_q: bool) -> None:
    ours = config(twin_q=twin_q).build_learner(spaces=SPACES)
    plain = config(twin_q=twin_q).copy(copy_frozen=False)
    plain.training(learner_class=SACTorchLearner)
    theirs = plain.build_learner(spaces=SPACES)
    assert type(theirs) is SACTorchLearner
    theirs.module[ID].load_state_dict(ours.module[ID].state_dict())
    columns = steps(48)
    torch.manual_seed(0)
    ours.update(
        training_data=TrainingData(batch=batch_of(columns)), timesteps=STEPS, gradient_steps=3
    )
    torch.manual_seed(0)
    ones = np.ones(16, np.float32)
    for index in range(3):
        own = {name: values[16 * index : 16 * index + 16] for name, values in columns.items()}
        theirs.update(batch=batch_of(own | {"weights": ones, "n_step": ones}), timesteps=STEPS)
    assert_same_networks(ours, theirs, tolerance=2e-6)
    torch.testing.assert_close(ours.curr_log_alpha[ID], theirs.curr_log_alpha[ID])
    assert ours.curr_log_alpha[ID].item() != 0.0


def test_what_is_not_finite_is_not_learnt() -> None:
    learner = config().build_learner(spaces=SPACES)
    columns = steps(16)
    columns[Columns.REWARDS][3] = np.inf
    learner.update(
        training_data=TrainingData(batch=batch_of(columns)), timesteps=STEPS, gradient_steps=1
    )
    learnt = learner.module[ID].state_dict()
    assert all(torch.isfinite(each).all() for each in learnt.values())


def test_a_joint_critic_is_one_perceptron_of_observation_and_action() -> None:
    sizes = {"model_config.fcnet_hiddens": [7, 5]}
    joint = config(**sizes).build_learner(spaces=SPACES).module[ID]
    streams = config(**sizes, q_network="streams").build_learner(spaces=SPACES).module[ID]

    def weights(module: Any) -> int:
        networks = (module.qf_encoder, module.qf)
        return sum(each.numel() for network in networks for each in network.parameters())

    assert weights(joint) == (3 + 1 + 1) * 7 + (7 + 1) * 5 + 5 + 1
    assert weights(streams) > 2 * weights(joint)


@pytest.mark.parametrize(
    ("overrides", "cure"),
    [
        ({"training_intensity": 16.0}, "set one of the two"),
        ({"replay_buffer_config.type": "PrioritizedEpisodeReplayBuffer"}, "EpisodeReplayBuffer"),
        ({"n_step": 3}, "n_step=1"),
    ],
    ids=["intensity", "prioritised", "n_step"],
)
def test_utd_ratio_is_for_single_uniform_steps(overrides: dict[str, Any], cure: str) -> None:
    with pytest.raises(InputError, match="Bad value 2 for 'utd_ratio'") as refusal:
        config(utd_ratio=2, **overrides)
    assert cure in str(refusal.value)


@pytest.mark.usefixtures("ray_session")
def test_the_loop_counts_steps_and_keeps_all_of_its_state(tmp_path: Path) -> None:
    made = config(
        utd_ratio=2,
        store_buffer_in_checkpoints=True,
        rollout_fragment_length=8,
        min_sample_timesteps_per_iteration=64,
        num_steps_sampled_before_learning_starts=40,
    )
    one, other = made.build_algo(), made.copy(copy_frozen=False).build_algo()
    result = one.train()
    assert result["num_env_steps_sampled_lifetime"] == 64
    # Rounds of 8 steps: learning starts with the one that ends at 40.
    assert result["learners"][ID]["gradient_steps"] == 2 * (64 - 32)
    one.save_checkpoint(str(tmp_path))
    other.load_checkpoint(str(tmp_path))
    learners = [algorithm.learner_group._learner for algorithm in (one, other)]
    assert_same_networks(*learners, tolerance=0.0)
    alphas = [learner.curr_log_alpha[ID].item() for learner in learners]
    assert alphas[0] == alphas[1] != 0.0
    drawn = [algorithm.local_replay_buffer.sample(32) for algorithm in (one, other)]
    for name, values in drawn[0].items():
        np.testing.assert_array_equal(values, drawn[1][name])
    acting, learnt = one.env_runner.module.state_dict(), learners[0].module[ID].state_dict()
    assert all(torch.equal(value, learnt[name]) for name, value in acting.items())
    assert other.train()["num_env_steps_sampled_lifetime"] == 128
    one.stop()
    other.stop()
