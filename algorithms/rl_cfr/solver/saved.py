"""Solved trees on disk: what was asked, and the solver's numbers, from which it can go on.

The file is NumPy's .npz without pickles: it executes nothing. The tree is built anew from words.
"""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from tenfold.algorithms.rl_cfr.solver.locks import LockWords

_QUESTION = "question"


class Question(BaseModel):
    """A spot and its bet tree in the words of `tenfold solve`.

    Attributes:
        board: Cards.
        pot: Chips in the middle.
        stacks: Chips behind.
        ranges: One a player, who acts first comes first.
        sizes: As `parse_menus` takes them.
        max_raises: A street.
        big_blind: Smallest bet; derived when None.
        variant: Of CFR.
        rake: As `read_spot` takes it.
        rake_cap: The same.
        locks: Decisions whose strategies are fixed.
        compressed: As in `Solver`.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    board: str
    pot: str
    stacks: str
    ranges: tuple[str, ...]
    sizes: tuple[str, ...]
    max_raises: int
    big_blind: str | None
    variant: str
    rake: str | None = None
    rake_cap: str | None = None
    locks: tuple[LockWords, ...] = ()
    compressed: bool = False


def save_solved(file: Path, question: Question, numbers: dict[str, NDArray[Any]]) -> None:
    """Write a solved tree.

    Args:
        file: Replaced if it is there.
        question: What was asked.
        numbers: Of `Solver.get_state`.
    """
    words = np.frombuffer(question.model_dump_json().encode(), np.uint8)
    with file.open("wb") as out:
        np.savez(out, allow_pickle=False, **{_QUESTION: words}, **numbers)


def load_solved(file: Path) -> tuple[Question, dict[str, NDArray[Any]]]:
    """What `save_solved` wrote.

    Raises:
        ValueError: It is no such file, or damaged.
    """
    try:
        with np.load(file, allow_pickle=False) as arrays:
            numbers = {name: arrays[name] for name in arrays.files}
        question = Question.model_validate_json(numbers.pop(_QUESTION).tobytes())
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        raise ValueError(
            f"'{file}' is no solved tree, or damaged: give one that 'tenfold solve --save' wrote."
        ) from None
    return question, numbers
