"""Worlds that are no tables: Gymnasium's contract, promised chances, and when memory is needed.

Costs a second.
"""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from tenfold.envs.risk.control import CurvyRoad
from tenfold.envs.risk.foggy_road import FoggyRoad
from tenfold.envs.risk.measures import Entropic
from tenfold.envs.risk.partial import BUILDERS, PreviousAction, RecentHistory
from tenfold.envs.risk.thin_ice import ThinIce
from tenfold.platform.parameters import check, parameters_of

OVER = [1] * 7
ROUND = {0: [1] * 3 + [0] * 2 + [1] * 4 + [2] * 2, 1: [1] * 3 + [2] * 2 + [1] * 4 + [0] * 2}


@pytest.mark.parametrize("name", BUILDERS)
def test_it_is_a_gymnasium_environment(name: str) -> None:
    check_env(BUILDERS[name](), skip_render_check=True)


def walk(env: ThinIce, actions: list[int], seed: int) -> tuple[float, list[float]]:
    """Return of a walk to the goal, and the chance of a break at each step."""
    env.reset(seed=seed)
    total, chances = 0.0, []
    for i, action in enumerate(actions):
        _, reward, done, _, info = env.step(np.int64(action))
        total += reward
        chances.append(info["break_probability"])
        assert done == (i == len(actions) - 1)
    return total, chances


def test_ways_over_and_round_the_ice_break_as_often_as_they_say() -> None:
    env = ThinIce()
    over = [walk(env, OVER, seed) for seed in range(400)]
    assert {tuple(chances) for _, chances in over} == {(0, 0, 0, 0.04, 0.04, 0.04, 0)}
    returns = np.array([total for total, _ in over])
    broken = np.round((0.3 - returns) / env.cost)
    assert broken.mean() == pytest.approx(0.12, abs=4 * np.sqrt(0.12 / 400))
    env.reset(seed=0)
    safe = env.hidden_state
    assert walk(env, ROUND[safe], 0) == (pytest.approx(-0.1), [0.0] * 11)
    assert walk(env, ROUND[1 - safe], 0)[1] == [0.0] * 5 + [0.3] * 3 + [0.0] * 3


def test_walls_and_time_stop_the_walker() -> None:
    env = ThinIce(T=4)
    env.reset(seed=0)
    rewards = [env.step(np.int64(0))[1:3] for _ in range(4)]
    assert rewards == [(-0.1, False)] * 3 + [(-0.1, True)]
    assert env.place == (2, 0)


def test_the_hint_is_shown_at_the_start_alone_or_always() -> None:
    for hint, shown in (("start", [1.0, 0.0, 0.0]), ("always", [1.0, 1.0, 1.0])):
        env = ThinIce(hint=hint)
        seen, _ = env.reset(seed=1)
        hints = [seen[-3:-1]] + [env.step(np.int64(1))[0][-3:-1] for _ in range(2)]
        assert [each.sum() for each in hints] == shown
        assert hints[0].argmax() == env.hidden_state


def test_always_hinted_ice_is_markov_and_the_view_moves_with_the_walker() -> None:
    """Every cell looks different from every other, so that an observation tells the place."""
    env = ThinIce()
    env.reset(seed=0)
    views = set()
    places = list(zip(*np.nonzero(env.cells), strict=True))
    for env.place in places:
        views.add(env._observation()[:-3].tobytes())
    assert len(views) == len(places)
    seen, _ = env.reset(seed=0)
    window = seen[:-3].reshape(5, 5, 5).argmax(axis=-1)
    np.testing.assert_array_equal(window[:, 2:], env.cells[:, :3])
    assert not window[:, :2].any()  # what lies outside is wall


def test_averse_walkers_need_the_hint_and_neutral_ones_do_not() -> None:
    """Entropic risk of each way, from the chances of its steps; a coin decides without a hint."""
    env, averse = ThinIce(), Entropic(-1.0)
    env.reset(seed=0)

    def outcomes(actions: list[int]) -> tuple[np.ndarray, np.ndarray]:
        _, chances = walk(env, actions, 0)
        sure = env.goal - env.time_cost * len(actions)
        values, masses = np.array([sure]), np.ones(1)
        for p in filter(None, chances):
            values = np.concatenate([values, values - env.cost])
            masses = np.concatenate([(1 - p) * masses, p * masses])
        return values, masses

    over, safe, rotten = (
        outcomes(actions)
        for actions in (OVER, ROUND[env.hidden_state], ROUND[1 - env.hidden_state])
    )
    coin = np.concatenate([safe[0], rotten[0]]), np.concatenate([safe[1], rotten[1]]) / 2
    assert averse(*safe) > averse(*over) + 0.2 > averse(*coin) + 0.4
    assert over[0] @ over[1] > safe[0] @ safe[1] + 0.1 > coin[0] @ coin[1] + 0.2


def test_cvar_of_a_step_is_that_of_what_it_may_pay() -> None:
    env = ThinIce(thin=0.1)
    env.reset(seed=0)
    for action in OVER[:4]:
        env.step(np.int64(action))
    assert env.cvar_of_step(1.0) == pytest.approx(-0.1 - 0.1 * 2.0)
    assert env.cvar_of_step(0.25) == pytest.approx(-0.1 - 0.4 * 2.0)
    assert env.cvar_of_step(0.05) == pytest.approx(-0.1 - 2.0)


def test_fog_hides_the_place_and_changes_nothing_else() -> None:
    clear, foggy = CurvyRoad(T=20, cost=3.0), FoggyRoad(fog=0.5)
    noise = []
    for seed in range(60):
        plain, _ = clear.reset(seed=seed)
        seen, _ = foggy.reset(seed=seed)
        assert foggy.hidden_state == int(8 * clear.x)
        for action in (2, 2, 2, 1, 0):
            np.testing.assert_array_equal(seen[2:], plain[2:])
            noise.append(seen[:2] - plain[:2])
            plain = clear.step(np.int64(action))[0]
            seen, _, _, _, info = foggy.step(np.int64(action))
            assert info["skid_probability"] == clear.skid_probability()
    assert np.std(noise) == pytest.approx(0.5, rel=0.1)
    assert np.mean(noise) == pytest.approx(0.0, abs=0.08)


class Counting(gym.Env[np.ndarray, np.int64]):
    """Shows how many steps there were."""

    observation_space = gym.spaces.Box(1.0, 9.0, (1,), np.float32)
    action_space = gym.spaces.Discrete(3)

    def reset(self, **kwargs: object) -> tuple[np.ndarray, dict]:
        self.steps = 1.0
        return np.array([1.0], np.float32), {}

    def step(self, action: np.int64) -> tuple[np.ndarray, float, bool, bool, dict]:
        self.steps += 1.0
        return np.array([self.steps], np.float32), 0.0, self.steps == 9.0, False, {}


def test_a_recent_history_has_the_newest_step_last_and_begins_anew() -> None:
    env = RecentHistory(PreviousAction(Counting()), steps=2)
    for _ in range(2):
        seen, _ = env.reset()
        assert seen.tolist() == [0, 0, 0, 0, 1, 0, 0, 0]
        assert env.step(np.int64(2))[0].tolist() == [1, 0, 0, 0, 2, 0, 0, 1]
        seen = env.step(np.int64(0))[0]
        assert seen.tolist() == [2, 0, 0, 1, 3, 1, 0, 0]
        assert env.observation_space.contains(seen)


@pytest.mark.parametrize(
    ("name", "fields", "said"),
    [
        ("partial/ThinIce-v0", {"hint": "never"}, "Bad value 'never' for 'env_config.hint'"),
        ("partial/ThinIce-v0", {"rotten": 1.5}, "Bad value 1.5 for 'env_config.rotten'"),
        ("partial/FoggyRoad-v0", {"fog": -1.0}, "Bad value -1.0 for 'env_config.fog'"),
    ],
)
def test_bad_fields_are_refused(name: str, fields: dict, said: str) -> None:
    model = parameters_of(BUILDERS[name])
    assert name != "partial/ThinIce-v0" or model().hint == "start"
    with pytest.raises(ValueError, match=said):
        check(model, fields, "env_config.")
