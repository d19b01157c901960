"""Recorded arrivals and services: reading and checking a trace file.

A trace is a table with one row for each slot and queue, in any order:

    slot      integer; consecutive, from any first slot
    queue     integer; 0 ... K - 1
    arrivals  work that arrived in the slot, >= 0
    service   work that the server could have done in the slot on this queue, >= 0

It is read from CSV (plain or gzip) or Parquet; further columns are ignored, and there are at most
`MOST_ROWS` rows. Rows in messages are counted from 1 without the header. Slots and queues are read
as integers, so that slots may be numbered by nanoseconds since 1970.
"""

import os
import warnings
import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import parquet

COLUMNS = ("slot", "queue", "arrivals", "service")
SUFFIXES = (".csv", ".csv.gz", ".parquet")
MOST_ROWS = 50_000_000
LONGEST_NUMBER = 300  # characters

# What a Parquet column of numbers may be; texts are read as CSV's are.
_KNOWN_TYPES = (
    *(pa.types.is_integer, pa.types.is_floating, pa.types.is_null),
    *(pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view),
)

# A record has no rates. Its mean over blocks of this many slots replaces them, where a capacity
# or an oracle needs a conditional mean.
RATE_BLOCK = 100


@dataclass(frozen=True)
class TraceData:
    """A checked trace: `arrivals` and `service`, float64 (slots, K)."""

    arrivals: np.ndarray
    service: np.ndarray


def read_trace(path: str | Path) -> TraceData:
    """Read a trace file, or remember it if it has not changed since it was read.

    Args:
        path: A file whose name ends with one of `SUFFIXES`.

    Returns:
        The amounts by slot and queue.

    Raises:
        ValueError: One sentence that names the file and, where there is one, the row.
    """
    path = Path(path)
    if not path.name.endswith(SUFFIXES):
        raise ValueError(f"{path}: the name of a trace file ends with {', '.join(SUFFIXES)}.")
    if not os.path.isfile(path):
        raise ValueError(f"{path}: there is no such trace file.")
    stat = path.stat()
    return _read_once(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=8)
def _read_once(path: Path, changed: int, size: int) -> TraceData:
    table = _read_table(path)
    missing = [column for column in COLUMNS if column not in table.columns]
    if missing:
        raise ValueError(
            f"{path}: column '{missing[0]}' is missing; a trace has the columns "
            f"{', '.join(COLUMNS)}."
        )
    if table.empty:
        raise ValueError(f"{path}: there is no row below the header; a trace needs at least one.")
    numbers = pd.DataFrame(
        {column: _whole(path, table[column]) for column in ("slot", "queue")}
        | {column: _amounts(path, table[column]) for column in ("arrivals", "service")}
    )
    ordered = numbers.sort_values(["slot", "queue"], kind="stable")
    K = int(ordered["queue"].max()) + 1
    _check_complete(path, ordered, K)
    shape = (-1, K)
    return TraceData(
        arrivals=ordered["arrivals"].to_numpy(dtype=np.float64).reshape(shape),
        service=ordered["service"].to_numpy(dtype=np.float64).reshape(shape),
    )


def block_means(amounts: np.ndarray) -> np.ndarray:
    """Each slot's mean over its block of `RATE_BLOCK` slots; in and out (slots,) or (slots, K)."""
    starts = np.arange(0, len(amounts), RATE_BLOCK)
    lengths = np.diff(np.append(starts, len(amounts)))
    sums = np.add.reduceat(amounts, starts, axis=0)
    return np.repeat((sums.T / lengths).T, lengths, axis=0)


def _read_table(path: Path) -> pd.DataFrame:
    """The columns that are known, as numbers where they are such and as texts where not."""
    try:
        if path.suffix == ".parquet":
            return _read_parquet(path)
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            table = pd.read_csv(
                path,
                nrows=MOST_ROWS + 1,
                skipinitialspace=True,
                index_col=False,
                low_memory=False,
            )
    except pd.errors.EmptyDataError:
        raise ValueError(f"{path}: the file is empty; a trace starts with a header.") from None
    except pd.errors.ParserWarning:
        raise ValueError(f"{path}: the rows have more fields than the header.") from None
    except (ValueError, OSError, EOFError, zlib.error, pa.ArrowException) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{path}: cannot be read as a trace: {reason}") from None
    _check_rows(path, len(table))
    return table


def _check_rows(path: Path, rows: int) -> None:
    if rows > MOST_ROWS:
        raise ValueError(f"{path}: a trace has at most {MOST_ROWS:,} rows: give fewer slots.")


def _read_parquet(path: Path) -> pd.DataFrame:
    """Parquet's columns; dictionaries are decoded, and decimals become numbers."""
    with parquet.ParquetFile(path) as file:
        _check_rows(path, file.metadata.num_rows)
        table = file.read(columns=[name for name in COLUMNS if name in file.schema_arrow.names])
    table.validate(full=True)  # whether texts are UTF-8, above all
    if len(set(table.column_names)) < len(table.column_names):
        raise ValueError("a column is there twice; give each of them once")
    columns = {}
    for name in table.column_names:
        column = table[name]
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        kind = column.type
        if pa.types.is_decimal(kind):
            column = column.cast(pa.string())
        elif not any(known(kind) for known in _KNOWN_TYPES):
            raise ValueError(
                f"column '{name}' holds {kind}; give numbers, or make slots of timestamps with "
                "'tenfold trace convert'."
            )
        columns[name] = column.to_pandas()
    return pd.DataFrame(columns)


def _whole(path: Path, column: pd.Series) -> np.ndarray:
    """A column of whole numbers as int64, exactly, or a refusal that names the first bad row."""
    values = _numbers(path, column)
    _refuse(path, column, _not_numbers(column, values))
    tests: list[Test] = [(values % 1 != 0, "is not a whole number", "give an integer")]
    if column.name == "queue":
        tests.insert(0, (values < 0, "is negative", "give a number >= 0"))
    exact = values.dtype.kind in "iu"
    large = values > np.iinfo(np.int64).max if exact else np.abs(values) > 2.0**53
    tests.append((large, "is too large", "give less than 2^63, without a point or exponent"))
    _refuse(path, column, tests)
    return values.to_numpy(dtype=np.int64)


def _amounts(path: Path, column: pd.Series) -> np.ndarray:
    """A column of amounts as float64, or a refusal that names the first bad row."""
    values = _numbers(path, column).astype(np.float64)
    negative = (values < 0, "is negative", "give a number >= 0")
    _refuse(path, column, [*_not_numbers(column, values), negative])
    return values.to_numpy()


def _numbers(path: Path, column: pd.Series) -> pd.Series:
    """A column as numbers, NaN where there is none."""
    try:
        return pd.to_numeric(column, errors="coerce")
    except OverflowError:  # a whole number beyond all floating-point ones
        digits = column.astype(str).str.len() > LONGEST_NUMBER
        _refuse(path, column.astype(str).str[:20], [(digits, "... is too large", "give a number")])
        raise


# Which rows are bad, what is wrong with them, the cure.
Test = tuple[pd.Series | np.ndarray, str, str]


def _not_numbers(column: pd.Series, values: pd.Series) -> list[Test]:
    truths = pd.Series(column.dtype == bool, index=column.index)
    return [
        (column.isna(), "is empty or NaN", "give a number"),
        (values.isna() | truths, "is not a number", "give a number"),
        (np.isinf(values.astype(np.float64)), "is infinite", "give a finite number"),
    ]


def _refuse(path: Path, column: pd.Series, tests: list[Test]) -> None:
    for bad, fault, cure in tests:
        if bad.any():
            row = int(np.argmax(np.asarray(bad)))
            raise ValueError(
                f"{path}, row {row + 1}: {column.name} {column.iloc[row]!s} {fault}; {cure}."
            )


def _check_complete(path: Path, ordered: pd.DataFrame, K: int) -> None:
    """Each queue exactly once in each slot, and no slot left out."""
    slot, queue = ordered["slot"].to_numpy(), ordered["queue"].to_numpy()
    row = ordered.index.to_numpy() + 1
    again = np.flatnonzero((np.diff(slot) == 0) & (np.diff(queue) == 0))
    if again.size:
        i = int(again[0])
        raise ValueError(
            f"{path}, row {row[i + 1]}: slot {slot[i]}, queue {queue[i]} is already in row "
            f"{row[i]}; give each slot and queue one row."
        )
    place = np.arange(len(slot))
    wrong = np.flatnonzero((slot != slot[0] + place // K) | (queue != place % K))
    if wrong.size or len(slot) % K:
        i = int(wrong[0]) if wrong.size else len(slot)
        raise ValueError(
            f"{path}, {'before' if i < len(slot) else 'after'} row {row[min(i, len(slot) - 1)]}: "
            f"slot {slot[0] + i // K} has no row for queue {i % K}; a trace has each queue "
            f"(0 to {K - 1}) in each slot."
        )
