"""Images from a pipeline: a scheduler by name, seeds an image, grids."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    LCMScheduler,
    UniPCMultistepScheduler,
)
from PIL import Image
from torch import Tensor

from tenfold.algorithms.common.consistency import SolverGrid

SOLVERS: Mapping[str, Any] = {
    "ddim": DDIMScheduler,
    "euler": EulerDiscreteScheduler,
    "dpm++": DPMSolverMultistepScheduler,
    "unipc": UniPCMultistepScheduler,
}


def solver(name: str, config: Mapping[str, Any]) -> Any:
    """A solver on the teacher's schedule whose first step is at the noisiest timestep.

    Args:
        name: One of `SOLVERS`.
        config: Of the teacher's scheduler.
    """
    return SOLVERS[name].from_config(config, timestep_spacing="trailing")


def lcm_scheduler(
    config: Mapping[str, Any], grid: SolverGrid, timestep_scaling: float
) -> LCMScheduler:
    """diffusers' scheduler of consistency models, on the grid that a student was trained on."""
    return LCMScheduler.from_config(
        config, original_inference_steps=grid.N, timestep_scaling=timestep_scaling
    )


def evaluations(pipeline: Any, steps: int, guidance_scale: float) -> int:
    """Network evaluations an image: guidance doubles them, unless the UNet is told its strength."""
    doubled = guidance_scale > 1 and pipeline.unet.config.time_cond_proj_dim is None
    return steps * (2 if doubled else 1)


@torch.no_grad()
def sample(
    pipeline: Any,
    prompts: Sequence[str],
    steps: int,
    guidance_scale: float,
    seed: int,
    *,
    batch: int = 128,
    size: int | None = None,
    latent: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Tensor:
    """One image a prompt; image k depends on the seed, k and its prompt only.

    Args:
        pipeline: With the scheduler to use.
        prompts: B texts.
        steps: Of the scheduler.
        guidance_scale: diffusers' 1 + w; 1 is no guidance.
        seed: Of all noise.
        batch: Images at once.
        size: Pixels of a side; the UNet's own when None.
        latent: Give latents instead of images.
        progress: Told how many images are done.

    Returns:
        (B, 3, H, W) in [-1, 1], or latents (B, C, h, w), on the CPU.
    """
    parts: list[Tensor] = []
    start = seed % 2**40 * 1_000_003  # generators take 64 bits
    for first in range(0, len(prompts), batch):
        some = list(prompts[first : first + batch])
        draws = [torch.Generator().manual_seed(start + first + k) for k in range(len(some))]
        made = pipeline(
            some,
            num_inference_steps=steps,
            guidance_scale=guidance_scale,
            generator=draws,
            height=size,
            width=size,
            output_type="latent",
        ).images
        parts.append((made if latent else decode(pipeline.vae, made)).float().cpu())
        if progress is not None:
            progress(len(some))
    return torch.cat(parts)


def decode(vae: Any, latents: Tensor) -> Tensor:
    """Images (B, 3, H, W) in [-1, 1]; always in float32, since SDXL's overflows in half precision.

    Args:
        vae: An AutoencoderKL in float32.
        latents: Scaled, (B, C, h, w).
    """
    z = latents.float() / vae.config.scaling_factor + (vae.config.shift_factor or 0.0)
    with torch.autocast(latents.device.type, enabled=False):
        images: Tensor = vae.decode(z).sample
    return images.clamp(-1, 1)


def to_image(image: Tensor) -> Image.Image:
    """(3, H, W) in [-1, 1] as a picture."""
    pixels = ((image.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return Image.fromarray(pixels.permute(1, 2, 0).numpy())


def draw_grid(images: Tensor, columns: int, smallest: int = 96) -> Image.Image:
    """Images (B, 3, H, W) in rows; small ones are magnified so that a person sees them."""
    H, W = images.shape[2:]
    factor = max(1, -(-smallest // max(H, W)))
    rows = -(-len(images) // columns)
    sheet = Image.new("RGB", (columns * W * factor, rows * H * factor))
    for k, each in enumerate(images):
        tile = to_image(each).resize((W * factor, H * factor), Image.Resampling.NEAREST)
        sheet.paste(tile, ((k % columns) * W * factor, (k // columns) * H * factor))
    return sheet


def write_png(image: Image.Image, file: Path) -> Path:
    """Write it, and return the path."""
    image.save(file, "png")
    return file
