"""Steps as arrays: what runners collect, what the ring keeps, how draws fall.

Costs about 5 processor seconds, most of them imports.
"""

from collections import deque
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ray.rllib.core.columns import Columns
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner

from tenfold.algorithms.common.transition_replay import TransitionReplay, TransitionRunner
from tenfold.platform.configuration import build_config
from tenfold.platform.registry import get_method


def runner(task: str = "Pendulum-v1", method: str = "td3", **overrides: Any) -> TransitionRunner:
    declared = get_method(method)
    config = build_config(declared, task, method, {**declared.smoke, **overrides}, seed=0)
    return TransitionRunner(config=config, worker_index=0)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(1, 12), st.lists(st.integers(1, 20), min_size=1, max_size=8))
def test_the_ring_holds_the_last_steps(capacity: int, chunks: list[int]) -> None:
    replay, kept = TransitionReplay(capacity), deque(maxlen=capacity)
    for chunk in chunks:
        fresh = np.arange(chunk) + replay.added
        replay.add({"id": fresh, "twice": np.stack([fresh, 2 * fresh], axis=1)})
        kept.extend(fresh.tolist())
    assert len(replay) == len(kept)
    held = replay.get_state()["columns"]
    assert sorted(held["id"]) == sorted(kept)
    np.testing.assert_array_equal(held["twice"], np.stack([held["id"], 2 * held["id"]], axis=1))
    assert set(replay.sample(200)["id"]) <= set(kept)


def test_each_step_is_as_likely_to_be_drawn() -> None:
    replay = TransitionReplay(8, seed=0)
    replay.add({"id": np.arange(11)})
    counts = np.bincount(replay.sample(80_000)["id"], minlength=11)
    assert counts[:3].tolist() == [0, 0, 0]
    np.testing.assert_allclose(counts[3:], 10_000, atol=4 * 94)  # four deviations


def test_a_restored_replay_draws_alike() -> None:
    one, other = TransitionReplay(50, seed=1), TransitionReplay(50, seed=2)
    one.add({"id": np.arange(70)})
    one.sample(5)
    other.set_state(one.get_state())
    for replay in (one, other):
        replay.add({"id": np.arange(70, 75)})
    np.testing.assert_array_equal(one.sample(40)["id"], other.sample(40)["id"])


@pytest.mark.parametrize("environments", [1, 3], ids=["one", "three"])
def test_episodes_are_cut_without_a_step_across_them(environments: int) -> None:
    collecting = runner(
        **{
            "env_config.max_episode_steps": 5,
            "rollout_fragment_length": 12,
            "num_envs_per_env_runner": environments,
        }
    )
    found = collecting.collect()
    count = len(found[Columns.REWARDS])
    assert 12 * environments <= count < 13 * environments
    assert not found[Columns.TERMINATEDS].any()  # Pendulum has no terminal state
    own = {name: values[::environments] for name, values in found.items()}  # in step
    follows = (own[Columns.NEXT_OBS][:-1] == own[Columns.OBS][1:]).all(axis=1)
    assert np.flatnonzero(~follows).tolist() == [4, 9]
    metrics = collecting.get_metrics()
    assert metrics["num_env_steps_sampled"].peek() == count
    assert metrics["num_episodes"].peek() == 2 * environments
    assert metrics["episode_len_mean"].peek() == 5


def test_a_fall_is_terminal() -> None:
    found = runner("Hopper-v5", rollout_fragment_length=200).collect()
    ends = np.flatnonzero(found[Columns.TERMINATEDS])
    follows = (found[Columns.NEXT_OBS][:-1] == found[Columns.OBS][1:]).all(axis=1)
    assert len(ends) > 2
    np.testing.assert_array_equal(np.flatnonzero(~follows), ends[ends < len(follows)])


@pytest.mark.parametrize("method", ["td3", "sac"])
def test_it_collects_what_rllibs_own_runner_does(method: str) -> None:
    """Without exploration the same policy, seed and task give the same steps."""
    both = runner(method=method, explore=False)
    found = both.collect()
    config = both.config
    theirs = SingleAgentEnvRunner(config=config, worker_index=0)
    theirs.module.load_state_dict(both.module.state_dict())
    (episode,) = theirs.sample(num_timesteps=len(found[Columns.REWARDS]))
    np.testing.assert_allclose(found[Columns.OBS], episode.get_observations()[:-1], atol=1e-5)
    np.testing.assert_allclose(found[Columns.ACTIONS], episode.get_actions(), atol=1e-5)
    np.testing.assert_allclose(found[Columns.REWARDS], episode.get_rewards(), atol=1e-4)
