"""A journal on disk for every MLflow run, and its delivery to the store.

What is to be recorded is first appended to ``<run folder>/tracking/<key>.jsonl``, then sent. A
cursor file beside it says how many lines the store has. So a store that is down, a killed driver
and an offline run are one case: lines that wait, which the next delivery sends in order.
"""

import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Param
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from tenfold.platform.store import artifact_location, open_store
from tenfold.platform.whole_file import replace_file

SWEEP = "sweep"
_JOURNAL_TAG = "journal"
_END = "end"
# Without it MLflow opens an experiment as one of language models, with evaluations and traces.
EXPERIMENT_KIND = {"mlflow.experimentKind": "custom_model_development"}
_BATCH = 900  # MLflow takes at most 1,000 metrics a request


class Journal:
    """The record of one MLflow run: append to it at any time, deliver it when the store is up."""

    def __init__(self, folder: Path, key: str) -> None:
        self.key = key
        self.path = folder / f"{key}.jsonl"
        self._cursor_path = folder / f"{key}.cursor.json"
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def exists(self) -> bool:
        return self.path.exists()

    def start(
        self,
        experiment: str,
        run_name: str,
        tags: Mapping[str, str],
        params: Mapping[str, Any] | None = None,
        parent: str | None = None,
    ) -> None:
        """The run begins; `parent` is the key of the journal of its parent run."""
        self._append(
            op="start",
            experiment=experiment,
            run_name=run_name,
            tags=dict(tags),
            params={key: str(value) for key, value in (params or {}).items()},
            parent=parent,
        )

    def params(self, values: Mapping[str, Any]) -> None:
        """Parameters that are known only later than the start."""
        self._append(op="params", values={key: str(value) for key, value in values.items()})

    def tag(self, key: str, value: str) -> None:
        self._append(op="tag", key=key, value=value)

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        self._append(op="metrics", step=step, values=dict(values))

    def artifact(self, path: Path) -> None:
        self._append(op="artifact", path=str(path))

    def status(self, status: str) -> None:
        """``RUNNING`` when a run is resumed, else ``FINISHED``, ``FAILED`` or ``KILLED``."""
        self._append(op="status", status=status)

    def last_step(self) -> int:
        """The last step with metrics, -1 if there is none."""
        steps = [record["step"] for record in self._records() if record["op"] == "metrics"]
        return max(steps, default=-1)

    def last_status(self) -> str:
        """The last status, ``RUNNING`` from the start on."""
        statuses = [record["status"] for record in self._records() if record["op"] == "status"]
        return statuses[-1] if statuses else "RUNNING"

    def last_tag(self, key: str) -> str:
        """A tag that was set after the start, empty if it was not."""
        values = [r["value"] for r in self._records() if r["op"] == "tag" and r["key"] == key]
        return values[-1] if values else ""

    def tags(self) -> dict[str, str]:
        """The tags that the run began with; empty before it does."""
        begun = [record["tags"] for record in self._records() if record["op"] == "start"]
        return dict(begun[0]) if begun else {}

    def history(self, metric: str) -> list[tuple[float, float]]:
        """Step and value of every record of a metric, in the order of the records."""
        return [
            (record["step"], record["values"][metric])
            for record in self._records()
            if record["op"] == "metrics" and metric in record["values"]
        ]

    def waiting(self) -> int:
        """How many records the store does not have."""
        return sum(1 for _ in self._records(self._cursor()["offset"]))

    def run_id(self) -> str | None:
        """The MLflow run's id, once the store has given one."""
        run_id: str | None = self._cursor()["run_id"]
        return run_id

    def deliver(self, client: MlflowClient, uri: str) -> None:
        """Send every record that waits, in order.

        Raises:
            MlflowException: The store refused or could not be reached; what was sent is noted.
        """
        cursor = self._cursor()
        records = list(self._records(cursor["offset"]))
        batch: list[Metric] = []
        for number, record in enumerate(records, start=1):
            if record["op"] == "start":
                cursor["run_id"] = self._start_run(client, uri, record)
            elif record["op"] == "metrics":
                batch.extend(
                    Metric(key, value, record["time"], record["step"])
                    for key, value in record["values"].items()
                )
                following = records[number]["op"] if number < len(records) else None
                if following == "metrics" and len(batch) < _BATCH:
                    continue
                for begin in range(0, len(batch), _BATCH):
                    client.log_batch(cursor["run_id"], metrics=batch[begin : begin + _BATCH])
                batch = []
            else:
                _send(client, cursor["run_id"], record)
            cursor["offset"] = record[_END]
            replace_file(self._cursor_path, json.dumps(cursor))

    def _start_run(self, client: MlflowClient, uri: str, record: Mapping[str, Any]) -> str:
        experiment_id = _experiment_id(client, uri, record["experiment"])
        # A crash between the creation of the run and the cursor must not leave two of them.
        name = str(self.path.absolute())
        found = client.search_runs([experiment_id], f"tags.{_JOURNAL_TAG} = '{name}'")
        if found:
            run_id = str(found[0].info.run_id)
        else:
            tags = {**record["tags"], _JOURNAL_TAG: name}
            if record["parent"] is not None:
                parent = Journal(self.path.parent, record["parent"]).run_id()
                if parent is not None:
                    tags[MLFLOW_PARENT_RUN_ID] = parent
            run = client.create_run(experiment_id, record["time"], tags, record["run_name"])
            run_id = str(run.info.run_id)
        _send_params(client, run_id, record["params"])
        return run_id

    def _append(self, **record: Any) -> None:
        line = json.dumps({**record, "time": int(time.time() * 1000)}).encode() + b"\n"
        with self.path.open("a+b") as file:
            if file.tell() > 0:
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":  # a crash tore the last line: it stays by itself
                    line = b"\n" + line
            file.write(line)

    def _records(self, offset: int = 0) -> Iterator[dict[str, Any]]:
        """The records from a place in the file on; each says where it ends (`_END`)."""
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            file.seek(offset)
            for line in file:
                if not line.endswith(b"\n"):
                    return  # it is being written, or torn
                offset += len(line)
                try:
                    record = json.loads(line)
                except ValueError:  # torn by a crash, and gone on after it
                    continue
                yield {**record, _END: offset}

    def _cursor(self) -> dict[str, Any]:
        cursor: dict[str, Any] = {"run_id": None, "offset": 0}
        if self._cursor_path.exists():
            cursor |= json.loads(self._cursor_path.read_text())
        return cursor


def _send(client: MlflowClient, run_id: str, record: Mapping[str, Any]) -> None:
    """Deliver a record that is neither a start nor metrics."""
    if record["op"] == "artifact":
        if Path(record["path"]).exists():
            client.log_artifact(run_id, record["path"])
    elif record["op"] == "tag":
        client.set_tag(run_id, record["key"], record["value"])
    elif record["op"] == "params":
        _send_params(client, run_id, record["values"])
    elif record["status"] == "RUNNING":
        client.update_run(run_id, status="RUNNING")
    else:
        client.set_terminated(run_id, status=record["status"], end_time=record["time"])


def _send_params(client: MlflowClient, run_id: str, values: Mapping[str, str]) -> None:
    params = [Param(key, value) for key, value in values.items()]
    for begin in range(0, len(params), 100):
        client.log_batch(run_id, params=params[begin : begin + 100])


def journals(folder: Path) -> list[Journal]:
    """The journals in a ``tracking`` folder, the parent run's first."""
    keys = sorted(path.stem for path in folder.glob("*.jsonl"))
    return [Journal(folder, key) for key in sorted(keys, key=lambda key: key != SWEEP)]


def deliver_all(found: Iterable[Journal], uri: str) -> int:
    """Send all that waits in some journals; returns the number of records sent.

    Raises:
        MlflowException: The store refused or could not be reached.
    """
    client = open_store(uri)
    sent = 0
    for journal in found:
        waiting = journal.waiting()
        if waiting:
            journal.deliver(client, uri)
            sent += waiting
    return sent


def _experiment_id(client: MlflowClient, uri: str, name: str) -> str:
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        try:
            return str(client.create_experiment(name, artifact_location(uri), EXPERIMENT_KIND))
        except MlflowException:  # another process was quicker
            experiment = client.get_experiment_by_name(name)
            if experiment is None:
                raise
    if experiment.lifecycle_stage == "deleted":
        client.restore_experiment(experiment.experiment_id)
    return str(experiment.experiment_id)
