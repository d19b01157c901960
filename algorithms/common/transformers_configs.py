"""Configs of transformers' models that a user names, held against what transformers knows.

    path/of/folder                             its weights go on, if it has any (safetensors)
    path/of/config.json                        a new model
    {model_type: llama, hidden_size: 64, ...}  a new model
    timm:resnet18                              a new model of timm, where that is installed

Nothing is downloaded and no code of a folder runs.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from transformers import CONFIG_MAPPING, AutoConfig, PreTrainedConfig
from transformers.utils import is_timm_available

from tenfold.platform.errors import shown, unknown

Source = str | Mapping[str, Any]
"""A path, a name of timm's, or the fields of a config with its `model_type`."""

TIMM = "timm:"
"""What such a name begins with."""

MOST_LAYERS = 256
_LAYERS = ("num_hidden_layers", "n_layer", "depths")
_MOST = 2**16
_UNBOUNDED = ("max_position_embeddings", "n_positions", "vocab_size")


def read_config(source: Source, key: str, kinds: Mapping[str, Any]) -> PreTrainedConfig:
    """The config of a user's model.

    Args:
        source: As above.
        key: Config key that it was given for.
        kinds: What it may be, in words, with transformers' class that makes such a model of it.

    Raises:
        ValueError: There is none, or none of these kinds; the message names the key.
    """
    found = _of_mapping(source, key) if isinstance(source, Mapping) else _of_path(source, key)
    if not any(type(found) in auto._model_mapping for auto in kinds.values()):
        raise ValueError(
            f"Bad value {shown(source)} for '{key}': transformers has no {' or '.join(kinds)} of "
            f"the type '{found.model_type}'."
        )
    for name in _LAYERS:
        layers = getattr(found, name, 1)
        if isinstance(layers, int) and layers > MOST_LAYERS:
            raise ValueError(
                f"Bad value {shown(source)} for '{key}': its config has {shown(layers)} for "
                f"'{name}', and at most {MOST_LAYERS} are taken."
            )
    return found


def has_weights(source: Source, key: str) -> bool:
    """Whether a user's model comes with weights.

    Raises:
        ValueError: They are not safetensors.
    """
    if isinstance(source, Mapping) or not Path(source).is_dir():
        return False
    if any(Path(source).glob("*.safetensors")):
        return True
    others = [file.name for kind in ("*.bin", "*.pt", "*.pth") for file in Path(source).glob(kind)]
    if others:
        raise ValueError(
            f"Bad value {shown(source)} for '{key}': '{others[0]}' may hold code; give "
            "safetensors, or the config.json alone for an untrained model."
        )
    return False


def check_entries(
    given: Mapping[str, Any], config: PreTrainedConfig, field: str, of: str, known: Iterable[str]
) -> None:
    """Refuse entries that a config does not have, or that are of another kind than its own.

    Args:
        given: What shall take the place of its own.
        config: One with its own.
        field: What they were given for, as in the messages.
        of: Whose config it is, likewise.
        known: Names of those that may be given.

    Raises:
        ValueError: One sentence with the entry, its value and what would be right.
    """
    names = list(known)
    for name, value in given.items():
        if name not in names:
            raise unknown(f"entry of '{field}' for {of}", name, names)
        wanted = _wanted(getattr(config, name, None), value, name)
        if wanted:
            raise ValueError(f"Bad value {shown(value)} for '{field}.{name}': give {wanted}.")


def _of_timm(name: str, key: str) -> PreTrainedConfig:
    if not is_timm_available():
        raise ValueError(
            f"Bad value {shown(name)} for '{key}': timm and torchvision are not installed, so "
            "'pip install timm', or give a model of transformers."
        )
    return AutoConfig.for_model("timm_wrapper", architecture=name.removeprefix(TIMM))


def _of_path(path: str, key: str) -> PreTrainedConfig:
    if path.startswith(TIMM):
        return _of_timm(path, key)
    if not os.path.exists(path):
        raise ValueError(
            f"Bad value {shown(path)} for '{key}': give the path of the folder or config.json of "
            "a transformers model, or a mapping with its 'model_type'."
        )
    try:
        return AutoConfig.from_pretrained(path, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # transformers raises whatever a file that is no config leads to
        raise ValueError(
            f"Bad value {shown(path)} for '{key}': no config of a transformers model can be read "
            f"there ({shown(str(error))})."
        ) from None


def _of_mapping(source: Mapping[str, Any], key: str) -> PreTrainedConfig:
    fields = {name: value for name, value in source.items() if name != "model_type"}
    kind = source.get("model_type")
    if not isinstance(kind, str):
        raise ValueError(
            f"Bad value {shown(dict(source))} for '{key}': give its 'model_type', too, as "
            "transformers calls it (llama, gpt_neox, ...)."
        )
    if kind not in CONFIG_MAPPING:
        raise unknown(f"'model_type' of '{key}'", kind, CONFIG_MAPPING)
    standard = AutoConfig.for_model(kind)
    check_entries(fields, standard, key, kind, [*standard.to_dict(), *standard.attribute_map])
    try:
        return AutoConfig.for_model(kind, **fields)
    except Exception as error:  # transformers' own checks have exceptions of their own
        raise ValueError(
            f"Bad value {shown(dict(source))} for '{key}': no config of a transformers model comes "
            f"of it ({shown(str(error))})."
        ) from None


def _wanted(default: Any, value: Any, name: str) -> str:
    """What a value should be instead; empty if it is of its default's kind."""
    most = MOST_LAYERS if name in _LAYERS else 2**31 if name in _UNBOUNDED else _MOST
    whole = f"a whole number from 1 to {most}"
    if value is None:  # transformers tells where that cannot be
        return ""
    if name.endswith("_token_id"):
        return "" if _whole(value, most) or value == 0 else f"a token from 0 to {most}"
    if isinstance(default, bool):
        return "" if isinstance(value, bool) else "true or false"
    if isinstance(default, float):
        return "" if _number(value) else "a number from 0 to 1e6"
    if isinstance(default, str):
        return "" if isinstance(value, str) else "a text"
    if name.startswith("rope_"):
        return "" if isinstance(value, dict) else "a mapping"
    if isinstance(default, list | tuple):
        fits = isinstance(value, list | tuple) and 0 < len(value) <= 16
        return "" if fits and all(_whole(v, most) for v in value) else f"a list, each {whole}"
    if isinstance(default, int | None):
        return "" if _whole(value, most) else whole
    return "nothing: it is no size"


def _whole(value: Any, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1e6
