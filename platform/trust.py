"""Whether a checkpoint may be loaded: one with pickles only if this user made it, or says so.

RLlib's own checkpoints hold pickles, and a pickle can run any code when it is loaded. That this
user made a checkpoint is taken as given where it lies in the user's own folder of runs, every file
of it belongs to the user, and nobody else can write to it. What was unpacked or copied from
elsewhere belongs elsewhere; who puts it among the own runs, or names its folder by TENFOLD_RUNS,
says the same as with ``--trust``.
"""

import os
import stat
from pathlib import Path

from tenfold.platform.errors import InputError
from tenfold.platform.store import runs_folder

CODE = (".pkl", ".pickle", ".msgpck", ".pt", ".pth", ".bin", ".ckpt")
"""Ends of the names of files that can hold pickles; msgpack's hold them for arrays of objects."""


def check_trusted(checkpoint: Path, trust: bool) -> None:
    """Refuse a checkpoint that could run somebody else's code.

    Args:
        checkpoint: Its folder.
        trust: Whether the user answers for it.

    Raises:
        InputError: It holds pickles, and is not known to be this user's.
    """
    files = sorted(checkpoint.rglob("*"))
    if trust or not any(file.name.endswith(CODE) for file in files):
        return
    reason = _foreign(checkpoint, files)
    if reason is not None:
        raise InputError(
            f"Checkpoint '{checkpoint}' holds pickles, which can run any code when they are loaded,"
            f" and {reason}: give --trust if you know who made it."
        )


def _foreign(checkpoint: Path, files: list[Path]) -> str | None:
    """Why a checkpoint may be somebody else's; None if it is this user's own."""
    home, place = (runs_folder() / "tune").resolve(), checkpoint.resolve()
    if home not in place.parents:
        return f"it does not lie in your folder of runs, '{home}'"
    above = [folder for folder in place.parents if home in (folder, *folder.parents)]
    for path in [*above, place, *files]:
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode):
            return f"'{path.name}' in it is a link"
        if status.st_uid != os.geteuid():
            return f"'{path.name}' belongs to another user"
        if status.st_mode & stat.S_IWOTH:
            return f"everybody may write to '{path.name}'"
    return None
