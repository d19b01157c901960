"""A record that names a deleted checkpoint: the trial goes on from the newest whole one."""

from pathlib import Path
from typing import Any

import pytest
from ray.train import Checkpoint
from ray.train._internal.session import _TrainingResult
from ray.tune.result import TRAINING_ITERATION

from tenfold.platform.checkpoints import result_of, to_go_on_from
from tenfold.platform.experiment import make_experiment
from tenfold.platform.study import resolve_study
from tenfold.platform.trial import trial_class


def recorded(trial: Path, number: int, iteration: int) -> _TrainingResult:
    where = trial / f"checkpoint_{number:06d}"
    return _TrainingResult(Checkpoint(str(where)), {TRAINING_ITERATION: iteration})


@pytest.mark.parametrize(
    ("files", "keep", "chosen"),
    [
        ({4: 3, 5: 3}, 2, 5),  # deleted and no more: both are whole
        ({4: 1, 5: 3, 6: 3}, 2, 5),  # 4 is being deleted; 6 could have been cut short
        ({4: 3, 5: 3, 6: 2}, 2, 5),  # 6 was being written
        ({4: 3, 5: 3, 6: 3}, 2, 5),  # its last file may be cut short
        ({4: 2, 5: 3}, 1, 5),
        ({4: 3, 5: 2}, 1, 4),
        ({4: 3, 5: 3}, 1, 4),
        ({2: 3, 4: 3}, 2, 4),  # 2 is older than the record
    ],
)
def test_the_newest_whole_checkpoint_is_chosen(
    tmp_path: Path, files: dict[int, int], keep: int, chosen: int
) -> None:
    for number, count in files.items():
        folder = tmp_path / f"checkpoint_{number:06d}"
        folder.mkdir()
        for name in range(count):
            (folder / str(name)).touch()
    found = to_go_on_from(recorded(tmp_path, 3, iteration=40), every=10, keep=keep)[0]
    assert Path(found.checkpoint.path).name == f"checkpoint_{chosen:06d}"
    assert found.metrics[TRAINING_ITERATION] == 40 + 10 * (chosen - 3)


def test_a_checkpoint_that_is_there_and_one_without_successors_stay(tmp_path: Path) -> None:
    gone = recorded(tmp_path, 3, iteration=4)
    assert to_go_on_from(gone, every=1, keep=2) == (gone, None)
    Path(gone.checkpoint.path).mkdir()
    (tmp_path / "checkpoint_000004").mkdir()
    assert to_go_on_from(gone, every=1, keep=2) == (gone, None)


@pytest.mark.usefixtures("ray_session")
def test_a_trial_whose_recorded_checkpoint_is_gone_ends_as_if_nothing_happened(
    tmp_path: Path,
) -> None:
    experiment = make_experiment(
        {"method": "ucb1", "config": {"pulls_per_iteration": 50}, "checkpoint": {"every": 1}}
    )
    point = {"task": experiment.tasks[0], "variant": experiment.variants[0], "seed": 0}
    trial = trial_class(resolve_study(experiment))
    whole, resumed = trial(point), trial(point)
    for number in range(5):
        result = whole.train()
        if number in (2, 3):
            whole.save(str(tmp_path / f"checkpoint_{number:06d}"))
    resumed.restore(recorded(tmp_path, 1, iteration=2))
    assert resumed.training_iteration == 4
    again = resumed.train()
    assert (again["regret"], again["training_iteration"]) == (result["regret"], 5)
    for algorithm in (whole, resumed):
        algorithm.stop()


@pytest.mark.parametrize(("stop", "ended_at"), [(100, 100), (150, 150)])
def test_a_trial_that_is_restored_at_its_end_trains_on_only_if_the_rule_is_a_later_one(
    stop: int, ended_at: int, tmp_path: Path
) -> None:
    """As after a driver that was killed before Tune noted that the trial had ended."""
    fields = {"method": "ucb1", "config": {"pulls_per_iteration": 50}}
    point = {"task": "two-arms", "variant": "ucb1", "seed": 0}

    def trial(pulls: int) -> Any:
        experiment = make_experiment({**fields, "stop": {"pulls": pulls}})
        return trial_class(resolve_study(experiment))(point)

    saved, restored = trial(100), trial(stop)
    results = [saved.train(), saved.train()]
    saved.save(str(tmp_path / "checkpoint_000000"))
    restored.restore(recorded(tmp_path, 0, iteration=2))
    result = restored.train()
    assert (result["pulls"], result["done"]) == (ended_at, True)
    assert result["training_iteration"] == restored.training_iteration == ended_at // 50
    if ended_at == 100:
        assert result["regret"] == results[-1]["regret"]
        restored.save(str(tmp_path / "checkpoint_000001"))
        assert result_of(tmp_path / "checkpoint_000001")["pulls"] == 100
