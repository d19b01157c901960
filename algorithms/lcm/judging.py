"""How a pipeline that makes scenes is judged: by caption, by distance to drawings, by time."""

import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

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
from tenfold.algorithms.lcm.sampling import evaluations, sample
from tenfold.envs.scenes import Scenes, draw_scenes

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
def clip_score(folder: str, images: torch.Tensor, prompts: list[str]) -> float:
    """100 times the mean cosine between CLIP's embeddings of images and prompts.

    Args:
        folder: Of a CLIPModel with its processor's files.
        images: (B, 3, H, W) in [-1, 1].
        prompts: B.
    """
    from transformers import AutoTokenizer, CLIPImageProcessorPil, CLIPModel

    from tenfold.algorithms.lcm.sampling import to_image

    model = CLIPModel.from_pretrained(folder, local_files_only=True).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    looks = CLIPImageProcessorPil.from_pretrained(folder, local_files_only=True)
    words = tokenizer(prompts, padding=True, truncation=True, return_tensors="pt")
    pixels = looks([to_image(image) for image in images], return_tensors="pt")
    said = model(**words, **pixels)
    cosine = torch.nn.functional.cosine_similarity(said.image_embeds, said.text_embeds)
    return float(100 * cosine.mean())
