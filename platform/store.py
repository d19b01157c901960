"""Where runs go: the folder of runs, the MLflow store, and whether it can be written to."""

import os
import re
import shutil
import sqlite3
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlparse

from filelock import FileLock

from tenfold.platform.errors import InputError, one_line

if TYPE_CHECKING:
    from mlflow import MlflowClient

MINIMUM_FREE_BYTES = 100 * 2**20
_LONGEST_SECONDS = 60  # that another process may take to make the tables of a new database


# Ray unpacks a job's folder into its package cache, which goes when the job has ended.
_PACKAGE_CACHE = ("runtime_resources", "working_dir_files")


def runs_folder() -> Path:
    """The folder that holds Tune's results and the default store (made when first needed).

    The one that ``TENFOLD_RUNS`` names, else ``runs`` in the current folder; of a job whose current
    folder goes with it, ``~/tenfold-runs``.
    """
    named = os.environ.get("TENFOLD_RUNS")
    if named is None and _is_fleeting(Path.cwd()):
        return Path.home() / "tenfold-runs"
    return Path(named or "runs").absolute()


def in_a_job() -> bool:
    """Whether this process is the entrypoint of a Ray job, where nobody types."""
    return "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ


def _is_fleeting(folder: Path) -> bool:
    parts = folder.parts
    return any(parts[at : at + 2] == _PACKAGE_CACHE for at in range(len(parts)))


def tracking_uri(given: str | None = None) -> str:
    """The MLflow store: what is given, else ``MLFLOW_TRACKING_URI``, else sqlite under `runs/`.

    Raises:
        InputError: The address is neither sqlite, another database nor http(s), or it holds a
            password that others would see.
    """
    uri = given or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{runs_folder()}/mlflow.db"
    try:
        scheme = urlparse(uri).scheme if uri.isprintable() else ""
    except ValueError:
        scheme = ""
    if scheme.split("+")[0] not in ("sqlite", "postgresql", "mysql", "http", "https"):
        raise InputError(
            f"Bad tracking address '{one_line(shown_uri(uri))}': give sqlite:///path/to/mlflow.db, "
            "http(s)://host:port, or a postgresql or mysql address."
        )
    if shown_uri(uri) != uri and (given or scheme.startswith("http")):
        raise InputError(
            f"The tracking address '{one_line(shown_uri(uri))}' holds a password, which records "
            "and lists of processes would show: put a server's into MLFLOW_TRACKING_USERNAME and "
            "MLFLOW_TRACKING_PASSWORD, and a database's address into MLFLOW_TRACKING_URI."
        )
    return uri


def shown_uri(uri: str) -> str:
    """A store's address for people to read: without its password."""
    return re.sub(r"://([^:/@]*):.*@", r"://\1:***@", uri)


def artifact_location(uri: str) -> str | None:
    """Where a new MLflow experiment keeps artifacts: beside a sqlite file, else as the server says.

    Args:
        uri: A store address as `tracking_uri` gives it.
    """
    path = sqlite_path(uri)
    return (path.parent / "artifacts").as_uri() if path else None


def sqlite_path(uri: str) -> Path | None:
    """The file of a ``sqlite:///`` address, or None."""
    if not uri.startswith("sqlite:///"):
        return None
    return Path(uri.removeprefix("sqlite:///")).absolute()


def check_store(uri: str) -> None:
    """Make sure that runs can be recorded in a store, within 2 seconds.

    Raises:
        InputError: The server does not answer, or the file cannot be written, or the disk is full.
    """
    path = sqlite_path(uri)
    if path is not None:
        check_folder(path.parent)
        if path.exists() and not os.access(path, os.W_OK):
            raise InputError(f"The store '{path}' is not writable: change its permissions.")
        try:
            with sqlite3.connect(path, timeout=2) as connection:
                connection.execute("PRAGMA schema_version")
        except sqlite3.DatabaseError as error:
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY:
                raise InputError(
                    f"The store '{path}' is locked by another process: wait for its end, or use "
                    "--offline and send the runs later with 'tenfold sync'."
                ) from None
            raise InputError(f"The store '{path}' is not a usable database: {error}.") from None
    elif uri.startswith("http"):
        try:
            urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=2).close()
        except urllib.error.HTTPError:
            return  # a server that answers, if only with a status: credentials are MLflow's affair
        except (OSError, ValueError) as error:
            raise InputError(
                f"The MLflow server at '{shown_uri(uri)}' does not answer ({error}): start it, "
                "correct the address, or use --offline and send the runs later with 'tenfold sync'."
            ) from None


def open_store(uri: str) -> "MlflowClient":
    """A client of a store whose tables are there.

    MLflow makes the tables of a new database at its first use, and two processes that do so at once
    disturb each other: one after the other they do not.
    """
    from mlflow import MlflowClient

    path = sqlite_path(uri)
    if path is None or str(path) in _READY:
        return MlflowClient(tracking_uri=uri)
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock", timeout=_LONGEST_SECONDS):
        client = MlflowClient(tracking_uri=uri)
        client.search_experiments(max_results=1)
    _READY.add(str(path))
    return client


_READY: set[str] = set()


def failure_of_store(uri: str, error: BaseException) -> str:
    """What a store, its driver or a proxy before it raised, as one sentence."""
    reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    return f"the store '{shown_uri(uri)}' does not answer as MLflow does ({reason})."


def check_folder(folder: Path) -> None:
    """Make sure that a folder exists, can be written to and has room.

    Raises:
        InputError: It cannot, with the reason.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".writable-{os.getpid()}"
        probe.write_bytes(b"x" * 4096)
        probe.unlink()
    except OSError as error:
        raise InputError(
            f"The folder '{folder}' cannot be written to ({error.strerror}): choose another with "
            "the environment variable TENFOLD_RUNS."
        ) from None
    free = shutil.disk_usage(folder).free
    if free < MINIMUM_FREE_BYTES:
        raise InputError(
            f"The disk of '{folder}' has {free / 2**20:.0f} MiB left, at least "
            f"{MINIMUM_FREE_BYTES / 2**20:.0f} MiB are needed: free some, or choose another folder "
            "with the environment variable TENFOLD_RUNS."
        )
