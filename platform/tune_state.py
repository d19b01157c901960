"""Tune's record of a run, kept whole beside Tune's own.

Tune writes its state in place, so that a driver that is killed meanwhile leaves half a file, and
reads whatever stands there. Here the state is kept a second time, in sealed folders that are there
whole or not at all, the last two of them. A resumed run starts from the newest that is as it was
written, whatever has happened to Tune's files.
"""

import json
import shutil
from pathlib import Path
from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial

from tenfold.platform.errors import InputError
from tenfold.platform.seals import MANIFEST_FILE, Damaged, check_folder_seal, seal_folder

STATE_FOLDER = "tune_state"
_STATE = "experiment_state-"  # Tune's name for it, followed by the time at which a driver began
_TUNER = "tuner.pkl"
_DECISIONS = ("_cached_trial_decisions", "_queued_trial_decisions")
_KEPT = 2


def begin(part: Path) -> None:
    """Note before Tune starts in a folder that its state is kept."""
    (part / STATE_FOLDER).mkdir(parents=True, exist_ok=True)


class KeepState(Callback):
    """Keeps Tune's state each time that Tune has written it.

    Args:
        part: Folder of a Tune experiment.
    """

    def __init__(self, part: Path) -> None:
        self.part = part
        self._written = 0

    def setup(self, *args: Any, **info: Any) -> None:
        # Read before the first step: from then on a thread of Tune writes the file again and again.
        self._tuner = (self.part / _TUNER).read_bytes()

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        self._keep(trials)

    def on_experiment_end(self, trials: list[Trial], **info: Any) -> None:
        self._keep(trials)

    def _keep(self, trials: list[Trial]) -> None:
        if not trials:
            return
        staging = Path(trials[0].storage.experiment_driver_staging_path)
        states = sorted(staging.glob(f"{_STATE}*.json"))
        written = states[-1].stat().st_mtime_ns if states else 0
        if written == self._written:
            return
        begun = states[-1].stem.removeprefix(_STATE)
        keep(self.part, list(staging.glob(f"*{begun}.*")), self._tuner)
        self._written = written


def keep(part: Path, files: list[Path], tuner: bytes) -> None:
    """Keep a state, and of the earlier ones the last.

    Args:
        part: Folder of a Tune experiment.
        files: The state, as Tune has just written it.
        tuner: What Tune's ``tuner.pkl`` holds.
    """
    kept = _kept(part)
    number = int(kept[-1].name) + 1 if kept else 0
    folder = part / STATE_FOLDER / f"{number:08d}"
    unfinished = folder.with_suffix(".tmp")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    for file in files:
        shutil.copy(file, unfinished)
    (unfinished / _TUNER).write_bytes(tuner)
    seal_folder(unfinished)
    unfinished.rename(folder)
    for old in kept[: 1 - _KEPT]:
        shutil.rmtree(old)


def put_back(part: Path) -> tuple[bool, list[str]]:
    """Make Tune's files of an experiment what they were when they were last kept whole.

    Args:
        part: Folder of a Tune experiment.

    Returns:
        Whether there is anything to resume: a driver may have been killed before Tune had a trial.
        And a sentence for each state that is damaged and passed over.

    Raises:
        InputError: All of them are.
    """
    if not (part / STATE_FOLDER).is_dir():  # an older version's
        return (part / _TUNER).exists(), []
    damaged: list[str] = []
    for folder in reversed(_kept(part)):
        try:
            check_folder_seal(folder)
        except Damaged as found:
            damaged.append(f"Tune's record '{folder}' is damaged ({found}): taking the one before.")
            continue
        files = {file.name: file for file in folder.iterdir() if file.name != MANIFEST_FILE}
        for stale in part.glob(f"{_STATE}*.json"):
            if stale.name > max(name for name in files if name.startswith(_STATE)):
                stale.unlink()
        for name, file in files.items():
            whole = part / f"{name}.tmp"
            shutil.copy(file, whole)
            if name.startswith(_STATE):
                _forget_decisions(whole)
            whole.replace(part / name)
        return True, damaged
    if damaged:
        raise InputError(
            f"Cannot resume '{part.name}': all of Tune's records in '{part / STATE_FOLDER}' are "
            "damaged; start a new run."
        )
    return False, []


def _forget_decisions(state: Path) -> None:
    """Drop what Tune was about to do with a trial after a save that never ended.

    It would do it after the next save: end a trial that has gone on from an earlier checkpoint.
    """
    fields = json.loads(state.read_text())
    runner = fields.get("runner_data", {})
    runner.update({key: {} for key in _DECISIONS if key in runner})
    state.write_text(json.dumps(fields))


def _kept(part: Path) -> list[Path]:
    """The folders with kept states, the oldest first."""
    return sorted(path for path in (part / STATE_FOLDER).glob("*") if path.name.isdigit())
