"""Captioned images of every source: what is broken is left out and counted.

About 25 s, most of it Ray Data's.
"""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from PIL import Image

from tenfold.algorithms.lcm.data import CaptionData, Framing, check_source, load_captions
from tenfold.envs.data.encoded_images import read_encoded
from tenfold.envs.data.image_files import Columns

SAVED = Path(__file__).parent.parent / "envs" / "saved_pets"
"""Images and labels as `datasets` saved them, see test_images.py."""


def png(value: int, width: int = 20, height: int = 16) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((height, width, 3), value, np.uint8)).save(file, "png")
    return file.getvalue()


def load(source: Path, cache: Path, limit: int = 100) -> CaptionData:
    return load_captions(
        str(source), cache=cache, image_column="image", caption_column="text", limit=limit
    )


def write_shard(file: Path, examples: list[tuple[str, str, bytes]]) -> None:
    with tarfile.open(file, "w") as tar:
        for name, suffix, content in examples:
            member = tarfile.TarInfo(f"{name}.{suffix}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def shards(root: Path) -> Path:
    write_shard(
        root / "a.tar",
        [
            ("000", "png", png(10)),
            ("000", "txt", b"ten"),
            ("001", "png", b"this is no image"),
            ("001", "txt", b"broken"),
            ("002", "png", png(20)[:40]),
            ("002", "txt", b"cut off"),
        ],
    )
    write_shard(
        root / "b.tar",
        [
            ("000", "png", png(30)),
            ("000", "json", json.dumps({"text": "thirty"}).encode()),
            ("001", "png", png(40)),
        ],
    )
    return root


def frame() -> pd.DataFrame:
    cells = [{"bytes": png(10), "path": "a.png"}, {"bytes": png(30), "path": "b.png"}]
    broken = {"bytes": b"junk", "path": "c.png"}
    return pd.DataFrame(
        {"image": [*cells, broken, broken, cells[0]], "text": ["ten", "thirty", "x", "y", None]}
    )


def parquet(root: Path) -> Path:
    frame().to_parquet(root / "images.parquet")
    return root / "images.parquet"


def saved(root: Path) -> Path:
    """As `datasets` saves it, in batches of two rows."""
    table = pa.Table.from_pandas(frame())
    with pa.ipc.new_stream(str(root / "data-00000-of-00001.arrow"), table.schema) as stream:
        stream.write_table(table, max_chunksize=2)
    (root / "state.json").write_text("{}")
    return root


def folder(root: Path) -> Path:
    for name, content in (
        ("a.png", png(10)),
        ("b.png", png(30)),
        ("c.png", b"junk"),
        ("d.png", b"junk"),
        ("e.png", png(50)),
    ):
        (root / name).write_bytes(content)
    lines = [{"file_name": f"{n}.png", "text": t} for n, t in (("a", "ten"), ("c", "x"))]
    (root / "metadata.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    (root / "b.txt").write_text("thirty\n")
    (root / "d.txt").write_text("y")
    return root


@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize("make", [shards, parquet, saved, folder])
def test_what_is_broken_is_left_out_counted_and_said(
    make: object, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert callable(make)
    (tmp_path / "source").mkdir()
    source = make(tmp_path / "source")
    check_source(source, "image", "text")
    with caplog.at_level("WARNING", "tenfold.lcm"):
        data = load(source, tmp_path / "cache")
    assert [data.caption(k) for k in range(len(data))] == ["ten", "thirty"]
    assert [np.asarray(data.image(k)).mean() for k in range(2)] == [10, 30]
    assert data.skipped == {"unreadable": 2, "without a caption": 1}
    assert "left out 2 unreadable, 1 without a caption" in caplog.text
    assert load(source, tmp_path / "cache").folder == data.folder
    assert len(load(source, tmp_path / "cache", limit=1)) == 1


def test_scenes_are_read_as_data_are(tmp_path: Path) -> None:
    data = load(Path("scenes"), tmp_path, limit=5)
    night = load(Path("scenes_night"), tmp_path, limit=5)
    assert len(data) == 5
    assert data.caption(3) == night.caption(3)
    both = np.asarray(data.image(3)).astype(int) + np.asarray(night.image(3))
    assert np.abs(both - 255).max() <= 1


def test_a_source_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(png(1))
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.parquet").write_bytes(b"junk")
    frame = pd.DataFrame({"image": [png(1)], "label": ["one"]})
    frame.to_parquet(tmp_path / "labels.parquet")
    for name, sentence in (
        ("nowhere", "'.*nowhere' does not exist: give a Parquet file"),
        ("images", "'.*images' have no captions: add a metadata.jsonl"),
        ("empty", "'.*empty' holds no Parquet or Arrow file, no .tar shard"),
        ("bad.parquet", "'.*bad.parquet' is not a Parquet file"),
        ("labels.parquet", "no column 'text', only image, label"),
    ):
        with pytest.raises(ValueError, match=sentence):
            check_source(tmp_path / name, "image", "text")


def test_framing_keeps_the_middle_or_draws_a_part_and_says_which() -> None:
    columns = np.tile(np.arange(30, dtype=np.uint8), (10, 1))
    image = Image.fromarray(np.repeat(columns[..., None], 3, axis=2))
    pixels, size = Framing(10)(image, np.random.default_rng(0))
    assert pixels.shape == (10, 10, 3)
    assert size == (10, 30, 0, 10)
    assert pixels[0, :, 0].tolist() == list(range(10, 20))
    seen = set()
    for seed in range(40):
        framing = Framing(10, center_crop=False, flip=True)
        pixels, (height, width, top, left) = framing(image, np.random.default_rng(seed))
        assert (height, width, top) == (10, 30, 0)
        row = pixels[0, :, 0].tolist()
        mirrored = row[0] > row[-1]
        first = min(row)
        assert left == (20 - first if mirrored else first)
        seen.add((mirrored, first))
    assert len(seen) > 20
    pixels, size = Framing(5)(image, np.random.default_rng(0))
    assert pixels.shape == (5, 5, 3)
    assert size == (10, 30, 0, 5)


@pytest.mark.usefixtures("ray_session")
def test_labelled_images_stay_encoded_in_their_order(tmp_path: Path) -> None:
    root = tmp_path / "shards"
    root.mkdir()
    for part, values in (("train-0000", (10, 30)), ("train-0001", (50, 70)), ("val-0000", (90,))):
        members = []
        for place, value in enumerate(values):
            members += [(f"{place}", "png", png(value)), (f"{place}", "cls", b"%d" % (value % 4))]
        members += [("9", "png", b"junk"), ("9", "cls", b"0")]
        write_shard(root / f"{part}.tar", members)
    data = read_encoded(root, tmp_path / "c", 16, Columns())
    assert data.classes == ("2",)
    assert data.train_x[np.arange(4)][:, 0, 3, 3].tolist() == [10, 30, 50, 70]
    assert data.test_x[np.arange(1)].shape == (1, 3, 16, 16)
    assert data.mean.ravel().tolist() == [40] * 3
    cells = [{"bytes": png(value), "path": "a.png"} for value in range(10, 20)]
    frame = pd.DataFrame({"image": cells, "label": ["cat", "dog"] * 5})
    frame.to_parquet(tmp_path / "own.parquet")
    own = read_encoded(tmp_path / "own.parquet", tmp_path / "c", 16, Columns())
    assert own.classes == ("cat", "dog")
    pixels = own.train_x[np.arange(8)][:, 0, 3, 3].tolist()
    assert [int(value) % 2 for value in pixels] == own.train_y.tolist()
    pets = read_encoded(SAVED, tmp_path / "c", 6, Columns())
    assert pets.train_x[np.arange(16)][:, 0, 3, 3].tolist() == [*range(10, 18), *range(110, 118)]
    assert pets.test_y.tolist() == [0, 0, 1, 1]
