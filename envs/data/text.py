"""Text corpora as token arrays: the standard library's sources, or a user's own texts.

Tokens are written once into a cache and memory-mapped. Batches are a pure function of their key, so
that a training run has no data position to save.
"""

import json
import os
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from tenfold.envs.data.cache import fingerprint, prepared
from tenfold.envs.data.files import data_files, say_left_out, train_and_held_out
from tenfold.envs.data.token_file import is_token_source, load_tokens

SUFFIXES = (".txt", ".md", ".py")
_VALIDATION_SHARE = 0.05
_LEAST_HELD_OUT = 4_096  # characters
_TEXT_COLUMNS = ("text", "content", "document", "body", "article", "sentence", "story", "code")
_FORMAT = "2"  # of the cached files
_NOT_LIBRARY = {"site-packages", "test", "tests", "idle_test", "__pycache__", "lib2to3"}
_SPLITS = ("train", "validation")

Documents = dict[str, list[str]]
Encode = Callable[[list[str]], tuple[np.ndarray, np.ndarray]]
"""From documents to their tokens, (tokens,) uint16, and the bytes of text that each stands for."""


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
    """

    train: np.ndarray
    validation: np.ndarray
    vocabulary: int
    train_bytes: int
    widths: np.ndarray | None


def load_corpus(source: str, tokenizer: str, cache: Path) -> Corpus:
    """Read, split and tokenise a corpus, or take it from the cache.

    Args:
        source: ``stdlib`` (the Python standard library's sources, split by file); a text file
            (.txt, .md, .py; its end is held out); a folder of such files (split by file); a
            Parquet file or a folder of them with a text column (split by row); a folder that
            Hugging Face `datasets` saved (split by row); or tokens, see `token_file`. A folder's
            own splits count, see `files.train_and_held_out`. Otherwise one document in twenty is
            held out and more where that is under 1 % or 4,096 characters; with documents too few
            or too large for that, the end of the text.
        tokenizer: ``bytes`` (256 tokens); ``bpe:<vocabulary>`` (byte-level BPE trained on the
            training split); or the path of a `tokenizers` JSON file. Tokens need none.
        cache: Folder for the tokens.

    Raises:
        ValueError: The source or the tokenizer is missing, empty or malformed; the message names
            it.
    """
    if is_token_source(Path(source)):
        train, validation, vocabulary = load_tokens(Path(source), cache)
        return Corpus(train, validation, vocabulary, 0, None)
    documents, stamp = _stdlib() if source == "stdlib" else _own(Path(source))
    encode_with = _tokenizer_stamp(tokenizer)

    def make(folder: Path) -> None:
        texts = documents()
        encode, vocabulary = _make_tokenizer(tokenizer, texts["train"], folder)
        sizes = {}
        for split in _SPLITS:
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

    folder = prepared(cache, f"text-{fingerprint([_FORMAT, *stamp, *encode_with])}", make)
    about = json.loads((folder / "corpus.json").read_text())
    train, validation = (
        np.memmap(folder / f"{split}.bin", dtype=np.uint16, mode="r") for split in _SPLITS
    )
    widths = np.memmap(folder / "widths.bin", dtype=np.uint32, mode="r")
    return Corpus(train, validation, about["vocabulary"], about["train_bytes"], widths)


def check_length(corpus: Corpus, context: int) -> None:
    """Refuse a corpus that has no whole window of a context.

    Raises:
        ValueError: A split is too short.
    """
    for split in _SPLITS:
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
    """The first windows whose targets do not overlap, (at most `most`, context + 1)."""
    count = min((len(tokens) - 1) // context, most)
    return np.stack([tokens[i * context : (i + 1) * context + 1] for i in range(count)])


def _stdlib() -> tuple[Callable[[], Documents], list[str]]:
    root = Path(sysconfig.get_paths()["stdlib"])
    files = [
        path
        for path in sorted(root.rglob("*.py"))
        if not _NOT_LIBRARY & set(path.relative_to(root).parts)
    ]

    def readable() -> Iterator[tuple[str, str]]:
        for path in files:
            with suppress(ValueError):  # the sources of a few codecs are not UTF-8
                yield str(path.relative_to(root)), _read(path)

    return lambda: _split(list(readable()), root), ["stdlib", *_stamps(root, files)]


def _own(source: Path) -> tuple[Callable[[], Documents], list[str]]:
    """How to read a user's texts, and what tells whether they have changed."""
    if not os.path.exists(source):
        raise ValueError(f"'{source}' does not exist: give a text, a Parquet file or a folder.")
    if source.is_file():
        kind = ".parquet" if source.suffix.lower() == ".parquet" else ".txt"
        stamp = [str(source.absolute()), *_stamps(source.parent, [source])]
        return lambda: _split(list(_DOCUMENTS[kind](source.parent, [source])), source), stamp
    found: dict[str, list[Path]] = {}
    for path in data_files(source):
        suffix = path.suffix.lower()
        found.setdefault(".txt" if suffix in SUFFIXES else suffix, []).append(path)
    # What `datasets` computes and caches stands beside what it saved.
    found[".arrow"] = [p for p in found.get(".arrow", []) if not p.name.startswith("cache-")]
    kind = next((kind for kind in _DOCUMENTS if found.get(kind)), "")
    if not kind:
        raise ValueError(f"'{source}' has no {', '.join(SUFFIXES)}, .parquet or .arrow files.")
    files = found[kind]
    if kind != ".arrow":  # JSON files stand beside those
        others = sum(len(paths) for paths in found.values()) - len(files)
        say_left_out(source, others, f"not {', '.join(SUFFIXES) if kind == '.txt' else kind}")
    layout = train_and_held_out(source, files)

    def read() -> Documents:
        if layout is None:
            return _split(list(_DOCUMENTS[kind](source, files)), source)
        return {
            split: [text for _, text in _DOCUMENTS[kind](source, own)]
            for split, own in zip(_SPLITS, layout, strict=True)
        }

    return read, [str(source.absolute()), *_stamps(source, files)]


def _stamps(root: Path, files: Sequence[Path]) -> list[str]:
    return [f"{f.relative_to(root)} {f.stat().st_size} {f.stat().st_mtime_ns}" for f in files]


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"'{path}' is not UTF-8 text.") from None


def _hash(name: str) -> float:
    """A stable number of a name, uniform from 0 to 1."""
    return int.from_bytes(sha256(name.encode()).digest()[:8], "big") / 2**64


def _split(documents: Sequence[tuple[str, str]], source: Path) -> Documents:
    """Hold documents out by the hashes of their names, or the end of the text."""
    total = sum(len(text) for _, text in documents)
    least = max(total // 100, min(_LEAST_HELD_OUT, total // 5))
    held_out, size = set(), 0
    for name, text in sorted(documents, key=lambda document: _hash(document[0])):
        if _hash(name) < _VALIDATION_SHARE or size < least:
            held_out.add(name)
            size += len(text)
    if size > total / 4:
        return _by_place("\n".join(text for _, text in documents), source)
    return {
        "train": [text for name, text in documents if name not in held_out],
        "validation": [text for name, text in documents if name in held_out],
    }


def _by_place(text: str, source: Path) -> Documents:
    share = int(len(text) * _VALIDATION_SHARE)
    cut = len(text) - max(share, min(_LEAST_HELD_OUT, len(text) // 5))
    if not text[:cut].strip() or not text[cut:].strip():
        raise ValueError(f"'{source}' is empty or too short to hold a part of it out.")
    return {"train": [text[:cut]], "validation": [text[cut:]]}


def _texts(root: Path, files: Sequence[Path]) -> Iterator[tuple[str, str]]:
    return ((str(path.relative_to(root)), _read(path)) for path in files)


def _parquet_rows(root: Path, files: Sequence[Path]) -> Iterator[tuple[str, str]]:
    def table(file: Path) -> pa.Table:
        try:
            return pq.read_table(file)
        except (OSError, ValueError) as error:
            raise ValueError(f"'{file}' is not a Parquet file: {error}.") from None

    return _rows(files, table)


def _arrow_rows(root: Path, files: Sequence[Path]) -> Iterator[tuple[str, str]]:
    """What `datasets.save_to_disk` wrote: Arrow streams."""

    def table(file: Path) -> pa.Table:
        try:
            with pa.memory_map(str(file)) as mapped:
                return pa.ipc.open_stream(mapped).read_all()
        except (OSError, pa.ArrowInvalid) as error:
            raise ValueError(f"'{file}' is not an Arrow stream: {error}.") from None

    return _rows(files, table)


_DOCUMENTS: dict[str, Callable[[Path, Sequence[Path]], Iterator[tuple[str, str]]]] = {
    ".arrow": _arrow_rows,
    ".parquet": _parquet_rows,
    ".txt": _texts,
}
"""How documents and their names are read from files of a kind; a folder's first kind counts."""


def _rows(files: Sequence[Path], table: Callable[[Path], pa.Table]) -> Iterator[tuple[str, str]]:
    texts = (text for file in files for text in _text_column(table(file), file))
    return ((str(row), text) for row, text in enumerate(texts))


def _text_column(table: pa.Table, source: Path) -> list[str]:
    texts = {
        field.name.lower(): place for place, field in enumerate(table.schema) if _text(field.type)
    }
    named = [name for name in _TEXT_COLUMNS if name in texts]
    if not named and len(texts) != 1:
        raise ValueError(
            f"'{source}' has no text column 'text' among {', '.join(table.column_names)}."
        )
    chosen = table.column(texts[named[0]] if named else next(iter(texts.values())))
    return [text for text in chosen.to_pylist() if text]


def _text(kind: pa.DataType) -> bool:
    """Whether a column holds texts, in whatever encoding."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def check_tokenizer(tokenizer: str) -> bool:
    """Refuse what is no tokenizer; returns whether it is a file.

    Raises:
        ValueError: One sentence with the value and what would be right.
    """
    return tokenizer not in _tokenizer_stamp(tokenizer)


def _tokenizer_stamp(tokenizer: str) -> list[str | bytes]:
    """What tells whether a tokenizer has changed: its name, or its file's content."""
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


def _make_tokenizer(tokenizer: str, texts: list[str], folder: Path) -> tuple[Encode, int]:
    """A function from documents to tokens, and its vocabulary; `folder` keeps a trained one."""
    if tokenizer == "bytes":
        return _encode_bytes, 256
    if tokenizer.startswith("bpe:"):
        made = Tokenizer(models.BPE())
        made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        made.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=int(tokenizer.removeprefix("bpe:")),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        made.train_from_iterator(texts, trainer)
        made.save(str(folder / "tokenizer.json"))
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
