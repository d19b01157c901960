"""What leaves the machine or its folder, who may run code, and who is listened to.

8 processor seconds, most of them for a Ray of its own.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tenfold.envs.offline.card import DataCard
from tenfold.platform import evaluate, ui
from tenfold.platform.errors import InputError
from tenfold.platform.experiment import make_experiment
from tenfold.platform.journal import Journal
from tenfold.platform.plan import plan
from tenfold.platform.registry import get_method
from tenfold.platform.store import check_store, failure_of_store, shown_uri, tracking_uri
from tenfold.platform.tasks import pack
from tenfold.platform.trust import check_trusted

SECRET = "hunter2"

LISTENERS = """
import os, psutil, ray
from tenfold.platform.ray_session import start_local

start_local(num_cpus=1)

@ray.remote
def work():
    return os.getpid()

own = {os.getpid(), ray.get(work.remote())}
session = ray._private.worker._global_node.get_session_dir_path()
for process in psutil.process_iter(["cmdline"]):  # what has just ended has none
    words = process.info["cmdline"] or ()
    ours = process.pid in own or any(session in word for word in words)
    for connection in process.net_connections("inet") if ours else ():
        if connection.status == psutil.CONN_LISTEN:
            print(process.name(), connection.laddr.ip.removeprefix("::ffff:"))
"""


def test_a_local_ray_listens_on_loopback_alone(tmp_path: Path) -> None:
    """Head, raylet, dashboard, agents, driver and workers; the token is for this user alone."""
    environment = {
        **os.environ,
        "HOME": str(tmp_path),
        "RAY_USAGE_STATS_ENABLED": "0",
        "TENFOLD_RUNS": str(tmp_path / "runs"),
    }
    done = subprocess.run(
        [sys.executable, "-c", LISTENERS],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    found = [line.rsplit(" ", 1) for line in done.stdout.splitlines()]
    assert {"gcs_server", "raylet"} <= {name for name, _ in found}
    assert len(found) >= 5
    assert {address for _, address in found} == {"127.0.0.1"}, found
    token = tmp_path / ".ray" / "auth_token"
    assert not token.exists() or token.stat().st_mode & 0o077 == 0


def test_the_ui_listens_on_loopback_and_keeps_its_store_out_of_the_process_list() -> None:
    command = ui.command(5000)
    assert command[command.index("--host") + 1] == "127.0.0.1"
    assert not any("sqlite" in word or "backend-store-uri" in word for word in command)


# Who made a checkpoint


@pytest.fixture
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkpoint with a pickle among the user's own runs."""
    monkeypatch.setenv("TENFOLD_RUNS", str(tmp_path / "runs"))
    folder = tmp_path / "runs" / "tune" / "run" / "trial" / "checkpoint_000000"
    (folder / "learner").mkdir(parents=True)
    (folder / "learner" / "state.pkl").touch()
    for path in [folder, *folder.parents[:4], *folder.rglob("*")]:
        path.chmod(path.stat().st_mode & ~0o022)
    return folder


def test_an_own_checkpoint_is_loaded(checkpoint: Path) -> None:
    check_trusted(checkpoint, trust=False)


def test_a_checkpoint_without_pickles_is_loaded_from_anywhere(tmp_path: Path) -> None:
    (tmp_path / "weights.safetensors").touch()
    check_trusted(tmp_path, trust=False)


@pytest.mark.parametrize("reason", ["elsewhere", "link", "other user", "writable"])
def test_a_checkpoint_that_may_be_somebody_elses_asks_for_trust(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    says = {
        "elsewhere": "does not lie in your folder of runs",
        "link": "'state.pkl' in it is a link",
        "other user": "belongs to another user",
        "writable": "everybody may write to 'trial'",
    }[reason]
    if reason == "elsewhere":
        monkeypatch.setenv("TENFOLD_RUNS", str(tmp_path / "others"))
    elif reason == "link":
        (checkpoint / "learner" / "state.pkl").rename(tmp_path / "state.pkl")
        (checkpoint / "learner" / "state.pkl").symlink_to(tmp_path / "state.pkl")
    elif reason == "other user":
        monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    else:
        checkpoint.parent.chmod(0o777)
    with pytest.raises(InputError, match=rf"holds pickles.* {says}.*: give --trust"):
        check_trusted(checkpoint, trust=False)
    check_trusted(checkpoint, trust=True)


def test_a_linked_folder_of_a_checkpoint_counts_where_it_lies(
    checkpoint: Path, tmp_path: Path
) -> None:
    checkpoint.rename(tmp_path / "foreign")
    checkpoint.symlink_to(tmp_path / "foreign")
    with pytest.raises(InputError, match="does not lie in your folder of runs"):
        check_trusted(checkpoint, trust=False)


@pytest.mark.parametrize("trust", [False, True])
def test_evaluate_asks_before_it_builds_anything(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, trust: bool
) -> None:
    monkeypatch.setenv("TENFOLD_RUNS", "/nowhere")
    run: Any = type("Run", (), {"data": type("Data", (), {"tags": {"method": "ppo"}})})
    monkeypatch.setattr(evaluate, "open_store", lambda uri: None)
    monkeypatch.setattr(evaluate, "find_trial", lambda client, run_id: run)
    folders = checkpoint.parents[1], checkpoint.parent
    monkeypatch.setattr(evaluate, "trial_folders", lambda run, uri: folders)
    expected = "experiment.yaml' does not exist" if trust else "--trust"
    with pytest.raises(InputError, match=expected):
        evaluate.evaluate("0123abcd", "sqlite:///x", trust=trust)


# Paths


@pytest.mark.parametrize("name", ["..", "../x", "a/b", "/x", ".x", "a\\b", "a\nb", "", "x" * 101])
def test_names_that_become_paths_cannot_leave_their_folder(name: str) -> None:
    with pytest.raises(InputError):
        make_experiment({"method": "softmw", "name": name})
    if name in ("a\\b", "a\nb"):
        return
    fields = {"episodes": 1, "transitions": 1, "sha256": "", "environment": "x"}
    returns = {"mean": 0.0, "std": 0.0, "edges": [0.0, 1.0], "counts": [1]}
    with pytest.raises(ValueError, match=r"agents\.0"):
        DataCard.model_validate({**fields, "agents": [name], "returns": returns})


class Recorder:
    """Stands for MLflow's client: which artifacts it was given."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    def log_artifact(self, run_id: str, path: str, below: str | None = None) -> None:
        self.sent.append(Path(path).name)


def test_a_journal_sends_files_of_its_own_run_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    journal = Journal(run / "tracking", "trial")
    outside = tmp_path / "secret.txt"
    for path in (outside, run / "figure.png"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    (run / "link.png").symlink_to(outside)
    journal.path.parent.mkdir(exist_ok=True)
    journal.start("e", "r", {})
    for path in (outside, run / ".." / "secret.txt", run / "link.png", run / "figure.png"):
        journal.artifact(path)
    recorder: Any = Recorder()
    monkeypatch.setattr(Journal, "_start_run", lambda *_: "0123")
    journal._send_waiting(recorder, "uri")
    assert recorder.sent == ["figure.png"]


def test_what_a_job_takes_along_lies_in_its_folder(tmp_path: Path) -> None:
    world = tmp_path / "deep" / "world.yaml"
    world.parent.mkdir()
    world.write_text("queues: [{arrivals: {kind: trace, path: /etc/hostname}}]")
    folder = tmp_path / "job"
    folder.mkdir()
    with pytest.raises(InputError, match="absolute path"):
        pack(get_method("softmw"), [str(world)], {}, folder)


# Passwords


@pytest.mark.parametrize("scheme", ["http", "https", "postgresql", "mysql+pymysql"])
def test_a_password_in_an_address_is_refused_where_others_see_it(scheme: str) -> None:
    with pytest.raises(InputError, match="holds a password") as refusal:
        tracking_uri(f"{scheme}://me:{SECRET}@host/db")
    assert SECRET not in str(refusal.value)


def test_a_password_in_the_environment_is_shown_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:{SECRET}@host")
    with pytest.raises(InputError, match="MLFLOW_TRACKING_PASSWORD"):
        tracking_uri()
    address = f"postgresql://me:{SECRET}@host/db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    uri = tracking_uri()
    assert uri == address
    assert shown_uri(uri) == "postgresql://me:***@host/db"
    experiment = make_experiment({"method": "softmw"})
    assert experiment.tracking_uri is None
    said = [*plan(experiment, Path("runs"), uri), failure_of_store(uri, OSError("down"))]
    with pytest.raises(InputError) as refusal:
        check_store(f"http://me:{SECRET}@127.0.0.1:9/")
    assert not any(SECRET in line for line in [*said, str(refusal.value)])
