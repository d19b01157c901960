"""Corpora: the same text by every road, splits that hold, and files refused by name."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tokenizers import Tokenizer

from tenfold.envs.text import batch, check_length, load_corpus, windows

TEXTS = [f"line {i}\nwith ünïcode and number {i * i}" for i in range(60)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The texts as one file each."""
    path = tmp_path / "texts"
    path.mkdir()
    for i, text in enumerate(TEXTS):
        (path / f"{i:02d}.txt").write_text(text)
    return path


def decoded(tokens: np.ndarray) -> str:
    return bytes(tokens.astype(np.uint8)).decode()


def test_bytes_give_the_text_back_split_by_file(folder: Path, tmp_path: Path) -> None:
    corpus = load_corpus(str(folder), "bytes", tmp_path / "cache")
    train, held_out = decoded(corpus.train), decoded(corpus.validation)
    assert corpus.vocabulary == 256
    assert len(train.encode()) == corpus.train_bytes
    assert len(held_out.encode()) == corpus.validation_bytes
    # Every text is whole in one split, in the order of the files.
    in_train = [text for text in TEXTS if text in train]
    assert "\n".join(in_train) == train
    assert "\n".join(text for text in TEXTS if text not in in_train) == held_out
    assert 0 < len(TEXTS) - len(in_train) < 15


def test_parquet_rows_and_a_saved_dataset_are_the_same_text(tmp_path: Path) -> None:
    table = pa.table({"text": TEXTS, "id": list(range(60))})
    pq.write_table(table, tmp_path / "rows.parquet")
    saved = tmp_path / "dataset"
    saved.mkdir()
    with pa.ipc.new_stream(str(saved / "data-00000-of-00001.arrow"), table.schema) as stream:
        stream.write_table(table)
    rows = load_corpus(str(tmp_path / "rows.parquet"), "bytes", tmp_path / "cache")
    dataset = load_corpus(str(saved), "bytes", tmp_path / "cache")
    for split in ("train", "validation"):
        np.testing.assert_array_equal(getattr(rows, split), getattr(dataset, split))
    assert sorted([*decoded(rows.train).split("\nline"), *decoded(rows.validation).split("\nline")])


def test_a_saved_datasets_own_splits_count(tmp_path: Path) -> None:
    for split, texts in (("train", TEXTS[:50]), ("validation", TEXTS[50:])):
        (tmp_path / "d" / split).mkdir(parents=True)
        table = pa.table({"text": texts})
        path = tmp_path / "d" / split / "data-00000-of-00001.arrow"
        with pa.ipc.new_stream(str(path), table.schema) as stream:
            stream.write_table(table)
    corpus = load_corpus(str(tmp_path / "d"), "bytes", tmp_path / "cache")
    assert decoded(corpus.train) == "\n".join(TEXTS[:50])
    assert decoded(corpus.validation) == "\n".join(TEXTS[50:])


def test_one_file_holds_its_end_out(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("x" * 950 + "y" * 50)
    corpus = load_corpus(str(tmp_path / "one.txt"), "bytes", tmp_path / "cache")
    assert (decoded(corpus.train), decoded(corpus.validation)) == ("x" * 950, "y" * 50)


def test_bpe_is_trained_on_the_training_split_and_decodes(folder: Path, tmp_path: Path) -> None:
    corpus = load_corpus(str(folder), "bpe:300", tmp_path / "cache")
    plain = load_corpus(str(folder), "bytes", tmp_path / "cache")
    (file,) = (tmp_path / "cache").glob("*/tokenizer.json")
    tokenizer = Tokenizer.from_file(str(file))
    assert corpus.vocabulary == tokenizer.get_vocab_size() == 300
    assert tokenizer.decode(corpus.train.tolist()) == decoded(plain.train)
    assert tokenizer.decode(corpus.validation.tolist()) == decoded(plain.validation)
    assert len(corpus.train) < len(plain.train)
    again = load_corpus(str(folder), str(file), tmp_path / "cache")
    np.testing.assert_array_equal(again.train, corpus.train)


def test_the_cache_is_used_until_a_file_changes_also_by_many_at_once(
    folder: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: load_corpus(str(folder), "bytes", cache), range(8)))
    assert len(list(cache.iterdir())) == 1
    for corpus in found:
        np.testing.assert_array_equal(corpus.train, found[0].train)
    (folder / "00.txt").write_text("something else, and longer than it was before this")
    changed = load_corpus(str(folder), "bytes", cache)
    assert len(list(cache.iterdir())) == 2
    assert "something else" in decoded(changed.train) + decoded(changed.validation)


def test_the_standard_library_is_there_without_its_tests(tmp_path: Path) -> None:
    corpus = load_corpus("stdlib", "bytes", tmp_path / "cache")
    assert corpus.train_bytes > 5_000_000
    assert 0.01 < corpus.validation_bytes / corpus.train_bytes < 0.2
    assert "class TestCase(" in decoded(corpus.train) + decoded(corpus.validation)
    assert "class RegressionTests(" not in decoded(corpus.train)


def test_batches_are_windows_at_places_that_the_key_gives() -> None:
    tokens = np.arange(1_000, dtype=np.uint16)
    drawn = batch(tokens, 10, 200, [3, 1, 4])
    assert drawn.shape == (200, 11)
    assert drawn.dtype == np.int64
    np.testing.assert_array_equal(drawn - drawn[:, :1], np.tile(np.arange(11), (200, 1)))
    np.testing.assert_array_equal(drawn, batch(tokens, 10, 200, [3, 1, 4]))
    assert not np.array_equal(drawn, batch(tokens, 10, 200, [3, 1, 5]))
    in_order = windows(tokens, 10, most=1_000)
    assert in_order.shape == (99, 11)
    np.testing.assert_array_equal(in_order[:, 1:].ravel(), np.arange(1, 991))


def bad_parquet(path: Path) -> None:
    pq.write_table(pa.table({"a": ["x"], "b": ["y"]}), path)


@pytest.mark.parametrize(
    ("name", "content", "tokenizer", "said"),
    [
        ("missing.txt", None, "bytes", ["missing.txt", "does not exist"]),
        ("empty.txt", b"", "bytes", ["empty.txt", "empty"]),
        ("latin.txt", "ü".encode("latin-1") * 99, "bytes", ["latin.txt", "UTF-8"]),
        ("broken.parquet", b"no parquet", "bytes", ["broken.parquet", "not a Parquet file"]),
        ("columns.parquet", bad_parquet, "bytes", ["columns.parquet", "'text'", "a, b"]),
        ("folder", "folder", "bytes", ["folder", ".txt", ".parquet"]),
        ("good.txt", b"text " * 99, "bite", ["'bite'", "'tokenizer'", "bpe:"]),
        ("good.txt", b"text " * 99, "bpe:100", ["'bpe:100'", "257 to 65536"]),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(
    name: str, content: object, tokenizer: str, said: list[str], tmp_path: Path
) -> None:
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content == "folder":
        path.mkdir()
    elif callable(content):
        content(path)
    with pytest.raises(ValueError, match=r"\S") as refusal:
        load_corpus(str(path), tokenizer, tmp_path / "cache")
    message = str(refusal.value)
    assert "\n" not in message
    for part in said:
        assert part in message


def test_a_broken_tokenizer_and_a_short_corpus_are_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text(json.dumps({"model": 3}))
    with pytest.raises(ValueError, match=r"t\.json' is not a tokenizers JSON file"):
        load_corpus(str(folder), str(tmp_path / "t.json"), tmp_path / "cache")
    corpus = load_corpus(str(folder), "bytes", tmp_path / "cache")
    check_length(corpus, len(corpus.validation) - 1)
    with pytest.raises(ValueError, match=f"at most {len(corpus.validation) - 1}"):
        check_length(corpus, len(corpus.validation))
