"""The teacher: any Stable Diffusion pipeline as the distillation needs it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import DDPMScheduler, DiffusionPipeline, StableDiffusionXLPipeline
from torch import Tensor

from tenfold.algorithms.common.consistency import NoiseSchedule
from tenfold.algorithms.lcm.folder import PipelineFolder


@dataclass(frozen=True)
class Condition:
    """What a UNet is told about B images beside z and t.

    Attributes:
        embeddings: Hidden states of the prompts, (B, L, D).
        pooled: Pooled prompts of SDXL, (B, P).
        time_ids: SDXL's sizes and crops, (B, 6): original height and width, top, left, target
            height and width.
    """

    embeddings: Tensor
    pooled: Tensor | None = None
    time_ids: Tensor | None = None

    @property
    def arguments(self) -> dict[str, Any]:
        """As `UNet2DConditionModel.forward` takes them."""
        if self.pooled is None:
            return {"encoder_hidden_states": self.embeddings}
        added = {"text_embeds": self.pooled, "time_ids": self.time_ids}
        return {"encoder_hidden_states": self.embeddings, "added_cond_kwargs": added}

    def joined(self, other: "Condition") -> "Condition":
        """Both, one after the other along B."""

        def both(a: Tensor | None, b: Tensor | None) -> Tensor | None:
            return None if a is None or b is None else torch.cat([a, b])

        return Condition(
            torch.cat([self.embeddings, other.embeddings]),
            both(self.pooled, other.pooled),
            both(self.time_ids, other.time_ids),
        )


class Teacher:
    """A pipeline with frozen weights.

    Attributes:
        pipeline: The pipeline; whoever trains its UNet's LoRA changes what it samples.
        schedule: Its noise schedule.
        scheduler: Config of its scheduler.
        folder: Where it came from.

    Args:
        path: Its folder.
        device: Where it computes.
        dtype: Of UNet and text encoders; the autoencoder stays in float32, since SDXL's overflows
            in half precision.

    Raises:
        ValueError: The folder holds something else, or weights that are damaged or can hold code.
    """

    def __init__(self, path: Path, device: torch.device, dtype: torch.dtype) -> None:
        self.folder = PipelineFolder(path)
        self.device = device
        absent = {} if self.folder.is_xl else {"safety_checker": None}
        try:
            self.pipeline: Any = DiffusionPipeline.from_pretrained(
                path, local_files_only=True, dtype=dtype, use_safetensors=True, **absent
            )
        except Exception as error:  # of diffusers, transformers or safetensors, of any kind
            reason = " ".join(str(error).split())
            raise ValueError(f"The pipeline in '{path}' cannot be loaded: {reason}") from None
        self.pipeline.to(device)
        self.pipeline.set_progress_bar_config(disable=True)
        self.pipeline.vae.to(torch.float32)
        for part in self.pipeline.components.values():
            if isinstance(part, torch.nn.Module):
                part.requires_grad_(False).eval()
        self.scheduler = self.pipeline.scheduler.config
        noise = DDPMScheduler.from_config(self.scheduler)
        self.schedule = NoiseSchedule(noise.alphas_cumprod, noise.config.prediction_type)

    @property
    def tokenizer(self) -> Any:
        """The (first) tokenizer."""
        return self.pipeline.tokenizer

    @torch.no_grad()
    def condition(self, prompts: Sequence[str], time_ids: Tensor) -> Condition:
        """Prompts, encoded; what is longer than the text encoder takes is cut.

        Args:
            prompts: B texts.
            time_ids: (B, 6), used by SDXL only.
        """
        encoded = self.pipeline.encode_prompt(
            list(prompts),
            device=self.device,
            num_images_per_prompt=1,
            do_classifier_free_guidance=False,
        )
        if not isinstance(self.pipeline, StableDiffusionXLPipeline):
            return Condition(encoded[0])
        embeddings, _, pooled, _ = encoded
        return Condition(embeddings, pooled, time_ids.to(self.device, embeddings.dtype))

    def unconditional(self, like: Condition) -> Condition:
        """The empty prompt, as the pipeline itself encodes it: SDXL's is all zeros."""
        B = len(like.embeddings)
        if like.pooled is not None and self.pipeline.config.force_zeros_for_empty_prompt:
            zeros = torch.zeros_like
            return Condition(zeros(like.embeddings), zeros(like.pooled), like.time_ids)
        ids = torch.zeros(1, 6) if like.time_ids is None else like.time_ids[:1]
        one = self.condition([""], ids)
        return Condition(
            one.embeddings.expand(B, -1, -1),
            None if one.pooled is None else one.pooled.expand(B, -1),
            like.time_ids,
        )

    @torch.no_grad()
    def moments(self, images: Tensor, batch: int) -> Tensor:
        """Mean and log variance of the latents of images (B, 3, H, W) in [-1, 1], along axis 1."""
        vae = self.pipeline.vae
        parts = [
            vae.encode(part.to(self.device)).latent_dist.parameters for part in images.split(batch)
        ]
        return torch.cat(parts)

    def latents(self, moments: Tensor, noise: Tensor) -> Tensor:
        """z_0: a sample of the latents, scaled, (B, C, h, w)."""
        mean, log_variance = moments.chunk(2, dim=1)
        sample = mean + (0.5 * log_variance.clamp(-30, 20)).exp() * noise
        config = self.pipeline.vae.config
        return (sample - (config.shift_factor or 0.0)) * config.scaling_factor
