"""Tokenizers of texts: bytes, a byte-level BPE that is trained here, or a user's `tokenizers` file.

Each is also a `tokenizers` JSON file beside the tokens, so that whoever has a model can encode for
it; that of ``bytes`` is a byte-level BPE without merges.
"""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

TOKENIZER_FILE = "tokenizer.json"

Encode = Callable[[list[str]], tuple[np.ndarray, np.ndarray]]
"""From documents to their tokens, (tokens,) uint16, and the bytes of text that each stands for."""


def check_tokenizer(tokenizer: str) -> bool:
    """Refuse what is no tokenizer; returns whether it is a file.

    Raises:
        ValueError: One sentence with the value and what would be right.
    """
    return tokenizer not in tokenizer_stamp(tokenizer)


def tokenizer_stamp(tokenizer: str) -> list[str | bytes]:
    """What tells whether a tokenizer has changed: its name, or its file's content.

    Args:
        tokenizer: ``bytes``, ``bpe:<vocabulary>`` or the path of a `tokenizers` JSON file.

    Raises:
        ValueError: It is none of these.
    """
    kind, _, size = tokenizer.partition(":")
    if tokenizer == "bytes":
        return [tokenizer]
    if kind == "bpe":
        if not size.isdecimal() or not 257 <= int(size) <= 2**16:
            raise ValueError(
                f"Bad value '{tokenizer}' for 'tokenizer': give a vocabulary from 257 to 65536."
            )
        return [tokenizer]
    file = Path(tokenizer)
    if not os.path.isfile(file):
        raise ValueError(
            f"Bad value '{tokenizer}' for 'tokenizer': give bytes, bpe:<vocabulary> or the path of "
            "a tokenizers JSON file."
        )
    return [file.read_bytes()]


def make_tokenizer(tokenizer: str, texts: list[str], folder: Path) -> tuple[Encode, int]:
    """A function from documents to tokens, and its vocabulary.

    Args:
        tokenizer: As `tokenizer_stamp` takes it.
        texts: What a BPE is trained on.
        folder: Gets the tokenizer as a `tokenizers` JSON file, `TOKENIZER_FILE`.

    Raises:
        ValueError: The file is no tokenizer, or one of too many tokens.
    """
    if tokenizer == "bytes":
        _bytes_as_tokenizer().save(str(folder / TOKENIZER_FILE))
        return _encode_bytes, 256
    if tokenizer.startswith("bpe:"):
        made = _byte_level(models.BPE())
        trainer = trainers.BpeTrainer(
            vocab_size=int(tokenizer.removeprefix("bpe:")),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        made.train_from_iterator(texts, trainer)
    else:
        try:
            made = Tokenizer.from_file(tokenizer)
        except Exception as error:  # the library raises plain Exception
            raise ValueError(f"'{tokenizer}' is not a tokenizers JSON file: {error}.") from None
    # What a file says of lengths is for single inputs of a model, and a post-processor may cut
    # the spaces off the places of tokens.
    made.no_truncation()
    made.no_padding()
    made.post_processor = None
    vocabulary = max(made.get_vocab().values(), default=-1) + 1
    if not 0 < vocabulary <= 2**16:
        raise ValueError(f"'{tokenizer}' has {vocabulary} tokens, give one with 1 to 65536.")
    made.save(str(folder / TOKENIZER_FILE))
    unknown = _unknown_token(made)

    def encode(found: list[str]) -> tuple[np.ndarray, np.ndarray]:
        joined = [text + "\n" for text in found[:-1]] + found[-1:]
        try:
            encoded = made.encode_batch(joined, add_special_tokens=False)
        except Exception as error:  # as above
            raise ValueError(f"'{tokenizer}' cannot encode the text: {error}.") from None
        tokens = [np.array(e.ids, dtype=np.uint16) for e in encoded]
        widths = [
            np.where(ids == unknown, 0, _widths(text, e.offsets))
            for text, ids, e in zip(joined, tokens, encoded, strict=True)
        ]
        return np.concatenate(tokens), np.concatenate(widths).astype(np.uint32)

    return encode, vocabulary


def _byte_level(model: models.BPE, *, words: bool = True) -> Tokenizer:
    """A BPE over bytes, within words as GPT-2 splits them or within whole texts."""
    made = Tokenizer(model)
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=words)
    made.decoder = decoders.ByteLevel()
    return made


def _bytes_as_tokenizer() -> Tokenizer:
    """Bytes as tokens, each token's number its byte.

    Of the 256 characters that stand for bytes in a byte-level BPE, those below 256 stand for the
    byte of their own number and the others for the bytes that are left, in order.
    """
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    own = {character: ord(character) for character in alphabet if ord(character) < 256}
    left = iter(sorted(set(range(256)) - set(own.values())))
    vocabulary = {c: own[c] if c in own else next(left) for c in alphabet}
    return _byte_level(models.BPE(vocab=vocabulary, merges=[]), words=False)


def _encode_bytes(found: list[str]) -> tuple[np.ndarray, np.ndarray]:
    tokens = np.frombuffer("\n".join(found).encode(), np.uint8).astype(np.uint16)
    return tokens, np.ones(len(tokens), dtype=np.uint32)


def _unknown_token(tokenizer: Tokenizer) -> int:
    """The token for what a vocabulary lacks, -1 if there is none."""
    model = json.loads(tokenizer.to_str())["model"]
    if model.get("unk_id") is not None:  # Unigram
        return int(model["unk_id"])
    found = tokenizer.token_to_id(model.get("unk_token") or "")
    return -1 if found is None else found


def _widths(text: str, offsets: Sequence[tuple[int, int]]) -> np.ndarray:
    """UTF-8 bytes of a text that each token stands for and none before it, (tokens,).

    Args:
        text: What was encoded.
        offsets: First character and the one after the last of each token.
    """
    points = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)
    lengths = 1 + sum((points >= limit).astype(np.int64) for limit in (0x80, 0x800, 0x10000))
    place = np.concatenate([[0], np.cumsum(lengths)])
    first, end = np.array(offsets, dtype=np.int64).reshape(-1, 2).T
    reached = np.concatenate([[0], np.maximum.accumulate(end)])[:-1]
    return np.maximum(0, place[end] - place[np.maximum(first, reached)])
