"""The MLflow UI: what is refused, and that the server is on loopback over the store."""

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tenfold.platform import ui
from tenfold.platform.errors import InputError


@pytest.fixture
def database(tmp_path: Path) -> str:
    with sqlite3.connect(tmp_path / "mlflow.db") as connection:
        connection.execute("CREATE TABLE t (x)")
    return f"sqlite:///{tmp_path}/mlflow.db"


def test_busy_port_is_refused_and_a_free_one_named(database: str) -> None:
    with socket.create_server((ui.HOST, 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(InputError, match=rf"Port {port} is taken: use --port (\d+),") as error:
            ui.serve(database, port)
    named = int(str(error.value).split("--port ")[1].split(",")[0])
    assert named != port
    assert ui.is_free(named)


def test_store_without_runs_is_refused_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no runs"):
        ui.serve(f"sqlite:///{tmp_path}/runs/mlflow.db", 5000)
    assert list(tmp_path.iterdir()) == []


def test_server_of_its_own_is_refused() -> None:
    with pytest.raises(InputError, match="http://mlflow:5000"):
        ui.serve("http://mlflow:5000", 5000)


def test_ui_answers_on_loopback_and_ends_with_its_process(tmp_path: Path, database: str) -> None:
    with socket.create_server((ui.HOST, 0)) as server:
        port = server.getsockname()[1]
    code = "import sys; from tenfold.platform.ui import serve; serve(sys.argv[1], int(sys.argv[2]))"
    process = subprocess.Popen(
        [sys.executable, "-c", code, database, str(port)],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline().split()[5] == f"http://127.0.0.1:{port},"
        assert "Default" in _answer(process, f"http://127.0.0.1:{port}{_SEARCH}")
    finally:
        os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C in a terminal
        process.communicate()
    assert ui.is_free(port)
    with sqlite3.connect(tmp_path / "mlflow.db") as connection:
        assert connection.execute("SELECT name FROM experiments").fetchall() == [("Default",)]


_SEARCH = "/api/2.0/mlflow/experiments/search?max_results=10"


def _answer(process: subprocess.Popen[str], address: str) -> str:
    """However slow the machine is, as long as the server lives."""
    while process.poll() is None:
        try:
            with urllib.request.urlopen(address, timeout=30) as reply:
                return str(reply.read(), "utf-8")
        except OSError:
            time.sleep(0.2)
    raise AssertionError(f"the server ended before it answered at {address}")
