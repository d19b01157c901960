"""The base of planning methods: results depend on the work items alone."""

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ray.rllib.algorithms.algorithm import Algorithm
from tenfold.algorithms.planning import PlanningAlgorithm, PlanningConfig, PlanningRunner

pytestmark = pytest.mark.usefixtures("ray_session")


class WalkRunner(PlanningRunner):
    """Sums Gaussian steps; a file tells it to die or to fail."""

    def rollout(self, item: dict[str, Any]) -> float:
        trap = Path(item.get("trap", ""))
        if item.get("trap") and trap.exists():
            command = trap.read_text()
            trap.unlink()
            if command == "die":
                os.kill(os.getpid(), signal.SIGKILL)
            raise ArithmeticError(command)
        return float(np.random.default_rng(item["seed"]).normal(size=item["steps"]).sum())


class WalkConfig(PlanningConfig):
    def __init__(self) -> None:
        super().__init__(Walk)
        self.env_runner_cls = WalkRunner
        self.trap = ""


class Walk(PlanningAlgorithm):
    @classmethod
    def get_default_config(cls) -> WalkConfig:
        return WalkConfig()

    def initialise(self) -> None:
        self.positions = np.zeros(5)
        self.moves = 0

    def training_step(self) -> None:
        items = [
            {"seed": [self.config.seed, self.moves, i], "steps": 10, "trap": self.config.trap}
            for i in range(5)
        ]
        self.positions = self.positions + self.rollouts(items)
        self.moves += 1
        self.report(position=float(self.positions.sum()), moves=float(self.moves))

    def get_plan(self) -> dict[str, Any]:
        return {"positions": self.positions, "moves": self.moves}

    def set_plan(self, plan: Any) -> None:
        self.positions, self.moves = plan["positions"], plan["moves"]

    def evaluate_plan(self) -> dict[str, float]:
        return {"distance": float(np.abs(self.positions).sum())}


def build(runners: int, trap: str = "") -> Walk:
    config = WalkConfig().environment("walk").debugging(seed=3)
    config.update_from_dict({"num_env_runners": runners, "trap": trap})
    return Walk(config)


def positions(algorithm: Walk, iterations: int) -> list[float]:
    return [algorithm.train()["position"] for _ in range(iterations)]


def test_results_do_not_depend_on_the_number_of_runners() -> None:
    alone, shared = build(0), build(2)
    assert positions(alone, 3) == positions(shared, 3)
    alone.stop()
    shared.stop()


def test_items_of_a_killed_runner_are_worked_off_and_the_runner_comes_back(tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    alone, shared = build(0), build(2, trap=str(trap))
    expected = positions(alone, 3)
    assert positions(shared, 1) == expected[:1]
    trap.write_text("die")
    assert positions(shared, 2) == expected[1:]
    assert not trap.exists()
    assert shared.env_runner_group.num_remote_worker_restarts() == 1
    assert shared.env_runner_group.num_healthy_remote_workers() == 2
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
