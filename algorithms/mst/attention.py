"""Hybrid sparse attention: patterns of query-key pairs, and a switch between them and dense.

A pattern is a boolean (T, T) mask, queries by keys, causal. The switch works through transformers'
attention interface, so that the model stays a stock one; nothing of it is saved. It stands in for
plain attention only (`takes_patterns`): GPT-2, GPT-NeoX, Llama and many others have that.
`local`, `strided` and `sparse` are those of the paper's released code; `fixed` is after Child et
al. 2019, with one summary position a block (our reading of the release's name).
"""

from collections.abc import Callable

import torch
from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel

from tenfold.platform.devices import CPU

_NAME, _PROBE = "tenfold_pattern", "tenfold_probe"
_PLAIN = {"scaling", "dropout", "is_causal", "position_ids", "use_cache", "output_attentions"}
"""What attention may be told without being another than scaled dot products under a mask."""

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
        model: One that `takes_patterns`; its input must not be padded.
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


@torch.no_grad()
def takes_patterns(model: PreTrainedModel) -> bool:
    """Whether a pattern can stand in for the attention of all blocks of a model.

    It can where each block's goes through transformers' interface and is plain: no window, sinks,
    caps or biases of its own.

    Args:
        model: May be on the meta device.
    """
    plain: list[bool] = []

    def probe(
        module: nn.Module,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attention_mask: torch.Tensor | None,
        **options: object,
    ) -> tuple[torch.Tensor, None]:
        told = {name for name, option in options.items() if option is not None}
        plain.append(attention_mask is None and told <= _PLAIN)
        heads = value.repeat_interleave(query.shape[1] // value.shape[1], dim=1)
        return heads.transpose(1, 2), None

    before = model.config._attn_implementation
    if not model._can_set_attn_implementation():
        return False
    AttentionInterface.register(_PROBE, probe)
    AttentionMaskInterface.register(_PROBE, _no_mask)
    model.set_attn_implementation(_PROBE)
    try:
        try_forward(model, 2)
    finally:
        model.set_attn_implementation(before)
    return len(plain) == model.config.num_hidden_layers and all(plain)


@torch.no_grad()
def try_forward(model: PreTrainedModel, length: int) -> None:
    """A pass over a sequence of some length, also of a model on the meta device."""
    tokens = torch.zeros(1, length, dtype=torch.int64, device=model.device)
    # Without a mask transformers would look at positions, of which there are no numbers.
    model(input_ids=tokens, attention_mask=torch.ones_like(tokens))


def _pattern_attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **unused: object,
) -> tuple[torch.Tensor, None]:
    """Attention by `module.attention_pattern`; (batch, heads, T, head size) in, heads third out.

    Keys and values may have fewer heads, each for as many consecutive heads of the queries.
    """
    length, shared = query.shape[-2], query.shape[1] // key.shape[1]
    if shared > 1:
        key, value = (heads.repeat_interleave(shared, dim=1) for heads in (key, value))
    mask = module.attention_pattern[:length, :length]
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    scores = (query @ key.transpose(-1, -2)) * scale
    weights = scores.masked_fill(~mask, float("-inf")).softmax(dim=-1)
    return (weights @ value).transpose(1, 2), None


def _no_mask(*arguments: object, **named: object) -> None:
    """The pattern is causal already, and there is no padding to mask."""


AttentionInterface.register(_NAME, _pattern_attention)
AttentionMaskInterface.register(_NAME, _no_mask)
