"""Utilities against closed forms and finite differences, the learner's batch, exact evaluation."""

import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st

from tenfold.algorithms.risk_pomdp.beta import solve
from tenfold.algorithms.risk_pomdp_deep.algorithm import HINDSIGHT_STATES, RiskPOMDPDeep
from tenfold.algorithms.risk_pomdp_deep.config import RiskPOMDPDeepConfig
from tenfold.algorithms.risk_pomdp_deep.evaluation import likeliest_policy
from tenfold.algorithms.risk_pomdp_deep.utility import entropic_risk, utilities
from tenfold.envs.risk.hindsight import make_history
from tenfold.envs.risk.names import HINDSIGHT_NAMES
from tenfold.envs.risk.pomdp_benchmarks import treatment


@given(st.lists(st.floats(0.0, 5.0), min_size=2, max_size=20), st.sampled_from([-60.0, -1.0, 2.0]))
@settings(max_examples=50, deadline=None)
def test_utilities_have_mean_zero_and_order_returns(drawn: list[float], gamma: float) -> None:
    returns = np.array(drawn)
    found = utilities(returns, gamma)
    assert np.isfinite(found).all()
    assert found.mean() == pytest.approx(0.0, abs=1e-9 * np.abs(found).max() + 1e-12)
    order = np.argsort(returns)
    assert (np.diff(found[order]) >= 0.0).all()
    largest = returns.max() if gamma > 0 else returns.min()  # its term alone, or all as large
    certain = entropic_risk(returns, gamma)
    assert abs(certain - largest) <= np.log(len(returns)) / abs(gamma) + 1e-9


def test_small_gamma_is_the_risk_neutral_utility() -> None:
    returns = np.array([0.0, 1.0, 4.0])
    np.testing.assert_allclose(utilities(returns, 0.0), returns - 5 / 3)
    np.testing.assert_allclose(utilities(returns, 1e-6), returns - 5 / 3, atol=1e-5)


@pytest.mark.parametrize("gamma", [-2.0, 0.0, 1.5])
def test_the_policy_gradient_of_utilities_is_that_of_the_entropic_risk(gamma: float) -> None:
    """A softmax over four returns: sum_i p_i u_i grad log p_i by hand, J by finite differences."""
    returns, theta = np.array([0.3, 1.0, 2.0, 2.4]), np.array([0.2, -0.4, 0.1, 0.5])

    def risk(theta: np.ndarray) -> float:
        p = np.exp(theta) / np.exp(theta).sum()
        if gamma == 0.0:
            return float(p @ returns)
        return float(np.log(p @ np.exp(gamma * returns)) / gamma)

    p = np.exp(theta) / np.exp(theta).sum()
    above = returns - risk(theta)
    u = above if gamma == 0.0 else np.expm1(gamma * above) / gamma
    by_hand = p * u - p * (p @ u)
    numeric = [(risk(theta + d) - risk(theta - d)) / 2e-6 for d in 1e-6 * np.eye(4)]
    np.testing.assert_allclose(by_hand, numeric, atol=1e-8)


@pytest.mark.parametrize("name", HINDSIGHT_NAMES)
@pytest.mark.filterwarnings("ignore:.*different from the unwrapped version.*")
def test_histories_are_gymnasium_observations(name: str) -> None:
    check_env(make_history(name), skip_render_check=True)


def built(**values: object) -> RiskPOMDPDeepConfig:
    config = RiskPOMDPDeepConfig().environment("hindsight/Treatment-v0", env_config={"H": 3})
    config.update_from_dict({"train_batch_size_per_learner": 90, "minibatch_size": 30, **values})
    return config.debugging(seed=0)


@pytest.mark.usefixtures("ray_session")
def test_batches_hold_whole_episodes_their_states_and_their_utilities() -> None:
    agent = RiskPOMDPDeep(built())
    episodes = agent.env_runner.sample()
    assert len(episodes) == 8 * 4  # 90 steps are 4 episodes of each environment
    assert {len(episode) for episode in episodes} == {3}
    returns = np.array([episode.get_return() for episode in episodes])
    states = [episode.get_infos()[-1]["hindsight_states"] for episode in episodes]
    # Environments are not reset to the same chances again and again.
    assert len({tuple(each) for each in states}) > 12
    learner = agent.learner_group._learner
    batch = learner._learner_connector(
        rl_module=learner.module, batch={}, episodes=episodes, shared_data={}
    )["default_policy"]
    mask = batch["loss_mask"].numpy()
    told = batch[HINDSIGHT_STATES].numpy()[mask].reshape(-1, 3)
    np.testing.assert_array_equal(told, states)
    paid = batch["rewards"].numpy()[mask].reshape(-1, 3)
    np.testing.assert_allclose(paid[:, 2], utilities(returns, -3.0), rtol=1e-5)
    assert not paid[:, :2].any()

    truth = treatment(H=3)
    policy = likeliest_policy(agent.get_module(), truth)
    env = make_history("hindsight/Treatment-v0", H=3)
    for seed in range(10):  # the table agrees with the network on what the environment shows
        seen, _ = env.reset(seed=seed)
        history, done, h = int(env.env.unwrapped.observation), False, 0
        while not done:
            logits = agent.get_module().forward_inference({"obs": torch.as_tensor(seen[None])})
            action = int(logits["action_dist_inputs"].argmax())
            assert action == policy[h][history]
            seen, _, done, _, _ = env.step(np.int64(action))
            history = (history * 3 + action) * 3 + int(env.env.unwrapped.observation)
            h += 1
    evaluated = agent.evaluate()
    assert evaluated["optimal_value"] == pytest.approx(solve(truth, -3.0).value)
    assert evaluated["gap"] >= 0.0
    agent.stop()


@pytest.mark.parametrize("gamma_risk", [-1.0, -2.0, 0.0, 1.0])
def test_an_agent_gets_the_risk_that_was_asked_for(gamma_risk: float) -> None:
    """RLlib builds agents from a state that leaves out every -1."""
    config = built(gamma_risk=gamma_risk)
    assert RiskPOMDPDeepConfig.from_state(config.get_state()).gamma_risk == gamma_risk


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"gamma_risk": 200.0}, "Bad value 200.0 for 'gamma_risk': with H = 3 give a number from"),
        ({"hindsight_coeff": -1.0}, "Bad value -1.0 for 'hindsight_coeff'"),
        ({"lr": 0.0}, "Bad value 0.0 for 'lr'"),
    ],
)
def test_mistakes_are_refused(values: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        built(**values).validate()
