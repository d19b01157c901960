"""A made set of labelled drawings, as many as asked for: which shape, and how it is filled.

Ten shapes and four fillings are 40 classes. Where the shape stands, its size, its tilt, its colour
on a darker ground, the light across the ground, a bar that hides a part of it and noise are drawn
anew for every image and tell nothing about its class, so that a model that learns the training
images by heart knows little of others. The mirror image of a drawing could be one of its own class.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

from tenfold.envs.data.cache import fingerprint, prepared
from tenfold.envs.data.image_split import ImageData, read_split, write_split
from tenfold.envs.data.images import with_label_noise
from tenfold.envs.data.scenes import DISTANCES, OfPoints, coverage

SIZE = 24
"""Pixels of a side, unless asked otherwise."""

_FORMAT = "1"  # of the cached files
_TRAIN, _HELD_OUT = 0, 1  # streams of random numbers
_TILT = 0.5  # radians to either side


def load_drawings(
    train: int, test: int, *, cache: Path, size: int, label_noise: float, seed: int
) -> ImageData:
    """The first drawings of the training stream and of the held-out one, from the cache.

    They are the same for every run: a larger set begins with the smaller one's drawings.

    Args:
        train: Number of training images.
        test: Number of held-out images.
        cache: Folder where they are kept as bytes; they are drawn when they are not there.
        size: Pixels of a side.
        label_noise: Fraction of the training labels replaced by another class.
        seed: Of the label noise.
    """
    key = fingerprint([_FORMAT, str(train), str(test), str(size)])

    def make(folder: Path) -> None:
        is_test = np.arange(train + test) >= train
        y = np.concatenate([labels(train, _TRAIN), labels(test, _HELD_OUT)])
        write_split(folder, _both(train, test, size), y, is_test, CLASSES)

    return with_label_noise(read_split(prepared(cache, f"drawings-{key}", make)), label_noise, seed)


def labels(count: int, stream: int) -> np.ndarray:
    """Labels of the first drawings of a stream, (count,) int64; every 40 have each class once."""
    rounds = -(-count // len(CLASSES))
    orders = [
        np.random.default_rng([stream, number, 1]).permutation(len(CLASSES))
        for number in range(rounds)
    ]
    return np.concatenate(orders)[:count]


def draw(label: int, stream: int, number: int, size: int) -> np.ndarray:
    """One drawing, (3, size, size) uint8, a pure function of the arguments.

    Args:
        label: Its class.
        stream: 0 of training images, 1 of held-out ones; no two drawings share random numbers.
        number: Which one.
        size: Pixels of a side.
    """
    rng = np.random.default_rng([stream, number])
    half, tilt = rng.uniform(0.24, 0.42), rng.uniform(-_TILT, _TILT)
    centre = rng.uniform(half - 0.04, 1.04 - half, 2)
    ground, ink = rng.uniform(0, 110, 3), rng.uniform(140, 255, 3)
    canvas = ground[:, None, None] + _light(rng, size)
    cover = coverage(inside(label), centre, half, tilt, size)
    canvas = canvas + cover * (ink[:, None, None] - canvas)
    if rng.random() < 0.5:
        width, bar = rng.uniform(0.02, 0.07), rng.uniform(0, 255, 3)
        through = centre + rng.uniform(-0.5, 0.5, 2) * half
        hidden = coverage(lambda x, y: abs(x) < 1, through, width, rng.uniform(0, math.pi), size)
        canvas = canvas + hidden * (bar[:, None, None] - canvas)
    canvas = canvas + rng.normal(0, rng.uniform(0, 20), canvas.shape)
    return np.rint(canvas.clip(0, 255)).astype(np.uint8)


def inside(label: int) -> OfPoints:
    """Whether points of a shape's own axes are inked, by its class; as they are at -x."""
    shape, filling = divmod(label, len(_FILLINGS))
    distance, filled = tuple(_SHAPES.values())[shape], tuple(_FILLINGS.values())[filling]
    return lambda x, y: (distance(x, y) < 0) & filled(distance, x, y)


def _both(train: int, test: int, size: int) -> Iterator[np.ndarray]:
    for count, stream in ((train, _TRAIN), (test, _HELD_OUT)):
        for number, label in enumerate(labels(count, stream)):
            yield draw(int(label), stream, number, size)


def _light(rng: np.random.Generator, size: int) -> np.ndarray:
    """Brightness that grows across the canvas, (size, size)."""
    slope = rng.uniform(-40, 40, 2)
    along = np.linspace(-0.5, 0.5, size)
    light: np.ndarray = slope[0] * along[None, :] + slope[1] * along[:, None]
    return light


def _star(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Five points at distance 1, inner corners at 0.42."""
    sector = 2 * math.pi / 5
    angle = abs((np.arctan2(x, -y) + sector / 2) % sector - sector / 2)
    r = np.hypot(x, y)
    inner = 0.42 * np.array([math.cos(sector / 2), math.sin(sector / 2)])
    normal = np.array([inner[1], 1 - inner[0]])
    far = normal[0] * (r * np.cos(angle) - 1) + normal[1] * r * np.sin(angle)
    distance: np.ndarray = far / np.linalg.norm(normal)
    return distance


def _arrow(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    head = np.maximum(y, (abs(x) - 0.8 * (y + 1)) / 1.28)
    shaft = np.maximum(abs(x) - 0.24, abs(y - 0.45) - 0.5)
    return np.minimum(head, shaft)


_SHAPES: Mapping[str, OfPoints] = {
    **DISTANCES,
    "star": _star,
    "heart": lambda x, y: (x * x + y * y - 0.7 - np.cbrt(x * x) * -y) / 2,
    "crescent": lambda x, y: np.maximum(np.hypot(x, y) - 1, 0.8 - np.hypot(x, y + 0.5)),
    "arrow": _arrow,
    "lozenge": lambda x, y: (abs(x) / 0.5 + abs(y) - 1) * 0.45,
}

_FILLINGS: Mapping[str, Callable[[OfPoints, np.ndarray, np.ndarray], np.ndarray]] = {
    "plain": lambda distance, x, y: np.ones(np.broadcast(x, y).shape, dtype=bool),
    "outlined": lambda distance, x, y: distance(x, y) > -0.2,
    "striped": lambda distance, x, y: np.cos(9 * x) > 0,
    "chequered": lambda distance, x, y: np.cos(8 * x) * np.cos(8 * y) > 0,
}

CLASSES = tuple(f"{filling} {shape}" for shape in _SHAPES for filling in _FILLINGS)
"""Names of the classes, in the order of the labels."""
