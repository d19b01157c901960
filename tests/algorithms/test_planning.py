"""The base of planning methods: results depend on the work items alone."""

import os
import time
from pathlib import Path

import numpy as np
import pytest
from ray.rllib.algorithms.algorithm import Algorithm
from walk import Walk, WalkConfig

from tenfold.algorithms.rl_cfr.config import RLCFRConfig

pytestmark = pytest.mark.usefixtures("ray_session")


def build(runners: int, trap: str = "") -> Walk:
    config = WalkConfig().environment("walk").debugging(seed=3)
    config.update_from_dict({"num_env_runners": runners, "trap": trap})
    return Walk(config)


def positions(algorithm: Walk, iterations: int) -> list[float]:
    return [algorithm.train()["position"] for _ in range(iterations)]


def runner_processes(algorithm: Walk) -> set[int]:
    group = algorithm.env_runner_group
    return set(group.foreach_env_runner(lambda _: os.getpid(), local_env_runner=False))


def test_a_key_that_is_minus_one_reaches_the_algorithm() -> None:
    """RLlib builds algorithms from a state that leaves out every -1."""
    config = RLCFRConfig()
    config.threshold = -1.0
    assert RLCFRConfig.from_state(config.get_state()).threshold == -1.0


def test_results_do_not_depend_on_the_number_of_runners() -> None:
    alone, shared = build(0), build(2)
    assert positions(alone, 3) == positions(shared, 3)
    alone.stop()
    shared.stop()


@pytest.mark.parametrize("runners", [1, 2])
def test_items_of_a_killed_runner_are_worked_off_and_the_runner_comes_back(
    tmp_path: Path, runners: int
) -> None:
    trap = tmp_path / "trap"
    alone, shared = build(0), build(runners, trap=str(trap))
    expected = positions(alone, 3)
    assert positions(shared, 1) == expected[:1]
    before = runner_processes(shared)
    trap.write_text("die")
    assert positions(shared, 2) == expected[1:]
    assert not trap.exists()
    group = shared.env_runner_group
    for _ in range(120):  # the restart of a process takes some seconds
        if group.num_healthy_remote_workers() == runners:
            break
        group.probe_unhealthy_env_runners()
        time.sleep(0.5)
    assert group.num_healthy_remote_workers() == runners
    after = runner_processes(shared)
    assert len(after - before) == 1
    alone.stop()
    shared.stop()


def test_an_error_in_a_rollout_reaches_the_caller_as_it_was_raised(tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    trap.write_text("divided by zero")
    shared = build(2, trap=str(trap))
    with pytest.raises(ArithmeticError, match="divided by zero"):
        shared.train()
    shared.stop()


@pytest.mark.parametrize("runners", [0, 2])
def test_a_restored_algorithm_goes_on_where_the_saved_one_would(
    tmp_path: Path, runners: int
) -> None:
    straight, first = build(runners), build(runners)
    expected = positions(straight, 4)
    positions(first, 2)
    first.save_to_path(tmp_path / "checkpoint")
    second = build(runners)
    second.restore_from_path(tmp_path / "checkpoint")
    assert second.iteration == 2
    assert positions(second, 2) == expected[2:]
    for algorithm in (straight, first, second):
        algorithm.stop()


def test_a_checkpoint_of_ours_holds_no_pickle_and_rllib_can_build_from_it(tmp_path: Path) -> None:
    saved = build(0)
    positions(saved, 2)
    saved.save_to_path(tmp_path / "checkpoint")
    with np.load(tmp_path / "checkpoint" / "plan.npz", allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["positions"], saved.positions)
    built = Algorithm.from_checkpoint(str(tmp_path / "checkpoint"))
    assert isinstance(built, Walk)
    assert positions(built, 1) == positions(saved, 1)
    for name in ("state.pkl", "algorithm_state.pkl", "class_and_ctor_args.pkl"):
        (tmp_path / "checkpoint" / name).unlink(missing_ok=True)
    again = build(0)
    again.restore_from_path(tmp_path / "checkpoint")
    assert again.moves == 2


def test_evaluation_runs_at_rllibs_interval() -> None:
    config = WalkConfig().environment("walk").debugging(seed=3)
    config.evaluation(evaluation_interval=2)
    algorithm = Walk(config)
    assert "evaluation" not in algorithm.train()
    result = algorithm.train()
    assert result["evaluation"]["distance"] == pytest.approx(np.abs(algorithm.positions).sum())
    algorithm.stop()
