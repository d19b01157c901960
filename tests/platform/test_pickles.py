"""Nothing that is loaded executes: a crafted pickle in every file that Tenfold reads stays one.

168 cases in 3 processor seconds beside imports.
"""

import io
import json
import pickle
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from pyarrow import parquet
from ray.data.extensions import ArrowPythonObjectType
from transformers import CLIPConfig

from tenfold.algorithms.common.planning import PLAN_ARRAYS, PLAN_VALUES, PlanningAlgorithm
from tenfold.algorithms.lcm.commands import Source, build_pipeline, parse_lora
from tenfold.algorithms.lcm.data import check_source
from tenfold.algorithms.lcm.folder import EMBEDDED_FOLDER, LORA_FILE, PipelineFolder, Record
from tenfold.algorithms.lcm.judging import clip_score, inception_features
from tenfold.algorithms.lcm.loop import LCMLoop
from tenfold.algorithms.lcm.teacher import Teacher
from tenfold.algorithms.offline.streaming import head_of
from tenfold.algorithms.qsr.config import QSRConfig
from tenfold.algorithms.qsr.loop import QSRLoop
from tenfold.envs.data.encoded_images import check_encoded
from tenfold.envs.data.image_files import USUAL
from tenfold.envs.data.images import load_images
from tenfold.envs.data.text import load_corpus
from tenfold.envs.offline.convert import from_omar
from tenfold.envs.offline.dataset import OfflineDataset
from tenfold.envs.queues.events import Layout, read_events
from tenfold.envs.queues.scenario import read_scenario
from tenfold.envs.queues.trace import read_trace
from tenfold.envs.risk.mdp_file import read_mdp
from tenfold.envs.risk.pomdp_file import read_pomdp


class Bomb:
    """What a pickle of it does when it is loaded: it makes a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.marker,)


def by_numpy(bomb: Bomb, save: Callable[..., None]) -> bytes:
    file = io.BytesIO()
    save(file, np.array([bomb], dtype=object), allow_pickle=True)
    return file.getvalue()


def by_torch(bomb: Bomb, as_zip: bool) -> bytes:
    file = io.BytesIO()
    torch.save({"weight": bomb}, file, _use_new_zipfile_serialization=as_zip)
    return file.getvalue()


def by_arrow(bomb: Bomb) -> bytes:
    """Parquet whose columns say that they are Python's own types, pickled in their metadata."""
    hints = {
        b"ARROW:extension:name": b"arrow.py_extension_type",
        b"ARROW:extension:metadata": pickle.dumps(bomb),
    }
    names = [*NAMES, *MORE]
    fields = [pa.field(name, pa.int64(), metadata=hints) for name in names]
    file = io.BytesIO()
    parquet.write_table(pa.table([pa.array([0])] * len(names), schema=pa.schema(fields)), file)
    return file.getvalue()


NAMES = ("slot", "queue", "arrivals", "service", "text", "image", "label", "episode", "t")
MORE = ("terminated", "truncated", "obs.a", "action.a", "reward.a", "next_obs.a")


def by_ray(bomb: Bomb) -> bytes:
    """Parquet with columns of Ray Data's objects, which pickle's loader makes of bytes."""
    stored = pa.array([pickle.dumps(bomb)], pa.large_binary())
    column = pa.ExtensionArray.from_storage(ArrowPythonObjectType(), stored)
    names = [*NAMES, *MORE]
    file = io.BytesIO()
    parquet.write_table(pa.table([column] * len(names), names=names), file)
    return file.getvalue()


BOMBS: dict[str, Callable[[Bomb], bytes]] = {
    "pickle": pickle.dumps,
    "npy": lambda bomb: by_numpy(bomb, np.save),
    "npz": lambda bomb: by_numpy(bomb, np.savez),
    "torch": lambda bomb: by_torch(bomb, True),
    "old_torch": lambda bomb: by_torch(bomb, False),
    "parquet": by_arrow,
    "ray": by_ray,
}


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    return tmp_path / "it ran"


@pytest.fixture(params=BOMBS)
def content(request: pytest.FixtureRequest, marker: Path) -> bytes:
    return BOMBS[request.param](Bomb(marker))


@pytest.mark.parametrize("kind", ["pickle", "npy", "torch", "old_torch", "ray"])
def test_the_bombs_are_live(kind: str, marker: Path) -> None:
    content = io.BytesIO(BOMBS[kind](Bomb(marker)))
    if kind == "pickle":
        pickle.load(content)
    elif kind == "npy":
        np.load(content, allow_pickle=True)
    elif kind == "ray":
        parquet.read_table(content).to_pylist()
    else:
        torch.load(content, weights_only=False)
    assert marker.exists()


def omar(folder: Path, content: bytes) -> None:
    for stem in ("obs", "acs", "rews", "next_obs"):
        (folder / f"{stem}_0.npy").write_bytes(content)
    from_omar(folder, 1, environment="mpe/spread")


def data_set(folder: Path, content: bytes) -> None:
    """As a whole, and as it is streamed."""
    (folder / "steps").mkdir()
    (folder / "steps" / "part-0.parquet").write_bytes(content)
    returns = {"mean": 0.0, "std": 0.0, "edges": [0, 1], "counts": [1]}
    counts = {"episodes": 1, "transitions": 1, "sha256": "", "returns": returns}
    (folder / "card.json").write_text(json.dumps({"environment": "x", "agents": ["a"], **counts}))
    with suppress(Exception):
        OfflineDataset.read(folder)
    head_of(folder, 1)


def texts(suffix: str) -> Callable[[Path, bytes], None]:
    def read(folder: Path, content: bytes) -> None:
        (folder / f"text{suffix}").write_bytes(content)
        load_corpus(str(folder), "bytes", folder / "cache")

    return read


def tokenizer(folder: Path, content: bytes) -> None:
    (folder / "text.txt").write_text("a text " * 2_000)
    (folder / "tokenizer.json").write_bytes(content)
    load_corpus(str(folder / "text.txt"), str(folder / "tokenizer.json"), folder / "cache")


def pictures(folder: Path, content: bytes) -> None:
    for label in ("a", "b"):
        (folder / label).mkdir()
        for number in range(4):
            (folder / label / f"{number}.png").write_bytes(content)
    load_images(str(folder), cache=folder / "cache", size=8, label_noise=0.0, seed=0)


def pictures_in(suffix: str) -> Callable[[Path, bytes], None]:
    """Columns as they are, and beside pictures, as their labels and within their cells."""

    def read(folder: Path, content: bytes) -> None:
        file = folder / f"pictures{suffix}"
        file.write_bytes(content)
        with suppress(Exception):
            load_images(str(file), cache=folder / "cache", size=8, label_noise=0.0, seed=0)
        bomb = parquet.read_table(io.BytesIO(content))["label"].combine_chunks()
        picture = pa.array([b"x"])
        cell = pa.StructArray.from_arrays([picture, bomb], ["bytes", "path"])
        for image, label in ((picture, bomb), (cell, pa.array([1]))):
            table = pa.table([image, label], names=["image", "label"])
            if suffix == ".parquet":
                parquet.write_table(table, file)
            else:
                with pa.ipc.new_stream(str(file), table.schema) as stream:
                    stream.write_table(table)
            with suppress(Exception):
                load_images(str(file), cache=folder / "cache", size=8, label_noise=0.0, seed=0)

    return read


def events(path: Path) -> None:
    read_events(path, Layout("slot", "queue", "arrivals"))


def clip(folder: Path, content: bytes) -> None:
    (folder / "config.json").write_text(CLIPConfig().to_json_string())
    (folder / "pytorch_model.bin").write_bytes(content)
    clip_score(str(folder), torch.zeros(1, 3, 8, 8), ["x"])


def one(name: str, read: Callable[[Path], Any]) -> Callable[[Path, bytes], None]:
    def with_file(folder: Path, content: bytes) -> None:
        (folder / name).write_bytes(content)
        read(folder / name)

    return with_file


def planning(folder: Path, content: bytes) -> None:
    """Plan and values in turn, beside RLlib's own files, which are not read."""
    for name in ("class_and_ctor_args.pkl", "algorithm_state.pkl", PLAN_ARRAYS):
        (folder / name).write_bytes(content)
    for values in (b'{"plan": {}, "training_iteration": 1}', content):
        (folder / PLAN_VALUES).write_bytes(values)
        with suppress(Exception):
            PlanningAlgorithm.restore_from_path(
                PlanningAlgorithm.__new__(PlanningAlgorithm), folder
            )


def diffusion(folder: Path, content: bytes) -> None:
    for counters in (b"{}", content):
        (folder / "state.json").write_bytes(counters)
        (folder / "state.safetensors").write_bytes(content)
        with suppress(Exception):
            LCMLoop.load(LCMLoop.__new__(LCMLoop), folder)


def pipeline(folder: Path, content: bytes) -> None:
    """One part after the other, as a pickle alone and under the name of safe weights."""
    for part in ("unet", "vae", "text_encoder"):
        copy = folder / part
        shutil.copytree(EMBEDDED_FOLDER, copy)
        (weights,) = (copy / part).glob("*.safetensors")
        weights.unlink()
        (copy / part / "unread.safetensors").write_bytes(content)
        weights.with_suffix(".bin").write_bytes(content)
        (copy / part / "pytorch_model.bin").write_bytes(content)
        for _ in range(2):
            with suppress(Exception):
                Teacher(copy, torch.device("cpu"), torch.float32)
            weights.write_bytes(content)


READERS: dict[str, Callable[[Path, bytes], None]] = {
    "mdp.npz": one("world.npz", lambda path: read_mdp(str(path))),
    "mdp.json": one("world.json", lambda path: read_mdp(str(path))),
    "pomdp": one("world.pomdp", read_pomdp),
    "scenario": one("world.yaml", read_scenario),
    "trace.csv": one("trace.csv", read_trace),
    "trace.parquet": one("trace.parquet", read_trace),
    "events.parquet": one("events.parquet", events),
    "pictures.parquet": pictures_in(".parquet"),
    "pictures.arrow": pictures_in(".arrow"),
    "omar": omar,
    "data_set": data_set,
    "card": one("card.json", lambda path: OfflineDataset.read(path.parent)),
    "texts.txt": texts(".txt"),
    "texts.parquet": texts(".parquet"),
    "texts.arrow": texts(".arrow"),
    "tokenizer": tokenizer,
    "pictures": pictures,
    "clip": clip,
    "inception": one("i.pt", lambda path: inception_features(str(path), torch.zeros(1, 3, 8, 8))),
    "planning": planning,
    "diffusion": diffusion,
    "pipeline": pipeline,
    "record": one("lcm.json", lambda path: Record.read(path.parent)),
    "lora.bin": one("lora.bin", lambda path: parse_lora(str(path))),
}


@pytest.mark.parametrize("reader", READERS)
def test_a_crafted_pickle_never_runs(
    reader: str, content: bytes, marker: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    with suppress(Exception):  # refused in whatever way, or read as what it is not
        READERS[reader](folder, content)
    assert not marker.exists()


def test_columns_of_pickles_are_refused_before_ray_data_makes_values(
    marker: Path, tmp_path: Path
) -> None:
    bomb = parquet.read_table(io.BytesIO(by_ray(Bomb(marker))))["label"].combine_chunks()
    picture, label = pa.array([b"x"]), pa.array(["a"])
    cell = pa.StructArray.from_arrays([picture, bomb], ["bytes", "path"])
    for columns in ([picture, bomb], [cell, label]):
        file = tmp_path / "pictures.parquet"
        parquet.write_table(pa.table(columns, names=["image", "label"]), file)
        with pytest.raises(ValueError, match=r"has no column '(image|label)'"):
            check_encoded(file, 8, USUAL)
        with pytest.raises(ValueError, match=r"has no column '(image|label)'"):
            check_source(file, "image", "label")
    assert not marker.exists()


def test_a_crafted_pickle_in_a_lora_or_a_student_never_runs(marker: Path, tmp_path: Path) -> None:
    content = by_torch(Bomb(marker), True)
    lora = tmp_path / LORA_FILE
    lora.write_bytes(content)
    unet = tmp_path / "unet_target"
    shutil.copytree(EMBEDDED_FOLDER / "unet", unet)
    (unet / "diffusion_pytorch_model.safetensors").unlink()
    (unet / "diffusion_pytorch_model.bin").write_bytes(content)
    base = PipelineFolder(EMBEDDED_FOLDER)
    told = {"solver_steps": 50, "timestep_scaling": 10.0, "guidance_scale": 1.0}
    full = Record(teacher="", mode="full", **told)
    for source, loras in ((Source(base, None, None), [lora]), (Source(base, tmp_path, full), [])):
        with pytest.raises(ValueError, match="does not fit"):
            build_pipeline(source, [(each, 1.0) for each in loras])
        assert not marker.exists()


def test_a_crafted_pickle_in_a_training_checkpoint_never_runs(marker: Path, tmp_path: Path) -> None:
    sizes = {"num_hidden_layers": 1, "hidden_size": 8, "intermediate_size": 8}
    config = QSRConfig(steps=2, report_every=2, workers_per_process=2, batch=5, sizes=sizes)
    loop = QSRLoop(config)
    saved = tmp_path / "saved"
    saved.mkdir()
    loop.save(saved)
    files = [path.relative_to(saved) for path in saved.rglob("*") if path.is_file()]
    assert len(files) >= 3
    for kind, craft in BOMBS.items():
        for file in files:
            folder = tmp_path / kind / file.name
            shutil.copytree(saved, folder)
            (folder / file).write_bytes(craft(Bomb(marker)))
            with suppress(Exception):
                loop.load(folder)
            assert not marker.exists(), f"{kind} in {file}"
