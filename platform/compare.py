"""`tenfold compare`: trials grouped by a tag or a swept parameter, with intervals.

Each task has its own table, since scores of different tasks have different scales. The aggregate
over tasks divides each task's scores by the size of the baseline's mean there, which it takes for
exact, so it needs a baseline that ran on every task and whose means are finite and of one sign:
where they pass through 0, a quotient says how near to it the baseline came. Metrics of one scale
(`Method.normalised`) are not divided, and need nothing of the baseline but that it is there.

Runs are scored at a common step: a cumulative cost grows with the steps, so that the runs that a
scheduler stopped first look best at their ends. The common step is the largest that all runs of a
task reached. Every run counts then, and none is chosen by how it fared; the runs that were let on
are the better ones, so a comparison of them alone flatters a group with many bad ones. Where runs
are of different length on purpose (equal FLOPs), compare them at their ends.

A run that diverged is the worst there is, see `comparison.Row`.
"""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import RunTag

from tenfold.platform import notes
from tenfold.platform.comparison import ALL_TASKS, Comparison, Curve, Row, ScoredRun
from tenfold.platform.errors import InputError, unknown
from tenfold.platform.figures import FORMATS, png, save_figure
from tenfold.platform.grouping import Grouping, check_alike, grouped
from tenfold.platform.importance import importances
from tenfold.platform.journal import EXPERIMENT_KIND
from tenfold.platform.registry import methods
from tenfold.platform.report import draw, write_html
from tenfold.platform.runs import (
    DEFAULT,
    TAGS,
    Selection,
    column_of,
    load_history,
    load_trials,
    plain,
)
from tenfold.platform.score import parse_rule
from tenfold.platform.scoring import each, scored
from tenfold.platform.statistics import (
    Estimate,
    band,
    difference_interval,
    iqm_interval,
    mean_interval,
    probability_of_improvement,
)
from tenfold.platform.store import artifact_location

POSITIONS = ("common", "completed", "end")
# Where comparisons of several experiments are kept.
_EXPERIMENT = "comparisons"


def compare(
    selection: Selection,
    *,
    tracking_uri: str,
    out: Path,
    figure_format: str = "png",
    **options: Any,
) -> Comparison:
    """Compare trials, write table, figures and report, and log them to MLflow.

    Args:
        selection: Which trials.
        tracking_uri: The store.
        out: Folder for CSV, JSON, figures and HTML; made when missing.
        figure_format: ``png``, ``svg`` or ``pdf``.
        options: Of `collect`.

    Raises:
        InputError: As `collect`; an unknown format.
    """
    if figure_format not in FORMATS:
        raise unknown("format of figures", figure_format, FORMATS)
    client = MlflowClient(tracking_uri=tracking_uri)
    comparison = collect(client, selection, **options)
    _write(comparison, out, figure_format)
    return _log(client, tracking_uri, comparison)


def collect(
    client: MlflowClient,
    selection: Selection,
    *,
    by: Sequence[str] = (),
    metric: str | None = None,
    baseline: str | None = None,
    at: str = "common",
    mix: bool = False,
    mode: str | None = None,
    against: str | None = None,
    score: str = "own",
) -> Comparison:
    """What trials of a store say, without writing anything.

    Args:
        client: Of the store.
        selection: Which trials.
        by: Tags (variant, method, task, experiment, run, commit) and parameters that group; the
            variant and what a sweep varied when empty.
        metric: A logged metric; the method's own when None.
        baseline: The group that the others are compared with; none when None.
        at: ``common`` scores every run at the largest step that all runs of its task reached;
            ``completed`` leaves out the runs that stopped earlier than the longest (by over 5 %);
            ``end`` scores each at its own last step.
        mix: Compare trials that also differ in something else, and say in what.
        mode: ``min`` or ``max``; the direction of the method's own metric when None.
        against: A logged metric that rises (FLOPs, bytes), for the curves' axis instead of steps.
        score: What of the metric is a run's score: ``own`` as its method declares, ``area`` for the
            mean over the steps, ``reach=VALUE`` for the steps until the metric is there.

    Raises:
        InputError: A rule, a name, metric, group or key that is not there; nothing finished; trials
            that differ in something else than what they are compared by.
    """
    if at not in POSITIONS:
        raise unknown("place to compare at", at, POSITIONS)
    rule = parse_rule(score)
    installed = methods()
    trials = load_trials(client, selection, [key for key in by if key in TAGS])
    table = trials.table.copy()
    metric, own_mode = _judged_by(table, metric)
    mode = mode or own_mode
    if mode not in ("min", "max"):
        raise InputError(f"Bad value '{mode}' for 'mode': give min or max.")
    if against is not None and against not in _metrics(table):
        raise unknown("metric of these runs", against, _metrics(table))
    has_metric = [metric in names for names in table["metrics"]]
    table = table[pd.Series(has_metric, table.index) | (table["diverged"] != "")]
    grouping = grouped(table, by)
    table["group"] = grouping.labels
    mixed = check_alike(table, grouping, installed, mix)
    table["one_world"] = [
        row.method in installed and installed[row.method].one_world in row.metrics
        for row in each(table)
    ]
    found, step_notes = scored(client, table, metric, mode, installed, at, rule)
    score_mode = "min" if rule.kind == "reach" else mode
    groups = _ordered(found, score_mode, grouping)
    if baseline is not None and baseline not in groups:
        raise unknown(f"baseline among the groups by {', '.join(grouping.by)}", baseline, groups)
    one_scale = rule.kind != "reach" and all(
        name in installed and metric in installed[name].normalised for name in table["method"]
    )
    rows = _rows(found, score_mode, groups, baseline, one_scale)
    unit = " or ".join(sorted(set(table["step_unit"])))
    return Comparison(
        names=list(selection.names),
        by=grouping.by,
        metric=metric,
        mode=mode,
        score=score,
        score_mode=score_mode,
        step_unit=unit,
        axis=against or unit,
        baseline=baseline,
        one_scale=one_scale,
        at=at,
        rows=rows,
        curves=_curves(client, found, groups, against),
        runs=_runs(found, grouping),
        places=grouping.places,
        swept=grouping.swept,
        importances=_importances(found, grouping),
        notes=[
            *notes.on_scores(rows, found, metric, mode, baseline, installed, rule),
            *notes.on_all_tasks(rows, baseline, one_scale),
            *notes.on_divergence(rows),
            *notes.on_worlds(found),
            *step_notes,
            *notes.on_groups(grouping, mixed),
            *notes.on_absence(trials, metric, len(trials.table) - len(table)),
        ],
        commits=sorted(set(table["commit"])),
        experiments=sorted(set(table["experiment"])),
    )


def _judged_by(table: pd.DataFrame, metric: str | None) -> tuple[str, str]:
    own = sorted(set(zip(table["metric"], table["mode"], strict=True)))
    if metric is None:
        if len(own) > 1:
            raise InputError(
                f"These runs are judged by different metrics ({', '.join(m for m, _ in own)}): "
                "name one with --metric."
            )
        metric = str(own[0][0])
    if metric not in _metrics(table):
        raise unknown("metric of these runs", metric, _metrics(table))
    modes = dict(own)
    # A metric that is nobody's own is judged in the direction of the first method's.
    return metric, modes.get(metric, own[0][1])


def _metrics(table: pd.DataFrame) -> list[str]:
    return sorted(frozenset().union(*table["metrics"]))


def _ordered(table: pd.DataFrame, mode: str, grouping: Grouping) -> list[str]:
    """Groups of numbers in their order, others best first by their mean rank over tasks.

    A group with runs that diverged comes after all without, the larger their share the later.
    """
    groups = {str(group) for group in table["group"]}
    if grouping.places:
        return sorted(groups, key=lambda group: (grouping.places.get(group, math.inf), group))
    ranks: dict[str, list[float]] = {group: [] for group in groups}
    for _, part in table.groupby("task"):
        sizes = {}
        for group, runs in part.groupby("group"):
            centre = runs["score"][~runs["broken"]].mean()
            sizes[str(group)] = (runs["broken"].mean(), centre if mode == "min" else -centre)
        order = sorted(set(sizes.values()))
        for group, size in sizes.items():
            ranks[group].append(order.index(size))
    return sorted(groups, key=lambda group: (np.mean(ranks[group]), group))


def _rows(
    table: pd.DataFrame, mode: str, groups: list[str], baseline: str | None, one_scale: bool
) -> list[Row]:
    tasks = sorted(map(str, table["task"].unique()))
    cells = {
        (str(task), str(group)): part.set_index("seed")
        for (task, group), part in table.groupby(["task", "group"])
    }
    scores = {cell: part["score"] for cell, part in cells.items()}
    one_world = {task for (task, _), part in cells.items() if part["one_world"].any()}
    rows = []
    for task in tasks:
        for group in groups:
            if (task, group) in scores:
                against = None if baseline in (None, group) else scores.get((task, str(baseline)))
                other = None if against is None else [against]
                steps = cells[task, group]["step"].dropna()
                ends = None if steps.empty else (float(steps.min()), float(steps.max()))
                row = _row(task, group, [scores[task, group]], other, mode, ends)
                rows.append(_bare(row) if task in one_world else row)
    if baseline is None or len(tasks) < 2:
        return rows
    aggregates = _aggregates(scores, tasks, groups, baseline, mode, one_scale)
    return rows + ([_bare(row) for row in aggregates] if one_world else aggregates)


def _bare(row: Row) -> Row:
    """A row without intervals: seeds that replay one record are no sample of worlds."""

    def bare(estimate: Estimate | None) -> Estimate | None:
        return None if estimate is None else Estimate(estimate.value)

    return replace(
        row,
        mean=Estimate(row.mean.value),
        iqm=Estimate(row.iqm.value),
        difference=bare(row.difference),
        better=bare(row.better),
    )


def _aggregates(
    scores: Mapping[tuple[str, str], pd.Series],
    tasks: list[str],
    groups: list[str],
    baseline: str,
    mode: str,
    one_scale: bool,
) -> list[Row]:
    """Rows over all tasks of the groups that ran on every one of them."""
    if any((task, baseline) not in scores for task in tasks):
        return []
    means = np.array([scores[task, baseline].mean() for task in tasks])
    if not (np.isfinite(means).all() and (one_scale or abs(np.sign(means).sum()) == len(tasks))):
        return []
    scales = np.ones(len(tasks)) if one_scale else np.abs(means)
    whole = [group for group in groups if all((task, group) in scores for task in tasks)]
    scaled = {
        group: [scores[task, group] / scale for task, scale in zip(tasks, scales, strict=True)]
        for group in whole
    }
    return [
        _row(ALL_TASKS, group, scaled[group], None if group == baseline else scaled[baseline], mode)
        for group in whole
    ]


def _row(
    task: str,
    group: str,
    scores: list[pd.Series],
    baseline: list[pd.Series] | None,
    mode: str,
    steps: tuple[float, float] | None = None,
) -> Row:
    """A row of each task's scores by seed."""
    difference, paired = (None, False) if baseline is None else _difference(scores, baseline)
    together = np.concatenate(scores)
    return Row(
        task=task,
        group=group,
        seeds=len(together),
        diverged=int(np.isinf(together).sum()),
        steps=steps,
        mean=mean_interval(*scores),
        iqm=iqm_interval(*scores),
        median=float(np.median(together)),
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
    client: MlflowClient, table: pd.DataFrame, groups: list[str], against: str | None
) -> list[Curve]:
    """One curve a task and group, on the steps that all its seeds have reached."""
    curves = []
    parts = table.groupby(["task", "group"])
    cells = {(str(task), str(group)): part for (task, group), part in parts}
    for task, group in sorted(cells, key=lambda cell: (cell[0], groups.index(cell[1]))):
        part = cells[task, group]
        sound = part[~part["broken"]]
        single = list(sound["history"])
        if against is not None:
            pairs = zip(single, sound["run_id"], strict=True)
            single = [_over(curve, load_history(client, run, against)) for curve, run in pairs]
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
        centre, low, high = band(stacked)
        if part["one_world"].any():
            low = high = None
        curves.append(
            Curve(
                task=task,
                group=group,
                seeds=len(single),
                diverged=int(part["broken"].sum()),
                steps=grid.tolist(),
                mean=centre.tolist(),
                low=None if low is None else low.tolist(),
                high=None if high is None else high.tolist(),
            )
        )
    return curves


def _over(
    curve: tuple[np.ndarray, np.ndarray], axis: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Values of a curve over those of another metric that was recorded at the same steps."""
    _, ours, theirs = np.intersect1d(curve[0], axis[0], return_indices=True)
    return axis[1][theirs], curve[1][ours]


def _runs(table: pd.DataFrame, grouping: Grouping) -> list[ScoredRun]:
    """Every run, in the order of their starts, with its values of what was swept or groups."""
    keys = list(dict.fromkeys([*grouping.swept, *grouping.by]))
    values = {key: table[column_of(table, key)].fillna(DEFAULT).astype(str) for key in keys}
    return [
        ScoredRun(
            run_id=str(row.run_id),
            task=str(row.task),
            group=str(row.group),
            seed=str(row.seed),
            started=int(row.start),
            step=None if row.broken else float(row.step),
            score=None if row.broken else float(row.score),
            values={key: texts[row.Index] for key, texts in values.items()},
        )
        for row in each(table.sort_values("start", kind="stable"))
    ]


def _importances(table: pd.DataFrame, grouping: Grouping) -> dict[str, float]:
    """Of what one sweep varied on one task, by the mean scores of its points over seeds."""
    sound = table[~table["broken"]]
    if not grouping.swept or table["sweep"].nunique() > 1 or table["task"].nunique() > 1:
        return {}
    keys = [column_of(table, key) for key in grouping.swept]
    means = sound.assign(**{key: sound[key].fillna(DEFAULT) for key in keys}).groupby(keys)["score"]
    scores = means.mean()
    rows = scores.index.to_frame().to_dict("records")
    points = [
        {name: plain(str(row[key])) for name, key in zip(grouping.swept, keys, strict=True)}
        for row in rows
    ]
    return importances(points, list(scores))


def _write(comparison: Comparison, out: Path, figure_format: str) -> None:
    out.mkdir(parents=True, exist_ok=True)
    with (out / "comparison.csv").open("w", newline="") as file:
        flat = [_flat(row) for row in comparison.rows]
        writer = csv.DictWriter(file, fieldnames=list(flat[0]))
        writer.writeheader()
        writer.writerows(flat)
    figures = draw(comparison)
    files = [
        save_figure(figure, out / f"{name}.{figure_format}") for name, figure in figures.items()
    ]
    images = {name: png(figure) for name, figure in figures.items()}
    write_html(comparison, images, out / "report.html")
    names = [*files, out / "comparison.csv", out / "comparison.json", out / "report.html"]
    comparison.files.extend(str(path) for path in names)
    (out / "comparison.json").write_text(comparison.to_json())


def _flat(row: Row) -> dict[str, Any]:
    """A row of the CSV; what is infinite for divergence stays empty."""
    flat: dict[str, Any] = {
        "task": row.task,
        "group": row.group,
        "seeds": row.seeds,
        "diverged": row.diverged,
        "step_from": None if row.steps is None else row.steps[0],
        "step_to": None if row.steps is None else row.steps[1],
    }
    for name in ("mean", "iqm", "difference", "better"):
        value: Estimate | None = getattr(row, name)
        flat[name] = None if value is None else value.value
        flat[f"{name}_low"] = None if value is None else value.low
        flat[f"{name}_high"] = None if value is None else value.high
    flat |= {"paired": row.paired if row.difference else None, "median": row.median}
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in flat.items()
    }


def _log(client: MlflowClient, uri: str, comparison: Comparison) -> Comparison:
    """Keep the files in MLflow, in an experiment of comparisons, apart from the runs."""
    experiment = client.get_experiment_by_name(_EXPERIMENT)
    experiment_id = (
        client.create_experiment(_EXPERIMENT, artifact_location(uri), EXPERIMENT_KIND)
        if experiment is None
        else experiment.experiment_id
    )
    title = f"comparison by {comparison.title}"
    run = client.create_run(experiment_id, run_name=title, tags={"kind": "comparison"})
    tags = {
        "by": comparison.title,
        "metric": comparison.metric,
        "mode": comparison.mode,
        "score": comparison.score,
        "experiments": ", ".join(comparison.experiments),
    }
    client.log_batch(run.info.run_id, tags=[RunTag(key, value) for key, value in tags.items()])
    for file in comparison.files:
        client.log_artifact(run.info.run_id, file)
    client.set_terminated(run.info.run_id)
    return replace(comparison, mlflow_run=run.info.run_id)
