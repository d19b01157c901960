"""What can be said of a pipeline's folder from its JSON files, without loading a weight."""

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tenfold.platform.errors import one_line, shown

Content = TypeVar("Content", bound=BaseModel)

EMBEDDED = "embedded"
"""What a config and a record call the teacher that is part of Tenfold, wherever that lies."""
EMBEDDED_FOLDER = Path(__file__).parent / "scenes_teacher"
"""The embedded default, in half precision; `experiments/lcm/teacher.py` made it."""
RECORD = "lcm.json"
LORA_FILE = "pytorch_lora_weights.safetensors"
PIPELINES = ("StableDiffusionPipeline", "StableDiffusionXLPipeline")


LIBRARIES = (None, "diffusers", "transformers", "stable_diffusion")
"""Where a pipeline's parts may come from; diffusers would import any module that a folder names."""

Channels = Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1, max_length=32)]


class _Read(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="allow")


class _Index(_Read):
    """``model_index.json``: the pipeline's class, and library and class of each of its parts."""

    name: str = Field(alias="_class_name")


class _UNet(_Read):
    block_out_channels: Channels
    cross_attention_dim: Annotated[int, Field(ge=1)] | Channels
    sample_size: Annotated[int, Field(ge=1, le=2**16)]


class _Autoencoder(_Read):
    block_out_channels: Channels


class Record(_Read):
    """``lcm.json``: what a distilled student says of itself.

    Attributes:
        teacher: Folder of the pipeline that it was distilled from, or `EMBEDDED`.
        mode: Whether it is a LoRA or a whole UNet.
        solver_steps: N of the grid that it was trained on.
        timestep_scaling: Of c_skip and c_out.
        guidance_scale: diffusers' 1 + w that it is sampled with.
    """

    teacher: str
    mode: Literal["lora", "full"]
    solver_steps: Annotated[int, Field(ge=1, le=1_000)]
    timestep_scaling: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    guidance_scale: Annotated[float, Field(ge=0, allow_inf_nan=False)]

    @property
    def teacher_folder(self) -> Path:
        """Where that pipeline is on this machine."""
        return teacher_folder(self.teacher)

    @classmethod
    def read(cls, folder: Path) -> "Record | None":
        """The record in a student's folder; None where there is none.

        Raises:
            ValueError: It is none.
        """
        file = folder / RECORD
        return _read(cls, file) if os.path.isfile(file) else None


@dataclass(frozen=True)
class PipelineFolder:
    """A folder as `save_pretrained` of a Stable Diffusion pipeline writes it.

    Attributes:
        path: The folder.

    Raises:
        ValueError: It is missing, of another class, incomplete, or has parts of other libraries.
    """

    path: Path

    def __post_init__(self) -> None:
        index = self._index
        if index.name not in PIPELINES:
            raise ValueError(
                f"'{self.path}' holds a {one_line(index.name)}: give a folder of a "
                f"{' or '.join(PIPELINES)}."
            )
        for part, origin in (index.model_extra or {}).items():
            if isinstance(origin, list) and (len(origin) != 2 or origin[0] not in LIBRARIES):
                raise ValueError(
                    f"Part '{one_line(part)}' of '{self.path}' is {shown(origin)}: only parts of "
                    "diffusers and transformers are loaded."
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
        return self._index.name == PIPELINES[1]

    @property
    def width(self) -> int:
        """Channels of the narrowest layers that a LoRA adapts."""
        across = self._unet.cross_attention_dim
        return min(
            [*self._unet.block_out_channels, *(across if isinstance(across, list) else [across])]
        )

    @cached_property
    def pixels_per_latent(self) -> int:
        """How much the autoencoder shrinks a side."""
        depth = len(self._json("vae/config.json", _Autoencoder).block_out_channels)
        return int(2 ** (depth - 1))

    @property
    def resolution(self) -> int:
        """Pixels of a side of what it was trained for."""
        return self._unet.sample_size * self.pixels_per_latent

    def check_prompt(self, prompt: str) -> None:
        """Refuse a prompt that the text encoder would cut.

        Raises:
            ValueError: It has too many tokens.
        """
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(
            self.path / "tokenizer", local_files_only=True, trust_remote_code=False
        )
        check_prompt(tokenizer, prompt)

    @cached_property
    def _index(self) -> _Index:
        return self._json("model_index.json", _Index)

    @cached_property
    def _unet(self) -> _UNet:
        return self._json("unet/config.json", _UNet)

    def _json(self, name: str, model: type[Content]) -> Content:
        file = self.path / name
        if not os.path.isfile(file):
            raise ValueError(
                f"'{self.path}' is no pipeline's folder, since it has no {name}: give a folder "
                f"that a {' or '.join(PIPELINES)} was saved to."
            )
        return _read(model, file)


def teacher_folder(name: str) -> Path:
    """The folder of a pipeline that a config or a record names."""
    return EMBEDDED_FOLDER if name == EMBEDDED else Path(name)


def _read(model: type[Content], file: Path) -> Content:
    """The content of a JSON file.

    Raises:
        ValueError: It cannot be read, or something in it is not as the model says.
    """
    try:
        return model.model_validate_json(file.read_bytes())
    except OSError as error:
        raise ValueError(f"'{file}' cannot be read: {error.strerror}.") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = one_line(".".join(map(str, first["loc"])) or "the file")
        raise ValueError(f"'{file}' is not as it should be: {where}: {first['msg']}.") from None


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
