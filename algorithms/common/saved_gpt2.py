"""What a folder with a saved GPT-2 says of itself, without loading it."""

import json
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tenfold.platform.errors import shown

_CONFIG = "config.json"
_WEIGHTS = "model*.safetensors"
_TOKENIZER = "tokenizer.json"
_Size = Annotated[int, Field(ge=1, le=2**16)]


class SavedSizes(BaseModel):
    """What is read of a saved model's ``config.json``."""

    model_config = ConfigDict(strict=True, extra="ignore")

    model_type: Literal["gpt2"]
    n_layer: Annotated[int, Field(ge=1, le=1_000)]
    n_head: _Size
    n_embd: _Size
    n_positions: _Size
    vocab_size: _Size
    n_inner: int | None = None
    add_cross_attention: Literal[False] = False


def read_sizes(folder: str) -> SavedSizes:
    """Sizes of a saved GPT-2.

    Raises:
        ValueError: There is no GPT-2 in the folder; the message names it.
    """
    config = Path(folder) / _CONFIG
    try:
        text = config.read_text(encoding="utf-8")
    except (OSError, ValueError):  # a path may hold a null byte
        raise ValueError(
            f"Bad value {shown(folder)} for 'init_from': give a folder that save_pretrained wrote, "
            f"which has a {_CONFIG}."
        ) from None
    try:
        sizes = SavedSizes.model_validate(json.loads(text))
    except (ValueError, RecursionError) as error:
        entry = ""
        if isinstance(error, ValidationError):
            place = error.errors()[0]["loc"]
            entry = f" ('{place[0]}' says otherwise)" if place else ""
        raise ValueError(
            f"Bad value {shown(folder)} for 'init_from': its {_CONFIG} is not of a GPT-2{entry}."
        ) from None
    if sizes.n_embd % sizes.n_head or sizes.n_inner not in (None, 4 * sizes.n_embd):
        raise ValueError(
            f"Bad value {shown(folder)} for 'init_from': in its {_CONFIG}, 'n_head' must divide "
            "'n_embd', and 'n_inner' be four times that."
        )
    if not any(Path(folder).glob(_WEIGHTS)):
        raise ValueError(f"Bad value {shown(folder)} for 'init_from': it has no {_WEIGHTS}.")
    return sizes


def tokenizer_of(folder: str | Path) -> Path | None:
    """The tokenizer beside a saved model, as a file of `tokenizers`, if there is one."""
    file = Path(folder) / _TOKENIZER
    return file if file.is_file() else None
