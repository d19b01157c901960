"""OMNet's losses, policy, runner, metrics and config, without Ray. Costs ten processor seconds."""

from typing import Any

import numpy as np
import pytest
import torch
from ray.rllib.core.columns import Columns
from ray.rllib.core.learner.training_data import TrainingData
from ray.rllib.env.single_agent_episode import SingleAgentEpisode
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch
from torch import distributions

from tenfold.algorithms.omnet import METHOD
from tenfold.algorithms.omnet.base_learner import reduced
from tenfold.algorithms.omnet.config import OMNetConfig
from tenfold.algorithms.omnet.diagnostics import (
    describe,
    effective_rank,
    soft_returns,
    value_errors,
)
from tenfold.algorithms.omnet.learner import OMNetLearner
from tenfold.algorithms.omnet.ledger import actor_step_flops, critic_step_flops
from tenfold.algorithms.omnet.module import POLICY_MEMBERS, OMNetModule
from tenfold.algorithms.omnet.policy import draw
from tenfold.platform.configuration import build_config
from tenfold.platform.errors import InputError

MODULE = "default_policy"
SMALL = {"model_config.fcnet_hiddens": [16, 16], "train_batch_size_per_learner": 20}


def config_of(variant: str = "omnet", task: str = "Pendulum-v1", **changes: Any) -> OMNetConfig:
    config = build_config(METHOD, task, variant, {**SMALL, **changes}, seed=0)
    assert isinstance(config, OMNetConfig)
    return config


def learner_of(variant: str = "omnet", **changes: Any) -> OMNetLearner:
    torch.manual_seed(0)
    config = config_of(variant, **changes)
    spaces = config.task_spaces()
    return config.build_learner(spaces={"__env__": spaces, MODULE: spaces})


def module_of(learner: OMNetLearner) -> OMNetModule:
    return learner.module[MODULE].unwrapped()


def steps(count: int = 20, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    found = {
        Columns.OBS: rng.normal(size=(count, 3)),
        Columns.ACTIONS: rng.uniform(-1, 1, (count, 1)),
        Columns.REWARDS: rng.normal(size=count),
        Columns.NEXT_OBS: rng.normal(size=(count, 3)),
        Columns.TERMINATEDS: rng.integers(2, size=count),
    }
    return {name: values.astype(np.float32) for name, values in found.items()}


def tensors(columns: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(values) for name, values in columns.items()}


def learn(learner: OMNetLearner, gradient_steps: int = 4) -> Any:
    batch = MultiAgentBatch({MODULE: SampleBatch(steps(20 * gradient_steps))}, 1)
    return learner.update(
        training_data=TrainingData(batch=batch),
        timesteps={"num_env_steps_sampled_lifetime": 1},
        gradient_steps=gradient_steps,
    )


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, lambda e: (e**2).mean()),
        ({"critic_loss_reduction": "sum"}, lambda e: (e**2).mean(dim=1).sum()),
        (
            {"critic_loss": "huber"},
            lambda e: torch.where(e.abs() < 1, 0.5 * e**2, e.abs() - 0.5).mean(),
        ),
        ({"subnet_batch_mode": "split"}, None),
    ],
    ids=["mse", "sum", "huber", "split"],
)
def test_the_critic_learns_one_target_bootstrapped_where_no_episode_terminated(keys, expected):
    learner = learner_of(**keys)
    module, batch = module_of(learner), tensors(steps())
    torch.manual_seed(1)
    out = module.forward_train(batch)
    loss = learner.compute_loss_for_module(
        module_id=MODULE, config=learner.config, batch=batch, fwd_out=out
    )
    torch.manual_seed(1)
    with torch.no_grad():
        actions, logp = module.pi.sample(batch[Columns.NEXT_OBS])
        members = torch.randperm(5)[:2]
        after = module.target_qf(batch[Columns.NEXT_OBS], actions)[members].min(dim=0).values
        soft = after - module.log_alpha.exp() * logp
        y = batch[Columns.REWARDS] + 0.99 * torch.where(batch[Columns.TERMINATEDS] > 0, 0.0, soft)
        values = module.qf(batch[Columns.OBS], batch[Columns.ACTIONS])
    if expected is None:  # member k learns the k-th slice of four rows
        errors = torch.stack(
            [values[k, 4 * k : 4 * k + 4] - y[4 * k : 4 * k + 4] for k in range(5)]
        )
        torch.testing.assert_close(loss.detach(), (errors**2).mean())
    else:
        torch.testing.assert_close(loss.detach(), expected(values - y))


def test_reductions_of_the_target():
    values = torch.tensor([[1.0, 5.0], [3.0, 2.0], [2.0, 8.0]])
    assert reduced(values, "min", 0.0).tolist() == [1.0, 2.0]
    assert reduced(values, "mean", 0.0).tolist() == [2.0, 5.0]
    assert reduced(values, "quantile", 0.5).tolist() == [2.0, 5.0]


@pytest.mark.parametrize("how", ["mean", "min"])
def test_the_policy_climbs_the_mean_or_the_least_of_all_members(how):
    module = module_of(learner_of(actor_q_reduce=how))
    batch = tensors(steps())
    values = module.qf(batch[Columns.OBS], batch[Columns.ACTIONS])
    expected = values.mean(dim=0) if how == "mean" else values.min(dim=0).values
    torch.testing.assert_close(module.compute_q_values(batch), expected)


def test_policy_steps_come_after_so_many_of_the_critic_and_leave_its_weights_alone():
    learner = learner_of(policy_delay=3)
    module = module_of(learner)
    learn(learner, 2)
    assert (int(module.critic_steps), int(module.actor_steps)) == (2, 0)
    learn(learner, 5)
    assert (int(module.critic_steps), int(module.actor_steps)) == (7, 2)
    before = [weights.detach().clone() for weights in module.qf.parameters()]
    policy = [weights.detach().clone() for weights in module.pi.parameters()]
    learner._step_actor(MODULE, learner.config, module, tensors(steps()))
    assert all(map(torch.equal, before, module.qf.parameters()))
    assert not any(map(torch.equal, policy, module.pi.parameters()))


def test_targets_follow_at_every_gradient_step():
    learner = learner_of(tau=0.25)
    module = module_of(learner)
    before = module.target_qf.network.layers[1].weight.detach().clone()
    learn(learner, 1)
    online = module.qf.network.layers[1].weight.detach()
    expected = 0.75 * before + 0.25 * online
    torch.testing.assert_close(module.target_qf.network.layers[1].weight, expected)


@pytest.mark.parametrize("variant", ["omnet", "unit_split", "droq", "sac"])
def test_a_learner_goes_on_from_its_state_as_if_nothing_had_happened(variant):
    whole = learner_of(variant, policy_delay=3)
    learn(whole)
    state = whole.get_state()
    resumed = learner_of(variant, policy_delay=3)
    resumed.set_state(state)
    for learner in (whole, resumed):
        torch.manual_seed(7)
        learn(learner)
    one, other = (module_of(learner).state_dict() for learner in (whole, resumed))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_state_with_other_masks_is_refused():
    state = learner_of().get_state()
    with pytest.raises(ValueError, match="trained with other masks"):
        learner_of(mask_seed=3).set_state(state)


def test_densities_of_actions_are_those_of_a_squashed_gaussian():
    torch.manual_seed(0)
    outputs = 0.5 * torch.randn(50, 6, dtype=torch.float64)
    actions, logp = draw(outputs)
    mean, log_std = outputs.chunk(2, dim=-1)
    normal = distributions.Normal(mean, log_std.exp())
    squashed = distributions.TransformedDistribution(
        normal, [distributions.TanhTransform(cache_size=1)]
    )
    torch.testing.assert_close(logp, squashed.log_prob(actions).sum(-1))


def test_a_batch_is_shared_among_the_policies_of_a_mixture():
    module = module_of(learner_of())
    seen = torch.randn(7, 3)
    outputs = module.pi.network(seen)
    torch.manual_seed(3)
    actions, _ = module.pi.sample(seen)
    torch.manual_seed(3)
    by_hand = torch.cat([outputs[0, 0:2], outputs[1, 2:4], outputs[2, 4:6], outputs[3, 6:7]])
    torch.testing.assert_close(actions, draw(by_hand)[0])


def test_evaluation_acts_by_the_mean_or_by_one_subnetwork():
    seen = torch.randn(4, 3)
    module = module_of(learner_of())
    modes = module.pi.modes(seen)
    acted = module.forward_inference({Columns.OBS: seen})[Columns.ACTIONS]
    torch.testing.assert_close(acted, modes.mean(dim=0))
    third = module_of(learner_of(eval_sampling=2))
    third.load_state_dict(module.state_dict())
    torch.testing.assert_close(
        third.forward_inference({Columns.OBS: seen})[Columns.ACTIONS], modes[2]
    )


def test_ucb_acts_by_the_candidate_that_may_be_best():
    module = module_of(learner_of(ucb_coef=10.0))
    seen = torch.randn(6, 3)
    torch.manual_seed(0)
    acted = module.forward_exploration({Columns.OBS: seen})[Columns.ACTIONS]
    torch.manual_seed(0)
    candidates, _ = module.pi.candidates(seen)
    values = torch.stack([module.qf(seen, actions) for actions in candidates])  # (J, E, B)
    worth = values.mean(dim=1) + 10.0 * values.std(dim=1, correction=0)
    torch.testing.assert_close(acted, candidates[worth.argmax(dim=0), torch.arange(6)])


def runner_of(**changes: Any) -> Any:
    config = config_of(num_steps_sampled_before_learning_starts=0, **changes)
    return config.env_runner_cls(config=config, worker_index=0)


def test_one_subnetwork_acts_for_a_whole_episode():
    runner = runner_of(env_config={"max_episode_steps": 5})
    acting = []
    forward = runner.module.forward_exploration

    def spy(batch: dict[str, Any], **kwargs: Any) -> Any:
        acting.append(int(batch[POLICY_MEMBERS][0]))
        return forward(batch, **kwargs)

    runner.module.forward_exploration = spy
    for _ in range(60):
        runner.collect()
    # Every sixth call is Gymnasium's reset, whose action nobody takes.
    episodes = [set(acting[i : i + 5]) for i in range(0, 60, 6)]
    assert all(len(members) == 1 for members in episodes)
    assert len(set.union(*episodes)) > 2


def test_steps_before_learning_are_uniformly_random():
    config = config_of(num_steps_sampled_before_learning_starts=300)
    runner = config.env_runner_cls(config=config, worker_index=0)
    actions = np.concatenate([runner.collect()[Columns.ACTIONS] for _ in range(300)])
    assert abs(actions.mean()) < 0.15
    assert abs((np.abs(actions) < 0.5).mean() - 0.5) < 0.15
    assert len(np.unique(actions)) == 300


def test_whole_episodes_are_counted_whatever_their_length():
    runner = runner_of(env_config={"max_episode_steps": 7}, num_envs_per_env_runner=3)
    played = runner.play(5, explore=True)
    assert [len(episode) for episode in played] == [7] * 5
    assert all(episode.is_truncated and not episode.is_terminated for episode in played)
    for episode in played:
        assert episode.get_observations().shape == (8, 3)
        assert episode.get_extra_model_outputs(Columns.ACTION_LOGP).shape == (7,)
    assert len(runner.sample(num_episodes=2, explore=False)) == 2
    metrics = runner.get_metrics()
    assert metrics["num_episodes"].peek() == 2


def test_soft_returns_by_hand():
    returns = soft_returns(np.array([1.0, 2.0, 3.0]), np.array([9.0, -1.0, -2.0]), 0.5, 0.9)
    third = 3.0
    second = 2.0 + 0.9 * (third + 1.0)
    assert returns.tolist() == pytest.approx([1.0 + 0.9 * (second + 0.5), second, third])


def test_value_bias_of_a_critic_that_says_zero():
    module = module_of(learner_of())
    for weights in module.qf.parameters():
        torch.nn.init.zeros_(weights)
    T = 30

    def episode(terminated: bool) -> SingleAgentEpisode:
        return SingleAgentEpisode(
            observations=[np.zeros(3, np.float32)] * (T + 1),
            actions=[np.zeros(1, np.float32)] * T,
            rewards=[1.0] * T,
            terminated=terminated,
            truncated=not terminated,
            extra_model_outputs={Columns.ACTION_LOGP: [0.0] * T},
            len_lookback_buffer=0,
        )

    found = value_errors(module, [episode(True)], 0.5)
    assert found["value_bias_mean"] == pytest.approx(-1.0)
    assert found["error_cosine"] == pytest.approx(1.0)
    # Of an episode that was cut, the last steps do not know their return: here ten of 0.5.
    truth = soft_returns(np.ones(T), np.zeros(T), 0.0, 0.5)
    spread = value_errors(module, [episode(False)], 0.5)["value_bias_std"]
    assert spread == pytest.approx(truth[:20].std() / truth[:20].mean(), rel=1e-5)
    assert value_errors(module, [episode(False)], 0.99) == {}


def test_plasticity_is_measured():
    assert effective_rank(torch.eye(8)) == 8
    assert effective_rank(torch.ones(8, 8)) == 1
    assert effective_rank(torch.zeros(8, 8)) == 0
    module = module_of(learner_of("sinsac"))
    batch = tensors(steps())
    alive = describe(module, batch[Columns.OBS], batch[Columns.ACTIONS])
    module.qf.network.layers[1].bias.data[:, :, :12] = -1e3
    dead = describe(module, batch[Columns.OBS], batch[Columns.ACTIONS])
    assert dead["dead_units"] >= 12 / 32 > alive["dead_units"]
    assert dead["effective_rank"] <= 4 < alive["effective_rank"]
    assert module.training


def test_spread_and_overlap_are_those_of_the_members():
    module = module_of(learner_of())
    batch = tensors(steps())
    found = describe(module, batch[Columns.OBS], batch[Columns.ACTIONS])
    values = module.qf(batch[Columns.OBS], batch[Columns.ACTIONS]).detach()
    assert found["q_spread"] == pytest.approx(float(values.std(dim=0, correction=0).mean()))
    assert found["q_mean_3"] == pytest.approx(float(values[3].mean()))
    assert found["mask_overlap"] == pytest.approx(1 / 3, abs=0.08)
    assert found["action_diversity"] > 0


def test_the_ledger_has_the_ratios_of_the_paper_s_kind_of_count():
    """By F, a dense critic's forward pass: SAC 8 F, REDQ 32 F, OMNet near 8.5 F and 2.5 F."""
    layers = {"model_config.fcnet_hiddens": [256, 256], "policy_subnets": 1}

    def of_critic(variant: str, *, executed: bool, **changes: Any) -> float:
        module = module_of(learner_of(variant, **{**layers, **changes}))
        F = module.qf.network.flops(1, executed=True) if variant == "sinsac" else None
        policy = module.pi.network.flops(1, executed)
        found = critic_step_flops(module, 1, executed=executed) - policy
        return found if F is None else found / F

    single = 2.0 * (4 * 256 + 256 * 256 + 256)
    assert of_critic("sinsac", executed=True) == pytest.approx(4.0)
    assert of_critic("sac", executed=False) / single == pytest.approx(8.0)
    assert of_critic("redq", executed=True) / single == pytest.approx(32.0)
    assert of_critic("omnet", executed=False) / single == pytest.approx(8.5, rel=0.03)
    assert of_critic("split", executed=False) / single == pytest.approx(2.5, rel=0.03)
    assert of_critic("omnet", executed=True) / single == pytest.approx(17.0, rel=0.03)
    module = module_of(learner_of("sac", **layers))
    policy = module.pi.network.flops(1, True)
    assert actor_step_flops(module, 1, executed=True) == pytest.approx(3 * policy + 4 * single)


def test_omnet_is_one_call_on_a_config():
    config = OMNetConfig().environment("Pendulum-v1").omnet(num_subnets=3, sparsity=0.25)
    config.validate()
    assert (config.num_subnets, config.sparsity, config.critic_masks().num_subnets) == (3, 0.25, 3)
    with pytest.raises(InputError, match="num_subnets"):
        config.omnet(num_subnet=3)
    with pytest.raises(ValueError, match="'sparsity'"):
        config.omnet(sparsity=1.0)


@pytest.mark.parametrize(
    ("task", "changes", "sentence"),
    [
        ("Pendulum-v1", {"num_subnets": 0}, "Bad value 0 for 'num_subnets': give 1 or more"),
        ("Pendulum-v1", {"sparsity": 1.0}, "Bad value 1.0 for 'sparsity': give"),
        ("Pendulum-v1", {"sparsity": -0.1}, "Bad value -0.1 for 'sparsity': give"),
        ("Pendulum-v1", {"target_subset": 6}, "'target_subset': the critic has 5 members"),
        (
            "Pendulum-v1",
            {"sparsity": 0.99, "model_config.fcnet_hiddens": [8, 8]},
            "for 'sparsity': subnetwork 1 has an output that no input reaches",
        ),
        ("Pendulum-v1", {"policy_sparsity": 0.999}, "for 'policy_sparsity': subnetwork"),
        ("Pendulum-v1", {"model_config.fcnet_hiddens": [8]}, "two hidden layers or more"),
        ("Pendulum-v1", {"mask_overlap": "masksembles"}, "set mask_granularity=unit"),
        ("Pendulum-v1", {"eval_sampling": 5}, "'eval_sampling': there are 5 subnetworks"),
        ("Pendulum-v1", {"ucb_coef": 1.0, "policy_subnets": 1}, "'ucb_coef'"),
        (
            "Pendulum-v1",
            {"subnet_batch_mode": "split", "train_batch_size_per_learner": 4},
            "it needs 5 or more",
        ),
        ("CartPole-v1", {}, "Task 'CartPole-v1' has the actions"),
    ],
    ids=lambda given: " ".join(map(str, given)) if isinstance(given, dict) else None,
)
def test_bad_input_is_one_sentence(task, changes, sentence):
    with pytest.raises(InputError) as refusal:
        config_of("omnet", task, **changes)
    assert sentence in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_target_entropy_by_number_by_actions_and_by_table():
    assert config_of().entropy_target(6) == -6.0
    assert config_of(target_entropy=-2.5).entropy_target(6) == -2.5
    table = {"target_entropy": "table"}
    assert config_of("omnet", "Hopper-v5", **table).entropy_target(3) == -1.0
    assert config_of("omnet", "Humanoid-v5", **table).entropy_target(17) == -2.0
    assert config_of("omnet", "Pendulum-v1", **table).entropy_target(1) == -1.0
