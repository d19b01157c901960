"""Images and labels of a data set, split: held as bytes on disk, standardised batch by batch.

A data set is written once, image by image, and mapped into memory afterwards, so that neither needs
memory for more than a part of it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

_PART = 2**24  # values that are held as float32 at a time
_MAPPED, _READ = ("train_x", "test_x"), ("train_y", "test_y", "mean", "deviation")


class Images(Protocol):
    """What gives some of its images: an array, or `encoded_images.EncodedImages`.

    Attributes:
        shape: (N, C, H, W).
    """

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __getitem__(self, chosen: np.ndarray) -> np.ndarray: ...


@dataclass(frozen=True)
class ImageData:
    """Images and labels, split.

    Attributes:
        train_x: (N, C, H, W) uint8, mapped from a file unless the set is small or stays encoded.
        train_y: (N,) int64.
        test_x: The same of the test split.
        test_y: Its labels.
        mean: (1, C, 1, 1) float32, of each channel of the training split.
        deviation: (1, C, 1, 1) float32, its standard deviation and a little more than 0.
        classes: Names of the classes, in the order of the labels.
    """

    train_x: Images
    train_y: np.ndarray
    test_x: Images
    test_y: np.ndarray
    mean: np.ndarray
    deviation: np.ndarray
    classes: tuple[str, ...]

    def standardised(self, images: np.ndarray) -> np.ndarray:
        """Some of the images as float32, by the training split's mean and deviation."""
        values: np.ndarray = (np.asarray(images, dtype=np.float32) - self.mean) / self.deviation
        return values


def moments(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of each channel, (1, C, 1, 1) float32 each, part by part.

    Args:
        images: (N, C, H, W) of any type.
    """
    each = max(1, _PART // images[0].size)
    sizes, means, squares = [], [], []
    for start in range(0, len(images), each):
        part = np.asarray(images[start : start + each], dtype=np.float32)
        sizes.append(len(part))
        means.append(part.mean(axis=(0, 2, 3), keepdims=True).astype(np.float64))
        squares.append(part.std(axis=(0, 2, 3), keepdims=True).astype(np.float64) ** 2)
    mean = np.average(means, axis=0, weights=sizes)
    # The law of total variance; of a single part it gives that part's own bits.
    within = np.average(squares, axis=0, weights=sizes)
    between = np.average((np.array(means) - mean) ** 2, axis=0, weights=sizes)
    deviation = np.sqrt(within + between).astype(np.float32) + np.float32(1e-6)
    return mean.astype(np.float32), deviation


def write_split(
    folder: Path,
    images: Iterable[np.ndarray],
    y: np.ndarray,
    is_test: np.ndarray,
    classes: Sequence[str],
) -> None:
    """Write a data set that `read_split` maps.

    Args:
        folder: Where its files go.
        images: One after the other, (C, H, W) uint8 of one shape each.
        y: (N,) their labels.
        is_test: (N,) whether each is for the test.
        classes: Names of the classes.
    """
    files: dict[bool, np.ndarray] = {}
    places = {False: 0, True: 0}
    for image, test in zip(images, is_test.tolist(), strict=True):
        if not files:
            files = {
                kind: np.lib.format.open_memmap(
                    folder / f"{'test' if kind else 'train'}_x.npy",
                    mode="w+",
                    dtype=np.uint8,
                    shape=(int((is_test == kind).sum()), *image.shape),
                )
                for kind in (False, True)
            }
        files[test][places[test]] = image
        places[test] += 1
    mean, deviation = moments(files[False])
    np.save(folder / "mean.npy", mean)
    np.save(folder / "deviation.npy", deviation)
    np.save(folder / "train_y.npy", y[~is_test].astype(np.int64))
    np.save(folder / "test_y.npy", y[is_test].astype(np.int64))
    np.save(folder / "classes.npy", np.array(classes))


def read_split(folder: Path) -> ImageData:
    """A data set that `write_split` wrote; its images stay on disk."""
    arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in _MAPPED}
    arrays |= {name: np.load(folder / f"{name}.npy") for name in _READ}
    names = np.load(folder / "classes.npy")
    return ImageData(**arrays, classes=tuple(str(name) for name in names))
