"""Folders of prepared data: made once, found again by a fingerprint, safe among processes."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path


def prepared(cache: Path, fingerprint: str, make: Callable[[Path], None]) -> Path:
    """The folder of a fingerprint, made by `make` if it is not there.

    It is made under a temporary name beside its place and renamed when it is whole. Of several
    processes that make it at once one wins, and all use the winner's.
    """
    folder = cache / fingerprint
    if folder.is_dir():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=cache, prefix=f".{fingerprint}-"))
    try:
        make(temporary)
        os.replace(temporary, folder)
    except OSError:
        if not folder.is_dir():
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def fingerprint(parts: Iterable[bytes | str]) -> str:
    """Twenty hexadecimal digits that stand for the parts, in their order."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()[:20]


def stamps(files: Iterable[Path], root: Path | None = None) -> list[str]:
    """Path (below a root, if given), size and time of each file: what tells if it has changed."""
    return [
        f"{file if root is None else file.relative_to(root)} {stat.st_size} {stat.st_mtime_ns}"
        for file in files
        for stat in (file.stat(),)
    ]
