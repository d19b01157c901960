"""Text corpora as token arrays: the standard library's sources, or a user's own texts.

Tokens are written once into a cache and memory-mapped. Batches are a pure function of their key, so
that a training run has no data position to save.
"""

import json
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from tenfold.envs.cache import fingerprint, prepared

SUFFIXES = (".txt", ".md", ".py")
_VALIDATION_SHARE = 0.05
_NOT_LIBRARY = {"site-packages", "test", "tests", "idle_test", "__pycache__", "lib2to3"}
_SPLITS = ("train", "validation")

Documents = dict[str, list[str]]


@dataclass(frozen=True)
class Corpus:
    """A tokenised corpus, split.

    Attributes:
        train: (tokens,) uint16, memory-mapped.
        validation: The held-out split.
        vocabulary: Number of different tokens.
        train_bytes: Length of the text in UTF-8 bytes.
        validation_bytes: The same of the held-out split, for bits a byte.
    """

    train: np.ndarray
    validation: np.ndarray
    vocabulary: int
    train_bytes: int
    validation_bytes: int


def load_corpus(source: str, tokenizer: str, cache: Path) -> Corpus:
    """Read, split and tokenise a corpus, or take it from the cache.

    Args:
        source: ``stdlib`` (the Python standard library's sources, split by file); a text file
            (.txt, .md, .py; its last 5 % are held out); a folder of such files (split by file); a
            Parquet file or a folder of them with a text column (split by row); or a folder that
            Hugging Face `datasets` saved (its splits ``train`` and ``validation``, else by row).
        tokenizer: ``bytes`` (256 tokens); ``bpe:<vocabulary>`` (byte-level BPE trained on the
            training split); or the path of a `tokenizers` JSON file.
        cache: Folder for the tokens.

    Raises:
        ValueError: The source or the tokenizer is missing, empty or malformed; the message names
            it.
    """
    documents, stamp = _stdlib() if source == "stdlib" else _own(Path(source))
    encode_with = _tokenizer_stamp(tokenizer)

    def make(folder: Path) -> None:
        texts = documents()
        encode, vocabulary = _make_tokenizer(tokenizer, texts["train"], folder)
        sizes = {}
        for split in _SPLITS:
            tokens = encode(texts[split])
            tokens.tofile(folder / f"{split}.bin")
            # Documents are joined by a newline.
            sizes[split] = sum(len(text.encode()) for text in texts[split]) + len(texts[split]) - 1
        (folder / "corpus.json").write_text(json.dumps({"vocabulary": vocabulary, "bytes": sizes}))

    folder = prepared(cache, f"text-{fingerprint([*stamp, *encode_with])}", make)
    about = json.loads((folder / "corpus.json").read_text())
    train, validation = (
        np.memmap(folder / f"{split}.bin", dtype=np.uint16, mode="r") for split in _SPLITS
    )
    sizes = about["bytes"]
    return Corpus(train, validation, about["vocabulary"], sizes["train"], sizes["validation"])


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
    return lambda: _by_file(root, files, lenient=True), ["stdlib", *_stamps(root, files)]


def _own(source: Path) -> tuple[Callable[[], Documents], list[str]]:
    """How to read a user's texts, and what tells whether they have changed."""
    if not source.exists():
        raise ValueError(f"'{source}' does not exist: give a text, a Parquet file or a folder.")
    if source.is_file():
        stamp = [str(source.absolute()), *_stamps(source.parent, [source])]
        if source.suffix == ".parquet":
            return lambda: _by_row(_parquet_texts([source])), stamp
        return lambda: _by_place(_read(source), source), stamp
    found: dict[str, list[Path]] = {}
    for path in sorted(p for p in source.rglob("*") if p.is_file()):
        found.setdefault(path.suffix, []).append(path)
    texts = [path for suffix in SUFFIXES for path in found.get(suffix, [])]
    parquet, arrow = found.get(".parquet", []), found.get(".arrow", [])
    stamp = [str(source.absolute()), *_stamps(source, [*texts, *parquet, *arrow])]
    if arrow:
        return lambda: _saved_dataset(source, arrow), stamp
    if parquet:
        return lambda: _by_row(_parquet_texts(parquet)), stamp
    if texts:
        return lambda: _by_file(source, sorted(texts), lenient=False), stamp
    raise ValueError(f"'{source}' has no {', '.join(SUFFIXES)}, .parquet or .arrow files.")


def _stamps(root: Path, files: Sequence[Path]) -> list[str]:
    return [f"{f.relative_to(root)} {f.stat().st_size} {f.stat().st_mtime_ns}" for f in files]


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"'{path}' is not UTF-8 text.") from None


def _held_out(name: str) -> bool:
    """A stable choice of one name in twenty."""
    return int.from_bytes(sha256(name.encode()).digest()[:8], "big") < _VALIDATION_SHARE * 2**64


def _split(documents: Iterator[tuple[str, str]]) -> Documents:
    split: Documents = {name: [] for name in _SPLITS}
    for name, text in documents:
        split["validation" if _held_out(name) else "train"].append(text)
    if not split["validation"] and len(split["train"]) > 1:
        split["validation"].append(split["train"].pop())
    return split


def _by_file(root: Path, files: Sequence[Path], lenient: bool) -> Documents:
    def documents() -> Iterator[tuple[str, str]]:
        for path in files:
            try:
                yield str(path.relative_to(root)), _read(path)
            except ValueError:
                if not lenient:
                    raise

    return _split(documents())


def _by_place(text: str, source: Path) -> Documents:
    cut = int(len(text) * (1 - _VALIDATION_SHARE))
    if not text[:cut] or not text[cut:]:
        raise ValueError(f"'{source}' is empty or too short to hold a part of it out.")
    return {"train": [text[:cut]], "validation": [text[cut:]]}


def _by_row(texts: list[str]) -> Documents:
    return _split((str(row), text) for row, text in enumerate(texts))


def _parquet_texts(files: Sequence[Path]) -> list[str]:
    texts: list[str] = []
    for file in files:
        try:
            table = pq.read_table(file)
        except (OSError, ValueError) as error:
            raise ValueError(f"'{file}' is not a Parquet file: {error}.") from None
        texts += _text_column(table, file)
    return texts


def _text_column(table: pa.Table, source: Path) -> list[str]:
    strings = [f.name for f in table.schema if pa.types.is_string(f.type) or _large(f.type)]
    chosen = "text" if "text" in strings else strings[0] if len(strings) == 1 else None
    if chosen is None:
        raise ValueError(
            f"'{source}' has no text column 'text' among {', '.join(table.column_names)}."
        )
    return [text for text in table[chosen].to_pylist() if text]


def _large(kind: pa.DataType) -> bool:
    return bool(pa.types.is_large_string(kind))


def _saved_dataset(source: Path, files: Sequence[Path]) -> Documents:
    """What `datasets.save_to_disk` wrote: Arrow streams, in a folder a split or in one."""
    read: Documents = {}
    for file in files:
        split = file.parent.name if file.parent != source else "train"
        try:
            with pa.memory_map(str(file)) as mapped:
                table = pa.ipc.open_stream(mapped).read_all()
        except (OSError, pa.ArrowInvalid) as error:
            raise ValueError(f"'{file}' is not an Arrow stream: {error}.") from None
        read.setdefault(split, []).extend(_text_column(table, file))
    if set(_SPLITS) <= set(read):
        return {split: read[split] for split in _SPLITS}
    return _by_row([text for texts in read.values() for text in texts])


def _tokenizer_stamp(tokenizer: str) -> list[str]:
    kind, _, size = tokenizer.partition(":")
    if tokenizer == "bytes":
        return [tokenizer]
    if kind == "bpe":
        if not size.isdigit() or not 257 <= int(size) <= 2**16:
            raise ValueError(
                f"Bad value '{tokenizer}' for 'tokenizer': give a vocabulary from 257 to 65536."
            )
        return [tokenizer]
    if not Path(tokenizer).is_file():
        raise ValueError(
            f"Bad value '{tokenizer}' for 'tokenizer': give bytes, bpe:<vocabulary> or the path of "
            "a tokenizers JSON file."
        )
    return [Path(tokenizer).read_text()]


def _make_tokenizer(
    tokenizer: str, texts: list[str], folder: Path
) -> tuple[Callable[[list[str]], np.ndarray], int]:
    """A function from documents to tokens, and its vocabulary; `folder` keeps a trained one."""
    if tokenizer == "bytes":
        return lambda found: np.frombuffer("\n".join(found).encode(), np.uint8).astype(
            np.uint16
        ), 256
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
        if made.get_vocab_size() > 2**16:
            raise ValueError(
                f"'{tokenizer}' has {made.get_vocab_size()} tokens, at most 65536 can be stored."
            )

    def encode(found: list[str]) -> np.ndarray:
        joined = [text + "\n" for text in found[:-1]] + found[-1:]
        encoded = made.encode_batch(joined, add_special_tokens=False)
        return np.concatenate([np.array(e.ids, dtype=np.uint16) for e in encoded])

    return encode, made.get_vocab_size()
