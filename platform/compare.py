"""`tenfold compare`: trials grouped by a tag or a swept parameter, with intervals.

Each task has its own table, since scores of different tasks have different scales. The aggregate
over tasks divides each task's scores by the size of the baseline's mean there, so it needs a
baseline that ran on every task and whose means are not 0.
"""

import csv
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import RunTag
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tenfold.platform.errors import InputError, unknown
from tenfold.platform.report import (
    ALL_TASKS,
    chance,
    draw_curves,
    draw_intervals,
    interval,
    number,
    write_html,
)
from tenfold.platform.runs import load_curve, load_trials
from tenfold.platform.statistics import (
    Estimate,
    band,
    difference_interval,
    iqm_interval,
    mean_interval,
    probability_of_improvement,
)

_DEFAULT = "(default)"


@dataclass(frozen=True)
class Row:
    """One group on one task, or over all tasks.

    Attributes:
        task: The task, or `ALL_TASKS`.
        group: Value of the tag or parameter that groups.
        seeds: Number of trials; over all tasks, their sum.
        mean: Mean over seeds.
        iqm: Interquartile mean.
        median: Median over seeds.
        difference: Mean less the baseline's; None for the baseline itself.
        paired: The difference is of equal seeds; else its interval is Welch's.
        better: Probability that a run beats one of the baseline; None for the baseline itself.
    """

    task: str
    group: str
    seeds: int
    mean: Estimate
    iqm: Estimate
    median: float
    difference: Estimate | None
    paired: bool
    better: Estimate | None


@dataclass(frozen=True)
class Curve:
    """Mean learning curve of a group on a task, with its 95 % band over seeds; one has none."""

    task: str
    group: str
    seeds: int
    steps: list[float]
    mean: list[float]
    low: list[float] | None
    high: list[float] | None


@dataclass(frozen=True)
class Comparison:
    """What a comparison says; lists of rows in the order of the tables.

    Attributes:
        without_metric: Finished trials left out because they have no value of the metric.
        pooled: Tags and parameters in which trials of the same group, task and seed differ.
    """

    names: list[str]
    by: str
    metric: str
    mode: str
    step_unit: str
    baseline: str | None
    rows: list[Row]
    curves: list[Curve]
    superseded: int
    failed: int
    running: int
    without_metric: int
    pooled: list[str]
    commits: list[str]
    run_ids: dict[str, list[str]]
    files: list[str] = field(default_factory=list)
    mlflow_run: str | None = None

    def to_json(self) -> str:
        """Everything, as JSON."""
        return json.dumps(asdict(self), indent=2)

    def notes(self) -> list[str]:
        """What a reader must know beside the numbers."""
        better = "less is better" if self.mode == "min" else "more is better"
        said = [f"{self.metric}: {better}; intervals: 95 %, Student's t over seeds."]
        if self.baseline is not None:
            said.append(f"P(better): probability that a run beats one of {self.baseline}.")
            others = [row for row in self.rows if row.difference is not None]
            if any(row.paired for row in others):
                said.append("Differences from the baseline are paired by seed.")
            unpaired = [row.group for row in others if not row.paired]
            if unpaired:
                said.append(
                    f"Differences of {', '.join(dict.fromkeys(unpaired))} are not paired (Welch): "
                    "the baseline has other seeds."
                )
        if any(row.mean.low is None for row in self.rows):
            said.append(
                "A group with one seed has too few seeds for an interval: run it with more seeds."
            )
        if self.pooled:
            said.append(
                f"Groups hold trials of one seed that differ in {', '.join(self.pooled)}; "
                "intervals take them for independent runs."
            )
        tasks = {row.task for row in self.rows}
        if len(tasks) > 1 and ALL_TASKS not in tasks and self.by != "task":
            said.append(
                "No table over all tasks: it needs a baseline that ran on each of them, with means "
                "other than 0."
            )
        if self.failed or self.running:
            said.append(
                f"Left out: {self.failed} failed or killed and {self.running} unfinished trials."
            )
        if self.without_metric:
            said.append(f"Left out: {self.without_metric} finished trials without {self.metric}.")
        if self.superseded:
            said.append(f"{self.superseded} older trials of the same cell and seed are superseded.")
        return said

    def print(self, console: Console) -> None:
        """The tables, and where the report is."""
        for task in dict.fromkeys(row.task for row in self.rows):
            table = Table(
                title=escape(task), title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0)
            )
            table.add_column(escape(self.by), overflow="fold")
            for column in ("seeds", "mean", "95 %", "IQM"):
                table.add_column(column, justify="right", no_wrap=True)
            if self.baseline is not None:
                table.add_column("P(better)", justify="right", no_wrap=True)
            for row in (row for row in self.rows if row.task == task):
                numbers = [number(row.mean.value), interval(row.mean), number(row.iqm.value)]
                cells = [row.group, str(row.seeds), *numbers]
                if row.group == self.baseline:
                    cells.append("baseline")
                elif self.baseline is not None:
                    cells.append("-" if row.better is None else chance(row.better))
                table.add_row(*map(escape, cells))
            console.print(table)
        for note in self.notes():
            console.print(note, highlight=False, markup=False)
        for file in self.files:
            console.print(file, highlight=False, soft_wrap=True, markup=False)


def compare(
    names: Sequence[str],
    *,
    tracking_uri: str,
    out: Path,
    by: str = "variant",
    metric: str | None = None,
    baseline: str | None = None,
    tasks: Sequence[str] | None = None,
    mode: str | None = None,
    against: str | None = None,
) -> Comparison:
    """Compare finished trials, write table, figures and report, and log them to MLflow.

    Args:
        names: Experiments or methods, see `runs.load_trials`.
        tracking_uri: The store.
        out: Folder for CSV, JSON, PNG and HTML; made when missing.
        by: A tag (variant, method, task, experiment, commit) or a config key that was swept.
        metric: A logged metric; the method's own when None.
        baseline: The group that the others are compared with; none when None.
        tasks: Only these tasks.
        mode: ``min`` or ``max``; the direction of the method's own metric when None.
        against: A logged metric that rises (FLOPs, bytes), for the curves' axis instead of steps.

    Raises:
        InputError: A name, metric, group or key that is not there; nothing finished.
    """
    client = MlflowClient(tracking_uri=tracking_uri)
    trials = load_trials(client, names, tasks)
    table = trials.table.copy()
    metric, own_mode = _judged_by(table, metric)
    mode = mode or own_mode
    if mode not in ("min", "max"):
        raise InputError(f"Bad value '{mode}' for 'mode': give min or max.")
    if against is not None and f"metric.{against}" not in table:
        raise unknown("metric of these runs", against, _columns(table, "metric."))
    table["group"] = _groups(table, by)
    table = table[table[f"metric.{metric}"].notna()]
    groups = _ordered(table, metric, mode)
    if baseline is not None and baseline not in groups:
        raise unknown(f"baseline among the groups by {by}", baseline, groups)
    comparison = Comparison(
        names=list(names),
        by=by,
        metric=metric,
        mode=mode,
        step_unit=against or str(table["step_unit"].iloc[0]),
        baseline=baseline,
        rows=_rows(table, metric, mode, groups, baseline),
        curves=_curves(client, table, metric, groups, against),
        superseded=trials.superseded,
        failed=trials.failed,
        running=trials.running,
        without_metric=len(trials.table) - len(table),
        pooled=_pooled(table),
        commits=sorted(set(table["commit"])),
        run_ids={group: list(table.loc[table["group"] == group, "run_id"]) for group in groups},
    )
    _write(comparison, out)
    experiment_name = str(table["experiment"].iloc[0])
    return _log(client, comparison, experiment_name, out)


def _judged_by(table: pd.DataFrame, metric: str | None) -> tuple[str, str]:
    own = sorted(set(zip(table["metric"], table["mode"], strict=True)))
    logged = [name for name in _columns(table, "metric.") if table[f"metric.{name}"].notna().any()]
    if metric is None:
        if len(own) > 1:
            raise InputError(
                f"These runs are judged by different metrics ({', '.join(m for m, _ in own)}): "
                "name one with --metric."
            )
        metric = str(own[0][0])
    if metric not in logged:
        raise unknown("metric of these runs", metric, logged)
    modes = dict(own)
    # A metric that is nobody's own is judged in the direction of the first method's.
    return metric, modes.get(metric, own[0][1])


def _groups(table: pd.DataFrame, by: str) -> pd.Series:
    tags = ("variant", "method", "task", "experiment", "commit")
    if by in tags:
        return table[by].astype(str)
    column = f"param.{by}"
    if column not in table:
        raise unknown("tag or parameter to compare by", by, [*tags, *_columns(table, "param.")])
    return table[column].fillna(_DEFAULT).astype(str)


def _columns(table: pd.DataFrame, prefix: str) -> list[str]:
    names = [str(column) for column in table]
    return [name.removeprefix(prefix) for name in names if name.startswith(prefix)]


def _ordered(table: pd.DataFrame, metric: str, mode: str) -> list[str]:
    """Groups that are numbers in their order, others best first by their mean rank over tasks."""
    means = table.groupby(["task", "group"])[f"metric.{metric}"].mean()
    by_task = means.groupby(level="task").rank(ascending=mode == "min")
    place = by_task.groupby(level="group").mean()
    numbers = pd.to_numeric(place.index.to_series().replace(_DEFAULT, "inf"), errors="coerce")
    if numbers.notna().all():
        place = numbers
    return sorted(map(str, place.index), key=lambda group: (place[group], group))


def _pooled(table: pd.DataFrame) -> list[str]:
    params = [f"param.{name}" for name in _columns(table, "param.")]
    cells = table.groupby(["group", "task", "seed"])
    differing = [
        column
        for column in ("experiment", "method", "variant", *params)
        if (cells[column].nunique(dropna=False) > 1).any()
    ]
    return [column.removeprefix("param.") for column in differing]


def _rows(
    table: pd.DataFrame,
    metric: str,
    mode: str,
    groups: list[str],
    baseline: str | None,
) -> list[Row]:
    tasks = sorted(table["task"].unique())
    scores = {
        (str(task), str(group)): part.set_index("seed")[f"metric.{metric}"].astype(float)
        for (task, group), part in table.groupby(["task", "group"])
    }
    rows = []
    for task in tasks:
        for group in groups:
            if (task, group) in scores:
                against = None if baseline in (None, group) else scores.get((task, str(baseline)))
                other = None if against is None else [against]
                rows.append(_row(task, group, [scores[task, group]], other, mode))
    if baseline is None or len(tasks) < 2:
        return rows
    return rows + _aggregates(scores, tasks, groups, baseline, mode)


def _aggregates(
    scores: dict[tuple[str, str], pd.Series],
    tasks: list[str],
    groups: list[str],
    baseline: str,
    mode: str,
) -> list[Row]:
    """Rows over all tasks of the groups that ran on every one of them."""
    scales = {task: scores[task, baseline].mean() for task in tasks if (task, baseline) in scores}
    if len(scales) < len(tasks) or any(scale == 0 for scale in scales.values()):
        return []
    whole = [group for group in groups if all((task, group) in scores for task in tasks)]
    scaled = {group: [scores[task, group] / abs(scales[task]) for task in tasks] for group in whole}
    return [
        _row(ALL_TASKS, group, scaled[group], None if group == baseline else scaled[baseline], mode)
        for group in whole
    ]


def _row(
    task: str, group: str, scores: list[pd.Series], baseline: list[pd.Series] | None, mode: str
) -> Row:
    """Scores of each task by seed."""
    difference, paired = (None, False) if baseline is None else _difference(scores, baseline)
    return Row(
        task=task,
        group=group,
        seeds=sum(map(len, scores)),
        mean=mean_interval(*scores),
        iqm=iqm_interval(*scores),
        median=float(np.median(np.concatenate(scores))),
        difference=difference,
        paired=paired,
        better=None if baseline is None else probability_of_improvement(scores, baseline, mode),
    )


def _difference(ours: list[pd.Series], theirs: list[pd.Series]) -> tuple[Estimate, bool]:
    """Paired where both have each seed once and no other."""
    both = list(zip(ours, theirs, strict=True))
    paired = all(
        x.index.is_unique and y.index.is_unique and set(x.index) == set(y.index) for x, y in both
    )
    if paired:
        both = [(x, y[x.index]) for x, y in both]
    return difference_interval(*both, paired=paired), paired


def _curves(
    client: MlflowClient, table: pd.DataFrame, metric: str, groups: list[str], against: str | None
) -> list[Curve]:
    """One curve a task and group, on the steps that all its seeds have reached."""
    curves = []
    parts = table.groupby(["task", "group"])
    cells = {(str(task), str(group)): part for (task, group), part in parts}
    for task, group in sorted(cells, key=lambda cell: (cell[0], groups.index(cell[1]))):
        part = cells[task, group]
        single = [load_curve(client, run_id, metric, against) for run_id in part["run_id"]]
        single = [(steps, values) for steps, values in single if len(steps) > 1]
        if not single:
            continue
        end = min(steps[-1] for steps, _ in single)
        start = max(steps[0] for steps, _ in single)
        grid = np.unique(np.concatenate([steps for steps, _ in single]))
        grid = grid[(grid >= start) & (grid <= end)]
        if len(grid) < 2:
            continue
        stacked = np.array([np.interp(grid, steps, values) for steps, values in single])
        lists = [None if each is None else each.tolist() for each in band(stacked)]
        curves.append(Curve(task, group, len(single), grid.astype(float).tolist(), *lists))
    return curves


def _write(comparison: Comparison, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    with (out / "comparison.csv").open("w", newline="") as file:
        flat = [_flat(row) for row in comparison.rows]
        writer = csv.DictWriter(file, fieldnames=list(flat[0]))
        writer.writeheader()
        writer.writerows(flat)
    figures = [draw_intervals(comparison, out / "intervals.png")]
    if comparison.curves:
        figures.append(draw_curves(comparison, out / "curves.png"))
    write_html(comparison, figures, out / "report.html")
    names = [*figures, out / "comparison.csv", out / "comparison.json", out / "report.html"]
    comparison.files.extend(str(path) for path in names)
    (out / "comparison.json").write_text(comparison.to_json())


def _flat(row: Row) -> dict[str, Any]:
    flat: dict[str, Any] = {"task": row.task, "group": row.group, "seeds": row.seeds}
    for name in ("mean", "iqm", "difference", "better"):
        value: Estimate | None = getattr(row, name)
        flat[name] = None if value is None else value.value
        flat[f"{name}_low"] = None if value is None else value.low
        flat[f"{name}_high"] = None if value is None else value.high
    return {**flat, "median": row.median}


def _log(client: MlflowClient, comparison: Comparison, experiment: str, out: Path) -> Comparison:
    experiment_id = client.get_experiment_by_name(experiment).experiment_id
    name = f"comparison by {comparison.by}"
    run = client.create_run(experiment_id, run_name=name, tags={"kind": "comparison"})
    tags = {"by": comparison.by, "metric": comparison.metric, "mode": comparison.mode}
    client.log_batch(run.info.run_id, tags=[RunTag(key, value) for key, value in tags.items()])
    for file in comparison.files:
        client.log_artifact(run.info.run_id, file)
    client.set_terminated(run.info.run_id)
    return Comparison(**{**vars(comparison), "mlflow_run": run.info.run_id})
