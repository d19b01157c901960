"""Documents of a user's texts, or of the standard library's sources, and which are held out."""

import gzip
import json
import os
import sysconfig
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa

from tenfold.envs.data.cache import stamps
from tenfold.envs.data.columnar import batches_of, columnar_files, schema_of
from tenfold.envs.data.files import data_files, say_left_out, train_and_held_out, unpacked

SUFFIXES = (".txt", ".md", ".py")
SPLITS = ("train", "validation")
_VALIDATION_SHARE = 0.05
_LEAST_HELD_OUT = 4_096  # characters
_TEXT_COLUMNS = ("text", "content", "document", "body", "article", "sentence", "story", "code")
_NOT_LIBRARY = {"site-packages", "test", "tests", "idle_test", "__pycache__", "lib2to3"}

Documents = dict[str, list[str]]
"""Texts by split."""
Named = Iterator[tuple[str, str]]
"""Documents with their names."""


def find_documents(source: str, unseen: bool) -> tuple[Callable[[], Documents], list[str]]:
    """How to read and split a corpus, and what tells whether it has changed.

    Args:
        source: As `text.load_corpus` takes it, but for tokens.
        unseen: Likewise; the training split then is empty.

    Raises:
        ValueError: There is nothing there that could be read.
    """
    return _stdlib(unseen) if source == "stdlib" else _own(Path(source), unseen)


def _stdlib(unseen: bool) -> tuple[Callable[[], Documents], list[str]]:
    root = Path(sysconfig.get_paths()["stdlib"])
    files = sorted(_sources(root))

    def readable() -> Named:
        for path in files:
            with suppress(ValueError):  # the sources of a few codecs are not UTF-8
                yield str(path.relative_to(root)), _read(path)

    split = _all_held_out if unseen else _split
    return lambda: split(list(readable()), root), ["stdlib", *stamps(files, root)]


def _sources(root: Path) -> Iterator[Path]:
    """Python files that are of the library itself; what is installed beside it is not entered."""
    for folder, inner, files in os.walk(root):
        inner[:] = set(inner) - _NOT_LIBRARY
        yield from (Path(folder, name) for name in files if name.endswith(".py"))


def _own(source: Path, unseen: bool) -> tuple[Callable[[], Documents], list[str]]:
    """How to read a user's texts, and what tells whether they have changed."""
    if not os.path.exists(source):
        raise ValueError(f"'{source}' does not exist: give a text, a Parquet file or a folder.")
    split = _all_held_out if unseen else _split
    if source.is_file():
        kind = _kind(source) if _kind(source) in _DOCUMENTS else ".txt"
        stamp = [str(source.absolute()), *stamps([source], source.parent)]
        return lambda: split(list(_DOCUMENTS[kind](source.parent, [source])), source), stamp
    found: dict[str, list[Path]] = {}
    for path in data_files(source):
        found.setdefault(_kind(path), []).append(path)
    found[".arrow"] = columnar_files(found.get(".arrow", []))
    kind = next((kind for kind in _DOCUMENTS if found.get(kind)), "")
    if not kind:
        raise ValueError(
            f"'{source}' has no {', '.join(SUFFIXES)}, .jsonl, .parquet or .arrow files."
        )
    files = found[kind]
    if kind != ".arrow":  # JSON files stand beside those
        others = sum(len(paths) for paths in found.values()) - len(files)
        say_left_out(source, others, f"not {', '.join(SUFFIXES) if kind == '.txt' else kind}")
    layout = train_and_held_out(source, files)
    if unseen and layout is not None:
        files, layout = layout[1], None

    def read() -> Documents:
        if layout is None:
            return split(list(_DOCUMENTS[kind](source, files)), source)
        return {
            split: [text for _, text in _DOCUMENTS[kind](source, own)]
            for split, own in zip(SPLITS, layout, strict=True)
        }

    return read, [str(source.absolute()), *stamps(files, source)]


def _kind(file: Path) -> str:
    """The key of `_DOCUMENTS` for a file, or its ending if there is none."""
    ending = unpacked(file).suffix.lower()
    if ending in SUFFIXES:
        return ".txt"
    return ending if ending == ".jsonl" else file.suffix.lower()


def _read(path: Path) -> str:
    with _opened(path) as file:
        return file.read()


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    """A text, unpacked if it is a .gz."""
    try:
        open_ = gzip.open if path.suffix.lower() == ".gz" else open
        with open_(path, "rt", encoding="utf-8") as file:
            yield file
    except UnicodeDecodeError:
        raise ValueError(f"'{path}' is not UTF-8 text.") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"'{path}' is not a whole gzip file: {error}.") from None


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


def _all_held_out(documents: Sequence[tuple[str, str]], source: Path) -> Documents:
    """Every document, for a model that was trained on others."""
    return {"train": [], "validation": [text for _, text in documents]}


def _by_place(text: str, source: Path) -> Documents:
    share = int(len(text) * _VALIDATION_SHARE)
    cut = len(text) - max(share, min(_LEAST_HELD_OUT, len(text) // 5))
    if not text[:cut].strip() or not text[cut:].strip():
        raise ValueError(f"'{source}' is empty or too short to hold a part of it out.")
    return {"train": [text[:cut]], "validation": [text[cut:]]}


def _texts(root: Path, files: Sequence[Path]) -> Named:
    return ((str(path.relative_to(root)), _read(path)) for path in files)


def _columnar_rows(root: Path, files: Sequence[Path]) -> Named:
    texts = (text for file in files for text in _text_column(file))
    return ((str(row), text) for row, text in enumerate(texts))


def _json_rows(root: Path, files: Sequence[Path]) -> Named:
    """JSON Lines: an object a line, with a text as a Parquet file's row has one."""
    texts = (text for file in files for text in _json_texts(file))
    return ((str(row), text) for row, text in enumerate(texts))


def _json_texts(source: Path) -> Iterator[str]:
    with _opened(source) as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                raise ValueError(f"'{source}' has no JSON on line {number}.") from None
            if not isinstance(row, dict):
                raise ValueError(f"'{source}' has no JSON object on line {number}.")
            text = _text_of(row, f"'{source}', line {number},")
            if text:
                yield text


def _text_of(row: Mapping[str, Any], place: str) -> str | None:
    texts = {key.lower(): value for key, value in row.items() if isinstance(value, str | None)}
    named = [name for name in _TEXT_COLUMNS if name in texts]
    if not named and len(texts) != 1:
        raise ValueError(f"{place} has no text 'text' among {', '.join(row) or 'no keys'}.")
    return texts[named[0]] if named else next(iter(texts.values()))


_DOCUMENTS: dict[str, Callable[[Path, Sequence[Path]], Named]] = {
    ".arrow": _columnar_rows,
    ".parquet": _columnar_rows,
    ".jsonl": _json_rows,
    ".txt": _texts,
}
"""How documents and their names are read from files of a kind; a folder's first kind counts."""


def _text_column(source: Path) -> Iterator[str]:
    schema = schema_of(source)
    texts = {field.name.lower(): field.name for field in schema if _text(field.type)}
    named = [name for name in _TEXT_COLUMNS if name in texts]
    if not named and len(texts) != 1:
        raise ValueError(f"'{source}' has no text column 'text' among {', '.join(schema.names)}.")
    chosen = texts[named[0]] if named else next(iter(texts.values()))
    for rows in batches_of(source, [chosen]):
        yield from (text for text in rows[chosen].to_pylist() if text)


def _text(kind: pa.DataType) -> bool:
    """Whether a column holds texts, in whatever encoding."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )
