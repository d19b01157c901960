"""Weighted batches of several agents' recorded steps; 6 processor seconds, 20 s with Ray Data."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ray.rllib.core.columns import Columns
from scipy import stats

from tenfold.algorithms.offline.learner import clip_stacked
from tenfold.algorithms.offline.sampler import (
    Transitions,
    WeightedSampler,
    agent_batches,
    stack_padded,
)
from tenfold.algorithms.offline.streaming import StreamedSampler, head_of, streamed_returns
from tenfold.algorithms.offline.weights import (
    DOM2_THRESHOLDS,
    effective_share,
    nested_episodes,
    returns_for,
    trajectory_weights,
    weights_above,
)
from tenfold.envs.offline.dataset import OfflineDataset

AGENTS = ("a", "b")


def recorded(lengths: list[int], **about: object) -> OfflineDataset:
    """Each step is known by its reward, which is its number, and 1,000 more for agent b."""
    T = sum(lengths)
    number = np.arange(T, dtype=np.float32)
    rng = np.random.default_rng(0)
    last = np.zeros(T, bool)
    last[np.cumsum(lengths) - 1] = True
    return OfflineDataset.from_arrays(
        environment="mpe/spread",
        obs={"a": rng.normal(size=(T, 3)), "b": rng.normal(size=(T, 2))},
        actions={name: rng.uniform(-1, 1, (T, 2)) for name in AGENTS},
        rewards={"a": number, "b": number + 1_000},
        next_obs={"a": rng.normal(size=(T, 3)), "b": rng.normal(size=(T, 2))},
        terminated=last,
        truncated=np.zeros(T, bool),
        episode=np.repeat(np.arange(len(lengths)), lengths),
        **about,
    )


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(1, 6), st.integers(1, 5)), min_size=1, max_size=8))
def test_integer_weights_draw_what_copies_would(trajectories: list[tuple[int, int]]) -> None:
    """Entry u of the multiset, of which no copy is made, is row u of the copied data."""
    lengths = np.array([length for length, _ in trajectories])
    weights = np.array([[weight, 6 - weight] for _, weight in trajectories])
    zeros = np.zeros((lengths.sum(), 2, 1))
    data = Transitions(zeros, zeros, zeros[..., 0], zeros, zeros[:, 0, 0], lengths)
    sampler = WeightedSampler(data, weights)
    starts = np.cumsum(lengths) - lengths
    for j in range(2):
        copies = np.concatenate(
            [
                np.tile(np.arange(start, start + length), weight)
                for start, length, weight in zip(starts, lengths, weights[:, j], strict=True)
            ]
        )
        assert sampler.totals[j] == len(copies)
        draws = np.zeros((len(copies), 2), dtype=np.int64)
        draws[:, j] = np.arange(len(copies))
        np.testing.assert_array_equal(sampler.rows(draws)[:, j], copies)


def test_batches_hold_each_agent_s_own_steps_by_their_weights() -> None:
    data = recorded([4, 1, 3])
    sampler = WeightedSampler(Transitions.of(data), np.array([[1, 3], [1, 1], [2, 1]]))
    batch = sampler.sample(40_000, np.random.default_rng(0))
    assert batch[Columns.OBS].shape == (40_000, 2, 3)
    step = (batch[Columns.REWARDS] - [0, 1_000]).astype(int)
    for j, expected in ((0, [1, 1, 1, 1, 1, 2, 2, 2]), (1, [3, 3, 3, 3, 1, 1, 1, 1])):
        seen = np.bincount(step[:, j], minlength=8)
        share = np.array(expected) / sum(expected)
        assert stats.chisquare(seen, share * len(step)).pvalue > 0.001
    np.testing.assert_array_equal(batch[Columns.OBS][:, 0], data.obs["a"][step[:, 0]])
    np.testing.assert_array_equal(batch[Columns.OBS][:, 1, :2], data.obs["b"][step[:, 1]])
    assert not batch[Columns.OBS][:, 1, 2].any()
    np.testing.assert_array_equal(batch[Columns.TERMINATEDS], data.terminated[step])
    assert np.corrcoef(step.T)[0, 1] == pytest.approx(0, abs=0.03)


def test_joint_rows_are_of_one_step_and_need_one_weight() -> None:
    data = Transitions.of(recorded([4, 1, 3]))
    weights = np.array([[1, 1], [4, 4], [2, 2]])
    batch = WeightedSampler(data, weights, joint=True).sample(500, np.random.default_rng(0))
    rewards = batch[Columns.REWARDS]
    np.testing.assert_array_equal(rewards[:, 0] + 1_000, rewards[:, 1])
    with pytest.raises(ValueError, match="team"):
        WeightedSampler(data, weights + np.array([[0, 1]]), joint=True)


def test_thresholds_count_strictly_and_twice_where_they_stand_twice() -> None:
    returns = np.array([[0.0], [1.0], [1.5], [2.0], [9.0]])
    weights = weights_above(returns, [1.0, 2.0, 2.0])
    np.testing.assert_array_equal(weights[:, 0], [1, 1, 2, 2, 4])


def test_the_quantile_rule_and_the_table_of_the_authors() -> None:
    lengths = [1] * 800
    data = recorded(lengths, level="medium")
    returns = np.random.default_rng(1).normal([300.0, 320.0], 100.0, (800, 2))
    weights = trajectory_weights(data.card, returns, "quantiles")
    for j in range(2):
        np.testing.assert_array_equal(
            np.bincount(weights[:, j])[1:], [400, 200, 100, 0, 100]
        )  # ranks above 1/2, 3/4, and 7/8 twice
    assert effective_share(weights) == pytest.approx(
        (400 + 400 + 300 + 500) ** 2 / (400 + 800 + 900 + 2_500) / 800
    )
    by_table = trajectory_weights(data.card, returns, "dom2")
    np.testing.assert_array_equal(
        by_table, weights_above(returns, DOM2_THRESHOLDS["spread", "medium"])
    )
    random = recorded(lengths, level="random").card
    assert (trajectory_weights(random, returns, "dom2") == 1).all()
    unknown = recorded(lengths, level="own").card
    np.testing.assert_array_equal(trajectory_weights(unknown, returns, "dom2"), weights)
    assert (trajectory_weights(data.card, returns, "none") == 1).all()
    grown = trajectory_weights(data.card, returns, "exp_weight", beta=2.0)
    order = returns[:, 0].argsort()
    assert (np.diff(grown[order, 0]) >= 0).all()
    assert grown.max() > 20


def test_each_part_of_a_mixture_has_its_own_thresholds() -> None:
    parts = [{"level": "random", "episodes": 90}, {"level": "medium", "episodes": 10}]
    data = recorded([1] * 100, level="random-medium", parts=parts)
    returns = np.repeat(np.arange(100.0)[:, None], 2, axis=1)
    weights = trajectory_weights(data.card, returns, "quantiles")
    np.testing.assert_array_equal(
        weights[:90], trajectory_weights(recorded([1] * 90).card, returns[:90], "quantiles")
    )
    assert weights[90:].mean() == pytest.approx(weights[:90].mean(), abs=0.2)


def test_the_team_s_return_is_one_for_all() -> None:
    returns = np.array([[1.0, 3.0], [5.0, 0.0]])
    np.testing.assert_array_equal(returns_for(returns, "team"), [[2, 2], [2.5, 2.5]])
    np.testing.assert_array_equal(returns_for(returns, "agent"), returns)


def test_smaller_shares_of_the_data_lie_in_larger_ones() -> None:
    kept = [set(nested_episodes(200, f, 3)) for f in (0.01, 0.05, 0.25, 1.0)]
    assert [len(each) for each in kept] == [2, 10, 50, 200]
    assert kept[0] < kept[1] < kept[2] < kept[3]
    assert set(nested_episodes(200, 0.25, 4)) != kept[2]
    assert len(nested_episodes(5, 0.01, 0)) == 1


def test_coverage_is_the_share_of_steps_that_were_drawn() -> None:
    lengths = [5] * 60
    weights = np.random.default_rng(0).integers(1, 6, (60, 2))
    sampler = WeightedSampler(Transitions.of(recorded(lengths)), weights)
    rows = sampler.sample(300, np.random.default_rng(1))[Columns.REWARDS] - [0, 1_000]
    seen = np.mean([len(np.unique(rows[:, j])) / 300 for j in range(2)])
    assert sampler.coverage(300) == pytest.approx(seen, abs=0.04)


def test_modules_of_single_agents_get_their_own_unpadded_batches() -> None:
    data = recorded([4, 4])
    batch = WeightedSampler(Transitions.of(data), np.ones((2, 2), int)).sample(
        16, np.random.default_rng(0)
    )
    single = agent_batches(batch, AGENTS, [3, 2])
    assert single.env_steps() == 16
    for j, (name, size) in enumerate(zip(AGENTS, (3, 2), strict=True)):
        own = single[name]
        assert own[Columns.OBS].shape == (16, size)
        np.testing.assert_array_equal(own[Columns.OBS], batch[Columns.OBS][:, j, :size])
        np.testing.assert_array_equal(own[Columns.REWARDS], batch[Columns.REWARDS][:, j])


def test_padding_keeps_what_is_there() -> None:
    stacked = stack_padded([np.ones((4, 3)), np.full((4, 1), 2.0)])
    np.testing.assert_array_equal(stacked[0], [[1, 1, 1], [2, 0, 0]])


def test_a_small_gradient_is_not_scaled_up() -> None:
    gradients = [torch.full((2, 3), 1e-3)]
    clip_stacked(gradients, 0.5)
    assert torch.equal(gradients[0], torch.full((2, 3), 1e-3))


def test_the_page_s_own_method_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parents[2] / "docs" / "offline-multi-agent.md").read_text()
    code = re.search(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    assert code is not None
    names: dict[str, Any] = {}
    exec(code[1], names)
    data = recorded([25] * 20)
    monkeypatch.setattr(names["OfflineConfig"], "read_data", lambda self: data)
    monkeypatch.setattr(names["OfflineAlgorithm"], "evaluation_metrics", lambda self: {})
    config = names["ClonesConfig"]()
    config.update_from_dict({"updates_per_iteration": 100, "batch": 64})
    built = names["ClonesAlgorithm"](config)
    losses = [built.train()["learners"]["agents"]["loss"] for _ in range(3)]
    assert losses[2] < 0.98 * losses[0]
    assert built.act(built.transitions.obs[:5]).shape == (5, 2, 2)


@pytest.mark.usefixtures("ray_session")
def test_ray_data_streams_the_same_distribution_without_holding_the_data(tmp_path: Path) -> None:
    lengths = [4, 1, 3] * 400
    data = recorded(lengths, anchors={"random": 0.0, "expert": 1.0})
    data.write(tmp_path / "set")
    returns = streamed_returns(tmp_path / "set", AGENTS)
    np.testing.assert_allclose(returns, data.returns(), rtol=1e-6)
    weights = np.tile([[1, 3], [1, 1], [2, 1]], (400, 1))
    weights[:3] = 0  # left out
    sampler = StreamedSampler(tmp_path / "set", AGENTS, weights, joint=False, seed=0)
    drawn = [sampler.sample(150, np.random.default_rng(0)) for _ in range(6)]
    sampler.close()
    step = np.concatenate([each[Columns.REWARDS] for each in drawn]) - [0, 1_000]
    step = step.astype(int)
    assert step.min() >= 8
    np.testing.assert_array_equal(
        np.concatenate([each[Columns.OBS] for each in drawn])[:, 1, :2], data.obs["b"][step[:, 1]]
    )
    kind = np.array([0, 0, 0, 0, 1, 2, 2, 2])[step % 8]
    for j, share in ((0, np.array([4, 1, 6]) / 11), (1, np.array([12, 1, 3]) / 16)):
        seen = np.bincount(kind[:, j], minlength=3)
        np.testing.assert_allclose(seen / seen.sum(), share, atol=0.06)
    head = head_of(tmp_path / "set", 5)
    assert len(head) == 13
    assert head.card.anchors == data.card.anchors
