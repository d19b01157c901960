"""Encoded images of columns, webdataset shards or single files, read in order by Ray Data.

Rows are read and examined in parallel tasks; a batch of them is ahead of whoever takes them.
"""

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
"""Of images in shards and folders."""

UNREADABLE = (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError)
"""What Pillow raises on what is no image."""

Row = Mapping[str, Any]


def examined_rows(
    kind: str,
    files: Sequence[Path],
    examine: Callable[..., dict[str, Any]],
    columns: Sequence[str] = (),
    **arguments: Any,
) -> Iterator[Row]:
    """Every row of some files in their order, as a function makes it.

    Args:
        kind: ``columns`` (see `columnar`), ``tar`` or ``folder`` (of files that are images).
        files: Of that kind.
        examine: From a row to what is wanted of it: the `columns` of a file of those; the members
            of a shard's example by their suffixes, see `image_of`; or ``bytes`` and ``path``.
        columns: Of Parquet and Arrow.
        **arguments: Further ones of `examine`.
    """
    import ray.data

    paths = [str(file.absolute()) for file in files]
    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    # No CPU is asked for: the trial that waits for the data may hold them all.
    free = {"num_cpus": 0}
    if kind == "columns" and files[0].suffix.lower() == ".parquet":
        rows = ray.data.read_parquet(paths, columns=list(columns), **free)
    elif kind == "columns":
        from tenfold.envs.data.arrow_source import ArrowStreams

        rows = ray.data.read_datasource(ArrowStreams(paths, columns), **free)
    elif kind == "tar":
        rows = ray.data.read_webdataset(paths, decoder=None, **free)
    else:
        rows = ray.data.read_binary_files(paths, include_paths=True, **free)
    yield from rows.map(examine, fn_kwargs=arguments, num_cpus=0).iter_rows()


def cell_bytes(cell: Any) -> bytes | None:
    """The encoded image of a cell of a column: bytes, or a struct that has them as ``bytes``."""
    return cell.get("bytes") if isinstance(cell, dict) else cell


def members(row: Row) -> dict[str, bytes]:
    """What an example of a shard has, by its suffixes in small letters."""
    return {key.lower(): value for key, value in row.items() if isinstance(value, bytes)}


def image_of(given: Mapping[str, bytes]) -> bytes | None:
    """The encoded image among an example's members."""
    return next((given[s[1:]] for s in SUFFIXES if s[1:] in given), None)


def described(given: Mapping[str, bytes]) -> dict[str, Any]:
    """What an example's JSON member says, nothing where it has none that can be read."""
    try:
        found = json.loads(given.get("json", b"{}"))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def opened(image: bytes | None) -> Image.Image | None:
    """A decoded image, None of what cannot be read."""
    try:
        found = Image.open(BytesIO(image or b""))
        found.load()
    except UNREADABLE:
        return None
    return found


def say_skipped(source: str | Path, skipped: Mapping[str, int]) -> None:
    """Tell the user how many examples of a source were left out for what, if there are any."""
    if any(skipped.values()):
        said = ", ".join(f"{count} {fault}" for fault, count in skipped.items() if count)
        logging.getLogger("tenfold.envs").warning("'%s': left out %s.", source, said)
