"""Token files in nanoGPT's layout; about 2 s."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tenfold.algorithms.mst.loop import MSTLoop
from tenfold.envs.data.text import load_corpus
from tenfold.platform.configuration import build_config
from tenfold.platform.errors import InputError
from tenfold.platform.registry import get_method


def write(file: Path, tokens: Any) -> Path:
    file.write_bytes(np.asarray(tokens).astype("<u2").tobytes())
    return file


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    """A folder with a pattern that repeats every 40 tokens."""
    folder = tmp_path / "tokens"
    folder.mkdir()
    write(folder / "train.bin", np.arange(4_000) % 40 * 100)
    write(folder / "val.bin", np.arange(400) % 40 * 100 + 17)
    return folder


def test_a_folder_has_its_splits_and_a_file_its_end(tokens: Path, tmp_path: Path) -> None:
    corpus = load_corpus(str(tokens), "bytes", tmp_path / "cache")
    np.testing.assert_array_equal(corpus.train, np.arange(4_000) % 40 * 100)
    np.testing.assert_array_equal(corpus.validation, np.arange(400) % 40 * 100 + 17)
    assert isinstance(corpus.train, np.memmap)
    assert corpus.vocabulary == 3_918
    assert corpus.widths is None
    write(tmp_path / "one.bin", [*range(100), 65_535])
    one = load_corpus(str(tmp_path / "one.bin"), "bytes", tmp_path / "cache")
    np.testing.assert_array_equal(one.train, range(96))
    np.testing.assert_array_equal(one.validation, [*range(96, 100), 65_535])
    assert one.vocabulary == 65_536


def test_a_changed_file_has_its_own_vocabulary(tmp_path: Path) -> None:
    for largest in (7, 300):
        write(tmp_path / "one.bin", np.arange(100) % (largest + 1))
        corpus = load_corpus(str(tmp_path / "one.bin"), "bytes", tmp_path / "cache")
        assert corpus.vocabulary == min(largest, 99) + 1


def odd(folder: Path) -> Path:
    (folder / "val.bin").write_bytes(b"abc")
    return folder


def empty(folder: Path) -> Path:
    (folder / "train.bin").write_bytes(b"")
    return folder / "train.bin"


def without_validation(folder: Path) -> Path:
    (folder / "val.bin").unlink()
    return folder


def short(folder: Path) -> Path:
    return write(folder / "few.bin", range(10))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (odd, r"val\.bin' has 3 bytes: tokens are uint16, so give a file of an even number"),
        (empty, r"train\.bin' has 0 bytes"),
        (without_validation, r"val\.bin' does not exist"),
        (short, r"'context': the train split has only 9 tokens"),
    ],
)
@pytest.mark.parametrize("method", ["mst", "qsr"])
def test_files_that_are_no_tokens_are_refused_at_the_door(
    method: str, spoil: Any, said: str, tokens: Path, runs: Path
) -> None:
    with pytest.raises(InputError, match=said):
        build_config(get_method(method), str(spoil(tokens)), method, {}, 0)


def test_a_model_trains_on_tokens(tokens: Path, runs: Path) -> None:
    mst = get_method("mst")
    few = {**mst.smoke, "steps": 60, "report_every": 60, "lr": 0.02, "sparsity": ((0.0, 0.0),)}
    write(tokens / "val.bin", np.arange(400) % 40 * 100)
    loop = MSTLoop(build_config(mst, str(tokens), "dense", few, 0))
    before = loop.evaluate()
    after = loop.advance()
    assert after["loss"] < before["loss"] / 2
    assert "bits_per_byte" not in after
    qsr = get_method("qsr")
    config = build_config(qsr, str(tokens), "qsr", {"context": 16}, 0)
    assert config.architecture == "gpt2"
