"""Static risk with continuous actions: U, its critics and losses in closed form, and resuming.

Costs about 2 processor seconds beside imports.
"""

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from ray.rllib.core.columns import Columns
from ray.rllib.core.learner.training_data import TrainingData
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch

from tenfold.algorithms.common.quantile_critic import (
    NEXT_QUANTILES,
    QUANTILES,
    quantile_huber_loss,
)
from tenfold.algorithms.common.return_utility import TIE
from tenfold.algorithms.rs_disrl_sac.algorithm import RSDisRLSAC
from tenfold.algorithms.rs_disrl_sac.config import RSDisRLSACConfig
from tenfold.algorithms.rs_disrl_sac.learner import RiskActorCriticLearner
from tenfold.algorithms.rs_disrl_sac.module import LOG_TEMPERATURE, LOGP, WORTH, RiskActorCritic
from tenfold.envs.risk.measures import CVaR, Entropic, Expectation
from tenfold.platform.configuration import build_config
from tenfold.platform.errors import InputError
from tenfold.platform.registry import get_method

ID, ROWS, N = "default_policy", 12, 6
SPACES = {ID: (spaces.Box(-np.inf, np.inf, (3,)), spaces.Box(0.0, 1.0, (1,)))}


def config(variant: str = "cvar", **overrides: Any) -> RSDisRLSACConfig:
    method = get_method("rs_disrl_sac")
    given = {**method.smoke, "num_quantiles": N, "return_scale": 2.0, **overrides}
    built: RSDisRLSACConfig = build_config(method, "collected/Trading-v0", variant, given, seed=0)
    return built


def learner(variant: str = "cvar", **overrides: Any) -> RiskActorCriticLearner:
    torch.manual_seed(0)
    built: RiskActorCriticLearner = config(variant, **overrides).build_learner(spaces=SPACES)
    return built


def module_of(one: RiskActorCriticLearner) -> RiskActorCritic:
    module: RiskActorCritic = one.module[ID].unwrapped()
    return module


def steps(rows: int = ROWS) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        Columns.OBS: rng.normal(size=(rows, 3)).astype(np.float32),
        Columns.ACTIONS: rng.uniform(-1, 1, (rows, 1)).astype(np.float32),
        Columns.REWARDS: rng.normal(size=rows).astype(np.float32),
        Columns.NEXT_OBS: rng.normal(size=(rows, 3)).astype(np.float32),
        Columns.TERMINATEDS: (np.arange(rows) % 2).astype(np.float32),
    }


def batch_of(columns: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    return {name: torch.as_tensor(values) for name, values in columns.items()}


def update(one: RiskActorCriticLearner, gradient_steps: int) -> Any:
    return one.update(
        training_data=TrainingData(batch=MultiAgentBatch({ID: SampleBatch(steps())}, 1)),
        timesteps={"num_env_steps_sampled_lifetime": 0},
        gradient_steps=gradient_steps,
    )


def test_u_is_the_shortfall_of_what_was_collected_and_what_is_to_come() -> None:
    """CVaR: E min(y + Z - b, 0) / alpha and a tie, up to a constant."""
    module = module_of(learner(rho_parameters={"alpha": 0.5}))
    module.take_distribution(CVaR(0.5), torch.tensor([[0.0, 0.5, 1.0, 1.5, 2.0, 2.5]]), 1)
    b = 2.0 * 1.5  # the knot above those that count, in units of rewards
    seen = torch.tensor([[0.3, 0.2, 0.5], [0.0, 0.0, -1.0]])
    quantiles = torch.randn(2, 2, N, generator=torch.Generator().manual_seed(0))
    returns = seen[:, -1:] + 2.0 * quantiles
    expected = (((returns - b).clamp(max=0.0) / 0.5) + TIE * returns).mean(dim=-1) / 2.0
    found = module.worth(seen, quantiles)
    torch.testing.assert_close(found - found[0, 0], expected - expected[0, 0])


def test_y_is_shifted_before_and_after_a_step_alike() -> None:
    module, rows = module_of(learner(shift_span=0.7)), 200
    torch.manual_seed(0)
    here, after = torch.zeros(rows, 3), torch.ones(rows, 3)
    moved, moved_after = module.shifted(here, after)
    torch.testing.assert_close(moved_after - after, moved - here)
    assert not moved[:, :-1].any()
    assert 0.6 < moved[:, -1].max() <= 0.7
    assert -0.7 <= moved[:, -1].min() < -0.6


def test_the_critic_of_the_least_u_gives_the_whole_distribution() -> None:
    module = module_of(learner())
    seen = batch_of(steps())[Columns.OBS]
    torch.manual_seed(3)
    found = module.forward_target({Columns.OBS: seen})
    torch.manual_seed(3)
    actions = module.pi(module.scaled(seen)).sample()
    each = module.quantiles(module.target_qf, seen, actions)
    worth = module.worth(seen, each)
    assert set(worth.argmin(dim=0).tolist()) == {0, 1}
    for row, least in enumerate(worth.argmin(dim=0)):
        torch.testing.assert_close(found[row], each[least, row])


def test_the_losses_are_those_of_the_docstring() -> None:
    one, batch = learner(kappa=0.1, target_entropy=-3.0), batch_of(steps(2))
    quantiles, after = torch.randn(2, 2, N), torch.randn(2, N)
    logp, worth = torch.tensor([0.2, -0.4]), torch.tensor([1.0, 3.0])
    log_alpha = torch.tensor(-1.0)
    out = {QUANTILES: quantiles, NEXT_QUANTILES: after, LOGP: logp, WORTH: worth}
    one.before_gradient_based_update(timesteps={})
    found = one.compute_loss_for_module(
        module_id=ID, config=one.config, batch=batch, fwd_out={**out, LOG_TEMPERATURE: log_alpha}
    )
    rewards = batch[Columns.REWARDS] / 2.0  # return_scale
    targets = torch.stack([rewards[0] + after[0], rewards[1].expand(N)])  # the second step is last
    expected = sum(quantile_huber_loss(q, targets, 0.1).mean() for q in quantiles)
    expected = expected + (np.exp(-1.0) * logp - worth).mean() + (logp.mean() - 3.0)
    torch.testing.assert_close(found, torch.as_tensor(expected))


def test_each_loss_reaches_its_own_network() -> None:
    one = learner()
    module, batch = module_of(one), batch_of(steps())
    module.take_distribution(CVaR(0.25), torch.linspace(-1.0, 1.0, N)[None], 1)
    out = module.forward_train(batch)
    reached: dict[str, set[str]] = {}
    for key in (QUANTILES, WORTH, LOGP):
        module.zero_grad()
        out[key].sum().backward(retain_graph=True)
        touched = [name for name, each in module.named_parameters() if each.grad is not None]
        reached[key] = {name.partition(".")[0] for name in touched}
    assert reached == {QUANTILES: {"qf"}, WORTH: {"pi"}, LOGP: {"pi"}}
    assert not out[NEXT_QUANTILES].requires_grad


def test_a_runner_has_the_policy_and_the_utility_it_was_learnt_with() -> None:
    one = learner()
    update(one, 3)
    learnt = module_of(one)
    state = learnt.get_state(inference_only=True)
    assert {"knots", "slopes", "heights"} < state.keys()
    assert not [name for name in state if name.startswith(("qf", "target_qf", "log_alpha"))]
    expected = learnt.believed_risk(CVaR(0.25))
    assert one.believed[ID] == pytest.approx(expected)


def test_the_neutral_variant_climbs_the_mean_and_is_judged_by_rho() -> None:
    neutral = config("risk_neutral", rho_parameters={"alpha": 0.1})
    assert neutral.climbed_measure() == Expectation()
    assert neutral.measure() == CVaR(0.1)
    assert config("entropic").climbed_measure() == Entropic(-1.0)
    one = learner("risk_neutral")
    update(one, 1)
    module = module_of(one)
    np.testing.assert_allclose(module.slopes, 1.0 + TIE, rtol=1e-6)
    assert one.believed[ID] == pytest.approx(module.believed_risk(CVaR(0.25)))
    assert one.believed[ID] < float(module.knots.mean())


def test_a_restored_learner_takes_the_same_steps() -> None:
    one, other = learner(), learner()
    update(one, 2)
    other.set_state(one.get_state())
    after = []
    for each in (one, other):
        torch.manual_seed(5)
        update(each, 2)
        after.append(module_of(each).state_dict())
    assert after[0].keys() == after[1].keys()
    for name, values in after[0].items():
        torch.testing.assert_close(values, after[1][name], rtol=0, atol=0, msg=name)


def test_it_is_judged_by_greedy_episodes_within_the_bounds_of_the_task() -> None:
    """A policy that always holds half: its returns are half of those of the whole."""
    played = {}
    for mean in (0.0, 20.0):  # tanh 0 is the middle of [0, 1]
        agent = RSDisRLSAC.__new__(RSDisRLSAC)
        agent.config = config(judged_episodes=130)
        module = module_of(learner())
        torch.nn.init.zeros_(module.pi.head.net.mlp[-1].weight)
        torch.nn.init.constant_(module.pi.head.net.mlp[-1].bias, mean)
        module.action_space = SPACES[ID][1]
        agent.get_module = lambda module=module: module
        found = agent.evaluate()
        assert found == agent.evaluate()
        assert found["risk"] == pytest.approx(
            float(CVaR(0.25)(agent.played, np.full(130, 1 / 130))), abs=1e-9
        )
        assert found["risk_low"] <= found["risk"] <= found["risk_high"]
        played[mean] = agent.played
    np.testing.assert_allclose(2.0 * played[0.0], played[20.0], rtol=1e-5)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"maximise": "cvar"}, "Bad value 'cvar' for 'maximise'"),
        ({"num_critics": 0}, "Bad value 0 for 'num_critics'"),
        ({"utd_ratio": 0.0}, "Bad value 0.0 for 'utd_ratio'"),
        ({"gamma": 0.99}, "Bad value 0.99 for 'gamma'"),
        ({"lr": 1e-3}, "set 'actor_lr', 'critic_lr' and 'alpha_lr'"),
        ({"rho": "cva"}, "Bad value 'cva' for 'rho'"),
        ({"env_config.T": 0}, "Bad value 0 for 'env_config.T'"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(overrides: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said) as refusal:
        config(**overrides)
    assert str(refusal.value).count(". ") == 0


@pytest.mark.parametrize(
    ("task", "said"),
    [
        ("CartPole-v1", "has the actions Discrete.*takes Box"),
        ("tenfold.envs.risk.continuous:Trading-v0", "no limit of steps.*max_episode_steps"),
    ],
)
def test_tasks_that_do_not_fit_are_refused(task: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        build_config(get_method("rs_disrl_sac"), task, "cvar", {}, seed=0)
