"""Models of images from a transformers config, and what of such a config a user may give.

A model is one of ours (`config.SIZES`) or a user's: the folder of any image classifier that
transformers knows, with weights (safetensors) or without, or its config.json alone. Nothing is
downloaded and no code of such a folder runs.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForImageClassification,
    GPT2Config,
    PreTrainedConfig,
    PreTrainedModel,
    ResNetConfig,
    ResNetForImageClassification,
    ViTConfig,
    ViTForImageClassification,
)

from tenfold.algorithms.common.language_model import make_gpt2
from tenfold.algorithms.qsr.config import SIZES, QSRConfig
from tenfold.platform.errors import shown, unknown

_CONFIGS: dict[str, type[Any]] = {"vit": ViTConfig, "resnet": ResNetConfig, "gpt2": GPT2Config}
# The data and the loop set these.
_SET = {"num_channels", "image_size", "vocab_size", "n_positions", "use_cache"}
_LAYERS = ("num_hidden_layers", "n_layer", "depths")
_MOST = 2**16
_MOST_LAYERS = 256


def make_image_model(config: QSRConfig, channels: int, size: int, classes: int) -> PreTrainedModel:
    """A classifier; one of ours is untrained and without dropout unless `sizes` has some.

    Args:
        config: Its architecture and sizes.
        channels: Of the images.
        size: Their height and width, in pixels.
        classes: Number of labels.

    Raises:
        ValueError: A user's model cannot be read, or its weights do not fit the images.
    """
    common = {"num_channels": channels, "num_labels": classes, **config.model_sizes}
    if config.architecture == "resnet":
        return ResNetForImageClassification(ResNetConfig(**common))
    if config.architecture == "vit":
        plain = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
        return ViTForImageClassification(ViTConfig(**{"image_size": size, **plain, **common}))
    theirs = _read_config(config.architecture)
    theirs.num_labels = classes
    theirs.update(config.model_sizes)
    if _weights(config.architecture):
        return _trained(config.architecture, theirs)
    theirs.update({k: v for k, v in _of_images(channels, size).items() if hasattr(theirs, k)})
    return _untrained(theirs)


def check_model(config: QSRConfig, image_shape: Sequence[int] | None, classes: int) -> None:
    """Refuse sizes of which no model comes, without taking memory for one of ours.

    Args:
        config: Its architecture and sizes.
        image_shape: (C, H, W) of the images; None for texts.
        classes: Number of labels, or of tokens.

    Raises:
        ValueError: One sentence that names the entry, its value and what would be right.
    """
    _check_entries(config)
    ours = config.architecture in SIZES
    device = "meta" if ours or not _weights(config.architecture) else "cpu"
    try:
        with torch.device(device), torch.no_grad():
            if image_shape is None:
                make_gpt2(classes, config.context, config.model_sizes)
            else:
                channels, height, _ = image_shape
                model = make_image_model(config, channels, height, classes)
                logits = model.eval()(pixel_values=torch.zeros(1, *image_shape)).logits
                if logits.shape != (1, classes):
                    raise ValueError(f"its logits have the shape {tuple(logits.shape)}")
    except Exception as error:  # transformers and torch raise whatever does not fit
        entry = "sizes" if config.sizes else "task" if ours else "model"
        value = shown(dict(config.sizes) or (config.task if ours else config.model))
        kind = config.architecture if ours else "image"
        raise ValueError(
            f"Bad value {value} for '{entry}': no {kind} model comes of it "
            f"({shown(str(error))}); try other sizes or another 'image_size'."
        ) from None


def _of_images(channels: int, size: int) -> dict[str, int]:
    return {"num_channels": channels, "image_size": size}


def _read_config(path: str) -> PreTrainedConfig:
    """The config of a user's model.

    Raises:
        ValueError: There is none that transformers knows as an image classifier's.
    """
    try:
        found = AutoConfig.from_pretrained(path, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(
            f"Bad value {shown(path)} for 'model': no config of a transformers model can be read "
            f"there ({shown(str(error))})."
        ) from None
    if type(found) not in AutoModelForImageClassification._model_mapping:
        raise ValueError(
            f"Bad value {shown(path)} for 'model': transformers has no image classifier of the "
            f"type '{found.model_type}'."
        )
    for name in _LAYERS:
        layers = getattr(found, name, 1)
        if isinstance(layers, int) and layers > _MOST_LAYERS:
            raise ValueError(
                f"Bad value {shown(path)} for 'model': its config has {shown(layers)} for "
                f"'{name}', and at most {_MOST_LAYERS} are taken."
            )
    return found


def _weights(path: str) -> bool:
    """Whether a user's model comes with weights.

    Raises:
        ValueError: They are not safetensors.
    """
    if not Path(path).is_dir():
        return False
    if any(Path(path).glob("*.safetensors")):
        return True
    others = [file.name for kind in ("*.bin", "*.pt", "*.pth") for file in Path(path).glob(kind)]
    if others:
        raise ValueError(
            f"Bad value {shown(path)} for 'model': '{others[0]}' may hold code; give safetensors, "
            "or the config.json alone for an untrained model."
        )
    return False


def _untrained(config: PreTrainedConfig) -> PreTrainedModel:
    model: PreTrainedModel = AutoModelForImageClassification.from_config(
        config, trust_remote_code=False, dtype=torch.float32
    )
    return model


def _trained(path: str, config: PreTrainedConfig) -> PreTrainedModel:
    """A model with its weights; where the classes are others, its last layer is untrained.

    Raises:
        ValueError: Other weights than the last layer's are missing or of another shape.
    """
    model: PreTrainedModel
    model, found = AutoModelForImageClassification.from_pretrained(
        path,
        config=config,
        local_files_only=True,
        trust_remote_code=False,
        use_safetensors=True,
        ignore_mismatched_sizes=True,
        output_loading_info=True,
        dtype=torch.float32,
    )
    body = f"{model.base_model_prefix}."
    wanted = {*found["missing_keys"], *(name for name, *_ in found["mismatched_keys"])}
    lacking = sorted(name for name in wanted if name.startswith(body))
    if lacking:
        raise ValueError(f"its weights lack {lacking[0]} of that shape")
    return model


def _check_entries(config: QSRConfig) -> None:
    ours = config.architecture in SIZES
    named = config.architecture if ours else "this model"
    known_config = _CONFIGS[config.architecture]() if ours else _read_config(config.architecture)
    defaults = known_config.to_dict()
    known = [name for name in defaults if name not in _SET]
    for name, value in config.sizes.items():
        if name not in known:
            raise unknown(f"entry of 'sizes' for {named}", name, known)
        most = _MOST_LAYERS if name in _LAYERS else _MOST
        wanted = _wanted(defaults[name], value, most)
        if wanted:
            raise ValueError(f"Bad value {shown(value)} for 'sizes.{name}': give {wanted}.")


def _wanted(default: Any, value: Any, most: int) -> str:
    """What a value should be instead; empty if it is of its default's kind."""
    whole = f"a whole number from 1 to {most}"
    if isinstance(default, bool):
        return "" if isinstance(value, bool) else "true or false"
    if isinstance(default, float):
        return "" if _number(value) else "a number from 0 to 1e6"
    if isinstance(default, str):
        return "" if isinstance(value, str) else "a text"
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
