"""Where each run of a comparison is scored, and what it scores there."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd
from mlflow import MlflowClient

from tenfold.platform.registry import Method
from tenfold.platform.runs import load_history
from tenfold.platform.score import Rule, area_of, finite, reached_at, score_of
from tenfold.platform.tables import count

# Runs whose last steps are so near to the longest's have run to the same end: iterations are not
# equally long.
_SAME_END = 0.95


def scored(
    client: MlflowClient,
    table: pd.DataFrame,
    metric: str,
    mode: str,
    installed: Mapping[str, Method],
    at: str,
    rule: Rule,
) -> tuple[pd.DataFrame, list[str]]:
    """Trials with their history, where they are scored and what they score, and notes on that.

    Columns: ``history`` (steps and values), ``broken`` (it diverged), ``last`` (its last step),
    ``step`` (NaN for the broken), ``score`` (infinite for the broken); with a level, ``reached``.

    Args:
        client: Of the store.
        table: The trials.
        metric: That is judged.
        mode: ``min`` or ``max``, which values of it are better.
        installed: Methods by name.
        at: See `compare.collect`.
        rule: What of the metric is the score. A level that is not reached counts with the last step
            that was looked at.
    """

    def points(row: Any, until: float) -> list[tuple[float, float]]:
        return [point for point in zip(*row.history, strict=True) if point[0] <= until]

    def score(row: Any, until: float) -> float:
        history = points(row, until)
        if rule.kind == "own":
            return score_of(history, installed.get(row.method), metric)
        if rule.kind == "area":
            return area_of(history)
        if not finite(history):
            return math.nan
        reached = reached_at(history, rule.level, mode)
        return history[-1][0] if reached is None else reached

    table = table.copy()
    histories = [load_history(client, run_id, metric) for run_id in table["run_id"]]
    table["history"] = pd.Series(histories, table.index, dtype=object)
    table["broken"] = [
        bool(row.diverged) or math.isnan(score(row, math.inf)) for row in each(table)
    ]
    table["last"] = [steps[-1] if len(steps) else math.nan for steps, _ in histories]
    parts, notes = [], []
    # Steps of different units have nothing in common.
    for (task, unit), part in table.groupby(["task", "step_unit"]):
        placed, said = _placed(part, at, str(task), str(unit))
        parts.append(placed)
        notes += said
    found = pd.concat(parts)
    worst = math.inf if rule.kind == "reach" or mode == "min" else -math.inf
    found["score"] = [worst if row.broken else score(row, row.until) for row in each(found)]
    found["step"] = [
        math.nan if row.broken else max((s for s in row.history[0] if s <= row.until), default=-1)
        for row in each(found)
    ]
    if rule.kind == "reach":
        found["reached"] = [
            reached_at(points(row, row.until), rule.level, mode) is not None for row in each(found)
        ]
    late = int((found["step"] == -1).sum())
    if late:
        notes.append(f"Left out: {late} runs whose first {metric} is after the common step.")
    return found[found["step"] != -1], notes


def each(table: pd.DataFrame) -> Iterable[Any]:
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
