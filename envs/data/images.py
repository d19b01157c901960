"""Labelled images: scikit-learn's digits, a folder with one subfolder a class, or Parquet files.

Batches are a pure function of the seed, the step and the worker, so that a training run has no data
position to save.
"""

import math
import os
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from tenfold.envs.data.cache import fingerprint, prepared
from tenfold.envs.data.files import (
    HELD_OUT,
    TRAIN,
    data_files,
    first_of,
    is_litter,
    say_left_out,
    train_and_held_out,
)

SUFFIXES = (".png", ".jpg", ".jpeg")
_TEST_SHARE = 0.2
_SPLIT_SEED = 0  # the same split for every run, whatever its seed
_IMAGE_COLUMNS = ("image", "img", "images", "picture", "photo", "pixels")
_LABEL_COLUMNS = ("label", "labels", "fine_label", "class", "class_label", "category", "target")
_FORMAT = "2"  # of the cached files


@dataclass(frozen=True)
class ImageData:
    """Images and labels, split.

    Attributes:
        train_x: (N, C, H, W) float32, each channel with the training split's mean 0, deviation 1.
        train_y: (N,) int64.
        test_x: The same of the test split.
        test_y: Its labels.
        classes: Names of the classes, in the order of the labels.
    """

    train_x: np.ndarray
    train_y: np.ndarray
    test_x: np.ndarray
    test_y: np.ndarray
    classes: tuple[str, ...]


def load_images(
    source: str, *, cache: Path, size: int | None, label_noise: float, seed: int
) -> ImageData:
    """Load, split, standardise, and spoil some training labels.

    Args:
        source: ``digits``; a folder with a subfolder of png or jpg files for each class, or such
            folders in its subfolders ``train`` and ``val`` (or ``test``, see `files.HELD_OUT`); or
            a Parquet file or a folder of them with a column of images (encoded bytes, or a struct
            with them) and one of labels (whole numbers or names). Images have 8 bits a channel,
            grey or RGB: 16-bit grey is scaled, transparency laid over white.
        cache: Folder for decoded images, which are memory-mapped.
        size: Pixels to resize to, square; as they are when None. Digits stay 8 x 8.
        label_noise: Fraction of the training labels replaced by another class.
        seed: Of the label noise.

    Raises:
        ValueError: The source is missing, empty or malformed; the message names it.
    """
    x, y, is_test, classes = _digits() if source == "digits" else _own(Path(source), cache, size)
    if len(classes) < 2:
        raise ValueError(f"'{source}' has images of {len(classes)} class, at least 2 are needed.")
    train, test = np.flatnonzero(~is_test), np.flatnonzero(is_test)
    train_x = np.asarray(x[train], dtype=np.float32)
    mean = train_x.mean(axis=(0, 2, 3), keepdims=True)
    deviation = train_x.std(axis=(0, 2, 3), keepdims=True) + 1e-6
    labels = y[train].astype(np.int64)
    rng = np.random.default_rng(seed)
    wrong = rng.choice(len(labels), round(label_noise * len(labels)), replace=False)
    labels[wrong] = (labels[wrong] + rng.integers(1, len(classes), len(wrong))) % len(classes)
    return ImageData(
        train_x=(train_x - mean) / deviation,
        train_y=labels,
        test_x=(np.asarray(x[test], dtype=np.float32) - mean) / deviation,
        test_y=y[test].astype(np.int64),
        classes=classes,
    )


def worker_indices(
    count: int, workers: int, worker: int, batch: int, step: int, seed: int
) -> np.ndarray:
    """Places of a worker's examples in a step, (batch,) int64.

    All workers share one permutation an epoch; worker k draws from the k-th part of it, without
    replacement, and what does not fill a batch of every worker is left out.

    Args:
        count: Number of examples.
        workers: K.
        worker: k, from 0.
        batch: Examples of a worker in a step.
        step: Step of the run.
        seed: Of the permutations.

    Raises:
        ValueError: There are fewer examples than a step of all workers takes.
    """
    steps = count // (workers * batch)
    if steps == 0:
        raise ValueError(
            f"Bad value {batch} for 'batch': {workers} workers ('workers_per_process' in each "
            f"process) with {batch} examples each need {workers * batch}, there are {count}."
        )
    epoch, place = divmod(step, steps)
    order = np.random.default_rng([seed, epoch]).permutation(count)
    first = (worker * steps + place) * batch
    return order[first : first + batch]


def _digits() -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[str, ...]]:
    x, y = load_digits(return_X_y=True)
    classes = tuple(str(digit) for digit in range(10))
    return x.reshape(-1, 1, 8, 8), y, _test_places(y, classes), classes


def _test_places(labels: np.ndarray, classes: Sequence[str]) -> np.ndarray:
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


def _own(
    source: Path, cache: Path, size: int | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[str, ...]]:
    """A user's images from the cache, decoded into it when they are new."""
    if not os.path.exists(source):
        raise ValueError(f"'{source}' does not exist: give a folder of images or a Parquet file.")
    root = source.parent if source.is_file() else source
    files = [source] if source.is_file() else data_files(source)
    stamps = [f"{f.relative_to(root)} {f.stat().st_size} {f.stat().st_mtime_ns}" for f in files]
    key = fingerprint([_FORMAT, str(source.absolute()), str(size), *stamps])
    tables = files if source.is_file() else _with_suffix(files, (".parquet",))
    pictures = _with_suffix(files, SUFFIXES)
    by_table = source.is_file() or (bool(tables) and not pictures)
    say_left_out(source, len(files) - len(tables if by_table else pictures), "not images")

    def make(folder: Path) -> None:
        if by_table:
            decoded = _from_parquet(source, tables, size)
        else:
            decoded = _from_folder(source, pictures, size)
        for name, array in zip(("x", "y", "is_test", "classes"), decoded, strict=True):
            np.save(folder / f"{name}.npy", array)

    folder = prepared(cache, f"images-{key}", make)
    x, y, is_test, classes = (
        np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("x", "y", "is_test", "classes")
    )
    return x, y, is_test, tuple(str(name) for name in classes)


def _with_suffix(files: Sequence[Path], suffixes: Sequence[str]) -> list[Path]:
    return [file for file in files if file.suffix.lower() in suffixes]


def _from_folder(
    source: Path, pictures: Sequence[Path], size: int | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
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
    images, labels, in_test = [], [], []
    for folder, found in below.items():
        if not found:
            raise ValueError(f"'{folder}' has no {', '.join(SUFFIXES)} files.")
        images += [_decode(path, str(path), size) for path in found]
        labels += [classes.index(folder.name)] * len(found)
        in_test += [folder.parent != roots[0]] * len(found)
    used = f"only '{train}' and '{held_out}' are used" if split else "in no subfolder of a class"
    say_left_out(source, len(pictures) - len(images), used)
    y = np.array(labels)
    is_test = np.array(in_test) if split else _test_places(y, classes)
    return _stack(images, source), y, is_test, np.array(classes)


def _folders(root: Path) -> list[Path]:
    return [p for p in sorted(root.iterdir()) if p.is_dir() and not is_litter(Path(p.name))]


def _from_parquet(
    source: Path, files: Sequence[Path], size: int | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    layout = None if source.is_file() else train_and_held_out(source, files)
    images: list[np.ndarray] = []
    labels: list[Any] = []
    in_test: list[bool] = []
    for test, part in enumerate(layout or (files,)):
        for file in part:
            cells, found = _columns(file)
            images += [_decode(_cell(c), f"{file}, row {i}", size) for i, c in enumerate(cells)]
            labels += found
            in_test += [test == 1] * len(found)
    if not labels:
        raise ValueError(f"'{source}' has no rows.")
    if len({type(label) for label in labels}) != 1 or not isinstance(labels[0], int | str):
        raise ValueError(f"The labels of '{source}' must be whole numbers only or names only.")
    names = sorted(set(labels))
    classes = [str(name) for name in names]
    y = np.searchsorted(names, labels)
    is_test = np.array(in_test) if layout else _test_places(y, classes)
    return _stack(images, source), y, is_test, np.array(classes)


def _columns(file: Path) -> tuple[list[Any], list[Any]]:
    """Cells of images and labels of a Parquet file."""
    try:
        table = pq.read_table(file)
    except (OSError, ValueError) as error:
        raise ValueError(f"'{file}' is not a Parquet file: {error}.") from None
    kinds = {f.name: f.type.value_type if _is_dictionary(f) else f.type for f in table.schema}
    images = [name for name, kind in kinds.items() if _holds_bytes(kind)]
    labels = [name for name, kind in kinds.items() if name not in images and _is_plain(kind)]
    image = _one_of(images, _IMAGE_COLUMNS, "image", file, kinds)
    label = _one_of(labels, _LABEL_COLUMNS, "label", file, kinds)
    pictures = table[image]
    if pa.types.is_struct(pictures.type):
        pictures = pc.struct_field(pictures, "bytes")
    return pictures.to_pylist(), table[label].to_pylist()


def _one_of(
    fitting: Sequence[str], known: Sequence[str], what: str, file: Path, kinds: Mapping[str, Any]
) -> str:
    """The column with a known name, or the only one that fits."""
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


def _is_plain(kind: pa.DataType) -> bool:
    """Whether a column's values are Arrow's own: others, as Ray Data's, may be pickles."""
    if pa.types.is_nested(kind):
        return all(_is_plain(kind.field(place).type) for place in range(kind.num_fields))
    return not isinstance(kind, pa.BaseExtensionType)


def _cell(cell: bytes | None) -> BytesIO:
    return BytesIO(cell or b"")


def _decode(file: Path | BytesIO, name: str, size: int | None) -> np.ndarray:
    """One image as (C, H, W) uint8, grey or RGB."""
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


def _stack(images: Sequence[np.ndarray], source: Path) -> np.ndarray:
    shapes: Iterable[tuple[int, ...]] = {image.shape for image in images}
    if len(set(shapes)) > 1:
        raise ValueError(
            f"The images of '{source}' have different shapes {sorted(shapes)}: "
            "give 'image_size' and keep grey and colour apart."
        )
    return np.stack(images)
