"""Logs of timestamped events: which columns, what separator, how times are written.

Times become whole nanoseconds since 1970 (UTC), without a detour through floats.
"""

import csv
import gzip
import os
import re
import warnings
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import IO, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from tenfold.envs.queues.trace import LONGEST_NUMBER

Unit = Literal["auto", "iso", "s", "ms", "us", "ns"]

UNITS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}  # in nanoseconds
UNIT_NAMES = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
# The unit of a number since 1970 by its size: 10^11 s is the year 5138, 10^11 ms is 1973.
LARGEST: dict[Unit, int] = {"s": 10**11, "ms": 10**14, "us": 10**17}

SPACES = r"\s+"
SEPARATORS = (",", ";", "\t", "|", SPACES)
NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d{1,3})?"


@dataclass(frozen=True)
class Layout:
    """Where a log has what.

    Attributes:
        time: Column of the times.
        queue: Column of the queues' names; None: there is one queue.
        amount: Column of the amounts; None: 1 an event.
        unit: How times are written; ``auto`` tells by their look and size.
        separator: Between two fields; None: found out from the header.
    """

    time: str = "time"
    queue: str | None = None
    amount: str | None = None
    unit: Unit = "auto"
    separator: str | None = None


@dataclass(frozen=True)
class Events:
    """The events of a log, n of them.

    Attributes:
        moments: Nanoseconds since 1970, int64 (n,).
        names: Queues, texts (n,).
        amounts: float64 (n,), >= 0.
        clock: How the times were read, in words.
    """

    moments: np.ndarray
    names: np.ndarray
    amounts: np.ndarray
    clock: str


def read_events(path: str | Path, layout: Layout) -> Events:
    """The events of a log: CSV of any separator, plain or gzip, or Parquet.

    Args:
        path: Rows in messages are counted from 1 without the header.
        layout: Which columns to read.

    Raises:
        ValueError: One sentence that names the file, and the row and value that are wrong.
    """
    path = Path(path)
    table = _read_table(path, layout)
    if table.empty:
        raise ValueError(f"{path}: there is no row below the header.")
    moments, clock = _moments(path, table[layout.time], layout.unit)
    names = pd.Series("all", index=table.index)
    if layout.queue is not None:
        names = table[layout.queue].astype("string").str.strip().fillna("")
        _refuse(path, names, names == "", "is empty; give the name of a queue")
    amounts = pd.Series(1.0, index=table.index)
    if layout.amount is not None:
        given = table[layout.amount]
        _refuse_long(path, given)
        amounts = pd.to_numeric(given, errors="coerce").astype(np.float64)
        _refuse(path, given, ~np.isfinite(amounts), "is not a finite number")
        _refuse(path, given, amounts < 0, "is negative; give amounts of work, 0 or more")
    return Events(moments, names.to_numpy(dtype=object), amounts.to_numpy(), clock)


def _refuse(path: Path, column: pd.Series, bad: pd.Series | np.ndarray, fault: str) -> None:
    """Name the first bad row, and say how many there are."""
    if not bad.any():
        return
    row, count = int(np.argmax(np.asarray(bad))), int(bad.sum())
    more = f" ({count:,} such rows)" if count > 1 else ""
    value = " ".join(str(column.iloc[row]).split())
    raise ValueError(f"{path}, row {row + 1}: {column.name} '{value[:60]}' {fault}{more}.")


def _refuse_long(path: Path, column: pd.Series) -> None:
    """Name the first text that is longer than any number of a log."""
    if column.dtype.kind not in "iufbM":
        long = column.astype("string").str.len().fillna(0) > LONGEST_NUMBER
        _refuse(path, column, long, "is too long for a number")


def _moments(path: Path, column: pd.Series, unit: Unit) -> tuple[np.ndarray, str]:
    """Nanoseconds since 1970 (n,), and how they were read."""
    if isinstance(column.dtype, pd.DatetimeTZDtype) or column.dtype.kind == "M":
        _refuse(path, column, column.isna(), "is empty; give a time")
        if isinstance(column.dtype, pd.DatetimeTZDtype):
            return _nanoseconds(path, column, column.dt.tz_convert("UTC")), "times with their zone"
        utc = column.dt.tz_localize("UTC")
        return _nanoseconds(path, column, utc), "times without a zone, as UTC"
    _refuse_long(path, column)
    texts = column.astype("string")
    texts = texts.fillna("").str.strip()
    numbers = texts.str.fullmatch(NUMBER).fillna(False).astype(bool)
    if unit == "iso" or (unit == "auto" and 2 * numbers.sum() < len(numbers)):
        return _read_iso(path, column, texts)
    _refuse(path, column, ~numbers, "is not a number, as the other times are")
    said = "as asked"
    if unit == "auto":
        size = abs(float(pd.to_numeric(texts.astype(object)).median()))
        unit, said = next((u for u, end in LARGEST.items() if size < end), "ns"), "by their size"
    clock = f"{UNIT_NAMES[unit]} since 1970, {said}"
    factor = UNITS[unit]
    whole = pd.to_numeric(texts.astype(object))
    if whole.dtype == np.int64:
        limit = (2**63 - 1) // factor
        _refuse(path, column, (whole > limit) | (whole < -limit), "is beyond the year 2262")
        return (whole * factor).to_numpy(), clock
    exact = [Decimal(text) * factor for text in texts]
    far = pd.Series([not -(2**63) < moment < 2**63 for moment in exact], index=column.index)
    _refuse(path, column, far, "is beyond the year 2262")
    return np.array([int(moment // 1) - (moment % 1 < 0) for moment in exact], np.int64), clock


def _read_iso(path: Path, column: pd.Series, texts: pd.Series) -> tuple[np.ndarray, str]:
    texts = texts.str.replace(r",(?=\d)", ".", regex=True)
    found = pd.to_datetime(texts, format="ISO8601", utc=True, errors="coerce")
    fault = "is neither an ISO 8601 time, such as 2026-01-31T08:00:00.5Z, nor a number"
    _refuse(path, column, found.isna(), fault)
    zoned = texts.str.contains(r"[T ].*(?:[Zz]|[-+]\d\d:?(?:\d\d)?)$", regex=True).astype(bool)
    if zoned.any() and not zoned.all():
        fault = "has no zone, but other times have one; give it to all or to none"
        _refuse(path, column, ~zoned, fault)
    clock = "ISO 8601 times, " + ("with their zone" if zoned.any() else "without a zone, as UTC")
    return _nanoseconds(path, column, found), clock


def _nanoseconds(path: Path, column: pd.Series, found: pd.Series) -> np.ndarray:
    low, high = pd.Timestamp.min.tz_localize("UTC"), pd.Timestamp.max.tz_localize("UTC")
    _refuse(path, column, (found < low) | (found > high), "is not in the years 1678 to 2261")
    return found.dt.as_unit("ns").astype(np.int64).to_numpy()


def _read_table(path: Path, layout: Layout) -> pd.DataFrame:
    """The columns of the layout, in a CSV file as texts."""
    wanted = [name for name in (layout.time, layout.queue, layout.amount) if name is not None]
    if len({*wanted}) < len(wanted):
        raise ValueError("Time, queue and amount are three columns: name each of them once.")
    if not os.path.isfile(path):
        raise ValueError(f"{path}: there is no such file.")
    try:
        if path.suffix == ".parquet":
            with parquet.ParquetFile(path) as file:
                _check_columns(path, wanted, file.schema_arrow.names)
                _check_kinds(path, wanted, file.schema_arrow)
                table = file.read(columns=wanted)
            table.validate(full=True)  # whether texts are UTF-8, above all
            return pd.DataFrame({name: _decoded(table[name]).to_pandas() for name in wanted})
        separator = layout.separator or _find_separator(path, wanted)
        plain = len(separator) == 1 or separator == SPACES
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            rows = pd.read_csv(
                path,
                sep=separator if plain else re.escape(separator),
                engine="c" if plain else "python",
                dtype=str,
                keep_default_na=False,
                skipinitialspace=True,
                index_col=False,
                encoding="utf-8-sig",
            )
    except pd.errors.EmptyDataError:
        raise ValueError(f"{path}: the file is empty; a log starts with a header.") from None
    except pd.errors.ParserWarning:
        raise ValueError(f"{path}: the rows have more fields than the header.") from None
    except pd.errors.ParserError as error:
        reason = str(error).splitlines()[0].removeprefix("Error tokenizing data. C error: ")
        raise ValueError(f"{path}: cannot be read as a log: {reason}.") from None
    except (UnicodeError, OSError, EOFError, zlib.error, csv.Error, pa.ArrowException) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{path}: cannot be read as a log: {reason}.") from None
    rows.columns = rows.columns.str.strip()
    _check_columns(path, wanted, list(rows.columns))
    return rows[wanted]


def _check_kinds(path: Path, wanted: list[str], schema: pa.Schema) -> None:
    """Refuse types that are not Arrow's own: Ray Data's are pickles, which run when they are read.

    Raises:
        ValueError: A column has one.
    """
    for name in wanted:
        kind = schema.field(name).type
        inner = kind.value_type if pa.types.is_dictionary(kind) else kind
        if isinstance(inner, pa.BaseExtensionType) or pa.types.is_nested(inner):
            raise ValueError(f"{path}: column '{name}' holds {kind}; give texts, numbers or times.")


def _decoded(column: pa.ChunkedArray) -> pa.ChunkedArray:
    is_dictionary = pa.types.is_dictionary(column.type)
    return column.cast(column.type.value_type) if is_dictionary else column


def _find_separator(path: Path, wanted: list[str]) -> str:
    """The first separator with which the header has all columns, else the one that splits most."""
    with _open(path) as file:
        header = next((line for line in file if line.strip()), "").strip("\r\n")
    fields = {each: _split(header, each) for each in SEPARATORS}
    for separator, names in fields.items():
        if all(name in names for name in wanted):
            return separator
    return max(SEPARATORS, key=lambda separator: len(fields[separator]))


def _open(path: Path) -> IO[str]:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig")
    return path.open(encoding="utf-8-sig")


def _split(header: str, separator: str) -> list[str]:
    if separator == SPACES:
        return header.split()
    return [name.strip() for name in next(csv.reader([header], delimiter=separator), [])]


def _check_columns(path: Path, wanted: list[str], there: Sequence[str]) -> None:
    missing = [name for name in wanted if name not in there]
    twice = [name for name in wanted if list(there).count(name) > 1]
    if twice:
        raise ValueError(f"{path}: column '{twice[0]}' is there twice; give it once.")
    if missing:
        raise ValueError(f"{path}: there is no column '{missing[0]}'; it has {listed(there)}.")


def listed(names: Sequence[str]) -> str:
    """Names in a message, twelve at most."""
    return ", ".join(names) if len(names) <= 12 else f"{', '.join(names[:12])}, ... ({len(names)})"
