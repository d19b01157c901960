"""Every method with every scheduler and search, on its own spaces: it runs, and is recorded truly.

A sweep goes through `launch` as `tenfold sweep` does it, with Tune's controller, MLflow and the
method's smoke config; its trials run in this process one after another. It is held to this: no
trial fails, and MLflow's parameters of each trial are the config that it trained with, the swept
keys among them. For an RLlib algorithm that config is in the trial's last result; a training loop's
is built from the trial's `params.json`. Costs about three minutes of one core.
"""

import ast
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from ray import tune

from tenfold.platform import launch as launching
from tenfold.platform.configuration import build_config, flatten
from tenfold.platform.errors import InputError
from tenfold.platform.experiment import make_experiment
from tenfold.platform.launch import launch
from tenfold.platform.registry import Method, methods
from tenfold.platform.study import Study, resolve_study

pytestmark = pytest.mark.usefixtures("ray_session", "in_process", "one_after_another")

METHODS = methods()
SCHEDULERS, SEARCHES = ("asha", "median", "pbt"), ("random", "grid", "optuna")
# Both choose the values; and what is listed in these methods' spaces may not change in mid-run.
TWO_CHOOSE = "both choose the values of the swept keys"
REFUSED = {(name, "pbt", "optuna"): TWO_CHOOSE for name in METHODS} | {
    (name, "pbt", "grid"): "may change there" for name in ("omnet", "omnet_dqn", "omnet_td3")
}

SMALLER = {"lcm": {"sample_steps": (1,)}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One store for all: to set one up takes as long as a sweep."""
    return tmp_path_factory.mktemp("sweeps")


@pytest.fixture
def one_after_another(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENFOLD_RUNS", str(folder))
    monkeypatch.setattr(launching, "_is_one_after_another", lambda study, local: True)


def sweeps(method: Method, scheduler: str, search: str) -> Iterator[dict[str, Any]]:
    """Small sweeps of the spaces that a scheduler and a search may take, fitting ones first."""
    population, grid = scheduler == "pbt", search == "grid"
    config = {**method.smoke, **SMALLER.get(method.name, {})}
    swept = {name: space.define(tune) for name, space in method.load_spaces().items()}

    def last(name: str) -> tuple[bool, bool, float]:
        fixed = not swept[name].keys() <= set(method.adjustable)
        return population and fixed, not method.smoke.keys().isdisjoint(swept[name]), size(name)

    def size(name: str) -> float:
        """Points of a grid."""
        return math.prod(len(getattr(d, "categories", "a" * 99)) for d in swept[name].values())

    for name in sorted(swept, key=last):
        yield {
            "name": f"{method.name}-{scheduler}-{search}",
            "method": method.name,
            "config": {key: each for key, each in config.items() if key not in swept[name]},
            "space": name,
            "scheduler": scheduler,
            "search": search,
            "stop": {"training_iteration": 3 if population else 2},
            "samples": None if grid else 2,
            "checkpoint": {"every": 1},
            "resources": {"cpus": 8},
        }


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS.keys())
def test_a_sweep_runs_and_records_what_was_trained(
    method: Method, scheduler: str, search: str, folder: Path
) -> None:
    uri, refusals = f"sqlite:///{folder}/mlflow.db", []
    for fields in sweeps(method, scheduler, search):
        try:
            study = resolve_study(make_experiment(fields))
            outcome = launch(study, uri)
            break
        except InputError as error:
            refusals.append(str(error))
    else:
        expected = REFUSED.get((method.name, scheduler, search))
        assert expected is not None, refusals
        assert any(expected in refusal for refusal in refusals)
        return
    assert (method.name, scheduler, search) not in REFUSED
    client = MlflowClient(uri)
    found = client.get_experiment_by_name(study.experiment.name)
    assert found is not None
    trials = client.search_runs([found.experiment_id], "tags.kind = 'trial'")
    assert outcome.trials == len(trials) >= 2
    assert (outcome.failed, outcome.unfinished) == (0, 0)
    for trial in trials:
        check_record(study, trial)
    reported = [
        [line["training_iteration"] for line in results(Path(trial.data.tags["trial_dir"]))]
        for trial in trials
    ]
    # A scheduler may stop some, but never all; what was paused has all its lines.
    assert fields["stop"]["training_iteration"] in {numbers[-1] for numbers in reported}
    for numbers in reported:
        assert scheduler == "pbt" or numbers == [*range(1, numbers[-1] + 1)]


def check_record(study: Study, trial: Run) -> None:
    """A trial's record tells what it trained with."""
    folder, told = Path(trial.data.tags["trial_dir"]), trial.data.params
    assert trial.info.status == "FINISHED"
    point = json.loads((folder / "params.json").read_text())
    trained = trained_config(study, folder, point)
    for key in study.domains:
        assert key in told
        assert same(told[key]) == same(str(point[key])), key
    for key, text in told.items():
        assert key in trained
        assert same(text) == same(str(trained[key])), key


def results(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "result.json").read_text().splitlines()]


def trained_config(study: Study, folder: Path, point: dict[str, Any]) -> dict[str, Any]:
    """The config of a trial's last iteration, flat."""
    last = results(folder)[-1]
    if not last["config"]:
        at = study.point(point)
        built = build_config(study.method, at.task, at.variant, at.overrides, at.seed)
        return flatten(built.to_dict())
    return flatten(last["config"])


def same(text: str) -> str:
    """A value's text so that equal values have equal texts: JSON has lists for tuples."""
    try:
        return json.dumps(ast.literal_eval(text), sort_keys=True)
    except (ValueError, SyntaxError):
        return text
