"""What a reader of a comparison must know beside its numbers."""

import math
from collections.abc import Mapping

import pandas as pd

from tenfold.platform.comparison import ALL_TASKS, Row
from tenfold.platform.grouping import Grouping, some
from tenfold.platform.registry import Method
from tenfold.platform.runs import Trials
from tenfold.platform.score import Rule


def on_scores(
    rows: list[Row],
    table: pd.DataFrame,
    metric: str,
    mode: str,
    baseline: str | None,
    installed: Mapping[str, Method],
    rule: Rule,
) -> list[str]:
    """How runs are scored, and what stands beside the means."""
    better = "less is better" if mode == "min" else "more is better"
    notes = [f"{metric}: {better}. Intervals: 95 %, Student's t over seeds."]
    if rule.kind == "area":
        notes.append("The score of a run is the mean of that over its steps, by trapezoids.")
    if rule.kind == "reach":
        notes.append(
            f"The score of a run is the first step at which that is {rule.level:,.12g} or better; "
            "less is better."
        )
        missed = table[~table["reached"] & ~table["broken"]].groupby("group").size()
        if len(missed):
            said = ", ".join(f"{count} of {group}" for group, count in missed.items())
            notes.append(
                f"Runs that never got there count with their last step, so that means are too "
                f"small: {said}."
            )
    names = sorted(set(table["method"])) if rule.kind == "own" else []
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
    if any(row.seeds < 2 and math.isfinite(row.mean.value) for row in rows):
        notes.append("A group of one seed has too few seeds for an interval: run it with more.")
    return notes


def on_all_tasks(rows: list[Row], baseline: str | None, one_scale: bool) -> list[str]:
    """What the table over all tasks holds, or why there is none."""
    tasks = {row.task for row in rows}
    if baseline is None or len(tasks) < 2:
        return []
    if ALL_TASKS not in tasks:
        return [
            "No table over all tasks: it needs a baseline that ran on each of them, with finite "
            "means of one sign, or a metric that is normalised."
        ]
    if one_scale:
        return ["All tasks: scores as they are, since the metric has one scale."]
    return [f"All tasks: each score is divided by the size of {baseline}'s mean on its task."]


_SCORES = {
    "tail_mean": "its mean over the last tenth of its steps",
    "best_evaluation": "its best evaluation, which is too good by the evaluations' noise",
}


def on_divergence(rows: list[Row]) -> list[str]:
    """How many runs of which groups diverged, and how they count."""
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


def on_worlds(table: pd.DataFrame) -> list[str]:
    """On which tasks all seeds replay one record."""
    tasks = sorted(set(table["task"][table["one_world"]]))
    return [
        f"On {task} every run replays the same record: that is one world whatever the number of "
        "seeds, so there are no intervals."
        for task in tasks
    ]


def on_groups(grouping: Grouping, mixed: list[str]) -> list[str]:
    """In what runs differ beside what they are compared by."""
    notes = []
    if grouping.binned:
        notes.append(f"{grouping.by[0]} has many values: ranges of about equal counts.")
    if mixed:
        notes.append(
            f"Runs that are compared also differ in {some(mixed)}; intervals take them for "
            "independent runs."
        )
    return notes


def on_absence(trials: Trials, metric: str, without: int) -> list[str]:
    """What is not in the tables."""
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
