"""Images of a user's folder, Parquet files or saved `datasets`, read one after the other.

A folder has a subfolder of images for each class, or such folders in its subfolders `train` and
`val` (or `test`, see `files.HELD_OUT`), as ImageNet is laid out. Files of columns (see
`columnar`) have one of images (encoded bytes, or a struct with them) and one of labels (whole
numbers or names). Images have 8 bits a channel, grey or RGB: 16-bit grey is scaled, transparency
laid over white, and grey images among coloured ones become RGB.
"""

import math
import os
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image
from sklearn.model_selection import train_test_split

from tenfold.envs.data.cache import fingerprint, prepared, stamps
from tenfold.envs.data.columnar import batches_of, columnar_files, is_plain, schema_of
from tenfold.envs.data.files import (
    HELD_OUT,
    TRAIN,
    data_files,
    first_of,
    is_litter,
    say_left_out,
    train_and_held_out,
)
from tenfold.envs.data.image_split import ImageData, read_split, write_split

SUFFIXES = (".png", ".jpg", ".jpeg")
_TEST_SHARE = 0.2
_SPLIT_SEED = 0  # the same split for every run, whatever its seed
_IMAGE_COLUMNS = ("image", "img", "images", "picture", "photo", "pixels")
_LABEL_COLUMNS = ("label", "labels", "fine_label", "class", "class_label", "category", "target")
_FORMAT = "3"  # of the cached files
_SHARDS = (
    "Bad value 'once' for 'decode': '{}' holds webdataset shards, whose images stay encoded, so "
    "give batch."
)


@dataclass(frozen=True)
class Columns:
    """Which columns of a file are read; None finds one by its type and a usual name."""

    image: str | None = None
    label: str | None = None


USUAL = Columns()
"""Columns by their types and usual names."""


@dataclass(frozen=True)
class _Listing:
    """What a source holds, before any image is decoded.

    Attributes:
        encoded: Begins to read the images: each one's name and its file or bytes, in a fixed order.
        y: (N,) labels in that order.
        is_test: (N,) whether each image is for the test.
        classes: Names of the classes.
    """

    encoded: Callable[[], Iterator[tuple[str, Path | BytesIO]]]
    y: np.ndarray
    is_test: np.ndarray
    classes: Sequence[str]


class _TwoColours(Exception):
    """There are grey images and coloured ones."""


def read_own(source: Path, cache: Path, size: int | None, columns: Columns) -> ImageData:
    """A user's images from the cache, decoded into it when they are new.

    Args:
        source: A folder or a file of columns.
        cache: Folder for decoded images.
        size: Pixels to resize to, square; as they are when None.
        columns: Of such files.

    Raises:
        ValueError: The source is missing, empty or malformed; the message names it.
    """
    if not os.path.exists(source):
        raise ValueError(f"'{source}' does not exist: give a folder of images or a Parquet file.")
    if source.suffix.lower() == ".tar":
        raise ValueError(_SHARDS.format(source))
    root = source.parent if source.is_file() else source
    files = [source] if source.is_file() else data_files(source)
    key = fingerprint(
        [_FORMAT, str(source.absolute()), str(size), repr(columns), *stamps(files, root)]
    )
    tables = files if source.is_file() else columnar_files(files)
    pictures = _with_suffix(files, SUFFIXES)
    by_table = source.is_file() or (bool(tables) and not pictures)
    if not tables and not pictures and _with_suffix(files, (".tar",)):
        raise ValueError(_SHARDS.format(source))
    if not by_table and columns != USUAL:
        raise ValueError(
            f"Bad value '{columns.image or columns.label}' for "
            f"'{'image_column' if columns.image else 'label_column'}': '{source}' holds no Parquet "
            "or Arrow files, so leave it out."
        )
    if not by_table or tables[0].suffix.lower() != ".arrow":  # JSON files stand beside those
        say_left_out(source, len(files) - len(tables if by_table else pictures), "not images")

    def make(folder: Path) -> None:
        if by_table:
            found = _list_columns(source, tables, columns)
        else:
            found = _list_folder(source, pictures)
        try:
            _write(folder, found, source, size, colour=False)
        except _TwoColours:
            _write(folder, found, source, size, colour=True)

    return read_split(prepared(cache, f"images-{key}", make))


def held_out_places(labels: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """Which examples are for the test, the same share of each class and no fewer than classes.

    Raises:
        ValueError: A class has only one example; the message names it.
    """
    counts = np.bincount(labels)
    if counts.min() < 2:
        raise ValueError(
            f"Class '{classes[int(counts.argmin())]}' has {counts.min()} image, at least 2 are "
            "needed, one of them for the test."
        )
    places = np.arange(len(labels))
    share = max(math.ceil(_TEST_SHARE * len(labels)), len(counts))
    _, test = train_test_split(places, test_size=share, stratify=labels, random_state=_SPLIT_SEED)
    return np.isin(places, test)


def _write(folder: Path, found: _Listing, source: Path, size: int | None, colour: bool) -> None:
    """Decode a listing's images into a folder.

    Raises:
        _TwoColours: Without `colour`, which makes all of them RGB.
    """

    def decoded() -> Iterator[np.ndarray]:
        shape: tuple[int, ...] | None = None
        for name, file in found.encoded():
            image = decode_image(file, name, size)
            if colour and len(image) == 1:
                image = np.repeat(image, 3, axis=0)
            shape = shape or image.shape
            if image.shape[1:] != shape[1:]:
                raise ValueError(
                    f"The images of '{source}' have different shapes, {shape[1:]} and in '{name}' "
                    f"{image.shape[1:]}: give 'image_size'."
                )
            if image.shape != shape:
                raise _TwoColours
            yield image

    write_split(folder, decoded(), found.y, found.is_test, found.classes)


def _with_suffix(files: Sequence[Path], suffixes: Sequence[str]) -> list[Path]:
    return [file for file in files if file.suffix.lower() in suffixes]


def _list_folder(source: Path, pictures: Sequence[Path]) -> _Listing:
    top = {path.name.lower(): path for path in _folders(source)}
    train, held_out = first_of(top, TRAIN), first_of(top, HELD_OUT)
    split = train is not None and held_out is not None
    if train and (held_out or len(top) == 1):
        roots = [top[name] for name in (train, held_out) if name]
    else:
        roots = [source]
    classes = sorted({path.name for root in roots for path in _folders(root)})
    if not classes:
        raise ValueError(f"'{source}' has no subfolders: give one with images for each class.")
    below: dict[Path, list[Path]] = {root / name: [] for root in roots for name in classes}
    for path in pictures:
        for parent in path.parents:
            if parent in below:
                below[parent].append(path)
    used: list[Path] = []
    labels, in_test = [], []
    for folder, found in below.items():
        if not found:
            raise ValueError(f"'{folder}' has no {', '.join(SUFFIXES)} files.")
        used += found
        labels += [classes.index(folder.name)] * len(found)
        in_test += [folder.parent != roots[0]] * len(found)
    why = f"only '{train}' and '{held_out}' are used" if split else "in no subfolder of a class"
    say_left_out(source, len(pictures) - len(used), why)
    y = np.array(labels)
    is_test = np.array(in_test) if split else held_out_places(y, classes)
    return _Listing(lambda: ((str(path), path) for path in used), y, is_test, classes)


def _folders(root: Path) -> list[Path]:
    return [p for p in sorted(root.iterdir()) if p.is_dir() and not is_litter(Path(p.name))]


def _list_columns(source: Path, files: Sequence[Path], columns: Columns) -> _Listing:
    layout = None if source.is_file() else train_and_held_out(source, files)
    used: list[tuple[Path, str]] = []  # a file and its column of images
    labels: list[Any] = []
    in_test: list[bool] = []
    for test, part in enumerate(layout or (files,)):
        for file in part:
            image, found = _labels(file, columns)
            used.append((file, image))
            labels += found
            in_test += [test == 1] * len(found)
    if not labels:
        raise ValueError(f"'{source}' has no rows.")
    if len({type(label) for label in labels}) != 1 or not isinstance(labels[0], int | str):
        raise ValueError(f"The labels of '{source}' must be whole numbers only or names only.")
    names = sorted(set(labels))
    classes = [str(name) for name in names]
    y = np.searchsorted(names, labels)
    is_test = np.array(in_test) if layout else held_out_places(y, classes)

    def encoded() -> Iterator[tuple[str, BytesIO]]:
        for file, column in used:
            for row, cell in enumerate(_cells(file, column)):
                yield f"{file}, row {row}", BytesIO(cell or b"")

    return _Listing(encoded, y, is_test, classes)


def label_columns(file: Path, columns: Columns) -> tuple[str, str]:
    """The columns of images and of labels of a file of columns.

    Raises:
        ValueError: It is none, or has no such columns.
    """
    schema = schema_of(file)
    kinds = {f.name: f.type.value_type if _is_dictionary(f) else f.type for f in schema}
    images = [name for name, kind in kinds.items() if _holds_bytes(kind) and is_plain(kind)]
    image = _one_of(images, _IMAGE_COLUMNS, "image", columns.image, file, kinds)
    plain = [name for name, kind in kinds.items() if name not in images and is_plain(kind)]
    return image, _one_of(plain, _LABEL_COLUMNS, "label", columns.label, file, kinds)


def _labels(file: Path, columns: Columns) -> tuple[str, list[Any]]:
    """The column of images of a file, and its labels."""
    image, label = label_columns(file, columns)
    return image, [value for rows in batches_of(file, [label]) for value in rows[label].to_pylist()]


def _cells(file: Path, column: str) -> Iterator[bytes | None]:
    """The encoded images of a file, a few rows at a time."""
    for rows in batches_of(file, [column]):
        pictures = rows[column]
        if pa.types.is_struct(pictures.type):
            pictures = pc.struct_field(pictures, "bytes")
        yield from pictures.to_pylist()


def _one_of(
    fitting: Sequence[str],
    known: Sequence[str],
    what: str,
    asked: str | None,
    file: Path,
    kinds: Mapping[str, Any],
) -> str:
    """The column that is asked for, one with a known name, or the only one that fits."""
    if asked is not None:
        if asked in fitting:
            return asked
        lacks = "holds nothing that fits" if asked in kinds else "is none"
        raise ValueError(
            f"Bad value '{asked}' for '{what}_column': it {lacks} of the columns of '{file}', "
            f"{', '.join(kinds)}."
        )
    named = first_of([name.lower() for name in fitting], known)
    if named is not None:
        return next(name for name in fitting if name.lower() == named)
    if len(fitting) == 1:
        return fitting[0]
    raise ValueError(f"'{file}' has no column '{what}', only {', '.join(kinds)}.")


def _is_dictionary(field: pa.Field) -> bool:
    return bool(pa.types.is_dictionary(field.type))


def _holds_bytes(kind: pa.DataType) -> bool:
    """Whether a column holds bytes, or structs of them as `datasets` writes images."""
    if pa.types.is_struct(kind):
        return any(f.name == "bytes" and _holds_bytes(f.type) for f in kind)
    tests = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view)
    return any(test(kind) for test in tests)


def decode_image(file: Path | BytesIO, name: str, size: int | None) -> np.ndarray:
    """One image as (C, H, W) uint8, grey or RGB.

    Args:
        file: Or its content.
        name: In messages.
        size: Pixels to resize to, square; as it is when None.

    Raises:
        ValueError: It is no image that Pillow can read.
    """
    try:
        with Image.open(file) as image:
            plain = _plain(image, name)
            if size is not None:
                plain = plain.resize((size, size), Image.Resampling.BILINEAR)
            pixels = np.asarray(plain)
    # What Pillow raises on broken files depends on their format.
    except (OSError, SyntaxError, EOFError, struct.error, Image.DecompressionBombError):
        raise ValueError(f"'{name}' is not an image that Pillow can read.") from None
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def _plain(image: Image.Image, name: str) -> Image.Image:
    """An image of any mode with 8 bits a channel, grey (L) or RGB.

    16-bit grey, which Pillow opens as I;16 or I, is scaled so that 65,535 becomes 255; what is
    transparent is laid over white.

    Raises:
        ValueError: The range of the image's values is not known.
    """
    grey = image.mode in ("1", "L", "LA")
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        if values.min() >= 0 and values.max() <= 65_535:
            return Image.fromarray(np.rint(values / 257).astype(np.uint8))
    if image.mode.startswith(("I", "F")) or image.mode == "LAB":
        raise ValueError(
            f"'{name}' has Pillow's mode {image.mode}, whose scale is not known: save it with 8 or "
            "16 bits a channel."
        )
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    return image.convert("L" if grey else "RGB")
