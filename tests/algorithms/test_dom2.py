"""DOM2 as an algorithm: resuming, what variants are, what is refused; 10 processor seconds."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ray.rllib.core.columns import Columns

from tenfold.algorithms.dom2 import METHOD
from tenfold.algorithms.dom2.algorithm import DOM2
from tenfold.algorithms.dom2.commands import distilled, export
from tenfold.algorithms.dom2.learner import DOM2Learner
from tenfold.algorithms.offline.algorithm import OfflineAlgorithm
from tenfold.envs.mpe.worlds import ParticleWorlds
from tenfold.envs.offline.dataset import OfflineDataset
from tenfold.platform.configuration import build_config
from tenfold.platform.errors import InputError

EPISODES, STEPS = 30, 25


def random_data(task: str = "spread", physics_order: str = "legacy") -> OfflineDataset:
    """What random actions do in particle worlds."""
    worlds = ParticleWorlds(task, EPISODES, 0, physics_order=physics_order)
    rng, obs, done = np.random.default_rng(0), worlds.reset(0), False
    steps = []
    while not done:
        actions = rng.uniform(-1, 1, (EPISODES, 3, 2)).astype(np.float32)
        after, rewards, done = worlds.step(actions)
        steps.append((obs, actions, rewards, after))
        obs = after
    columns = [
        np.stack(each, axis=1).reshape(-1, *each[0].shape[1:]) for each in zip(*steps, strict=True)
    ]
    seen, acted, rewards, after = (
        dict(zip(worlds.agents, np.moveaxis(column, 1, 0), strict=True)) for column in columns
    )
    T = EPISODES * STEPS
    return OfflineDataset.from_arrays(
        environment=f"mpe/{task}",
        physics_order=physics_order,
        reward="omar",
        obs=seen,
        actions=acted,
        rewards=rewards,
        next_obs=after,
        terminated=np.zeros(T, bool),
        truncated=np.arange(T) % STEPS == STEPS - 1,
        episode=np.arange(T) // STEPS,
        anchors={"random": 150.0, "expert": 600.0},
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    place = tmp_path_factory.mktemp("data") / "spread"
    random_data().write(place)
    return str(place)


def algorithm(folder: str, variant: str = "dom2", **overrides: Any) -> Any:
    config = build_config(METHOD, folder, variant, {**METHOD.smoke, **overrides}, seed=0)
    return DOM2(config)


@pytest.mark.parametrize("variant", ["dom2", "td3_bc"])
def test_the_joint_policy_as_a_graph_acts_as_the_algorithm(folder: str, variant: str) -> None:
    built = algorithm(folder, variant)
    built.train()
    network, example = built.as_network()
    rows = {0: torch.export.Dim.DYNAMIC}
    graph = torch.export.export(
        network.eval(), (torch.from_numpy(example),), dynamic_shapes=(rows,)
    )
    obs = np.random.default_rng(0).standard_normal((5, *example.shape[1:])).astype(np.float32)
    torch.manual_seed(1)
    acted = built.act(obs)
    torch.manual_seed(1)  # a diffusion starts from noise
    given = graph.module()(torch.from_numpy(obs)).numpy()
    np.testing.assert_allclose(given, acted, rtol=1e-5, atol=1e-6)


def weights(built: Any) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in built.agents_module.state_dict().items()}


@pytest.mark.parametrize("variant", ["dom2", "td3_bc"])
def test_a_resumed_run_is_the_straight_one_bit_for_bit(
    folder: str, tmp_path: Path, variant: str
) -> None:
    straight = algorithm(folder, variant, noise_net="unet_mlp")  # dropout draws, too
    for _ in range(2):
        straight.train()
    first = algorithm(folder, variant, noise_net="unet_mlp")
    first.train()
    first.save_checkpoint(str(tmp_path))
    second = algorithm(folder, variant, noise_net="unet_mlp")
    second.load_checkpoint(str(tmp_path))
    result = second.train()
    assert result["updates"] == 4
    assert int(second.agents_module.updates) == 4
    for key, value in weights(straight).items():
        assert torch.equal(value, weights(second)[key]), key


def test_what_an_update_does_is_what_each_agent_does_alone(folder: str) -> None:
    """The same update written for one agent with autograd and torch's Adam, critics and policy."""
    built = algorithm(
        folder, policy="deterministic", grad_clip=None, target_noise=0.0, batch=8, q_batch=None
    )
    module, c = built.agents_module, built.config
    learner = built.learner_group._learner
    batch = {
        key: torch.as_tensor(value).transpose(0, 1)
        for key, value in built.minibatches(0, 1).items()
    }
    before = weights(built)
    torch.manual_seed(0)
    learner.update_once(module, batch, 0)
    after = weights(built)

    torch.manual_seed(0)
    drawn = 2 * torch.rand(3, 8, c.cql_samples, 2) - 1
    o = (batch[Columns.OBS] - before["mean"]) / before["std"]
    o_next = (batch[Columns.NEXT_OBS] - before["mean"]) / before["std"]
    for j in range(3):
        own = {
            key: value.reshape(-1, 3, *value.shape[1:])[:, j].clone()
            for key, value in before.items()
            if value.dim() == 3
        }  # critics (2, ...), policies (1, ...)

        def q(
            prefix: str, k: int, o_: torch.Tensor, a: torch.Tensor, own: dict[str, Any]
        ) -> torch.Tensor:
            h = torch.cat([o_, a], dim=-1)
            names = ["first", "rest.layers.0", "rest.layers.2", "rest.layers.4"]
            for name in names:
                h = h @ own[f"{prefix}.{name}.weight"][k] + own[f"{prefix}.{name}.bias"][k]
                h = h if name == names[-1] else torch.relu(h)
            return h[..., 0]

        def act(prefix: str, o_: torch.Tensor, own: dict[str, Any]) -> torch.Tensor:
            names = [f"{prefix}.network.layers.{i}" for i in (0, 2, 4, 6)]
            h = o_
            for name in names:
                h = h @ own[f"{name}.weight"][0] + own[f"{name}.bias"][0]
                h = h if name == names[-1] else torch.relu(h)
            return torch.tanh(h)

        critic = [key for key in own if key.startswith("critic.")]
        policy = [key for key in own if key.startswith("policy.")]
        for key in critic + policy:
            own[key].requires_grad_(True)
        a_next = act("target_policy", o_next[j], own).detach()
        worst = torch.stack([q("target_critic", k, o_next[j], a_next, own) for k in range(2)])
        y = (batch[Columns.REWARDS][j] + c.gamma * worst.amin(0)).detach()
        loss = torch.zeros(())
        for k in range(2):
            recorded = q("critic", k, o[j], batch[Columns.ACTIONS][j], own)
            many = o[j][:, None].expand(-1, c.cql_samples, -1)
            soft = torch.logsumexp(q("critic", k, many, drawn[j], own) + 2 * np.log(2), dim=-1)
            loss = loss + (recorded - y).square().mean() + c.cql_alpha * (soft - recorded).mean()
        optimizer = torch.optim.Adam([own[key] for key in critic], lr=c.lr_critic)
        loss.backward()
        optimizer.step()
        chosen = act("policy", o[j], own)
        value = q("critic", 0, o[j], chosen, own)
        cloned = (chosen - batch[Columns.ACTIONS][j]).square().mean()
        cloned = cloned + 1e-3 * torch.atanh(chosen).square().mean()
        loss = cloned - c.eta * value.mean() / value.abs().mean().detach()
        optimizer = torch.optim.Adam([own[key] for key in policy], lr=c.lr_actor)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        for key in critic + policy:
            found = after[key].reshape(-1, 3, *after[key].shape[1:])[:, j]
            torch.testing.assert_close(found, own[key].detach(), rtol=1e-4, atol=1e-5)
        for key in critic + policy:
            found = after[f"target_{key}"].reshape(-1, 3, *after[key].shape[1:])[:, j]
            start = before[f"target_{key}"].reshape(-1, 3, *after[key].shape[1:])[:, j]
            expected = (1 - c.tau) * start + c.tau * own[key].detach()
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "overrides",
    [
        {"ctde": True, "return_of": "team"},
        {"share_parameters": True},
        {"cql_sampler": "policy", "backprop_steps": "one_step", "prediction_type": "v"},
        {"schedule": "vp_discrete", "solver": "ddpm", "augment": "exp_weight"},
        {"solver": "dpm2", "schedule": "cosine", "twin_q": False, "backprop_steps": "last"},
    ],
    ids=["ctde", "shared", "policy-edp", "discrete", "cosine"],
)
def test_every_option_moves_both_policies_and_critics(
    folder: str, overrides: dict[str, Any]
) -> None:
    built = algorithm(folder, **overrides)
    before = weights(built)
    result = built.train()
    assert np.isfinite(result["return"])
    for prefix in ("policy.", "critic."):
        moved = [
            not torch.equal(before[key], value)
            for key, value in weights(built).items()
            if key.startswith(prefix)
        ]
        assert all(moved), prefix


def test_policies_clone_alone_while_critics_warm_up(folder: str) -> None:
    def policies(built: Any) -> dict[str, torch.Tensor]:
        return {key: each for key, each in weights(built).items() if key.startswith("policy.")}

    guided = algorithm(folder, policy="deterministic", q_warmup=2)
    cloning = algorithm(folder, "diffusion_bc", policy="deterministic")
    for expected in (True, False):
        start = weights(guided)
        guided.train()
        cloning.train()
        alone = policies(cloning)
        assert all(
            torch.equal(alone[key], each) == expected for key, each in policies(guided).items()
        )
        critics = [key for key in start if key.startswith("critic.")]
        assert all(not torch.equal(start[key], weights(guided)[key]) for key in critics)


def test_acting_needs_an_agent_s_own_observation_only(folder: str) -> None:
    built = algorithm(folder)
    obs = np.random.default_rng(0).normal(size=(7, 3, 18)).astype(np.float32)
    torch.manual_seed(0)
    acted = built.act(obs)
    changed = obs.copy()
    changed[:, 1:] += 1
    torch.manual_seed(0)
    again = built.act(changed)
    np.testing.assert_array_equal(acted[:, 0], again[:, 0])
    assert not np.array_equal(acted[:, 1], again[:, 1])


def test_baselines_get_the_weights_unless_told_otherwise(folder: str) -> None:
    one = algorithm(folder, "diffusion_bc")
    assert one.weights.max() > 1
    other = algorithm(folder, "diffusion_bc", augment_baselines=False)
    assert other.weights.max() == 1
    assert algorithm(folder, augment_baselines=False).weights.max() > 1


def test_a_share_of_the_data_is_what_is_trained_on(folder: str) -> None:
    built = algorithm(folder, data_fraction=0.1)
    assert len(built.transitions.obs) == 3 * STEPS
    assert built.weights.shape == (3, 3)


def test_the_metrics_of_an_evaluation_are_those_of_the_environments(folder: str) -> None:
    built = algorithm(folder, judge_episodes=20)
    seen = built.play()
    assert seen.length == STEPS
    assert seen.returns.shape == (20, 3)
    found = built.evaluation_metrics()
    assert found["return"] == pytest.approx(seen.returns.mean())
    assert found["normalised_return"] == pytest.approx((seen.returns.mean() - 150) / 4.5)
    assert found["solver_calls"] == 2
    built.config = built.config.copy(copy_frozen=False)
    built.config.judge_shifts = True
    shifted = built.evaluation_metrics()
    assert shifted["return_slowest"] == built.play(max_speed=0.3).scores.mean()
    assert shifted["return_slowest"] != pytest.approx(found["return"], abs=1e-3)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"solver_steps": 0}, "solver_steps"),
        ({"prediction_type": "x0"}, "prediction_type"),
        ({"augment": "thresholds"}, "thresholds"),
        ({"thresholds": [1.0]}, "augment"),
        ({"beta0": 30.0}, "beta1"),
        ({"batch": 8, "q_batch": 16}, "q_batch"),
        ({"eta": 0.0, "bc_weight": 0.0}, "nothing would learn"),
        ({"schedule": "vp_discrete", "train_steps_T": 4, "t_min": 0.01, "solver_steps": 5}, "T"),
        ({"ctde": True}, "return_of"),
        ({"policy": "gaussian", "eval_candidates": 4}, "candidates"),
        ({"data_fraction": 0.0}, "data_fraction"),
        ({"env_config.max_sped": 1.0}, "max_speed"),
        ({"env_config.physics_order": "mpe2"}, "physics_order"),
        ({"env_config.max_speed": -1.0}, "max_speed"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else None,
)
def test_a_mistake_is_refused_in_one_sentence(
    folder: str, overrides: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said) as refusal:
        build_config(METHOD, folder, "dom2", overrides, seed=0)
    assert str(refusal.value).count(". ") == 0


def test_a_folder_without_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"card\.json"):
        build_config(METHOD, str(tmp_path), "dom2", {}, seed=0)


def test_the_learner_and_loop_are_rllib_s(folder: str) -> None:
    built = algorithm(folder)
    assert isinstance(built, OfflineAlgorithm)
    learner = built.learner_group._learner
    assert isinstance(learner, DOM2Learner)
    assert set(learner.module.keys()) == {"agents"}
    assert {name.split("_")[-1] for name in learner._named_optimizers} == {"actor", "critic"}


def test_a_run_is_exported_as_one_file_an_agent(folder: str, tmp_path: Path) -> None:
    built = algorithm(folder)
    student, record = distilled(built, updates=2, steps=5, lr=1e-3, batch=8, seed=0)
    export(built, student, record, tmp_path)
    told = json.loads((tmp_path / "policy.json").read_text())
    assert told["environment"] == "mpe/spread"
    assert list(told["agents"]) == list(built.data.agents)
    obs, noise = torch.randn(3, 5, 18), torch.randn(3, 5, 2)
    together = student(built.agents_module.normalised(obs), noise)
    for j, agent in enumerate(told["agents"].values()):
        alone = torch.jit.load(str(tmp_path / agent["file"]))(obs[j], noise[j])
        torch.testing.assert_close(alone, together[j], rtol=1e-4, atol=1e-5)
    with pytest.raises(InputError, match="deterministic"):
        distilled(algorithm(folder, "td3_bc"), updates=2, steps=5, lr=1e-3, batch=8, seed=0)
