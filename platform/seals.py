"""Files that tell whether they are as they were written: sealed JSON, texts and folders.

A seal is a SHA-256. It finds what a crash cut short and what a disk changed; it is no signature,
and keeps nobody out who can write the files.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MANIFEST_FILE = "manifest.json"
_SEAL = "sha256"
_COMMENT = f"# {_SEAL} of what follows: "


class Damaged(ValueError):
    """A file is not as it was written; the message says in few words which and how."""


def sealed(fields: Mapping[str, Any]) -> str:
    """Fields as JSON that holds its own seal."""
    return json.dumps({**fields, _SEAL: _digest_of(fields)}, indent=2)


def read_sealed(file: Path, older: bool = False) -> dict[str, Any]:
    """The fields of a file that `sealed` gave the text of, without the seal.

    Args:
        file: What to read.
        older: It may be an older version's, which has no seal.

    Raises:
        Damaged: It cannot be read, or its seal is broken or lacks.
    """
    try:
        fields = json.loads(file.read_bytes())
    except OSError as error:
        raise Damaged(f"{file.name} cannot be read ({error.strerror})") from None
    except ValueError:
        raise Damaged(f"{file.name} is cut short or has changed") from None
    if not isinstance(fields, dict):
        raise Damaged(f"{file.name} has changed since it was written")
    seal = fields.pop(_SEAL, None)
    if seal != _digest_of(fields) and not (older and seal is None):
        raise Damaged(f"{file.name} has changed since it was written")
    return fields


def sealed_text(text: str) -> str:
    """A YAML text under a comment that holds its seal."""
    return f"{_COMMENT}{hashlib.sha256(text.encode()).hexdigest()}\n{text}"


def check_text_seal(file: Path) -> None:
    """Compare a file that `sealed_text` gave the text of with its seal; without one it passes.

    Raises:
        Damaged: It has changed.
        OSError: It cannot be read.
    """
    first, _, text = file.read_bytes().partition(b"\n")
    digest = hashlib.sha256(text).hexdigest()
    if first.startswith(_COMMENT.encode()) and first != f"{_COMMENT}{digest}".encode():
        raise Damaged(f"{file.name} has changed since it was written")


def seal_folder(folder: Path, manifest: str = MANIFEST_FILE) -> None:
    """Write down the size and the SHA-256 of every file of a folder, in a file there."""
    files = {
        str(file.relative_to(folder)): [file.stat().st_size, _digest(file)]
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file != folder / manifest
    }
    (folder / manifest).write_text(sealed({"files": files}))


def has_seal(folder: Path) -> bool:
    """Whether a folder was sealed; those of older versions were not."""
    return (folder / MANIFEST_FILE).exists()


def check_folder_seal(folder: Path, manifest: str = MANIFEST_FILE) -> None:
    """Compare a sealed folder with its manifest; files that were added later do not count.

    Raises:
        Damaged: A file lacks, cannot be read or has changed, or the manifest has.
    """
    for name, (size, digest) in read_sealed(folder / manifest)["files"].items():
        file = folder / name
        try:
            if file.stat().st_size != size or _digest(file) != digest:
                raise Damaged(f"{name} has changed since it was written")
        except FileNotFoundError:
            raise Damaged(f"{name} is missing") from None
        except OSError as error:
            raise Damaged(f"{name} cannot be read ({error.strerror})") from None


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _digest_of(fields: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()
