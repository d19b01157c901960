"""Captioned scenes of two shapes, drawn by a program: "a red ring left of a blue triangle".

Five kinds of shapes, six colours and two relations give 1,800 captions. A caption does not say
where the shapes stand, how large they are or how dark the background is, so that one caption has
many drawings. A style changes how a scene is drawn and not what its caption says.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

SHAPES = ("circle", "square", "triangle", "cross", "ring")
COLOURS: Mapping[str, tuple[int, int, int]] = {
    "red": (220, 40, 40),
    "green": (40, 180, 60),
    "blue": (50, 80, 230),
    "yellow": (240, 210, 50),
    "white": (245, 245, 245),
    "purple": (170, 60, 200),
}
RELATIONS = ("left of", "above")
ATTRIBUTES = ("first shape", "first colour", "second shape", "second colour", "relation")
CLASSES = (len(SHAPES), len(COLOURS), len(SHAPES), len(COLOURS), len(RELATIONS))
"""Number of values of each attribute."""
WORDS = ("a", *SHAPES, *COLOURS, "left", "of", "above")
"""Every word of a caption."""
STYLES = ("plain", "inked", "night", "tilted")
_SUPERSAMPLING = 4

OfPoints = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""A function of the points (x, y) of a plane, elementwise."""


@dataclass(frozen=True)
class Scenes:
    """Drawings with what they show.

    Attributes:
        images: (N, H, W, 3) uint8.
        attributes: (N, 5) int64, places in `SHAPES`, `COLOURS`, `SHAPES`, `COLOURS`, `RELATIONS`.
    """

    images: np.ndarray
    attributes: np.ndarray

    @property
    def captions(self) -> list[str]:
        """The caption of each drawing."""
        return [caption(row) for row in self.attributes]


def caption(attributes: np.ndarray) -> str:
    """What a scene with these five attributes is called."""
    first, colour, second, other, relation = (int(value) for value in attributes)
    colours = tuple(COLOURS)
    left = f"a {colours[colour]} {SHAPES[first]}"
    return f"{left} {RELATIONS[relation]} a {colours[other]} {SHAPES[second]}"


def attributes_of(text: str) -> np.ndarray:
    """The five attributes that a caption names; the inverse of `caption`.

    Raises:
        ValueError: The text is no caption of a scene.
    """
    words = text.lower().replace("left of", "left_of").split()
    try:
        _, colour, first, relation, _, other, second = words
        return np.array(
            [
                SHAPES.index(first),
                tuple(COLOURS).index(colour),
                SHAPES.index(second),
                tuple(COLOURS).index(other),
                RELATIONS.index(relation.replace("_", " ")),
            ]
        )
    except ValueError:
        raise ValueError(
            f"'{text}' describes no scene: write for example 'a red ring left of a blue square'."
        ) from None


def draw_scenes(count: int, seed: int, size: int = 32, style: str = "plain") -> Scenes:
    """Draw scenes with attributes that are uniform and independent.

    Args:
        count: How many.
        seed: The same seed draws the same scenes, in every style.
        size: Pixels of a side.
        style: One of `STYLES`: ``plain``; ``inked`` gives each shape a black stroke; ``night``
            inverts all colours; ``tilted`` rotates each shape.

    Raises:
        ValueError: There is no such style.
    """
    if style not in STYLES:
        raise ValueError(f"Bad value '{style}' for 'style': choose one of {', '.join(STYLES)}.")
    rng = np.random.default_rng(seed)
    attributes = np.stack([rng.integers(classes, size=count) for classes in CLASSES], axis=1)
    # Centres, half-widths, background and angles of all scenes come before any drawing, so that a
    # style cannot change them.
    jitter = rng.uniform(-0.05, 0.05, (count, 2, 2))
    across = rng.uniform(-0.16, 0.16, count)
    half = rng.uniform(0.15, 0.21, (count, 2))
    shade = rng.uniform(15, 75, count)
    angle = rng.uniform(-0.6, 0.6, (count, 2))
    images = np.empty((count, size, size, 3), dtype=np.uint8)
    for n in range(count):
        first, colour, second, other, relation = attributes[n]
        along = np.array([[0.27, 0.5], [0.73, 0.5]])  # (shape, (x, y))
        along[:, 1] += across[n]
        places = (along if RELATIONS[relation] == "left of" else along[:, ::-1]) + jitter[n]
        canvas = np.full((size, size, 3), shade[n])
        for k, (shape, tint) in enumerate(((first, colour), (second, other))):
            turned = angle[n, k] if style == "tilted" else 0.0
            inside = partial(_inside, DISTANCES[SHAPES[shape]])
            cover = coverage(inside, places[k], half[n, k], turned, size)
            ink = np.array(tuple(COLOURS.values())[tint], dtype=np.float64)
            if style == "inked":
                stroke = coverage(inside, places[k], 1.25 * half[n, k], turned, size)
                canvas = canvas * (1 - stroke[..., None])
            canvas = canvas + cover[..., None] * (ink - canvas)
        images[n] = np.round(255 - canvas if style == "night" else canvas)
    return Scenes(images, attributes)


def coverage(
    inside: OfPoints, centre: np.ndarray, half: float, angle: float, size: int
) -> np.ndarray:
    """The share of each pixel that a shape covers, (size, size) float64.

    Args:
        inside: Whether points of the shape's own axes lie in it; it reaches to about 1.
        centre: (x, y) on a canvas of side 1, y downwards.
        half: What 1 of the shape's axes is on the canvas.
        angle: Of rotation, in radians.
        size: Pixels of a side.
    """
    fine = size * _SUPERSAMPLING
    grid = (np.arange(fine) + 0.5) / fine
    x, y = (grid - centre[0])[None, :] / half, (grid - centre[1])[:, None] / half
    cos, sin = np.cos(angle), np.sin(angle)
    covered = inside(cos * x + sin * y, cos * y - sin * x)
    blocks = covered.reshape(size, _SUPERSAMPLING, size, _SUPERSAMPLING)
    return blocks.mean(axis=(1, 3))


def _inside(distance: OfPoints, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return distance(x, y) < 0


def _square(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.maximum(abs(x), abs(y)) - 0.9


def _triangle(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Upright: base at y = 0.9, apex at y = -1."""
    return np.maximum(y - 0.9, (abs(x) * 2 - (y + 1.0)) / np.sqrt(5))


def _cross(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    longest, shortest = np.maximum(abs(x), abs(y)), np.minimum(abs(x), abs(y))
    return np.maximum(longest - 1.0, shortest - 0.33)


DISTANCES: Mapping[str, OfPoints] = {
    "circle": lambda x, y: np.hypot(x, y) - 1.0,
    "square": _square,
    "triangle": _triangle,
    "cross": _cross,
    "ring": lambda x, y: abs(np.hypot(x, y) - 0.72) - 0.28,
}
"""About how far a point is outside of each of `SHAPES`, in its own axes; negative inside."""
