"""Models of images from a transformers config, and what of such a config a user may give."""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import (
    GPT2Config,
    PreTrainedModel,
    ResNetConfig,
    ResNetForImageClassification,
    ViTConfig,
    ViTForImageClassification,
)

from tenfold.algorithms.common.language_model import make_gpt2
from tenfold.algorithms.qsr.config import QSRConfig
from tenfold.platform.errors import shown, unknown

_CONFIGS: dict[str, type[Any]] = {"vit": ViTConfig, "resnet": ResNetConfig, "gpt2": GPT2Config}
# The data and the loop set these.
_SET = {"num_channels", "image_size", "vocab_size", "n_positions", "use_cache"}
_LAYERS = ("num_hidden_layers", "n_layer", "depths")
_MOST = 2**16
_MOST_LAYERS = 256


def make_image_model(config: QSRConfig, channels: int, size: int, classes: int) -> PreTrainedModel:
    """An untrained classifier, without dropout unless `QSRConfig.sizes` has some.

    Args:
        config: Its architecture and sizes.
        channels: Of the images.
        size: Their height and width, in pixels.
        classes: Number of labels.
    """
    common = {"num_channels": channels, "num_labels": classes, **config.model_sizes}
    if config.architecture == "resnet":
        return ResNetForImageClassification(ResNetConfig(**common))
    plain = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    return ViTForImageClassification(ViTConfig(**{"image_size": size, **plain, **common}))


def check_model(config: QSRConfig, image_shape: Sequence[int] | None, classes: int) -> None:
    """Refuse sizes of which no model comes, without taking memory for one.

    Args:
        config: Its architecture and sizes.
        image_shape: (C, H, W) of the images; None for texts.
        classes: Number of labels, or of tokens.

    Raises:
        ValueError: One sentence that names the entry, its value and what would be right.
    """
    _check_entries(config)
    try:
        with torch.device("meta"), torch.no_grad():
            if image_shape is None:
                make_gpt2(classes, config.context, config.model_sizes)
            else:
                channels, height, _ = image_shape
                model = make_image_model(config, channels, height, classes)
                model.eval()(pixel_values=torch.zeros(1, *image_shape))
    except Exception as error:  # transformers and torch raise whatever does not fit
        entry = "sizes" if config.sizes else "task"
        value = shown(dict(config.sizes) or config.task)
        raise ValueError(
            f"Bad value {value} for '{entry}': no {config.architecture} model comes of it "
            f"({shown(str(error))}); try other sizes or another 'image_size'."
        ) from None


def _check_entries(config: QSRConfig) -> None:
    defaults = _CONFIGS[config.architecture]().to_dict()
    known = [name for name in defaults if name not in _SET]
    for name, value in config.sizes.items():
        if name not in known:
            raise unknown(f"entry of 'sizes' for {config.architecture}", name, known)
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
