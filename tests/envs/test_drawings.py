"""Made drawings: what varies, what does not, and which are held out. About 1 s."""

from pathlib import Path

import numpy as np

from tenfold.envs.data.drawings import CLASSES, draw, inside, labels, load_drawings

EDGE = np.flatnonzero(np.pad(np.zeros((22, 22), dtype=bool), 1, constant_values=True))
SMALL = {"size": 16, "seed": 3}


def as_rows(images: np.ndarray) -> set[bytes]:
    return {image.tobytes() for image in images}


def test_held_out_drawings_are_none_of_the_training_ones_and_are_on_disk(tmp_path: Path) -> None:
    data = load_drawings(120, 80, cache=tmp_path, label_noise=0.0, **SMALL)
    assert data.train_x.shape == (120, 3, 16, 16)
    assert data.test_x.shape == (80, 3, 16, 16)
    assert isinstance(data.train_x, np.memmap)
    assert data.train_x.dtype == np.uint8
    assert len(as_rows(data.train_x)) == 120
    assert not as_rows(data.train_x) & as_rows(data.test_x)
    for y, each in ((data.train_y, 3), (data.test_y, 2)):
        np.testing.assert_array_equal(np.bincount(y, minlength=40), each)


def test_a_larger_set_begins_with_the_smaller_one_and_seeds_change_wrong_labels_alone(
    tmp_path: Path,
) -> None:
    small = load_drawings(40, 40, cache=tmp_path, label_noise=0.0, **SMALL)
    large = load_drawings(90, 40, cache=tmp_path, label_noise=0.25, size=16, seed=4)
    np.testing.assert_array_equal(large.train_x[:40], small.train_x)
    np.testing.assert_array_equal(large.test_x, small.test_x)
    np.testing.assert_array_equal(large.test_y, small.test_y)
    true = labels(90, 0)
    assert int((large.train_y != true).sum()) == round(0.25 * 90)


def test_every_class_is_inked_in_its_own_way_and_mirrors_into_itself() -> None:
    axis = (np.arange(120) - 59.5) / 50
    masks = np.stack([inside(label)(axis[None, :], axis[:, None]) for label in range(40)])
    for mask in masks:
        np.testing.assert_array_equal(mask, mask[:, ::-1])
    flat = masks.reshape(40, -1)
    for label, mask in enumerate(flat):
        differing = (flat != mask).sum(axis=1) / mask.sum()
        differing[label] = 1
        assert differing.min() > 0.15, (CLASSES[label], CLASSES[int(differing.argmin())])


def test_a_drawings_ink_is_brighter_than_its_ground_and_as_much_as_its_class_has() -> None:
    def inked(label: int) -> float:
        images = [draw(label, 0, n, 24).astype(float) for n in range(40)]
        grounds = [np.median(image.reshape(3, -1)[:, EDGE]) for image in images]
        assert max(grounds) < 130
        shares = [(im.mean(axis=0) > g + 50).mean() for im, g in zip(images, grounds, strict=True)]
        return float(np.mean(shares))

    assert inked(CLASSES.index("plain square")) > 2 * inked(CLASSES.index("outlined lozenge"))
