"""OMNet on DQN: target, acting, resume, refusals, without Ray. Costs four processor seconds."""

from typing import Any

import numpy as np
import pytest
import torch
from ray.rllib.core.columns import Columns
from ray.rllib.core.learner.training_data import TrainingData
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch

from tenfold.algorithms.omnet.module import POLICY_MEMBERS
from tenfold.algorithms.omnet_dqn import METHOD
from tenfold.algorithms.omnet_dqn.algorithm import OMNetDQNLearner, OMNetDQNModule
from tenfold.platform.configuration import build_config
from tenfold.platform.errors import InputError

MODULE = "default_policy"


def learner_of(variant: str = "omnet_dqn", **changes: Any) -> OMNetDQNLearner:
    torch.manual_seed(0)
    small = {"model_config.fcnet_hiddens": [16, 16], "train_batch_size_per_learner": 20}
    config = build_config(METHOD, "CartPole-v1", variant, {**small, **changes}, seed=0)
    spaces = config.task_spaces()
    return config.build_learner(spaces={"__env__": spaces, MODULE: spaces})


def module_of(learner: OMNetDQNLearner) -> OMNetDQNModule:
    return learner.module[MODULE].unwrapped()


def steps(count: int = 20) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        Columns.OBS: rng.normal(size=(count, 4)).astype(np.float32),
        Columns.ACTIONS: rng.integers(2, size=count),
        Columns.REWARDS: rng.normal(size=count).astype(np.float32),
        Columns.NEXT_OBS: rng.normal(size=(count, 4)).astype(np.float32),
        Columns.TERMINATEDS: rng.integers(2, size=count).astype(np.float32),
    }


@pytest.mark.parametrize("double_q", [True, False])
@pytest.mark.parametrize("mode", ["all", "split"])
def test_the_critic_learns_the_target_of_dqn(mode, double_q):
    learner = learner_of(subnet_batch_mode=mode, double_q=double_q)
    module = module_of(learner)
    with torch.no_grad():
        for weights in module.target_qf.parameters():
            weights += 0.1 * torch.randn_like(weights)
    batch = {name: torch.from_numpy(values) for name, values in steps().items()}
    torch.manual_seed(1)
    out = module.forward_train(batch)
    loss = learner.compute_loss_for_module(
        module_id=MODULE, config=learner.config, batch=batch, fwd_out=out
    )
    torch.manual_seed(1)
    members, rows = torch.randperm(5)[:2], torch.arange(20)
    with torch.no_grad():
        after = module.target_qf(batch[Columns.NEXT_OBS])[members].min(dim=0).values
        best = module.qf(batch[Columns.NEXT_OBS]).mean(dim=0) if double_q else after
        ended = batch[Columns.TERMINATEDS] > 0
        following = torch.where(ended, 0.0, after[rows, best.argmax(dim=1)])
        y = batch[Columns.REWARDS] + 0.99 * following
        errors = module.qf(batch[Columns.OBS])[:, rows, batch[Columns.ACTIONS]] - y
    if mode == "split":
        errors = torch.stack([errors[k, 4 * k : 4 * k + 4] for k in range(5)])
    torch.testing.assert_close(loss.detach(), (errors**2).mean())


def test_members_act_and_evaluation_asks_their_mean():
    module = module_of(learner_of(epsilon=[[0, 0.0], [1, 0.0]]))
    seen = torch.randn(200, 4)
    values = module.qf(seen)
    members = torch.arange(200) % 5
    acted = module.forward_exploration({Columns.OBS: seen, POLICY_MEMBERS: members}, t=5)
    best = values.argmax(dim=-1)
    assert torch.equal(acted[Columns.ACTIONS], best[members, torch.arange(200)])
    greedy = module.forward_inference({Columns.OBS: seen})[Columns.ACTIONS]
    assert torch.equal(greedy, values.mean(dim=0).argmax(dim=1))
    differ = [float((best[i] != best[j]).float().mean()) for i in range(5) for j in range(5)]
    assert float(module.action_diversity(seen)) == pytest.approx(sum(differ) / 20)


def test_epsilon_falls_with_the_steps():
    module = module_of(learner_of(epsilon=[[0, 1.0], [100, 0.0]]))
    seen = torch.zeros(400, 4)
    shares = []
    for t in (0, 100):
        out = module.forward_exploration(
            {Columns.OBS: seen, POLICY_MEMBERS: torch.zeros(400).long()}, t=t
        )
        shares.append(float(out[Columns.ACTIONS].float().mean()))
    assert abs(shares[0] - 0.5) < 0.15
    assert shares[1] in (0.0, 1.0)


@pytest.mark.parametrize("variant", ["omnet_dqn", "unit", "ensemble"])
def test_a_learner_goes_on_from_its_state_as_if_nothing_had_happened(variant):
    def learn(learner: OMNetDQNLearner) -> None:
        batch = MultiAgentBatch({MODULE: SampleBatch(steps(60))}, 1)
        learner.update(
            training_data=TrainingData(batch=batch),
            timesteps={"num_env_steps_sampled_lifetime": 1},
            gradient_steps=3,
        )

    whole = learner_of(variant)
    learn(whole)
    resumed = learner_of(variant)
    resumed.set_state(whole.get_state())
    for learner in (whole, resumed):
        torch.manual_seed(7)
        learn(learner)
    one, other = (module_of(learner).state_dict() for learner in (whole, resumed))
    assert int(one["critic_steps"]) == 6
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_continuous_actions_are_refused():
    with pytest.raises(InputError, match="this method takes Discrete"):
        build_config(METHOD, "Pendulum-v1", "omnet_dqn", {}, seed=0)
