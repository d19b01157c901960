"""LCM on tiny random Stable Diffusion pipelines: what learns, resumes and loads elsewhere.

About 40 s on one core.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import LCMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel

from tenfold.algorithms.common.consistency import SolverGrid
from tenfold.algorithms.lcm import METHOD
from tenfold.algorithms.lcm.config import LORA_TARGETS, LCMConfig
from tenfold.algorithms.lcm.loop import LCMLoop
from tenfold.algorithms.lcm.sampling import sample
from tenfold.algorithms.lcm.student import (
    conditioned_copy,
    guidance_embedding,
    lora_config,
)
from tenfold.algorithms.lcm.teacher import Teacher
from tenfold.platform.configuration import build_config
from tenfold.platform.errors import InputError

from .lcm_pipelines import SD15, SDXL, tiny_sd, tiny_sdxl

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")
PROMPTS = ["a red ring left of a blue square", "a white cross above a green circle"]
SMALL: dict[str, Any] = {
    "steps": 4,
    "report_every": 2,
    "rank": 4,
    "batch": 2,
    "images": 8,
    "resolution": 16,
    "solver_steps": 10,
    "sample_steps": [1, 2],
    "ode_images": 2,
    "judge_images": 4,
    "lr": 0.02,
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("pipelines")
    return {
        "sd": tiny_sd(root / "sd"),
        "sd_v": tiny_sd(root / "sd_v", "v_prediction"),
        "sdxl": tiny_sdxl(root / "sdxl"),
    }


@pytest.fixture(autouse=True)
def _runs(runs: Path) -> None:
    """Each test has a folder of runs of its own."""


def make_loop(teacher: Path, **changes: Any) -> LCMLoop:
    config = {**SMALL, "teacher": str(teacher), **changes}
    variant = config.pop("variant", "lcm_lora")
    return LCMLoop(build_config(METHOD, "scenes", variant, config, seed=0))


def plain_metrics(metrics: dict[str, float]) -> dict[str, float]:
    return {k: v for k, v in metrics.items() if not k.endswith(("_seconds", "_per_second"))}


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("sd", {}),
        ("sd_v", {"loss": "l2", "accumulate": 2, "empty_prompt_share": 0.5}),
        ("sdxl", {"cache_latents": False, "center_crop": False, "flip": True}),
        ("sd", {"variant": "full"}),
        ("sdxl", {"variant": "full", "gradient_checkpointing": True}),
        ("sd", {"variant": "lcf"}),
        ("sd", {"precision": "bf16"}),
        ("sd", {"target": "student", "ema_decay": 0.0}),
    ],
    ids=["lora", "v", "xl", "full", "xl_full", "lcf", "bf16", "self"],
)
def test_a_resumed_loop_ends_where_the_straight_one_does(
    folders: dict[str, Path], tmp_path: Path, kind: str, changes: dict[str, Any]
) -> None:
    straight = make_loop(folders[kind], **changes)
    before = {name: p.detach().clone() for name, p in straight.student.parameters.items()}
    straight.advance()
    straight.save(tmp_path)
    expected = straight.advance()
    resumed = make_loop(folders[kind], **changes)
    resumed.load(tmp_path)
    metrics = resumed.advance()
    assert plain_metrics(metrics) == plain_metrics(expected)
    for name, p in straight.student.parameters.items():
        assert torch.equal(p, resumed.student.parameters[name])
        assert p.dtype == torch.float32
    assert any(not torch.equal(p, before[name]) for name, p in straight.student.parameters.items())
    assert np.isfinite(metrics["ode_distance"])


def test_gradients_reach_the_lora_only_and_the_teacher_stays_as_it_was(
    folders: dict[str, Path],
) -> None:
    loop = make_loop(folders["sd"])
    unet = loop.student.unet
    frozen = {n: p.detach().clone() for n, p in unet.named_parameters() if not p.requires_grad}
    assert all("lora_" in name for name in loop.student.parameters)
    condition = loop.teacher.condition(PROMPTS, torch.zeros(2, 6))
    z, t = torch.randn(2, 4, 8, 8), torch.tensor([999, 499])
    before = loop.student.teacher(z, t, condition)
    loop.train(2)
    torch.testing.assert_close(loop.student.teacher(z, t, condition), before, rtol=0, atol=0)
    for name, p in unet.named_parameters():
        if name in frozen:
            assert torch.equal(p, frozen[name])
            assert p.grad is None
    moved = (loop.student(z, t, condition, torch.zeros(2)) - before).abs().max()
    assert float(moved.detach()) > 1e-4


@pytest.mark.parametrize(("config", "count"), [(SD15, 67_252_224), (SDXL, 196_751_360)])
def test_rank_64_has_the_parameters_of_the_scripts(config: dict[str, Any], count: int) -> None:
    with torch.device("meta"):
        unet = UNet2DConditionModel(**config)
        unet.requires_grad_(False)
        unet.add_adapter(lora_config(64, 64.0, 0.0, LORA_TARGETS))
    assert sum(p.numel() for p in unet.parameters() if p.requires_grad) == count


def test_the_embedding_of_w_is_the_pipelines(folders: dict[str, Path]) -> None:
    pipeline = Teacher(folders["sd"], torch.device("cpu"), torch.float32).pipeline
    w = torch.tensor([0.0, 3.0, 6.5])
    for dim in (16, 17, 256):
        theirs = pipeline.get_guidance_scale_embedding(w, embedding_dim=dim)
        torch.testing.assert_close(guidance_embedding(w, dim), theirs)


def test_a_copy_with_a_zero_embedding_is_the_teacher(folders: dict[str, Path]) -> None:
    unet = UNet2DConditionModel.from_pretrained(folders["sd"], subfolder="unet")
    z, t, prompt = torch.randn(2, 4, 8, 8), torch.tensor([3, 900]), torch.randn(2, 12, 16)
    told = {"timestep_cond": guidance_embedding(torch.tensor([2.0, 9.0]), 32)}
    with torch.no_grad():
        said = unet(z, t, prompt).sample
        copy = conditioned_copy(unet, 32, zero=True)
        torch.testing.assert_close(copy(z, t, prompt, **told).sample, said, rtol=0, atol=0)
        other = conditioned_copy(unet, 32, zero=False)
        assert (other(z, t, prompt, **told).sample - said).abs().max() > 1e-3


def test_the_empty_prompt_of_sdxl_is_zero_and_that_of_sd_is_encoded(
    folders: dict[str, Path],
) -> None:
    for kind, zero in (("sd", False), ("sdxl", True)):
        teacher = Teacher(folders[kind], torch.device("cpu"), torch.float32)
        sizes = torch.tensor([[20.0, 30.0, 1.0, 2.0, 16.0, 16.0]]).expand(2, 6)
        condition = teacher.condition(PROMPTS, sizes)
        empty = teacher.unconditional(condition)
        assert empty.embeddings.shape == condition.embeddings.shape
        assert bool((empty.embeddings == 0).all()) is zero
        if zero:
            assert empty.time_ids is not None
            assert torch.equal(empty.time_ids, sizes)


# Runs in a process that knows diffusers only; writes the images of each job as a .npy file.
ELSEWHERE = """
import json, sys
import numpy as np, torch
from diffusers import (LCMScheduler, StableDiffusionPipeline, StableDiffusionXLPipeline,
                       UNet2DConditionModel)
for job in json.loads(sys.argv[1]):
    pipe = globals()[job["class"]].from_pretrained(job["base"])
    pipe.scheduler = LCMScheduler.from_config(pipe.scheduler.config, original_inference_steps=10)
    if job["mode"] == "full":
        pipe.unet = UNet2DConditionModel.from_pretrained(job["folder"] + "/unet_target")
    else:
        pipe.load_lora_weights(job["folder"], weight_name=job["file"], adapter_name="lcm")
        if job["fuse"]:
            pipe.fuse_lora()
    draws = [torch.Generator().manual_seed(7 * 1_000_003 + k) for k in range(2)]
    images = pipe(job["prompts"], num_inference_steps=2, guidance_scale=job["scale"],
                  generator=draws, output_type="np", height=16, width=16).images
    np.save(job["out"], images)
assert not any(name.startswith("tenfold") for name in sys.modules)
"""


def here(loop: LCMLoop) -> Tensor:
    with loop._sampling() as (pipeline, scale):
        return sample(pipeline, PROMPTS, 2, scale, 7, size=16)


def test_plain_diffusers_loads_what_is_saved(folders: dict[str, Path], tmp_path: Path) -> None:
    lora, kohya = "pytorch_lora_weights.safetensors", "lora_kohya.safetensors"
    jobs, expected = [], []
    for kind, variant in (("sd", "lcm_lora"), ("sdxl", "lcm_lora"), ("sd", "full")):
        loop = make_loop(folders[kind], variant=variant, alpha=12.0, kohya=True)
        loop.advance()
        folder = tmp_path / f"{kind}_{variant}"
        folder.mkdir()
        loop.save(folder)
        ours = here(loop)
        files = {path.name for path in (folder / "student").iterdir()}
        assert files >= {"README.md", "lcm.json", "grid_1_steps.png", "grid_2_steps.png"}
        if variant == "lcm_lora":
            assert files >= {lora, kohya}
            loop.teacher.pipeline.unet.disable_adapters()
            base = sample(loop.teacher.pipeline, PROMPTS, 2, 1.0, 7, size=16)
            assert (base - ours).abs().max() > 1e-2
        ways = [("", False)] if variant == "full" else [(lora, False), (lora, True), (kohya, False)]
        for file, fuse in ways:
            job = {
                "class": type(loop.teacher.pipeline).__name__,
                "base": str(loop.teacher.folder.path),
                "folder": str(folder / "student"),
                "file": file,
                "fuse": fuse,
                "mode": loop.config.mode,
                "scale": 1 + loop.config.w if loop.config.time_cond_proj_dim else 1.0,
                "prompts": PROMPTS,
                "out": str(tmp_path / f"{len(jobs)}.npy"),
            }
            jobs.append(job)
            expected.append((ours, 1e-5 if fuse else 1e-6))
    command = [sys.executable, "-c", ELSEWHERE, json.dumps(jobs)]
    subprocess.run(command, check=True, capture_output=True)
    for job, (ours, tolerance) in zip(jobs, expected, strict=True):
        theirs = torch.from_numpy(np.load(job["out"])).permute(0, 3, 1, 2) * 2 - 1
        torch.testing.assert_close(theirs, ours, rtol=0, atol=tolerance)


def test_a_full_student_is_saved_with_its_average_and_its_w(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    loop = make_loop(folders["sd"], variant="full")
    loop.advance()
    loop.save(tmp_path)
    config = json.loads((tmp_path / "student" / "unet_target" / "config.json").read_text())
    assert config["time_cond_proj_dim"] == 256
    student, target = (
        load_file(tmp_path / "student" / name / "diffusion_pytorch_model.safetensors")
        for name in ("unet", "unet_target")
    )
    for name, average in (loop.student.average or {}).items():
        assert torch.equal(target[name], average)
        assert torch.equal(student[name], loop.student.parameters[name])
    assert any(not torch.equal(student[name], target[name]) for name in student)


def test_merged_and_unmerged_lora_give_the_same_images_beside_a_style(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    for name, seed in (("lcm", 0), ("style", 1)):
        loop = make_loop(folders["sd"], lr=0.01 * (1 + seed))
        loop.advance()
        (tmp_path / name).mkdir()
        loop.save(tmp_path / name)
    pipeline = StableDiffusionPipeline.from_pretrained(folders["sd"])
    pipeline.scheduler = LCMScheduler.from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    made = {}
    for name in ("lcm", "style"):
        pipeline.load_lora_weights(tmp_path / name / "student", adapter_name=name)
    for weights in ((1.0, 0.0), (1.0, 0.8)):
        pipeline.set_adapters(["lcm", "style"], list(weights))
        made[weights] = sample(pipeline, PROMPTS, 2, 1.0, 0, size=16)
    pipeline.fuse_lora()
    pipeline.unload_lora_weights()
    merged = sample(pipeline, PROMPTS, 2, 1.0, 0, size=16)
    torch.testing.assert_close(merged, made[1.0, 0.8], rtol=0, atol=1e-5)
    assert (made[1.0, 0.8] - made[1.0, 0.0]).abs().max() > 1e-3


def test_an_image_depends_on_its_place_and_not_on_the_batch(folders: dict[str, Path]) -> None:
    loop = make_loop(folders["sd"])
    with loop._sampling() as (pipeline, scale):
        at_once = sample(pipeline, PROMPTS * 2, 2, scale, 3)
        in_parts = sample(pipeline, PROMPTS * 2, 2, scale, 3, batch=3)
    torch.testing.assert_close(at_once, in_parts, rtol=0, atol=1e-5)
    assert (at_once[0] - at_once[2]).abs().max() > 1e-3


class MeanColour(torch.nn.Module):
    """Stands for Inception: called as it is, its features are mean colours."""

    def forward(self, pixels: Tensor, return_features: bool = False) -> Tensor:
        assert return_features
        return pixels.mean(dim=[2, 3]) / 255


def test_local_weights_of_clip_and_inception_give_clip_score_and_fid(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    tokenizer = StableDiffusionPipeline.from_pretrained(folders["sd"]).tokenizer
    text = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1}
    text |= {"num_attention_heads": 2, "vocab_size": len(tokenizer)}
    text |= {"eos_token_id": tokenizer.eos_token_id, "max_position_embeddings": 12}
    looks = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1}
    looks |= {"num_attention_heads": 2, "image_size": 16, "patch_size": 8}
    config = CLIPConfig(text_config=text, vision_config=looks, projection_dim=8)
    clip = tmp_path / "clip"
    CLIPModel(config).save_pretrained(clip)
    tokenizer.save_pretrained(clip)
    size = {"height": 16, "width": 16}
    CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size=size).save_pretrained(clip)
    inception = str(tmp_path / "inception.pt")
    torch.jit.save(torch.jit.script(MeanColour()), inception)
    loop = make_loop(folders["sd"], clip_model=str(clip), inception=inception)
    metrics = loop.evaluate()
    assert -100 <= metrics["clip_score"] <= 100
    real = np.stack([np.asarray(loop.data.image(k).resize((16, 16))) for k in range(4)]) / 255
    assert metrics["fid"] > 0
    with loop._sampling() as (pipeline, scale):
        captions = [loop.data.caption(k) for k in range(4)]
        made = sample(pipeline, captions, 2, scale, 0, size=16)
    means = torch.from_numpy(real.mean(axis=(0, 1, 2)))
    away = ((made.clamp(-1, 1) + 1) / 2).mean(dim=(0, 2, 3)) - means
    assert metrics["fid"] >= 0.9 * float(away.square().sum())


def test_the_config_says_which_value_is_wrong(folders: dict[str, Path], tmp_path: Path) -> None:
    sd = str(folders["sd"])
    (tmp_path / "model_index.json").write_text('{"_class_name": "FluxPipeline"}')
    (tmp_path / "images").mkdir()
    Image.new("RGB", (16, 16)).save(tmp_path / "images" / "a.png")
    long = "a red ring left of a blue square " * 3
    mistakes: list[tuple[dict[str, Any], str]] = [
        ({"teacher": "nowhere"}, "'nowhere' is no pipeline's folder"),
        ({"teacher": str(tmp_path)}, "holds a FluxPipeline"),
        ({"teacher": sd, "rank": 64}, "Bad value 64 for 'rank': .* 16 wide"),
        ({"teacher": sd, "resolution": 17}, "Bad value 17 for 'resolution': .* multiple of 2"),
        ({"teacher": sd, "prompts": [long]}, "has 26 tokens, .* takes 12: shorten it"),
        ({"sample_steps": [0]}, "Bad value 0 for 'sample_steps': give from 1"),
        ({"sample_steps": [51]}, "Bad value 51 for 'sample_steps'"),
        ({"w_min": 9.0}, "Bad value 9.0 for 'w_min': give at most 'w_max'"),
        ({"ema_decay": 0.0}, "'average' for 'target'"),
        ({"time_cond_proj_dim": 64}, "64 for 'time_cond_proj_dim'"),
        ({"flip": True}, "true for 'cache_latents'"),
        ({"optimizer": "adamw8bit"}, "bitsandbytes is not installed"),
        ({"clip_model": "nowhere"}, "'nowhere' for 'clip_model'"),
        ({"inception": "nowhere.pt"}, "'nowhere.pt' for 'inception'"),
        ({"steps": 0}, "0 for .*'?steps'?"),
    ]
    for changes, sentence in mistakes:
        values = {"teacher": sd, "rank": 4, **changes}
        with pytest.raises(InputError, match=sentence):
            build_config(METHOD, "scenes", "lcm_lora", values, seed=0)
    for task, sentence in (
        ("nowhere.parquet", "'nowhere.parquet' does not exist"),
        (str(tmp_path / "images"), "have no captions"),
    ):
        with pytest.raises(InputError, match=sentence):
            build_config(METHOD, task, "lcm_lora", {"teacher": sd, "rank": 4}, seed=0)


def test_the_grid_of_training_is_the_grid_of_sampling() -> None:
    config = LCMConfig(solver_steps=20)
    assert config.grid == SolverGrid(20)
    assert config.judged_steps == 4
