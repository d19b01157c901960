"""TD3: its target, delay, noises and averages in closed form, and beside a loop written by hand.

Costs about 6 processor seconds, most of them imports.
"""

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from ray.rllib.core.columns import Columns
from ray.rllib.core.learner.training_data import TrainingData
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch
from torch.nn.functional import linear

from tenfold.algorithms.common.transition_replay import TransitionRunner
from tenfold.algorithms.td3.learner import TD3Learner
from tenfold.algorithms.td3.module import Q_OF_POLICY, TD3Module
from tenfold.platform.configuration import build_config
from tenfold.platform.errors import InputError
from tenfold.platform.registry import get_method

METHOD = get_method("td3")
ID = "default_policy"
ROWS = 16
SPACES = {ID: (spaces.Box(-1.0, 1.0, (3,)), spaces.Box(-2.0, 2.0, (1,)))}


def config(task: str = "Pendulum-v1", **overrides: Any) -> Any:
    return build_config(METHOD, task, "td3", {**METHOD.smoke, **overrides}, seed=0)


def learner(**overrides: Any) -> TD3Learner:
    built: TD3Learner = config(**overrides).build_learner(spaces=SPACES)
    return built


def steps(rows: int = ROWS, seed: int = 0) -> dict[str, np.ndarray]:
    """Steps of Pendulum's shapes, half of them terminal."""
    rng = np.random.default_rng(seed)
    return {
        Columns.OBS: rng.normal(size=(rows, 3)).astype(np.float32),
        Columns.ACTIONS: rng.uniform(-1, 1, (rows, 1)).astype(np.float32),
        Columns.REWARDS: rng.normal(size=rows).astype(np.float32),
        Columns.NEXT_OBS: rng.normal(size=(rows, 3)).astype(np.float32),
        Columns.TERMINATEDS: (np.arange(rows) % 2).astype(np.float32),
    }


def update(one: TD3Learner, columns: dict[str, np.ndarray], gradient_steps: int = 1) -> Any:
    return one.update(
        training_data=TrainingData(batch=MultiAgentBatch({ID: SampleBatch(columns)}, 1)),
        timesteps={"num_env_steps_sampled_lifetime": 0},
        gradient_steps=gradient_steps,
    )


def module_of(one: TD3Learner) -> TD3Module:
    module: TD3Module = one.module[ID]
    return module


def parameters(network: torch.nn.Module) -> list[torch.Tensor]:
    return [each.detach().clone() for each in network.parameters()]


def same(one: list[torch.Tensor], other: list[torch.Tensor], tolerance: float = 0.0) -> bool:
    return all(
        torch.allclose(a, b, rtol=0, atol=tolerance) for a, b in zip(one, other, strict=True)
    )


def test_the_loss_is_that_of_both_critics_against_one_target() -> None:
    one = learner()
    values = torch.tensor([[1.0, 2.0], [3.0, 5.0]])
    batch = {
        Columns.REWARDS: torch.tensor([0.5, 0.5]),
        Columns.TERMINATEDS: torch.tensor([0.0, 1.0]),
    }
    out = {"qf_preds": values, "q_target_next": torch.tensor([10.0, 10.0])}
    y = torch.tensor([0.5 + 0.99 * 10.0, 0.5])  # the second ended in a terminal state
    critics = sum(((values[i] - y) ** 2).mean() for i in range(2))

    def loss() -> torch.Tensor:
        return one.compute_loss_for_module(
            module_id=ID, config=one.config, batch=batch, fwd_out=out
        )

    torch.testing.assert_close(loss(), critics)
    out[Q_OF_POLICY] = torch.tensor([4.0, 6.0])
    torch.testing.assert_close(loss(), critics - 5.0)


def test_the_target_is_the_lesser_critic_at_the_targets_action() -> None:
    module = module_of(learner(target_policy_noise=0.0))
    with torch.no_grad():
        for target in module.target_qf.parameters():
            target.normal_()
    batch = {name: torch.from_numpy(values) for name, values in steps().items()}
    seen = batch[Columns.NEXT_OBS]
    action = torch.tanh(by_hand(parameters(module.target_pi), seen))
    values = [
        by_hand(parameters(critic), torch.cat([seen, action], dim=1))[:, 0]
        for critic in module.target_qf
    ]
    assert not torch.equal(values[0], values[1])
    torch.testing.assert_close(module.forward_target(batch), torch.minimum(*values))


def by_hand(weights: list[torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """A perceptron of one hidden layer of ReLUs."""
    inner, inner_bias, outer, outer_bias = weights
    return linear(linear(x, inner, inner_bias).relu(), outer, outer_bias)


def test_noise_on_the_targets_action_is_clipped() -> None:
    module = module_of(learner(target_policy_noise=50.0, target_noise_clip=0.25))
    seen = torch.randn(400, 3, generator=torch.Generator().manual_seed(0)) * 0.1
    plain, noisy = module.target_pi(seen), module.smoothed_actions(seen)
    shift = noisy - plain
    assert plain.abs().max() < 0.7  # so that no action's bound cuts
    torch.testing.assert_close(shift.abs().max(), torch.tensor(0.25))
    assert (shift > 0.24).any()
    assert (shift < -0.24).any()
    module.model_config["target_noise_clip"] = 5.0
    assert module.smoothed_actions(seen).abs().max() == 1.0


def test_policy_and_targets_wait_for_the_delay() -> None:
    one = learner(policy_delay=3)
    module = module_of(one)
    waiting = [module.pi, module.target_pi, module.target_qf]
    first = [parameters(network) for network in waiting]
    for step in range(1, 7):
        critics = parameters(module.qf)
        before = [parameters(network) for network in waiting]
        update(one, steps(seed=step))
        assert not same(critics, parameters(module.qf))
        moved = [not same(b, parameters(n)) for b, n in zip(before, waiting, strict=True)]
        assert moved == [step % 3 == 0] * 3
    assert not any(same(b, parameters(n)) for b, n in zip(first, waiting, strict=True))


def test_targets_follow_by_tau() -> None:
    one = learner(policy_delay=1, tau=0.25)
    module = module_of(one)
    for online, target in module.get_target_network_pairs():
        with torch.no_grad():
            for each in target.parameters():
                each.add_(1.0)
        assert not same(parameters(online), parameters(target))
    before = [parameters(target) for _, target in module.get_target_network_pairs()]
    update(one, steps())
    for was, (online, target) in zip(before, module.get_target_network_pairs(), strict=True):
        pairs = zip(was, parameters(online), strict=True)
        expected = [0.75 * old + 0.25 * new for old, new in pairs]
        assert same(expected, parameters(target), tolerance=1e-6)


def test_the_policys_loss_leaves_the_critics_alone() -> None:
    delayed, at_once = learner(policy_delay=5), learner(policy_delay=1)
    for one in (delayed, at_once):
        torch.manual_seed(2)
        update(one, steps())
    assert same(parameters(module_of(delayed).qf), parameters(module_of(at_once).qf))
    assert not same(parameters(module_of(delayed).pi), parameters(module_of(at_once).pi))


def test_it_is_the_loop_that_a_reader_of_the_paper_writes() -> None:
    """Algorithm 1 without noise, on tensors, by torch's own Adam; six gradient steps."""
    one = learner(target_policy_noise=0.0, actor_lr=0.01, critic_lr=0.02)
    module = module_of(one)
    pi = [each.requires_grad_() for each in parameters(module.pi)]
    critics = [[p.requires_grad_() for p in parameters(critic)] for critic in module.qf]
    targets = [[each.detach().clone() for each in network] for network in (pi, *critics)]
    of_policy = torch.optim.Adam(pi, 0.01)
    of_critics = torch.optim.Adam([*critics[0], *critics[1]], 0.02)
    for step in range(1, 7):
        columns = steps(seed=step)
        update(one, columns)
        seen, done, reward, after, over = (torch.from_numpy(each) for each in columns.values())
        action = torch.tanh(by_hand(targets[0], after))
        joint = torch.cat([after, action], dim=1)
        ahead = torch.minimum(by_hand(targets[1], joint), by_hand(targets[2], joint))[:, 0]
        y = reward + 0.99 * (1 - over) * ahead
        joint = torch.cat([seen, done], dim=1)
        loss = sum((by_hand(critic, joint)[:, 0] - y).square().mean() for critic in critics)
        of_critics.zero_grad()
        if step % 2 == 0:  # before the critics move, as the learner takes both steps at once
            acting = torch.cat([seen, torch.tanh(by_hand(pi, seen))], dim=1)
            gradients = torch.autograd.grad(-by_hand(critics[0], acting).mean(), pi)
            for each, gradient in zip(pi, gradients, strict=True):
                each.grad = gradient
        loss.backward()
        of_critics.step()
        if step % 2 == 0:
            of_policy.step()
            for target, online in zip(targets, (pi, *critics), strict=True):
                for old, new in zip(target, online, strict=True):
                    old.mul_(0.995).add_(0.005 * new.detach())
    assert same(pi, parameters(module.pi), tolerance=1e-5)
    assert same([*critics[0], *critics[1]], parameters(module.qf), tolerance=1e-5)
    averaged = [*targets[1], *targets[2]]
    assert same(averaged, parameters(module.target_qf), tolerance=1e-5)


def test_a_restored_learner_goes_on_alike() -> None:
    one, other = learner(), learner()
    update(other, steps(seed=9))
    for step in range(3):  # an odd number: the delay's phase is part of the state
        update(one, steps(seed=step))
    other.set_state(one.get_state())
    for step in range(3, 6):
        for each in (one, other):
            torch.manual_seed(step)
            update(each, steps(seed=step))
    for name, value in module_of(one).state_dict().items():
        assert torch.equal(value, module_of(other).state_dict()[name]), name


def test_runners_explore_uniformly_first_then_around_the_policy() -> None:
    random_steps = 64
    made = config(
        num_steps_sampled_before_learning_starts=random_steps,
        exploration_noise=0.3,
        rollout_fragment_length=random_steps,
        num_envs_per_env_runner=8,
    )
    runner = TransitionRunner(config=made, worker_index=0)
    seen = torch.zeros(4_000, 3)
    uniform = runner.module.forward_exploration({Columns.OBS: seen}, t=random_steps - 1)["actions"]
    assert uniform.abs().max() <= 1.0
    assert uniform.std().item() == pytest.approx(3**-0.5, rel=0.05)
    plain = runner.module.forward_inference({Columns.OBS: seen})["actions"]
    around = runner.module.forward_exploration({Columns.OBS: seen}, t=random_steps)["actions"]
    assert (around - plain).std().item() == pytest.approx(0.3, rel=0.05)
    assert around.abs().max() <= 1.0


@pytest.mark.parametrize(
    ("key", "value", "cure"),
    [
        ("policy_delay", 0, "give 1 or more"),
        ("target_policy_noise", -0.1, "give 0 or more"),
        ("utd_ratio", 1.5, "give a whole number"),
        ("lr", 1e-3, "'actor_lr' and 'critic_lr'"),
        ("replay_buffer_config.type", "PrioritizedEpisodeReplayBuffer", "choose one of"),
        ("training_intensity", 4.0, "training_intensity"),
    ],
)
def test_bad_values_are_refused(key: str, value: Any, cure: str) -> None:
    with pytest.raises(InputError, match=key.split(".")[-1]) as refusal:
        config(**{key: value})
    assert cure in str(refusal.value)


def test_discrete_actions_are_refused() -> None:
    with pytest.raises(InputError, match=r"Discrete\(2\), but this method takes Box"):
        config("CartPole-v1")
