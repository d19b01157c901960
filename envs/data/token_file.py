"""Tokens that somebody else made: uint16 files in the layout of nanoGPT, memory-mapped.

A folder has ``train.bin`` and ``val.bin``; a single ``.bin`` file has its end held out. A file is
token ids alone, 16 bits each, little-endian, without a header.
"""

import json
import os
from pathlib import Path

import numpy as np

from tenfold.envs.data.cache import fingerprint, prepared

SUFFIX = ".bin"
_SPLITS = ("train.bin", "val.bin")
_HELD_OUT = 0.05
_AT_ONCE = 2**24  # tokens


def is_token_source(source: Path) -> bool:
    """Whether it is such a file or folder, by its name and those of its files."""
    return source.suffix == SUFFIX or os.path.isfile(source / _SPLITS[0])


def load_tokens(
    source: Path, cache: Path, unseen: bool = False
) -> tuple[np.ndarray, np.ndarray, int]:
    """Map a file, or a folder's two.

    Args:
        source: As `is_token_source` takes it.
        cache: Folder for the size of the vocabulary, which takes a pass over all tokens.
        unseen: A single file is held out as a whole, see `text.load_corpus`.

    Returns:
        The tokens of the training split and of the held-out one, (tokens,) uint16, and one more
        than the largest of them.

    Raises:
        ValueError: A file is missing or empty, or ends within a token; the message names it.
    """
    if source.suffix == SUFFIX:
        tokens = _mapped(source)
        cut = 0 if unseen else len(tokens) - max(1, int(len(tokens) * _HELD_OUT))
        train, held_out, files = tokens[:cut], tokens[cut:], [source]
    else:
        files = [source / name for name in _SPLITS]
        train, held_out = map(_mapped, files)
    stats = [file.stat() for file in files]
    stamp = [
        f"{f.absolute()} {s.st_size} {s.st_mtime_ns}" for f, s in zip(files, stats, strict=True)
    ]

    def make(folder: Path) -> None:
        vocabulary = 1 + max(_largest(train), _largest(held_out))
        (folder / "vocabulary.json").write_text(json.dumps(vocabulary))

    folder = prepared(cache, f"tokens-{fingerprint(stamp)}", make)
    return train, held_out, json.loads((folder / "vocabulary.json").read_text())


def _mapped(file: Path) -> np.ndarray:
    if not os.path.isfile(file):
        raise ValueError(f"'{file}' does not exist: give a file of uint16 tokens.")
    size = file.stat().st_size
    if size % 2 or size == 0:
        raise ValueError(
            f"'{file}' has {size} bytes: tokens are uint16, so give a file of an even number of "
            "bytes, 2 or more."
        )
    return np.memmap(file, dtype="<u2", mode="r")


def _largest(tokens: np.ndarray) -> int:
    parts = (tokens[start : start + _AT_ONCE] for start in range(0, len(tokens), _AT_ONCE))
    return max((int(part.max()) for part in parts), default=0)
