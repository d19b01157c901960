"""Trials and learning curves, read back from MLflow."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Run

from tenfold.platform.errors import InputError, unknown

_TAGS = ("experiment", "method", "variant", "task", "seed", "commit", "step_unit", "metric", "mode")


@dataclass(frozen=True)
class Trials:
    """Trials of some experiments.

    Attributes:
        table: One row a finished trial: run_id, the tags, ``start`` (ms), ``param.<key>`` and
            ``metric.<name>`` (last values). Of trials that agree in experiment, method, variant,
            task, seed and parameters only the newest is in it.
        superseded: Finished trials left out for a newer one.
        failed: Trials that ended in an error or were killed.
        running: Trials that have not ended.
    """

    table: pd.DataFrame
    superseded: int
    failed: int
    running: int


def load_trials(
    client: MlflowClient, names: Sequence[str], tasks: Sequence[str] | None = None
) -> Trials:
    """The trials whose experiment or method is among the names.

    Args:
        client: Of the store.
        names: MLflow experiment names or method names.
        tasks: Only these tasks; all when None or empty.

    Raises:
        InputError: A name or a task that nothing has, or no trial has finished.
    """
    experiments = {e.experiment_id: e.name for e in client.search_experiments()}
    found = _search(client, list(experiments), "tags.kind = 'trial'")
    rows = [_row(run) for run in found]
    known = {row["experiment"] for row in rows} | {row["method"] for row in rows}
    for name in names:
        if name not in known:
            raise unknown("experiment or method in the store", name, sorted(known))
    rows = [row for row in rows if row["experiment"] in names or row["method"] in names]
    for task in tasks or ():
        if task not in {row["task"] for row in rows}:
            raise unknown("task in these runs", task, sorted({row["task"] for row in rows}))
    table = pd.DataFrame([row for row in rows if not tasks or row["task"] in tasks])
    finished = table[table["status"] == "FINISHED"].sort_values("start")
    if finished.empty:
        raise InputError(
            f"No trial of {', '.join(names)} has finished: wait, or look into the failed ones "
            f"with 'tenfold ui' ({len(table)} trials in all)."
        )
    params = [str(column) for column in finished if str(column).startswith("param.")]
    cell = ["experiment", "method", "variant", "task", "seed", *params]
    newest = finished.drop_duplicates(cell, keep="last")
    return Trials(
        table=newest.reset_index(drop=True),
        superseded=len(finished) - len(newest),
        failed=int(table["status"].isin(["FAILED", "KILLED"]).sum()),
        running=int(table["status"].isin(["RUNNING", "SCHEDULED"]).sum()),
    )


def load_curve(
    client: MlflowClient, run_id: str, metric: str, against: str | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values of one metric of one run, in the order of the steps.

    With `against` the values of that metric, which must rise, stand for the steps.
    """
    by_step = _by_step(client, run_id, metric)
    place = (
        {step: step for step in by_step} if against is None else _by_step(client, run_id, against)
    )
    steps = sorted(by_step.keys() & place.keys())
    return np.array([place[step] for step in steps]), np.array([by_step[step] for step in steps])


def _by_step(client: MlflowClient, run_id: str, metric: str) -> dict[int, float]:
    return {point.step: point.value for point in client.get_metric_history(run_id, metric)}


def _search(client: MlflowClient, experiment_ids: list[str], condition: str) -> list[Run]:
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
    return {
        "run_id": run.info.run_id,
        "status": run.info.status,
        "start": run.info.start_time,
        **{tag: tags.get(tag, "") for tag in _TAGS},
        **{f"param.{key}": value for key, value in data.params.items()},
        **{f"metric.{key}": value for key, value in data.metrics.items()},
    }
