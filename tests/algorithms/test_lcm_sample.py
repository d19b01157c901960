"""`tenfold sample`: from a pipeline, a student and a checkpoint; what it refuses. About 15 s."""

import io
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from conftest import invoke
from diffusers import LCMScheduler, StableDiffusionPipeline
from PIL import Image

from tenfold.algorithms.lcm import METHOD
from tenfold.algorithms.lcm.commands import find_source
from tenfold.algorithms.lcm.loop import LCM, LCMLoop
from tenfold.platform.configuration import build_config

from .lcm_pipelines import tiny_sd, tiny_sdxl

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")
PROMPT = "a red ring left of a blue square"
SMALL = {
    "steps": 2,
    "report_every": 2,
    "rank": 4,
    "batch": 2,
    "images": 4,
    "solver_steps": 10,
    "sample_steps": [1],
    "ode_images": 1,
    "lr": 0.02,
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a LoRA of a tiny pipeline."""
    root = tmp_path_factory.mktemp("sampled")
    patch = pytest.MonkeyPatch()
    patch.setenv("TENFOLD_RUNS", str(root / "runs"))
    config = {**SMALL, "teacher": str(tiny_sd(root / "sd"))}
    loop = LCMLoop(build_config(METHOD, "scenes", "lcm_lora", config, seed=0))
    loop.advance()
    (root / "checkpoint_000001").mkdir()
    loop.save(root / "checkpoint_000001")
    patch.undo()
    return root / "checkpoint_000001"


def images(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(folder.glob("image_*.png"))]


def test_a_seed_gives_the_same_files_from_checkpoint_and_student(
    checkpoint: Path, tmp_path: Path
) -> None:
    for name, source in (("a", checkpoint), ("b", checkpoint / "student")):
        done = invoke(
            *("sample", source, "--prompt", PROMPT, "--prompt", "a green cross", "--steps", 2),
            *("--count", 3, "--seed", 5, "--out", tmp_path / name),
        )
        assert done.exit_code == 0, done.output
    assert images(tmp_path / "a") == images(tmp_path / "b")
    assert len(set(images(tmp_path / "a"))) == 6
    with Image.open(tmp_path / "a" / "grid.png") as grid:
        assert grid.size == (3 * 96, 2 * 96)


def test_a_further_lora_changes_the_images_by_its_weight(checkpoint: Path, tmp_path: Path) -> None:
    style = checkpoint / "student" / "pytorch_lora_weights.safetensors"
    for name, weight in (("none", 0), ("half", 0.5), ("base", None)):
        further = [] if weight is None else ["--lora", f"{style}={weight}"]
        done = invoke(
            *("sample", checkpoint, "--prompt", PROMPT, "--steps", 2, "--count", 1),
            *(*further, "--out", tmp_path / name),
        )
        assert done.exit_code == 0, done.output
    assert images(tmp_path / "none") == images(tmp_path / "base")
    assert images(tmp_path / "half") != images(tmp_path / "base")


def test_a_pipeline_is_sampled_as_it_is(checkpoint: Path, tmp_path: Path) -> None:
    base = find_source(str(checkpoint)).base.path
    done = invoke(
        "sample", base, "--prompt", PROMPT, "--steps", 2, "--count", 1, "--out", tmp_path / "out"
    )
    assert done.exit_code == 0, done.output
    assert len(images(tmp_path / "out")) == 1


def test_a_served_student_draws_what_plain_diffusers_draws(
    checkpoint: Path, tmp_path: Path
) -> None:
    student = checkpoint / "student"
    mlflow.pyfunc.save_model(tmp_path / "model", **LCM.as_pyfunc(checkpoint))
    model = mlflow.pyfunc.load_model(str(tmp_path / "model"))
    prompts = [PROMPT, "a green cross"]
    served = model.predict(pd.DataFrame({"prompt": prompts}), {"num_inference_steps": 2, "seed": 3})
    plain = StableDiffusionPipeline.from_pretrained(find_source(str(checkpoint)).base.path)
    plain.scheduler = LCMScheduler.from_config(
        plain.scheduler.config, original_inference_steps=10, timestep_scaling=10.0
    )
    plain.load_lora_weights(student)
    draws = torch.Generator().manual_seed(3)
    drawn = plain(prompts, num_inference_steps=2, guidance_scale=1.0, generator=draws).images
    for png, image in zip(served, drawn, strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(png))), np.asarray(image))
    assert served[0] != served[1]


def test_what_cannot_be_done_is_refused_in_one_sentence(
    checkpoint: Path, tmp_path: Path, runs: Path
) -> None:
    xl = tiny_sdxl(tmp_path / "xl")
    lora = checkpoint / "student" / "pytorch_lora_weights.safetensors"
    long = "a red ring left of a blue square " * 2
    for arguments, sentence in (
        ((checkpoint, "--steps", 0), "0 steps and 8 images"),
        ((checkpoint, "--steps", 11), "Bad value 11 for '--steps': .* was distilled on 10"),
        ((checkpoint, "--prompt", long), "has 18 tokens"),
        ((checkpoint, "--lora", "nowhere.safetensors"), "no file 'nowhere.safetensors'"),
        ((checkpoint, "--lora", f"{lora}=much"), "'much' is no number"),
        ((xl, "--lora", f"{lora}=1"), "The LoRA '.*' does not fit '.*xl'"),
        ((tmp_path,), "is no pipeline's folder, since it has no model_index.json"),
        (("0123abc",), "'0123abc' is no checkpoint of lcm: there is no such folder, and no run"),
    ):
        done = invoke("sample", *arguments, "--prompt", PROMPT, "--out", tmp_path / "out")
        with pytest.raises(ValueError, match=sentence):
            raise done.exception or AssertionError(done.output)
        assert not (tmp_path / "out").exists()
