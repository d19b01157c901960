"""Trials, read back from MLflow: which ones, their histories, and how a run is scored."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from tenfold.platform.errors import InputError, unknown

DEFAULT = "(default)"
PARAM = "param."
# What trials are grouped and chosen by beside their parameters.
TAGS = ("variant", "method", "task", "experiment", "run", "commit")
_KEPT = (
    *("experiment", "method", "variant", "task", "seed", "commit"),
    *("step_unit", "metric", "mode", "diverged"),
)
# Parameters that tags hold already.
_NO_PARAMETERS = ("seed", "task", "variant", "env")
ID_PREFIX = 6  # so much of an MLflow id must be given
# MLflow's SQL stores keep an infinite value as the largest number.
_INFINITE = float(np.finfo(np.float64).max)


@dataclass(frozen=True)
class Selection:
    """Which trials of a store are meant.

    Attributes:
        names: Experiments, methods, runs (the name of a run's folder), or ids of MLflow runs: of a
            sweep's parent or of a trial, six characters or more of their beginning.
        tasks: Only these tasks; all when empty.
        variants: Only these variants; all when empty.
        where: Conditions ``key=value`` on parameters and tags; numbers are compared as numbers, and
            a trial that has not got the parameter has the value ``(default)``.
        last: Only the newest run (one sweep with all its trials) among them.
    """

    names: Sequence[str]
    tasks: Sequence[str] = ()
    variants: Sequence[str] = ()
    where: Sequence[str] = ()
    last: bool = False


@dataclass(frozen=True)
class Trials:
    """Trials of a selection.

    Attributes:
        table: One row a trial that counts: run_id, the tags, ``run`` (name of its sweep) and
            ``sweep`` (its id), ``start`` (ms), ``metrics`` (names that it has) and
            ``param.<key>``. Of trials that differ in nothing but their start only the newest
            counts.
        left_out: Those that failed, were killed or have not ended: the same columns and ``status``.
            A trial that diverged before it failed is in `table`.
        superseded: Trials left out for a newer one.
    """

    table: pd.DataFrame
    left_out: pd.DataFrame
    superseded: int


def load_trials(client: MlflowClient, selection: Selection, apart: Sequence[str] = ()) -> Trials:
    """The trials of a selection.

    Args:
        client: Of the store.
        selection: Which ones.
        apart: Tags in which otherwise equal trials may differ and still count each.

    Raises:
        InputError: A name, a task, a variant or a value that nothing has; nothing has finished.
    """
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    rows = [_row(run) for run in search_runs(client, experiments, "tags.kind = 'trial'")]
    table = pd.DataFrame(_named(rows, selection.names)).sort_values("start")
    for column, values in (("task", selection.tasks), ("variant", selection.variants)):
        present = set(table[column])
        for value in values:
            if value not in present:
                raise unknown(f"{column} in these runs", value, sorted(present))
        if values:
            table = table[table[column].isin(values)]
    for condition in selection.where:
        table = _matching(table, condition)
    if selection.last:
        table = table[table["sweep"] == table["sweep"].iloc[-1]]
    usable = (table["status"] == "FINISHED") | (
        table["status"].isin(["FAILED", "KILLED"]) & (table["diverged"] != "")
    )
    ended = table[usable]
    if ended.empty:
        raise InputError(
            f"No trial of {', '.join(selection.names)} has finished: wait, or look into the failed "
            f"ones with 'tenfold ui' ({len(table)} trials in all)."
        )
    keep = ["method", "variant", "task", "seed", *apart, *columns(ended, PARAM)]
    newest = ended.drop_duplicates(list(dict.fromkeys(keep)), keep="last")
    return Trials(
        table=newest.reset_index(drop=True),
        left_out=table[~usable].reset_index(drop=True),
        superseded=len(ended) - len(newest),
    )


def columns(table: pd.DataFrame, prefix: str) -> list[str]:
    """The columns that start with a prefix."""
    return [str(column) for column in table if str(column).startswith(prefix)]


def column_of(table: pd.DataFrame, key: str) -> str:
    """The column of a tag or a parameter.

    Raises:
        InputError: There is none; the message names the nearest.
    """
    if key in (*TAGS, "seed"):
        return key
    if f"{PARAM}{key}" in table:
        return f"{PARAM}{key}"
    known = [*TAGS, "seed", *(name.removeprefix(PARAM) for name in columns(table, PARAM))]
    raise unknown("tag or parameter of these runs", key, known)


def load_history(client: MlflowClient, run_id: str, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps in rising order (n,) and values (n,) of a metric of a run, infinite ones too."""
    by_step = {point.step: point.value for point in client.get_metric_history(run_id, metric)}
    steps = sorted(by_step)
    values = np.array([by_step[step] for step in steps], dtype=np.float64)
    too_large = np.abs(values) >= _INFINITE
    values[too_large] = np.copysign(np.inf, values[too_large])
    return np.array(steps, dtype=np.float64), values


def _named(rows: list[dict[str, Any]], names: Sequence[str]) -> list[dict[str, Any]]:
    """The rows that some name stands for, each once."""
    chosen: dict[str, dict[str, Any]] = {}
    for name in names:
        found = [row for row in rows if name in (row["experiment"], row["method"])]
        found = found or [row for row in rows if name == row["run"]]
        if not found and len(name) >= ID_PREFIX:
            found = [row for row in rows if row["sweep"].startswith(name)]
            found = found or [row for row in rows if row["run_id"].startswith(name)]
        if not found:
            known = {row[key] for row in rows for key in ("experiment", "method", "run")}
            raise unknown("experiment, method or run in the store", name, sorted(known))
        chosen.update({row["run_id"]: row for row in found})
    return list(chosen.values())


def _matching(table: pd.DataFrame, condition: str) -> pd.DataFrame:
    key, equals, value = condition.partition("=")
    if not equals or not key:
        raise InputError(f"Bad value '{condition}' for --where: write key=value.")
    present = table[column_of(table, key)].fillna(DEFAULT).astype(str)
    found = table[[plain(text) == plain(value) for text in present]]
    if found.empty:
        raise InputError(
            f"No trial of these runs has {key}={value}: there are "
            f"{', '.join(in_order(present.unique()))}."
        )
    return found


def in_order(texts: Iterable[str]) -> list[str]:
    """Numbers in their order, then the others in theirs."""
    return sorted(texts, key=lambda text: (*_place(text), text))


def _place(text: str) -> tuple[bool, float]:
    value = plain(text)
    return (False, value) if isinstance(value, float) else (True, 0.0)


def plain(text: str) -> float | str:
    """A text so that equal values are equal: 1e-3 and 0.001, True and true, [8,8] and [8, 8]."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    return "".join(text.casefold().split()) if math.isnan(value) else value


def search_runs(client: MlflowClient, experiment_ids: list[str], condition: str) -> list[Run]:
    """All runs of some experiments that fulfil a condition, page by page."""
    found: list[Run] = []
    token = None
    while experiment_ids:
        page = client.search_runs(experiment_ids, condition, max_results=1_000, page_token=token)
        found.extend(page)
        token = page.token
        if not token:
            break
    return found


def _row(run: Run) -> dict[str, Any]:
    tags, data = run.data.tags, run.data
    folder = tags.get("run_dir", "")
    return {
        "run_id": run.info.run_id,
        "status": run.info.status,
        "start": run.info.start_time,
        "run": Path(folder).name or run.info.run_id,
        "sweep": tags.get(MLFLOW_PARENT_RUN_ID) or folder or run.info.run_id,
        **{tag: tags.get(tag, "") for tag in _KEPT},
        "metrics": frozenset(data.metrics),
        **{f"{PARAM}{k}": v for k, v in data.params.items() if k not in _NO_PARAMETERS},
    }
