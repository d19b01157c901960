"""Labelled images: scikit-learn's digits, a folder with one subfolder a class, or a Parquet file.

Batches are a pure function of the seed, the step and the worker, so that a training run has no data
position to save.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from PIL import Image, UnidentifiedImageError
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from tenfold.envs.cache import fingerprint, prepared

SUFFIXES = (".png", ".jpg", ".jpeg")
_TEST_SHARE = 0.2
_SPLIT_SEED = 0  # the same split for every run, whatever its seed


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
            folders in its subfolders ``train`` and ``test``; or a Parquet file with columns
            ``image`` (encoded bytes, or a struct with them) and ``label`` (int).
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
            f"Bad value {batch} for 'batch': {workers} workers with {batch} examples each need "
            f"{workers * batch}, there are {count}."
        )
    epoch, place = divmod(step, steps)
    order = np.random.default_rng([seed, epoch]).permutation(count)
    first = (worker * steps + place) * batch
    return order[first : first + batch]


def _digits() -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[str, ...]]:
    x, y = load_digits(return_X_y=True)
    return x.reshape(-1, 1, 8, 8), y, _test_places(y), tuple(str(digit) for digit in range(10))


def _test_places(labels: np.ndarray) -> np.ndarray:
    """Which examples are for the test, the same share of each class."""
    places = np.arange(len(labels))
    _, test = train_test_split(
        places, test_size=_TEST_SHARE, stratify=labels, random_state=_SPLIT_SEED
    )
    return np.isin(places, test)


def _own(
    source: Path, cache: Path, size: int | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[str, ...]]:
    """A user's images from the cache, decoded into it when they are new."""
    if not source.exists():
        raise ValueError(f"'{source}' does not exist: give a folder of images or a Parquet file.")
    files = [source] if source.is_file() else sorted(p for p in source.rglob("*") if p.is_file())
    stamps = [f"{f.relative_to(source)} {f.stat().st_size} {f.stat().st_mtime_ns}" for f in files]
    key = fingerprint([str(source.absolute()), str(size), *stamps])

    def make(folder: Path) -> None:
        decoded = _from_parquet(source, size) if source.is_file() else _from_folder(source, size)
        for name, array in zip(("x", "y", "is_test", "classes"), decoded, strict=True):
            np.save(folder / f"{name}.npy", array)

    folder = prepared(cache, f"images-{key}", make)
    x, y, is_test, classes = (
        np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("x", "y", "is_test", "classes")
    )
    return x, y, is_test, tuple(str(name) for name in classes)


def _from_folder(
    source: Path, size: int | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    splits = [source / "train", source / "test"]
    roots = splits if all(split.is_dir() for split in splits) else [source]
    classes = sorted({p.name for root in roots for p in root.iterdir() if p.is_dir()})
    if not classes:
        raise ValueError(f"'{source}' has no subfolders: give one with images for each class.")
    images, labels, in_test = [], [], []
    for root in roots:
        for label, name in enumerate(classes):
            found = sorted(p for p in (root / name).glob("*") if p.suffix.lower() in SUFFIXES)
            if not found:
                raise ValueError(f"'{root / name}' has no {', '.join(SUFFIXES)} files.")
            images += [_decode(path, str(path), size) for path in found]
            labels += [label] * len(found)
            in_test += [root.name == "test"] * len(found)
    y = np.array(labels)
    is_test = np.array(in_test) if len(roots) == 2 else _test_places(y)
    return _stack(images, source), y, is_test, np.array(classes)


def _from_parquet(
    source: Path, size: int | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    try:
        table = pq.read_table(source)
    except (OSError, ValueError) as error:
        raise ValueError(f"'{source}' is not a Parquet file: {error}.") from None
    for column in ("image", "label"):
        if column not in table.column_names:
            raise ValueError(
                f"'{source}' has no column '{column}', only {', '.join(table.column_names)}."
            )
    labels = table["label"].to_pylist()
    if not all(isinstance(label, int) for label in labels):
        raise ValueError(f"Column 'label' of '{source}' must hold whole numbers only.")
    images = []
    for row, cell in enumerate(table["image"].to_pylist()):
        data = cell["bytes"] if isinstance(cell, dict) else cell
        images.append(_decode(BytesIO(data or b""), f"{source}, row {row}", size))
    names = sorted(set(labels))
    y = np.searchsorted(names, labels)
    classes = np.array([str(name) for name in names])
    return _stack(images, source), y, _test_places(y), classes


def _decode(file: Path | BytesIO, name: str, size: int | None) -> np.ndarray:
    """One image as (C, H, W) uint8, grey or RGB."""
    try:
        with Image.open(file) as image:
            plain = image.convert("L" if image.mode in ("1", "L", "I", "I;16") else "RGB")
            if size is not None:
                plain = plain.resize((size, size), Image.Resampling.BILINEAR)
            pixels = np.asarray(plain)
    except (UnidentifiedImageError, OSError):
        raise ValueError(f"'{name}' is not an image that Pillow can read.") from None
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def _stack(images: Sequence[np.ndarray], source: Path) -> np.ndarray:
    shapes: Iterable[tuple[int, ...]] = {image.shape for image in images}
    if len(set(shapes)) > 1:
        raise ValueError(
            f"The images of '{source}' have different shapes {sorted(shapes)}: "
            "give 'image_size' and keep grey and colour apart."
        )
    return np.stack(images)
