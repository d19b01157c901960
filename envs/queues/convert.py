"""From timestamped events to a trace: what arrived in each slot, and what could be served.

Slots are half-open intervals [k L, (k + 1) L) counted from 1970, so that slots of a minute begin on
full minutes; the first one with an event becomes slot 1, and slots without events hold zeros.
"""

import gzip
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import IO

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from tenfold.envs.queues.capacity import Phases, capacity
from tenfold.envs.queues.events import NUMBER, UNITS, Events, listed
from tenfold.envs.queues.trace import RATE_BLOCK, SUFFIXES

NANOSECONDS = {
    **UNITS,
    "µs": 10**3,
    "min": 60 * 10**9,
    "h": 3_600 * 10**9,
    "d": 86_400 * 10**9,
}
MOST_CELLS = 50_000_000  # slots times queues
# Size of the linear program for the load.
MOST_BLOCKS, MOST_VARIABLES = 1_000, 20_000


@dataclass(frozen=True)
class Recording:
    """A trace to be written.

    Attributes:
        names: The queues' names (K,), in the order of their numbers.
        slot: Length of a slot in nanoseconds.
        start: Begin of slot 1, nanoseconds since 1970.
        arrivals: Work by slot and queue, float64 (T, K).
        service: The same of what could be served.
    """

    names: list[str]
    slot: int
    start: int
    arrivals: np.ndarray
    service: np.ndarray

    def load(self) -> float:
        """Load by the mean rates of blocks of slots, see capacity.py; inf if nothing carries it."""
        if not self.arrivals.any():
            return 0.0
        T, K = self.arrivals.shape
        blocks = min(MOST_BLOCKS, max(1, MOST_VARIABLES // K))
        constant = (self.service == self.service[0]).all()
        starts = np.arange(0, T, T if constant else max(RATE_BLOCK, -(-T // blocks)))
        lengths = np.diff(np.append(starts, T))
        services = np.add.reduceat(self.service, starts, axis=0) / lengths[:, None]
        carried = capacity(Phases(lengths / T, services, self.arrivals.mean(axis=0))).value
        return 1.0 / carried if carried > 1e-12 else float("inf")


def parse_slot(text: str) -> int:
    """A length of time such as ``100ms``, ``1.5 s`` or ``5min`` in nanoseconds.

    Raises:
        ValueError: It is not a length of time, or not a whole number of nanoseconds above 0.
    """
    found = re.fullmatch(rf"\s*({NUMBER})\s*([a-zµ]+)\s*", text)
    if found is None or found[2] not in NANOSECONDS:
        raise ValueError(
            f"Bad slot '{text}': give a number and a unit, for example 100ms; units are "
            f"{', '.join(NANOSECONDS)}."
        )
    length = Decimal(found[1]) * NANOSECONDS[found[2]]
    if length != length.to_integral_value() or not 1 <= length < 2**62:
        raise ValueError(f"Bad slot '{text}': give a whole number of nanoseconds, 1 or more.")
    return int(length)


def parse_service(texts: Sequence[str], slot: int) -> float | dict[str, float]:
    """Constant services a slot, of all queues or by name.

    Args:
        texts: One number (``3``: work a slot; ``20/s``: work a second), or ``name=number`` each.
        slot: Length of a slot in nanoseconds.

    Raises:
        ValueError: One of them is neither, or a name is given twice.
    """
    by_name: dict[str, float] = {}
    for text in texts:
        name, equals, number = text.rpartition("=")
        if not equals and len(texts) == 1:
            return _service(text, text, slot)
        if not equals:
            raise ValueError(
                f"Bad service '{text}': give one number for all queues, or name=number for each."
            )
        if name in by_name:
            raise ValueError(f"The service of queue '{name}' is given twice: give it once.")
        by_name[name] = _service(number, text, slot)
    return by_name


def to_slots(
    arrivals: Events, service: Events | float | Mapping[str, float], slot: int
) -> Recording:
    """Count events into slots.

    Args:
        arrivals: What arrived.
        service: What could be served: a log, whose amounts count in the slot that they are in, or
            work a slot, of all queues or by name.
        slot: Length of a slot in nanoseconds.

    Raises:
        ValueError: A queue has no service, a service no queue, or there are too many slots.
    """
    logs = [arrivals, service] if isinstance(service, Events) else [arrivals]
    served = {*service.names} if isinstance(service, Events) else None
    names = sorted({*arrivals.names, *(served or ())}, key=_natural)
    if served is not None:
        _check_names("the service log", served, {*arrivals.names})
    elif isinstance(service, Mapping):
        _check_names("the services given", {*service}, {*names})
        strange = [name for name in service if name not in names]
        if strange:
            raise ValueError(
                f"A service is given for queue '{strange[0]}', but the events have only "
                f"{listed(names)}."
            )
    first = min(int(log.moments.min()) // slot for log in logs)
    last = max(int(log.moments.max()) // slot for log in logs)
    T, K = last - first + 1, len(names)
    if T * K > MOST_CELLS:
        raise ValueError(
            f"The events span {T:,} slots of {K:,} queues, over {MOST_CELLS:,} in all: give a "
            "longer slot, or look at the unit of the times and at the column of the queues."
        )
    if isinstance(service, Events):
        offered = _count(service, names, slot, first, T)
    else:
        by_name = service if isinstance(service, Mapping) else dict.fromkeys(names, service)
        offered = np.tile([float(by_name[name]) for name in names], (T, 1))
    return Recording(names, slot, first * slot, _count(arrivals, names, slot, first, T), offered)


def write_recording(recording: Recording, path: str | Path) -> None:
    """Write a trace, as its name ends: .csv, .csv.gz or .parquet.

    A further column ``name`` tells which queue is which; those who read traces ignore it. The file
    appears when it is whole, and its bytes depend on the recording only.

    Raises:
        ValueError: The name ends otherwise, or the file cannot be written.
    """
    path = Path(path)
    if not path.name.endswith(SUFFIXES):
        raise ValueError(f"{path}: the name of a trace file ends with {', '.join(SUFFIXES)}.")
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file:
            if path.suffix == ".parquet":
                parquet.write_table(pa.Table.from_pandas(_table(recording, 0, None)), file)
            elif path.suffix == ".gz":
                with gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed:
                    _write_csv(recording, packed)
            else:
                _write_csv(recording, file)
        partial.replace(path)
    except OSError as error:
        raise ValueError(f"{path}: cannot be written: {error.strerror or error}.") from None
    finally:
        partial.unlink(missing_ok=True)


def _write_csv(recording: Recording, file: IO[bytes] | gzip.GzipFile) -> None:
    step = max(1, 1_000_000 // len(recording.names))
    with io.TextIOWrapper(file, encoding="utf-8", newline="") as text:
        for first in range(0, len(recording.arrivals), step):
            part = _table(recording, first, first + step)
            part.to_csv(text, index=False, header=first == 0, lineterminator="\n")


def _table(recording: Recording, first: int, end: int | None) -> pd.DataFrame:
    """Rows of the slots from `first` (counted from 0) to before `end`."""
    arrivals = recording.arrivals[first:end]
    T, K = arrivals.shape
    return pd.DataFrame(
        {
            "slot": np.repeat(np.arange(first + 1, first + T + 1), K),
            "queue": np.tile(np.arange(K), T),
            "arrivals": _plain(arrivals, recording.arrivals),
            "service": _plain(recording.service[first:end], recording.service),
            "name": pd.Categorical.from_codes(np.tile(np.arange(K), T), pd.Index(recording.names)),
        }
    )


def _plain(amounts: np.ndarray, every: np.ndarray) -> np.ndarray:
    """A column; as integers if all amounts of the recording are such."""
    whole = (every % 1 == 0).all() and every.max() < 2**53
    return amounts.ravel().astype(np.int64) if whole else amounts.ravel()


def _count(events: Events, names: list[str], slot: int, first: int, T: int) -> np.ndarray:
    place = pd.Index(names).get_indexer(pd.Index(events.names))
    cell = (events.moments // slot - first) * len(names) + place
    counted = np.bincount(cell, weights=events.amounts, minlength=T * len(names))
    return counted.reshape(T, len(names))


def _check_names(where: str, served: set[str], needed: set[str]) -> None:
    without = sorted(needed - served, key=_natural)
    if without:
        raise ValueError(f"Queue '{without[0]}' has events, but no service in {where}: give it.")


def _natural(name: str) -> tuple[bool, int, str]:
    """Whole numbers by size, before other names by the alphabet."""
    number = name.isascii() and name.isdigit()
    return not number, int(name) if number else 0, name


def _service(number: str, text: str, slot: int) -> float:
    found = re.fullmatch(rf"\s*({NUMBER})\s*(?:/\s*([a-zµ]+))?\s*", number)
    if found is None or (found[2] or "s") not in NANOSECONDS or float(found[1]) < 0:
        raise ValueError(
            f"Bad service '{text}': give a number of 0 or more, as 3 (work a slot) or 20/s."
        )
    amount = float(found[1]) * (slot / NANOSECONDS[found[2]] if found[2] else 1.0)
    if not np.isfinite(amount):
        raise ValueError(f"Bad service '{text}': give a finite number.")
    return amount
