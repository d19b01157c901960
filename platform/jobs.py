"""Experiments as jobs on a Ray cluster: `tenfold submit` and `tenfold jobs`.

What travels is a folder with the submitter's own Tenfold (`wheel.lay_out`), the experiment and what
it reads (`tasks.pack`). Ray unpacks it on every node and puts it first on the Python path of the
job's processes, so this version runs even where another is installed. Its dependencies must be
there: the cluster's image holds them.
"""

import asyncio
import os
import re
import secrets
import shlex
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from tenfold.platform.errors import INTERRUPTED, InputError, unknown
from tenfold.platform.experiment import EXPERIMENT_FILE, Experiment, load_experiment
from tenfold.platform.head import connect
from tenfold.platform.registry import get_method
from tenfold.platform.store import shown_uri, tracking_uri
from tenfold.platform.tasks import pack
from tenfold.platform.wheel import commit, lay_out
from tenfold.platform.yaml_text import yaml_of

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

# The folder that a job runs in goes when the job ends, so runs live elsewhere on the head.
HEAD_RUNS = "${TENFOLD_RUNS:-$HOME/tenfold-runs}"

_CREDENTIALS = (
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
)
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Submission(NamedTuple):
    """A submitted job: its id, and where it records its runs in words for the user."""

    job_id: str
    store: str


@dataclass(frozen=True)
class Job:
    """A job as the cluster knows it.

    Attributes:
        id: What `submit` returned.
        status: PENDING, RUNNING, SUCCEEDED, FAILED or STOPPED.
        experiment: The submitted file, or what a plain job's `tenfold run` was told.
        version: The submitter's version of Tenfold, or empty.
        commit: The submitter's commit, or empty.
        started: Start as ISO 8601 in UTC, or None.
        ended: End in the same form, or None while it runs.
        exit_code: What `tenfold run` returned, or None.
    """

    id: str
    status: str
    experiment: str
    version: str
    commit: str
    started: str | None
    ended: str | None
    exit_code: int | None


def submit(
    experiment_file: Path,
    *,
    address: str,
    token_file: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    options: Sequence[str] = (),
    python: str = "python",
) -> Submission:
    """Run an experiment on a cluster, with the Tenfold that runs here.

    Args:
        experiment_file: YAML file as `tenfold run` takes it.
        address: The head's dashboard, ``http(s)://host:port``.
        token_file: File with the cluster's token, see `head.find_token`.
        overrides: Fields of the experiment that win over the file's, see `load_experiment`.
        options: Options of `tenfold run` on the cluster that are no fields, such as ``--resume``.
        python: The interpreter on the head that has Tenfold's dependencies.

    Raises:
        InputError: A mistake in the experiment, the address, the token or the store.
    """
    experiment = load_experiment(experiment_file, overrides)
    env, store = _store_of_job(experiment, address)
    method = get_method(experiment.method)
    client = connect(address, token_file)
    from tenfold.platform.study import resolve_study  # imports RLlib

    resolve_study(experiment)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        version = lay_out(folder)
        tasks, config = pack(method, experiment.tasks, experiment.config, folder)
        sent = experiment.model_copy(update={"tasks": tasks, "config": config})
        fields = sent.model_dump(mode="json", exclude_defaults=True)
        (folder / EXPERIMENT_FILE).write_text(yaml_of(fields))
        command = [python, "-m", "tenfold.platform.cli", "run", EXPERIMENT_FILE, *options]
        job_id = client.submit_job(
            submission_id=f"tenfold-{experiment.name}-{secrets.token_hex(2)}",
            entrypoint=f'TENFOLD_RUNS="{HEAD_RUNS}" {shlex.join(command)}',
            runtime_env={"working_dir": name, "env_vars": {"TENFOLD_COMMIT": commit(), **env}},
            metadata={
                "experiment": str(experiment_file),
                "tenfold_version": version,
                "tenfold_commit": commit(),
            },
        )
    return Submission(job_id, store)


def follow(job_id: str, *, address: str, token_file: Path | None = None) -> int:
    """Print a job's log until the job ends. Ctrl-C ends this, not the job.

    Returns:
        The job's exit code: 0 succeeded, 1 failed or stopped, 2 a mistake in the experiment that
        only showed on the cluster; `INTERRUPTED` after Ctrl-C.

    Raises:
        InputError: No such job, or as `head.connect`.
    """
    client = connect(address, token_file)
    again = f"Take it up again with 'tenfold jobs logs {job_id} --address {address}'."
    with _known(client, job_id):
        client.get_job_info(job_id)
    try:
        asyncio.run(_print_log(client, job_id))
        job = _job(client.get_job_info(job_id))
        if job.status in ("PENDING", "RUNNING"):
            raise ConnectionError("the log ended before the job")
    except KeyboardInterrupt:
        print(f"Stopped following, the job goes on. {again}", file=sys.stderr)
        return INTERRUPTED
    except (RuntimeError, OSError) as error:
        print(f"Lost the head: {error}. {again}", file=sys.stderr)
        return 1
    if job.exit_code == 127:
        print(
            "The head found no such interpreter: start it with the environment's bin folder first "
            "on PATH, or name the interpreter with --python.",
            file=sys.stderr,
        )
    return exit_code(job)


def exit_code(job: Job) -> int:
    """What `tenfold` returns for a job that ended: 0, 1 or 2, as for a run on this machine."""
    if job.status == "SUCCEEDED":
        return 0
    return 2 if job.status == "FAILED" and job.exit_code == 2 else 1


def status(job_id: str, *, address: str, token_file: Path | None = None) -> Job:
    """What the cluster knows of a job.

    Raises:
        InputError: No such job, or as `head.connect`.
    """
    client = connect(address, token_file)
    with _known(client, job_id):
        return _job(client.get_job_info(job_id))


def logs(job_id: str, *, address: str, token_file: Path | None = None) -> str:
    """A job's log so far.

    Raises:
        InputError: No such job, or as `head.connect`.
    """
    client = connect(address, token_file)
    with _known(client, job_id):
        text: str = client.get_job_logs(job_id)
    return text


def stop(job_id: str, *, address: str, token_file: Path | None = None) -> bool:
    """Ask a job to end; its finished trials stay, and ``--resume`` picks it up.

    Returns:
        Whether it was running.

    Raises:
        InputError: No such job, or as `head.connect`.
    """
    client = connect(address, token_file)
    with _known(client, job_id):
        was_running: bool = client.stop_job(job_id)
    return was_running


def list_jobs(*, address: str, token_file: Path | None = None) -> list[Job]:
    """The jobs of a cluster that run Tenfold, also by plain `ray job submit`, the newest first.

    Raises:
        InputError: As `head.connect`.
    """
    client = connect(address, token_file)
    jobs = [_job(details) for details in client.list_jobs() if _is_ours(details)]
    return sorted(jobs, key=lambda job: job.started or "", reverse=True)


def _store_of_job(experiment: Experiment, address: str) -> tuple[dict[str, str], str]:
    """The environment that leads a job to its MLflow store, and the store in words.

    A database file of the submitter's machine means nothing on the head, so the job then uses the
    head's own; an address on the network is passed on, with MLflow's credentials for it.
    """
    uri = tracking_uri(experiment.tracking_uri)
    if uri.startswith("sqlite"):
        if experiment.tracking_uri is None:
            return {}, "mlflow.db on the head, in ~/tenfold-runs or in the head's TENFOLD_RUNS"
        if not uri.startswith("sqlite:////"):
            raise InputError(
                f"Bad value '{shown_uri(uri)}' for 'tracking_uri' of a job: give a server's "
                "address, or sqlite:////absolute/path of the head, or leave it out for the head's "
                "own store."
            )
        return {}, f"{shown_uri(uri)} on the head"
    if urlsplit(uri).hostname in _LOOPBACK and urlsplit(address).hostname not in _LOOPBACK:
        raise InputError(
            f"The MLflow store '{shown_uri(uri)}' is on this machine only: give an address that "
            "the cluster reaches, or unset MLFLOW_TRACKING_URI to use the head's own store."
        )
    credentials = {name: os.environ[name] for name in _CREDENTIALS if name in os.environ}
    return {"MLFLOW_TRACKING_URI": uri, **credentials}, shown_uri(uri)


async def _print_log(client: "JobSubmissionClient", job_id: str) -> None:
    async for lines in client.tail_job_logs(job_id):
        print(lines, end="", flush=True)


@contextmanager
def _known(client: "JobSubmissionClient", job_id: str) -> Iterator[None]:
    """Turn the job server's 'no such job' into an InputError that names the nearest."""
    try:
        yield
    except RuntimeError as error:
        if "status code 404" not in str(error):
            raise
        ids = [details.submission_id for details in client.list_jobs() if _is_ours(details)]
        raise unknown("job", job_id, ids) from None


# A job as Ray's users submit it: ``-- tenfold run x.yaml``.
_PLAIN = re.compile(r"\b(?:tenfold|tenfold\.platform\.cli) (?:run|sweep) (\S+)")


def _is_ours(details: Any) -> bool:
    has_id = details.submission_id is not None
    ours = "tenfold_version" in (details.metadata or {})
    return has_id and (ours or _PLAIN.search(details.entrypoint or "") is not None)


def _job(details: Any) -> Job:
    metadata: Mapping[str, str] = details.metadata or {}
    plain = _PLAIN.search(details.entrypoint or "")
    return Job(
        id=details.submission_id,
        status=details.status.value,
        experiment=metadata.get("experiment", plain.group(1) if plain else ""),
        version=metadata.get("tenfold_version", ""),
        commit=metadata.get("tenfold_commit", ""),
        started=_utc(details.start_time),
        ended=_utc(details.end_time),
        exit_code=details.driver_exit_code,
    )


def _utc(milliseconds: int | None) -> str | None:
    if not milliseconds:
        return None
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="seconds")
