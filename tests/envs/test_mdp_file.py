"""MDPs of the user's own: what a file says, and the tasks that are made of it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenfold.algorithms.icvar.config import ICVaRConfig
from tenfold.algorithms.icvar.planner import IteratedCVaR
from tenfold.algorithms.rs_disrl.config import RSDisRLConfig
from tenfold.envs.risk import scale
from tenfold.envs.risk.benchmarks import make_task
from tenfold.envs.risk.brute_force import best_risk
from tenfold.envs.risk.mdp_file import read_mdp
from tenfold.envs.risk.mdp_tasks import (
    common_step,
    grid_of_file,
    mixture_of_file,
    noise_kernels,
)
from tenfold.envs.risk.measures import CVaR

# Two states, three actions: stay, swap, toss a coin. Rewards on states, 3 in the second.
MOVES = [[[1, 0], [0, 1]], [[0, 1], [1, 0]], [[0.5, 0.5], [0.5, 0.5]]]
GOOD: dict[str, Any] = {"transition": MOVES, "reward": [-1, 3], "H": 4}


def saved(path: Path, values: dict[str, Any]) -> str:
    """A file of named values, in the format that its ending says."""
    if path.suffix == ".json":
        path.write_text(json.dumps(values))
    else:
        np.savez(path, **values)
    return str(path)


@pytest.mark.parametrize("ending", [".json", ".npz"])
def test_both_formats_say_the_same(tmp_path: Path, ending: str) -> None:
    file = read_mdp(saved(tmp_path / f"own{ending}", {**GOOD, "initial": 1}))
    assert file.transitions.shape == file.rewards.shape == (4, 2, 3, 2)
    for h in range(4):
        np.testing.assert_array_equal(file.transitions[h].transpose(1, 0, 2), MOVES)
    np.testing.assert_array_equal(file.rewards[2, 0], np.full((3, 2), -1.0))
    np.testing.assert_array_equal(file.initial, [0.0, 1.0])


def test_every_layout_of_rewards_is_read(tmp_path: Path) -> None:
    H, S, A = 4, 2, 3
    full = np.arange(H * S * A * S, dtype=float).reshape(H, S, A, S)
    per_step = np.broadcast_to(np.array(MOVES).transpose(1, 0, 2), (H, S, A, S))

    def rewards(transition: Any, reward: np.ndarray) -> np.ndarray:
        path = saved(tmp_path / "own.npz", {"transition": transition, "reward": reward, "H": H})
        return read_mdp(path).rewards

    np.testing.assert_array_equal(rewards(per_step, full), full)
    np.testing.assert_array_equal(
        rewards(MOVES, full[0].transpose(1, 0, 2)), np.broadcast_to(full[0], full.shape)
    )
    np.testing.assert_array_equal(rewards(MOVES, full[..., 0])[..., 1], full[..., 0])
    np.testing.assert_array_equal(rewards(MOVES, full[0, ..., 0])[3, ..., 1], full[0, ..., 0])
    np.testing.assert_array_equal(rewards(MOVES, full[0, :, 0, 0])[3, :, 2, 1], full[0, :, 0, 0])


def test_single_precision_is_rounded_to_distributions(tmp_path: Path) -> None:
    kernel = np.random.default_rng(0).dirichlet(np.ones(5), size=(2, 5)).astype(np.float32)
    file = read_mdp(
        saved(tmp_path / "own.npz", {**GOOD, "transition": kernel, "reward": np.ones(5)})
    )
    np.testing.assert_allclose(file.transitions.sum(axis=-1), 1.0, atol=1e-15)


def without(key: str) -> dict[str, Any]:
    return {name: value for name, value in GOOD.items() if name != key}


MISTAKES: list[tuple[Any, str]] = [
    (without("transition"), "either 'transition' or 'kernels'"),
    ({**GOOD, "kernels": [MOVES], "theta": [1]}, "either 'transition' or 'kernels'"),
    ({**without("transition"), "kernels": [MOVES]}, "'theta' is missing"),
    (without("reward"), "'reward' is missing"),
    (without("H"), "'H' is missing"),
    ({**GOOD, "rewards": [0, 1]}, "Unknown key 'rewards': did you mean 'reward'"),
    ({**GOOD, "H": 2.5}, "'H' is 2.5, give a whole number from 1"),
    ({**GOOD, "H": 0}, "'H' is 0, give a whole number from 1"),
    ({**GOOD, "H": 10**9}, "would need arrays"),
    ({**GOOD, "initial": 2}, "'initial' is 2, give a state from 0 to 1"),
    ({**GOOD, "initial": [0.5, 0.6]}, "'initial' must hold probabilities"),
    ({**GOOD, "initial": [0.5, 0.25, 0.25]}, r"'initial' must be of shape \(S\) with H = 4, A = 3"),
    ({**GOOD, "transition": MOVES[0]}, r"\(A, S, S\) or \(H, S, A, S\) with H = 4, not \(2, 2\)"),
    ({**GOOD, "transition": [[[1, 0, 0], [0, 1, 0]]]}, "'transition' must be of shape"),
    ({**GOOD, "transition": [[[1, 0], [0]]]}, "'transition' is not an array of numbers"),
    ({**GOOD, "transition": [[["a", "b"], ["c", "d"]]]}, "'transition' is not an array of numbers"),
    ({**GOOD, "transition": []}, "'transition' must be of shape"),
    ({**GOOD, "transition": [[[0.5, 0.4], [0, 1]]]}, "sums go from 0.9 to 1"),
    ({**GOOD, "transition": [[[1.5, -0.5], [0, 1]]]}, "the least entry is -0.5"),
    ({**GOOD, "transition": [[[float("nan"), 1], [0, 1]]]}, r"at \(0, 0, 0\) is nan"),
    ({**GOOD, "reward": [1, 2, 3]}, r"'reward' must be of shape \(S\) or \(S, A\)"),
    ({**GOOD, "reward": [1, float("inf")]}, r"'reward' at \(1,\) is inf"),
    ({**GOOD, "reward": [1, 10**400]}, "'reward' is not an array of numbers"),
    ([1, 2], "holds a list, not named arrays"),
]


@pytest.mark.parametrize(("values", "said"), MISTAKES, ids=[said for _, said in MISTAKES])
@pytest.mark.parametrize("config", [ICVaRConfig, RSDisRLConfig])
def test_a_mistake_is_one_sentence_that_names_the_file(tmp_path, config, values, said) -> None:
    path = tmp_path / "own.json"
    path.write_text(json.dumps(values))
    with pytest.raises(ValueError, match=said) as refusal:
        config().environment(str(path)).validate()
    assert str(refusal.value).startswith("'own.json': ")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("name", ["text.json", "text.npz", "missing.json", "objects.npz"])
def test_an_unreadable_file_is_refused(tmp_path: Path, name: str) -> None:
    for text in ("text.json", "text.npz"):
        (tmp_path / text).write_text("transition = 3")
    np.savez(tmp_path / "objects.npz", transition=np.array([{"no": "numbers"}]), reward=[1], H=1)
    with pytest.raises(ValueError, match=f"'{name}': it cannot be read"):
        read_mdp(str(tmp_path / name))


def test_steps_asked_for_win_over_the_file_but_not_over_its_arrays(tmp_path: Path) -> None:
    path = saved(tmp_path / "own.json", GOOD)
    assert len(read_mdp(path, H=7).transitions) == 7
    moves = np.broadcast_to(np.array(MOVES).transpose(1, 0, 2), (3, 2, 3, 2))
    path = saved(tmp_path / "steps.npz", {"transition": moves, "reward": [0, 1]})
    assert len(read_mdp(path).transitions) == 3
    with pytest.raises(ValueError, match="with H = 7"):
        read_mdp(path, H=7)


# Iterated CVaR: linear mixtures


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(1, 3), st.booleans(), st.booleans()
)
def test_any_mdp_is_a_mixture_of_deterministic_kernels(seed, S, A, stationary, sparse) -> None:
    rng = np.random.default_rng(seed)
    kernel = rng.dirichlet(np.full(S, 0.1 if sparse else 1.0), size=(1 if stationary else 3, S, A))
    kernel = np.broadcast_to(kernel, (3, S, A, S))
    kernels, theta = noise_kernels(kernel)
    assert set(np.unique(kernels)) <= {0.0, 1.0}
    assert len(kernels) <= (1 if stationary else 3) * (S * A * (S - 1) + 1)
    np.testing.assert_allclose(kernels.sum(axis=-1), 1.0)
    np.testing.assert_allclose(theta.sum(axis=-1), 1.0, atol=1e-12)
    np.testing.assert_allclose(np.einsum("hd,dsat->hsat", theta, kernels), kernel, atol=1e-9)


def test_a_file_is_the_same_task_as_the_built_in_one(tmp_path: Path) -> None:
    """The risky shortcut written to a file: two pieces of noise, and the same values when scaled
    back; with its kernels and weights, the very same mixture."""
    own = make_task("mdp/RiskyShortcut-v0", 0.25, p=0.1)
    kernels, rewards = own.kernels.transpose(0, 2, 1, 3), 20.0 * own.mdp.rewards[0] - 3.0
    plain = {"transition": own.mdp.transitions[0].transpose(1, 0, 2), "reward": rewards, "H": 5}
    task = mixture_of_file(saved(tmp_path / "plain.npz", plain))
    assert task.d == 2
    np.testing.assert_allclose(np.sort(task.theta[0]), [0.1, 0.9])
    lowest, highest = rewards.min(), rewards.max()
    for alpha in (0.05, 0.25, 1.0):
        ours = IteratedCVaR(task.mdp, alpha).optimal().values[0]
        theirs = IteratedCVaR(own.mdp, alpha).optimal().values[0]
        np.testing.assert_allclose(
            5 * lowest + (highest - lowest) * ours, 20.0 * theirs - 5 * 3.0, atol=1e-9
        )
    mixed = {"kernels": kernels, "theta": own.theta, "reward": rewards}
    task = mixture_of_file(saved(tmp_path / "mixed.npz", mixed))
    np.testing.assert_array_equal(task.kernels, own.kernels)
    np.testing.assert_array_equal(task.theta, own.theta)
    np.testing.assert_allclose(task.mdp.transitions, own.mdp.transitions)


@pytest.mark.parametrize("learner", ["icvar_l", "icvar_g", "icvar_rm", "epsilon_greedy", "oracle"])
def test_every_learner_can_meet_a_file(tmp_path: Path, learner: str) -> None:
    from tenfold.algorithms.icvar.learners import make_learner

    path = saved(tmp_path / "own.json", {**GOOD, "initial": [0.25, 0.75]})
    config = ICVaRConfig().environment(path)
    config.learner = learner
    config.validate()
    task, rng = config.task(), np.random.default_rng(0)
    learner_made = make_learner(config, task)
    for _ in range(20):
        learner_made.update(task.mdp.play(learner_made.plan(rng).policy, rng))
    assert learner_made.plan(rng).policy.shape == (4, 2)


def test_rewards_of_the_next_state_are_not_iterated_cvars(tmp_path: Path) -> None:
    reward = np.zeros((3, 2, 2))
    reward[0, 0, 1] = 5.0  # staying never leads there, so nobody gets it
    config = ICVaRConfig().environment(saved(tmp_path / "own.npz", {**GOOD, "reward": reward}))
    config.validate()
    reward[2, 0, 1] = 5.0
    saved(tmp_path / "own.npz", {**GOOD, "reward": reward})
    with pytest.raises(ValueError, match=r"'own\.npz': 'reward' must not depend on the next state"):
        config.validate()


def test_too_many_kernels_are_refused(tmp_path: Path) -> None:
    kernel = np.random.default_rng(0).dirichlet(np.ones(40), size=(5, 40))
    path = saved(tmp_path / "own.npz", {"transition": kernel, "reward": np.ones(40), "H": 5})
    with pytest.raises(ValueError, match="H = 5, S = 40, A = 5, d = 7,801 would need arrays"):
        ICVaRConfig().environment(path).validate()


# Static risk: rewards on a grid


@pytest.mark.parametrize(
    ("rewards", "H", "step"),
    [
        ([0.0, 1.0, 10.0, 110.0], 3, 1.0),
        ([0.5, 1.25], 10, 0.25),
        ([0.1, 0.3, 0.7], 10, 0.1),
        ([1 / 3, 1.0], 10, 1 / 3),
        ([6.0, 15.0], 10, 3.0),
        ([0.0], 10, 1.0),
        ([0.001, 1.0], 1, 0.001),
        ([0.001, 1.0], 2, None),
        ([1.0, np.pi], 10, None),
        ([1e-5, 1.0], 10, None),
        ([np.pi], 10, np.pi),
    ],
)
def test_the_common_step_of_rewards(rewards: list[float], H: int, step: float | None) -> None:
    assert common_step(np.array(rewards), H) == (None if step is None else pytest.approx(step))


def test_a_grid_task_has_the_files_returns(tmp_path: Path) -> None:
    """One toss: -1 for sure, or 3 and -7 with equal chances. CVaR at 1/2 and 1 by hand."""
    reward = np.full((3, 2, 2), -1.0)
    reward[2, 0] = 3.0, -7.0
    path = saved(tmp_path / "own.npz", {"transition": MOVES, "reward": reward, "H": 1})
    mdp = grid_of_file(path)
    assert (mdp.step, mdp.initial, mdp.Y) == (2.0, 0, 6)
    assert best_risk(mdp, CVaR(1.0)) - 7.0 == pytest.approx(-1.0)
    reward[2, 0, 0] = 7.0
    mdp = grid_of_file(saved(tmp_path / "own.npz", {"transition": MOVES, "reward": reward, "H": 1}))
    assert best_risk(mdp, CVaR(1.0)) - 7.0 == pytest.approx(0.0)
    assert best_risk(mdp, CVaR(0.5)) - 7.0 == pytest.approx(-1.0)


def test_rewards_off_the_grid_are_rounded_and_this_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scale.say.cache_clear()
    path = saved(tmp_path / "own.json", {**GOOD, "reward": [0.0, 3.14159]})
    mdp = RSDisRLConfig().environment(path, env_config={"grid_step": 0.5}).true_model()
    assert mdp.step == 0.5
    assert set(np.unique(mdp.rewards)) == {0, 6}
    said = [record.getMessage() for record in caplog.records if "own.json" in record.getMessage()]
    assert len(said) == 1
    assert "counted from 0 on in steps of 0.5, which moves none by more than 0.14" in said[0]
    rewards = [[0.0, 1.0, np.pi], [0.0, 0.0, 0.0]]
    path = saved(tmp_path / "none.npz", {**GOOD, "reward": rewards})
    mdp = RSDisRLConfig().environment(path).true_model()  # no common step: a 50th of the span
    assert mdp.step == pytest.approx(np.pi / 50)
    assert mdp.returns[-1] == pytest.approx(4 * np.pi)
    assert abs(mdp.rewards[0, 0, 1, 0] * mdp.step - 1.0) <= mdp.step / 2


@pytest.mark.parametrize(
    ("values", "fields", "said"),
    [
        ({"initial": [0.5, 0.5]}, {}, "'own.json': 'initial' must be one state here"),
        ({}, {"grid_step": 1e-300}, "'grid_step': the rewards of 'own.json' span 4, so give more"),
        ({}, {"grid_step": -1}, "'env_config.grid_step': give a number above 0"),
        ({}, {"grid": 1}, "env_config 'grid': did you mean 'grid_step'"),
        ({}, {"H": "abc"}, "'env_config.H': give a whole number"),
        ({"H": 999}, {"grid_step": 0.1}, "H = 999 steps of rewards up to 40 grid steps"),
    ],
)
def test_what_a_grid_task_cannot_hold_is_refused(tmp_path, values, fields, said: str) -> None:
    path = saved(tmp_path / "own.json", {**GOOD, **values})
    with pytest.raises(ValueError, match=said):
        RSDisRLConfig().environment(path, env_config=fields).validate()
