"""Locked decisions: strategies that a user fixes, while the solver finds the rest.

```yaml
locks:
  - line: [check, bet 500]              # the actions that lead there, as `tenfold solve` names them
    strategy: {fold: 0.4, call: 0.6}    # of all hands that are not named below
    hands:
      "22-66": {fold: 1}
      AsAh: {call: 0.5, raise to 1500: 0.5}
  - line: [check, check, any, check]    # on the next street: after every card, or one such as 2c
    strategy: {check: 1}
```

Hands that are not named where there is no `strategy` are free. Actions that are not named have
probability 0.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError, field_validator

from tenfold.envs.poker.cards import HAND_COUNT, format_hand, one_line, parse_cards
from tenfold.envs.poker.isomorphism import CARD_MAPS, symmetries
from tenfold.envs.poker.ranges import parse_range
from tenfold.envs.poker.rules import BettingState, start
from tenfold.envs.poker.spot import Spot
from tenfold.envs.poker.words import describe
from tenfold.platform.parameters import Parameters, complaint
from tenfold.platform.yaml_text import read_yaml

ANY = "any"
"""Stands for every next card."""

MOST_LOCKS = 1_000
"""Of a file."""

ROUNDED = 0.005
"""How far from 1 the probabilities of a hand may add up to, as written ones are rounded."""


class LockWords(Parameters):
    """One lock as it stands in a file, see the module."""

    line: list[str]
    strategy: dict[str, float] | None = None
    hands: dict[str, dict[str, float]] = Field(default_factory=dict)

    @field_validator("line", mode="before")
    @classmethod
    def _as_texts(cls, value: Any) -> Any:
        return [str(each) for each in value] if isinstance(value, list) else value

    @field_validator("hands", mode="before")
    @classmethod
    def _with_texts(cls, value: Any) -> Any:  # YAML reads 77 as a number
        return {str(k): v for k, v in value.items()} if isinstance(value, dict) else value


class _LockFile(Parameters):
    locks: list[dict[str, Any]] = Field(max_length=MOST_LOCKS)


@dataclass(frozen=True)
class Lock:
    """A decision whose strategy is fixed.

    Attributes:
        line: Places of the actions that lead there, street after street.
        cards: The card that came after each street's betting; None for every card.
        strategy: (A, 1326) probabilities; -1 for hands that are free.
    """

    line: tuple[int, ...]
    cards: tuple[int | None, ...]
    strategy: NDArray[np.float64]


def read_lock_file(file: Path) -> list[LockWords]:
    """The locks of a YAML or JSON file.

    Raises:
        InputError: It cannot be read.
        ValueError: It holds something else; one sentence.
    """
    content, locks = read_yaml(file), []
    model: type[Parameters] = _LockFile
    values, place = content, ""
    try:
        for number, values in enumerate(_LockFile.model_validate(content).locks):
            model, place = LockWords, f"locks.{number}."
            locks.append(LockWords.model_validate(values))
    except ValidationError as error:
        raise ValueError(f"File '{file}': {complaint(error, model, values, place)}") from None
    return locks


def parse_locks(
    words: Sequence[LockWords], spot: Spot, moves: Callable[[BettingState], Sequence[int]]
) -> list[Lock]:
    """Find the decisions of locks in a tree.

    Args:
        words: As they stand in a file.
        spot: The root of the tree.
        moves: The actions of the tree at a decision.

    Raises:
        ValueError: A line leads to no decision or names no action of it, probabilities are none, a
            hand has two, or two locks are of one decision.
    """
    locks: list[Lock] = []
    for each in words:
        lock = _parse(each, spot, moves)
        if any(lock.line == other.line and _meet(lock.cards, other.cards) for other in locks):
            raise ValueError(
                f"Line {_shown(each.line)} is locked twice: give all its hands in one lock."
            )
        locks.append(lock)
    return locks


def symmetries_with(spot: Spot, locks: Sequence[Lock]) -> list[int]:
    """The renamings of suits that change neither the board, a range nor a lock."""
    fixed = [row for lock in locks for row in lock.strategy]
    named = [card for lock in locks for card in lock.cards if card is not None]
    return [
        p
        for p in symmetries(spot.board, *spot.ranges, *fixed)
        if (CARD_MAPS[p, named] == named).all()
    ]


def _parse(words: LockWords, spot: Spot, moves: Callable[[BettingState], Sequence[int]]) -> Lock:
    state, street = start(spot.rules), spot.rules.street
    shown, line, cards = _shown(words.line), list[int](), list[int | None]()
    for word in words.line:
        if street < state.street:
            cards.append(_card(word, [*spot.board, *cards], spot, shown))
            street += 1
            continue
        options = moves(state)
        place = _place(word, options, state, spot.unit, f"line {shown}")
        line.append(place)
        state = state.apply(options[place])
        if state.over:
            raise ValueError(
                f"Line {shown} ends the hand at '{one_line(word)}': give one that ends where a "
                "player acts."
            )
    if street < state.street:
        raise ValueError(
            f"Line {shown} ends where a card comes: add the card, such as 2c, or '{ANY}'."
        )
    return Lock(tuple(line), tuple(cards), _strategy(words, state, spot, moves(state), shown))


def _card(word: str, out: Sequence[int | None], spot: Spot, shown: str) -> int | None:
    if word.strip().lower() == ANY:
        return None
    try:
        cards = parse_cards(word)
    except ValueError:
        cards = []
    if len(cards) != 1 or cards[0] in out or cards[0] >= spot.deck:
        raise ValueError(
            f"'{one_line(word)}' in line {shown} is no card that can come: give one such as 2c, or "
            f"'{ANY}', where the next street begins."
        )
    return cards[0]


def _strategy(
    words: LockWords, state: BettingState, spot: Spot, moves: Sequence[int], shown: str
) -> NDArray[np.float64]:
    found = np.full((len(moves), HAND_COUNT), -1.0)
    if words.strategy is None and not words.hands:
        raise ValueError(f"The lock of line {shown} fixes nothing: give 'strategy' or 'hands'.")
    if words.strategy is not None:
        found[:] = _shares(words.strategy, state, spot.unit, moves, shown)[:, None]
    named = np.zeros(HAND_COUNT, np.bool_)
    for text, strategy in words.hands.items():
        hands = parse_range(text) > 0
        if (named & hands).any():
            hand = format_hand(int(np.flatnonzero(named & hands)[0]))
            raise ValueError(
                f"The lock of line {shown} names {hand} twice: give each hand one strategy."
            )
        named |= hands
        found[:, hands] = _shares(strategy, state, spot.unit, moves, shown)[:, None]
    return found


def _shares(
    strategy: Mapping[str, float], state: BettingState, unit: int, moves: Sequence[int], shown: str
) -> NDArray[np.float64]:
    shares = np.zeros(len(moves))
    for word, share in strategy.items():
        if not 0 <= share <= 1:
            raise ValueError(
                f"Bad probability {share:g} of '{one_line(word)}' in the lock of line {shown}: "
                "give one from 0 to 1."
            )
        shares[_place(word, moves, state, unit, f"the lock of line {shown}")] += share
    if abs(shares.sum() - 1.0) > ROUNDED:
        written = one_line(str(dict(strategy)))
        raise ValueError(
            f"The probabilities {written} in the lock of line {shown} add up to {shares.sum():g}: "
            "give some that add up to 1."
        )
    return shares / shares.sum()


def _place(word: str, moves: Sequence[int], state: BettingState, unit: int, where: str) -> int:
    """Which action a word is; a call goes without its chips, 'all-in' is the raise of all."""
    names = [describe(move, state, unit) for move in moves]
    wanted = " ".join(word.lower().split())
    same = [
        place
        for place, name in enumerate(names)
        if wanted in (name, name.removesuffix(" all-in"))
        or (name.startswith("call ") and wanted == "call")
        or (name.endswith(" all-in") and wanted in ("all-in", "allin"))
    ]
    if not same:
        raise ValueError(
            f"'{one_line(word)}' in {where} is no action there: give one of {', '.join(names)}."
        )
    return same[0]


def _shown(line: Sequence[str]) -> str:
    return one_line(f"[{', '.join(line)}]")


def _meet(cards: Sequence[int | None], others: Sequence[int | None]) -> bool:
    """Whether a board can be of both."""
    return all(None in pair or pair[0] == pair[1] for pair in zip(cards, others, strict=True))
