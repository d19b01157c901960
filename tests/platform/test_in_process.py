"""Trials in the driver's process: the same as in actors, and no fault of one is another's."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Tenfold
from mlflow import MlflowClient
from mlflow.entities import Run

from tenfold.platform.experiment import make_experiment
from tenfold.platform.launch import Outcome, launch
from tenfold.platform.registry import Method, get_method, methods
from tenfold.platform.study import resolve_study
from tenfold.platform.trial_files import newest_checkpoint

# Of a result and a record, what tells of the process and the clock and not of the method.
_NOT_OF_THE_METHOD = {
    "date",
    "experiment",
    "experiment_id",
    "hostname",
    "journal",
    "node_ip",
    "pid",
    "run_dir",
    "timestamp",
    "trial_dir",
    "trial_id",
}

PLANNING = {
    name: method
    for name, method in methods().items()
    if hasattr(method.load_trainable(), "needs_actors")
}


def run(uri: str, method: Method, name: str, **fields: Any) -> Outcome:
    fields = {"seeds": 2, "config": method.smoke, "resources": {"concurrent": 1}, **fields}
    fields["stop"] = {"training_iteration": 3}
    experiment = make_experiment({"method": method.name, "name": name, **fields})
    return launch(resolve_study(experiment), uri)


def recorded(uri: str, name: str) -> dict[str, Run]:
    """Trials by seed."""
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(name)
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id], "tags.kind = 'trial'")
    return {trial.data.tags["seed"]: trial for trial in found}


def told(result: dict[str, Any]) -> dict[str, Any]:
    """What a result or a record says of the method."""
    return {
        key: value
        for key, value in result.items()
        if key not in _NOT_OF_THE_METHOD
        and not key.startswith(("time_", "timers", "perf", "mlflow."))
        and not key.endswith("seconds")
    }


@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize("name", sorted(PLANNING))
def test_results_records_and_checkpoints_equal_those_of_actors(
    name: str, runs: Path, request: pytest.FixtureRequest
) -> None:
    method, uri = PLANNING[name], f"sqlite:///{runs}/mlflow.db"
    assert run(uri, method, "actors").failed == 0
    request.getfixturevalue("in_process")
    assert run(uri, method, "here").failed == 0
    actors, here = recorded(uri, "actors"), recorded(uri, "here")
    assert set(actors) == set(here) == {"0", "1"}
    for seed, trial in here.items():
        other = actors[seed]
        folder, its = (Path(each.data.tags["trial_dir"]) for each in (trial, other))
        lines, theirs = ((f / "result.json").read_text().splitlines() for f in (folder, its))
        assert len(lines) == len(theirs) == 3
        for line, twin in zip(lines, theirs, strict=True):
            np.testing.assert_equal(told(json.loads(line)), told(json.loads(twin)))
        assert trial.data.params == other.data.params
        np.testing.assert_equal(told(trial.data.metrics), told(other.data.metrics))
        assert told(trial.data.tags) == told(other.data.tags)
        kept = [sorted(each.name for each in f.glob("checkpoint_*")) for f in (folder, its)]
        assert kept[0] == kept[1] != []
        plans = [newest_checkpoint(each) for each in (folder, its)]
        with np.load(plans[0] / "plan.npz") as plan, np.load(plans[1] / "plan.npz") as twin:
            assert set(plan.files) == set(twin.files)
            for key in plan.files:
                np.testing.assert_array_equal(plan[key], twin[key])


def test_one_trial_after_another_starts_no_ray(
    tenfold: Tenfold, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path / "ray"))
    done = tenfold("run", "ucb1", "--seeds", 2, "--cpus", 1, "--stop", "pulls=2000")
    assert done.returncode == 0, done.stderr
    assert "2 trials, 0 failed" in done.stdout
    assert not (tmp_path / "ray").exists()


@pytest.mark.usefixtures("in_process")
def test_a_trial_that_raises_fails_alone(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    method, uri = get_method("ucb1"), f"sqlite:///{runs}/mlflow.db"
    algorithm = method.load_trainable()
    steps: list[int] = []

    def training_step(self: Any) -> None:
        steps.append(self.config.seed)
        if self.config.seed == 0:
            raise ArithmeticError("no such arm")
        train(self)

    train = algorithm.training_step
    monkeypatch.setattr(algorithm, "training_step", training_step)
    outcome = run(uri, method, "here")
    assert (outcome.trials, outcome.failed, outcome.unfinished) == (2, 1, 0)
    assert steps == [0, 1, 1, 1]  # what the method raises is not tried again
    failed, well = recorded(uri, "here")["0"], recorded(uri, "here")["1"]
    assert (failed.info.status, well.info.status) == ("FAILED", "FINISHED")
    error = Path(failed.data.tags["trial_dir"], "error.txt").read_text()
    assert "ArithmeticError: no such arm" in error
