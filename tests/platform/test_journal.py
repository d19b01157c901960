"""Journals reach the store whole, in order and once, whatever fails on the way."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from tenfold.platform.journal import Journal, deliver_all, journals


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db"


class FailingClient(MlflowClient):
    """A client whose connection breaks before or after given calls reach the store."""

    def __init__(self, uri: str, breaks: list[tuple[int, bool]]) -> None:
        super().__init__(tracking_uri=uri)
        self.calls = 0
        self.breaks = dict(breaks)

    def _before(self) -> bool | None:
        self.calls += 1
        if self.breaks.get(self.calls) is True:
            raise MlflowException("connection refused")
        return self.breaks.get(self.calls)

    def _after(self, breaks: bool | None) -> None:
        if breaks is False:
            raise MlflowException("connection reset")

    def create_run(self, *args: Any, **kwargs: Any) -> Any:
        breaks = self._before()
        result = super().create_run(*args, **kwargs)
        self._after(breaks)
        return result

    def log_batch(self, *args: Any, **kwargs: Any) -> Any:
        breaks = self._before()
        result = super().log_batch(*args, **kwargs)
        self._after(breaks)
        return result

    def set_terminated(self, *args: Any, **kwargs: Any) -> Any:
        breaks = self._before()
        result = super().set_terminated(*args, **kwargs)
        self._after(breaks)
        return result


def write(folder: Path, experiment: str, steps: int) -> tuple[Journal, Journal]:
    parent, child = Journal(folder, "sweep"), Journal(folder, "trial")
    parent.start(experiment, "the sweep", {"kind": "sweep"})
    child.start(experiment, "the trial", {"kind": "trial"}, {"c": 0.5}, parent="sweep")
    for step in range(steps):
        child.metrics(step, {"loss": 1.0 / (1 + step), "step_squared": float(step**2)})
    child.status("FINISHED")
    parent.status("FINISHED")
    return parent, child


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    breaks=st.lists(st.tuples(st.integers(1, 9), st.booleans()), max_size=5),
    steps=st.integers(0, 9),
)
def test_every_record_arrives_once_however_the_connection_breaks(
    breaks: list[tuple[int, bool]],
    steps: int,
    uri: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("tracking")
    parent, child = write(folder, folder.name, steps)
    client = FailingClient(uri, breaks)
    for _ in range(len(breaks) + 1):
        try:
            for journal in (parent, child):
                journal.deliver(client, uri)
            break
        except MlflowException:
            continue

    assert parent.waiting() == child.waiting() == 0
    experiment = client.get_experiment_by_name(folder.name)
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    by_kind = {run.data.tags["kind"]: run for run in runs}
    assert len(runs) == 2
    trial = by_kind["trial"]
    assert trial.data.tags["mlflow.parentRunId"] == by_kind["sweep"].info.run_id
    assert trial.data.params == {"c": "0.5"}
    assert [run.info.status for run in runs] == ["FINISHED", "FINISHED"]
    history = client.get_metric_history(trial.info.run_id, "step_squared")
    assert [(m.step, m.value) for m in history] == [(step, float(step**2)) for step in range(steps)]


def test_a_line_torn_by_a_crash_is_left_out(tmp_path: Path) -> None:
    _, child = write(tmp_path, "torn", 3)
    lines = child.waiting()
    with child.path.open("a") as file:
        file.write('{"op": "metrics", "step": 3, "val')
    assert Journal(tmp_path, "trial").waiting() == lines
    assert child.last_step() == 2


def test_more_metrics_than_one_request_may_hold_arrive_in_order(tmp_path: Path, uri: str) -> None:
    _, child = write(tmp_path, "long", 1_100)
    deliver_all(journals(tmp_path), uri)
    client = MlflowClient(tracking_uri=uri)
    run_id = child.run_id()
    assert run_id is not None
    steps = [metric.step for metric in client.get_metric_history(run_id, "loss")]
    assert steps == list(range(1_100))


@pytest.mark.parametrize("broken", ["write_text", "replace"])
def test_a_crash_while_the_place_is_noted_leaves_the_former_one(
    broken: str, tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = MlflowClient(tracking_uri=uri)
    journal = Journal(tmp_path, "trial")
    journal.start(f"crashed in {broken}", "the trial", {})
    journal.deliver(client, uri)
    journal.metrics(1, {"loss": 0.5})
    whole = getattr(Path, broken)

    def crash(self: Path, *args: Any) -> None:
        if broken == "write_text":
            whole(self, "")  # opened, and emptied by that
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, broken, crash)
        with pytest.raises(KeyboardInterrupt):
            journal.deliver(client, uri)
    assert Journal(tmp_path, "trial").waiting() == 1
    Journal(tmp_path, "trial").deliver(client, uri)
    run_id = journal.run_id()
    assert run_id is not None
    history = client.get_metric_history(run_id, "loss")
    assert [(m.step, m.value) for m in history] == [(1, 0.5)]
