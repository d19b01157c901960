"""Tasks: names, files, folders and Gymnasium ids; where they lie and what travels (25 s)."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import yaml
from mlflow import MlflowClient

from tenfold.platform.errors import InputError
from tenfold.platform.experiment import make_experiment
from tenfold.platform.registry import get_method
from tenfold.platform.tasks import fingerprint, labels, pack, resolve, resolve_config

TRACE = "slot,queue,arrivals,service\n" + "".join(
    f"{slot},{queue},0.{slot % 3},{(slot + queue) % 2}\n" for slot in range(60) for queue in (0, 1)
)
SCENARIO = """\
name: recorded
queues:
  - arrivals: {kind: trace, path: recording.csv, queue: 0}
    service: {kind: bernoulli, rate: 0.9}
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_trace.csv").write_text(TRACE)
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("one text. " * 50)
    return tmp_path


@pytest.mark.parametrize("form", ["my_trace.csv", "./my_trace.csv", "texts/../my_trace.csv"])
def test_a_relative_path_becomes_absolute(here: Path, form: str) -> None:
    experiment = make_experiment({"method": "softmw", "task": form})
    assert experiment.tasks == [str(here / "my_trace.csv")]


def test_the_home_folder_is_read(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(here))
    assert resolve(get_method("softmw"), "~/my_trace.csv") == str(here / "my_trace.csv")


def test_names_and_folders_of_a_method_are_told_apart(here: Path) -> None:
    mst = get_method("mst")
    assert resolve(mst, mst.tasks[0]) == mst.tasks[0]
    assert resolve(mst, "texts/") == str(here / "texts")
    with pytest.raises(InputError, match="cannot be a task of softmw"):
        resolve(get_method("softmw"), "texts")


@pytest.mark.parametrize("task", ["a" * 400, "a/" * 300 + "x.csv", "x\0y", "x\ny", "x.csv\0"])
def test_no_text_is_too_odd_for_one_sentence(here: Path, task: str) -> None:
    for method in ("softmw", "mst", "ppo", "icvar"):
        with pytest.raises(InputError) as refusal:
            resolve(get_method(method), task)
        assert len(str(refusal.value).splitlines()) == 1
        assert len(str(refusal.value)) < 400


def test_paths_in_the_config_become_absolute(here: Path) -> None:
    (here / "tokenizer.json").write_text("{}")
    method = replace(get_method("mst"), path_keys=("tokenizer",))
    assert resolve_config(method, {"tokenizer": "tokenizer.json", "lr": 1.0}) == {
        "tokenizer": str(here / "tokenizer.json"),
        "lr": 1.0,
    }
    assert resolve_config(method, {"tokenizer": "bytes"}) == {"tokenizer": "bytes"}


def test_labels_are_short_and_differ(tmp_path: Path) -> None:
    found = labels(["switching", "/a/x.csv", "/b/x.csv", "/c/y.csv", "/" + "z" * 300])
    assert list(found)[:4] == ["switching", "x.csv", "b/x.csv", "y.csv"]
    assert list(found.values()) == [
        "switching",
        "/a/x.csv",
        "/b/x.csv",
        "/c/y.csv",
        "/" + "z" * 300,
    ]
    assert all(len(label) <= 80 for label in found)


def test_a_fingerprint_changes_with_the_content(here: Path) -> None:
    file, folder = here / "my_trace.csv", here / "texts"
    before = fingerprint(str(file)), fingerprint(str(folder))
    assert fingerprint("switching") is None
    file.write_text(TRACE.replace("0.2", "0.3"))
    (folder / "b.txt").write_text("another")
    assert fingerprint(str(file)) != before[0]
    assert fingerprint(str(folder)) != before[1]


def test_what_an_experiment_reads_travels_wherever_it_lies(here: Path) -> None:
    """A file outside the current folder, a scenario's trace, a folder and a tokenizer."""
    (here / "scenarios").mkdir()
    (here / "scenarios" / "own.yaml").write_text(
        SCENARIO.replace("recording.csv", "../my_trace.csv")
    )
    job = here / "job"
    job.mkdir()
    softmw = get_method("softmw")
    tasks = [str(here / "my_trace.csv"), str(here / "scenarios" / "own.yaml"), "switching"]
    sent, _ = pack(softmw, tasks, {}, job)
    assert not any(os.path.isabs(task) for task in sent)
    assert sent[2] == "switching"
    assert (job / sent[0]).read_text() == TRACE
    scenario = job / sent[1]
    assert scenario.read_text() == (here / "scenarios" / "own.yaml").read_text()
    assert (scenario.parent / "../my_trace.csv").resolve().read_text() == TRACE
    assert job in (scenario.parent / "../my_trace.csv").resolve().parents

    tokenizer = here / "tokenizer.json"
    tokenizer.write_text("{}")
    mst = replace(get_method("mst"), path_keys=("tokenizer",))
    sent, config = pack(mst, [str(here / "texts")], {"tokenizer": str(tokenizer), "lr": 1e-3}, job)
    assert (job / sent[0] / "a.txt").read_text().startswith("one text.")
    assert (job / config["tokenizer"]).read_text() == "{}"
    assert config["lr"] == 1e-3


OWN_ENVIRONMENT = """\
import gymnasium as gym

class Coin(gym.Env):
    observation_space = gym.spaces.Box(-1.0, 1.0, (1,))
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.observation_space.sample() * 0, {}

    def step(self, action):
        return self.observation_space.sample() * 0, float(action), True, False, {}

gym.register("Coin-v0", Coin)
"""


def test_gymnasium_ids_are_tasks_where_a_method_takes_them(here: Path) -> None:
    (here / "my_coin.py").write_text(OWN_ENVIRONMENT)
    method = replace(get_method("ppo"), gymnasium_tasks=True)
    assert resolve(method, "Taxi-v3") == "Taxi-v3"
    assert resolve(method, "my_coin:Coin-v0") == "my_coin:Coin-v0"
    with pytest.raises(InputError, match="did you mean 'Taxi-v3'"):
        resolve(method, "Taxy-v3")
    with pytest.raises(InputError, match=r"my_coinn.*cannot be imported"):
        resolve(method, "my_coinn:Coin-v0")
    with pytest.raises(InputError, match="Unknown task"):
        resolve(method, "my_coin:Coi-v7")
    job = here / "job"
    job.mkdir()
    assert pack(method, ["my_coin:Coin-v0"], {}, job)[0] == ["my_coin:Coin-v0"]
    assert (job / "my_coin.py").read_text() == OWN_ENVIRONMENT


def test_a_scenario_that_names_its_trace_absolutely_does_not_travel(here: Path) -> None:
    text = SCENARIO.replace("recording.csv", str(here / "my_trace.csv"))
    (here / "own.yaml").write_text(text)
    (here / "job").mkdir()
    with pytest.raises(InputError, match=r"by an absolute path: name it relative"):
        pack(get_method("softmw"), [str(here / "own.yaml")], {}, here / "job")


def test_a_users_own_file_runs_and_is_evaluated_by_its_relative_path(
    runs: Path,
    tenfold: Callable[..., CompletedProcess[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With TENFOLD_RUNS unset; and once more after the folder of runs has moved."""
    folder = runs.parent
    monkeypatch.delenv("TENFOLD_RUNS")
    (folder / "my_trace.csv").write_text(TRACE)
    (folder / "other.csv").write_text(TRACE.replace("0.2", "0.4"))
    ran = tenfold(
        *("run", "softmw", "--task", "my_trace.csv", "--cpus", 2),
        *("--set", "horizon=60", "--set", "slots_per_iteration=20"),
    )
    assert ran.returncode == 0, ran.stderr
    assert {path.name for path in folder.iterdir()} == {"my_trace.csv", "other.csv", "runs"}
    (trial,) = (folder / "runs" / "tune").glob("*/my_trace.csv_*")
    assert not (trial / "runs").exists()
    record = yaml.safe_load((trial.parent / "experiment.yaml").read_text())
    assert record["tasks"] == [str(folder / "my_trace.csv")]
    (folder / "runs").rename(folder / "moved")
    uri = f"sqlite:///{folder}/moved/mlflow.db"
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("softmw")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id], "tags.kind = 'trial'")
    assert run.data.tags["task"] == "my_trace.csv"
    judged = tenfold(
        "evaluate", run.info.run_id, "--task", "other.csv", "--json", "--tracking-uri", uri
    )
    assert judged.returncode == 0, judged.stderr
    assert json.loads(judged.stdout)["task"] == "other.csv"
