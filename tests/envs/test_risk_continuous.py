"""Tasks with continuous actions: trading and its optimum in closed form, fines for speeding.

Costs about 2 processor seconds.
"""

import math

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from scipy.stats import norm

from tenfold.algorithms.common.control_tasks import fields_of
from tenfold.envs.risk.collected import make_limited
from tenfold.envs.risk.continuous import BUILDERS, make_continuous
from tenfold.envs.risk.measures import CVaR
from tenfold.envs.risk.names import CONTINUOUS_NAMES
from tenfold.envs.risk.speed_limit import speed_limit
from tenfold.envs.risk.trading import Trading
from tenfold.envs.risk.trading_optimum import held, plan, simulate
from tenfold.platform.parameters import check

REGISTERED = ["Trading-v0", "SpeedLimit-v0"]


def cvar(returns: np.ndarray, alpha: float) -> float:
    return float(CVaR(alpha)(returns, np.full(len(returns), 1.0 / len(returns))))


@pytest.mark.parametrize("name", [*CONTINUOUS_NAMES, *REGISTERED])
def test_an_environment_is_as_gymnasium_asks(name: str) -> None:
    env = make_continuous(name) if name in BUILDERS else gym.make(name)
    check_env(env, skip_render_check=True, skip_close_check=True)  # which makes it once more
    env.close()


@pytest.mark.parametrize("name", CONTINUOUS_NAMES)
def test_tasks_tell_the_time_and_what_was_collected(name: str) -> None:
    env = make_continuous(name, T=6)
    env.action_space.seed(0)
    seen, _ = env.reset(seed=1)
    collected, times, terminated = 0.0, [seen[-2]], False
    assert seen[-1] == 0.0
    while not terminated:
        seen, reward, terminated, truncated, _ = env.step(env.action_space.sample())
        collected += reward
        times.append(seen[-2])
        assert not truncated
        assert seen[-1] == pytest.approx(collected, abs=1e-4)
    np.testing.assert_allclose(times, np.linspace(0.0, 1.0, 7), atol=1e-6)
    env.close()


@pytest.mark.parametrize("name", REGISTERED)
def test_other_methods_find_them_by_their_module(name: str) -> None:
    env = make_limited(f"tenfold.envs.risk.continuous:{name}", max_episode_steps=3)
    env.reset(seed=0)
    assert [env.step(env.action_space.sample())[2] for _ in range(3)] == [False, False, True]
    env.close()


@pytest.mark.parametrize("gain", [0.2, 0.6])
def test_one_period_is_all_or_nothing(gain: float) -> None:
    """CVaR of a X is a (gain - spread phi(z) / alpha), z the normal quantile at alpha."""
    env, alpha = Trading(T=1, calm_gain=gain, calm_spread=0.3), 0.25
    whole = gain - 0.3 * norm.pdf(norm.ppf(alpha)) / alpha
    found = plan(env, alpha)
    assert held(env, alpha) == pytest.approx(whole, abs=1e-6)
    assert found.value == pytest.approx(max(whole, 0.0), abs=1e-4)
    assert (whole > 0.0) == (gain == 0.6)


def test_the_plan_is_worth_what_it_says_and_more_than_holding() -> None:
    env, alpha = Trading(T=3), 0.25
    found = plan(env, alpha)
    returns = simulate(env, found, 200_000, seed=0)
    assert found.value == pytest.approx(cvar(returns, alpha), abs=0.004)
    assert found.value > held(env, alpha) + 0.2
    # The mean's optimum is to hold: half of the turbulent gain is not taken.
    assert returns.mean() < held(env, 1.0) - 0.02


def test_holding_is_a_mixture_of_normals() -> None:
    """Against episodes of the environment itself."""
    env, returns = Trading(T=4, stays=0.6), []
    for seed in range(3_000):
        env.reset(seed=seed)
        returns.append(sum(env.step(np.ones(1, np.float32))[1] for _ in range(4)))
    spread = np.std(returns) / math.sqrt(3_000)
    assert held(env, 1.0) == pytest.approx(np.mean(returns), abs=4.0 * spread)
    assert held(env, 0.25) == pytest.approx(cvar(np.array(returns), 0.25), abs=8.0 * spread)


def test_speeding_alone_is_fined_and_what_it_is_fined() -> None:
    """Beside the robot's own rewards for the same actions."""
    strict, plain = speed_limit(limit=0.1, chance=1.0, fine=3.0), gym.make("HalfCheetah-v5")
    plain.action_space.seed(0)
    strict.reset(seed=0)
    plain.reset(seed=0)
    fined = 0
    for _ in range(50):
        action = plain.action_space.sample()
        _, paid, _, _, told = strict.step(action)
        _, reward, _, _, info = plain.step(action)
        excess = max(info["x_velocity"] - 0.1, 0.0)
        assert paid == pytest.approx(reward - 3.0 * excess, abs=1e-9)
        assert told["fined"] == (excess > 0.0)
        fined += told["fined"]
    assert 5 < fined < 45
    strict.close()
    plain.close()


@pytest.mark.parametrize(
    ("name", "fields", "said"),
    [
        ("collected/Trading-v0", {"calm_spread": 0.0}, "Bad value 0.0 for 'env_config.calm_spre"),
        ("collected/Trading-v0", {"stays": 1.5}, "Bad value 1.5 for 'env_config.stays'"),
        ("collected/SpeedLimit-v0", {"robot": "Dog"}, "Bad value 'Dog' for 'env_config.robot'"),
        ("collected/SpeedLimit-v0", {"limit": -1.0}, "Bad value -1.0 for 'env_config.limit'"),
        ("collected/SpeedLimit-v0", {"speed": 1.0}, "Unknown key of env_config 'speed'"),
    ],
)
def test_bad_fields_are_refused_in_one_sentence(name: str, fields: dict, said: str) -> None:
    model = fields_of(BUILDERS, name)
    assert model is not None
    with pytest.raises(ValueError, match=said):
        check(model, fields, "env_config.")


def test_there_is_no_other_task() -> None:
    with pytest.raises(ValueError, match="No task 'collected/Chess-v0': choose one of"):
        make_continuous("collected/Chess-v0")
