"""Labelled images to train on: scikit-learn's digits, or a user's own, and who sees which when.

Batches are a pure function of the seed, the step and the worker, so that a training run has no data
position to save.
"""

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from tenfold.envs.data.encoded_images import read_encoded
from tenfold.envs.data.image_files import USUAL, Columns, held_out_places, read_own
from tenfold.envs.data.image_split import ImageData, moments


def load_images(
    source: str,
    *,
    cache: Path,
    size: int | None,
    label_noise: float,
    seed: int,
    columns: Columns = USUAL,
    encoded: bool = False,
) -> ImageData:
    """Load, split, and spoil some training labels.

    Args:
        source: ``digits``, or a folder or a file as `image_files` reads them, or what
            `encoded_images` does.
        cache: Folder for decoded images, which are memory-mapped.
        size: Pixels to resize to, square; as they are when None. Digits stay 8 x 8.
        label_noise: Fraction of the training labels replaced by another class.
        seed: Of the label noise.
        columns: Of Parquet and Arrow files.
        encoded: Images stay encoded, and are decoded batch by batch; needs a size.

    Raises:
        ValueError: The source is missing, empty or malformed; the message names it.
    """
    if encoded and size is not None:
        data = read_encoded(Path(source), cache, size, columns)
    else:
        data = _digits() if source == "digits" else read_own(Path(source), cache, size, columns)
    if len(data.classes) < 2:
        raise ValueError(
            f"'{source}' has images of {len(data.classes)} class, at least 2 are needed."
        )
    return with_label_noise(data, label_noise, seed)


def with_label_noise(data: ImageData, share: float, seed: int) -> ImageData:
    """The same images with a share of the training labels replaced by another class."""
    labels = np.array(data.train_y)
    rng = np.random.default_rng(seed)
    wrong = rng.choice(len(labels), round(share * len(labels)), replace=False)
    others = rng.integers(1, len(data.classes), len(wrong))
    labels[wrong] = (labels[wrong] + others) % len(data.classes)
    return replace(data, train_y=labels)


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
    first = (worker * steps + place) * batch
    return _permutation(count, seed, epoch)[first : first + batch].copy()


@lru_cache(maxsize=4)
def _permutation(count: int, seed: int, epoch: int) -> np.ndarray:
    """The order of an epoch; drawn once, though every batch of every worker asks for it."""
    return np.random.default_rng([seed, epoch]).permutation(count)


def _digits() -> ImageData:
    x, y = load_digits(return_X_y=True)
    classes = tuple(str(digit) for digit in range(10))
    is_test = held_out_places(y, classes)
    pixels, labels = x.reshape(-1, 1, 8, 8).astype(np.uint8), y.astype(np.int64)
    train, test = np.flatnonzero(~is_test), np.flatnonzero(is_test)
    mean, deviation = moments(pixels[train])
    return ImageData(
        pixels[train], labels[train], pixels[test], labels[test], mean, deviation, classes
    )
