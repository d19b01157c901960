"""Whatever a pipeline's folder or a student's record holds is taken, or refused in one sentence.

600 cases in 3 processor seconds.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fuzzing import VALUES, bounded_memory, cases, ends_well
from hypothesis import given
from hypothesis import strategies as st

from tenfold.algorithms.lcm.commands import find_source, parse_lora
from tenfold.algorithms.lcm.folder import EMBEDDED_FOLDER, RECORD, PipelineFolder


@pytest.fixture(autouse=True, scope="module")
def bounded() -> Iterator[None]:
    with bounded_memory():
        yield


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded pipeline's JSON files, with empty weights."""
    folder = tmp_path_factory.mktemp("fuzz") / "pipeline"
    shutil.copytree(EMBEDDED_FOLDER, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    for part in ("unet", "vae"):
        (folder / part / "x.safetensors").touch()
    return folder


WHOLE = ("", "{", "[]", "null", "\ufeff{}", "[" * 100_000, "1" * 10_000, '"\\ud800"', "{}{}")
FILES = ("model_index.json", "unet/config.json", "vae/config.json")
KEYS = (
    *("_class_name", "unet", "safety_checker", "x", "block_out_channels", "cross_attention_dim"),
    "sample_size",
)


def examine(folder: Path) -> None:
    """All that is said of a pipeline before a weight is loaded."""
    found = PipelineFolder(folder)
    assert found.width >= 1
    assert found.resolution >= 1
    assert found.is_xl in (True, False)


@cases(400)
@given(
    name=st.sampled_from(FILES),
    key=st.sampled_from(KEYS),
    value=VALUES | st.just(["os", "system"]),
    text=st.sampled_from([None, None, None, *WHOLE]),
)
def test_any_pipeline_folder(
    pipeline: Path, name: str, key: str, value: Any, text: str | None
) -> None:
    file = pipeline / name
    right = json.loads((EMBEDDED_FOLDER / name).read_text())
    file.write_text(json.dumps({**right, key: value}) if text is None else text, encoding="utf-8")
    try:
        ends_well(lambda: examine(pipeline))
    finally:
        file.write_text(json.dumps(right))


@pytest.mark.parametrize("library", ["os", "evil", "diffusers.evil", 3, ["diffusers"]])
def test_parts_of_other_libraries_are_not_imported(pipeline: Path, library: Any) -> None:
    file = pipeline / "model_index.json"
    right = json.loads(file.read_text())
    file.write_text(json.dumps({**right, "tokenizer": [library, "system"]}))
    with pytest.raises(ValueError, match="only parts of diffusers and transformers"):
        PipelineFolder(pipeline)
    file.write_text(json.dumps(right))


RIGHT = {
    "teacher": str(EMBEDDED_FOLDER),
    "mode": "lora",
    "solver_steps": 50,
    "timestep_scaling": 10.0,
    "guidance_scale": 1.0,
}


@cases(200)
@given(
    key=st.sampled_from([*RIGHT, "x"]),
    value=VALUES,
    text=st.sampled_from([None, None, None, *WHOLE]),
)
def test_any_record_of_a_student(pipeline: Path, key: str, value: Any, text: str | None) -> None:
    folder = pipeline.parent / "student"
    folder.mkdir(exist_ok=True)
    text = json.dumps({**RIGHT, key: value}) if text is None else text
    (folder / RECORD).write_text(text, encoding="utf-8")
    ends_well(lambda: find_source(str(folder)))


@pytest.mark.parametrize(
    "text", ["x.bin", "x.safetensors=nan", "x.safetensors=", "a" * 300, "\x00"]
)
def test_any_lora_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("x.bin", "x.safetensors"):
        (tmp_path / name).touch()
    assert ends_well(lambda: parse_lora(text)) == text.endswith("=")
