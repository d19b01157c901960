"""A causal language model on a text corpus: its loss, and its judgement."""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from tenfold.algorithms.common.causal_lm import NamedModel
from tenfold.envs.data.text import Corpus, load_corpus, windows
from tenfold.envs.data.token_file import is_token_source
from tenfold.platform.devices import CPU
from tenfold.platform.store import runs_folder

_JUDGED_AT_ONCE = 16
_LARGEST_EXPONENT = 700.0


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
    """Held-out loss (nats a token), perplexity, accuracy, and bits a byte if those are known.

    Args:
        model: Takes ``input_ids`` and gives ``logits``.
        corpus: Of its validation split, windows that are spread over all of it and do not overlap.
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
    perplexity = math.exp(loss) if not loss > _LARGEST_EXPONENT else math.inf
    found = {"loss": loss, "perplexity": perplexity, "accuracy": right / seen}
    if corpus.widths is not None:
        # Of each window the first token is given, not predicted.
        text = int(windows(corpus.widths, context, most)[:, 1:].sum())
        found["bits_per_byte"] = loss / math.log(2) * (seen / text) if text else math.inf
    return found


def _validation(corpus: Corpus, context: int, most: int) -> Iterator[torch.Tensor]:
    found = windows(corpus.validation, context, most)
    for start in range(0, len(found), _JUDGED_AT_ONCE):
        yield torch.from_numpy(np.asarray(found[start : start + _JUDGED_AT_ONCE], dtype=np.int64))


def judge_zero_shot(
    folder: Path, task: str, context: int, most: int, device: torch.device = CPU
) -> dict[str, float]:
    """Judge a saved model on texts that it was not trained on, by its own tokenizer.

    Args:
        folder: The model's, see `causal_lm.save_causal_lm`.
        task: Texts or tokens as `load_corpus` takes them; all of a text counts, or the held-out
            split that its layout names.
        context: Tokens of a window.
        most: Number of windows at most.
        device: Where to compute.

    Returns:
        As `judge`.

    Raises:
        ValueError: The model has no tokenizer for texts, or too few tokens, or the text is too
            short or cannot be read.
    """
    named = NamedModel.read(str(folder), "init_from")
    tokenizer, vocabulary = named.tokenizer, named.config.vocab_size
    if tokenizer is None and not is_token_source(Path(task)):
        raise ValueError(
            f"'{task}' cannot be judged, since the model has no tokenizer (it was trained on "
            "tokens, or by an earlier version): give a .bin file of the same tokens."
        )
    corpus = load_corpus(task, str(tokenizer), runs_folder() / "data", unseen=True)
    if corpus.vocabulary > vocabulary:
        raise ValueError(
            f"'{task}' has {corpus.vocabulary} different tokens and the model {vocabulary}: give "
            "tokens of the model's own tokenizer."
        )
    if len(corpus.validation) <= context:
        raise ValueError(
            f"'{task}' has only {len(corpus.validation)} tokens: give at least {context + 1}, a "
            "window of the model."
        )
    model = named.make(vocabulary, context).to(device).eval()
    return judge(model, corpus, context, most, device)
