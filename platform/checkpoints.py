"""Which checkpoint a resumed trial goes on from.

Tune deletes the oldest checkpoint of a trial when it registers a new one, and writes its own record
afterwards. A driver that is killed in between leaves a record that names a deleted checkpoint,
while newer ones lie beside where it was.
"""

import re
from pathlib import Path
from typing import Any

from ray.train import Checkpoint
from ray.train._internal.session import _TrainingResult
from ray.tune.result import TRAINING_ITERATION

# Beside what the method saves in a checkpoint: step and metric of every result so far.
HISTORY_FILE = "scores.json"
_NUMBERED = re.compile(r"checkpoint_(\d+)")


def still_there(recorded: Any, every: int, keep: int) -> Any:
    """The recorded checkpoint, or a newer one of the trial if that was deleted.

    Args:
        recorded: What `Trainable.restore` is given.
        every: Iterations between two checkpoints.
        keep: Newest checkpoints that Tune keeps.

    Returns:
        `recorded` itself unless it is a training result whose folder is gone and has successors.
    """
    if not isinstance(recorded, _TrainingResult) or recorded.checkpoint is None:
        return recorded
    place = Path(recorded.checkpoint.path)
    name = _NUMBERED.fullmatch(place.name)
    if place.exists() or name is None:
        return recorded
    found = _newest_whole(place.parent, int(name[1]), keep)
    if found is None:
        return recorded
    later = int(found.name.rpartition("_")[2]) - int(name[1])
    iteration = recorded.metrics.get(TRAINING_ITERATION, 0) + later * every
    metrics = {**recorded.metrics, TRAINING_ITERATION: iteration}
    return _TrainingResult(checkpoint=Checkpoint.from_directory(str(found)), metrics=metrics)


def numbered(trial: Path) -> dict[int, Path]:
    """The checkpoints in a trial's folder by their numbers."""
    matches = ((_NUMBERED.fullmatch(path.name), path) for path in trial.glob("checkpoint_*"))
    return {int(match[1]): path for match, path in matches if match}


def _newest_whole(trial: Path, number: int, keep: int) -> Path | None:
    """The newest checkpoint above a number that is neither half written nor half deleted.

    At most one folder is not whole: beside `keep` registered ones either the oldest is being
    deleted, or the newest written. Both lack files, or end in a file that is cut short.
    """
    found = {each: path for each, path in numbered(trial).items() if each > number}
    files = {n: sum(1 for each in path.rglob("*") if each.is_file()) for n, path in found.items()}
    whole = sorted(n for n in found if 0 < files[n] == max(files.values()))
    if len(found) > keep and len(whole) > 1 and whole[-1] == max(found):
        whole.pop()
    return found[whole[-1]] if whole else None
