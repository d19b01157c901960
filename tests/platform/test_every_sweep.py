"""Every method with every scheduler and search, on its own spaces: it runs, and is recorded truly.

Every combination of the three is held to be resolved, or refused for a known reason. Of what is
resolved, three sweeps a method run, so that any two of method, scheduler and search meet.

A sweep goes through `launch` as `tenfold sweep` does it, with Tune's controller, MLflow and the
method's smoke config; its trials run in this process one after another. It is held to this: no
trial fails, and MLflow's parameters of each trial are the config that it trained with, the swept
keys among them. For an RLlib algorithm that config is in the trial's last result; a training loop's
is built from the trial's `params.json`. Costs about a minute of one core.
"""

import ast
import json
import math
from collections.abc import Iterator
from itertools import product
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
EVERY_PAIR = set(product(SCHEDULERS, SEARCHES))
# Both choose the values; and what is listed in these methods' spaces may not change in mid-run.
TWO_CHOOSE = "both choose the values of the swept keys"
REFUSED = {(name, "pbt", "optuna"): TWO_CHOOSE for name in METHODS} | {
    (name, "pbt", "grid"): "may change there" for name in ("omnet", "omnet_dqn", "omnet_td3")
}
# The searches of asha, median and pbt, in turn; between them every pair that is not refused.
TURNS = (
    ("optuna", "grid", "random"),
    ("grid", "optuna", "random"),
    ("optuna", "random", "grid"),
    ("random", "optuna", "grid"),
)

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


def combinations() -> list[tuple[str, str, str]]:
    """Three for each method: its schedulers each with another search."""
    chosen = []
    for place, name in enumerate(METHODS):
        turns = (TURNS[(place + shift) % len(TURNS)] for shift in range(len(TURNS)))
        fitting = (
            [(name, *pair) for pair in zip(SCHEDULERS, searches, strict=True)] for searches in turns
        )
        chosen += next(each for each in fitting if REFUSED.keys().isdisjoint(each))
    return chosen


def test_any_two_of_scheduler_and_search_run_together() -> None:
    met = {(scheduler, search) for _, scheduler, search in combinations()}
    refused = {pair for pair in EVERY_PAIR if all((name, *pair) in REFUSED for name in METHODS)}
    assert met == EVERY_PAIR - refused
    assert len(combinations()) == len(SCHEDULERS) * len(METHODS)


def resolved(method: Method, scheduler: str, search: str) -> Study:
    """A study of the first of the method's spaces that is not refused.

    Raises:
        InputError: Every space is refused; with all reasons.
    """
    refusals = []
    for fields in sweeps(method, scheduler, search):
        try:
            return resolve_study(make_experiment(fields))
        except InputError as error:
            refusals.append(str(error))
    raise InputError(" ".join(refusals))


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS.keys())
def test_a_sweep_is_resolved_or_refused_for_a_known_reason(
    method: Method, scheduler: str, search: str
) -> None:
    expected = REFUSED.get((method.name, scheduler, search))
    if expected is None:
        assert resolved(method, scheduler, search).method is method
    else:
        with pytest.raises(InputError, match=expected):
            resolved(method, scheduler, search)


@pytest.mark.parametrize(("name", "scheduler", "search"), combinations())
def test_a_sweep_runs_and_records_what_was_trained(
    name: str, scheduler: str, search: str, folder: Path
) -> None:
    uri = f"sqlite:///{folder}/mlflow.db"
    study = resolved(METHODS[name], scheduler, search)
    outcome = launch(study, uri)
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
    assert study.experiment.stop["training_iteration"] in {numbers[-1] for numbers in reported}
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
