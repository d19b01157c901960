"""What was cut short, emptied or changed is never taken for whole; full disks; two drivers.

Costs about 25 processor seconds, of which imports and new databases are 15.
"""

import errno
import functools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from conftest import invoke
from mlflow import MlflowClient

from tenfold.platform import launch, tune_state
from tenfold.platform.checkpoints import complete, damage, newest_whole, result_of
from tenfold.platform.configuration import build_config
from tenfold.platform.errors import InputError, RunError
from tenfold.platform.experiment import read_record
from tenfold.platform.journal import Journal, deliver_all
from tenfold.platform.registry import get_method
from tenfold.platform.results import Results
from tenfold.platform.run_lock import only_driver
from tenfold.platform.seals import Damaged, read_sealed, seal_folder, sealed
from tenfold.platform.train_workers import check_parts
from tenfold.platform.trial_files import find_checkpoint, newest_checkpoint
from tenfold.platform.tune_state import begin, keep, put_back
from tenfold.platform.whole_file import replace_file

STEP = 1_000


def halve(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def empty(file: Path) -> None:
    file.write_bytes(b"")


def flip(file: Path) -> None:
    """Change the lowest bit of the middle byte."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


HARMS = [halve, empty, flip]
harmed = pytest.mark.parametrize("harm", HARMS, ids=lambda harm: harm.__name__)


def checkpoint(folder: Path, iteration: int) -> Path:
    """A checkpoint with files in folders, as RLlib and Ray Train write them."""
    for name in ("plan.npz", "learner_group/state.msgpack", "rank-0.safetensors"):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(f"{name} of {iteration}".encode() * 100)
    complete(folder, [(1.0, 0.5)], {"training_iteration": iteration, "config": {"a": object()}})
    return folder


@harmed
def test_damage_of_every_file_of_a_checkpoint_is_found_and_the_one_before_taken(
    harm: Callable[[Path], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = (checkpoint(tmp_path / f"checkpoint_{n:06d}", n + 1) for n in range(2))
    files = [file for file in second.rglob("*") if file.is_file()]
    assert len(files) == 6
    assert newest_checkpoint(tmp_path) == second
    assert capsys.readouterr().err == ""
    for file in files:
        whole = file.read_bytes()
        harm(file)
        wrong = damage(second)
        assert wrong is not None
        assert file.name in wrong
        assert newest_checkpoint(tmp_path) == first
        told = capsys.readouterr().err
        assert told == f"checkpoint_000001 is damaged ({wrong}): taking checkpoint_000000.\n"
        file.write_bytes(whole)
        assert damage(second) is None
    files[0].unlink()
    assert newest_checkpoint(tmp_path) == first


def test_a_damaged_checkpoint_that_is_named_itself_is_refused(tmp_path: Path) -> None:
    only = checkpoint(tmp_path / "checkpoint_000000", 1)
    flip(only / "plan.npz")
    for folder in (only, tmp_path):
        with pytest.raises(InputError, match=r"plan\.npz has changed since it was written"):
            find_checkpoint(str(folder), "icvar", f"sqlite:///{tmp_path}/none.db")


def test_a_checkpoint_of_an_older_version_has_no_seal_and_is_taken(tmp_path: Path) -> None:
    old = tmp_path / "checkpoint_000000"
    old.mkdir()
    (old / "plan.npz").write_bytes(b"whatever")
    assert newest_whole(tmp_path) == (old, {})
    # Beside a sealed one it is one that was being written or deleted.
    new = checkpoint(tmp_path / "checkpoint_000001", 2)
    half = shutil.copytree(new, tmp_path / "checkpoint_000002")
    (half / "manifest.json").unlink()
    assert newest_whole(tmp_path)[0] == new


def test_the_furthest_checkpoint_is_the_newest_whatever_its_number(tmp_path: Path) -> None:
    checkpoint(tmp_path / "checkpoint_000007", 3)
    furthest = checkpoint(tmp_path / "checkpoint_000004", 5)
    assert newest_whole(tmp_path)[0] == furthest
    assert result_of(furthest) == {"training_iteration": 5}


@harmed
def test_sealed_fields_that_changed_are_not_read(
    harm: Callable[[Path], None], tmp_path: Path
) -> None:
    file = tmp_path / "fields.json"
    replace_file(file, sealed({"offset": 12, "run_id": None}))
    assert read_sealed(file) == {"offset": 12, "run_id": None}
    harm(file)
    with pytest.raises(Damaged, match=r"fields\.json"):
        read_sealed(file, older=True)


@harmed
def test_tunes_record_is_put_back_whatever_happened_to_its_files(
    harm: Callable[[Path], None], tmp_path: Path
) -> None:
    begin(tmp_path)
    assert put_back(tmp_path) == (False, [])
    tuner = tmp_path / "tuner.pkl"
    states = [tmp_path / f"experiment_state-2026-01-0{day}.json" for day in (1, 2, 3)]
    tuner.write_bytes(b"tuner")
    for state in states:
        runner = {"_queued_trial_decisions": {"t1": "STOP"}, "_start_time": 1.5}
        state.write_text(json.dumps({"of": state.name, "runner_data": runner}))
    for state in states[:2]:
        keep(tmp_path, [state], b"tuner")
    for file in (tuner, states[1]):
        harm(file)
    assert put_back(tmp_path) == (True, [])
    assert tuner.read_bytes() == b"tuner"
    assert json.loads(states[1].read_text()) == {
        "of": states[1].name,  # and a trial that was to end after a save is not ended by another
        "runner_data": {"_queued_trial_decisions": {}, "_start_time": 1.5},
    }
    assert not states[2].exists()  # what Tune wrote after the last state that was kept

    newest, before = sorted((tmp_path / "tune_state").iterdir(), reverse=True)
    harm(newest / states[1].name)
    begun, damaged = put_back(tmp_path)
    assert begun
    assert len(damaged) == 1
    assert f"{states[1].name}" in damaged[0]
    assert [path.name for path in tmp_path.glob("experiment_state-*")] == [states[0].name]
    harm(before / "tuner.pkl")
    with pytest.raises(InputError, match="all of Tune's records"):
        put_back(tmp_path)


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db"


@harmed
def test_a_damaged_journal_loses_the_damaged_record_and_says_so(
    harm: Callable[[Path], None], tmp_path: Path, uri: str
) -> None:
    journal = Journal(tmp_path, "trial")
    journal.start("damaged", "the trial", {"kind": "trial"})
    for step in range(9):
        journal.metrics(step, {"loss": 0.25 * step})
    whole = journal.path.read_bytes()
    assert journal.damage() is None
    harm(journal.path)
    kept = journal.history("loss")
    if harm is flip:
        assert len(kept) == 8
        assert "1 record that is torn or changed" in str(journal.damage())
    assert set(kept) <= {(step, 0.25 * step) for step in range(9)}

    # What the store has is neither lost nor sent again.
    journal.path.write_bytes(whole)
    deliver_all([journal], uri)
    harm(journal.path)
    assert journal.last_step() == 8
    told = journal.damage()
    assert (told is None) == (harm is flip and len(journal.history("loss")) == 9)
    assert journal.begun
    journal.metrics(9, {"loss": 9.0})
    deliver_all([journal], uri)
    run_id = journal.run_id()
    assert run_id is not None
    history = MlflowClient(tracking_uri=uri).get_metric_history(run_id, "loss")
    assert [point.step for point in history] == list(range(10))


@harmed
def test_without_its_cursor_a_journal_is_sent_again_and_arrives_once(
    harm: Callable[[Path], None], tmp_path: Path, uri: str
) -> None:
    journal = Journal(tmp_path, "trial")
    journal.start("again", "the trial", {"kind": "trial"})
    for step in range(5):
        journal.metrics(step, {"loss": 0.5})
    deliver_all([journal], uri)
    run_id = journal.run_id()
    assert run_id is not None
    harm(tmp_path / "trial.cursor.json")
    assert deliver_all([journal], uri) == 6
    assert journal.run_id() == run_id
    history = MlflowClient(tracking_uri=uri).get_metric_history(run_id, "loss")
    assert [point.step for point in history] == list(range(5))


EXPERIMENT = f"""
method: ucb1
name: damage
config: {{pulls_per_iteration: {STEP}}}
stop: {{pulls: {6 * STEP}}}
resources: {{cpus: 1, concurrent: 1}}
checkpoint: {{every: 1, keep: 3}}
"""


LONGER = ["--stop", f"pulls={8 * STEP}", "--resume"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the runs of a finished experiment, and beside it the experiment."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "damage.yaml").write_text(EXPERIMENT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TENFOLD_RUNS", str(folder / "runs"))
        done = invoke("run", folder / "damage.yaml")
    assert done.exit_code == 0, done.output
    return folder


def longer(finished: Path, runs: Path, harm: Callable[[Path], None], pattern: str) -> tuple:
    """Harm the last file of a pattern in a copy of the run, and run it on; what became of it."""
    shutil.copytree(finished / "runs", runs)
    (run_dir,) = (runs / "tune").iterdir()
    victim = max(run_dir.glob(pattern))
    harm(victim)
    done = invoke("run", finished / "damage.yaml", *LONGER)
    return done, run_dir, victim


def history(runs: Path) -> list[tuple[int, float]]:
    client = MlflowClient(tracking_uri=f"sqlite:///{runs}/mlflow.db")
    experiment = client.get_experiment_by_name("damage")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id], "tags.kind = 'trial'")
    found = client.get_metric_history(run.info.run_id, "regret")
    return [(point.step, point.value) for point in found]


@functools.cache
def straight() -> list[tuple[int, float]]:
    """Step and regret of the longer run in one piece, computed without Tune."""
    method = get_method("ucb1")
    config = build_config(method, "two-arms", "ucb1", {"pulls_per_iteration": STEP}, 0)
    algorithm = method.load_trainable()(config)
    return [(STEP * n, algorithm.train()["regret"]) for n in range(1, 9)]


@pytest.mark.parametrize(
    ("pattern", "harm", "told"),
    [
        ("two-arms*/checkpoint_*/last_result.json", halve, "is damaged (last_result.json"),
        ("experiment_state-*.json", flip, ""),
        ("tuner.pkl", empty, ""),
        ("tune_state/*/experiment_state-*.json", flip, "taking the one before"),
    ],
    ids=["checkpoint", "state", "tuner", "kept-state"],
)
def test_a_run_goes_on_over_a_damaged_file_as_if_nothing_had_happened(
    pattern: str, harm: Callable[[Path], None], told: str, finished: Path, runs: Path
) -> None:
    done, _, _ = longer(finished, runs, harm, pattern)
    assert done.exit_code == 0, done.output
    assert told in done.output
    assert history(runs) == straight()


def test_a_result_that_was_cut_off_is_written_again_and_no_other_is_lost(
    finished: Path, runs: Path
) -> None:
    done, _, results = longer(finished, runs, halve_the_last_line, "two-arms*/result.json")
    assert done.exit_code == 0, done.output
    lines = [json.loads(line) for line in results.read_text().splitlines()]
    assert [(line["pulls"], line["regret"]) for line in lines] == straight()


def halve_the_last_line(file: Path) -> None:
    """As a driver leaves it that is killed while it writes the last result."""
    lines = file.read_text().splitlines(keepends=True)
    lines[-1] = lines[-1][: len(lines[-1]) // 2]
    file.write_text("".join(lines))
    halve(max(file.parent.glob("checkpoint_*")) / "last_result.json")


def test_another_point_than_the_trained_one_is_never_evaluated(finished: Path, runs: Path) -> None:
    assert invoke("run", finished / "damage.yaml").exit_code == 0
    (point,) = runs.rglob("point.json")
    point.write_text(point.read_text().replace('"seed": 0', '"seed": 1'))
    for command in ("evaluate", "export"):
        done = invoke(command, point.parent)
        assert isinstance(done.exception, InputError)
        assert str(done.exception) == (
            f"The trial's point in '{point.parent}' is damaged: point.json has changed since it "
            "was written."
        )


def test_a_trial_without_a_whole_checkpoint_begins_anew(finished: Path, runs: Path) -> None:
    def all_of_them(last: Path) -> None:
        for file in last.parent.parent.glob("checkpoint_*/scores.json"):
            flip(file)

    done, _, _ = longer(finished, runs, all_of_them, "two-arms*/checkpoint_*/scores.json")
    assert done.exit_code == 0, done.output
    assert "going on from the beginning" in done.output
    assert history(runs) == straight()


@harmed
@pytest.mark.parametrize("name", ["experiment.yaml", "inputs.json"])
def test_a_damaged_record_of_a_run_is_refused_before_ray_starts(
    name: str, harm: Callable[[Path], None], finished: Path, runs: Path
) -> None:
    done, _, victim = longer(finished, runs, harm, name)
    assert isinstance(done.exception, InputError)
    assert name in str(done.exception)
    if name == "experiment.yaml":
        with pytest.raises(InputError):
            read_record(victim)


def test_a_damaged_store_is_told_in_a_sentence(finished: Path, runs: Path) -> None:
    shutil.copytree(finished / "runs", runs)
    halve(runs / "mlflow.db")
    done = invoke("compare", "damage")
    assert isinstance(done.exception, InputError)
    assert "is not a usable database" in str(done.exception)


def test_a_store_that_was_emptied_gets_the_whole_run_again(finished: Path, runs: Path) -> None:
    done, _, _ = longer(finished, runs, lambda _: empty(runs / "mlflow.db"), "experiment.yaml")
    assert done.exit_code == 0, done.output
    assert history(runs) == straight()


def no_room(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


STAGES = {
    "a result": (Results, "log_trial_result"),
    "a journal": (Journal, "_append"),
    "the record of Tune's state": (tune_state, "keep"),
    "the record of the run": (launch, "replace_file"),
}


@pytest.mark.parametrize(("owner", "name"), STAGES.values(), ids=STAGES.keys())
def test_a_disk_that_fills_up_is_told_in_a_sentence_and_the_run_resumes(
    owner: object, name: str, finished: Path, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as full:
        full.setattr(owner, name, no_room)
        done, run_dir, _ = longer(finished, runs, lambda _: None, "experiment.yaml")
    assert isinstance(done.exception, RunError)
    assert re.fullmatch(
        rf"The disk of '{run_dir}' is full: free some space, then continue with "
        rf"'tenfold run {run_dir}/experiment.yaml --resume'\.",
        str(done.exception),
    )
    resumed = invoke("run", finished / "damage.yaml", *LONGER)
    assert resumed.exit_code == 0, resumed.output
    assert history(runs) == straight()


def test_a_checkpoint_that_finds_no_room_ends_its_trial_and_the_run_resumes(
    finished: Path, runs: Path
) -> None:
    def leave_no_room(last: Path) -> None:
        for number in (1, 2):
            following = last.with_name(f"checkpoint_{int(last.name[-6:]) + number:06d}")
            following.mkdir()
            (following / "scores.json").symlink_to("/dev/full")

    done, run_dir, _ = longer(finished, runs, leave_no_room, "two-arms*/checkpoint_*")
    assert done.exit_code == 1, done.output
    assert "No space left on device" in done.output
    assert f"Continue with 'tenfold run {run_dir}/experiment.yaml --resume'" in done.output
    for file in run_dir.glob("*/*/scores.json"):
        if file.is_symlink():
            shutil.rmtree(file.parent)
    resumed = invoke("run", finished / "damage.yaml", *LONGER)
    assert resumed.exit_code == 0, resumed.output
    assert history(runs) == straight()


def test_a_second_driver_is_refused_while_the_first_lives(finished: Path, runs: Path) -> None:
    shutil.copytree(finished / "runs", runs)
    (run_dir,) = (runs / "tune").iterdir()
    # It is killed, and leaves a child and a fork behind, which hold no lock.
    code = (
        "import os, subprocess, sys, time; from pathlib import Path; "
        "from tenfold.platform.run_lock import only_driver; "
        "driver = only_driver(Path(sys.argv[1])); driver.__enter__(); "
        "child = subprocess.Popen(['sleep', '60']); fork = os.fork(); "
        "fork and print(child.pid, fork, flush=True); time.sleep(60)"
    )
    first = subprocess.Popen(
        [sys.executable, "-c", code, str(run_dir)], stdout=subprocess.PIPE, text=True
    )
    assert first.stdout is not None
    left = [int(pid) for pid in first.stdout.readline().split()]
    try:
        for command in (["run", finished / "damage.yaml", *LONGER], ["sync", run_dir]):
            refused = invoke(*command)
            said = str(refused.exception) + refused.output
            assert refused.exit_code != 0
            assert f"another driver (process {first.pid} on " in said
        first.kill()
        first.wait()
        assert all(Path(f"/proc/{pid}").exists() for pid in left)
        with only_driver(run_dir), pytest.raises(InputError), only_driver(run_dir):
            pass
        with only_driver(run_dir):
            pass
    finally:
        for pid in left:
            os.kill(pid, signal.SIGKILL)


@harmed
def test_what_a_worker_of_ray_train_wrote_is_checked(
    harm: Callable[[Path], None], tmp_path: Path
) -> None:
    for rank in range(2):  # each in a folder of its own, which Ray Train puts together
        with TemporaryDirectory() as folder:
            (Path(folder) / f"rank-{rank}.safetensors").write_bytes(bytes(range(200)))
            seal_folder(Path(folder), f"part-{rank}.json")
            shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    check_parts(tmp_path)
    harm(tmp_path / "rank-1.safetensors")
    with pytest.raises(Damaged, match=r"rank-1\.safetensors has changed"):
        check_parts(tmp_path)
