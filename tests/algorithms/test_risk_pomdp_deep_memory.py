"""The recurrent agent: states carried, stored and begun anew; what its critic is told; tasks.

Costs some five seconds.
"""

from copy import deepcopy
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from ray._private import auto_init_hook
from ray.rllib.core.columns import Columns
from ray.rllib.env.single_agent_episode import SingleAgentEpisode
from torch.utils._pytree import tree_map

from tenfold.algorithms.risk_pomdp_deep.algorithm import (
    EVALUATION_SEED,
    HINDSIGHT_STATES,
    RiskPOMDPDeep,
)
from tenfold.algorithms.risk_pomdp_deep.config import RiskPOMDPDeepConfig
from tenfold.algorithms.risk_pomdp_deep.evaluation import (
    initial_states,
    likeliest_policy,
    likeliest_returns,
)
from tenfold.algorithms.risk_pomdp_deep.module import REVEALED
from tenfold.algorithms.risk_pomdp_deep.runner import WholeEpisodesRunner
from tenfold.algorithms.risk_pomdp_deep.tasks import make_task
from tenfold.envs.risk.pomdp_benchmarks import treatment


@pytest.fixture(autouse=True)
def without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it runs in this process; RLlib's registry would start a Ray by asking for one."""
    monkeypatch.setattr(auto_init_hook, "enable_auto_connect", False)


TABLE = "hindsight/Treatment-v0"
ICE = "partial/ThinIce-v0"


def built(task: str = ICE, **values: Any) -> RiskPOMDPDeepConfig:
    """A small recurrent agent whose sequences are shorter than most episodes."""
    config = RiskPOMDPDeepConfig().environment(task, env_config=values.pop("env_config", {}))
    config.rl_module(model_config={"fcnet_hiddens": [8], "max_seq_len": 5})
    defaults = {"memory": "gru", "gru_units": 6, "critic": "hindsight", "judged_episodes": 20}
    sizes = {"train_batch_size_per_learner": 120, "minibatch_size": 40, "num_epochs": 2}
    config.update_from_dict({**defaults, **sizes, "num_envs_per_env_runner": 4, **values})
    config.validate()
    return config.debugging(seed=0)


def module_of(config: RiskPOMDPDeepConfig) -> Any:
    env, spec = config.make_task(), config.get_default_rl_module_spec()
    spec.observation_space, spec.action_space = env.observation_space, env.action_space
    torch.manual_seed(0)
    return spec.build()


def test_a_tables_policy_is_what_stepping_with_the_carried_state_does() -> None:
    config = built(TABLE, env_config={"H": 4})
    module, truth = module_of(config), treatment(H=4)
    policy = likeliest_policy(module, truth)
    assert len({int(a) for actions in policy for a in actions}) > 1
    env = config.make_task()
    for seed in range(10):
        seen, _ = env.reset(seed=seed)
        state, history, done, h = initial_states(module, 1), 0, False, 0
        while not done:
            observation = int(env.unwrapped.observation)
            assert seen[:3].argmax() == observation
            history = history * 3 + observation
            given = {Columns.OBS: torch.as_tensor(seen)[None, None], Columns.STATE_IN: state}
            outputs = module.forward_inference(given)
            state = outputs[Columns.STATE_OUT]
            action = int(outputs[Columns.ACTION_DIST_INPUTS][0, 0].argmax())
            assert action == policy[h][history]
            seen, _, done, _, _ = env.step(np.int64(action))
            history, h = history * 3 + action, h + 1


def test_runners_give_each_episode_once_and_whole_with_the_states_of_its_steps() -> None:
    config = built(train_batch_size_per_learner=48)  # three steps of each environment at a time
    runner = WholeEpisodesRunner(config=config, worker_index=0)
    episodes = [episode for _ in range(12) for episode in runner.sample()]
    assert len({episode.id_ for episode in episodes}) == len(episodes) > 4
    assert len({len(episode) for episode in episodes}) > 1
    for episode in episodes:
        seen = episode.get_observations()
        assert episode.is_terminated
        # The share of time gone, from the first step to the last.
        np.testing.assert_allclose(seen[:, -4], np.arange(len(episode) + 1) / 20, atol=1e-6)
        assert len(episode.get_infos()[-1][HINDSIGHT_STATES]) == len(episode)
        given = {
            Columns.OBS: torch.as_tensor(seen[None, :-1]),
            Columns.STATE_IN: initial_states(runner.module, 1),
        }
        outputs = runner.module.forward_inference(given)
        last = tree_map(lambda each: each[0].numpy(), outputs[Columns.STATE_OUT])
        stored = episode.get_extra_model_outputs(Columns.STATE_OUT, -1)
        for network in ("actor", "critic"):
            np.testing.assert_allclose(stored[network]["h"], last[network]["h"], atol=1e-5)
        logits = episode.get_extra_model_outputs(Columns.ACTION_DIST_INPUTS)
        np.testing.assert_allclose(
            logits, outputs[Columns.ACTION_DIST_INPUTS][0].detach().numpy(), atol=1e-5
        )
    counted = runner.get_metrics()
    lengths = [len(episode) for episode in episodes]
    assert counted["episode_len_max"].peek() == max(lengths)
    runner.stop()


def test_episodes_of_different_lengths_may_end_together() -> None:
    """The one begins anew in the step after its end: it has steps 1 to 3 and 5 to 7."""
    limits = (3, 7)
    envs = gym.vector.SyncVectorEnv([partial(make_task, ICE, "gru", T=T) for T in limits])
    envs.reset(seed=0)
    for _ in range(7):
        _, _, ended, _, told = envs.step(np.zeros(2, np.int64))
    assert ended.all()
    assert tuple(map(len, told[HINDSIGHT_STATES])) == limits
    envs.close()


def test_a_recurrent_agent_learns_from_stored_states_and_goes_on_equal(tmp_path: Path) -> None:
    config = built()
    runner = WholeEpisodesRunner(config=config, worker_index=0)
    episodes = runner.sample() + runner.sample() + runner.sample()
    rewards = [episode.get_infos()[-1]["hindsight_rewards"] for episode in episodes]
    states = [episode.get_infos()[-1][HINDSIGHT_STATES] for episode in episodes]
    stored = [episode.get_extra_model_outputs(Columns.STATE_OUT) for episode in episodes]
    learner = learner_of(config, runner)
    batch = learner._learner_connector(
        rl_module=learner.module, batch={}, episodes=copies(episodes), shared_data={}
    )["default_policy"]
    mask = batch["loss_mask"].numpy()
    assert mask.shape[1] == 5
    assert mask.sum() == sum(map(len, states))
    np.testing.assert_array_equal(batch[HINDSIGHT_STATES].numpy()[mask], np.concatenate(states))

    # Sequences begin with the initial state, or with that of the step before.
    begins = batch[Columns.STATE_IN]["actor"]["h"].numpy()
    row = 0
    for each, outs in zip(states, stored, strict=True):
        for first in range(0, len(each) + 1, 5):
            expected = outs["actor"]["h"][first - 1] if first else np.zeros_like(begins[row])
            np.testing.assert_allclose(begins[row], expected, atol=1e-6)
            row += 1
    assert row == len(begins)

    # The critic is told what was collected before each step, and the state.
    told = batch[REVEALED].numpy()[mask]
    before = np.concatenate([np.append(0.0, np.cumsum(paid)[:-1]) for paid in rewards])
    assert np.corrcoef(told[:, 0], before)[0, 1] == pytest.approx(1.0, abs=1e-6)
    np.testing.assert_array_equal(told[:, 1:].argmax(axis=1), np.concatenate(states))

    whole = {"num_epochs": 1, "minibatch_size": None}
    untrained = {name: each.clone() for name, each in weights_of(learner).items()}
    learner.update(episodes=copies(episodes), **whole)
    learner.save_to_path(tmp_path)
    again = learner_of(config, runner)
    again.restore_from_path(tmp_path)
    for each in (learner, again):
        each.update(episodes=copies(episodes), **whole)
    for name, weights in weights_of(learner).items():
        torch.testing.assert_close(weights_of(again)[name], weights, rtol=0, atol=0)
        assert not torch.equal(weights, untrained[name]), name
    # A runner gets the critic, too, whose states it stores.
    sent = learner.module["default_policy"].get_state(inference_only=True)
    assert any(name.startswith("encoder.critic_encoder") for name in sent)
    runner.stop()


def copies(episodes: list[SingleAgentEpisode]) -> list[SingleAgentEpisode]:
    """The learner lengthens episodes in place."""
    return [SingleAgentEpisode.from_state(each.get_state()) for each in deepcopy(episodes)]


def learner_of(config: RiskPOMDPDeepConfig, runner: WholeEpisodesRunner) -> Any:
    torch.manual_seed(1)
    return config.build_learner(env=runner.env, spaces=runner.get_spaces())


def weights_of(learner: Any) -> dict[str, torch.Tensor]:
    return dict(learner.module["default_policy"].state_dict())


def test_an_evaluation_gives_the_risk_of_the_policy_of_likeliest_actions() -> None:
    config = built(judged_gamma=-1.0)
    module = module_of(config)
    agent: Any = SimpleNamespace(config=config, get_module=lambda: module)
    judged = RiskPOMDPDeep.evaluate(agent)
    envs = [config.make_task() for _ in range(20)]
    returns = likeliest_returns(module, envs, EVALUATION_SEED)
    assert judged["policy_value"] == pytest.approx(-np.log(np.mean(np.exp(-returns))))
    assert judged["policy_value_low"] <= judged["policy_value"] <= judged["policy_value_high"]
    assert judged["expected_return"] == pytest.approx(returns.mean())


def test_play_goes_on_with_the_states_of_the_episodes_that_are_not_over() -> None:
    """One environment at a time gives the same returns as many of different lengths together."""
    config = built(env_config={"T": 9})
    module = module_of(config)
    together = likeliest_returns(module, [config.make_task() for _ in range(6)], seed=3)
    alone = [likeliest_returns(module, [config.make_task()], seed=3 + i)[0] for i in range(6)]
    np.testing.assert_allclose(together, alone)


class Corridor(gym.Env[np.ndarray, np.int64]):
    """Three steps to the end, seen as numbers; nothing is revealed."""

    observation_space = gym.spaces.Box(0.0, 1.0, (2,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.steps = 0
        return np.ones(2, np.float32), {}

    def step(self, action: np.int64) -> tuple[np.ndarray, float, bool, bool, dict]:
        self.steps += 1
        seen = np.full(2, self.steps / 3, np.float32)
        return seen, float(action), self.steps == 3, False, {}


gym.register("tests/Corridor-v0", Corridor, max_episode_steps=5)


@pytest.mark.parametrize(("memory", "shape"), [("gru", (5,)), ("history", (20,))])
def test_any_gymnasium_id_is_a_task(memory: str, shape: tuple[int, ...]) -> None:
    config = built("tests/Corridor-v0", memory=memory, history_steps=4)
    env = config.make_task()
    assert env.observation_space.shape == shape  # two numbers, the time, the action before
    module = module_of(config)
    assert module.is_stateful() == (memory == "gru")
    assert not hasattr(module, "hindsight")
    for _ in range(2):
        seen, _ = env.reset(seed=0)
        for step in range(3):
            np.testing.assert_allclose(seen[-5:-2], [step / 3 or 1.0] * 2 + [step / 5])
            assert seen[-2:].tolist() == ([0.0, 1.0] if step else [0.0, 0.0])
            seen, _, done, cut, _ = env.step(np.int64(1))
        assert done
        assert not cut


def test_a_minigrid_world_is_a_task() -> None:
    """Its view of 7 x 7 cells with three numbers each, four directions, the time, the action."""
    config = built("minigrid:MiniGrid-MemoryS7-v0", env_config={"max_episode_steps": 30})
    env = config.make_task()
    seen, _ = env.reset(seed=0)
    assert seen.shape == (3 * 49 + 4 + 1 + 7,)
    module = module_of(config)
    returns = likeliest_returns(module, [config.make_task() for _ in range(2)], seed=0)
    assert returns.shape == (2,)
    with pytest.raises(ValueError, match=r"no limit of steps.*env_config\.max_episode_steps"):
        built("minigrid:MiniGrid-MemoryS7-v0")


@pytest.mark.parametrize(
    ("task", "values", "said"),
    [
        (ICE, {"minibatch_size": 4}, "'minibatch_size': a GRU learns from whole sequences"),
        (ICE, {"memory": "lstm"}, "Bad value 'lstm' for 'memory'"),
        (ICE, {"history_steps": 0}, "Bad value 0 for 'history_steps'"),
        (ICE, {"env_config": {"thin": 2.0}}, "Bad value 2.0 for 'env_config.thin'"),
        (TABLE, {"judged_gamma": 500.0}, "Bad value 500.0 for 'judged_gamma'"),
        ("Pendulum-v1", {}, "Actions must be discrete to be remembered, not Box"),
        ("CliffWalking-v1", {}, "has no limit of steps.*max_episode_steps"),
    ],
)
def test_what_cannot_run_is_refused(task: str, values: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        built(task, **values)
