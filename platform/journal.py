"""A journal on disk for every MLflow run, and its delivery to the store.

What is to be recorded is first appended to ``<run folder>/tracking/<key>.jsonl``, then sent. A
cursor file beside it says how many lines the store has. So a store that is down, a killed driver
and an offline run are one case: lines that wait, which the next delivery sends in order.

Each line ends with a checksum, so that one that a crash tore or a disk changed is left out and told
(`Journal.damage`); the cursor is sealed, and without it all is sent again, which a store that has
it already takes as the same.
"""

import json
import os
import re
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Param
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from tenfold.platform.seals import Damaged, read_sealed, sealed
from tenfold.platform.store import artifact_location, open_store
from tenfold.platform.whole_file import replace_file

SWEEP = "sweep"
_JOURNAL_TAG = "journal"
_END = "end"
# Without it MLflow opens an experiment as one of language models, with evaluations and traces.
EXPERIMENT_KIND = {"mlflow.experimentKind": "custom_model_development"}
_CHECKSUM = re.compile(rb', "crc": (\d+)\}\n?$')
_BATCH = 900  # MLflow takes at most 1,000 metrics a request


class Journal:
    """The record of one MLflow run: append to it at any time, deliver it when the store is up."""

    def __init__(self, folder: Path, key: str) -> None:
        self.key = key
        self.path = folder / f"{key}.jsonl"
        self._cursor_path = folder / f"{key}.cursor.json"
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def begun(self) -> bool:
        """Whether the run's start is written down, or known to the store."""
        started = any(record["op"] == "start" for record in self._records())
        return started or self.run_id() is not None

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

    def artifact(self, path: Path, below: str | None = None) -> None:
        """A file, or all files of a folder, below a name if one is given."""
        self._append(op="artifact", path=str(path), **({"below": below} if below else {}))

    def status(self, status: str) -> None:
        """``RUNNING`` when a run is resumed, else ``FINISHED``, ``FAILED`` or ``KILLED``."""
        self._append(op="status", status=status)

    def last_step(self) -> int:
        """The last step with metrics, -1 if there is none; also one that only the store has."""
        steps = [record["step"] for record in self._records() if record["op"] == "metrics"]
        return max([*steps, self._cursor()["last_step"]])

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

    def damage(self) -> str | None:
        """What is lost of the journal in a sentence, None if nothing is.

        A file that is shorter than what was sent of it is sent from its present end on.
        """
        if not self.path.exists():
            return None
        cursor, size = self._cursor(), self.path.stat().st_size
        if cursor["offset"] > size:
            replace_file(self._cursor_path, sealed({**cursor, "offset": size}))
            return f"The journal '{self.path}' was cut short: the store has what is missing there."
        with self.path.open("rb") as file:
            torn = sum(_record_in(line) is None for line in file)
        if not torn:
            return None
        records = "1 record that is" if torn == 1 else f"{torn} records that are"
        return f"The journal '{self.path}' has {records} torn or changed: left out."

    def run_id(self) -> str | None:
        """The MLflow run's id, once the store has given one."""
        run_id: str | None = self._cursor()["run_id"]
        return run_id

    def deliver(self, client: MlflowClient, uri: str) -> None:
        """Send every record that waits, in order; all of them to a store that has lost the run.

        Raises:
            MlflowException: The store refused or could not be reached; what was sent is noted.
        """
        try:
            self._send_waiting(client, uri)
        except MlflowException as error:
            unknown = error.error_code == ErrorCode.Name(RESOURCE_DOES_NOT_EXIST)
            if self.run_id() is None or not unknown:
                raise
            self._cursor_path.unlink()
            self._send_waiting(client, uri)

    def _send_waiting(self, client: MlflowClient, uri: str) -> None:
        cursor = self._cursor()
        records = list(self._records(cursor["offset"]))
        batch: list[Metric] = []
        starts = [record for record in records if record["op"] == "start"]
        if cursor["run_id"] is None:
            if not starts:
                return  # it is lost, and the run begins anew when it is resumed
            cursor["run_id"] = self._start_run(client, uri, starts[0])
        for number, record in enumerate(records, start=1):
            if record["op"] == "start":
                pass  # done first
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
                cursor["last_step"] = max(record["step"], cursor["last_step"])
            else:
                _send(client, cursor["run_id"], record, self.path.parent.parent)
            cursor["offset"] = record[_END]
            replace_file(self._cursor_path, sealed(cursor))

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
        text = json.dumps({**record, "time": int(time.time() * 1000)}).encode()
        line = text[:-1] + b', "crc": %d}\n' % zlib.crc32(text)
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
                record = _record_in(line)
                if record is not None:
                    yield {**record, _END: offset}

    def _cursor(self) -> dict[str, Any]:
        cursor: dict[str, Any] = {"run_id": None, "offset": 0, "last_step": -1}
        if self._cursor_path.exists():
            with suppress(Damaged):
                cursor |= read_sealed(self._cursor_path, older=True)
        return cursor


def _record_in(line: bytes) -> dict[str, Any] | None:
    """The record of a line, None if a crash tore it or a disk changed it."""
    checksum = _CHECKSUM.search(line)
    if checksum is not None:
        line = line[: checksum.start()] + b"}"
        if zlib.crc32(line) != int(checksum[1]):
            return None
    try:
        record: dict[str, Any] = json.loads(line)
    except ValueError:
        return None
    # Only an older version's has no checksum, and a changed line may look like that.
    whole = isinstance(record, dict) and "op" in record and "crc" not in record
    return record if whole else None


def _send(client: MlflowClient, run_id: str, record: Mapping[str, Any], folder: Path) -> None:
    """Deliver a record that is neither a start nor metrics.

    Of files only those of the run's folder are sent: a journal that somebody else wrote must not
    take others of this user's to a server.
    """
    if record["op"] == "artifact":
        path = Path(record["path"]).resolve()
        if folder.resolve() in path.parents and path.exists():
            log = client.log_artifacts if path.is_dir() else client.log_artifact
            log(run_id, str(path), record.get("below"))
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
