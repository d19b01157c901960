"""GPT-2 on a text corpus: the model from its sizes, its loss, and its judgement on held-out text.

The model is a plain transformers `GPT2LMHeadModel`, so what is saved loads with `from_pretrained`.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy
from transformers import GPT2Config, GPT2LMHeadModel

from tenfold.envs.data.text import Corpus, windows
from tenfold.platform.devices import CPU

_JUDGED_AT_ONCE = 16


def make_gpt2(vocabulary: int, context: int, sizes: dict[str, Any]) -> GPT2LMHeadModel:
    """An untrained GPT-2 without dropout.

    Args:
        vocabulary: Number of tokens.
        context: Longest sequence, in tokens.
        sizes: Further fields of `GPT2Config` (n_layer, n_head, n_embd, ...).
    """
    config = GPT2Config(
        vocab_size=vocabulary,
        n_positions=context,
        bos_token_id=None,
        eos_token_id=None,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        use_cache=False,
        **sizes,
    )
    return GPT2LMHeadModel(config)


def next_token_loss(logits: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """Mean cross entropy (nats) of each token given those before it.

    Args:
        logits: (sequences, context, vocabulary), of the first `context` tokens; the loss is in
            float32 whatever their type.
        tokens: (sequences, context + 1) token ids.
    """
    return cross_entropy(logits.float().flatten(0, 1), tokens[:, 1:].flatten())


def judge(
    model: torch.nn.Module,
    corpus: Corpus,
    context: int,
    most: int,
    device: torch.device = CPU,
) -> dict[str, float]:
    """Held-out loss (nats a token), next-token accuracy, and bits a byte if those are known.

    Args:
        model: Takes ``input_ids`` and gives ``logits``.
        corpus: Its validation split is used, from its start, in windows that do not overlap.
        context: Tokens of a window.
        most: Number of windows at most.
        device: Of the model.
    """
    total, right, seen = 0.0, 0.0, 0
    with torch.no_grad():
        for window in _validation(corpus, context, most):
            tokens = window.to(device)
            logits = model(input_ids=tokens[:, :-1]).logits
            total += float(next_token_loss(logits, tokens)) * tokens[:, 1:].numel()
            # Of NaN, argmax is a token as any other: a model that diverged has no accuracy.
            finite = bool(logits.isfinite().all())
            right += int((logits.argmax(-1) == tokens[:, 1:]).sum()) if finite else math.nan
            seen += tokens[:, 1:].numel()
    loss = total / seen
    found = {"loss": loss, "accuracy": right / seen}
    if corpus.widths is not None:
        text = int(corpus.widths[1 : seen + 1].sum())  # the first token is given, not predicted
        found["bits_per_byte"] = loss / math.log(2) * (seen / text) if text else math.inf
    return found


def _validation(corpus: Corpus, context: int, most: int) -> Iterator[torch.Tensor]:
    found = windows(corpus.validation, context, most)
    for start in range(0, len(found), _JUDGED_AT_ONCE):
        yield torch.from_numpy(np.asarray(found[start : start + _JUDGED_AT_ONCE], dtype=np.int64))
