"""What goes beside MLflow: TensorBoard, W&B, the machine (3 s, and a store that is made)."""

import struct
import sys
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from conftest import invoke
from mlflow import MlflowClient
from mlflow.entities import Run
from ray.air.integrations import wandb as integration
from tensorboardX.proto.event_pb2 import Event

from tenfold.platform import launch as launch_module
from tenfold.platform.errors import InputError
from tenfold.platform.experiment import make_experiment
from tenfold.platform.launch import Outcome, launch
from tenfold.platform.loggers import loggers
from tenfold.platform.registry import get_method
from tenfold.platform.study import resolve_study


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db"


def run(uri: str, name: str, pulls: int = 150, resume: bool = False, **fields: Any) -> Outcome:
    own = {"method": "ucb1", "stop": {"pulls": pulls}, "config": {"pulls_per_iteration": 50}}
    own["name"] = name
    return launch(resolve_study(make_experiment({**own, **fields})), uri, resume=resume)


def trial_of(uri: str, name: str) -> Run:
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name(name)
    assert experiment is not None
    (found,) = client.search_runs([experiment.experiment_id], "tags.kind = 'trial'")
    return found


def history(uri: str, name: str, key: str) -> list[tuple[int, float]]:
    found = MlflowClient(tracking_uri=uri).get_metric_history(trial_of(uri, name).info.run_id, key)
    return [(metric.step, metric.value) for metric in found]


def scalars(run_dir: Path, name: str) -> list[tuple[int, float]]:
    """Step and value of a scalar in the event files of a run."""
    found = []
    for file in sorted(run_dir.rglob("events.out.tfevents.*")):
        for event in events(file.read_bytes()):
            for value in event.summary.value:
                if value.tag == name:
                    found.append((event.step, value.simple_value))
    return found


def events(data: bytes) -> Iterator[Any]:
    """TFRecords: a length, its checksum, the record, its checksum."""
    at = 0
    while at < len(data):
        (length,) = struct.unpack_from("<Q", data, at)
        yield Event.FromString(data[at + 12 : at + 12 + length])
        at += length + 16


@pytest.mark.usefixtures("in_process", "runs")
def test_tensorboard_has_the_methods_metric_at_its_steps_also_when_it_was_asked_for_later(
    uri: str,
) -> None:
    run(uri, "board", 100)
    outcome = run(uri, "board", 200, resume=True, log="tensorboard")
    recorded = history(uri, "board", "regret")
    assert [step for step, _ in recorded] == [50, 100, 150, 200]
    assert scalars(outcome.run_dir, "ray/tune/regret") == [
        (step, pytest.approx(value)) for step, value in recorded[2:]
    ]


@pytest.mark.usefixtures("in_process", "runs")
def test_the_machine_is_recorded_over_the_methods_step_if_asked_for(uri: str) -> None:
    run(uri, "machine", system_metrics=True)
    used = history(uri, "machine", "system/system_memory_usage_megabytes")
    assert [step for step, _ in used] == [50, 100, 150]
    assert all(100 < megabytes < 1e8 for _, megabytes in used)
    assert all(
        0 <= share <= 100
        for _, share in history(uri, "machine", "system/cpu_utilization_percentage")
    )


@pytest.mark.usefixtures("in_process", "runs")
def test_nothing_else_is_recorded_unless_asked_for(uri: str) -> None:
    outcome = run(uri, "plain")
    assert set(trial_of(uri, "plain").data.metrics) == {"regret"}
    assert list(outcome.run_dir.rglob("events.out.tfevents.*")) == []


def test_a_logger_without_its_package_is_refused_before_anything_starts(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch_module, "start_ray", lambda *_: pytest.fail("Ray was started"))
    monkeypatch.setitem(sys.modules, "wandb", None)
    done = invoke("run", "ucb1", "--log", "tensorboard,wandb")
    assert isinstance(done.exception, InputError)
    assert "pip install 'tenfold[wandb]'" in str(done.exception)
    assert not (runs / "tune").exists()


def test_a_logger_that_is_none_is_refused() -> None:
    with pytest.raises(InputError, match="log"):
        make_experiment({"method": "ucb1", "log": "comet"})


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A stand-in for the package, which is no dependency."""
    module: Any = ModuleType("wandb")
    module.__spec__ = ModuleSpec("wandb", None)
    module.ensure_configured = lambda: None
    module.api = type("Api", (), {"api_key": None})
    monkeypatch.setitem(sys.modules, "wandb", module)
    monkeypatch.setattr(integration, "wandb", module)
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    return module


@pytest.mark.usefixtures("wandb")
def test_wandb_gets_the_experiments_name_as_project() -> None:
    experiment = make_experiment({"method": "ucb1", "name": "arms", "log": ["wandb"]})
    (callback,) = loggers(experiment, get_method("ucb1"))
    assert isinstance(callback, integration.WandbLoggerCallback)
    assert callback.project == "arms"


@pytest.mark.usefixtures("wandb", "runs")
def test_wandb_without_a_key_is_refused_before_anything_starts(
    uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch_module, "start_ray", lambda *_: pytest.fail("Ray was started"))
    with pytest.raises(InputError, match="WANDB_API_KEY"):
        run(uri, "arms", log=["wandb"])
