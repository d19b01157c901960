"""POMDPs as text, in Cassandra's format (https://pomdp.org/code/pomdp-file-spec.html).

    discount: 0.95                  # read; see `pomdp_of_file` for whether it counts
    values: reward                  # or cost
    states: tiger-left tiger-right  # names, or their number
    actions: listen open-left open-right
    observations: tiger-left tiger-right
    start: uniform                  # or probabilities, a state, `start include:`, `start exclude:`
    T: listen                       # rows: from a state, to a state
    identity
    O: listen : tiger-left 0.85 0.15
    R: listen : * : * : * -1

Of T, O and R every documented form is read: single entries, rows and matrices, ``*`` for all,
``uniform``, ``identity`` and ``reset`` (to the start), names or numbers from 0. What comes later
replaces what came before. Probabilities that are off by rounding (1e-5) are scaled to sum to 1.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np

from tenfold.envs.risk.fields import SLACK, check_size
from tenfold.platform.errors import one_line

_LISTS = ("states", "actions", "observations")
_HEADS = ("discount", "values", *_LISTS, "start", "T", "O", "R")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")
_WHOLE = re.compile(r"[0-9]{1,12}")


@dataclass(frozen=True, eq=False)
class POMDPFile:
    """What a file says.

    Attributes:
        discount: Of its rewards.
        states: Names, as `actions` and `observations`.
        actions: See `states`.
        observations: See `states`.
        start: Distribution of the first state, (S,) float64.
        T: T(s' | s, a), (A, S, S) float64.
        O: O(o | a, s'), (A, S, O) float64.
        R: Reward of (a, s, s', o), costs being negative ones, (A, S, S, O) float64.
    """

    discount: float
    states: list[str]
    actions: list[str]
    observations: list[str]
    start: np.ndarray
    T: np.ndarray
    O: np.ndarray  # noqa: E741 (the format's letter)
    R: np.ndarray


def read_pomdp(path: str | Path) -> POMDPFile:
    """Read a file.

    Raises:
        ValueError: It cannot be read, or its first mistake, with the line.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"'{path}' cannot be read as text: {error}.") from None
    return _Reader(Path(path).name, text).read()


class _Reader:
    """Goes over the words of a file once."""

    def __init__(self, file: str, text: str) -> None:
        self.file = file
        self.words: list[tuple[str, int]] = [
            (word, number)
            for number, line in enumerate(text.splitlines(), 1)
            for word in re.findall(r"[:*]|[^\s:*]+", line.partition("#")[0])
        ]
        self.place = 0

    def read(self) -> POMDPFile:
        names: dict[str, list[str]] = {}
        discount, sign = 1.0, 1.0
        while self.place < len(self.words) and self._peek() not in ("start", "T", "O", "R"):
            head = self._head()
            self._expect(":")
            if head == "discount":
                discount = self._number()
                if not 0.0 <= discount <= 1.0:
                    self._refuse(f"the discount is {discount:g}, give 0 to 1")
            elif head == "values":
                kind = self._next().removesuffix("s")  # files with 'rewards' are about
                if kind not in ("reward", "cost"):
                    self._refuse(f"values are 'reward' or 'cost', not '{one_line(kind)}'")
                sign = 1.0 if kind == "reward" else -1.0
            elif head in names:
                self._refuse(f"'{head}:' is there twice")
            else:
                names[head] = self._names(head)
        for head in _LISTS:
            if head not in names:
                self._refuse(f"'{head}:' is missing, it must come before start, T, O and R")
        self.names = names
        S, A, O = (len(names[head]) for head in ("states", "actions", "observations"))  # noqa: E741
        check_size(A * S * S * O, states=S, actions=A, observations=O)
        self.start = np.full(S, 1.0 / S)
        self.T, self.O, self.R = np.zeros((A, S, S)), np.zeros((A, S, O)), np.zeros((A, S, S, O))
        while self.place < len(self.words):
            head = self._head()
            if head == "start":
                self._start()
            elif head in ("T", "O", "R"):
                self._expect(":")
                self._entry(head)
            else:
                self._refuse(f"'{head}:' must come before start, T, O and R")
        return POMDPFile(
            discount,
            names["states"],
            names["actions"],
            names["observations"],
            self._distributions("start", self.start),
            self._distributions("T", self.T),
            self._distributions("O", self.O),
            sign * self.R,
        )

    # The parts of a file

    def _names(self, kind: str) -> list[str]:
        found = []
        while self.place < len(self.words) and not self._at_head():
            found.append(self._next())
        if len(found) == 1 and _WHOLE.fullmatch(found[0]) and int(found[0]) > 0:
            check_size(int(found[0]) ** 2, **{kind: int(found[0])})
            return [str(i) for i in range(int(found[0]))]
        for name in found:
            if not _NAME.fullmatch(name):
                self._refuse(f"'{one_line(name)}' is not a name for {kind}: begin it with a letter")
        if not found or len(set(found)) < len(found):
            self._refuse(f"'{kind}:' needs names, each once, or their number")
        return found

    def _start(self) -> None:
        S = len(self.names["states"])
        manner = self._peek()
        if manner in ("include", "exclude"):
            self._next()
            self._expect(":")
            chosen = np.zeros(S, dtype=bool)
            while self.place < len(self.words) and not self._at_head():
                chosen[self._indices("states")] = True
            kept = chosen if manner == "include" else ~chosen
            if not kept.any():
                self._refuse("no state is left to start in")
            self.start = kept / kept.sum()
            return
        self._expect(":")
        single = self.place + 1 >= len(self.words) or self._at_head(1)
        if self._peek() == "uniform" or not single or S == 1:
            self.start = self._block((S,))
        else:
            self.start = np.zeros(S)
            self.start[self._indices("states")] = 1.0
            if self.start.sum() != 1.0:
                self._refuse("give one state to start in, 'uniform' or a probability for each")

    def _entry(self, head: str) -> None:
        kinds = {
            "T": ("actions", "states", "states"),
            "O": ("actions", "states", "observations"),
            "R": ("actions", "states", "states", "observations"),
        }[head]
        table = {"T": self.T, "O": self.O, "R": self.R}[head]
        where = [self._indices(kinds[0])]
        while len(where) < len(kinds) and self._peek() == ":":
            self._next()
            where.append(self._indices(kinds[len(where)]))
        if head == "R" and len(where) == 1:
            self._refuse("a reward needs an action and a state at least, 'R: action : state'")
        if self._peek() == ":":  # some programs write 'T: a : s : t : 0.5'
            self._next()
        block = self._block(table.shape[len(where) :], head)
        table[np.ix_(*where)] = block

    def _block(self, shape: tuple[int, ...], head: str = "start") -> np.ndarray:
        """What fills the places that are left: numbers, or a word for all of them."""
        word = self._peek()
        if head != "R" and shape and word == "uniform":
            self._next()
            return np.full(shape, 1.0 / shape[-1])
        if head == "T" and len(shape) == 2 and word == "identity":
            self._next()
            return np.eye(shape[0])
        if head == "T" and shape and word == "reset":
            self._next()
            return np.broadcast_to(self.start, shape)
        count = int(np.prod(shape))
        return np.array([self._number() for _ in range(count)]).reshape(shape)

    def _indices(self, kind: str) -> Sequence[int]:
        """The numbers that a name, a number or ``*`` stands for."""
        known, word = self.names[kind], self._next()
        if word == "*":
            return range(len(known))
        if word not in known and not (_WHOLE.fullmatch(word) and int(word) < len(known)):
            listed = one_line(", ".join(known[:12]))
            self._refuse(f"'{one_line(word)}' is not one of the {kind}, {listed}")
        return [known.index(word) if word in known else int(word)]

    def _distributions(self, what: str, probabilities: np.ndarray) -> np.ndarray:
        """Probabilities that sum to 1 exactly."""
        sums = probabilities.sum(axis=-1)
        wrong = ~(np.abs(sums - 1.0) <= SLACK) | (probabilities < 0.0).any(axis=-1)
        if wrong.any():
            where = tuple(np.argwhere(wrong)[0]) if probabilities.ndim > 1 else ()
            place = ""
            if where:
                a, s = self.names["actions"][where[0]], self.names["states"][where[1]]
                place = f" of action '{a}' and state '{s}'"
            raise ValueError(
                f"'{self.file}': the probabilities '{what}'{place} sum to {sums[where]:.6g} and "
                f"the least is {probabilities[where].min():g}, they must sum to 1 and not be "
                "negative."
            )
        return probabilities / sums[..., None]

    # Words

    def _peek(self) -> str:
        return self.words[self.place][0] if self.place < len(self.words) else ""

    def _next(self) -> str:
        if self.place == len(self.words):
            self._refuse("the file ends where more is expected")
        self.place += 1
        return self.words[self.place - 1][0]

    def _at_head(self, ahead: int = 0) -> bool:
        """Whether a new part begins here."""
        here = self.place + ahead
        after = self.words[here + 1][0] if here + 1 < len(self.words) else ""
        word = self.words[here][0] if here < len(self.words) else ""
        return word in _HEADS and (after == ":" or (word == "start" and after in _MANNERS))

    def _head(self) -> str:
        word = self._next()
        if word not in _HEADS:
            self._refuse(f"expected one of {', '.join(_HEADS)}, not '{one_line(word)}'")
        return word

    def _expect(self, wanted: str) -> None:
        word = self._next()
        if word != wanted:
            self._refuse(f"expected '{wanted}', not '{one_line(word)}'")

    def _number(self) -> float:
        word = self._next()
        try:
            number = float(word)
        except ValueError:
            number = np.nan
        if not np.isfinite(number):
            self._refuse(f"expected a number, not '{one_line(word)}'")
        return number

    def _refuse(self, why: str) -> NoReturn:
        line = self.words[max(self.place - 1, 0)][1] if self.words else 1
        raise ValueError(f"'{self.file}', line {line}: {why}.")


_MANNERS = ("include", "exclude")
