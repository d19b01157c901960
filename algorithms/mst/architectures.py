"""What MST needs of a model that a user names, tried on the meta device, which has no numbers."""

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import PreTrainedModel

from tenfold.algorithms.common.causal_lm import NamedModel
from tenfold.algorithms.mst.attention import takes_patterns, try_forward
from tenfold.algorithms.mst.flops import Sizes, step_flops
from tenfold.algorithms.mst.masks import masked_layers

_ROUNDING = 0.02
"""Products that rotary positions and their like may have beside those of layers and attention."""


def shapes_of(
    named: NamedModel,
    vocabulary: int,
    context: int,
    *,
    attention: str,
    head: bool,
    kernels: bool,
    checkpointing: bool,
) -> list[tuple[int, int]]:
    """Shapes of the weights that have masks.

    Args:
        named: The model.
        vocabulary: Its tokens, if it is untrained.
        context: Tokens of a sequence.
        attention: The pattern that it shall follow, see `attention.PATTERNS`.
        head: Whether the output layer is masked, too.
        kernels: Whether layers may run by sparse kernels.
        checkpointing: Whether activations shall be computed twice.

    Raises:
        ValueError: It cannot do that, or its FLOPs cannot be counted; one sentence.
    """
    with torch.device("meta"):
        model = named.untrained(vocabulary, context)
    shown = f"'{named.config.model_type}'"
    if not _is_counted(model, context):
        raise ValueError(
            f"Bad value {named.shown} for '{named.key}': {shown} computes more or less than its "
            "linear layers and attention over all pairs of tokens, so that its FLOPs cannot be "
            "counted; give one such as gpt2, gpt_neox, llama, opt or qwen2."
        )
    if attention != "dense" and not takes_patterns(model):
        raise ValueError(
            f"Bad value '{attention}' for 'attention': no pattern can stand in for that of "
            f"{shown}, so give dense, or a model with plain attention such as gpt2, gpt_neox, "
            "llama, opt or qwen2."
        )
    if kernels and any(isinstance(layer, nn.Linear) for layer in masked_layers(model).values()):
        raise ValueError(
            f"Bad value 'auto' for 'kernels': they are for GPT-2's layers and the model is {shown},"
            " so give dense."
        )
    if checkpointing and not model.supports_gradient_checkpointing:
        raise ValueError(
            f"Bad value true for 'gradient_checkpointing': {shown} has none, so give false."
        )
    return [(w.shape[0], w.shape[1]) for w in _weights(model, head)]


def _weights(model: PreTrainedModel, head: bool) -> list[torch.Tensor]:
    return [layer.weight for layer in masked_layers(model, head).values()]


def _is_counted(model: PreTrainedModel, length: int) -> bool:
    """Whether the products of a forward pass are those that are counted."""
    model.set_attn_implementation("eager")
    try:
        with FlopCounterMode(display=False) as counter:
            try_forward(model, length)
        sizes = Sizes.of(model)
    except Exception:  # a mixture of experts asks for numbers, which tensors have none of there
        return False
    dense = dict.fromkeys(sizes.linear, 1.0)
    expected = step_flops(sizes, 1, length, dense, 1.0, topology_step=False).total / 3
    return abs(counter.get_total_flops() - expected) <= _ROUNDING * expected
