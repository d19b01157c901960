"""Trials whose folder is on another machine: what the store has of them serves (about 4 s)."""

import json
from pathlib import Path

import pytest
import yaml
from conftest import invoke
from mlflow import MlflowClient

from tenfold.platform.errors import InputError

EXPERIMENT = {
    "method": "softmw",
    "name": "elsewhere",
    "config": {"horizon": 60, "slots_per_iteration": 20},
    "checkpoint": {"every": 1, "keep": 1},
}


def run(folder: Path, upload: bool | None, *options: str) -> None:
    checkpoint = {**EXPERIMENT["checkpoint"], "upload": upload}
    file = folder / "elsewhere.yaml"
    file.write_text(yaml.safe_dump({**EXPERIMENT, "checkpoint": checkpoint}))
    done = invoke("run", file, *options)
    assert done.exit_code == 0, done.output


def only_trial(runs: Path) -> str:
    client = MlflowClient(tracking_uri=f"sqlite:///{runs}/mlflow.db")
    experiment = client.get_experiment_by_name("elsewhere")
    assert experiment is not None
    (trial,) = client.search_runs([experiment.experiment_id], "tags.kind = 'trial'")
    return trial.info.run_id


def evaluated(trial: str) -> dict[str, float]:
    done = invoke("evaluate", trial, "--task", "near_critical", "--json")
    assert done.exit_code == 0, done.output
    return dict(json.loads(done.stdout)["metrics"])


@pytest.mark.usefixtures("in_process")
def test_a_trial_is_evaluated_from_the_store_as_from_its_folder(runs: Path) -> None:
    run(runs.parent, upload=True)
    trial = only_trial(runs)
    here = evaluated(trial)
    (runs / "tune").rename(runs / "elsewhere")
    fetched = evaluated(trial)
    (runs / "artifacts").rename(runs / "gone")  # fetched once
    again = evaluated(trial)
    timeless = here.keys() - {"slots_per_second"}
    assert {k: here[k] for k in timeless} == {k: fetched[k] for k in timeless}
    assert {k: here[k] for k in timeless} == {k: again[k] for k in timeless}
    assert not (runs / "tune").exists()


@pytest.mark.usefixtures("in_process")
def test_without_checkpoints_in_the_store_it_is_said_how_they_come_there(runs: Path) -> None:
    run(runs.parent, upload=None)  # a store on this machine has no second copy
    trial = only_trial(runs)
    (runs / "tune").rename(runs / "elsewhere")
    refused = invoke("evaluate", trial)
    assert isinstance(refused.exception, InputError)
    assert "upload: true" in str(refused.exception)


@pytest.mark.usefixtures("in_process")
def test_a_server_is_sent_the_checkpoints_that_stay(runs: Path) -> None:
    run(runs.parent, None, "--offline", "--tracking-uri", "http://127.0.0.1:9")
    (journal,) = (file for file in runs.glob("tune/*/tracking/*.jsonl") if file.stem != "sweep")
    records = [json.loads(line) for line in journal.read_text().splitlines()]
    sent = {record["below"] for record in records if "below" in record}
    checkpoints = {f"trial/{path.name}" for path in runs.glob("tune/*/*/checkpoint_*")}
    assert checkpoints
    assert sent == {"trial", *checkpoints}
