"""Which checkpoint a trial goes on from, and which one stands for it afterwards.

Tune deletes the oldest checkpoint of a trial when it registers a new one, and writes its own record
afterwards. A driver that is killed in between leaves a record that names a deleted checkpoint,
while newer ones lie beside where it was. And a disk may change what was written. So every
checkpoint is sealed (`tenfold.platform.seals`) and says of which iteration it is; one that is
damaged is passed over, and what is said of it names the file.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ray.train import Checkpoint
from ray.train._internal.session import _TrainingResult
from ray.tune.result import EXPR_PARAM_FILE, TRAINING_ITERATION

from tenfold.platform.configuration import flatten
from tenfold.platform.errors import InputError
from tenfold.platform.seals import Damaged, check_folder_seal, has_seal, read_sealed, seal_folder

# Beside what the method saves in a checkpoint: step and metric of every result so far, and the
# numbers and texts of the last one.
HISTORY_FILE = "scores.json"
RESULT_FILE = "last_result.json"
POINT_FILE = "point.json"
_NUMBERED = re.compile(r"checkpoint_(\d+)")


def complete(
    folder: Path, history: list[tuple[float, float]], result: Mapping[str, Any] | None
) -> None:
    """Add to a method's checkpoint what Tenfold keeps in it, and seal it.

    Args:
        folder: The checkpoint, as the method wrote it.
        history: Step and metric of every result so far.
        result: The last result; its config and what is neither a number nor a text is left out.
    """
    plain = {
        key: value
        for key, value in flatten(result or {}, separator="/").items()
        if type(value) in (bool, int, float, str) and not key.startswith("config/")
    }
    (folder / HISTORY_FILE).write_text(json.dumps(history))
    (folder / RESULT_FILE).write_text(json.dumps(plain))
    seal_folder(folder)


def history_of(folder: Path) -> list[tuple[float, float]]:
    """Step and metric of every result up to a checkpoint; none of one of an older version."""
    file = folder / HISTORY_FILE
    return [(step, value) for step, value in json.loads(file.read_text())] if file.exists() else []


def result_of(folder: Path) -> dict[str, Any]:
    """The last result before a checkpoint, flat with ``/``; empty for an older version's."""
    file = folder / RESULT_FILE
    found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    return found


def damage(folder: Path) -> str | None:
    """What is wrong with a checkpoint in a few words, None if nothing is known of."""
    if not has_seal(folder):
        return None
    try:
        check_folder_seal(folder)
    except Damaged as found:
        return str(found)
    return None


def to_go_on_from(recorded: Any, every: int, keep: int) -> tuple[Any, str | None]:
    """The recorded checkpoint, or another one of the trial if that is deleted or damaged.

    Args:
        recorded: What `Trainable.restore` is given.
        every: Iterations between two checkpoints.
        keep: Newest checkpoints that Tune keeps.

    Returns:
        What to restore, and a sentence if that is not what was recorded. It is `recorded` itself
        unless it is a training result whose folder is gone and has successors, or is damaged; None
        if the trial has no other whole checkpoint and must begin anew.
    """
    if not isinstance(recorded, _TrainingResult) or recorded.checkpoint is None:
        return recorded, None
    place = Path(recorded.checkpoint.path)
    name = _NUMBERED.fullmatch(place.name)
    if name is None:
        return recorded, None
    if has_seal(place) and damage(place) is None:
        return recorded, None
    found, passed = newest_whole(place.parent)
    if place.exists():
        if place.name not in passed:
            return recorded, None
        told = f"{place.name} is damaged ({passed[place.name]}): going on from "
        if found is None:
            return None, f"{told}the beginning, there is no other"
        return _result(found, recorded.metrics), f"{told}{found.name}"
    if found is not None and has_seal(found):
        return _result(found, recorded.metrics), None
    found = _newest_by_count(place.parent, int(name[1]), keep)
    if found is None:
        return recorded, None
    later = int(found.name.rpartition("_")[2]) - int(name[1])
    iteration = recorded.metrics.get(TRAINING_ITERATION, 0) + later * every
    metrics = {**recorded.metrics, TRAINING_ITERATION: iteration}
    return _TrainingResult(checkpoint=Checkpoint.from_directory(str(found)), metrics=metrics), None


def point_of(trial: Path) -> dict[str, Any]:
    """The point that a trial was built from; an older version's stands in Tune's file alone.

    Raises:
        InputError: It is missing or damaged.
    """
    file = trial / POINT_FILE
    if file.exists():
        try:
            return read_sealed(file)
        except Damaged as damage:
            raise InputError(f"The trial's point in '{trial}' is damaged: {damage}.") from None
    file = trial / EXPR_PARAM_FILE
    try:
        point = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "cut short or changed"
        raise InputError(
            f"The trial's point '{file}' cannot be read ({reason}): run the trial again."
        ) from None
    return dict(point)


def numbered(trial: Path) -> dict[int, Path]:
    """The checkpoints in a trial's folder by their numbers."""
    matches = ((_NUMBERED.fullmatch(path.name), path) for path in trial.glob("checkpoint_*"))
    return {int(match[1]): path for match, path in matches if match}


def newest_whole(trial: Path) -> tuple[Path | None, dict[str, str]]:
    """The checkpoint of a trial that is furthest, and what is wrong with those before it.

    Of a trial that has sealed checkpoints those without a seal were never written to their end.

    Returns:
        The folder, None if no checkpoint is whole; name -> damage of those that were passed over.
    """
    passed: dict[str, str] = {}
    found = numbered(trial)
    sealed = any(has_seal(path) for path in found.values())
    whole: dict[tuple[float, int], Path] = {}
    for number, path in sorted(found.items(), reverse=True):
        wrong = damage(path)
        if wrong is None and sealed and not has_seal(path):
            wrong = "it was not written to its end"
        if wrong is None:
            # A resumed run may count on from a lower number than that of a checkpoint it found.
            whole[result_of(path).get(TRAINING_ITERATION, 0), number] = path
        else:
            passed[path.name] = wrong
    return (whole[max(whole)] if whole else None), passed


def _result(folder: Path, metrics: Mapping[str, Any]) -> _TrainingResult:
    """A whole checkpoint as Tune has it, with the counters that were saved with it."""
    checkpoint = Checkpoint.from_directory(str(folder))
    return _TrainingResult(checkpoint=checkpoint, metrics={**metrics, **result_of(folder)})


def _newest_by_count(trial: Path, number: int, keep: int) -> Path | None:
    """Of checkpoints without seals the newest above a number that has all its files.

    At most one folder is not whole: beside `keep` registered ones either the oldest is being
    deleted, or the newest written. Both lack files, or end in a file that is cut short.
    """
    found = {each: path for each, path in numbered(trial).items() if each > number}
    files = {n: sum(1 for each in path.rglob("*") if each.is_file()) for n, path in found.items()}
    whole = sorted(n for n in found if 0 < files[n] == max(files.values()))
    if len(found) > keep and len(whole) > 1 and whole[-1] == max(found):
        whole.pop()
    return found[whole[-1]] if whole else None
