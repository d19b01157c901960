"""OMNet on TD3: with dense copies it is TD3, slices and subnetworks are where they belong.

Costs about 7 processor seconds, most of them imports.
"""

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from ray.rllib.core.columns import Columns
from ray.rllib.core.learner.training_data import TrainingData
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch

from tenfold.algorithms.omnet.module import POLICY_MEMBERS
from tenfold.platform.configuration import build_config
from tenfold.platform.errors import InputError
from tenfold.platform.registry import get_method

ID = "default_policy"
SPACES = {ID: (spaces.Box(-1.0, 1.0, (3,)), spaces.Box(-2.0, 2.0, (1,)))}
LAYERS = {"model_config.fcnet_hiddens": [8, 8], "target_policy_noise": 0.0}
SUBNETWORKS = {"num_subnets": 4, "policy_subnets": 4, "mask_overlap": "balanced"}


def config(method: str, variant: str, **overrides: Any) -> Any:
    declared = get_method(method)
    settings = {**declared.smoke, **LAYERS, **overrides}
    return build_config(declared, "Pendulum-v1", variant, settings, seed=0)


def learner(method: str, variant: str, **overrides: Any) -> Any:
    return config(method, variant, **overrides).build_learner(spaces=SPACES)


def steps(seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        Columns.OBS: rng.normal(size=(16, 3)).astype(np.float32),
        Columns.ACTIONS: rng.uniform(-1, 1, (16, 1)).astype(np.float32),
        Columns.REWARDS: rng.normal(size=16).astype(np.float32),
        Columns.NEXT_OBS: rng.normal(size=(16, 3)).astype(np.float32),
        Columns.TERMINATEDS: (np.arange(16) % 2).astype(np.float32),
    }


def update(one: Any, columns: dict[str, np.ndarray]) -> None:
    one.update(
        training_data=TrainingData(batch=MultiAgentBatch({ID: SampleBatch(columns)}, 1)),
        timesteps={"num_env_steps_sampled_lifetime": 0},
        gradient_steps=1,
    )


def weights(network: torch.nn.Module) -> list[torch.Tensor]:
    """Weights (in, out) and biases (out), layer by layer."""
    return [each.detach().clone() for each in network.parameters()]


def test_two_dense_copies_learn_as_the_critics_of_td3_do() -> None:
    copies = learner("omnet_td3", "td3", critic_loss_reduction="sum", policy_delay=100)
    twin = learner("td3", "td3", policy_delay=100)
    ours, theirs = copies.module[ID], twin.module[ID]

    def stacked(networks: Any) -> list[torch.Tensor]:
        each = zip(*(weights(network) for network in networks), strict=True)
        return [torch.stack([w.T if w.ndim == 2 else w[None] for w in group]) for group in each]

    with torch.no_grad():
        for theirs_qf, ours_qf in ((theirs.qf, ours.qf), (theirs.target_qf, ours.target_qf)):
            for into, value in zip(ours_qf.parameters(), stacked(theirs_qf), strict=True):
                into.copy_(value)
        for name in ("pi", "target_pi"):
            pairs = zip(
                getattr(ours, name).parameters(), weights(getattr(theirs, name)), strict=True
            )
            for into, value in pairs:
                into.copy_(value.T[None] if value.ndim == 2 else value[None, None])
    before = weights(ours.qf)
    for step in range(4):
        update(copies, steps(step))
        update(twin, steps(step))
    after = weights(ours.qf)
    assert not any(torch.equal(b, a) for b, a in zip(before, after, strict=True))
    for found, expected in zip(after, stacked(theirs.qf), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_each_member_learns_its_slice() -> None:
    one = learner("omnet_td3", "split", **SUBNETWORKS)
    module = one.module[ID]
    batch = {name: torch.from_numpy(values) for name, values in steps(0).items()}
    values = module.values(batch[Columns.OBS], batch[Columns.ACTIONS])
    everything = module.qf(batch[Columns.OBS], batch[Columns.ACTIONS])
    y = torch.arange(16.0)
    expected = 0.0
    for k in range(4):
        own = slice(4 * k, 4 * k + 4)
        torch.testing.assert_close(values[k], everything[k, own])
        expected += ((everything[k, own] - y[own]) ** 2).mean() / 4
    torch.testing.assert_close(one.critic_loss(ID, one.config, values, y), expected)


def test_the_target_is_the_least_of_a_random_pair() -> None:
    module = learner("omnet_td3", "omnet_td3", **SUBNETWORKS).module[ID]
    batch = {name: torch.from_numpy(values) for name, values in steps(0).items()}
    seen = batch[Columns.NEXT_OBS]
    everything = module.target_qf(seen, module.smoothed_actions(seen))
    pairs = {
        (i, j): torch.minimum(everything[i], everything[j]) for i in range(4) for j in range(i)
    }
    torch.manual_seed(0)
    drawn = set()
    for _ in range(60):
        found = module.forward_target(batch)
        fits = [pair for pair, least in pairs.items() if torch.allclose(found, least, atol=1e-6)]
        assert len(fits) == 1
        drawn.update(fits)
    assert drawn == set(pairs)


def test_an_episode_acts_by_its_subnetwork() -> None:
    module = learner("omnet_td3", "omnet_td3", exploration_noise=0.0, **SUBNETWORKS).module[ID]
    seen = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    modes = module.pi.modes(seen)
    assert len({tuple(mode.flatten().tolist()) for mode in modes}) == 4
    members = torch.tensor([3, 0, 2, 2, 1])
    told = {Columns.OBS: seen, POLICY_MEMBERS: members}
    acted = module.forward_exploration(told, t=10**6)[Columns.ACTIONS]
    torch.testing.assert_close(acted, torch.stack([modes[j, b] for b, j in enumerate(members)]))
    evaluated = module.forward_inference({Columns.OBS: seen})[Columns.ACTIONS]
    torch.testing.assert_close(evaluated, modes.mean(dim=0))
    trained = module.pi(seen[:4])  # one row for each of the four
    torch.testing.assert_close(trained, torch.stack([modes[j, j] for j in range(4)]))


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"target_subset": 6}, "give at most 5"),
        ({"sparsity": 1.0}, "sparsity"),
        ({"subnet_batch_mode": "split", "train_batch_size_per_learner": 4}, "it needs 5 or more"),
        ({"ucb_coef": 1}, "ucb_coef"),
    ],
    ids=["subset", "sparsity", "split", "ucb"],
)
def test_bad_values_are_refused(overrides: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as refusal:
        config("omnet_td3", "omnet_td3", **overrides)
    assert said in str(refusal.value)
