"""A user's columns: Parquet files, and the Arrow streams that Hugging Face's `datasets` saves.

`Dataset.save_to_disk` writes streams (``data-00000-of-00001.arrow``), a `DatasetDict` a folder of
them for each split, and the cache of `datasets` has the same files with the split in their names.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

SUFFIXES = (".parquet", ".arrow")
"""Of which the first that a folder has is read."""

_ROWS = 256  # of a Parquet file that are held at a time


def columnar_files(files: Sequence[Path]) -> list[Path]:
    """Those among a folder's files that hold columns, all of one kind.

    What `datasets` has computed and cached beside what it saved is left out.
    """
    for suffix in SUFFIXES:
        found = [file for file in files if file.suffix.lower() == suffix]
        found = [file for file in found if suffix != ".arrow" or file.name[:6] != "cache-"]
        if found:
            return found
    return []


def schema_of(file: Path) -> pa.Schema:
    """Names and types of a file's columns.

    Raises:
        ValueError: It is not what its name says.
    """
    with _said(file):
        if not _is_stream(file):
            return pq.read_schema(file)
        with pa.memory_map(str(file)) as mapped:
            return pa.ipc.open_stream(mapped).schema


def batches_of(file: Path, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Some columns of a file, a few rows at a time.

    Raises:
        ValueError: It is not what its name says.
    """
    with _said(file):
        if not _is_stream(file):
            with pq.ParquetFile(file) as opened:
                yield from opened.iter_batches(_ROWS, columns=list(columns))
            return
        with pa.memory_map(str(file)) as mapped, pa.ipc.open_stream(mapped) as stream:
            for batch in stream:
                yield batch.select(list(columns))


def is_plain(kind: pa.DataType) -> bool:
    """Whether a column's values are Arrow's own: others, as Ray Data's, may be pickles."""
    if pa.types.is_nested(kind):
        return all(is_plain(kind.field(place).type) for place in range(kind.num_fields))
    return not isinstance(kind, pa.BaseExtensionType)


def _is_stream(file: Path) -> bool:
    return file.suffix.lower() == ".arrow"


@contextmanager
def _said(file: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        kind = "an Arrow stream" if _is_stream(file) else "a Parquet file"
        raise ValueError(f"'{file}' is not {kind}: {error}.") from None
