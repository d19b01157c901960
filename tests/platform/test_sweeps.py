"""Sweeps: what is asked for is what is run, by every search and scheduler, for every seed."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import invoke
from mlflow import MlflowClient
from mlflow.entities import Run

from tenfold.platform.errors import InputError
from tenfold.platform.evaluate import evaluate
from tenfold.platform.experiment import load_experiment, make_experiment
from tenfold.platform.launch import EXPERIMENT_FILE, Outcome, _new_run_dir, launch
from tenfold.platform.registry import get_method
from tenfold.platform.store import runs_folder
from tenfold.platform.study import resolve_study


@pytest.fixture
def uri(runs: Path) -> str:
    return f"sqlite:///{runs}/mlflow.db"


def run(uri: str, resume: bool = False, **fields: object) -> Outcome:
    config = {"pulls_per_iteration": 50, **fields.pop("config", {})}  # type: ignore[dict-item]
    defaults = {"method": "ucb1", "stop": {"pulls": 150}, "resources": {"concurrent": 1}}
    experiment = make_experiment({**defaults, "config": config, **fields})
    return launch(resolve_study(experiment), uri, resume=resume)


def trials(uri: str, name: str = "ucb1") -> list[Run]:
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name(name)
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id], "tags.kind = 'trial'"))


def cells(found: list[Run]) -> set[tuple[str, str, str]]:
    return {(r.data.tags["task"], r.data.tags["variant"], r.data.tags["seed"]) for r in found}


@pytest.mark.usefixtures("ray_session")
def test_a_run_is_the_product_of_tasks_variants_and_seeds(uri: str) -> None:
    """By two actors at once; the sweeps below run in this process, as `test_in_process.py` lets."""
    fields = {"task": ["two-arms", "ten-arms"], "variant": ["ucb1", "greedy"], "seeds": [3, 5]}
    outcome = run(uri, **fields, resources={"concurrent": 2})
    assert (outcome.trials, outcome.failed, outcome.unfinished) == (8, 0, 0)
    found = trials(uri)
    expected = {
        (task, variant, seed)
        for task in ("two-arms", "ten-arms")
        for variant in ("ucb1", "greedy")
        for seed in ("3", "5")
    }
    assert len(found) == 8
    assert cells(found) == expected
    for trial in found:
        # Defaults are recorded too, so that one can filter by any key of the method.
        factor = "0.0" if trial.data.tags["variant"] == "greedy" else "2.0"
        assert trial.data.params == {"pulls_per_iteration": "50", "c": factor}
        assert trial.data.tags["step_unit"] == "pulls"
        assert trial.info.status == "FINISHED"
        artifacts = MlflowClient(tracking_uri=uri).list_artifacts(trial.info.run_id)
        assert {item.path for item in artifacts} == {"config.yaml", "result.json"}


def test_runs_that_start_in_the_same_second_have_folders_of_their_own(
    uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "strftime", lambda form: "20260101-000000")
    with ThreadPoolExecutor(2) as starts:
        experiment = make_experiment({"method": "ucb1"})
        storage = runs_folder() / "tune"
        made = set(starts.map(lambda _: _new_run_dir(storage, experiment), range(20)))
    assert len(made) == 20
    assert all(load_experiment(folder / EXPERIMENT_FILE) == experiment for folder in made)


@pytest.mark.usefixtures("in_process")
def test_the_same_experiment_twice_gives_equal_metrics(uri: str) -> None:
    for name in ("first", "second"):
        run(uri, name=name, seeds=2)
    histories = []
    for name in ("first", "second"):
        client = MlflowClient(tracking_uri=uri)
        by_seed = {trial.data.tags["seed"]: trial.info.run_id for trial in trials(uri, name)}
        histories.append(
            {
                seed: [(m.step, m.value) for m in client.get_metric_history(run_id, "regret")]
                for seed, run_id in by_seed.items()
            }
        )
    assert histories[0] == histories[1]
    assert [step for step, _ in histories[0]["0"]] == [50, 100, 150]
    assert histories[0]["0"] != histories[0]["1"]


def sampled(found: list[Run]) -> dict[str, set[str]]:
    """Values of the swept key by seed."""
    values: dict[str, set[str]] = {}
    for trial in found:
        values.setdefault(trial.data.tags["seed"], set()).add(trial.data.params.get("c", "2.0"))
    return values


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize("search", ["random", "optuna"])
def test_every_sampled_point_runs_with_every_seed(uri: str, search: str) -> None:
    outcome = run(uri, space="default", search=search, samples=3, seeds=2)
    assert (outcome.trials, outcome.failed) == (6, 0)
    values = sampled(trials(uri))
    assert set(values) == {"0", "1"}
    assert values["0"] == values["1"]
    assert len(values["0"]) == 3
    assert all(0.1 <= float(value) <= 10.0 for value in values["0"])


@pytest.mark.usefixtures("in_process")
def test_grid_search_runs_every_choice_once_a_seed(uri: str) -> None:
    outcome = run(uri, space="smoke", search="grid", seeds=2)
    assert outcome.trials == 4
    assert sampled(trials(uri)) == {"0": {"0.5", "2.0"}, "1": {"0.5", "2.0"}}


def last_step(uri: str, trial: Run) -> int:
    history = MlflowClient(tracking_uri=uri).get_metric_history(trial.info.run_id, "regret")
    return max(metric.step for metric in history)


@pytest.mark.usefixtures("in_process")
def test_a_population_stays_within_its_task_and_its_record_is_true(uri: str) -> None:
    outcome = run(
        uri,
        task=["two-arms", "ten-arms"],
        space="default",
        scheduler="pbt",
        samples=4,
        checkpoint={"every": 1, "keep": 4},
        stop={"pulls": 400},
    )
    assert (outcome.trials, outcome.failed) == (8, 0)
    found = trials(uri)
    changed = 0
    for trial in found:
        folder = Path(trial.data.tags["trial_dir"])
        trained = json.loads((folder / "params.json").read_text())
        assert trained["task"] == trial.data.tags["task"]
        assert folder.name.startswith(trial.data.tags["task"])
        assert trial.data.params["c"] == str(trained["c"])
        assert 0.1 <= trained["c"] <= 10.0
        client = MlflowClient(tracking_uri=uri)
        names = {item.path for item in client.list_artifacts(trial.info.run_id)}
        if "perturbations.json" in names:
            file = client.download_artifacts(trial.info.run_id, "perturbations.json")
            told = json.loads(Path(file).read_text())
            assert all(set(each["changes"]) == {"c"} for each in told)
            changed += len(told)
    assert changed > 0
    assert [t.data.tags["task"] for t in found].count("two-arms") == 4


@pytest.mark.usefixtures("in_process")
def test_a_finished_run_takes_more_and_runs_only_what_is_missing(uri: str) -> None:
    """More seeds, then more samples, then more steps: one parent run, each trial once."""
    fields = {"space": "default", "samples": 2, "stop": {"pulls": 100}}
    first = run(uri, seeds=1, **fields)
    assert first.trials == 2
    before = {trial.info.run_id: trial.info.end_time for trial in trials(uri)}

    wider = run(uri, resume=True, seeds=2, **fields)
    assert (wider.run_dir, wider.trials, wider.failed) == (first.run_dir, 4, 0)
    assert sampled(trials(uri))["0"] == sampled(trials(uri))["1"]
    for trial in trials(uri):
        if trial.info.run_id in before:
            assert trial.info.end_time == before[trial.info.run_id]

    fields["samples"] = 3
    deeper = run(uri, resume=True, seeds=2, **fields)
    assert deeper.trials == 6
    values = sampled(trials(uri))
    assert values["0"] == values["1"]
    assert len(values["0"]) == 3

    fields["stop"] = {"pulls": 200}
    longer = run(uri, resume=True, seeds=2, **fields)
    assert (longer.trials, longer.failed) == (6, 0)
    found = trials(uri)
    assert len(found) == 6
    assert {last_step(uri, trial) for trial in found} == {200}
    # Trained in two parts or at once: the same.
    run(uri, name="at-once", seeds=2, **fields)
    assert sorted(t.data.metrics["regret"] for t in found) == sorted(
        t.data.metrics["regret"] for t in trials(uri, "at-once")
    )
    with pytest.raises(InputError, match="its seeds is"):
        run(uri, resume=True, seeds=[7], **fields)
    with pytest.raises(InputError, match="its stop is"):
        run(uri, resume=True, seeds=2, **{**fields, "stop": {"pulls": 50}})


@pytest.mark.usefixtures("in_process")
def test_optuna_goes_on_from_what_it_knows(uri: str) -> None:
    fields = {"space": "default", "search": "optuna", "stop": {"pulls": 50}}
    run(uri, samples=1, seeds=1, **fields)
    outcome = run(uri, resume=True, samples=2, seeds=2, **fields)
    assert (outcome.trials, outcome.failed) == (4, 0)
    values = sampled(trials(uri))
    assert values["0"] == values["1"]
    assert len(values["0"]) == 2


@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize(
    ("method", "config"),
    [
        ("ppo", {"num_env_runners": 40}),
        ("ppo", {"num_gpus_per_learner": 1}),
        ("ucb1", {"num_env_runners": 40}),
        ("qsr", {"workers": 40, "batch": 1}),
        ("qsr", {"workers": 1, "gpus_per_worker": 1.0}),
    ],
    ids=str,
)
def test_more_than_ray_has_is_refused_with_both_numbers(
    method: str, config: dict[str, object], uri: str, runs: Path
) -> None:
    experiment = make_experiment({"method": method, "config": config})
    with pytest.raises(InputError, match=r"asks for \d+ (CPU|GPU)s and Ray has \d+"):
        launch(resolve_study(experiment), uri)
    assert not any((runs / "tune").iterdir())


@pytest.mark.usefixtures("ray_session")
def test_a_learned_baseline_runs_on_a_queue_task(uri: str) -> None:
    method = get_method("ppo")
    config = {**method.smoke, "env_config.horizon": 10, "env_config.load": 0.5}
    experiment = make_experiment(
        {"method": "ppo", "task": "stationary", "config": config, "stop": {"training_iteration": 2}}
    )
    launch(resolve_study(experiment), uri)
    trial = trials(uri, "ppo")[0]
    assert trial.data.tags["task"] == "stationary"
    # The reward is minus the backlog, and at most four units arrive in a slot; RLlib counts the
    # step that resets a vectorised environment too.
    assert 10 <= trial.data.metrics["env_runners/episode_len_mean"] <= 11
    assert -4 * sum(range(12)) < trial.data.metrics["env_runners/episode_return_mean"] < 0


@pytest.mark.usefixtures("in_process")
def test_evaluation_of_a_checkpoint_is_recorded_under_its_trial(uri: str) -> None:
    experiment = make_experiment(
        {"method": "softmw", "config": {**get_method("softmw").smoke, "horizon": 1_000}}
    )
    launch(resolve_study(experiment), uri)
    trial = trials(uri, "softmw")[0]
    own = evaluate(trial.info.run_id, uri)
    again = evaluate(trial.info.run_id, uri)
    other = evaluate(trial.info.run_id, uri, task="near_critical")
    assert own.metrics == again.metrics
    assert own.metrics["slots"] == 500
    assert other.task == "near_critical"
    assert other.metrics != own.metrics
    recorded = MlflowClient(tracking_uri=uri).get_run(other.run_id)
    assert recorded.data.tags["kind"] == "evaluation"
    assert recorded.data.tags["mlflow.parentRunId"] == trial.info.run_id
    assert recorded.data.metrics == pytest.approx(other.metrics)
    with pytest.raises(InputError, match="choose a task with as many queues"):
        evaluate(trial.info.run_id, uri, task="periodic")
    shown = invoke("evaluate", trial.info.run_id, "--json")
    assert json.loads(shown.stdout)["metrics"] == own.metrics
