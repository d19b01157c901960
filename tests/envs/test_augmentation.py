"""Augmentation: each change does what it says, by the generator alone. About 1 s on one core."""

from dataclasses import replace

import numpy as np
import pytest

from tenfold.envs.data.augmentation import OPERATIONS, STRONGEST, Augmentation

NOTHING = Augmentation(crop=0, flip=False, operations=0, magnitude=10, cutout=0, mixup=0.0)


def pictures(count: int = 40, channels: int = 3, size: int = 9) -> np.ndarray:
    shape = (count, channels, size, size)
    return np.random.default_rng(0).integers(1, 256, shape, dtype=np.uint8)


def generator(seed: int = 5) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_without_any_change_images_are_the_same() -> None:
    x = pictures()
    np.testing.assert_array_equal(NOTHING.images(x, generator()), x)
    np.testing.assert_array_equal(NOTHING.standardised(x / 255, generator()), x / 255)


def test_a_crop_is_a_part_of_the_padded_image_and_every_place_occurs() -> None:
    x = pictures(400, 1)
    padded = np.pad(x, ((0, 0), (0, 0), (2, 2), (2, 2)))
    found = set()
    for before, after in zip(padded, replace(NOTHING, crop=2).images(x, generator()), strict=True):
        places = [
            (top, left)
            for top in range(5)
            for left in range(5)
            if np.array_equal(before[:, top : top + 9, left : left + 9], after)
        ]
        assert len(places) == 1
        found.update(places)
    assert len(found) == 25


def test_a_flip_mirrors_about_half_of_the_images_from_left_to_right() -> None:
    x = pictures(200)
    after = replace(NOTHING, flip=True).images(x, generator())
    mirrored = (after == x[..., ::-1]).all(axis=(1, 2, 3))
    kept = (after == x).all(axis=(1, 2, 3))
    assert (mirrored ^ kept).all()
    assert 70 < mirrored.sum() < 130


def test_cutout_clears_one_square_wherever_its_centre_is() -> None:
    x = np.ones((300, 2, 9, 9), dtype=np.float32)
    after = replace(NOTHING, cutout=4).standardised(x, generator())
    assert after.dtype == np.float32
    for image in after:
        np.testing.assert_array_equal(image[0], image[1])
        rows, columns = np.nonzero(image[0] == 0)
        height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
        assert len(rows) == height * width  # a full rectangle, cut off by the border at most
        assert 2 <= min(height, width) <= max(height, width) <= 4
    cleared = (after[:, 0] == 0).any(axis=0)
    assert cleared.all()


def test_mixup_mixes_images_and_targets_by_the_same_share() -> None:
    x = np.arange(8, dtype=np.float32)[:, None, None, None] * np.ones((1, 1, 2, 2), np.float32)
    targets = np.eye(8, dtype=np.float32)
    mixed, soft = replace(NOTHING, mixup=0.4).mixed(x, targets, generator())
    assert mixed.dtype == soft.dtype == np.float32
    np.testing.assert_allclose(soft.sum(axis=1), 1, rtol=1e-6)
    # Image n is n everywhere, so that a mixed one is the mean number under its target.
    np.testing.assert_allclose(mixed[:, 0, 0, 0], soft @ np.arange(8), rtol=1e-5, atol=1e-6)
    assert (soft > 0).sum(axis=1).max() == 2


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("channels", [1, 3])
def test_operations_keep_shape_and_type_and_do_nothing_or_something_at_strength_0(
    name: str, channels: int
) -> None:
    x = pictures(4, channels)
    only = {name: OPERATIONS[name]}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tenfold.envs.data.augmentation.OPERATIONS", only)
        weak, strong = (
            replace(NOTHING, operations=1, magnitude=m).images(x, generator())
            for m in (0, STRONGEST)
        )
    assert strong.shape == x.shape
    assert strong.dtype == np.uint8
    always = name in ("autocontrast", "equalize")  # they have no strength
    if always:
        np.testing.assert_array_equal(weak, strong)
    else:
        np.testing.assert_array_equal(weak, x)
        grey = channels == 1 and name == "color"
        assert np.array_equal(strong, x) == (name == "identity" or grey)


def test_equal_generators_change_equally_and_others_differently() -> None:
    x = pictures()
    every = Augmentation(crop=2, flip=True, operations=2, magnitude=15, cutout=3, mixup=0.2)
    one, same, other = (every.images(x, generator(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()
