"""`tenfold compare`: trials grouped by a tag or a swept parameter, with intervals.

Each task has its own table, since scores of different tasks have different scales. The aggregate
over tasks divides each task's scores by the size of the baseline's mean there, which it takes for
exact, so it needs a baseline that ran on every task and whose means are neither 0 nor infinite.

Runs are scored at a common step: a cumulative cost grows with the steps, so that the runs that a
scheduler stopped first look best at their ends. The common step is the largest that all runs of a
task reached. Every run counts then, and none is chosen by how it fared; the runs that were let on
are the better ones, so a comparison of them alone flatters a group with many bad ones. Where runs
are of different length on purpose (equal FLOPs), compare them at their ends.

A run that diverged is the worst there is, see `comparison.Row`.
"""

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import RunTag

from tenfold.platform.comparison import ALL_TASKS, Comparison, Curve, Row, ScoredRun
from tenfold.platform.errors import InputError, unknown
from tenfold.platform.figures import FORMATS, png, save_figure
from tenfold.platform.grouping import Grouping, check_alike, grouped
from tenfold.platform.importance import importances
from tenfold.platform.registry import Method, methods
from tenfold.platform.report import draw, write_html
from tenfold.platform.runs import (
    DEFAULT,
    TAGS,
    Selection,
    Trials,
    column_of,
    load_history,
    load_trials,
    plain,
    score_of,
)
from tenfold.platform.statistics import (
    Estimate,
    band,
    difference_interval,
    iqm_interval,
    mean_interval,
    probability_of_improvement,
)
from tenfold.platform.store import artifact_location
from tenfold.platform.tables import count

POSITIONS = ("common", "completed", "end")
# Runs whose last steps are so near to the longest's have run to the same end: iterations are not
# equally long.
_SAME_END = 0.95
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

    Raises:
        InputError: A name, metric, group or key that is not there; nothing finished; trials that
            differ in something else than what they are compared by.
    """
    if at not in POSITIONS:
        raise unknown("place to compare at", at, POSITIONS)
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
    scored, step_notes = _scored(client, table, metric, mode, installed, at)
    groups = _ordered(scored, mode, grouping)
    if baseline is not None and baseline not in groups:
        raise unknown(f"baseline among the groups by {', '.join(grouping.by)}", baseline, groups)
    rows = _rows(scored, mode, groups, baseline)
    unit = " or ".join(sorted(set(table["step_unit"])))
    return Comparison(
        names=list(selection.names),
        by=grouping.by,
        metric=metric,
        mode=mode,
        step_unit=unit,
        axis=against or unit,
        baseline=baseline,
        at=at,
        rows=rows,
        curves=_curves(client, scored, groups, against),
        runs=_runs(scored, grouping),
        places=grouping.places,
        swept=grouping.swept,
        importances=_importances(scored, grouping),
        notes=[
            *_notes_on_scores(rows, scored, metric, mode, baseline, installed),
            *_notes_on_divergence(rows),
            *step_notes,
            *_notes_on_groups(grouping, mixed),
            *_notes_on_absence(trials, metric, len(trials.table) - len(table)),
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


def _scored(
    client: MlflowClient,
    table: pd.DataFrame,
    metric: str,
    mode: str,
    installed: Mapping[str, Method],
    at: str,
) -> tuple[pd.DataFrame, list[str]]:
    """Trials with their history, where they are scored and what they score, and notes on that.

    Columns: ``history`` (steps and values), ``broken`` (it diverged), ``last`` (its last step),
    ``step`` (NaN for the broken) and ``score`` (infinite for the broken).
    """

    def score(row: Any, until: float) -> float:
        points = [point for point in zip(*row.history, strict=True) if point[0] <= until]
        return score_of(points, installed.get(row.method), metric)

    table = table.copy()
    histories = [load_history(client, run_id, metric) for run_id in table["run_id"]]
    table["history"] = pd.Series(histories, table.index, dtype=object)
    table["broken"] = [
        bool(row.diverged) or math.isnan(score(row, math.inf)) for row in _each(table)
    ]
    table["last"] = [steps[-1] if len(steps) else math.nan for steps, _ in histories]
    parts, notes = [], []
    # Steps of different units have nothing in common.
    for (task, unit), part in table.groupby(["task", "step_unit"]):
        placed, said = _placed(part, at, str(task), str(unit))
        parts.append(placed)
        notes += said
    found = pd.concat(parts)
    worst = math.inf if mode == "min" else -math.inf
    found["score"] = [worst if row.broken else score(row, row.until) for row in _each(found)]
    found["step"] = [
        math.nan if row.broken else max((s for s in row.history[0] if s <= row.until), default=-1)
        for row in _each(found)
    ]
    late = int((found["step"] == -1).sum())
    if late:
        notes.append(f"Left out: {late} runs whose first {metric} is after the common step.")
    return found[found["step"] != -1], notes


def _each(table: pd.DataFrame) -> Iterable[Any]:
    """The rows of a table, columns as attributes."""
    return table.itertuples()


def _placed(part: pd.DataFrame, at: str, task: str, unit: str) -> tuple[pd.DataFrame, list[str]]:
    """Runs of one task with the step ``until`` which each is scored, and a note if that matters."""
    last = part["last"][~part["broken"]]
    longest = last.max()
    ended = last[last >= _SAME_END * longest]
    if at == "end" or len(ended) == len(last):
        note = (
            f"On {task} each run is scored at its own end, after {count(last.min())} to "
            f"{count(longest)} {unit}."
        )
        until = part["last"] if at == "end" else last.min()
        return part.assign(until=until), [] if len(ended) == len(last) else [note]
    if at == "completed":
        cut = last.index.difference(ended.index)
        note = f"Left out on {task}: {len(cut)} of {len(last)} runs that ended before the others."
        return part.drop(cut).assign(until=ended.min()), [note]
    longer = int((_SAME_END * last > last.min()).sum())
    note = (
        f"On {task} all runs are scored after {count(last.min())} {unit}, which every one reached; "
        f"{longer} of {len(last)} went on, up to {count(longest)}: --at completed takes only those "
        "that ran to the end, --at end each run at its own end."
    )
    return part.assign(until=last.min()), [note]


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


def _rows(table: pd.DataFrame, mode: str, groups: list[str], baseline: str | None) -> list[Row]:
    tasks = sorted(map(str, table["task"].unique()))
    cells = {
        (str(task), str(group)): part.set_index("seed")
        for (task, group), part in table.groupby(["task", "group"])
    }
    scores = {cell: part["score"] for cell, part in cells.items()}
    rows = []
    for task in tasks:
        for group in groups:
            if (task, group) in scores:
                against = None if baseline in (None, group) else scores.get((task, str(baseline)))
                other = None if against is None else [against]
                steps = cells[task, group]["step"].dropna()
                ends = None if steps.empty else (float(steps.min()), float(steps.max()))
                rows.append(_row(task, group, [scores[task, group]], other, mode, ends))
    if baseline is None or len(tasks) < 2:
        return rows
    return rows + _aggregates(scores, tasks, groups, baseline, mode)


def _aggregates(
    scores: Mapping[tuple[str, str], pd.Series],
    tasks: list[str],
    groups: list[str],
    baseline: str,
    mode: str,
) -> list[Row]:
    """Rows over all tasks of the groups that ran on every one of them."""
    scales = {task: scores[task, baseline].mean() for task in tasks if (task, baseline) in scores}
    if len(scales) < len(tasks) or any(s == 0 or not math.isfinite(s) for s in scales.values()):
        return []
    whole = [group for group in groups if all((task, group) in scores for task in tasks)]
    scaled = {group: [scores[task, group] / abs(scales[task]) for task in tasks] for group in whole}
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
        for row in _each(table.sort_values("start", kind="stable"))
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


def _notes_on_scores(
    rows: list[Row],
    table: pd.DataFrame,
    metric: str,
    mode: str,
    baseline: str | None,
    installed: Mapping[str, Method],
) -> list[str]:
    better = "less is better" if mode == "min" else "more is better"
    notes = [f"{metric}: {better}. Intervals: 95 %, Student's t over seeds."]
    names = sorted(set(table["method"]))
    kinds = {name: installed[name].score for name in names if name in installed}
    for kind, said in _SCORES.items():
        alike = [name for name, own in kinds.items() if own == kind]
        if any(installed[name].metric == metric for name in alike):
            of = "" if len(alike) == len(names) else f" of {', '.join(alike)}"
            notes.append(f"The score of a run{of} is {said}.")
    if baseline is not None:
        others = [row for row in rows if row.difference is not None]
        paired = ", paired by seed" if any(row.paired for row in others) else ""
        notes.append(
            f"Difference: mean less that of {baseline}{paired}. P(better): probability that a run "
            f"beats one of {baseline}, with a score interval."
        )
        unpaired = dict.fromkeys(row.group for row in others if not row.paired)
        if unpaired:
            notes.append(
                f"Not paired, since the baseline has other seeds (Welch): {', '.join(unpaired)}."
            )
    if any(row.mean.low is None and math.isfinite(row.mean.value) for row in rows):
        notes.append("A group of one seed has too few seeds for an interval: run it with more.")
    tasks = {row.task for row in rows}
    if baseline is not None and len(tasks) > 1 and ALL_TASKS not in tasks:
        notes.append(
            "No table over all tasks: it needs a baseline that ran on each of them, with finite "
            "means other than 0."
        )
    return notes


_SCORES = {
    "tail_mean": "its mean over the last tenth of its steps",
    "best_evaluation": "its best evaluation, which is too good by the evaluations' noise",
}


def _notes_on_divergence(rows: list[Row]) -> list[str]:
    found = [row for row in rows if row.diverged and row.task != ALL_TASKS]
    if not found:
        return []
    several = len({row.task for row in rows} - {ALL_TASKS}) > 1
    said = [
        f"{row.diverged} of {row.seeds} runs of {row.group}"
        + (f" on {row.task}" if several else "")
        + " diverged"
        for row in found
    ]
    return [
        f"{'; '.join(said)}: they count as the worst there is. A group with any has no mean and no "
        "difference; its IQM and median are there where they do not reach them, P(better) counts "
        "them as lost, and its curve is of the others."
    ]


def _notes_on_groups(grouping: Grouping, mixed: list[str]) -> list[str]:
    notes = []
    if grouping.binned:
        notes.append(f"{grouping.by[0]} has many values: ranges of about equal counts.")
    if mixed:
        notes.append(
            f"Runs that are compared also differ in {', '.join(mixed)}; intervals take them for "
            "independent runs."
        )
    return notes


def _notes_on_absence(trials: Trials, metric: str, without: int) -> list[str]:
    notes = []
    words = trials.left_out["status"].map({"FAILED": "failed", "KILLED": "killed"})
    said = [
        f"{len(part)} {word} ({', '.join(sorted(set(part['variant'])))})"
        for word, part in trials.left_out.groupby(words.fillna("unfinished"))
    ]
    if said:
        notes.append(f"Left out: {', '.join(said)}.")
    if without:
        notes.append(f"Left out: {without} finished trials without {metric}.")
    if trials.superseded:
        notes.append(
            f"{trials.superseded} older trials that differ in nothing from newer ones are "
            "superseded."
        )
    return notes


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
    """Keep the files in MLflow: with the runs' experiment, or apart if they are of several."""
    name = comparison.experiments[0] if len(comparison.experiments) == 1 else _EXPERIMENT
    experiment = client.get_experiment_by_name(name)
    experiment_id = (
        client.create_experiment(name, artifact_location(uri))
        if experiment is None
        else experiment.experiment_id
    )
    title = f"comparison by {comparison.title}"
    run = client.create_run(experiment_id, run_name=title, tags={"kind": "comparison"})
    tags = {"by": comparison.title, "metric": comparison.metric, "mode": comparison.mode}
    client.log_batch(run.info.run_id, tags=[RunTag(key, value) for key, value in tags.items()])
    for file in comparison.files:
        client.log_artifact(run.info.run_id, file)
    client.set_terminated(run.info.run_id)
    return replace(comparison, mlflow_run=run.info.run_id)
