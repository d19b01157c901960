"""Captioned images, read once by Ray Data and kept encoded, to be taken by place.

A source is a Parquet file, a set that `datasets` saved or a folder of either, webdataset tar
shards, or a folder of images with captions in `metadata.jsonl`, `metadata.csv` or a .txt file
beside each image. What cannot be read is left out, counted and reported. The images stay as they
were encoded in one memory-mapped Arrow file, so that a batch is a function of the step and data
need no more disk than they had.
"""

import csv
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from tenfold.envs.data.cache import fingerprint, prepared, stamps
from tenfold.envs.data.columnar import columnar_files, is_plain, schema_of
from tenfold.envs.data.ray_images import (
    SUFFIXES,
    cell_bytes,
    described,
    examined_rows,
    image_of,
    members,
    opened,
    say_skipped,
)
from tenfold.envs.data.scenes import draw_scenes

SCENES = {
    "scenes": "plain",
    "scenes_inked": "inked",
    "scenes_night": "night",
    "scenes_tilted": "tilted",
}
"""Tasks that are drawn, and their styles."""
_SCHEMA = pa.schema([("image", pa.binary()), ("caption", pa.string())])
_SIDE_FILES = ("metadata.jsonl", "metadata.csv")
_FILE_NAME = "file_name"
_SCENES_SEED = 0  # the same drawings for every run, whatever its seed


@dataclass(frozen=True)
class CaptionData:
    """Encoded images and captions of a prepared folder.

    Attributes:
        folder: Holds ``data.arrow`` and ``skipped.json``.
    """

    folder: Path

    @cached_property
    def _table(self) -> pa.Table:
        return pa.ipc.open_file(pa.memory_map(str(self.folder / "data.arrow"))).read_all()

    @cached_property
    def skipped(self) -> dict[str, int]:
        """How many examples were left out, by reason."""
        counts: dict[str, int] = json.loads((self.folder / "skipped.json").read_text())
        return counts

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def image(self, place: int) -> Image.Image:
        """One image, in colour."""
        return Image.open(BytesIO(self._table["image"][place].as_py())).convert("RGB")

    def caption(self, place: int) -> str:
        """Its caption."""
        return str(self._table["caption"][place].as_py())


def check_source(source: Path, image_column: str, caption_column: str) -> None:
    """Look at the outside of a source: enough to refuse most mistakes, quick, and without Ray.

    Raises:
        ValueError: It is missing or empty, or has no such columns or captions.
    """
    kind, files = layout(source)
    if kind == "columns":
        for file in files:
            names = [field.name for field in schema_of(file) if is_plain(field.type)]
            for column in (image_column, caption_column):
                if column not in names:
                    raise ValueError(
                        f"'{file}' has no column '{column}', only {', '.join(names)}: name yours "
                        "with 'image_column' and 'caption_column'."
                    )
    elif kind == "folder" and not _captions_of(source, files, caption_column):
        raise ValueError(
            f"The images of '{source}' have no captions: add a metadata.jsonl with '{_FILE_NAME}' "
            f"and '{caption_column}' a line, or a .txt file beside each image."
        )


def layout(source: Path) -> tuple[str, list[Path]]:
    """What kind of source it is (columns, tar, folder), and its files.

    Raises:
        ValueError: It is missing, or none of these.
    """
    if not os.path.exists(source):
        raise ValueError(
            f"'{source}' does not exist: give a Parquet file, tar shards, a folder of images with "
            f"captions, or 'scenes'."
        )
    files = [source] if source.is_file() else sorted(p for p in source.rglob("*") if p.is_file())
    columns = columnar_files(files)
    if columns:
        return "columns", columns
    for kind, suffixes in (("tar", (".tar",)), ("folder", SUFFIXES)):
        found = [file for file in files if file.suffix.lower() in suffixes]
        if found and (kind != "folder" or source.is_dir()):
            return kind, found
    raise ValueError(f"'{source}' holds no Parquet or Arrow file, no .tar shard and no images.")


def load_captions(
    source: str, *, cache: Path, image_column: str, caption_column: str, limit: int
) -> CaptionData:
    """Captioned images of a source, prepared when they are new.

    Args:
        source: One of `SCENES`, or a path.
        cache: Folder of prepared data.
        image_column: Of Parquet and Arrow: encoded bytes, or a struct that has them as ``bytes``.
        caption_column: Of these, and in metadata files and the .json of a shard.
        limit: At most so many images, the first; scenes are drawn as many.

    Raises:
        ValueError: The source is missing or malformed, or no image of it can be used.
    """
    if source in SCENES:
        key = fingerprint([source, str(limit)])

        def draw(folder: Path) -> None:
            _write(_drawn(limit, SCENES[source]), folder, limit)

        return CaptionData(prepared(cache, f"captions-{key}", draw))
    root = Path(source)
    check_source(root, image_column, caption_column)
    key = fingerprint(
        [str(root.absolute()), image_column, caption_column, str(limit), *stamps(layout(root)[1])]
    )

    def make(folder: Path) -> None:
        _write(_read(root, image_column, caption_column), folder, limit)

    data = CaptionData(prepared(cache, f"captions-{key}", make))
    say_skipped(source, data.skipped)
    if not len(data):
        raise ValueError(f"No image of '{source}' can be used: {data.skipped}.")
    return data


def _drawn(count: int, style: str) -> Iterator[Mapping[str, Any]]:
    scenes = draw_scenes(count, _SCENES_SEED, style=style)
    for pixels, caption in zip(scenes.images, scenes.captions, strict=True):
        file = BytesIO()
        Image.fromarray(pixels).save(file, "png")
        yield {"image": file.getvalue(), "caption": caption, "fault": ""}


def _read(source: Path, image_column: str, caption_column: str) -> Iterator[Mapping[str, Any]]:
    """Every example of a source in its order, with what is wrong with it."""
    kind, files = layout(source)
    if kind == "columns":
        columns = {"image": image_column, "caption": caption_column}
        return examined_rows(kind, files, _of_columns, list(columns.values()), **columns)
    if kind == "tar":
        return examined_rows(kind, files, _of_shard, caption=caption_column)
    captions = _captions_of(source, files, caption_column)
    return examined_rows(kind, files, _of_folder, captions=captions)


def _of_columns(row: Mapping[str, Any], image: str, caption: str) -> dict[str, Any]:
    return _examined(cell_bytes(row[image]), row[caption])


def _of_shard(row: Mapping[str, Any], caption: str) -> dict[str, Any]:
    given = members(row)
    text = given.get("txt", b"").decode("utf-8", "replace")
    return _examined(image_of(given), text or described(given).get(caption, ""))


def _of_folder(row: Mapping[str, Any], captions: Mapping[str, str]) -> dict[str, Any]:
    return _examined(row["bytes"], captions.get(row["path"]))


def _examined(image: bytes | None, caption: Any) -> dict[str, Any]:
    """An example with its fault: '' if it has none."""
    text = caption.strip() if isinstance(caption, str) else ""
    fault = "" if text else "without a caption"
    if opened(image) is None:
        fault = "unreadable"
    return {"image": b"" if fault else image, "caption": text, "fault": fault}


def _captions_of(source: Path, files: list[Path], caption_column: str) -> dict[str, str]:
    """Captions by the absolute path of their image."""
    captions: dict[str, str] = {}
    for name in _SIDE_FILES:
        for side in sorted(source.rglob(name)):
            for row in _rows_of(side):
                if _FILE_NAME in row and row.get(caption_column):
                    path = (side.parent / str(row[_FILE_NAME])).absolute()
                    captions[str(path)] = str(row[caption_column])
    for file in files:
        beside = file.with_suffix(".txt")
        if str(file.absolute()) not in captions and beside.exists():
            captions[str(file.absolute())] = beside.read_text("utf-8")
    return captions


def _rows_of(side: Path) -> list[dict[str, Any]]:
    with side.open(encoding="utf-8", newline="") as file:
        if side.suffix == ".csv":
            return list(csv.DictReader(file))
        try:
            return [json.loads(line) for line in file if line.strip()]
        except json.JSONDecodeError as error:
            raise ValueError(f"'{side}' is not one JSON object a line: {error}.") from None


def _write(rows: Iterator[Mapping[str, Any]], folder: Path, limit: int) -> None:
    """The first `limit` good examples, and how many others were seen on the way."""
    skipped = {"unreadable": 0, "without a caption": 0}
    kept = 0
    with pa.OSFile(str(folder / "data.arrow"), "wb") as file, pa.ipc.new_file(file, _SCHEMA) as out:
        for row in rows:
            if row["fault"]:
                skipped[row["fault"]] += 1
                continue
            out.write_batch(
                pa.record_batch([[row["image"]], [row["caption"]]], schema=_SCHEMA),
            )
            kept += 1
            if kept == limit:
                break
    (folder / "skipped.json").write_text(json.dumps(skipped))


@dataclass(frozen=True)
class Framing:
    """How an image of any size becomes a square.

    Attributes:
        resolution: Pixels of a side.
        center_crop: Cut the middle out; a random part otherwise.
        flip: Mirror half of the images.
    """

    resolution: int
    center_crop: bool = True
    flip: bool = False

    def __call__(
        self, image: Image.Image, rng: np.random.Generator
    ) -> tuple[np.ndarray, tuple[int, int, int, int]]:
        """Resize the shorter side, crop, mirror.

        Args:
            image: RGB.
            rng: Draws place and mirroring.

        Returns:
            (resolution, resolution, 3) uint8, and (original height, original width, top, left) as
            SDXL is told.
        """
        width, height = image.size
        scale = self.resolution / min(width, height)
        size = (
            max(self.resolution, round(width * scale)),
            max(self.resolution, round(height * scale)),
        )
        if size != image.size:
            image = image.resize(
                size, Image.Resampling.BICUBIC if scale > 1 else Image.Resampling.LANCZOS
            )
        room = (size[1] - self.resolution, size[0] - self.resolution)
        across, down, mirrored = rng.random(3)
        top, left = (
            (room[0] // 2, room[1] // 2)
            if self.center_crop
            else (int(down * (room[0] + 1)), int(across * (room[1] + 1)))
        )
        pixels = np.asarray(image)[top : top + self.resolution, left : left + self.resolution]
        if self.flip and mirrored < 0.5:
            pixels = pixels[:, ::-1]
            left = room[1] - left
        return pixels, (height, width, top, left)
