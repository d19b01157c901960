"""How a pipeline that makes scenes is judged: by caption, by distance to drawings, by time."""

import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoTokenizer, CLIPImageProcessorPil, CLIPModel

from tenfold.algorithms.lcm.judge import (
    FILE,
    Judge,
    as_tensor,
    caption_accuracy,
    diversity,
    frechet_distance,
    load_judge,
    mmd,
)
from tenfold.algorithms.lcm.sampling import evaluations, sample, to_image
from tenfold.envs.data.scenes import Scenes, draw_scenes

HELD_OUT_SEED = 1_000_000
REAL = 1_000
_PROMPTS, _EACH = 8, 4


@dataclass(frozen=True)
class SceneJudging:
    """Judges samples of captions that no training draws from.

    Attributes:
        judge: Trained on the style.
        style: Of the drawings.
        images: Samples of a judgement. A Frechet distance depends on it.
    """

    judge: Judge
    style: str
    images: int

    @cached_property
    def drawings(self) -> Scenes:
        """Held-out drawings, and the captions to sample."""
        return draw_scenes(max(REAL, self.images), HELD_OUT_SEED, style=self.style)

    @cached_property
    def real(self) -> np.ndarray:
        """Features of drawings."""
        return self.judge.features(as_tensor(self.drawings.images))

    def __call__(
        self, pipeline: Any, steps: int, guidance_scale: float, seed: int
    ) -> dict[str, float]:
        """Sample and judge.

        Args:
            pipeline: With its scheduler.
            steps: Of the scheduler.
            guidance_scale: diffusers' 1 + w.
            seed: Of the noise.
        """
        captions = self.drawings.captions
        start = time.perf_counter()
        made = sample(pipeline, captions[: self.images], steps, guidance_scale, seed)
        seconds = time.perf_counter() - start
        features = self.judge.features(made)
        asked = self.drawings.attributes[: self.images]
        again = [caption for caption in captions[:_PROMPTS] for _ in range(_EACH)]
        alike = sample(pipeline, again, steps, guidance_scale, seed + 1)
        return {
            "frechet": frechet_distance(features, self.real),
            "mmd": mmd(features, self.real),
            **caption_accuracy(self.judge.attributes(made), asked),
            "diversity": diversity(alike.unflatten(0, (_PROMPTS, _EACH))),
            "evaluations": float(evaluations(pipeline, steps, guidance_scale)),
            "image_seconds": seconds / self.images,
        }


def scene_judging(folder: Path, style: str, images: int) -> SceneJudging | None:
    """The judge that lies in a pipeline's folder, if it knows the style."""
    if not (folder / FILE).exists():
        return None
    judge, known = load_judge(folder)
    return SceneJudging(judge, style, images) if known == style else None


@torch.no_grad()
def inception_features(file: str, images: torch.Tensor, batch: int = 64) -> np.ndarray:
    """Features of images, (B, F).

    Args:
        file: TorchScript that maps pixels 0 to 255 (B, 3, H, W) to features, called with
            ``return_features=True`` as StyleGAN's ``inception-2015-12-05.pt``.
        images: (B, 3, H, W) in [-1, 1].
        batch: Images at once.
    """
    model = torch.jit.load(file, map_location="cpu").eval()
    pixels = ((images.clamp(-1, 1) + 1) * 127.5).round()
    parts = [model(part, return_features=True) for part in pixels.split(batch)]
    return torch.cat(parts).double().numpy()


@torch.no_grad()
def clip_score(folder: str, images: torch.Tensor, prompts: list[str]) -> float:
    """100 times the mean cosine between CLIP's embeddings of images and prompts.

    Args:
        folder: Of a CLIPModel with its processor's files.
        images: (B, 3, H, W) in [-1, 1].
        prompts: B.
    """
    model = CLIPModel.from_pretrained(folder, local_files_only=True, use_safetensors=True).eval()
    tokenizer = AutoTokenizer.from_pretrained(
        folder, local_files_only=True, trust_remote_code=False
    )
    looks = CLIPImageProcessorPil.from_pretrained(folder, local_files_only=True)
    words = tokenizer(prompts, padding=True, truncation=True, return_tensors="pt")
    pixels = looks([to_image(image) for image in images], return_tensors="pt")
    said = model(**words, **pixels)
    cosine = torch.nn.functional.cosine_similarity(said.image_embeds, said.text_embeds)
    return float(100 * cosine.mean())
