"""Gymnasium environments as tasks: what networks see of them. Costs a second."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from tenfold.envs.gymnasium_tasks import make_gymnasium
from tenfold.envs.risk.collected import make_limited

SPACES = {
    "discrete": spaces.Discrete(3, start=5),
    "nested": spaces.Dict({"a": spaces.Discrete(3), "b": spaces.Box(0.0, 1.0, (2, 2))}),
    "bytes": spaces.Box(0, 255, (4,), np.uint8),
    "image": spaces.Box(0, 255, (42, 42, 3), np.uint8),
    "text": spaces.Dict({"a": spaces.Text(4)}),
    "mission": spaces.Dict({"seen": spaces.Discrete(3), "mission": spaces.Text(4)}),
    "flat": spaces.Box(-1.0, 1.0, (2,), np.float64),
}


class Showing(gym.Env[Any, np.int64]):
    """Shows samples of a space; ends after five steps, each of which pays its action."""

    def __init__(self, shows: str = "flat") -> None:
        self.observation_space, self.action_space = SPACES[shows], spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.steps = 0
        return self.observation_space.sample(), {}

    def step(self, action: np.int64) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        return self.observation_space.sample(), float(action), self.steps == 5, False, {}


gym.register("tests/Showing-v0", Showing, max_episode_steps=4)
gym.register("tests/Endless-v0", Showing)


@pytest.mark.parametrize(
    ("shows", "shape"),
    [
        ("discrete", (3,)),
        ("nested", (7,)),
        ("bytes", (4,)),
        ("flat", (2,)),
        ("image", (42, 42, 3)),
        ("mission", (3,)),
    ],
)
def test_observations_are_floats_of_a_flat_box_or_an_image(
    shows: str, shape: tuple[int, ...]
) -> None:
    env = make_gymnasium("tests/Showing-v0", shows=shows)
    seen, _ = env.reset(seed=0)
    assert seen.shape == env.observation_space.shape == shape
    assert np.issubdtype(seen.dtype, np.floating)
    assert env.observation_space.contains(seen)
    if shows == "discrete":
        assert sorted(seen) == [0.0, 0.0, 1.0]
    if shows == "image":
        assert env.observation_space.high.max() == 1.0
        assert 0.9 < seen.max() <= 1.0


def test_what_networks_cannot_see_is_refused_by_its_name() -> None:
    with pytest.raises(ValueError, match=r"'tests/Showing-v0' has the observations .*Text") as said:
        make_gymnasium("tests/Showing-v0", shows="text")
    assert len(str(said.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("task", "fields", "reason"),
    [
        ("tests/Shown-v0", {}, "doesn't exist"),
        ("tests/Showing-v0", {"shows": "zzz"}, "with env_config"),
        ("tests/Showing-v0", {"size": 3}, "unexpected keyword argument 'size'"),
        ("no_such_module:X-v0", {}, "no_such_module"),
    ],
)
def test_what_cannot_be_made_is_one_sentence(
    task: str, fields: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ValueError, match=f"Task '{task}' cannot be made.*{reason}") as said:
        make_gymnasium(task, **fields)
    assert len(str(said.value).splitlines()) == 1


def test_a_limited_task_tells_time_and_collected_reward_and_ends_for_good() -> None:
    env = make_limited("tests/Showing-v0")
    low, high = env.observation_space.low, env.observation_space.high
    np.testing.assert_array_equal(low, [-1.0, -1.0, 0.0, -np.inf])
    np.testing.assert_array_equal(high, [1.0, 1.0, 1.0, np.inf])
    seen, _ = env.reset(seed=0)
    told = [seen[2:].tolist()]
    for action in (1, 0, 1, 1):
        seen, _, terminated, truncated, _ = env.step(np.int64(action))
        told.append(seen[2:].tolist())
    assert told == [[0.0, 0.0], [0.25, 1.0], [0.5, 1.0], [0.75, 2.0], [1.0, 3.0]]
    assert (terminated, truncated) == (True, False)


def test_a_limited_task_has_a_limit_and_a_flat_box() -> None:
    with pytest.raises(ValueError, match=r"no limit of steps.*max_episode_steps"):
        make_limited("tests/Endless-v0")
    assert make_limited("tests/Endless-v0", max_episode_steps=9).env.limit == 9
    with pytest.raises(ValueError, match="a flat box"):
        make_limited("tests/Showing-v0", shows="image")
