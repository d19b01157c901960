"""Makes the embedded default of `lcm`: judge, autoencoder and teacher, in a pipeline's folder.

python -m experiments.lcm.teacher                       what stands in algorithms/lcm/scenes_teacher
python -m experiments.lcm.teacher --style tilted --base algorithms/lcm/scenes_teacher \\
    --out runs/lcm-tilted         the same, fine-tuned on another style, decoder and UNet
python -m experiments.lcm.teacher --style tilted --base algorithms/lcm/scenes_teacher \\
    --rank 16 --out runs/lcm-tilted-lora    a LoRA of that style instead

It goes on where it was interrupted. About twenty minutes of one core.
"""

import argparse
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline
from safetensors.torch import load_file, save_file

from tenfold.algorithms.lcm.config import LORA_TARGETS
from tenfold.algorithms.lcm.embedded import make_pipeline
from tenfold.algorithms.lcm.export import write_lora
from tenfold.algorithms.lcm.folder import EMBEDDED_FOLDER
from tenfold.algorithms.lcm.judge import (
    FILE,
    as_tensor,
    caption_accuracy,
    load_judge,
    save_judge,
    train_judge,
)
from tenfold.algorithms.lcm.pretraining import (
    AUTOENCODER,
    TEACHER,
    Stage,
    train_autoencoder,
    train_teacher,
)
from tenfold.algorithms.lcm.student import ADAPTER, lora_config
from tenfold.envs.data.scenes import STYLES, draw_scenes

DRAWINGS = 20_000
FINE_TUNING = Stage(steps=400, batch=64, lr=5e-4)
DECODER = Stage(steps=600, batch=32, lr=1e-3)
LORA = Stage(steps=400, batch=64, lr=1e-3)


def reporter(name: str, every: int = 50) -> Callable[[int, float], None]:
    """Prints the mean loss now and then, with the time that the process has used."""
    losses: list[float] = []

    def report(step: int, loss: float) -> None:
        losses.append(loss)
        if (step + 1) % every == 0:
            used = time.process_time()
            print(f"{name} {step + 1}: {np.mean(losses[-every:]):.4f}, {used:.0f} s", flush=True)

    return report


def fine_tune_decoder(vae: AutoencoderKL, images: torch.Tensor, seed: int, work: Path) -> None:
    """Teach a decoder another style; latents and their scale stay those of the base's LoRAs."""
    scale = vae.config.scaling_factor
    vae.encoder.requires_grad_(False)
    if vae.quant_conv is not None:
        vae.quant_conv.requires_grad_(False)
    train_autoencoder(vae, images, DECODER, seed, work / "decoder", reporter("decoder", 100))
    vae.register_to_config(scaling_factor=scale)


def main() -> None:
    """Train what is not trained yet, judge it and write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--style", choices=STYLES, default="plain")
    parser.add_argument("--base", type=Path, help="pipeline to fine-tune; from scratch without")
    parser.add_argument("--rank", type=int, default=0, help="of a LoRA of the style, with --base")
    parser.add_argument("--out", type=Path, default=EMBEDDED_FOLDER)
    parser.add_argument("--work", type=Path, default=Path("runs/lcm-teacher"))
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if given.rank and given.base is None:
        parser.error("--rank needs --base: the pipeline that the LoRA is for.")
    work = given.work / given.style
    work.mkdir(parents=True, exist_ok=True)
    scenes = draw_scenes(DRAWINGS, given.seed, style=given.style)
    images = as_tensor(scenes.images)
    if not (work / FILE).exists():
        judge = train_judge(given.style, given.seed, progress=reporter("judge", 100))
        save_judge(judge, given.style, work)
    judge, _ = load_judge(work)
    held_out = draw_scenes(2_000, given.seed + 1_000, style=given.style)
    real = as_tensor(held_out.images)
    seen = caption_accuracy(judge.attributes(real), held_out.attributes)
    print(f"judge on drawings: {seen['accuracy']:.4f}", flush=True)

    if given.base is None:
        pipeline, stage = make_pipeline(given.seed), TEACHER
        if not (work / "vae.safetensors").exists():
            train_autoencoder(
                pipeline.vae,
                images,
                AUTOENCODER,
                given.seed,
                work / "autoencoder",
                reporter("autoencoder"),
            )
            save_file(pipeline.vae.state_dict(), work / "vae.safetensors")
            (work / "scaling").write_text(str(pipeline.vae.config.scaling_factor))
        pipeline.vae.load_state_dict(load_file(work / "vae.safetensors"))
        pipeline.vae.register_to_config(scaling_factor=float((work / "scaling").read_text()))
        pipeline.vae.eval()
    else:
        pipeline = StableDiffusionPipeline.from_pretrained(
            given.base, torch_dtype=torch.float32, local_files_only=True, use_safetensors=True
        )
        stage = FINE_TUNING
    if given.base is not None and not given.rank:
        fine_tune_decoder(pipeline.vae, images, given.seed, work)
    if given.rank:
        stage = LORA
        pipeline.text_encoder.requires_grad_(False)
        pipeline.unet.requires_grad_(False)
        adapter = lora_config(given.rank, given.rank, 0.0, LORA_TARGETS)
        pipeline.unet.add_adapter(adapter, ADAPTER)
    with torch.no_grad():
        mean = pipeline.vae.encode(real).latent_dist.mean
        back = pipeline.vae.decode(mean).sample.clamp(-1, 1)
    decibels = -10 * torch.log10(((back - real) / 2).square().mean())
    kept = caption_accuracy(judge.attributes(back), held_out.attributes)
    print(f"autoencoder: {decibels:.1f} dB, {kept['accuracy']:.4f} kept", flush=True)

    train_teacher(
        pipeline,
        images,
        scenes.captions,
        stage,
        given.seed,
        work / ("lora" if given.rank else "teacher"),
        reporter("lora" if given.rank else "teacher"),
    )
    shutil.rmtree(given.out, ignore_errors=True)
    if given.rank:
        write_lora(pipeline.unet, type(pipeline), given.out)
        return
    pipeline.to(torch.float16).save_pretrained(given.out, safe_serialization=True)
    shutil.copy(work / FILE, given.out)


if __name__ == "__main__":
    main()
