"""Every method with every scheduler and search, on its own spaces: what runs, and is it recorded.

    python -m experiments.schedulers
    python -m experiments.schedulers --method ppo --minutes 6

A sweep is launched as `tenfold sweep` launches it, small: the method's smoke config, two samples
and three iterations, four and four for a population, one seed, all on one Ray. A grid has as many
samples as its lists. It is held to this: no trial fails, and MLflow's parameters of each trial are
the config that its process trained with, the swept keys among them. For an RLlib algorithm that
config is in the trial's last result; a training loop's is built from the trial's `params.json`.

The space is the method's first that the scheduler and the search take; a population asks for one
whose every key may change in mid-run before all others, a grid for the smoke space. Where they take
none the refusal of the first is in the table. What the table has is not run again, except faults.
The whole table takes long: `--minutes` ends a call early, and the next goes on.
"""

import ast
import csv
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import typer
from mlflow import MlflowClient
from mlflow.entities import Run

from tenfold.platform.configuration import build_config, flatten
from tenfold.platform.errors import InputError
from tenfold.platform.experiment import make_experiment
from tenfold.platform.launch import launch
from tenfold.platform.registry import Method, get_method, methods
from tenfold.platform.spaces import contents
from tenfold.platform.study import Study, resolve_study

RESULTS = Path(__file__).parent / "results" / "schedulers"
PAIRS = list(product(("asha", "median", "pbt"), ("random", "grid", "optuna")))
FIELDS = ("method", "scheduler", "search", "outcome", "space", "trials", "changes", "reason")
OUTCOMES = ("ok", "refused", "fault")
Row = dict[str, Any]

app = typer.Typer(help=__doc__, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command()
def main(
    method: Annotated[list[str] | None, typer.Option(help="Only these; every one if none.")] = None,
    minutes: Annotated[float, typer.Option(help="Start no sweep later than this.", min=0)] = 600.0,
) -> None:
    """Launch what the table lacks, and write the table after each sweep."""
    try:
        wanted = [get_method(name) for name in method or methods()]
    except InputError as error:
        raise typer.BadParameter(str(error), param_hint="--method") from None
    rows, end = known(), time.monotonic() + 60 * minutes
    with tempfile.TemporaryDirectory(prefix="schedulers-") as folder:
        os.environ["TENFOLD_RUNS"] = folder
        for each, pair in in_turns(wanted):
            if rows.get((each.name, *pair), {}).get("outcome") in ("ok", "refused"):
                continue
            if time.monotonic() > end:
                break
            row = sweep(each, *pair, uri=f"sqlite:///{folder}/mlflow.db")
            rows[each.name, *pair] = row
            write(rows)
            print(*(f"{key}={value}" for key, value in row.items() if value != ""), flush=True)
    sys.exit(any(row["outcome"] == "fault" for row in rows.values()))


def in_turns(wanted: list[Method]) -> Iterator[tuple[Method, tuple[str, str]]]:
    """One pair of each method, then a further one: part of the table tells of all methods."""
    for turn in range(len(PAIRS)):
        for number, method in enumerate(wanted):
            yield method, PAIRS[(turn + number) % len(PAIRS)]


def sweep(method: Method, scheduler: str, search: str, uri: str) -> Row:
    """Launch one sweep; its row of the table."""
    row: Row = {"method": method.name, "scheduler": scheduler, "search": search}
    try:
        study = first_study(method, scheduler, search)
    except InputError as error:
        return row | {"outcome": "refused", "reason": str(error)}
    row |= {"space": study.experiment.space}
    try:
        done = launch(study, uri)
        if done.unfinished:  # only an interruption leaves trials behind
            raise KeyboardInterrupt
        client = MlflowClient(uri)
        found = client.get_experiment_by_name(study.experiment.name)
        assert found is not None
        trials = client.search_runs([found.experiment_id], "tags.kind = 'trial'")
        faults = [fault for trial in trials for fault in faults_of(study, trial)]
        if done.failed or not trials or len(trials) != done.trials:
            faults.insert(0, f"{done}: {len(trials)} recorded")
    except InputError as error:
        return row | {"outcome": "refused", "reason": str(error)}
    except Exception as error:  # any is a fault of the product, which the table tells
        return row | {"outcome": "fault", "reason": f"{type(error).__name__}: {error}"}
    changes = sum(map(perturbations, trials))
    row |= {"trials": len(trials), "changes": changes if scheduler == "pbt" else ""}
    return row | {"outcome": "fault" if faults else "ok", "reason": "; ".join(faults)}


def first_study(method: Method, scheduler: str, search: str) -> Study:
    """The first of a method's spaces that a scheduler and a search take.

    Raises:
        InputError: They take none; the refusal of the first.
    """
    population, grid = scheduler == "pbt", search == "grid"
    swept = {name: set(contents(space)) for name, space in method.load_spaces().items()}

    def last(name: str) -> tuple[bool, bool]:
        fixed = not swept[name] <= set(method.adjustable)
        return population and fixed, grid != (name == "smoke")

    refusals = []
    for name in sorted(swept, key=last):
        fields = {
            "name": f"{method.name}-{scheduler}-{search}",
            "method": method.name,
            "config": {key: each for key, each in method.smoke.items() if key not in swept[name]},
            "space": name,
            "scheduler": scheduler,
            "search": search,
            "stop": {"training_iteration": 4 if population else 3},
            "samples": None if grid else 4 if population else 2,
            "checkpoint": {"every": 1},
            # Logical ones: trials this small mostly wait, and a learner asks for one of its own.
            "resources": {"cpus": 8, "concurrent": 2},
        }
        try:
            return resolve_study(make_experiment(fields))
        except InputError as error:
            refusals.append(error)
    raise refusals[0]


def faults_of(study: Study, trial: Run) -> Iterator[str]:
    """What a trial's record says otherwise than its training was."""
    folder, told = Path(trial.data.tags["trial_dir"]), trial.data.params
    if trial.info.status != "FINISHED":
        cause = folder / "error.txt"
        last = cause.read_text().strip().splitlines()[-1] if cause.exists() else "no error file"
        yield f"a trial is {trial.info.status}: {last}"
        return
    point = json.loads((folder / "params.json").read_text())
    for key in study.domains:
        if key not in told or same(told[key]) != same(str(point[key])):
            yield f"{key} is {point[key]} in params.json and {told.get(key)} in MLflow"
    trained = trained_config(study, folder, point)
    for key, text in told.items():
        if key not in trained or same(text) != same(str(trained[key])):
            yield f"{key} was {trained.get(key)} in training and is {text} in MLflow"


def trained_config(study: Study, folder: Path, point: dict[str, Any]) -> dict[str, Any]:
    """The config of a trial's last iteration, flat."""
    last = json.loads((folder / "result.json").read_text().splitlines()[-1])
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


def perturbations(trial: Run) -> int:
    """How often a population changed a trial's config."""
    tags = trial.data.tags
    for file in Path(tags["run_dir"], "tracking").glob("*/perturbations.json"):
        if tags["trial_dir"].endswith(file.parent.name):
            return len(json.loads(file.read_text()))
    return 0


def known() -> dict[tuple[str, str, str], Row]:
    """The rows of an earlier call, by method, scheduler and search."""
    file = RESULTS.with_suffix(".csv")
    if not file.exists():
        return {}
    with file.open(newline="") as stream:
        return {(r["method"], r["scheduler"], r["search"]): r for r in csv.DictReader(stream)}


def write(rows: dict[tuple[str, str, str], Row]) -> None:
    """The rows as CSV, and as a page: a table of outcomes, then the reasons."""
    every = [(name, *pair) for name in methods() for pair in PAIRS]
    ordered = [rows[key] for key in every if key in rows]
    with RESULTS.with_suffix(".csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, FIELDS, restval="")
        writer.writeheader()
        writer.writerows(ordered)
    counts = {kind: sum(row["outcome"] == kind for row in ordered) for kind in OUTCOMES}
    lines = [
        "`python -m experiments.schedulers`: each method's smoke config, one seed, 2 to 4 trials.",
        f"Of {len(every)} sweeps {counts['ok']} are ok, {counts['refused']} are refused, "
        f"{counts['fault']} are faults and {len(every) - len(ordered)} were not run. In brackets: "
        "how often a population changed configs on the way.",
        "",
        "| method | " + " | ".join(" ".join(pair) for pair in PAIRS) + " |",
        "|" + "---|" * (1 + len(PAIRS)),
    ]
    for name in methods():
        cells = [cell(rows.get((name, *pair))) for pair in PAIRS]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    for kind in ("fault", "refused"):
        reasons: dict[str, list[str]] = {}
        for row in ordered:
            if row["outcome"] == kind:
                where = " ".join(row[field] for field in FIELDS[:3])
                reasons.setdefault(row["reason"], []).append(where)
        lines += ["", f"{kind}:", ""] * bool(reasons)
        lines += [f"- {reason} ({', '.join(places)})" for reason, places in reasons.items()]
    RESULTS.with_suffix(".md").write_text("\n".join(lines) + "\n")


def cell(row: Row | None) -> str:
    """What the table says of a sweep."""
    if row is None:
        return "not run"
    changes = row.get("changes", "")
    return row["outcome"] if changes == "" else f"{row['outcome']} ({changes})"


if __name__ == "__main__":
    app()
