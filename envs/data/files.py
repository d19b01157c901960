"""Which files of a user's folder are data, and to which split each belongs.

What is left out is counted and said once a process, as a warning of the logger ``tenfold.envs``.
"""

import logging
import re
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

TRAIN = ("train", "training")
HELD_OUT = ("validation", "valid", "val", "dev", "test", "testing")
"""Names of held-out splits; of several in one folder the first in this order is used."""

_LITTER = {"__macosx", "__pycache__", "thumbs.db", "desktop.ini"}
_SHARD = re.compile(r"([a-z]+)(-\d+-of-\d+.*)?")  # train, train-00000-of-00004
_ARROW = re.compile(r"(?:.*-)?([a-z]+)(-\d+-of-\d+)?")  # cifar10-train, train-00000-of-00004
_TAR = re.compile(r"(?:.*[-_])?([a-z]+)[-_]\d+(-of-\d+)?")  # train-0000, imagenet1k-train-0000
_NAMED_SPLITS = (
    ".txt",
    ".parquet",
    ".jsonl",
    ".arrow",
    ".tar",
)  # a test.py is part of a program, not a split


def data_files(root: Path) -> list[Path]:
    """All files below a folder that may be data, in the order of their names.

    Hidden files and folders and what archives, notebooks and operating systems leave behind
    (`__MACOSX`, `.ipynb_checkpoints`, `._x.png`, `Thumbs.db`) are left out.
    """
    found = sorted(path for path in root.rglob("*") if path.is_file())
    data = [path for path in found if not is_litter(path.relative_to(root))]
    say_left_out(root, len(found) - len(data), "hidden, or litter of an archive or a system")
    return data


def is_litter(path: Path) -> bool:
    """Whether a path within a folder is hidden or litter, or in such a folder."""
    return any(part.startswith(".") or part.lower() in _LITTER for part in path.parts)


def say_left_out(root: Path, count: int, why: str) -> None:
    """Tell the user how many files of a folder are not used, if there are any."""
    if count:
        _say(f"'{root}': {count} file{'s' * (count > 1)} left out ({why}).")


def train_and_held_out(root: Path, files: Sequence[Path]) -> tuple[list[Path], list[Path]] | None:
    """Files by split where a folder's layout names a training and a held-out one.

    A split is a top folder of that name (``train/``, ``val/``), or a .txt, .parquet or .jsonl file
    of that name (``train.txt``, ``test-00000-of-00001.parquet``), packed (.gz) or not, or an Arrow
    stream or a webdataset shard that may have another name before (``cifar10-train.arrow``,
    ``train-0000.tar``, ``imagenet1k-val-0000.tar``).
    """
    splits: dict[str | None, list[Path]] = {}
    for file in files:
        splits.setdefault(_split_name(file.relative_to(root)), []).append(file)
    train, held_out = first_of(splits, TRAIN), first_of(splits, HELD_OUT)
    if train is None or held_out is None:
        return None
    rest = len(files) - len(splits[train]) - len(splits[held_out])
    say_left_out(root, rest, f"only '{train}' and '{held_out}' are used")
    return splits[train], splits[held_out]


def first_of(names: Iterable[str | None], wanted: Sequence[str]) -> str | None:
    """The first of the wanted names that is there."""
    there = set(names)
    return next((name for name in wanted if name in there), None)


def unpacked(path: Path) -> Path:
    """A path without the ``.gz`` of a packed file."""
    return path.with_suffix("") if path.suffix.lower() == ".gz" else path


def _split_name(path: Path) -> str | None:
    known = (*TRAIN, *HELD_OUT)
    path = unpacked(path)
    top = path.parts[0].lower()
    if len(path.parts) > 1 and top in known:
        return top
    suffix = path.suffix.lower()
    shard = {".tar": _TAR, ".arrow": _ARROW}.get(suffix, _SHARD).fullmatch(path.stem.lower())
    if suffix in _NAMED_SPLITS and shard and shard[1] in known:
        return shard[1]
    return None


@cache
def _say(text: str) -> None:
    logging.getLogger("tenfold.envs").warning(text)
