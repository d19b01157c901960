"""Images: digits, folders and columns give what is in them; batches; refusals by name.

About 3 s on one core.
"""

import logging
import shutil
from collections.abc import Callable
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

from tenfold.envs.data import image_split, images
from tenfold.envs.data.image_files import Columns
from tenfold.envs.data.image_split import ImageData, moments
from tenfold.envs.data.images import load_images, worker_indices

SAVED = Path(__file__).parent / "saved_pets"
"""`DatasetDict.save_to_disk` of datasets 5.2: images, a ClassLabel, texts; two shards and one."""
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
    """A split's images as rows, sorted."""
    x = getattr(data, f"{split}_x")
    flat = x.reshape(len(x), -1)
    return flat[np.lexsort(flat.T)]


def test_digits_are_scikit_learns_split_once_for_all(tmp_path: Path) -> None:
    data = load_images("digits", cache=tmp_path, **PLAIN)
    assert data.train_x.shape == (1437, 1, 8, 8)
    assert data.test_x.shape == (360, 1, 8, 8)
    x, y = load_digits(return_X_y=True)
    whole = np.concatenate([data.train_x, data.test_x]).reshape(1797, 64)
    np.testing.assert_array_equal(np.sort(whole.sum(axis=1)), np.sort(x.sum(axis=1)))
    counts = np.bincount(data.test_y)
    assert np.abs(counts - np.bincount(y) / 5).max() <= 1
    other = load_images("digits", cache=tmp_path, size=None, label_noise=0.0, seed=9)
    np.testing.assert_array_equal(other.test_x, data.test_x)


def test_a_batch_is_standardised_to_the_bits_that_the_whole_set_was(tmp_path: Path) -> None:
    data = load_images("digits", cache=tmp_path, **PLAIN)
    assert data.train_x.dtype == np.uint8
    x = data.train_x.astype(np.float32)
    whole = (x - x.mean(axis=(0, 2, 3), keepdims=True)) / (
        x.std(axis=(0, 2, 3), keepdims=True) + 1e-6
    )
    chosen = np.array([3, 1436, 7])
    np.testing.assert_array_equal(data.standardised(data.train_x[chosen]), whole[chosen])


def test_moments_of_parts_are_those_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(0).integers(0, 256, (50, 3, 4, 4), dtype=np.uint8)
    monkeypatch.setattr(image_split, "_PART", 7 * 48)  # 7 images and at last 1
    mean, deviation = moments(x)
    np.testing.assert_allclose(mean.ravel(), x.mean(axis=(0, 2, 3)), rtol=1e-6)
    np.testing.assert_allclose(deviation.ravel(), x.std(axis=(0, 2, 3)), rtol=1e-6)
    assert mean.shape == (1, 3, 1, 1)
    assert deviation.dtype == np.float32


def test_a_users_images_stay_on_disk_as_bytes(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "pets")
    data = load_images(str(folder), cache=tmp_path / "c", **PLAIN)
    for x in (data.train_x, data.test_x):
        assert isinstance(x, np.memmap)
        assert x.dtype == np.uint8
    batch = data.standardised(data.train_x[:3])
    assert batch.dtype == np.float32
    assert not isinstance(batch, np.memmap)


def test_grey_images_among_coloured_ones_become_rgb(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "pets", each=2)
    Image.new("RGB", (6, 6), (9, 8, 7)).save(folder / "dog" / "2.png")
    data = load_images(str(folder), cache=tmp_path / "c", **PLAIN)
    assert data.train_x.shape[1:] == (3, 6, 6)
    pixels = np.concatenate([data.train_x, data.test_x])[:, :, 3, 3]
    expected = [(v, v, v) for v in (10, 11, 110, 111)] + [(9, 8, 7)]
    assert sorted(map(tuple, pixels.tolist())) == sorted(expected)


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
        np.testing.assert_array_equal(raw(one, split), raw(two, split))
    # The label of an image is told by its brightness.
    bright = one.test_x[:, 0, 3, 3] > 60
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


@pytest.mark.parametrize(
    ("held_out", "others"),
    [("val", []), ("Valid", []), ("validation", ["test"]), ("test", []), ("val", ["test", "raw"])],
)
def test_a_folders_own_splits_count(
    held_out: str, others: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = tmp_path / "p"
    make_folder(root / "train", each=5)
    make_folder(root / held_out, each=2)
    for name in others:
        make_folder(root / name, each=3)
    with caplog.at_level(logging.WARNING):
        data = load_images(str(root), cache=tmp_path / "c", **PLAIN)
    assert (len(data.train_x), len(data.test_x)) == (10, 4)
    assert data.classes == ("cat", "dog")
    assert [f"{6 * len(others)} files left out" in r.message for r in caplog.records] == (
        [True] if others else []
    )


def test_a_training_folder_alone_is_split(tmp_path: Path) -> None:
    make_folder(tmp_path / "p" / "train", each=10)
    data = load_images(str(tmp_path / "p"), cache=tmp_path / "c", **PLAIN)
    assert (len(data.train_x), len(data.test_x), data.classes) == (16, 4, ("cat", "dog"))


def test_litter_is_left_out_with_a_count(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = make_folder(tmp_path / "pets")
    clean = load_images(str(root), cache=tmp_path / "c", **PLAIN)
    names = ["__MACOSX/cat/._1.png", ".ipynb_checkpoints/1.png", "cat/._1.png", "dog/.x/1.png"]
    for name in [*names, "cat/Thumbs.db", ".DS_Store", "dog/notes.txt"]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"litter")
    with caplog.at_level(logging.WARNING):
        found = load_images(str(root), cache=tmp_path / "c", **PLAIN)
    assert found.classes == clean.classes
    np.testing.assert_array_equal(found.train_x, clean.train_x)
    np.testing.assert_array_equal(found.test_x, clean.test_x)
    said = [r.message for r in caplog.records]
    assert any("6 files left out (hidden" in message for message in said)
    assert any("1 file left out (not images)" in message for message in said)


def test_images_below_a_class_folders_own_folders_count(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "pets")
    (root / "cat" / "more").mkdir()
    picture(33).save(root / "cat" / "more" / "a.png")
    data = load_images(str(root), cache=tmp_path / "c", **PLAIN)
    assert len(data.train_x) + len(data.test_x) == 21


def encoded(image: Image.Image, kind: str = "PNG") -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


SHADES = np.array([[0, 51], [102, 255]], dtype=np.uint8)


def grey(mode: str) -> Image.Image:
    return Image.fromarray(SHADES).convert(mode)


def sixteen(dtype: str) -> Image.Image:
    return Image.fromarray((SHADES.astype(np.int64) * 257).astype(dtype))


def see_through() -> Image.Image:
    """Black throughout, and seen only as far as alpha says: shades over white."""
    image = Image.new("LA", (2, 2))
    image.putalpha(Image.fromarray(255 - SHADES))
    return image


RED = np.zeros((2, 2, 3), dtype=np.uint8)
RED[..., 0] = SHADES


@pytest.mark.parametrize(
    ("data", "pixels"),
    {
        "L": (encoded(grey("L")), SHADES[None]),
        "16-bit PNG": (encoded(sixteen("uint16")), SHADES[None]),
        "I;16B": (encoded(sixteen(">u2"), "TIFF"), SHADES[None]),
        "I": (encoded(sixteen("int32"), "TIFF"), SHADES[None]),
        "1": (encoded(Image.fromarray(SHADES > 99)), (SHADES > 99)[None] * 255),
        "LA": (encoded(grey("LA")), SHADES[None]),
        "LA with alpha": (encoded(see_through()), SHADES[None]),
        "P": (encoded(grey("P")), np.stack([SHADES] * 3)),
        "RGB": (encoded(Image.fromarray(RED)), RED.transpose(2, 0, 1)),
        "RGBA": (encoded(Image.fromarray(RED).convert("RGBA")), RED.transpose(2, 0, 1)),
        "CMYK": (
            encoded(Image.fromarray(RED).convert("CMYK"), "TIFF"),
            RED.transpose(2, 0, 1),
        ),
    }.values(),
    ids=lambda value: "",
)
def test_images_of_every_mode_have_their_own_shades(
    data: bytes, pixels: np.ndarray, tmp_path: Path
) -> None:
    table = pa.table({"image": [data] * 4, "label": [0, 1, 0, 1]})
    pq.write_table(table, tmp_path / "m.parquet")
    load_images(str(tmp_path / "m.parquet"), cache=tmp_path / "c", **PLAIN)
    (file,) = (tmp_path / "c").glob("*/train_x.npy")
    np.testing.assert_array_equal(np.load(file)[0], pixels)


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (Image.fromarray(SHADES.astype(np.float32) / 255), "mode F"),
        (Image.fromarray(SHADES.astype(np.int32) * 2**20), "mode I,"),
        (Image.fromarray(SHADES.astype(np.int32) - 9), "mode I,"),
        (Image.new("LAB", (2, 2)), "mode LAB"),
    ],
)
def test_modes_of_unknown_scale_are_refused_by_name(
    image: Image.Image, said: str, tmp_path: Path
) -> None:
    table = pa.table({"image": [encoded(image, "TIFF")] * 4, "label": [0, 1, 0, 1]})
    pq.write_table(table, tmp_path / "odd.parquet")
    with pytest.raises(ValueError, match=f"odd.parquet, row 0' has Pillow's {said}") as refusal:
        load_images(str(tmp_path / "odd.parquet"), cache=tmp_path / "c", **PLAIN)
    assert "\n" not in str(refusal.value)


def as_struct(cells: list[bytes]) -> pa.Array:
    return pa.array([{"bytes": cell, "path": None} for cell in cells])


@pytest.mark.parametrize(
    "column",
    [
        as_struct,
        pa.array,
        lambda cells: pa.array(cells, pa.large_binary()),
        lambda cells: pa.array(cells, pa.binary_view()),
        lambda cells: pa.array(cells).dictionary_encode(),
    ],
)
@pytest.mark.parametrize(
    "labels",
    [
        lambda names: pa.array([int(name == "dog") for name in names]),
        pa.array,
        lambda names: pa.array(names, pa.large_string()),
        lambda names: pa.array(names, pa.string_view()),
        lambda names: pa.array(names).dictionary_encode(),
    ],
)
@pytest.mark.parametrize("names", [("image", "label"), ("img", "fine_label"), ("x", "Category")])
def test_columns_of_any_encoding_and_name_are_read(
    column: Callable[[list[bytes]], pa.Array],
    labels: Callable[[list[str]], pa.Array],
    names: tuple[str, str],
    tmp_path: Path,
) -> None:
    cells = [encoded(picture(100 * (i % 2) + i)) for i in range(20)]
    said = ["cat", "dog"] * 10
    extra = pa.array([f"no. {i}" for i in range(20)])
    table = pa.table({names[0]: column(cells), names[1]: labels(said), "name": extra})
    pq.write_table(table, tmp_path / "t.parquet")
    data = load_images(str(tmp_path / "t.parquet"), cache=tmp_path / "c", **PLAIN)
    assert data.classes in (("0", "1"), ("cat", "dog"))
    assert (len(data.train_x), len(data.test_x)) == (16, 4)
    for split in ("train", "test"):
        x, y = getattr(data, f"{split}_x"), getattr(data, f"{split}_y")
        np.testing.assert_array_equal(x[:, 0, 3, 3] > 60, y == 1)  # dogs are bright


def test_columns_that_are_asked_for_are_read_or_refused_by_name(tmp_path: Path) -> None:
    file = tmp_path / "t.parquet"
    cells = [encoded(picture(100 * (i % 2) + i)) for i in range(20)]
    columns = {"front": cells, "back": cells[::-1], "kind": ["cat", "dog"] * 10, "n": range(20)}
    pq.write_table(pa.table(columns), file)

    def read(image: str | None, label: str | None, source: Path = file) -> ImageData:
        columns = Columns(image, label)
        return load_images(str(source), cache=tmp_path / "c", columns=columns, **PLAIN)

    for image, dogs_are_bright in (("front", True), ("back", False)):
        data = read(image, "kind")
        assert data.classes == ("cat", "dog")
        np.testing.assert_array_equal(
            data.train_x[:, 0, 3, 3] > 60, (data.train_y == 1) == dogs_are_bright
        )
    refused = [
        (("side", "kind"), "'side' for 'image_column': it is none of the columns of"),
        (("n", "kind"), "'n' for 'image_column': it holds nothing that fits of the columns of"),
        (("front", "sort"), "'sort' for 'label_column': it is none of the columns of"),
    ]
    for (image, label), said in refused:
        with pytest.raises(ValueError, match=said):
            read(image, label)
    with pytest.raises(ValueError, match=r"'kind' for 'label_column': '.*' holds no Parquet"):
        read(None, "kind", make_folder(tmp_path / "pets"))


def test_a_folder_of_parquet_files_keeps_its_splits(tmp_path: Path) -> None:
    for name, count in (("train-00000-of-00002", 6), ("train-00001-of-00002", 4), ("test", 2)):
        cells = [encoded(picture(i)) for i in range(count)]
        table = pa.table({"image": cells, "label": ["a", "b"] * (count // 2)})
        (tmp_path / "d" / "data").mkdir(parents=True, exist_ok=True)
        pq.write_table(table, tmp_path / "d" / "data" / f"{name}.parquet")
    data = load_images(str(tmp_path / "d"), cache=tmp_path / "c", **PLAIN)
    assert (len(data.train_x), len(data.test_x)) == (10, 2)


def test_what_datasets_saved_is_read_with_its_splits(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="tenfold.envs"):
        saved = load_images(str(SAVED), cache=tmp_path / "c", **PLAIN)
    assert not caplog.records
    assert saved.train_y.tolist() == [0] * 8 + [1] * 8
    assert saved.train_x[:, 0, 3, 3].tolist() == [*range(10, 18), *range(110, 118)]
    assert saved.test_x[:, 0, 3, 3].tolist() == [18, 19, 118, 119]
    # As the cache of `datasets` names the same streams, and with what a computation left there.
    (tmp_path / "pets").mkdir()
    for file in SAVED.rglob("*.arrow"):
        name = file.name.replace("data", f"pets-{file.parent.name}")
        shutil.copy(file, tmp_path / "pets" / name)
    (tmp_path / "pets" / "cache-01ab.arrow").write_bytes(b"")
    cached = load_images(str(tmp_path / "pets"), cache=tmp_path / "c", **PLAIN)
    for split in ("train_x", "train_y", "test_x", "test_y"):
        np.testing.assert_array_equal(getattr(cached, split), getattr(saved, split))


@pytest.mark.parametrize("each", [2, 3])
def test_few_images_of_many_classes_are_split(each: int, tmp_path: Path) -> None:
    for label in range(8):
        (tmp_path / "p" / f"{label}").mkdir(parents=True)
        for i in range(each):
            picture(20 * label + i).save(tmp_path / "p" / f"{label}" / f"{i}.png")
    data = load_images(str(tmp_path / "p"), cache=tmp_path / "c", **PLAIN)
    assert sorted(data.test_y.tolist()) == list(range(8))
    assert len(data.train_y) == 8 * (each - 1)
    (tmp_path / "p" / "7" / "0.png").unlink()
    if each == 2:
        with pytest.raises(ValueError, match="Class '7' has 1 image, at least 2 are needed"):
            load_images(str(tmp_path / "p"), cache=tmp_path / "c", **PLAIN)


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


def test_an_epochs_order_is_drawn_once_and_is_the_generators() -> None:
    images._permutation.cache_clear()
    for step in range(20):  # two epochs of 10 steps
        for k in range(4):
            drawn = worker_indices(203, 4, k, 5, step, seed=11)
            order = np.random.default_rng([11, step // 10]).permutation(203)
            first = (k * 10 + step % 10) * 5
            np.testing.assert_array_equal(drawn, order[first : first + 5])
            drawn[:] = -1  # the caller's own
    assert images._permutation.cache_info().misses == 2


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
    for i in (1, 2):
        (folder / "eel" / f"{i}.png").write_bytes(b"not an image")
    assert "1.png' is not an image" in said(folder)
    for i in range(5):
        picture(7, size=9).save(folder / "eel" / f"{i}.png")
    assert "different shapes" in said(folder)
    assert "image_size" in said(folder)
    (tmp_path / "x.parquet").write_bytes(b"nothing")
    assert "x.parquet' is not a Parquet file" in said(tmp_path / "x.parquet")
    (tmp_path / "x.arrow").write_bytes(b"nothing")
    assert "x.arrow' is not an Arrow stream" in said(tmp_path / "x.arrow")
    pq.write_table(pa.table({"image": [b""]}), tmp_path / "y.parquet")
    assert "no column 'label'" in said(tmp_path / "y.parquet")
    for label in (0.5, None, [1]):
        cell = encoded(picture(3))
        pq.write_table(pa.table({"image": [cell], "label": [label]}), tmp_path / "z.parquet")
        assert "whole numbers only or names only" in said(tmp_path / "z.parquet")
    pq.write_table(pa.table({"image": [b""] * 4, "label": ["a", "b"] * 2}), tmp_path / "e.parquet")
    assert "e.parquet, row 0' is not an image" in said(tmp_path / "e.parquet")
    empty = pa.table({"image": pa.array([], pa.binary()), "label": pa.array([], pa.int64())})
    pq.write_table(empty, tmp_path / "n.parquet")
    assert "n.parquet' has no rows" in said(tmp_path / "n.parquet")
