"""The risk-sensitive tasks are what their definitions say."""

import gymnasium as gym
import numpy as np
import pytest

from tenfold.envs.risk.benchmarks import BUILDERS, make_task, switching_alpha
from tenfold.envs.risk.names import TASK_NAMES


@pytest.mark.parametrize("name", TASK_NAMES)
def test_every_task_is_a_mixture_of_its_kernels(name: str) -> None:
    task = make_task(name, 0.3)
    H, S, A, d = task.mdp.H, task.mdp.S, task.mdp.A, task.d
    assert task.kernels.shape == (d, S, A, S)
    assert task.theta.shape == (H, d)
    np.testing.assert_allclose(task.kernels.sum(axis=-1), 1.0)
    np.testing.assert_allclose(task.theta.sum(axis=-1), 1.0)
    mixed = sum(task.theta[:, i, None, None, None] * task.kernels[i] for i in range(d))
    np.testing.assert_allclose(task.mdp.transitions, mixed, atol=1e-15)


def test_frozen_lake_moves_as_gymnasium_does() -> None:
    task = make_task("mdp/FrozenLake-v0", 0.5)
    lake = gym.make("FrozenLake-v1", map_name="4x4", is_slippery=True).unwrapped
    for s, actions in lake.P.items():
        for a, outcomes in actions.items():
            row = np.zeros(16)
            for probability, after, *_ in outcomes:
                row[after] += probability
            np.testing.assert_allclose(task.mdp.transitions[0, s, a], row, atol=1e-12)


def test_the_cliff_without_wind_moves_as_gymnasium_does() -> None:
    task = make_task("mdp/WindyCliff-v0", 0.5, columns=12, wind=0.0)
    cliff = gym.make("CliffWalking-v1").unwrapped
    ours = {0: 3, 1: 2, 2: 1, 3: 0}  # Gymnasium's up, right, down, left
    for s in range(37):
        for a, action in ours.items():
            ((_, after, reward, _),) = cliff.P[s][a]
            if reward == -1:  # Gymnasium sends a fall back to the start, here it is final
                assert task.mdp.transitions[0, s, action, after] == 1.0


def test_the_wind_blows_one_cell_down() -> None:
    row = make_task("mdp/WindyCliff-v0", 0.5, wind=0.25).mdp.transitions[0, 13, 2]
    assert row[14] == 0.75  # to the right along the edge
    assert row[20] == 0.25  # into the cliff


def test_the_queues_are_served_then_filled() -> None:
    task = make_task("mdp/QueueBacklog-v0", 0.5, arrival=0.3, turbo=0.6)
    row = task.mdp.transitions[0, 2 * 5 + 2, 2].reshape(5, 5)  # queue 1 at full speed
    one = np.array([0.6 * 0.7, 0.6 * 0.3, 0.4 * 0.7, 0.4 * 0.3, 0.0])
    two = np.array([0.0, 0.0, 0.7, 0.3, 0.0])
    np.testing.assert_allclose(row, np.outer(one, two), atol=1e-12)
    steady = task.mdp.transitions[0, 4 * 5 + 0, 1].reshape(5, 5)  # queue 2 is empty, 1 is full
    np.testing.assert_allclose(steady[4], [0.7, 0.3, 0.0, 0.0, 0.0], atol=1e-12)


def test_the_end_of_the_lower_bound_chain_is_seen_as_rarely_as_stated() -> None:
    task = make_task("mdp/LowerBound-v0", 0.2, H=5)
    reached = task.mdp.initial
    for h in range(3):
        reached = reached @ task.mdp.transitions[h, :, 0]
    assert reached[3] == pytest.approx(0.2**3)
    assert task.mdp.transitions[0, 3, 2, 6] == pytest.approx(0.1)  # the better action
    assert task.mdp.transitions[0, 3, 0, 6] == pytest.approx(0.2)


def test_the_random_mixture_is_fixed_by_its_instance() -> None:
    first, same, other = (
        make_task("mdp/RandomMixture-v0", 0.5, instance=i).mdp.transitions for i in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, same)
    assert np.abs(first - other).max() > 0.01


def test_the_switching_alpha_grows_with_the_steps_left() -> None:
    levels = [switching_alpha(0.05, m) for m in range(1, 8)]
    assert levels == sorted(levels)
    assert levels[1] == pytest.approx(0.15)  # p / (1 - 2/3)


@pytest.mark.parametrize(
    ("name", "fields", "said"),
    [
        ("mdp/Nowhere-v0", {}, "No task 'mdp/Nowhere-v0': choose one of"),
        ("mdp/RiskyShortcut-v0", {"p": 1.5}, "'theta' at .* is not a probability distribution"),
        ("mdp/RiskyShortcut-v0", {"risky": 1.2}, "is 1.2: rewards must be in"),
        ("mdp/LowerBound-v0", {"rarity": 2.0}, "'kernels' at .* is not a probability distribution"),
        ("mdp/QueueBacklog-v0", {"start": 9}, "give 0 to 4, the value of 'capacity'"),
        ("mdp/QueueBacklog-v0", {"capacity": 10_000}, "capacity = 10,000 would need arrays"),
        ("mdp/WindyCliff-v0", {"rows": 9_999}, "H = 14, rows = 9,999, columns = 6 would"),
        ("mdp/LowerBound-v0", {"H": 1_000, "A": 99}, "H = 1,000, A = 99 would need arrays of"),
    ],
)
def test_a_bad_task_is_refused_in_one_sentence(name, fields, said: str) -> None:
    with pytest.raises(ValueError, match=said) as refusal:
        make_task(name, 0.5, **fields)
    assert "\n" not in str(refusal.value)


def test_every_name_has_its_builder() -> None:
    assert tuple(BUILDERS) == TASK_NAMES
