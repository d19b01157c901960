"""Corpora: the same text by every road, splits that hold, and files refused by name.

About 9 s on one core, two fresh processes among them.
"""

import gzip
import itertools
import json
import logging
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from tenfold.envs.data.text import batch, check_length, load_corpus, windows

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
    assert len(held_out.encode()) == corpus.widths.sum()
    assert set(corpus.widths.tolist()) == {1}
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
    (tmp_path / "one.txt").write_text("x" * 95_000 + "y" * 5_000)
    corpus = load_corpus(str(tmp_path / "one.txt"), "bytes", tmp_path / "cache")
    assert (decoded(corpus.train), decoded(corpus.validation)) == ("x" * 95_000, "y" * 5_000)


@pytest.mark.parametrize(("length", "held_out"), [(100, 20), (20_000, 4_000), (40_000, 4_096)])
def test_what_is_held_out_is_no_less_than_a_fifth_or_4096_characters(
    length: int, held_out: int, tmp_path: Path
) -> None:
    text = "".join(chr(97 + i % 26) for i in range(length))
    (tmp_path / "alone").mkdir()
    (tmp_path / "alone" / "one.txt").write_text(text)
    (tmp_path / "one.txt").write_text(text)
    for source in ("alone", "one.txt"):
        corpus = load_corpus(str(tmp_path / source), "bytes", tmp_path / "cache")
        assert decoded(corpus.train) + decoded(corpus.validation) == text
        assert len(corpus.validation) == held_out


@pytest.mark.parametrize("sizes", [[5_000, 5_000], [90_000, 10], [10, 90_000], [300] * 40, [7] * 3])
def test_whatever_the_sizes_of_the_files_both_splits_are_large(
    sizes: list[int], tmp_path: Path
) -> None:
    for i, size in enumerate(sizes):
        (tmp_path / f"{i}.txt").write_text(chr(97 + i % 26) * size)
    corpus = load_corpus(str(tmp_path), "bytes", tmp_path / "cache")
    share = len(corpus.validation) / (len(corpus.train) + len(corpus.validation))
    assert 0.04 < share < 0.26


LAYOUTS = {
    "folders": (["train/a.txt", "train/b.txt"], ["val/c.txt"], []),
    "unusual names": (["Training/a.txt"], ["valid/deep/c.txt"], ["notes.txt"]),
    "three splits": (["train/a.txt"], ["validation/c.txt"], ["test/d.txt", "test/e.txt"]),
    "files": (["train.txt"], ["test.txt"], []),
    "packed files": (["train.jsonl.gz"], ["val.jsonl"], []),
    "packed texts": (["train.txt.gz"], ["dev.txt"], []),
    "shards": (
        ["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet"],
        ["data/test-00000-of-00001.parquet"],
        [],
    ),
}


def write_text(path: Path, text: str) -> None:
    """As a file of its suffix's kind."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(pa.table({"text": [text]}), path)
        return
    if ".jsonl" in path.suffixes:
        text = json.dumps({"text": text}) + "\n"
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)


def test_json_lines_and_packed_files_are_the_same_text(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": TEXTS}), tmp_path / "rows.parquet")
    expected = load_corpus(str(tmp_path / "rows.parquet"), "bytes", tmp_path / "cache")
    rows = [json.dumps({"id": str(i), "Text": text}) for i, text in enumerate(TEXTS)]
    lines = "\n\n".join([*rows, '{"text": null}']).encode()
    (tmp_path / "rows.jsonl").write_bytes(lines)
    (tmp_path / "packed.jsonl.gz").write_bytes(gzip.compress(lines))
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.jsonl").write_bytes(lines[: lines.index(b"\n")])
    (tmp_path / "folder" / "b.jsonl.gz").write_bytes(gzip.compress(lines[lines.index(b"\n") :]))
    (tmp_path / "folder" / "README.md").write_text("what is in the folder")
    for source in ("rows.jsonl", "packed.jsonl.gz", "folder"):
        found = load_corpus(str(tmp_path / source), "bytes", tmp_path / "cache")
        for field in ("train", "validation", "widths"):
            np.testing.assert_array_equal(getattr(found, field), getattr(expected, field))
    whole = "\n".join(TEXTS)
    (tmp_path / "plain.txt").write_text(whole)
    (tmp_path / "packed.txt.gz").write_bytes(gzip.compress(whole.encode()))
    plain, packed = (
        load_corpus(str(tmp_path / name), "bytes", tmp_path / "cache")
        for name in ("plain.txt", "packed.txt.gz")
    )
    np.testing.assert_array_equal(packed.train, plain.train)
    np.testing.assert_array_equal(packed.validation, plain.validation)


def test_a_text_that_was_not_trained_on_is_held_out_as_a_whole(
    folder: Path, tmp_path: Path
) -> None:
    unseen = load_corpus(str(folder), "bytes", tmp_path / "cache", unseen=True)
    assert decoded(unseen.validation) == "\n".join(TEXTS)
    assert (len(unseen.train), unseen.train_bytes) == (0, 0)
    (tmp_path / "one.txt").write_text("short")
    one = load_corpus(str(tmp_path / "one.txt"), "bytes", tmp_path / "cache", unseen=True)
    assert decoded(one.validation) == "short"
    for name in ("train/a.txt", "val/b.txt", "val/c.txt"):
        write_text(tmp_path / "own" / name, name)
    own = load_corpus(str(tmp_path / "own"), "bytes", tmp_path / "cache", unseen=True)
    assert decoded(own.validation) == "val/b.txt\nval/c.txt"
    seen = load_corpus(str(folder), "bytes", tmp_path / "cache")
    assert 0 < len(seen.validation) < len(unseen.validation)


def test_bytes_are_also_a_tokenizers_file(folder: Path, tmp_path: Path) -> None:
    (folder / "all.txt").write_bytes("".join(map(chr, range(0, 0xD7FF, 9))).encode())
    corpus = load_corpus(str(folder), "bytes", tmp_path / "cache")
    assert corpus.tokenizer is not None
    found = load_corpus(str(folder), str(corpus.tokenizer), tmp_path / "cache")
    np.testing.assert_array_equal(found.train, corpus.train)
    np.testing.assert_array_equal(found.validation, corpus.validation)
    assert found.vocabulary == 256
    assert found.widths is not None
    assert found.widths.sum() == len(corpus.validation)
    vocabulary = Tokenizer.from_file(str(corpus.tokenizer)).get_vocab()
    assert sorted(vocabulary.values()) == list(range(256))


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_a_folders_own_splits_count(
    layout: tuple[list[str], ...], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = tmp_path / "own"
    for name in itertools.chain(*layout):
        write_text(root / name, f"the text of {name}")
    with caplog.at_level(logging.WARNING):
        corpus = load_corpus(str(root), "bytes", tmp_path / "cache")
    train, held_out, left_out = layout
    assert decoded(corpus.train) == "\n".join(f"the text of {name}" for name in train)
    assert decoded(corpus.validation) == "\n".join(f"the text of {name}" for name in held_out)
    said = [r.message for r in caplog.records]
    assert len(said) == bool(left_out)
    if left_out:
        assert f"'{root}': {len(left_out)} file" in said[0]


def test_programs_called_train_and_test_are_no_splits(tmp_path: Path) -> None:
    for name in ("train.py", "test.py", "a.py"):
        write_text(tmp_path / "code" / name, f"print('{name}')\n" * 200)
    corpus = load_corpus(str(tmp_path / "code"), "bytes", tmp_path / "cache")
    whole = decoded(corpus.train) + decoded(corpus.validation)
    assert all(whole.count(f"print('{name}')") == 200 for name in ("train.py", "test.py", "a.py"))


LITTER = ["__MACOSX/x.txt", ".ipynb_checkpoints/a.txt", "._a.txt", ".DS_Store", ".git/y.txt"]


def test_litter_is_left_out_with_a_count(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clean = load_corpus(str(folder), "bytes", tmp_path / "cache")
    for name in (*LITTER, "sub/Thumbs.db", "sub/._b.txt"):
        write_text(folder / name, "litter")
    (folder / "picture.png").write_bytes(b"not text")
    with caplog.at_level(logging.WARNING):
        found = load_corpus(str(folder), "bytes", tmp_path / "cache")
    np.testing.assert_array_equal(found.train, clean.train)
    np.testing.assert_array_equal(found.validation, clean.validation)
    said = [r.message for r in caplog.records]
    assert any(f"'{folder}': 7 files left out (hidden" in message for message in said)
    assert any(f"'{folder}': 1 file left out (not .txt, .md, .py)" in message for message in said)


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.string_view(), "dictionary", "large dictionary"]
)
@pytest.mark.parametrize("name", ["text", "Content", "x"])
def test_texts_of_any_encoding_and_column_are_read(kind: object, name: str, tmp_path: Path) -> None:
    if isinstance(kind, str):
        value = pa.large_string() if "large" in kind else pa.string()
        column = pa.array([*TEXTS, None], value).dictionary_encode()
    else:
        column = pa.array([*TEXTS, None], kind)
    table = pa.table({"id": list(range(61)), name: column})
    pq.write_table(table, tmp_path / "rows.parquet")
    with pa.ipc.new_stream(str(tmp_path / "rows.arrow"), table.schema) as stream:
        stream.write_table(table)
    (tmp_path / "saved").mkdir()
    (tmp_path / "rows.arrow").rename(tmp_path / "saved" / "data.arrow")
    # What `datasets` caches beside it is not read a second time.
    (tmp_path / "saved" / "cache-0123.arrow").write_bytes(b"")
    for source in ("rows.parquet", "saved"):
        corpus = load_corpus(str(tmp_path / source), "bytes", tmp_path / "cache")
        found = decoded(corpus.train) + "\n" + decoded(corpus.validation)
        assert all(found.count(text) == 1 for text in TEXTS[10:])
        assert len(found) == len("\n".join(TEXTS))


def words(**model: object) -> Tokenizer:
    """A tokenizer of a few lower-case words."""
    vocabulary = {"[UNK]": 0, "one": 1, "two": 2, "ünï": 3, "three": 7}
    made = Tokenizer(models.WordLevel(vocabulary, **model))
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return made


def test_a_tokenizers_truncation_padding_and_special_tokens_do_not_touch_the_corpus(
    folder: Path, tmp_path: Path
) -> None:
    load_corpus(str(folder), "bpe:300", tmp_path / "cache")
    (file,) = (tmp_path / "cache").glob("*/tokenizer.json")
    plain = load_corpus(str(folder), str(file), tmp_path / "cache")
    changed = Tokenizer.from_file(str(file))
    changed.enable_truncation(max_length=5)
    changed.enable_padding(length=64)
    changed.post_processor = processors.ByteLevel(trim_offsets=True)
    changed.save(str(tmp_path / "changed.json"))
    found = load_corpus(str(folder), str(tmp_path / "changed.json"), tmp_path / "cache")
    for field in ("train", "validation", "widths"):
        np.testing.assert_array_equal(getattr(found, field), getattr(plain, field))
    assert len(plain.train) > 64
    assert plain.vocabulary == found.vocabulary


def test_tokens_stand_for_the_bytes_that_they_cover(tmp_path: Path) -> None:
    words(unk_token="[UNK]").save(str(tmp_path / "words.json"))
    for name, text in (("train", "one"), ("val", "ONE  ünï what two\n€ three")):
        write_text(tmp_path / "t" / f"{name}.txt", text)
    corpus = load_corpus(str(tmp_path / "t"), str(tmp_path / "words.json"), tmp_path / "c")
    assert corpus.validation.tolist() == [1, 3, 0, 2, 0, 7]
    assert corpus.widths.tolist() == [3, 5, 0, 3, 0, 5]  # an unknown word is not encoded
    assert corpus.vocabulary == 8  # one more than the largest token
    assert corpus.train_bytes == 3
    # Bytes of one character are several tokens of a byte-level vocabulary: they count once.
    pieces = load_corpus(str(tmp_path / "t"), "bpe:257", tmp_path / "c")
    assert len(pieces.validation) > len("ONE  ünï what two\n€ three")
    assert pieces.widths.sum() == len("ONE  ünï what two\n€ three".encode())


def test_a_vocabulary_without_an_unknown_token_is_refused_where_it_lacks_a_word(
    tmp_path: Path,
) -> None:
    words().save(str(tmp_path / "words.json"))
    write_text(tmp_path / "known" / "train.txt", "one two one")
    write_text(tmp_path / "known" / "test.txt", "two two")
    corpus = load_corpus(str(tmp_path / "known"), str(tmp_path / "words.json"), tmp_path / "c")
    assert corpus.train.tolist() == [1, 2, 1]
    write_text(tmp_path / "known" / "test.txt", "two four")
    with pytest.raises(ValueError, match=r"words\.json' cannot encode the text: .*UNK") as refusal:
        load_corpus(str(tmp_path / "known"), str(tmp_path / "words.json"), tmp_path / "c")
    assert "\n" not in str(refusal.value)
    write_text(tmp_path / "strange" / "train.txt", "some words")
    write_text(tmp_path / "strange" / "test.txt", "other words")
    words(unk_token="[UNK]").save(str(tmp_path / "words.json"))
    with pytest.raises(ValueError, match=r"no text in its train split that '.*words\.json'"):
        load_corpus(str(tmp_path / "strange"), str(tmp_path / "words.json"), tmp_path / "c")


TWO_AT_ONCE = """
import sys, time
from pathlib import Path
from tenfold.envs.data.text import load_corpus
from tenfold.envs.data.images import load_images
here, me, other = (Path(argument) for argument in sys.argv[1:])
me.touch()
while not other.exists():
    time.sleep(0.001)
corpus = load_corpus("stdlib", "bytes", here / "cache")
images = load_images(str(here / "pets"), cache=here / "cache", size=8, label_noise=0.0, seed=0)
print(len(corpus.train), int(corpus.train[::97].sum()), images.train_x.shape, images.train_x.sum())
"""


def test_two_processes_that_fill_a_cache_at_once_get_the_same(tmp_path: Path) -> None:
    for name, shade in (("cat", 40), ("dog", 200)):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for i in range(20):
            Image.new("L", (64, 64), shade + i).save(tmp_path / "pets" / name / f"{i}.png")
    marks = [tmp_path / "first", tmp_path / "second"]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", TWO_AT_ONCE, str(tmp_path), str(me), str(other)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for me, other in (marks, marks[::-1])
    ]
    one, two = (process.communicate()[0] for process in processes)
    assert [process.returncode for process in processes] == [0, 0]
    assert one == two != ""
    corpus = load_corpus("stdlib", "bytes", tmp_path / "cache")
    assert one.startswith(f"{len(corpus.train)} {int(corpus.train[::97].sum())} (32, 1, 8, 8)")
    kinds = sorted(path.name.split("-")[0] for path in (tmp_path / "cache").iterdir())
    assert kinds == ["images", "text"]  # and nothing half-made is left


def test_bpe_is_trained_on_the_training_split_and_decodes(folder: Path, tmp_path: Path) -> None:
    corpus = load_corpus(str(folder), "bpe:300", tmp_path / "cache")
    plain = load_corpus(str(folder), "bytes", tmp_path / "cache")
    file = corpus.tokenizer
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
    assert 0.01 < corpus.widths.sum() / corpus.train_bytes < 0.2
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


@given(st.integers(1, 20), st.integers(1, 400), st.integers(1, 60))
def test_windows_are_spread_over_all_of_the_text_without_overlap(
    context: int, further: int, most: int
) -> None:
    tokens = np.arange(context + further)
    found = windows(tokens, context, most)
    whole = (len(tokens) - 1) // context
    assert len(found) == min(whole, most)
    starts = found[:, 0]
    np.testing.assert_array_equal(
        found - starts[:, None], np.tile(np.arange(context + 1), (len(found), 1))
    )
    gaps = np.diff(starts)
    assert bool((gaps >= context).all())  # no target is judged twice
    if len(found) > 1:
        assert gaps.max() - gaps.min() <= context
        assert len(tokens) - starts[-1] <= gaps.max() + 2 * context


def bad_parquet(path: Path) -> None:
    pq.write_table(pa.table({"a": ["x"], "b": ["y"]}), path)


@pytest.mark.parametrize(
    ("name", "content", "tokenizer", "said"),
    [
        ("missing.txt", None, "bytes", ["missing.txt", "does not exist"]),
        ("empty.txt", b"", "bytes", ["empty.txt", "empty"]),
        ("blank.txt", b"   " * 99, "bytes", ["blank.txt", "empty"]),
        ("x" * 300, None, "bytes", ["does not exist"]),
        ("good.txt", b"text " * 99, "t" * 300, ["'tokenizer'"]),
        ("good.txt", b"text " * 99, "bpe:\u00b2", ["'tokenizer'"]),
        ("broken.txt.gz", b"no gzip", "bytes", ["broken.txt.gz", "not a whole gzip file"]),
        ("cut.jsonl.gz", gzip.compress(b"x" * 99, mtime=0)[:-9], "bytes", ["cut.jsonl.gz", "gzip"]),
        ("a.jsonl", b'{"text": "x"}\n{"text"', "bytes", ["a.jsonl", "no JSON on line 2"]),
        ("b.jsonl", b'["x"]', "bytes", ["b.jsonl", "no JSON object on line 1"]),
        ("c.jsonl", b'{"a": "x", "b": "y"}', "bytes", ["c.jsonl", "line 1", "'text'", "a, b"]),
        ("d.jsonl", b'{"text": 3}', "bytes", ["d.jsonl", "'text' among text"]),
        ("latin.jsonl", '{"text": "ü"}'.encode("latin-1"), "bytes", ["latin.jsonl", "UTF-8"]),
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
