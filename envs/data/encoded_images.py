"""Labelled images that stay encoded on disk and are decoded batch by batch, in threads.

For sets that decoded would fill the disk, and for webdataset shards. Ray Data reads them once,
leaves out and counts what cannot be read, and one memory-mapped Arrow file takes the rest as they
were encoded, so that an example is found by its place and a batch is a function of its step.
"""

import itertools
import json
import os
import tarfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tenfold.envs.data.cache import fingerprint, prepared, stamps
from tenfold.envs.data.columnar import columnar_files
from tenfold.envs.data.files import data_files, train_and_held_out
from tenfold.envs.data.image_files import Columns, decode_image, held_out_places, label_columns
from tenfold.envs.data.image_split import ImageData
from tenfold.envs.data.ray_images import (
    Row,
    cell_bytes,
    described,
    examined_rows,
    image_of,
    members,
    opened,
    say_skipped,
)

_SCHEMA = pa.schema([("image", pa.binary())])
_AT_ONCE = 64  # images of a record batch
_MOST_THREADS = 8
_MOST_MEMBERS, _LARGEST = 64, 2**27  # of a shard's first example, in bytes the second
_LABELS = ("label", "cls", "class")  # of an example's JSON


class EncodedImages:
    """Some images of an Arrow file, decoded as RGB when they are asked for.

    Attributes:
        shape: (N, 3, size, size).

    Args:
        file: Has a column ``image`` of encoded bytes.
        places: (N,) rows of it.
        size: Pixels that images are resized to, square.
    """

    def __init__(self, file: Path, places: np.ndarray, size: int) -> None:
        self._column = pa.ipc.open_file(pa.memory_map(str(file))).read_all()["image"]
        self._places = places
        self._size = size
        self._threads = ThreadPoolExecutor(min(_MOST_THREADS, len(os.sched_getaffinity(0))))
        self.shape = (len(places), 3, size, size)

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, chosen: np.ndarray | slice) -> np.ndarray:
        """Some of the images, (n, 3, size, size) uint8."""
        found = list(self._threads.map(self._decode, self._places[chosen].tolist()))
        return np.stack(found) if found else np.zeros((0, *self.shape[1:]), np.uint8)

    def _decode(self, place: int) -> np.ndarray:
        encoded = self._column[place].as_py()
        image = decode_image(BytesIO(encoded), f"image {place}", self._size)
        return np.repeat(image, 3, axis=0) if len(image) == 1 else image


def check_encoded(source: Path, size: int | None, columns: Columns) -> int:
    """Look at the outside of a source: quick, and without Ray.

    Returns:
        The size.

    Raises:
        ValueError: It is missing or no such source, or has no labels, or no size is given.
    """
    kind, files, _ = _layout(source)
    if size is None:
        raise ValueError(
            "Bad value null for 'image_size': images that stay encoded have any size, so give the "
            "pixels that they are resized to."
        )
    if kind == "columns":
        for file in files:
            label_columns(file, columns)
        return size
    first = _first_example(files[0])
    if image_of(first) is None or _label_of(first, columns.label) is None:
        raise ValueError(
            f"The first example of '{files[0]}' has {', '.join(sorted(first)) or 'nothing'}: "
            "each needs an image and its class in a .cls, or in a .json as 'label_column' names it."
        )
    return size


def _first_example(shard: Path) -> dict[str, bytes]:
    """The members of a shard's first example by their suffixes, as far as they are looked at."""
    first: dict[str, bytes] = {}
    stem: str | None = None
    try:
        with tarfile.open(shard, "r:") as tar:
            for member in itertools.islice(tar, _MOST_MEMBERS):
                content = tar.extractfile(member)  # None of folders
                if content is None:
                    continue
                folder, _, file = member.name.rpartition("/")
                name, _, suffix = file.partition(".")
                stem = f"{folder}/{name}" if stem is None else stem
                if f"{folder}/{name}" != stem:
                    break
                first[suffix.lower()] = content.read(_LARGEST)
    except (OSError, tarfile.TarError):
        raise ValueError(f"'{shard}' is not a tar file.") from None
    return first


def read_encoded(source: Path, cache: Path, size: int, columns: Columns) -> ImageData:
    """A user's images from the cache, read into it by Ray Data when they are new.

    Args:
        source: A file of columns (see `columnar`), webdataset shards, or a folder of either; splits
            as `files` has them.
        cache: Folder for prepared data.
        size: Pixels to resize to, square.
        columns: Of files of columns, the second also of JSON in shards.

    Raises:
        ValueError: The source is missing or malformed, or no image of it can be used.
    """
    check_encoded(source, size, columns)
    kind, files, split = _layout(source)
    key = fingerprint([str(source.absolute()), repr(columns), *stamps(files)])

    def make(folder: Path) -> None:
        # Where the layout names two splits, the second one's files come after the first one's.
        for place, part in enumerate([files[:split], files[split:]] if split else [files]):
            _write(_rows(kind, part, columns), folder, place)

    folder = prepared(cache, f"encoded-{key}", make)
    return _data(source, folder, size, with_split=split > 0)


def _layout(source: Path) -> tuple[str, list[Path], int]:
    """The kind of a source, its files, and how many of them are for training, 0 if not told."""
    if not os.path.exists(source):
        raise ValueError(
            f"'{source}' does not exist: give Parquet or Arrow files or webdataset shards."
        )
    found = [source] if source.is_file() else data_files(source)
    files = [file for file in found if file.suffix.lower() == ".tar"] or columnar_files(found)
    if not files:
        raise ValueError(
            f"Bad value 'batch' for 'decode': '{source}' holds no Parquet or Arrow file and no "
            ".tar shard, so give once."
        )
    kind = "tar" if files[0].suffix.lower() == ".tar" else "columns"
    parts = None if source.is_file() else train_and_held_out(source, files)
    if parts is None:
        return kind, files, 0
    return kind, [*parts[0], *parts[1]], len(parts[0])


def _rows(kind: str, files: Sequence[Path], columns: Columns) -> Iterable[Row]:
    if kind == "tar":
        return examined_rows(kind, files, of_shard, label=columns.label)
    image, label = label_columns(files[0], columns)
    return examined_rows(kind, files, of_columns, (image, label), image=image, label=label)


def of_columns(row: Row, image: str, label: str) -> dict[str, Any]:
    """An example of a file of columns, see `_examined`."""
    return _examined(cell_bytes(row[image]), row[label])


def of_shard(row: Row, label: str | None) -> dict[str, Any]:
    """An example of a webdataset shard, see `_examined`."""
    given = members(row)
    return _examined(image_of(given), _label_of(given, label))


def _label_of(given: dict[str, bytes], name: str | None) -> str | None:
    if "cls" in given and name is None:
        return given["cls"].decode("utf-8", "replace").strip() or None
    said = described(given)
    for key in _LABELS if name is None else (name,):
        if isinstance(said.get(key), int | str):
            return str(said[key])
    return None


def _examined(image: bytes | None, label: Any) -> dict[str, Any]:
    """Encoded bytes, label, sums for the moments, and what is wrong; '' if nothing is."""
    found = opened(image)
    fault = "unreadable" if found is None else "without a label" if label in (None, "") else ""
    means, squares = np.zeros(3), np.zeros(3)
    if found is not None and not fault:
        pixels = np.asarray(found.convert("RGB"), dtype=np.float64)
        means, squares = pixels.mean(axis=(0, 1)), (pixels**2).mean(axis=(0, 1))
    return {
        "image": b"" if fault else image,
        "label": str(label),
        "means": means.tolist(),
        "squares": squares.tolist(),
        "fault": fault,
    }


def _write(rows: Iterable[Row], folder: Path, place: int) -> None:
    """One part's good images, their labels and moments, and how many others there were."""
    skipped: dict[str, int] = {}
    labels: list[str] = []
    sums: list[list[float]] = []
    held: list[bytes] = []
    file = pa.OSFile(str(folder / f"{place}.arrow"), "wb")
    with file, pa.ipc.new_file(file, _SCHEMA) as out:
        for row in rows:
            if row["fault"]:
                skipped[row["fault"]] = skipped.get(row["fault"], 0) + 1
                continue
            labels.append(row["label"])
            sums.append([*row["means"], *row["squares"]])
            held.append(row["image"])
            if len(held) == _AT_ONCE:
                out.write_batch(pa.record_batch([held], schema=_SCHEMA))
                held = []
        if held:
            out.write_batch(pa.record_batch([held], schema=_SCHEMA))
    np.save(folder / f"{place}-labels.npy", np.array(labels, dtype=np.str_))
    np.save(folder / f"{place}-sums.npy", np.array(sums).reshape(-1, 6))
    (folder / f"{place}-skipped.json").write_text(json.dumps(skipped))


def _data(source: Path, folder: Path, size: int, with_split: bool) -> ImageData:
    parts = (0, 1) if with_split else (0,)
    names = [np.load(folder / f"{part}-labels.npy") for part in parts]
    for part in parts:
        say_skipped(source, json.loads((folder / f"{part}-skipped.json").read_text()))
    if not all(len(found) for found in names):
        raise ValueError(f"No image of '{source}' can be used, or none of one of its splits.")
    every = np.unique(np.concatenate(names))
    # Whole numbers in their order, as of Parquet that is decoded once.
    number = all(name.lstrip("-").isdecimal() for name in every)
    classes = sorted(every.tolist(), key=int) if number else every.tolist()
    places = {name: place for place, name in enumerate(classes)}
    y = [np.array([places[name] for name in found.tolist()], dtype=np.int64) for found in names]
    if with_split:
        rows = [np.arange(len(found)) for found in y]
        sums = np.load(folder / "0-sums.npy")
    else:
        is_test = held_out_places(y[0], classes)
        rows = [np.flatnonzero(~is_test), np.flatnonzero(is_test)]
        y = [y[0][chosen] for chosen in rows]
        sums = np.load(folder / "0-sums.npy")[rows[0]]
    mean, square = np.split(sums.mean(axis=0), 2)
    deviation = np.sqrt(np.maximum(square - mean**2, 0)) + 1e-6
    train, test = (
        EncodedImages(folder / f"{part}.arrow", chosen, size)
        for part, chosen in zip((0, 1) if with_split else (0, 0), rows, strict=True)
    )
    shape = (1, 3, 1, 1)
    return ImageData(
        train,
        y[0],
        test,
        y[1],
        mean.astype(np.float32).reshape(shape),
        deviation.astype(np.float32).reshape(shape),
        tuple(classes),
    )
