"""What can be said of a pipeline's folder from its JSON files, without loading a weight."""

import json
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

EMBEDDED_FOLDER = Path(__file__).parent / "scenes_teacher"
"""The embedded default, in half precision; `experiments/lcm/teacher.py` made it."""
PIPELINES = ("StableDiffusionPipeline", "StableDiffusionXLPipeline")


@dataclass(frozen=True)
class PipelineFolder:
    """A folder as `save_pretrained` of a Stable Diffusion pipeline writes it.

    Attributes:
        path: The folder.

    Raises:
        ValueError: It is missing, of another class, or incomplete.
    """

    path: Path

    def __post_init__(self) -> None:
        index = self._json("model_index.json")
        name = index.get("_class_name")
        if name not in PIPELINES:
            raise ValueError(
                f"'{self.path}' holds a {name}: give a folder of a {' or '.join(PIPELINES)}."
            )
        for part in ("unet", "vae"):
            if not list((self.path / part).glob("*.safetensors")):
                raise ValueError(
                    f"'{self.path / part}' has no .safetensors file: save the pipeline with "
                    "save_pretrained."
                )

    @property
    def is_xl(self) -> bool:
        """Whether it is SDXL's class (SDXL, SSD-1B)."""
        return self._json("model_index.json")["_class_name"] == PIPELINES[1]

    @cached_property
    def unet(self) -> dict[str, Any]:
        """The UNet's config."""
        return self._json("unet/config.json")

    @property
    def width(self) -> int:
        """Channels of the narrowest layers that a LoRA adapts."""
        channels = self.unet["block_out_channels"]
        across = self.unet["cross_attention_dim"]
        return int(min([*channels, *(across if isinstance(across, list) else [across])]))

    @cached_property
    def pixels_per_latent(self) -> int:
        """How much the autoencoder shrinks a side."""
        return int(2 ** (len(self._json("vae/config.json")["block_out_channels"]) - 1))

    @property
    def resolution(self) -> int:
        """Pixels of a side of what it was trained for."""
        return int(self.unet["sample_size"]) * self.pixels_per_latent

    def check_prompt(self, prompt: str) -> None:
        """Refuse a prompt that the text encoder would cut.

        Raises:
            ValueError: It has too many tokens.
        """
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(self.path / "tokenizer", local_files_only=True)
        check_prompt(tokenizer, prompt)

    def _json(self, name: str) -> dict[str, Any]:
        file = self.path / name
        if not os.path.isfile(file):
            raise ValueError(
                f"'{self.path}' is no pipeline's folder, since it has no {name}: give a folder "
                f"that a {' or '.join(PIPELINES)} was saved to."
            )
        content: dict[str, Any] = json.loads(file.read_text())
        return content


def check_prompt(tokenizer: Any, prompt: str) -> None:
    """Refuse a prompt with more tokens than the text encoder takes.

    Raises:
        ValueError: With both numbers.
    """
    most = tokenizer.model_max_length
    count = len(tokenizer(prompt, truncation=False).input_ids)
    if count > most:
        raise ValueError(
            f"The prompt '{prompt[:60]}' has {count} tokens, start and end included, and the text "
            f"encoder takes {most}: shorten it."
        )
