"""Text corpora as token arrays: the standard library's sources, or a user's own texts.

Tokens are written once into a cache and memory-mapped. Batches are a pure function of their key, so
that a training run has no data position to save.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tenfold.envs.data.cache import fingerprint, prepared
from tenfold.envs.data.documents import SPLITS, find_documents
from tenfold.envs.data.token_file import is_token_source, load_tokens
from tenfold.envs.data.tokenizer import TOKENIZER_FILE, make_tokenizer, tokenizer_stamp

_FORMAT = "3"  # of the cached files


@dataclass(frozen=True)
class Corpus:
    """A tokenised corpus, split.

    Attributes:
        train: (tokens,) uint16, memory-mapped.
        validation: The held-out split.
        vocabulary: Number of different tokens.
        train_bytes: Length of the training text in UTF-8 bytes, as far as tokens stand for it.
        widths: (tokens,) uint32, memory-mapped; for each token of the held-out split the bytes of
            text that it stands for, for bits a byte; None where only tokens are known. Of the
            tokens of one character the first has its bytes; an unknown token stands for none.
        tokenizer: The `tokenizers` JSON file that the texts were encoded by; None likewise.
    """

    train: np.ndarray
    validation: np.ndarray
    vocabulary: int
    train_bytes: int
    widths: np.ndarray | None
    tokenizer: Path | None = None


def load_corpus(source: str, tokenizer: str, cache: Path, unseen: bool = False) -> Corpus:
    """Read, split and tokenise a corpus, or take it from the cache.

    Args:
        source: ``stdlib`` (the Python standard library's sources, split by file); a text file
            (.txt, .md, .py; its end is held out); a folder of such files (split by file); a
            Parquet or JSON Lines file or a folder of them with a text in each row (split by row);
            a folder that Hugging Face `datasets` saved (split by row); or tokens, see
            `token_file`. Texts and JSON Lines may be packed (.gz). A folder's own splits count,
            see `files.train_and_held_out`. Otherwise one document in twenty is held out and more
            where that is under 1 % or 4,096 characters; with documents too few or too large for
            that, the end of the text.
        tokenizer: ``bytes`` (256 tokens); ``bpe:<vocabulary>`` (byte-level BPE trained on the
            training split); or the path of a `tokenizers` JSON file. Tokens need none.
        cache: Folder for the tokens.
        unseen: For a model that was trained on something else: all is held out but a training
            split that the layout names, and there is nothing to train a BPE on.

    Raises:
        ValueError: The source or the tokenizer is missing, empty or malformed; the message names
            it.
    """
    if is_token_source(Path(source)):
        train, validation, vocabulary = load_tokens(Path(source), cache, unseen)
        return Corpus(train, validation, vocabulary, 0, None)
    documents, stamp = find_documents(source, unseen)
    splits = SPLITS[1:] if unseen else SPLITS

    def make(folder: Path) -> None:
        texts = documents()
        encode, vocabulary = make_tokenizer(tokenizer, texts["train"], folder)
        sizes = {"train": 0}
        for split in splits:
            tokens, widths = encode(texts[split])
            sizes[split] = int(widths.sum())
            if sizes[split] == 0:
                raise ValueError(
                    f"'{source}' has no text in its {split} split that '{tokenizer}' can encode."
                )
            tokens.tofile(folder / f"{split}.bin")
        widths.tofile(folder / "widths.bin")
        about = {"vocabulary": vocabulary, "train_bytes": sizes["train"]}
        (folder / "corpus.json").write_text(json.dumps(about))

    parts = [_FORMAT, *splits, *stamp, *tokenizer_stamp(tokenizer)]
    folder = prepared(cache, f"text-{fingerprint(parts)}", make)
    about = json.loads((folder / "corpus.json").read_text())
    found = {split: np.memmap(folder / f"{split}.bin", np.uint16, "r") for split in splits}
    return Corpus(
        found.get("train", np.zeros(0, np.uint16)),
        found["validation"],
        about["vocabulary"],
        about["train_bytes"],
        np.memmap(folder / "widths.bin", np.uint32, "r"),
        folder / TOKENIZER_FILE,
    )


def check_length(corpus: Corpus, context: int) -> None:
    """Refuse a corpus that has no whole window of a context.

    Raises:
        ValueError: A split is too short.
    """
    for split in SPLITS:
        tokens = len(getattr(corpus, split))
        if tokens < context + 1:
            raise ValueError(
                f"Bad value {context} for 'context': the {split} split has only {tokens} tokens, "
                f"so give at most {tokens - 1} or more text."
            )


def batch(tokens: np.ndarray, context: int, sequences: int, key: Sequence[int]) -> np.ndarray:
    """Windows at places drawn from a key, (sequences, context + 1) int64."""
    rng = np.random.default_rng(list(key))
    starts = rng.integers(0, len(tokens) - context, size=sequences)
    return np.stack([tokens[s : s + context + 1] for s in starts]).astype(np.int64)


def windows(tokens: np.ndarray, context: int, most: int) -> np.ndarray:
    """Windows that are spread evenly and whose targets do not overlap.

    Args:
        tokens: (tokens,) at least `context` + 1.
        context: Targets of a window.
        most: Number of windows at most; with fewer in the text all of them are taken, in order.

    Returns:
        (windows, context + 1), each with the token before its first target.
    """
    whole = (len(tokens) - 1) // context
    count = min(whole, most)
    starts = np.arange(count) * whole // count * context
    return np.stack([tokens[start : start + context + 1] for start in starts])
