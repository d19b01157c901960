"""What the terminal says: the plan, the live line, failures, the table at the end. About 15 s.

No Ray is started: trials are Tune's own objects, runs are journals as the tracker writes them.
"""

import io
import itertools
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema
import pytest
import yaml
from conftest import ROOT, invoke
from mlflow import MlflowClient
from ray.exceptions import ActorDiedError, OutOfMemoryError, RayTaskError
from ray.tune.experiment import Trial
from rich.console import Console

from tenfold.platform import cli, launch, plan, ray_session, summary
from tenfold.platform.errors import InputError
from tenfold.platform.experiment import (
    Checkpoints,
    Experiment,
    Resources,
    load_experiment,
    make_experiment,
    read_record,
)
from tenfold.platform.faults import is_fault, only_faults_retried, reason
from tenfold.platform.launch import EXPERIMENT_FILE, Outcome, resumable_run
from tenfold.platform.progress import Progress
from tenfold.platform.registry import get_method
from tenfold.platform.schema import experiment_schema
from tenfold.platform.search import all_points
from tenfold.platform.spaces import parse_domain
from tenfold.platform.standing import groups, parameter_importances
from tenfold.platform.statistics import Estimate
from tenfold.platform.store import open_store, runs_folder
from tenfold.platform.study import resolve_study
from tenfold.platform.summary import SHOWN_ID, next_commands, print_summary
from tenfold.platform.tracking import TRACKING_FOLDER, Tracker
from tenfold.platform.trial import SCORE
from tenfold.platform.trial_files import find_trial


def experiment_of(**fields: Any) -> Experiment:
    return make_experiment({"method": "ucb1", "stop": {"pulls": 100}, **fields})


def trial_of(number: int, folder: Path | None = None, **point: Any) -> Any:
    """What Tune tells its callbacks of a trial."""
    return SimpleNamespace(
        trial_id=f"t{number}",
        config={"task": "two-arms", "variant": "ucb1", "seed": 0, **point},
        status="TERMINATED",
        last_result={},
        path=str(folder),
        local_path=str(folder),
        is_finished=lambda: False,
        run_metadata=SimpleNamespace(error_filename=None),
    )


def report(progress: Progress, trial: Any, pulls: int, regret: float) -> None:
    trial.last_result = {"pulls": pulls, SCORE: regret}
    progress.on_trial_result(1, [trial], trial, trial.last_result)


@pytest.fixture
def progress() -> Progress:
    """Of four trials, two points with two seeds each."""
    made = Progress(resolve_study(experiment_of(space={"c": [0.5, 2.0]}, seeds=2)))
    made.setup()
    return made


# The plan


def test_the_plan_counts_what_will_run_without_importing_ray(tmp_path: Path) -> None:
    experiment = experiment_of(
        tasks=["two-arms", "ten-arms"],
        variants=["ucb1", "greedy"],
        seeds=3,
        space={"c": [0.5, 1.0], "pulls_per_iteration": [10, 20]},
    )
    told = "\n".join(plan.plan(experiment, tmp_path, "sqlite:///x.db"))
    assert "48 trials" in told
    assert "ucb1 on two-arms, ten-arms; 2 variants ucb1, greedy; 3 seeds 0 to 2" in told
    assert "4 points (grid)" in told
    assert "c: [0.5, 1.0]" in told
    assert "until    100 pulls" in told
    assert str(tmp_path) in told
    assert "sqlite:///x.db" in told
    assert (
        plan.total(experiment, plan.ruled_length(experiment, get_method("ucb1")))
        == "100 pulls a trial, 4,800 in all"
    )


def test_the_plan_imports_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from tenfold.platform.plan import plan; "
        "from tenfold.platform.experiment import make_experiment; "
        "plan(make_experiment({'method': 'ppo', 'space': 'default'}), Path('x'), None); "
        "sys.exit(bool({'ray', 'torch', 'mlflow', 'pandas'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=False).returncode == 0


@pytest.mark.parametrize(
    ("fields", "trials"),
    [
        ({}, 1),
        ({"seeds": [4, 7]}, 2),
        ({"space": "default"}, 8),
        ({"space": {"c": "uniform(0, 1)"}, "samples": 5, "seeds": 2}, 10),
        ({"space": {"c": "uniform(0, 1)"}}, 10),
        ({"space": {"c": [1, 2, 3]}, "samples": 2}, 2),
    ],
)
def test_trials_are_counted_as_they_are_run(fields: dict[str, Any], trials: int) -> None:
    experiment = experiment_of(**fields)
    assert experiment.trials() == trials == len(all_points(resolve_study(experiment)))


# The live line


def test_the_line_says_how_far_all_trials_are_and_when_they_end(
    progress: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tenfold.platform import progress as module

    trials = [trial_of(number, c=0.5, seed=number) for number in range(2)]
    progress.on_step_begin(0, trials)
    report(progress, trials[0], 50, 9.0)
    report(progress, trials[1], 25, 1.0)
    progress.begin = 0.0
    monkeypatch.setattr(module.time, "monotonic", lambda: 75.0)
    # 75 of 400 pulls in 75 s; a running trial's regret is no better for being young.
    line = progress.line(80)
    assert line == "0/4 trials | 19% | 0:01:15 | 0:05:25 left | 75/400 pulls | regret 1"
    report(progress, trials[0], 100, 12.0)
    progress.on_trial_complete(1, trials, trials[0])
    assert "1/4 trials | 31%" in progress.line(80)
    assert "best regret 12" in progress.line(80)
    assert all(len(progress.line(width)) <= width for width in range(10, 120))


def test_a_trial_that_a_scheduler_ended_counts_whole_and_is_not_the_best(
    progress: Progress,
) -> None:
    trials = [trial_of(number, c=0.5, seed=number) for number in range(4)]
    for number, trial in enumerate(trials):
        report(progress, trial, 100 if number == 0 else 25, 10.0 if number == 0 else 2.0)
        progress.on_trial_complete(1, trials, trial)
    assert "4/4 trials | 100%" in progress.line(80)
    assert "best regret 10" in progress.line(80)


def test_what_ended_before_a_resume_is_counted() -> None:
    before = [trial_of(number) for number in range(2)]
    progress = Progress(resolve_study(experiment_of(seeds=4)), before)
    progress.setup()
    later = trial_of(2, seed=2)
    progress.on_step_begin(0, [later])
    report(progress, later, 50, 3.0)
    assert progress.line(80).startswith("2/4 trials | 62%")


def test_names_say_only_what_tells_trials_apart() -> None:
    point = {"task": "two-arms", "variant": "ucb1", "seed": 1, "c": 0.123456}
    trial = trial_of(1, **point)
    assert Progress(resolve_study(experiment_of())).name(trial) == "c=0.123"
    several = experiment_of(tasks=["two-arms", "ten-arms"], variants=["ucb1", "greedy"], seeds=2)
    assert Progress(resolve_study(several)).name(trial) == "two-arms ucb1 c=0.123 seed 1"
    assert Progress(resolve_study(experiment_of())).name(trial_of(2)) == "seed 0"


@pytest.mark.parametrize(("seconds", "lines"), [(0.0, 4), (6.0, 14)])
def test_plain_lines_are_few_and_end_with_the_right_count(
    progress: Progress,
    seconds: float,
    lines: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Four ends; with time between results a line at each tenth too."""
    from tenfold.platform import progress as module

    clock = itertools.count(0.0, seconds)
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(module, "_QUIET_SECONDS", 1e9)
    progress._last_line = 0.0
    progress.console.file = sys.stderr
    trials = [trial_of(number, c=0.5, seed=number) for number in range(4)]
    for trial in trials:
        for pulls in range(1, 101):
            report(progress, trial, pulls, 1.0)
        progress.on_trial_complete(1, trials, trial)
    told = capsys.readouterr().err.splitlines()
    assert len(told) == lines
    assert told[-1].endswith("regret 1 (4/4)")


# Failures


def test_a_failure_says_its_last_line_and_cause(
    progress: Progress, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    progress.console.file = sys.stderr
    trial = trial_of(1, tmp_path, c=0.5)
    text = (
        "Failure # 1 (occurred at 2026)\nray::ucb1.train()\n  File x\nKeyError: 'gain'\n\n"
        "The above exception was the direct cause of the following exception:\n\n"
        "  File y\nValueError: no gain in row 7\n"
    )
    (tmp_path / "error.txt").write_text(text)
    trial.run_metadata.error_filename = "error.txt"
    progress.on_trial_error(1, [trial], trial)
    told = capsys.readouterr().err
    assert "ValueError: no gain in row 7 (caused by KeyError: 'gain')" in told
    assert f"see {tmp_path}/error.txt" in told


def test_the_reason_is_the_last_failures() -> None:
    assert reason("Failure # 1\nOSError: a\nFailure # 2\nmodule.OwnError: b\n") == (
        "module.OwnError: b"
    )
    assert reason("The actor died.\n\tname: x") == "name: x"


def task_error(cause: Exception) -> RayTaskError:
    return RayTaskError("train", "Traceback ...", cause)


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (task_error(ValueError("no")), False),
        (task_error(task_error(ValueError("no"))), False),
        (task_error(ActorDiedError()), True),
        (task_error(OutOfMemoryError("out of memory")), True),
        (task_error(ConnectionResetError()), True),
        (ActorDiedError(), True),
        (ActorDiedError(task_error(ValueError("in __init__"))), False),
        (None, False),
    ],
)
def test_faults_are_retried_and_exceptions_are_not(
    error: RayTaskError | None, fault: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert is_fault(error) == fault
    monkeypatch.setattr(Trial, "local_path", None)
    trial = Trial("ucb1", stub=True, max_failures=3)
    original = Trial.handle_error
    with only_faults_retried():
        trial.handle_error(error)
    assert Trial.handle_error is original
    assert trial.should_recover() == fault


@pytest.mark.parametrize("kind", [RuntimeError, Exception, TypeError])
def test_a_ray_that_does_not_start_is_one_sentence(
    kind: type[Exception], runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(**options: Any) -> None:
        raise kind("The current node timed out\nduring startup.")

    monkeypatch.setattr(ray_session.ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray_session.ray, "init", fails)
    if kind is TypeError:  # a fault of this program
        with pytest.raises(TypeError, match="timed out"):
            ray_session.start_ray(experiment_of(), None)
    else:
        with pytest.raises(InputError, match=r"does not start.*timed out during startup.*doctor"):
            ray_session.start_ray(experiment_of(), None)


# The end


def finished_run(
    runs: Path, points: dict[tuple[float, int], float], offline: bool = False, **fields: Any
) -> tuple[Experiment, Outcome, str]:
    """A run in its folder, and in the store unless offline: c and seed -> regret."""
    run_dir, uri = runs / "tune" / "ucb1-20260101-000000", f"sqlite:///{runs}/mlflow.db"
    experiment = experiment_of(seeds=sorted({seed for _, seed in points}), **fields)
    run_dir.mkdir(parents=True)
    recorded = experiment.model_dump(mode="json", exclude_defaults=True)
    (run_dir / EXPERIMENT_FILE).write_text(yaml.safe_dump(recorded))
    tracker = Tracker(resolve_study(experiment), run_dir, uri, offline)
    tracker.open()
    for number, ((c, seed), regret) in enumerate(points.items()):
        folder = run_dir / f"two-arms_{number}"
        folder.mkdir()
        trial = trial_of(number, folder, seed=seed, **({"c": c} if experiment.space else {}))
        (folder / "params.json").write_text(json.dumps(trial.config))
        tracker.log_trial_start(trial)
        trial.last_result = {"pulls": 100, "regret": regret, "done": True}
        tracker.log_trial_result(1, trial, trial.last_result)
        tracker.log_trial_end(trial)
    tracker.close("FINISHED")
    return experiment, Outcome(run_dir, len(points), 0, 0, False), uri


SWEEP = {(c, seed): (c - 1) ** 2 + 0.1 * seed for c in (0.25, 0.5, 1.0, 2.0) for seed in (0, 1)}


def printed(experiment: Experiment, outcome: Outcome, uri: str) -> str:
    console = Console(width=80, record=True, file=io.StringIO())
    print_summary(experiment, outcome, uri, console)
    return console.export_text()


def test_a_sweep_ends_with_its_best_point_its_ids_and_what_comes_next(runs: Path) -> None:
    experiment, outcome, uri = finished_run(runs, SWEEP, space={"c": [0.25, 0.5, 1.0, 2.0]})
    found = groups(experiment, outcome.run_dir / TRACKING_FOLDER)
    assert [group.trials[0].swept["c"] for group in found] == [1.0, 0.5, 0.25, 2.0]
    # Two values 0.1 apart: mean +- t(1) * 0.05
    assert found[0].estimate.value == pytest.approx(0.05)
    assert found[0].estimate.high == pytest.approx(0.05 + 12.7062 * 0.05, rel=1e-4)
    assert set(parameter_importances(found)) == {"c"}
    told = printed(experiment, outcome, uri)
    best = found[0].trials[0].run_id[:SHOWN_ID]
    assert "Best (two-arms, ucb1): c=1.0" in told
    assert "Importance for regret: c 100%" in told
    [row] = [line for line in told.splitlines() if best in line and "tenfold" not in line]
    assert row.split() == ["1", "2", "0.0500", "±", "0.64", best]
    assert f"tenfold evaluate {best}" in told
    assert f"tenfold compare {outcome.run_dir.name} --by c" in told
    assert find_trial(open_store(uri), best).data.tags["seed"] == "0"


def test_a_row_of_the_summary_fits_eighty_columns(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the longest names of `icvar`, and an interval as wide as two seeds give it."""
    points = {(2.0, seed): 163.7 + 90 * seed for seed in (0, 1)}
    experiment, outcome, uri = finished_run(runs, points)
    named = SimpleNamespace(
        task="mdp/RiskyShortcut-v0", variant="icvar_l", run_id="c0ffee00", swept={}
    )
    group = SimpleNamespace(
        trials=[named] * 2, estimate=Estimate(163.7, -21.38, 348.8), value=(2.227, 2.28)
    )
    monkeypatch.setattr(summary, "groups", lambda *_: [group])
    told = printed(experiment, outcome, uri)
    assert "mdp/RiskyShortcut-v0  icvar_l      2  164 ± 190" in told
    assert "2.227 of 2.28     c0ffee00" in told


def test_the_parent_run_holds_the_best_point_and_the_counts(runs: Path) -> None:
    *_, uri = finished_run(runs, SWEEP, space={"c": [0.25, 0.5, 1.0, 2.0]})
    client = MlflowClient(tracking_uri=uri)
    kept = client.get_experiment_by_name("ucb1")
    assert kept is not None
    assert kept.tags["mlflow.experimentKind"] == "custom_model_development"
    [parent] = client.search_runs([kept.experiment_id], "tags.kind = 'sweep'")
    assert parent.info.status == "FINISHED"
    assert parent.data.metrics == {
        "best_score": pytest.approx(0.05),
        "trials": 8,
        "trials_finished": 8,
        "trials_failed": 0,
        "trials_killed": 0,
    }
    assert parent.data.tags["best.c"] == "1.0"
    best = client.get_run(parent.data.tags["best_trial"])
    assert best.data.params["c"] == "1.0"
    assert "Upper confidence bounds" in parent.data.tags["mlflow.note.content"]
    assert best.data.tags["mlflow.source.name"] == "tenfold ucb1"
    assert best.data.tags["mlflow.user"]
    assert best.data.tags["dataset"] == "two-arms"
    # A key with its default is there too, so that one can filter by it.
    found = client.search_runs([kept.experiment_id], "params.pulls_per_iteration = '500'")
    assert len(found) == 8


def test_a_run_of_variants_is_a_table_in_the_order_asked_for(runs: Path) -> None:
    experiment, outcome, uri = finished_run(
        runs, {(2.0, 0): 3.0, (2.0, 1): 5.0, (2.0, 2): 4.0}, offline=True
    )
    told = printed(experiment, outcome, uri)
    assert "two-arms" in told
    assert "4.00 ± 2.5 " in told
    assert max(map(len, told.splitlines()[:2])) <= 80
    [group] = groups(experiment, outcome.run_dir / TRACKING_FOLDER)
    assert [trial.seed for trial in group.trials] == [0, 2, 1]


def test_nothing_is_suggested_that_cannot_work_there(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment, outcome, _ = finished_run(runs, {(2.0, 0): 3.0}, offline=True)
    found = groups(experiment, outcome.run_dir / TRACKING_FOLDER)
    waiting = replace(outcome, undelivered=True)
    assert next_commands(experiment, waiting, found) == [f"tenfold sync {outcome.run_dir}"]
    [again] = next_commands(experiment, replace(outcome, failed=1), found)
    assert again == f"tenfold run {outcome.run_dir}/experiment.yaml --resume"
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    assert next_commands(experiment, outcome, found) == []


def test_a_trial_is_found_by_the_beginning_of_its_id_or_its_folder(runs: Path) -> None:
    _, outcome, uri = finished_run(runs, {(2.0, 0): 3.0, (2.0, 1): 5.0})
    client = open_store(uri)
    run_id = find_trial(client, "two-arms_1").info.run_id
    for name in (run_id, run_id[:8], f"{outcome.run_dir}/two-arms_1"):
        assert find_trial(client, name).info.run_id == run_id
    with pytest.raises(InputError, match=r"2 trials are called .*: give one of .* \(two-arms"):
        find_trial(client, outcome.run_dir.name)
    with pytest.raises(InputError, match="No run 'ffffffff0'"):
        find_trial(client, "ffffffff0")


# The command line


def test_the_version_is_said() -> None:
    assert re.fullmatch(r"tenfold \d+\.\d+\.\d+\S*\n", invoke("--version").output)


def test_a_method_shows_what_its_variants_change_and_its_spaces_hold() -> None:
    told = invoke("list", "ucb1").output
    assert "greedy: c=0.0" in told
    assert "default: c loguniform(0.1, 10.0) (8 points, random)" in told
    assert "10,000 pulls" in told
    fields = json.loads(invoke("list", "ucb1", "--json").output)[0]
    assert fields["variants"] == {"ucb1": {}, "greedy": {"c": 0.0}}
    assert fields["spaces"]["smoke"]["keys"] == {"c": "[0.5, 2.0]"}


@pytest.mark.parametrize(
    ("text", "seeds"), [("3", [0, 1, 2]), ("1,2,3", [1, 2, 3]), ("7,", [7]), ("4, 2", [4, 2])]
)
def test_seeds_are_a_number_or_a_list(text: str, seeds: list[int]) -> None:
    fields, _ = cli._options_of_run(["x.yaml", "--seeds", text])
    assert make_experiment({"method": "ucb1", **fields}).seeds == seeds


def test_names_in_a_row_are_several_and_a_path_with_a_comma_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a,b.csv").touch()
    flags = ["--task", "one,two", "--task", "a,b.csv", "--variant", "ucb1, greedy"]
    fields, _ = cli._options_of_run(["x.yaml", *flags])
    assert fields["tasks"] == ["one", "two", "a,b.csv"]
    assert fields["variants"] == ["ucb1", "greedy"]


# The file's schema


def yaml_files() -> list[Path]:
    found = (ROOT / "experiments").rglob("*.yaml")
    return sorted(path for path in found if path.name != "claims.yaml")


def test_the_schema_in_the_docs_is_the_experiments_own() -> None:
    kept = json.loads((ROOT / "docs" / "experiment.schema.json").read_text())
    made = json.loads(invoke("schema").output)
    for schema in (kept, made):  # which methods are installed is no part of it
        del schema["properties"]["method"]["examples"]
    assert kept == made, "run: tenfold schema > docs/experiment.schema.json"


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        *((path.read_text(), True) for path in yaml_files()),
        ("{method: ucb1, task: a, variant: [b], seeds: 3}", True),
        ("{method: ucb1, space: {c: 'loguniform(1e-4, 1e-2)', d: [1, x]}}", True),
        ("{method: ucb1, space: default, stop: {pulls: 3}}", True),
        ("{method: ucb1, space: {c: 'normal(0, 1)'}}", False),
        ("{method: ucb1, space: {c: 3}}", False),
        ("{seeds: 3}", False),
        ("{method: ucb1, seeds: 0}", False),
        ("{method: ucb1, sedes: 3}", False),
        ("{method: ucb1, search: best}", False),
        ("{method: ucb1, resources: {cpu: 2}}", False),
    ],
)
def test_the_schema_takes_what_a_run_takes(text: str, valid: bool) -> None:
    validator = jsonschema.Draft202012Validator(experiment_schema())
    assert validator.is_valid(yaml.safe_load(text)) == valid


def test_every_field_is_in_the_docs() -> None:
    text = (ROOT / "docs" / "experiment.md").read_text()
    for model, place in ((Experiment, ""), (Resources, "resources."), (Checkpoints, "checkpoint.")):
        for name in model.model_fields:
            assert f"`{place}{name}`" in text, f"docs/experiment.md does not tell of {place}{name}"


# Spaces of one's own


def test_a_space_in_a_file_is_read_recorded_and_read_again(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text(
        "method: ucb1\n"
        "space: {c: loguniform(1e-4, 1e-2), pulls_per_iteration: randint(1, 9), d: uniform(1, 9)}\n"
    )
    experiment = load_experiment(file)
    assert experiment.space == {
        "c": "loguniform(0.0001, 0.01)",
        "pulls_per_iteration": "randint(1, 9)",
        "d": "uniform(1, 9)",
    }
    assert experiment.search_kind() == "random"
    recorded = yaml.safe_dump(experiment.model_dump(mode="json", exclude_defaults=True))
    (tmp_path / "record.yaml").write_text(recorded)
    assert read_record(tmp_path / "record.yaml") == experiment


def test_the_values_drawn_lie_in_the_range_and_lists_are_a_grid() -> None:
    drawn = experiment_of(
        space={"c": "loguniform(1e-4, 1e-2)", "pulls_per_iteration": "randint(1, 4)"}, samples=50
    )
    points = all_points(resolve_study(drawn))
    assert all(1e-4 <= point["c"] <= 1e-2 for point in points)
    assert {point["pulls_per_iteration"] for point in points} == {1, 2, 3}
    grid = experiment_of(space={"c": [0.5, 1.0], "pulls_per_iteration": [10, 20, 30]})
    assert grid.search_kind() == "grid"
    assert len({(p["c"], p["pulls_per_iteration"]) for p in all_points(resolve_study(grid))}) == 6


@pytest.mark.parametrize(
    ("text", "kind", "values"),
    [
        ("uniform(-1, 2.5)", "uniform", (-1.0, 2.5)),
        ("loguniform( 1e-4 ,1E-2 )", "loguniform", (1e-4, 1e-2)),
        ("quniform(0, 1, .25)", "quniform", (0.0, 1.0, 0.25)),
        ("lograndint(1, 1000)", "lograndint", (1, 1000)),
    ],
)
def test_ranges_are_read_without_being_evaluated(
    text: str, kind: str, values: tuple[float, ...]
) -> None:
    domain = parse_domain("c", text)
    assert (domain.kind, domain.values) == (kind, values)
    assert parse_domain("c", str(domain)) == domain


def test_a_flag_replaces_the_files_space(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("method: ucb1\nspace: default\n")
    fields, _ = cli._options_of_run(["x.yaml", "--sweep", "c=uniform(0, 1)", "--sweep", "d=[1, 2]"])
    assert load_experiment(tmp_path / "x.yaml", fields).space == {
        "c": "uniform(0, 1)",
        "d": [1, 2],
    }


def test_a_sweep_of_an_own_space_is_resumed_with_more_samples_and_no_other_space(
    runs: Path,
) -> None:
    own = {"c": "loguniform(1e-1, 1e1)"}
    _, outcome, _ = finished_run(runs, {(1.0, 0): 3.0}, offline=True, space=own, samples=1)
    more = experiment_of(space={"c": "loguniform(0.1, 10)"}, samples=3)
    assert resumable_run(runs / "tune", more) == outcome.run_dir
    other = experiment_of(space={"c": "loguniform(0.1, 20)"}, samples=3)
    with pytest.raises(InputError, match=r"its space is .*loguniform\(0.1, 10.0\)"):
        resumable_run(runs / "tune", other)


@pytest.mark.parametrize("seed", [0, 5])
def test_a_run_named_by_its_own_record_goes_on_though_another_of_its_name_is_newer(
    seed: int, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = {0: runs / "tune" / "ucb1-20260101-000000", 5: runs / "tune" / "ucb1-20260101-000001"}
    for own, folder in folders.items():
        folder.mkdir(parents=True)
        fields = experiment_of(seeds=[own]).model_dump(mode="json", exclude_defaults=True)
        (folder / EXPERIMENT_FILE).write_text(yaml.safe_dump(fields))
    begun: list[Path] = []

    def begin(study: Any, run_dir: Path, *_: Any) -> None:
        begun.append(run_dir)
        raise InputError("Not here.")

    monkeypatch.setattr(launch, "_Run", begin)
    record = folders[seed] / EXPERIMENT_FILE
    monkeypatch.setattr(sys, "argv", ["tenfold", "run", str(record), "--resume"])
    with pytest.raises(SystemExit):
        cli.main()
    assert begun == [folders[seed]]


def test_a_run_does_not_go_on_under_another_name(runs: Path) -> None:
    _, outcome, _ = finished_run(runs, {(1.0, 0): 3.0}, offline=True)
    assert resumable_run(runs / "tune", experiment_of(), outcome.run_dir) == outcome.run_dir
    with pytest.raises(InputError, match="its name is 'ucb1', now it is 'other'"):
        resumable_run(runs / "tune", experiment_of(name="other"), outcome.run_dir)


def test_a_record_is_known_by_where_it_lies(runs: Path) -> None:
    folder = runs / "tune" / "ucb1-20260101-000000"
    assert launch.run_of(folder / EXPERIMENT_FILE) == folder
    assert launch.run_of(folder / "other.yaml") is None
    assert launch.run_of(runs / EXPERIMENT_FILE) is None


# Where a plain job's results go


def test_a_job_in_rays_package_cache_keeps_its_runs_in_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "session_1" / "runtime_resources" / "working_dir_files" / "_ray_pkg_1"
    cache.mkdir(parents=True)
    monkeypatch.delenv("TENFOLD_RUNS", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(cache)
    assert runs_folder() == tmp_path / "home" / "tenfold-runs"
    monkeypatch.setenv("TENFOLD_RUNS", str(tmp_path / "named"))
    assert runs_folder() == tmp_path / "named"
    monkeypatch.delenv("TENFOLD_RUNS")
    monkeypatch.chdir(tmp_path)
    assert runs_folder() == tmp_path / "runs"
