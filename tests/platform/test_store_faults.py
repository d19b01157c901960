"""Stores that hang, refuse, answer with a proxy's page or are locked: the run goes on.

Costs about 10 processor seconds, most of it imports.
"""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import invoke
from mlflow import MlflowClient

from tenfold.platform import tracking
from tenfold.platform.errors import InputError
from tenfold.platform.experiment import make_experiment
from tenfold.platform.journal import Journal, deliver_all, journals
from tenfold.platform.store import check_store, open_store
from tenfold.platform.study import resolve_study
from tenfold.platform.tracking import TRACKING_FOLDER, Tracker

PAGE = b"<html><body>Sign in to go on</body></html>"


@contextmanager
def server(answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[str]:
    """A server on loopback that answers every request in one way; yields its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        do_POST = do_GET

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        listening.daemon_threads = True
        thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()
        thread.join()


def with_status(code: int, kind: str, body: bytes) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(code)
        request.send_header("Content-Type", kind)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    return answer


@contextmanager
def hanging() -> Iterator[str]:
    over = threading.Event()
    with server(lambda _: over.wait() and None) as uri:
        yield uri
        over.set()


STORES: dict[str, Callable[[], Any]] = {
    "hangs": hanging,
    "expired-token": lambda: server(with_status(401, "application/json", b"{}")),
    "forbidden": lambda: server(with_status(403, "text/plain", b"token expired")),
    "proxy-page": lambda: server(with_status(200, "text/html", PAGE)),
    "proxy-error": lambda: server(with_status(502, "text/html", PAGE)),
}
broken = pytest.mark.parametrize("store", STORES.values(), ids=STORES.keys())


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a store that works, made once: that takes seconds."""
    file = tmp_path_factory.mktemp("store") / "mlflow.db"
    open_store(f"sqlite:///{file}")
    return file


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")


def recorded(run_dir: Path, uri: str) -> Tracker:
    """The tracker of a run with one trial that ends, all of it while the store is as it is."""
    run_dir.mkdir(parents=True)
    experiment = make_experiment({"method": "ucb1", "name": "faulty"})
    (run_dir / "experiment.yaml").write_text("method: ucb1\n")
    tracker = Tracker(resolve_study(experiment), run_dir, uri, offline=False)
    trial: Any = SimpleNamespace(
        trial_id="t1",
        config={"task": "two-arms", "variant": "ucb1", "seed": 0},
        path=str(run_dir / "t1"),
        local_path=str(run_dir / "t1"),
        status="TERMINATED",
        last_result={"done": True},
    )
    tracker.open()
    tracker.log_trial_start(trial)
    for pulls in (50, 100, 150):
        tracker.log_trial_result(1, trial, {"pulls": pulls, "regret": pulls / 8})
    tracker.log_trial_end(trial)
    return tracker


def assert_arrives(run_dir: Path, store: Path) -> None:
    """All that waits is taken by a sound store, once."""
    uri = f"sqlite:///{store}"
    found = journals(run_dir / TRACKING_FOLDER)
    assert all(journal.waiting() for journal in found)
    deliver_all(found, uri)
    run_id = Journal(run_dir / TRACKING_FOLDER, "t1").run_id()
    assert run_id is not None
    client = MlflowClient(tracking_uri=uri)
    assert client.get_run(run_id).info.status == "FINISHED"
    history = client.get_metric_history(run_id, "regret")
    assert [(m.step, m.value) for m in history] == [(50, 6.25), (100, 12.5), (150, 18.75)]


@broken
def test_the_run_goes_on_says_so_once_and_sync_delivers(
    store: Callable[[], Any], runs: Path, sound: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir = runs / "tune" / "faulty-1"
    with store() as uri:
        tracker = recorded(run_dir, uri)
        said = capsys.readouterr().out
        assert len(said.splitlines()) == 1
        assert "The run goes on" in said
        assert tracker.undelivered
        synced = invoke("sync", "--tracking-uri", uri)
        assert synced.exit_code != 0
        if synced.exit_code == 1 and not isinstance(synced.exception, InputError):
            assert "still waits" in synced.stderr
            assert len(synced.stderr.splitlines()) == 1
    assert_arrives(run_dir, sound)


def test_a_hanging_store_takes_a_twentieth_of_the_time_at_most(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(tracking.time, "monotonic", lambda: now[0])
    calls = []

    def hang(*_: Any) -> int:
        calls.append(now[0])
        now[0] += 21.0
        raise TimeoutError

    monkeypatch.setattr(tracking, "deliver_all", hang)
    tracker = recorded(runs / "tune" / "faulty-1", "http://127.0.0.1:9")
    while now[0] < 2_000:
        tracker._deliver()
        now[0] += 1.0
    waited = 21.0 * len(calls)
    assert len(calls) > 3
    assert waited < now[0] / 19


def test_a_locked_database_is_told_at_the_start(sound: Path) -> None:
    """Of one that is locked in mid-run see `test_tracking.py`: MLflow waits 20 s for it."""
    with closing(sqlite3.connect(sound, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(InputError, match="is locked by another process"):
            check_store(f"sqlite:///{sound}")
    check_store(f"sqlite:///{sound}")
