"""Jobs: what is sent to a cluster, and real jobs on a head of the test's own."""

import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import invoke
from ray.job_submission import JobDetails

from tenfold.platform import jobs, wheel
from tenfold.platform.errors import InputError

EXPERIMENT = """\
method: ppo
config:
  train_batch_size_per_learner: 128
  minibatch_size: 64
  num_epochs: 1
  num_env_runners: 0
stop: {training_iteration: 1}
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an experiment, which is the current one; nothing of the user's is seen."""
    (tmp_path / "tiny.yaml").write_text(EXPERIMENT)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "MLFLOW_TRACKING_URI", *CREDENTIALS):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


CREDENTIALS = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")


@dataclass
class Recorder:
    """Stands for Ray's client: keeps what it is asked to submit."""

    request: dict[str, Any] = field(default_factory=dict)
    folder: list[str] = field(default_factory=list)
    experiment: str = ""
    jobs: list[JobDetails] = field(default_factory=list)

    def submit_job(self, **request: Any) -> str:
        self.request = request
        folder = Path(request["runtime_env"]["working_dir"])
        self.folder = sorted(f.relative_to(folder).as_posix() for f in folder.rglob("*"))
        self.experiment = (folder / jobs.EXPERIMENT_FILE).read_text()
        return "raysubmit_1"

    def list_jobs(self) -> list[JobDetails]:
        return self.jobs


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder()
    monkeypatch.setattr(jobs, "connect", lambda address, token_file: recorder)
    return recorder


def test_job_carries_this_tenfold_and_the_experiment(
    here: Path, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "commit", lambda: "0123abc-dirty")
    sent = jobs.submit(
        Path("tiny.yaml"),
        address="http://head:8265",
        overrides={"name": "of-my-own", "config": {"lr": 1e-4}},
        options=["--resume"],
        python="py3",
    )
    assert sent.job_id == "raysubmit_1"
    assert "on the head" in sent.store
    fields, own = yaml.safe_load(recorder.experiment), yaml.safe_load(EXPERIMENT)
    assert fields["name"] == "of-my-own"
    assert fields["config"] == {**own["config"], "lr": 1e-4}
    assert fields["stop"] == own["stop"]
    assert {"tenfold/platform/cli.py", "tenfold/algorithms/ppo/config.py"} <= set(recorder.folder)
    assert recorder.request["entrypoint"] == (
        'TENFOLD_RUNS="${TENFOLD_RUNS:-$HOME/tenfold-runs}" '
        "py3 -m tenfold.platform.cli run experiment.yaml --resume"
    )
    assert recorder.request["runtime_env"]["env_vars"] == {"TENFOLD_COMMIT": "0123abc-dirty"}
    assert recorder.request["metadata"] == {
        "experiment": "tiny.yaml",
        "tenfold_version": next(
            name.split("-")[1].removesuffix(".dist")
            for name in recorder.folder
            if name.endswith(".dist-info")
        ),
        "tenfold_commit": "0123abc-dirty",
    }
    assert not Path(recorder.request["runtime_env"]["working_dir"]).exists()
    # What Ray's dashboard shows as the job.
    assert re.fullmatch(r"tenfold-of-my-own-[0-9a-f]{4}", recorder.request["submission_id"])


def test_store_on_the_network_is_passed_on_with_its_credentials(
    here: Path, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow:5000")
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ada")
    sent = jobs.submit(Path("tiny.yaml"), address="http://head:8265")
    assert sent.store == "http://mlflow:5000"
    env = recorder.request["runtime_env"]["env_vars"]
    assert env["MLFLOW_TRACKING_URI"] == "http://mlflow:5000"
    assert env["MLFLOW_TRACKING_USERNAME"] == "ada"
    assert "MLFLOW_TRACKING_PASSWORD" not in env


def test_database_of_this_machine_is_not_passed_on(
    here: Path, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{here}/mine.db")
    sent = jobs.submit(Path("tiny.yaml"), address="http://head:8265")
    assert "on the head" in sent.store
    assert set(recorder.request["runtime_env"]["env_vars"]) == {"TENFOLD_COMMIT"}


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("sqlite:///runs/mlflow.db", "sqlite:////absolute/path"),
        ("http://127.0.0.1:5000", "on this machine only"),
        ("http://localhost:5000", "on this machine only"),
    ],
)
def test_store_that_the_head_cannot_have_is_refused(
    here: Path, recorder: Recorder, uri: str, message: str
) -> None:
    Path("tiny.yaml").write_text(f"{EXPERIMENT}tracking_uri: {uri}\n")
    with pytest.raises(InputError, match=message):
        jobs.submit(Path("tiny.yaml"), address="http://head:8265")
    assert recorder.request == {}


def test_loopback_store_goes_with_a_loopback_head(here: Path, recorder: Recorder) -> None:
    Path("tiny.yaml").write_text(f"{EXPERIMENT}tracking_uri: http://127.0.0.1:5000\n")
    sent = jobs.submit(Path("tiny.yaml"), address="http://127.0.0.1:8265")
    assert sent.store == "http://127.0.0.1:5000"


@pytest.mark.parametrize(
    ("status", "code", "returned"),
    [
        ("SUCCEEDED", 0, 0),
        ("FAILED", 1, 1),
        ("FAILED", 2, 2),
        ("FAILED", 127, 1),
        ("FAILED", None, 1),
        ("STOPPED", None, 1),
    ],
)
def test_exit_code(status: str, code: int | None, returned: int) -> None:
    job = jobs.Job("id", status, "tiny.yaml", "0.1", "", None, None, code)
    assert jobs.exit_code(job) == returned


def details(job_id: str, entrypoint: str, **more: Any) -> JobDetails:
    given = {"type": "SUBMISSION", "status": "SUCCEEDED", "entrypoint": entrypoint, **more}
    return JobDetails(submission_id=job_id, **given)


def test_plain_jobs_are_listed_and_ids_are_whole_at_80_columns(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = f"tenfold-{'queues-' * 6}demo-0123"
    recorder.jobs = [
        details(
            long,
            "python -m tenfold.platform.cli run experiment.yaml",
            metadata={"tenfold_version": "0.1", "experiment": "experiments/queues/demo.yaml"},
            start_time=2_000,
        ),
        details("raysubmit_7Xq9", "tenfold run x.yaml --seeds 3", start_time=1_000),
        details("raysubmit_other", "python train.py", start_time=3_000),
    ]
    found = jobs.list_jobs(address="http://head:8265")
    assert [(job.id, job.experiment) for job in found] == [
        (long, "experiments/queues/demo.yaml"),
        ("raysubmit_7Xq9", "x.yaml"),
    ]
    monkeypatch.setenv("COLUMNS", "80")
    told = invoke("jobs", "list", "--address", "http://head:8265").output
    assert f"{long} " in told
    assert "raysubmit_7Xq9 " in told
    assert "other" not in told


@dataclass
class Unsteady:
    """Stands for a client whose log breaks off, or ends, while the job runs."""

    error: Exception | None

    async def tail_job_logs(self, job_id: str) -> AsyncIterator[str]:
        yield f"log of {job_id}\n"
        if self.error is not None:
            raise self.error

    def get_job_info(self, job_id: str) -> JobDetails:
        return JobDetails(
            type="SUBMISSION", submission_id=job_id, status="RUNNING", entrypoint="python"
        )


@pytest.mark.parametrize("error", [RuntimeError("closed"), ConnectionError("reset"), None])
def test_log_that_breaks_off_does_not_pass_for_the_end(
    error: Exception | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(jobs, "connect", lambda address, token_file: Unsteady(error))
    assert jobs.follow("raysubmit_1", address="http://head:8265") == 1
    printed = capsys.readouterr()
    assert printed.out == "log of raysubmit_1\n"
    assert "tenfold jobs logs raysubmit_1 --address http://head:8265" in printed.err


# Real jobs, on a head with token authentication that nothing else on the machine notices.


@dataclass(frozen=True)
class Head:
    """A running head: where it answers, and the folder of its runs."""

    address: str
    token_file: Path
    runs: Path

    @property
    def door(self) -> dict[str, Any]:
        return {"address": self.address, "token_file": self.token_file}


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    folder = Path(tempfile.mkdtemp(prefix="tf", dir="/tmp"))  # short: sockets live below it
    (folder / "token").write_text("0123456789abcdef" * 4)
    port, dashboard, agent, client = _free_ports(4)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(folder),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(folder / "token"),
        "RAY_USAGE_STATS_ENABLED": "0",
        "TENFOLD_RUNS": str(folder / "runs"),
    }
    options = ["--head", "--num-cpus=2", "--object-store-memory=100000000", f"--port={port}"]
    options += ["--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}"]
    options += [f"--dashboard-agent-listen-port={agent}", f"--ray-client-server-port={client}"]
    options += [f"--temp-dir={folder}/ray", "--disable-usage-stats"]
    starter = subprocess.Popen(
        [Path(sys.executable).parent / "ray", "start", *options],
        cwd=folder,
        env=environment,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        output, _ = starter.communicate()
        assert starter.returncode == 0, output.decode()
        yield Head(f"http://127.0.0.1:{dashboard}", folder / "token", folder / "runs")
    finally:
        _end(starter.pid)
        shutil.rmtree(folder, ignore_errors=True)


def _end(group: int) -> None:
    """End what `ray start` left in its process group; workers end with it by themselves."""
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def _free_ports(count: int) -> list[int]:
    servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [server.getsockname()[1] for server in servers]
    for server in servers:
        server.close()
    return ports


@pytest.fixture
def submitter(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout of another version, which is the one that submits."""
    source = here / "checkout"
    source.mkdir()
    wheel.copy_sources(Path(__file__).resolve().parents[2], source)
    pyproject = (source / "pyproject.toml").read_text()
    pyproject = re.sub(r'^version = ".*"$', 'version = "999.1"', pyproject, flags=re.MULTILINE)
    (source / "pyproject.toml").write_text(pyproject)
    monkeypatch.setattr(wheel, "source_tree", lambda: source)
    monkeypatch.setattr(jobs, "commit", lambda: "feedc0ffee12")
    return source


def test_submitted_version_runs_and_is_recorded(
    head: Head, submitter: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Every process that imports the submitter's Tenfold says so.
    errors = submitter / "platform" / "errors.py"
    errors.write_text(errors.read_text() + _SAY_SO)
    sent = jobs.submit(Path("tiny.yaml"), **head.door)
    assert jobs.follow(sent.job_id, **head.door) == 0
    assert "1 trials, 0 failed" in capsys.readouterr().out
    imported = [path.read_text() for path in head.runs.glob("imported-*")]
    assert len(imported) >= 2  # the driver and the trial's actor
    assert all("/working_dir_files/" in path for path in imported)
    with sqlite3.connect(head.runs / "mlflow.db") as store:
        commits = set(store.execute("SELECT value FROM tags WHERE key = 'commit'"))
        ends = set(store.execute("SELECT status FROM runs"))
    assert commits == {("feedc0ffee12",)}
    assert ends == {("FINISHED",)}
    job = jobs.status(sent.job_id, **head.door)
    assert (job.status, job.exit_code) == ("SUCCEEDED", 0)
    assert (job.version, job.commit) == ("999.1", "feedc0ffee12")
    assert job.started is not None
    assert job.ended is not None
    assert job in jobs.list_jobs(**head.door)
    assert "1 trials, 0 failed" in jobs.logs(sent.job_id, **head.door)


_SAY_SO = """
import os, pathlib
pathlib.Path(os.environ["TENFOLD_RUNS"]).mkdir(exist_ok=True)
(pathlib.Path(os.environ["TENFOLD_RUNS"]) / f"imported-{os.getpid()}").write_text(__file__)
"""


def test_mistake_that_shows_on_the_cluster_gives_2(
    head: Head, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # A mistake that only the cluster can see: nothing there can be resumed.
    never_run = {"name": "never-run"}
    sent = jobs.submit(Path("tiny.yaml"), overrides=never_run, options=["--resume"], **head.door)
    assert jobs.follow(sent.job_id, **head.door) == 2
    assert "Nothing to resume" in " ".join(capsys.readouterr().out.split())


def test_options_after_the_dashes_are_read_here_and_a_mistake_in_them_refused(
    here: Path, recorder: Recorder
) -> None:
    """What a flag names travels like what the file names."""
    (here / "queues.yaml").write_text("method: softmw\n")
    (here / "own.csv").write_text("slot,queue,arrivals,service\n0,0,0.5,1\n1,0,0.5,1\n")
    command = ["submit", "queues.yaml", "--address", "http://head:8265", "--"]
    sent = invoke(*command, "--task", "own.csv", "--seeds", 2, "--resume")
    assert sent.exit_code == 0, sent.output
    fields = yaml.safe_load(recorder.experiment)
    assert fields["tasks"] == ["inputs/0/own.csv"]
    assert fields["seeds"] == [0, 1]
    assert "inputs/0/own.csv" in recorder.folder
    assert recorder.request["entrypoint"].endswith("run experiment.yaml --resume")
    refused = invoke(*command, "--task", "onw.csv")
    assert isinstance(refused.exception, InputError)
    assert "'onw.csv' does not exist" in str(refused.exception)


def test_failed_job_gives_1_and_a_missing_interpreter_is_explained(
    head: Head, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sent = jobs.submit(Path("tiny.yaml"), python="/no/such/python", **head.door)
    assert jobs.follow(sent.job_id, **head.door) == 1
    assert "name the interpreter with --python" in capsys.readouterr().err
    assert jobs.status(sent.job_id, **head.door).status == "FAILED"


def test_ctrl_c_ends_the_following_and_stop_the_job(head: Head, submitter: Path) -> None:
    (submitter / "platform" / "cli.py").write_text(
        "import time\nprint('asleep', flush=True)\ntime.sleep(600)\n"
    )
    sent = jobs.submit(Path("tiny.yaml"), **head.door)
    code = (
        "import signal, sys; from pathlib import Path; from tenfold.platform import jobs\n"
        # A test run in the background ignores Ctrl-C, and its children would inherit that.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "sys.exit(jobs.follow(sys.argv[1], address=sys.argv[2], token_file=Path(sys.argv[3])))"
    )
    arguments = [sent.job_id, head.address, str(head.token_file)]
    following = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert following.stdout is not None
    while "asleep" not in following.stdout.readline():
        assert following.poll() is None
    following.send_signal(signal.SIGINT)
    _, complaint = following.communicate()
    assert following.returncode == jobs.INTERRUPTED
    assert f"the job goes on. Take it up again with 'tenfold jobs logs {sent.job_id}" in complaint
    assert jobs.status(sent.job_id, **head.door).status == "RUNNING"
    assert jobs.stop(sent.job_id, **head.door)
    assert jobs.follow(sent.job_id, **head.door) == 1
    assert jobs.status(sent.job_id, **head.door).status == "STOPPED"
    assert not jobs.stop(sent.job_id, **head.door)


def test_token_is_needed_and_must_be_right(head: Head, here: Path) -> None:
    with pytest.raises(InputError, match="asks for a token: give --token-file"):
        jobs.submit(Path("tiny.yaml"), address=head.address)
    (here / "wrong").write_text("fedcba9876543210" * 4)
    with pytest.raises(InputError, match="refuses the token"):
        jobs.submit(Path("tiny.yaml"), address=head.address, token_file=here / "wrong")


def test_address_wins_over_the_environment(
    head: Head, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://127.0.0.1:9")
    assert isinstance(jobs.list_jobs(**head.door), list)
    assert os.environ["RAY_ADDRESS"] == "127.0.0.1:9"


@pytest.mark.parametrize("ask", [jobs.follow, jobs.status, jobs.logs, jobs.stop])
def test_unknown_job(head: Head, here: Path, ask: Any) -> None:
    with pytest.raises(InputError, match="Unknown job 'raysubmit_nothing'"):
        ask("raysubmit_nothing", **head.door)
