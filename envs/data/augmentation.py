"""Changes of training images that leave their class: crops, flips, RandAugment, cutout, mixup.

Everything here is this project's own set on NumPy and Pillow. What is drawn comes from the
generator that is passed, so that a batch is a pure function of that generator's seed. torchvision
is not used even where it is installed: it draws from torch's one global generator, which the
training step uses while the next batch is prepared.

Sources: RandAugment arXiv:1909.13719 (its 14 operations, with the pixels of torchvision 0.28 but
for solarize, whose threshold begins at 256 and not 255), cutout arXiv:1708.04552, mixup
arXiv:1710.09412.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

STRONGEST = 30
"""The largest magnitude of RandAugment."""

Operation = Callable[[Image.Image, float], Image.Image]


@dataclass(frozen=True)
class Augmentation:
    """Which changes a batch of training images goes through; 0 and false leave one out.

    Attributes:
        crop: Pixels of black around an image, from which a part of its size is cut at random.
        flip: Mirror each image with probability one half.
        operations: N of RandAugment: operations on each image.
        magnitude: M of RandAugment, up to `STRONGEST`.
        cutout: Side of the square that becomes the mean colour, in pixels.
        mixup: alpha of mixup: a batch and its permutation are mixed by one Beta(alpha, alpha).
    """

    crop: int
    flip: bool
    operations: int
    magnitude: int
    cutout: int
    mixup: float

    def images(self, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """What changes pictures: crop, flip, RandAugment.

        Args:
            images: (B, C, H, W) uint8, C 1 or 3.
            rng: Draws what happens to each of them.
        """
        if self.crop:
            images = _cropped(images, self.crop, rng)
        if self.flip:
            mirrored = rng.random(len(images)) < 0.5
            images = np.where(mirrored[:, None, None, None], images[..., ::-1], images)
        if self.operations:
            images = np.stack([self._randaugment(image, rng) for image in images])
        return images

    def standardised(self, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """What comes after standardisation, when 0 is the mean colour: cutout.

        Args:
            images: (B, C, H, W) float32.
            rng: Draws the squares' centres, anywhere in the image.
        """
        if not self.cutout:
            return images
        height, width = images.shape[2:]
        top = rng.integers(0, height, len(images)) - self.cutout // 2
        left = rng.integers(0, width, len(images)) - self.cutout // 2
        rows = np.arange(height) - top[:, None]
        columns = np.arange(width) - left[:, None]
        cut = _within(rows, self.cutout)[:, :, None] & _within(columns, self.cutout)[:, None, :]
        return np.where(cut[:, None], np.float32(0), images)

    def mixed(
        self, images: np.ndarray, targets: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Mixup of a batch with itself.

        Args:
            images: (B, C, H, W) float32.
            targets: (B, classes) float32 probabilities.
            rng: Draws the share and the partners.
        """
        share = np.float32(rng.beta(self.mixup, self.mixup))
        partner = rng.permutation(len(images))
        return (
            share * images + (1 - share) * images[partner],
            share * targets + (1 - share) * targets[partner],
        )

    def _randaugment(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        grey = len(image) == 1
        picture = Image.fromarray(image[0] if grey else image.transpose(1, 2, 0))
        names = tuple(OPERATIONS)
        for place in rng.integers(0, len(names), self.operations):
            strength = self.magnitude / STRONGEST * (1 if rng.random() < 0.5 else -1)
            picture = OPERATIONS[names[place]](picture, strength)
        pixels = np.asarray(picture)
        return pixels[None] if grey else pixels.transpose(2, 0, 1)


def _cropped(images: np.ndarray, margin: int, rng: np.random.Generator) -> np.ndarray:
    count, _, height, width = images.shape
    padded = np.pad(images, ((0, 0), (0, 0), (margin, margin), (margin, margin)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (height, width), axis=(2, 3))
    top, left = rng.integers(0, 2 * margin + 1, (2, count))
    cut: np.ndarray = windows[np.arange(count), :, top, left]
    return cut


def _within(places: np.ndarray, side: int) -> np.ndarray:
    return (places >= 0) & (places < side)


def _affine(picture: Image.Image, *matrix: float) -> Image.Image:
    return picture.transform(picture.size, Image.Transform.AFFINE, matrix)


def _shift(side: int, strength: float) -> int:
    """Whole pixels, 150 of the 331 of AutoAugment's images at full strength."""
    return int(150 / 331 * side * strength)


def _enhanced(kind: Callable[[Image.Image], ImageEnhance._Enhance]) -> Operation:
    return lambda picture, s: kind(picture).enhance(1 + 0.9 * s)


OPERATIONS: Mapping[str, Operation] = {
    "identity": lambda picture, s: picture,
    "autocontrast": lambda picture, s: ImageOps.autocontrast(picture),
    "equalize": lambda picture, s: ImageOps.equalize(picture),
    "rotate": lambda picture, s: picture.rotate(30 * s),
    "solarize": lambda picture, s: ImageOps.solarize(picture, round(256 * (1 - abs(s)))),
    "posterize": lambda picture, s: ImageOps.posterize(picture, 8 - round(4 * abs(s))),
    "color": _enhanced(ImageEnhance.Color),
    "contrast": _enhanced(ImageEnhance.Contrast),
    "brightness": _enhanced(ImageEnhance.Brightness),
    "sharpness": _enhanced(ImageEnhance.Sharpness),
    "shear x": lambda picture, s: _affine(picture, 1, 0.3 * s, 0, 0, 1, 0),
    "shear y": lambda picture, s: _affine(picture, 1, 0, 0, 0.3 * s, 1, 0),
    "translate x": lambda picture, s: _affine(picture, 1, 0, -_shift(picture.width, s), 0, 1, 0),
    "translate y": lambda picture, s: _affine(picture, 1, 0, 0, 0, 1, -_shift(picture.height, s)),
}
"""RandAugment's operations on a picture at a strength from -1 to 1; its sign counts for some."""
