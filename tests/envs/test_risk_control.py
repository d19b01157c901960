"""Control tasks with a risk trade-off: Gymnasium's contract, and the promised probabilities."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from tenfold.envs.risk.control import BUILDERS, CurvyRoad, TableEnv, make_control
from tenfold.envs.risk.names import CONTROL_NAMES
from tenfold.platform.parameters import check, parameters_of


@pytest.mark.parametrize("name", CONTROL_NAMES)
def test_it_is_a_gymnasium_environment(name: str) -> None:
    check_env(make_control(name), skip_render_check=True)


def play(env: gym.Env, actions: list[int], seed: int) -> tuple[list[float], list[dict]]:
    env.reset(seed=seed)
    rewards, infos, done = [], [], False
    for action in actions:
        assert not done
        _, reward, done, _, info = env.step(np.int64(action))
        rewards.append(reward)
        infos.append(info)
    assert done
    return rewards, infos


def test_a_table_env_follows_its_mdp() -> None:
    env = TableEnv("mdp/RiskyShortcut-v0", p=0.3)
    fallen = [play(env, [1] * 5, seed)[1][-1]["state"] for seed in range(2_000)]
    assert np.mean(fallen) == pytest.approx(1 - 0.7**5, abs=0.03)
    rewards, _ = play(env, [0] * 5, 0)
    assert rewards == [0.4] * 5
    seen = env.observations()
    assert seen.shape == (5, 2, 7)
    np.testing.assert_array_equal(seen[3, 1], [0, 1, 0, 0, 0, 1, 0])


def test_the_road_moves_deterministically_and_skids_as_often_as_it_says() -> None:
    env = CurvyRoad()
    actions = [2] * 40
    costs, chances = [], []
    for seed in range(300):
        env.reset(seed=seed)
        start = env.x
        rewards, infos = play(env, actions, seed)
        speeds = np.minimum(0.1 * np.arange(1, 41), 1.0)
        assert (start + 0.05 * speeds.sum()) % 1.0 == pytest.approx(env.x)
        costs.append(speeds.sum() - sum(rewards))
        chances.append(sum(info["skid_probability"] for info in infos))
    error = np.std(costs) / np.sqrt(len(costs))
    assert np.mean(costs) == pytest.approx(env.cost * np.mean(chances), abs=4 * error)
    _, slow = play(env, [2, 2] + [1] * 38, 0)
    assert not any(info["skid_probability"] for info in slow)  # 0.2 is safe everywhere


def test_caution_costs_reward_on_the_road_and_pays_under_cvar() -> None:
    env, alpha = CurvyRoad(), 0.25

    def drive(careful: bool) -> tuple[float, float]:
        """Mean, and iterated CVaR by its closed form, of a drive from one start."""
        env.reset(seed=3)
        mean, cautious, done = 0.0, 0.0, False
        while not done:
            ahead = env.x + np.linspace(0.0, 0.15, 10)
            limit = (0.6 + 0.2 * np.cos(2 * np.pi * ahead)).min() if careful else 1.0
            action = 2 if env.v + 0.1 <= limit else (0 if env.v > limit else 1)
            _, _, done, _, info = env.step(np.int64(action))
            mean += env.v - env.cost * info["skid_probability"]
            cautious += env.v - env.cost * min(info["skid_probability"] / alpha, 1.0)
        return mean, cautious

    fast, slow = drive(careful=False), drive(careful=True)
    assert fast[0] > slow[0] + 5.0
    assert slow[1] > fast[1] + 5.0


@pytest.mark.parametrize(
    ("name", "fields", "said"),
    [
        ("risk/CurvyRoad-v0", {"speed": 1.0}, "Unknown key of env_config 'speed'"),
        ("risk/CurvyRoad-v0", {"cost": -1.0}, "Bad value -1.0 for 'env_config.cost'"),
        ("risk/CurvyRoad-v0", {"most": "0.1"}, "Bad value '0.1' for 'env_config.most'"),
        ("risk/WindyCliff-v0", {"wind": 1.5}, "Bad value 1.5 for 'env_config.wind'"),
        ("risk/WindyCliff-v0", {"alpha": 0.5}, "Unknown key of env_config 'alpha'"),
    ],
)
def test_bad_fields_are_refused(name: str, fields: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        check(parameters_of(BUILDERS[name], leave_out=["alpha"]), fields, "env_config.")


def test_a_task_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match="No task 'risk/Cliff-v0'"):
        make_control("risk/Cliff-v0")
