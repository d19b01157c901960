"""Models from a transformers config, and what of such a config a user may give.

A model is one of ours (`config.SIZES`) or a user's: any image classifier or causal language model
that transformers knows, see `transformers_configs`.
"""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import (
    AutoModelForImageClassification,
    GPT2Config,
    PreTrainedConfig,
    PreTrainedModel,
    ResNetConfig,
    ResNetForImageClassification,
    ViTConfig,
    ViTForImageClassification,
)

from tenfold.algorithms.common import causal_lm
from tenfold.algorithms.common.causal_lm import NamedModel, make_gpt2
from tenfold.algorithms.common.transformers_configs import (
    Source,
    check_entries,
    has_weights,
    read_config,
)
from tenfold.algorithms.qsr.config import QSRConfig
from tenfold.platform.errors import shown

_CONFIGS: dict[str, type[Any]] = {"vit": ViTConfig, "resnet": ResNetConfig, "gpt2": GPT2Config}
_IMAGES = {"image classifier": AutoModelForImageClassification}
# The data and the loop set these.
_SET = {
    "num_channels",
    "image_size",
    "vocab_size",
    "n_positions",
    "max_position_embeddings",
    "use_cache",
}


def is_language_model(source: Source) -> bool:
    """Whether a user's model is one of texts.

    Raises:
        ValueError: It is neither that nor an image classifier.
    """
    config = read_config(source, "model", {**_IMAGES, **causal_lm.KINDS})
    return type(config) not in AutoModelForImageClassification._model_mapping


def make_text_model(config: QSRConfig, vocabulary: int) -> PreTrainedModel:
    """A causal language model; one of ours is untrained.

    Args:
        config: Its architecture and sizes, and its longest sequence.
        vocabulary: Number of tokens of the text.

    Raises:
        ValueError: A user's model cannot be made.
    """
    if config.ours:
        return make_gpt2(vocabulary, config.context, config.model_sizes)
    named = _named(config)
    return named.make(named.vocabulary or vocabulary, config.context)


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
    theirs = read_config(config.architecture, "model", _IMAGES)
    theirs.num_labels = classes
    theirs.update(config.model_sizes)
    if has_weights(config.architecture, "model"):
        return _trained(config.architecture, theirs)
    theirs.update({k: v for k, v in _of_images(channels, size).items() if hasattr(theirs, k)})
    return _untrained(theirs)


def check_text_model(config: QSRConfig, tokens: int) -> None:
    """Refuse sizes or a model that do not go with a text, without taking memory for it.

    Args:
        config: Its architecture and sizes.
        tokens: Number of different tokens of the text.

    Raises:
        ValueError: One sentence that names the entry, its value and what would be right.
    """
    _check_sizes(config)
    if config.ours:
        try:
            with torch.device("meta"):
                make_gpt2(tokens, config.context, config.model_sizes)
        except Exception as error:  # transformers and torch raise whatever does not fit
            raise ValueError(
                f"Bad value {shown(config.sizes)} for 'sizes': no gpt2 model comes of it "
                f"({shown(str(error))}); try other sizes."
            ) from None
        return
    named = _named(config)
    if named.vocabulary is not None and tokens > named.vocabulary:
        raise ValueError(
            f"Bad value '{config.tokenizer}' for 'tokenizer': the text then has {tokens} tokens "
            f"and 'model' {named.vocabulary}, so give the model's."
        )
    if named.positions is not None and config.context > named.positions:
        raise ValueError(
            f"Bad value {config.context} for 'context': 'model' has {named.positions} positions, "
            "so give at most that."
        )
    with torch.device("meta"):
        model = named.untrained(tokens, config.context)
    if config.gradient_checkpointing and not model.supports_gradient_checkpointing:
        raise ValueError(
            f"Bad value true for 'gradient_checkpointing': '{named.config.model_type}' has none, "
            "so give false."
        )


def check_image_model(config: QSRConfig, image_shape: Sequence[int], classes: int) -> None:
    """Refuse sizes of which no classifier comes, without taking memory for one of ours.

    Args:
        config: Its architecture and sizes.
        image_shape: (C, H, W) of the images.
        classes: Number of labels.

    Raises:
        ValueError: One sentence that names the entry, its value and what would be right.
    """
    _check_sizes(config)
    weights = not config.ours and has_weights(config.architecture, "model")
    try:
        with torch.device("cpu" if weights else "meta"), torch.no_grad():
            channels, height, _ = image_shape
            model = make_image_model(config, channels, height, classes)
            logits = model.eval()(pixel_values=torch.zeros(1, *image_shape)).logits
            if logits.shape != (1, classes):
                raise ValueError(f"its logits have the shape {tuple(logits.shape)}")
    except Exception as error:  # transformers and torch raise whatever does not fit
        entry = "sizes" if config.sizes else "task" if config.ours else "model"
        value = shown(dict(config.sizes) or (config.task if config.ours else config.model))
        kind = config.architecture if config.ours else "image"
        raise ValueError(
            f"Bad value {value} for '{entry}': no {kind} model comes of it "
            f"({shown(str(error))}); try other sizes or another 'image_size'."
        ) from None


def _of_images(channels: int, size: int) -> dict[str, Any]:
    """Fields of configs that the images say; the last is timm's."""
    return {
        "num_channels": channels,
        "image_size": size,
        "model_args": {"in_chans": channels},
    }


def _named(config: QSRConfig) -> NamedModel:
    """The language model that a user names, with its sizes."""
    named = NamedModel.read(config.architecture, "model")
    named.change(config.sizes, "sizes")
    return named


def _untrained(config: PreTrainedConfig) -> PreTrainedModel:
    model: PreTrainedModel = AutoModelForImageClassification.from_config(
        config, trust_remote_code=False, dtype=torch.float32
    )
    return model


def _trained(path: Source, config: PreTrainedConfig) -> PreTrainedModel:
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


def _check_sizes(config: QSRConfig) -> None:
    kind = config.architecture
    if isinstance(kind, str) and config.ours:
        theirs, of = _CONFIGS[kind](), kind
    else:
        kinds = {**_IMAGES, **causal_lm.KINDS}
        theirs, of = read_config(config.architecture, "model", kinds), "this model"
    known = [name for name in theirs.to_dict() if name not in _SET]
    check_entries(config.sizes, theirs, "sizes", of, known)
