"""Images that stay encoded: the pixels of those decoded once, splits, moments, refusals.

Ray Data's part is in `test_lcm_data.py`; here files are read one after the other. Under a second.
"""

import io
import json
import logging
import tarfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from tenfold.algorithms.qsr.config import QSRConfig
from tenfold.algorithms.qsr.loop import QSRLoop
from tenfold.envs.data import encoded_images
from tenfold.envs.data.image_files import Columns
from tenfold.envs.data.images import load_images
from tenfold.platform.configuration import build_config
from tenfold.platform.errors import InputError
from tenfold.platform.registry import get_method


def png(value: int, size: int = 8, mode: str = "RGB") -> bytes:
    rng = np.random.default_rng(value)
    pixels = rng.integers(0, 256, (size, size, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, "png")
    return file.getvalue()


def write_shard(file: Path, examples: list[tuple[str, bytes]]) -> None:
    with tarfile.open(file, "w") as tar:
        for name, content in examples:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def write_parquet(file: Path, count: int = 20) -> None:
    cells = [{"bytes": png(i), "path": f"{i}.png"} for i in range(count)]
    table = pa.table({"image": cells, "label": [(9, 10)[i % 2] for i in range(count)]})
    pq.write_table(table, file)


@pytest.fixture(autouse=True)
def one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows as Ray Data gives them, without Ray."""

    def rows(
        kind: str,
        files: Sequence[Path],
        examine: Callable[..., dict[str, Any]],
        columns: Sequence[str] = (),
        **arguments: Any,
    ) -> Iterator[dict[str, Any]]:
        for file in files:
            if kind == "columns":
                given = pq.read_table(file, columns=list(columns)).to_pylist()
            else:
                given = list(examples(file))
            yield from (examine(row, **arguments) for row in given)

    monkeypatch.setattr(encoded_images, "examined_rows", rows)


def examples(file: Path) -> Iterator[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    with tarfile.open(file) as tar:
        for member in tar:
            stem, _, suffix = member.name.partition(".")
            content = tar.extractfile(member)
            assert content is not None
            found.setdefault(stem, {"__key__": stem})[suffix] = content.read()
    yield from found.values()


def test_pixels_and_labels_are_those_of_the_same_file_decoded_once(tmp_path: Path) -> None:
    write_parquet(tmp_path / "own.parquet")
    given = {"cache": tmp_path / "c", "size": 6, "label_noise": 0.0, "seed": 0}
    once = load_images(str(tmp_path / "own.parquet"), **given)
    data = load_images(str(tmp_path / "own.parquet"), encoded=True, **given)
    assert data.classes == once.classes == ("9", "10")
    assert data.train_x.shape == once.train_x.shape == (16, 3, 6, 6)
    chosen = np.array([3, 0, 15])
    np.testing.assert_array_equal(data.train_x[chosen], once.train_x[chosen])
    np.testing.assert_array_equal(data.test_x[np.arange(4)], once.test_x[np.arange(4)])
    np.testing.assert_array_equal(data.train_y, once.train_y)
    np.testing.assert_array_equal(data.test_y, once.test_y)
    # The moments are those of the images as they were, before they are resized.
    whole = load_images(str(tmp_path / "own.parquet"), **{**given, "size": None})
    np.testing.assert_allclose(data.mean, whole.mean, rtol=1e-5)
    np.testing.assert_allclose(data.deviation, whole.deviation, rtol=1e-5)


def test_shards_have_splits_by_name_and_what_is_broken_is_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = tmp_path / "shards"
    root.mkdir()
    of_train = [(f"{i}.png", png(i)) for i in range(6)]
    of_train += [(f"{i}.cls", str(i % 3).encode()) for i in range(6)]
    write_shard(root / "pets-train-0000.tar", sorted(of_train))
    more = [("6.JPG", png(6, mode="L")), ("6.json", json.dumps({"label": 2}).encode())]
    write_shard(root / "pets-train-0001.tar", [*more, ("7.png", b"junk"), ("7.cls", b"1")])
    write_shard(root / "pets-val-0000.tar", [("0.png", png(9)), ("0.cls", b"1"), ("1.png", png(8))])
    with caplog.at_level(logging.WARNING, logger="tenfold.envs"):
        data = encoded_images.read_encoded(root, tmp_path / "c", 8, Columns())
    said = [record.getMessage().partition("left out ")[2] for record in caplog.records]
    assert said == ["1 unreadable.", "1 without a label."]
    assert data.classes == ("0", "1", "2")
    assert data.train_y.tolist() == [0, 1, 2, 0, 1, 2, 2]
    assert data.test_y.tolist() == [1]
    grey = data.train_x[np.array([6])]
    assert grey.shape == (1, 3, 8, 8)
    assert bool((grey == grey[:, :1]).all())
    expected = np.asarray(Image.open(io.BytesIO(png(9)))).transpose(2, 0, 1)
    np.testing.assert_array_equal(data.test_x[np.array([0])][0], expected)


def test_a_loop_takes_batches_that_are_decoded_ahead(tmp_path: Path, runs: Path) -> None:
    write_parquet(tmp_path / "own.parquet", count=40)
    task = str(tmp_path / "own.parquet")
    method = get_method("qsr")
    fields: dict[str, Any] = {**method.smoke, "batch": 2, "image_size": 8, "flip": True}
    found = {}
    for decode in ("once", "batch"):
        config = build_config(method, task, "qsr", {**fields, "decode": decode}, 0)
        assert isinstance(config, QSRConfig)
        loop = QSRLoop(config)
        found[decode] = [loop.batches(number) for number in range(3)]
        if decode == "batch":
            straight = QSRLoop(config)
            assert loop.train(4)["loss"] == straight.train(4)["loss"]
    for one, other in zip(*found.values(), strict=True):
        assert bool((one["labels"] == other["labels"]).all())
        torch.testing.assert_close(one["pixel_values"], other["pixel_values"], rtol=1e-4, atol=1e-4)


def refusal(task: Path, **fields: Any) -> str:
    given = {"decode": "batch", "image_size": 8, **fields}
    with pytest.raises(InputError) as refused:
        build_config(get_method("qsr"), str(task), "qsr", given, 0)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_what_cannot_stay_encoded_is_refused(tmp_path: Path, runs: Path) -> None:
    write_parquet(tmp_path / "own.parquet")
    write_shard(tmp_path / "a.tar", [("./0.png", png(1)), ("./0.txt", b"a"), ("./1.cls", b"1")])
    folder = tmp_path / "pets"
    (folder / "cat").mkdir(parents=True)
    (folder / "cat" / "0.png").write_bytes(png(1))
    (tmp_path / "b.tar").write_text("no tar at all")
    assert "Bad value null for 'image_size'" in refusal(tmp_path / "own.parquet", image_size=None)
    assert "'breed' for 'label_column'" in refusal(tmp_path / "own.parquet", label_column="breed")
    assert "has png, txt: each needs an image and its class" in refusal(tmp_path / "a.tar")
    assert "is not a tar file" in refusal(tmp_path / "b.tar")
    assert "'batch' for 'decode': " in refusal(folder)
    assert "'batch' for 'decode': it is for images of your own" in refusal(Path("digits"))
    assert "'once' for 'decode': " in refusal(tmp_path / "a.tar", decode="once")
