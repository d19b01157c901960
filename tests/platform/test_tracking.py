"""The record of a trial: what is not finite, what changed, whatever breaks on the way (15 s)."""

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import sqlalchemy.exc
from mlflow import MlflowClient

from tenfold.platform import tracking
from tenfold.platform.experiment import make_experiment
from tenfold.platform.journal import Journal, deliver_all, journals
from tenfold.platform.registry import get_method
from tenfold.platform.score import search_score
from tenfold.platform.study import Study, resolve_study
from tenfold.platform.tracking import DIVERGED, TRACKING_FOLDER, Tracker
from tenfold.platform.trial import SCORE, trial_class


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db"


def tracker_of(run_dir: Path, uri: str, offline: bool = True, **fields: Any) -> Tracker:
    experiment = make_experiment({"method": "ucb1", "name": run_dir.name, **fields})
    (run_dir / "experiment.yaml").write_text("method: ucb1\n")
    tracker = Tracker(resolve_study(experiment), run_dir, uri, offline)
    tracker.open()
    return tracker


def trial_in(run_dir: Path, **config: Any) -> Any:
    point = {"task": "two-arms", "variant": "ucb1", "seed": 0, **config}
    return SimpleNamespace(
        trial_id="t1",
        config=point,
        path=str(run_dir / "t1"),
        local_path=str(run_dir / "t1"),
        status="TERMINATED",
        last_result={"done": True},
    )


def delivered(tracker: Tracker) -> Any:
    """The trial's MLflow run."""
    deliver_all(journals(tracker.run_dir / TRACKING_FOLDER), tracker.uri)
    run_id = Journal(tracker.run_dir / TRACKING_FOLDER, "t1").run_id()
    assert run_id is not None
    return MlflowClient(tracking_uri=tracker.uri).get_run(run_id)


def test_a_metric_that_is_not_finite_stays_in_the_record_and_marks_the_run(
    tmp_path: Path, uri: str
) -> None:
    tracker, trial = tracker_of(tmp_path, uri), trial_in(tmp_path)
    tracker.log_trial_start(trial)
    for pulls, regret in ((50, 4.9), (100, math.nan), (150, math.inf)):
        tracker.log_trial_result(1, trial, {"pulls": pulls, "regret": regret})
    tracker.log_trial_end(trial)
    run = delivered(tracker)
    assert run.data.tags[DIVERGED] == "100"
    client = MlflowClient(tracking_uri=tracker.uri)
    history = {m.step: m.value for m in client.get_metric_history(run.info.run_id, "regret")}
    assert history[50] == 4.9
    assert math.isnan(history[100])
    assert history[150] > 1e300
    assert run.data.metrics["regret"] != 4.9


def test_a_run_that_is_finite_again_is_not_marked_any_more(tmp_path: Path, uri: str) -> None:
    tracker, trial = tracker_of(tmp_path, uri), trial_in(tmp_path)
    tracker.log_trial_start(trial)
    for pulls, regret in ((50, math.nan), (100, 4.9)):
        tracker.log_trial_result(1, trial, {"pulls": pulls, "regret": regret})
    assert delivered(tracker).data.tags[DIVERGED] == ""


def test_a_resumed_run_keeps_the_step_since_which_it_diverged(tmp_path: Path, uri: str) -> None:
    trial = trial_in(tmp_path)
    for pulls in (50, 100):
        tracker = tracker_of(tmp_path, uri)
        tracker.log_trial_start(trial)
        tracker.log_trial_result(1, trial, {"pulls": pulls, "regret": math.nan})
    assert delivered(tracker).data.tags[DIVERGED] == "50"


def test_an_iteration_without_an_episode_is_no_divergence(tmp_path: Path) -> None:
    experiment = make_experiment({"method": "ppo"})
    (tmp_path / "experiment.yaml").write_text("method: ppo\n")
    tracker = Tracker(resolve_study(experiment), tmp_path, "sqlite:///none.db", offline=True)
    trial = trial_in(tmp_path)
    trial.config |= {"task": "CartPole-v1", "variant": "ppo"}
    tracker.log_trial_start(trial)
    steps = {"num_env_steps_sampled_lifetime": 10}
    empty = {"episode_return_mean": math.nan, "num_episodes": 0}
    tracker.log_trial_result(1, trial, {**steps, "env_runners": empty})
    journal = Journal(tmp_path / TRACKING_FOLDER, "t1")
    assert journal.last_tag(DIVERGED) == ""
    broken = {"learners": {"default_policy": {"total_loss": math.nan}}}
    later = {"num_env_steps_sampled_lifetime": 20}
    tracker.log_trial_result(2, trial, {**later, "env_runners": empty, **broken})
    assert journal.last_tag(DIVERGED) == "20"


@pytest.mark.parametrize(("method", "mode"), [("ucb1", "min"), ("ppo", "max")])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_search_ranks_what_diverged_last(method: str, mode: str, value: float) -> None:
    declared = get_method(method)
    assert declared.mode == mode
    finite = [search_score([(1.0, each)], declared) for each in (-1e9, 0.0, 1e9)]
    broken = search_score([(1.0, 0.0), (2.0, value)], declared)
    better = min if mode == "min" else max
    assert better([broken, *finite]) != broken
    assert all(better(broken, each) == each for each in finite)


@pytest.mark.usefixtures("ray_session")
def test_a_trial_reports_its_score_and_ends_by_the_experiments_rule() -> None:
    experiment = make_experiment(
        {"method": "ucb1", "config": {"pulls_per_iteration": 20}, "stop": {"pulls": 40}}
    )
    trial = trial_class(resolve_study(experiment))(
        {"task": "two-arms", "variant": "ucb1", "seed": 0}
    )
    first, second = trial.train(), trial.train()
    assert (first["done"], second["done"]) == (False, True)
    assert first[SCORE] == first["regret"]


@pytest.mark.usefixtures("ray_session")
def test_a_noisy_methods_score_is_its_mean_over_the_last_tenth_also_after_a_resume(
    tmp_path: Path,
) -> None:
    experiment = make_experiment({"method": "ucb1", "config": {"pulls_per_iteration": 1}})
    noisy = replace(get_method("ucb1"), score="tail_mean", metric="regret")
    point = {"task": "two-arms", "variant": "ucb1", "seed": 0}
    trial = trial_class(Study(experiment, noisy, {}))(point)
    results = [trial.train() for _ in range(30)]
    assert results[-1][SCORE] == pytest.approx(np.mean([r["regret"] for r in results[-3:]]))
    trial.save_checkpoint(str(tmp_path))
    resumed = trial_class(Study(experiment, noisy, {}))(point)
    resumed.load_checkpoint(str(tmp_path))
    further = resumed.train()
    tail = [result["regret"] for result in (*results[-3:], further)]
    assert further[SCORE] == pytest.approx(np.mean(tail))


def test_a_population_is_recorded_as_it_was_trained(tmp_path: Path, uri: str) -> None:
    tracker = tracker_of(tmp_path, uri, space="default", scheduler="pbt")
    trial = trial_in(tmp_path, c=1.0)
    tracker.log_trial_start(trial)
    tracker.log_trial_result(1, trial, {"pulls": 50, "regret": 3.0})
    trial.config = {**trial.config, "c": 1.2}  # as Tune does before it tells of the result
    tracker.log_trial_result(2, trial, {"pulls": 100, "regret": 2.0})
    tracker.log_trial_result(3, trial, {"pulls": 150, "regret": 1.0})
    tracker.log_trial_end(trial)
    run = delivered(tracker)
    assert run.data.params["c"] == "1.2"
    client = MlflowClient(tracking_uri=tracker.uri)
    swept = [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, "config/c")]
    assert swept == [(50, 1.0), (100, 1.0), (150, 1.2)]
    told = json.loads(
        Path(client.download_artifacts(run.info.run_id, "perturbations.json")).read_text()
    )
    assert told == [{"after_step": 100, "changes": {"c": [1.0, 1.2]}}]


def test_pictures_in_a_checkpoint_are_seen_while_a_method_trains(tmp_path: Path, uri: str) -> None:
    tracker, trial = tracker_of(tmp_path, uri), trial_in(tmp_path)
    tracker.log_trial_start(trial)
    trial.checkpoint = SimpleNamespace(path=str(tmp_path / "checkpoint_0"))
    (tmp_path / "checkpoint_0" / "student").mkdir(parents=True)
    for pulls in (50, 100):
        (tmp_path / "checkpoint_0" / "student" / "grid.png").write_bytes(b"%d" % pulls)
        tracker.log_trial_result(1, trial, {"pulls": pulls, "regret": 1.0})
        tracker.log_trial_save(trial)
    client, run_id = MlflowClient(tracking_uri=uri), delivered(tracker).info.run_id
    first = client.download_artifacts(run_id, "grid-00000050.png")
    second = client.download_artifacts(run_id, "grid-00000100.png")
    assert (Path(first).read_bytes(), Path(second).read_bytes()) == (b"50", b"100")


@pytest.mark.parametrize(
    "error",
    [
        sqlalchemy.exc.OperationalError("select", {}, Exception("database is locked")),
        json.JSONDecodeError("Expecting value", "<html>", 0),
        KeyError("run"),
        TimeoutError("timed out"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_whatever_the_store_raises_the_run_goes_on_and_keeps_its_records(
    error: Exception, tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    tracker, trial = tracker_of(tmp_path, uri, offline=False), trial_in(tmp_path)

    def broken(*args: Any) -> int:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(tracking, "deliver_all", broken)
        tracker.log_trial_start(trial)
        tracker.log_trial_result(1, trial, {"pulls": 50, "regret": 3.0})
    assert tracker.undelivered
    printed = capsys.readouterr().out
    assert len(printed.splitlines()) == 1
    assert "tenfold sync" in printed
    assert delivered(tracker).data.metrics == {"regret": 3.0}


def test_a_delivery_reads_only_what_the_store_does_not_have(tmp_path: Path, uri: str) -> None:
    tracker, trial = tracker_of(tmp_path, uri), trial_in(tmp_path)
    tracker.log_trial_start(trial)
    for pulls in range(300):
        tracker.log_trial_result(1, trial, {"pulls": pulls, "regret": 1.0})
    delivered(tracker)
    journal = Journal(tmp_path / TRACKING_FOLDER, "t1")
    # What was sent is no longer looked at, so that nothing is lost if it cannot be read.
    journal.path.write_bytes(b"\n".rjust(journal.path.stat().st_size, b"x"))
    journal.metrics(300, {"regret": 2.0})
    assert journal.waiting() == 1
    assert delivered(tracker).data.metrics == {"regret": 2.0}


def test_a_record_after_a_torn_line_is_kept(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "t1")
    journal.metrics(1, {"regret": 1.0})
    with journal.path.open("a") as file:
        file.write('{"op": "metrics", "step": 2, "val')
    journal.metrics(3, {"regret": 3.0})
    assert journal.last_step() == 3
    assert journal.waiting() == 2


def test_two_processes_may_be_the_first_in_a_store(tmp_path: Path) -> None:
    """They start together in a fresh store: none fails, and both records are there."""
    code = (
        "import sys; from pathlib import Path; from tenfold.platform.journal import *; "
        "journal = Journal(Path(sys.argv[1]), 'sweep'); "
        "journal.start('first', 'a run', {'kind': 'sweep'}); deliver_all([journal], sys.argv[2])"
    )
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    both = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path / name), uri], stderr=subprocess.PIPE
        )
        for name in ("one", "two")
    ]
    for process in both:
        _, said = process.communicate()
        assert process.returncode == 0, said.decode()
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("first")
    assert experiment is not None
    assert len(client.search_runs([experiment.experiment_id])) == 2
