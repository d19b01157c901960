"""Images: digits, folders and Parquet give what is in them; batches; refusals by name."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from sklearn.datasets import load_digits

from tenfold.envs.images import ImageData, load_images, worker_indices

PLAIN = {"size": None, "label_noise": 0.0, "seed": 0}


def picture(value: int, size: int = 6) -> Image.Image:
    """A grey image whose pixels tell its value."""
    pixels = np.full((size, size), value, dtype=np.uint8)
    pixels[0, 0] = 255 - value
    return Image.fromarray(pixels)


def make_folder(root: Path, each: int = 10) -> Path:
    for label, name in enumerate(("cat", "dog")):
        (root / name).mkdir(parents=True)
        for i in range(each):
            picture(10 + 100 * label + i).save(root / name / f"{i}.png")
    return root


def raw(data: ImageData, split: str) -> np.ndarray:
    """Standardised images back on a common scale, sorted."""
    x = getattr(data, f"{split}_x")
    flat = x.reshape(len(x), -1)
    return flat[np.lexsort(flat.T)]


def test_digits_are_scikit_learns_split_once_for_all(tmp_path: Path) -> None:
    data = load_images("digits", cache=tmp_path, **PLAIN)
    assert data.train_x.shape == (1437, 1, 8, 8)
    assert data.test_x.shape == (360, 1, 8, 8)
    assert abs(float(data.train_x.mean())) < 1e-5
    assert float(data.train_x.std()) == pytest.approx(1, abs=1e-4)
    x, y = load_digits(return_X_y=True)
    whole = np.concatenate([data.train_x, data.test_x]).reshape(1797, 64).astype(np.float64)
    scale = (whole.max() - whole.min()) / (x.max() - x.min())
    sums = np.sort((whole - whole.min()).sum(axis=1) / scale)
    np.testing.assert_allclose(sums, np.sort(x.sum(axis=1)), rtol=1e-3)
    counts = np.bincount(data.test_y)
    assert np.abs(counts - np.bincount(y) / 5).max() <= 1
    other = load_images("digits", cache=tmp_path, size=None, label_noise=0.0, seed=9)
    np.testing.assert_array_equal(other.test_x, data.test_x)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5])
def test_label_noise_changes_that_share_of_training_labels_only(
    share: float, tmp_path: Path
) -> None:
    clean = load_images("digits", cache=tmp_path, **PLAIN)
    noisy = load_images("digits", cache=tmp_path, size=None, label_noise=share, seed=5)
    assert int((clean.train_y != noisy.train_y).sum()) == round(share * 1437)
    np.testing.assert_array_equal(clean.test_y, noisy.test_y)
    assert set(noisy.train_y) == set(range(10))


def test_a_folder_and_a_parquet_file_hold_the_same_images(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "pets")
    cells, labels = [], []
    for label, name in enumerate(("cat", "dog")):
        for path in sorted((folder / name).iterdir()):
            cells.append({"bytes": path.read_bytes(), "path": path.name})
            labels.append(label)
    pq.write_table(pa.table({"image": cells, "label": labels}), tmp_path / "pets.parquet")
    one = load_images(str(folder), cache=tmp_path / "c", **PLAIN)
    two = load_images(str(tmp_path / "pets.parquet"), cache=tmp_path / "c", **PLAIN)
    assert one.classes == ("cat", "dog")
    assert one.train_x.shape == (16, 1, 6, 6)
    for split in ("train", "test"):
        np.testing.assert_allclose(raw(one, split), raw(two, split), rtol=1e-6)
    # The label of an image is told by its brightness.
    bright = one.test_x[:, 0, 3, 3] > 0
    np.testing.assert_array_equal(bright, one.test_y == 1)


def test_own_splits_sizes_and_colours(tmp_path: Path) -> None:
    make_folder(tmp_path / "p" / "train", each=5)
    make_folder(tmp_path / "p" / "test", each=2)
    data = load_images(str(tmp_path / "p"), cache=tmp_path / "c", size=4, label_noise=0.0, seed=0)
    assert data.train_x.shape == (10, 1, 4, 4)
    assert data.test_x.shape == (4, 1, 4, 4)
    buffer = BytesIO()
    Image.new("RGB", (5, 5), (9, 8, 7)).save(buffer, "PNG")
    table = pa.table({"image": [buffer.getvalue()] * 10, "label": [3, 7] * 5})
    pq.write_table(table, tmp_path / "c.parquet")
    colour = load_images(str(tmp_path / "c.parquet"), cache=tmp_path / "c", **PLAIN)
    assert colour.train_x.shape[1:] == (3, 5, 5)
    assert colour.classes == ("3", "7")


@given(
    workers=st.integers(1, 5),
    batch=st.integers(1, 6),
    spare=st.integers(0, 40),
    seed=st.integers(0, 99),
)
def test_workers_of_an_epoch_share_nothing_and_leave_out_less_than_a_step(
    workers: int, batch: int, spare: int, seed: int
) -> None:
    count = workers * batch + spare
    steps = count // (workers * batch)
    drawn = [
        worker_indices(count, workers, k, batch, step, seed)
        for step in range(steps)
        for k in range(workers)
    ]
    taken = np.concatenate(drawn)
    assert len(set(taken.tolist())) == len(taken) == steps * workers * batch
    assert count - len(taken) < workers * batch
    assert set(taken.tolist()) <= set(range(count))
    again = worker_indices(count, workers, 0, batch, steps - 1, seed)
    np.testing.assert_array_equal(again, drawn[(steps - 1) * workers])


def test_every_epoch_has_another_order() -> None:
    first, second = (worker_indices(50, 1, 0, 50, step, seed=0) for step in (0, 1))
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(np.sort(first), np.sort(second))
    with pytest.raises(ValueError, match="'batch'"):
        worker_indices(50, 2, 0, 26, 0, 0)


def test_what_cannot_be_read_is_refused_by_name(tmp_path: Path) -> None:
    def said(source: Path) -> str:
        with pytest.raises(ValueError, match=r"\S") as refusal:
            load_images(str(source), cache=tmp_path / "c", **PLAIN)
        assert "\n" not in str(refusal.value)
        return str(refusal.value)

    assert "does not exist" in said(tmp_path / "nowhere")
    (tmp_path / "bare").mkdir()
    assert "has no subfolders" in said(tmp_path / "bare")
    folder = make_folder(tmp_path / "pets")
    (folder / "eel").mkdir()
    assert "eel' has no .png" in said(folder)
    (folder / "eel" / "1.png").write_bytes(b"not an image")
    assert "1.png' is not an image" in said(folder)
    for i in range(5):
        picture(7, size=9).save(folder / "eel" / f"{i}.png")
    assert "different shapes" in said(folder)
    assert "image_size" in said(folder)
    (tmp_path / "x.parquet").write_bytes(b"nothing")
    assert "x.parquet' is not a Parquet file" in said(tmp_path / "x.parquet")
    pq.write_table(pa.table({"image": [b""]}), tmp_path / "y.parquet")
    assert "no column 'label'" in said(tmp_path / "y.parquet")
    pq.write_table(pa.table({"image": [b""], "label": ["a"]}), tmp_path / "z.parquet")
    assert "whole numbers" in said(tmp_path / "z.parquet")
