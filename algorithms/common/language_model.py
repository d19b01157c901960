"""GPT-2 on a text corpus: the model from its sizes or a folder, its loss, and its judgement.

The model is a plain transformers `GPT2LMHeadModel`, and what `save_gpt2` writes loads anywhere:

    GPT2LMHeadModel.from_pretrained(folder)
    AutoTokenizer.from_pretrained(folder)  # but for models of token files, which have none
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast
from transformers.utils.logging import disable_progress_bar

from tenfold.algorithms.common.saved_gpt2 import read_sizes, tokenizer_of
from tenfold.envs.data.text import Corpus, load_corpus, windows
from tenfold.envs.data.token_file import is_token_source
from tenfold.platform.devices import CPU
from tenfold.platform.errors import shown
from tenfold.platform.store import runs_folder

disable_progress_bar()  # of reading and writing a model, in the midst of a run's output
NO_DROPOUT: dict[str, Any] = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
"""Fields of `GPT2Config`."""
_JUDGED_AT_ONCE = 16
_LARGEST_EXPONENT = 700.0


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
        use_cache=False,
        **NO_DROPOUT,
        **sizes,
    )
    return GPT2LMHeadModel(config)


def load_gpt2(folder: str | Path) -> GPT2LMHeadModel:
    """A saved GPT-2, without dropout.

    Raises:
        ValueError: Its weights cannot be read, or are not those of its sizes.
    """
    model: GPT2LMHeadModel
    try:
        model, found = GPT2LMHeadModel.from_pretrained(
            folder,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
            use_cache=False,
            **NO_DROPOUT,
        )
    except Exception as error:  # transformers and safetensors raise whatever does not fit
        raise ValueError(f"'{folder}' is no GPT-2 ({shown(str(error))}).") from None
    if found["missing_keys"]:  # transformers would draw those at random
        raise ValueError(f"'{folder}' lacks weights: {shown(sorted(found['missing_keys']))}.")
    return model.float()


def save_gpt2(model: GPT2LMHeadModel, tokenizer: Path | None, folder: Path) -> None:
    """Write a model and its tokenizer as transformers reads them.

    Args:
        model: Any `GPT2LMHeadModel`.
        tokenizer: A `tokenizers` JSON file, see `Corpus.tokenizer`.
        folder: Where to.
    """
    model.save_pretrained(folder)
    if tokenizer is not None:
        PreTrainedTokenizerFast(
            tokenizer_file=str(tokenizer),
            clean_up_tokenization_spaces=False,
            model_max_length=model.config.n_positions,
        ).save_pretrained(folder)


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
        folder: The model's, see `save_gpt2`.
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
    sizes, tokenizer = read_sizes(str(folder)), tokenizer_of(folder)
    if tokenizer is None and not is_token_source(Path(task)):
        raise ValueError(
            f"'{task}' cannot be judged, since the model has no tokenizer (it was trained on "
            "tokens, or by an earlier version): give a .bin file of the same tokens."
        )
    corpus = load_corpus(task, str(tokenizer), runs_folder() / "data", unseen=True)
    if corpus.vocabulary > sizes.vocab_size:
        raise ValueError(
            f"'{task}' has {corpus.vocabulary} different tokens and the model {sizes.vocab_size}: "
            "give tokens of the model's own tokenizer."
        )
    if len(corpus.validation) <= context:
        raise ValueError(
            f"'{task}' has only {len(corpus.validation)} tokens: give at least {context + 1}, a "
            "window of the model."
        )
    model = load_gpt2(folder).to(device).eval()
    return judge(model, corpus, context, most, device)
