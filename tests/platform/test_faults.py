"""Killed drivers, killed workers and lost stores, with real processes: nothing computed is lost."""

import functools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil
import pytest
from conftest import Started, invoke
from mlflow import MlflowClient

from tenfold.platform.configuration import build_config
from tenfold.platform.registry import get_method

PULLS, STEP, SEEDS = 30_000, 1_500, 3
# A sweep of some seconds a trial, one after the other, saved at every iteration.
EXPERIMENT = f"""
method: ucb1
name: faults
seeds: {SEEDS}
config: {{pulls_per_iteration: {STEP}}}
stop: {{pulls: {PULLS}}}
resources: {{cpus: 1, concurrent: 1}}
checkpoint: {{every: 1, keep: 2}}
"""


@pytest.fixture
def experiment(tmp_path: Path, runs: Path) -> Path:
    path = tmp_path / "faults.yaml"
    path.write_text(EXPERIMENT)
    return path


def wait_until(condition: Callable[[], bool], alive: Callable[[], bool], what: str) -> None:
    """However slow the machine is, as long as the one that is waited for lives."""
    while not condition():
        assert alive(), f"ended before {what}"
        time.sleep(0.05)


def records(runs: Path) -> dict[str, list[dict]]:
    """The journal of each trial so far."""
    found = (runs / "tune").glob("faults-*/tracking/*.jsonl")
    return {
        path.stem: [json.loads(line) for line in path.read_text().splitlines(keepends=False)]
        for path in found
        if path.stem != "sweep"
    }


def ended(trial: list[dict]) -> bool:
    last = trial[-1] if trial else {}  # a journal that has just been made is empty
    return (last.get("op"), last.get("status")) == ("status", "FINISHED")


def one_ended_and_another_on_its_way(runs: Path) -> bool:
    trials = records(runs).values()
    return any(ended(t) for t in trials) and any(
        not ended(t) and sum(r["op"] == "metrics" for r in t) > 5 for t in trials
    )


@functools.cache
def uninterrupted(seed: int) -> list[float]:
    """The regret of every iteration of a trial, computed without Tune."""
    method = get_method("ucb1")
    overrides = {"pulls_per_iteration": STEP}
    config = build_config(method, "two-arms", "ucb1", overrides, seed)
    algorithm = method.load_trainable()(config)
    return [algorithm.train()["regret"] for _ in range(PULLS // STEP)]


def assert_whole(runs: Path, uri: str) -> None:
    """Every trial stands in MLflow, finished, with every step of an uninterrupted run."""
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("faults")
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id])
    trials = {int(r.data.tags["seed"]): r for r in found if r.data.tags["kind"] == "trial"}
    assert len(found) == SEEDS + 1
    assert sorted(trials) == list(range(SEEDS))
    assert {run.info.status for run in found} == {"FINISHED"}
    for seed, run in trials.items():
        history = client.get_metric_history(run.info.run_id, "regret")
        assert [m.step for m in history] == list(range(STEP, PULLS + 1, STEP))
        assert [m.value for m in history] == uninterrupted(seed)


def statuses(uri: str) -> dict[str, set[str]]:
    """Kind of run -> the statuses that MLflow has for it."""
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("faults")
    assert experiment is not None
    found: dict[str, set[str]] = {}
    for run in client.search_runs([experiment.experiment_id]):
        found.setdefault(run.data.tags["kind"], set()).add(run.info.status)
    return found


def test_ctrl_c_and_termination_are_written_down_and_the_run_goes_on_after_both(
    experiment: Path, runs: Path, started: Started, ray_session: str
) -> None:
    """Where trials run in the driver's process as where they run in actors."""
    uri = f"sqlite:///{runs}/mlflow.db"
    for number, options, address in (
        (signal.SIGINT, [], None),
        (signal.SIGINT, ["--resume"], ray_session),
        (signal.SIGTERM, ["--resume"], None),
        (signal.SIGTERM, ["--resume"], ray_session),
    ):
        run = started("run", experiment, *options, cwd=experiment.parent, address=address)
        with run as driver:
            before = sum(len(trial) for trial in records(runs).values())
            wait_until(
                lambda before=before: sum(map(len, records(runs).values())) > before + 4,
                lambda driver=driver: driver.poll() is None,
                "there was something to interrupt",
            )
            driver.send_signal(number)
            said, _ = driver.communicate()
        assert driver.returncode == 130, said
        assert "experiment.yaml --resume'" in said
        found = statuses(uri)
        assert found["sweep"] == {"KILLED"}
        assert found["trial"] <= {"KILLED", "FINISHED"}
        assert "KILLED" in found["trial"]
    resumed = invoke("run", experiment, "--resume")
    assert resumed.exit_code == 0, resumed.output
    assert_whole(runs, uri)


@pytest.mark.parametrize("trials", ["in actors", "in the driver"])
def test_a_killed_driver_is_resumed_without_rerunning_what_was_finished(
    trials: str, experiment: Path, runs: Path, started: Started, ray_session: str
) -> None:
    address = ray_session if trials == "in actors" else None
    with started("run", experiment, cwd=experiment.parent, address=address) as driver:
        wait_until(
            lambda: one_ended_and_another_on_its_way(runs),
            lambda: driver.poll() is None,
            "the second trial",
        )
        driver.send_signal(signal.SIGKILL)
        driver.communicate()  # until all that writes there is gone: a run has one driver
    before = records(runs)
    finished = {trial for trial, journal in before.items() if ended(journal)}
    assert finished
    assert len(finished) < SEEDS

    resumed = invoke("run", experiment, "--resume")
    assert resumed.exit_code == 0, resumed.output
    after = records(runs)
    for trial in finished:
        assert after[trial] == before[trial]
    assert_whole(runs, f"sqlite:///{runs}/mlflow.db")


@contextmanager
def in_mid_run(runs: Path, action: Callable[[], None]) -> Iterator[None]:
    """Do something as soon as a trial has ended and another is on its way."""

    over = threading.Event()

    def wait_and_act() -> None:
        met = functools.partial(one_ended_and_another_on_its_way, runs)
        wait_until(met, lambda: not over.is_set(), "the second trial")
        action()

    with ThreadPoolExecutor(1) as watcher:
        done = watcher.submit(wait_and_act)
        try:
            yield
        finally:
            over.set()
        done.result()


def kill_a_trial() -> None:
    trials = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):  # it may have ended since
            if "ray::ucb1" in " ".join(process.cmdline()):
                trials.append(process)
    assert trials
    trials[0].kill()


@pytest.mark.usefixtures("ray_session")
def test_a_killed_worker_is_replaced_and_its_trial_goes_on_from_its_checkpoint(
    experiment: Path, runs: Path
) -> None:
    with in_mid_run(runs, kill_a_trial):
        done = invoke("run", experiment)
    assert done.exit_code == 0, done.output
    assert_whole(runs, f"sqlite:///{runs}/mlflow.db")


@contextmanager
def mlflow_server(folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    store = f"sqlite:///{folder}/server.db"
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--workers", "1"]
    command += ["--port", str(port), "--backend-store-uri", store, "--artifacts-destination"]
    server = subprocess.Popen(
        [*command, str(folder / "artifacts")],
        env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait_until(lambda: answers(port), lambda: server.poll() is None, "the MLflow server")
        yield server
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def answers(port: int) -> bool:
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1).close()
    except OSError:
        return False
    return True


@pytest.mark.usefixtures("ray_session")
def test_a_store_lost_in_mid_run_gets_every_step_later(
    experiment: Path, runs: Path, tmp_path: Path
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    uri = f"http://127.0.0.1:{port}"
    with ExitStack() as up:
        up.enter_context(mlflow_server(tmp_path, port))
        with in_mid_run(runs, up.close):
            done = invoke("run", experiment, "--tracking-uri", uri)
    assert done.exit_code == 0, done.output
    assert "The run goes on" in done.output
    assert done.output.splitlines()[-1].startswith("  tenfold sync ")
    with mlflow_server(tmp_path, port):
        synced = invoke("sync", "--tracking-uri", uri)
        assert synced.exit_code == 0, synced.output
        assert_whole(runs, uri)


@pytest.mark.usefixtures("ray_session")
def test_an_offline_run_is_sent_by_sync(experiment: Path, runs: Path) -> None:
    done = invoke("run", experiment, "--offline", "--tracking-uri", "http://127.0.0.1:9")
    assert done.exit_code == 0, done.output
    assert not (runs / "mlflow.db").exists()
    synced = invoke("sync")
    assert synced.exit_code == 0, synced.output
    assert_whole(runs, f"sqlite:///{runs}/mlflow.db")
