"""Hybrid sparse attention: patterns of query-key pairs, and a switch between them and dense.

A pattern is a boolean (T, T) mask, queries by keys, causal. The switch works through transformers'
attention interface, so that the model stays a stock `GPT2LMHeadModel`; nothing of it is saved.
`local`, `strided` and `sparse` are those of the paper's released code; `fixed` is after Child et
al. 2019, with one summary position a block (our reading of the release's name).
"""

from collections.abc import Callable

import torch
from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel

from tenfold.platform.devices import CPU

_NAME = "tenfold_pattern"

Pattern = Callable[[torch.Tensor, torch.Tensor, int, int], torch.Tensor]

PATTERNS: dict[str, Pattern] = {
    "dense": lambda q, k, width, stride: q >= k,
    "local": lambda q, k, width, stride: q - k < width,
    "strided": lambda q, k, width, stride: (q - k) % stride == 0,
    "sparse": lambda q, k, width, stride: (q - k < width) | ((q - k) % stride == 0),
    "fixed": lambda q, k, width, stride: (q // stride == k // stride) | (k % stride == stride - 1),
}
"""Whether query q sees key k <= q, given the band's width and the stride."""


def pattern_mask(
    name: str, length: int, *, width: int, stride: int, device: torch.device = CPU
) -> torch.Tensor:
    """A causal pattern.

    Args:
        name: Of `PATTERNS`.
        length: Tokens T.
        width: Of the band of ``local`` and ``sparse``, the query itself included.
        stride: Of ``strided`` and ``sparse``; length of a block of ``fixed``.
        device: Where the mask shall be.

    Returns:
        (T, T) bool, rows are queries.
    """
    q, k = torch.arange(length).unsqueeze(1), torch.arange(length).unsqueeze(0)
    return (PATTERNS[name](q, k, width, stride) & (q >= k)).to(device)


def kept_fraction(mask: torch.Tensor) -> float:
    """Pairs that a pattern keeps, as a fraction of the causal ones."""
    length = len(mask)
    return float(mask.sum()) / (length * (length + 1) / 2)


def set_pattern(model: PreTrainedModel, mask: torch.Tensor | None) -> None:
    """Attend by a pattern from now on, or densely as the model did before if None.

    Args:
        model: A GPT-2; its input must not be padded.
        mask: A causal pattern at least as long as the sequences to come.
    """
    now = model.config._attn_implementation
    if mask is None:
        if now == _NAME:
            model.set_attn_implementation(model.dense_attention)
        return
    for module in model.modules():
        module.attention_pattern = mask
    if now != _NAME:
        model.dense_attention = now
        model.set_attn_implementation(_NAME)


def _pattern_attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **unused: object,
) -> tuple[torch.Tensor, None]:
    """Attention by `module.attention_pattern`; (batch, heads, T, head size) in, heads third out."""
    length = query.shape[-2]
    mask = module.attention_pattern[:length, :length]
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    scores = (query @ key.transpose(-1, -2)) * scale
    weights = scores.masked_fill(~mask, float("-inf")).softmax(dim=-1)
    return (weights @ value).transpose(1, 2), None


AttentionInterface.register(_NAME, _pattern_attention)
# The pattern is causal already, and there is no padding to mask.
AttentionMaskInterface.register(_NAME, lambda *args, **kwargs: None)
