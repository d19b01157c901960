"""Ranges of private hands in the notation of players: ``"22+,A2s+,KTo+,QJs:0.5,AsKs"``.

| token | hands |
|---|---|
| ``77`` ``AKs`` ``AKo`` ``AK`` | a pair (6), suited (4), offsuit (12), both (16) |
| ``77+`` | this pair and those above |
| ``KTs+`` | the kicker goes up to below the first card: KTs, KJs, KQs |
| ``JTs+`` | neighbours: both cards go up: JTs, QJs, KQs, AKs |
| ``A5s-A2s`` ``T9s-76s`` ``99-66`` | from one to the other: same first card, or same distance |
| ``AsKs`` | this very hand |
| ``random`` ``100%`` | every hand |

``:w`` or ``@w`` after a token gives its hands the weight w of [0, 1], else it is 1; ``50%`` is 0.5,
and so is 50: a range in which a weight is above 1 counts in per cent, and then one from 0 to 1
without a ``%`` is refused, for it could be either. ``[50.0]JJ,TT[/50.0]`` is GTO+'s way to say
``JJ:50%,TT:50%``. Commas, semicolons and blanks separate tokens; spare ones do not matter.
PioSolver's 1,326 numbers, in the order of its ``show_hand_order``, which is ours, are weights.

Hands that the board blocks drop out. A hand that two tokens name is refused, for its weight would
be a guess.
"""

import re
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from tenfold.envs.poker.cards import (
    HAND_COUNT,
    HANDS,
    RANKS,
    SUITS,
    format_cards,
    format_hand,
    hand_index,
    live_hands,
    one_line,
    parse_cards,
)

EVERY_HAND = ("random", "100%")

_BRACKET = re.compile(r"\[(/?)([^\[\]]*)\]")


def parse_range(text: str, board: Sequence[int] = ()) -> NDArray[np.float64]:
    """Read a range.

    Args:
        text: Tokens with commas between them, see the module.
        board: Cards that no hand can hold.

    Returns:
        (1326,) float64: weights in [0, 1], those of hands that the board blocks are 0.

    Raises:
        ValueError: The range is empty, a token cannot be read, a weight is outside [0, 1], a hand
            is named twice, or no hand with weight is left on the board.
    """
    shown = one_line(text)
    if not text.strip(" ,;\t\r\n"):
        raise ValueError(f"Range '{shown}' is empty: name hands such as '22+,AKs', or 'random'.")
    numbers = text.split()
    if len(numbers) == HAND_COUNT:
        weights = np.array([_weight(number, number) for number in numbers])
    else:
        weights = np.zeros(HAND_COUNT)
        tokens = list(_tokens(text, shown))
        per_cent = _counts_in_per_cent(tokens, shown)
        named_by: dict[int, str] = {}
        for name, number, token in tokens:
            weight = 1.0 if number is None else _weight(number, token, per_cent)
            for hand in _hands(name, token, shown):
                if hand in named_by:
                    raise ValueError(
                        f"Range '{shown}' names {format_hand(hand)} twice, by '{named_by[hand]}' "
                        f"and by '{token}': name each hand once."
                    )
                named_by[hand] = token
                weights[hand] = weight
    weights[~live_hands(board)] = 0.0
    if not weights.any():
        where = f" on the board {format_cards(board)}" if board else ""
        raise ValueError(f"Range '{shown}' has no hand with a weight above 0{where}.")
    return weights


def format_range(weights: NDArray[np.float64]) -> str:
    """A text whose `parse_range` gives the same weights: classes where all agree, else hands.

    Args:
        weights: (1326,) in [0, 1].
    """
    tokens = []
    for name in hand_classes():
        members = _class_hands(name)
        values = weights[members]
        if (values == values[0]).all():
            tokens += [(name, values[0])]
        else:
            tokens += [(format_hand(hand), weights[hand]) for hand in members]
    return ",".join(
        name if weight == 1.0 else f"{name}:{float(weight)!r}" for name, weight in tokens if weight
    )


def hand_classes() -> list[str]:
    """The 169 classes of hands: AA, AKs, AKo, ..., 32o, 22, as `parse_range` names them."""
    names = []
    for high in reversed(range(13)):
        names.append(RANKS[high] * 2)
        for low in reversed(range(high)):
            names += [f"{RANKS[high]}{RANKS[low]}{kind}" for kind in "so"]
    return names


def _tokens(text: str, shown: str) -> Iterator[tuple[str, str | None, str]]:
    """The name of each token, its weight as written, and how an error shows it.

    Raises:
        ValueError: Brackets are not closed by their own number, or hold weights of their own.
    """
    inside, start = "", 0
    for bracket in [*_BRACKET.finditer(text), None]:
        part = text[start : bracket.start() if bracket else len(text)]
        for token in re.sub(r"\s*([:@-])\s*", r"\1", part).replace(";", ",").split(","):
            for each in token.split():
                name, mark, number = re.sub("@", ":", each, count=1).partition(":")
                if inside and mark:
                    raise ValueError(
                        f"'{one_line(each)}' in range '{shown}' has a weight inside the brackets "
                        f"of '[{inside}]': give it one weight."
                    )
                if inside:
                    yield name, f"{inside}%", f"[{inside}]{one_line(each)}"
                else:
                    yield name, number if mark else None, one_line(each)
        if bracket is None:
            break
        closing, number = bracket[1] == "/", bracket[2].strip().removesuffix("%")
        if closing != bool(inside) or (closing and number != inside):
            raise ValueError(
                f"'{one_line(bracket[0])}' in range '{shown}' opens or closes no group: write "
                "groups such as [50.0]JJ,TT[/50.0], one after the other."
            )
        inside, start = "" if closing else number, bracket.end()
        if not closing:
            _weight(f"{number}%", one_line(bracket[0]))
    if inside:
        raise ValueError(
            f"'[{inside}]' in range '{shown}' is not closed: write [/{inside}] behind its hands."
        )


def _counts_in_per_cent(tokens: Sequence[tuple[str, str | None, str]], shown: str) -> bool:
    """Whether bare weights are per cent: one is above 1, and none could be a share as well."""
    bare = [(number, token) for _, number, token in tokens if number and "%" not in number]
    above = next((token for number, token in bare if _number(number) > 1.0), None)
    below = next((token for number, token in bare if 0.0 < _number(number) <= 1.0), None)
    if above and below:
        raise ValueError(
            f"Range '{shown}' weighs '{above}' in per cent and '{below}' in shares or per cent: "
            "write '%' behind numbers that are per cent."
        )
    return above is not None


def _weight(number: str, token: str, per_cent: bool = False) -> float:
    marked = number.strip().endswith("%")
    most = 100.0 if marked or per_cent else 1.0
    weight = _number(number.strip().removesuffix("%"))
    if not 0.0 <= weight <= most:
        raise ValueError(
            f"Bad weight '{one_line(number)}' in '{token}': give a number from 0 to 1, or one in "
            "per cent up to 100."
        )
    return weight / most


def _number(text: str) -> float:
    """A number, or -1 where there is none."""
    try:
        return float(text)
    except ValueError:
        return -1.0


def _hands(name: str, token: str, shown: str) -> list[int]:
    """The hands of a token without its weight."""
    if name.lower() in EVERY_HAND:
        return list(range(HAND_COUNT))
    if len(name) == 4 and name[1].lower() in SUITS and "-" not in name and "+" not in name:
        return [hand_index(*parse_cards(name))]
    try:
        return [hand for each in _classes(name) for hand in _class_hands(each)]
    except ValueError:
        inside = f"'{token}' in " if token != shown else ""
        raise ValueError(
            f"Cannot read {inside}range '{shown}': write tokens such as 22+, A2s+, KTo+, A5s-A2s, "
            "QJs:0.5, AsKs or random, with commas between them."
        ) from None


def _classes(name: str) -> Iterator[str]:
    """The classes of a token: ``"KTs+"`` gives KTs, KJs, KQs."""
    first, dash, last = name.partition("-")
    if not dash:
        first, plus, rest = name.partition("+")
        high, low, kind = _ranks_and_kind(first)
        if rest:
            raise ValueError(name)
        if not plus:
            yield first
        elif high - low > 1:
            yield from (f"{RANKS[high]}{RANKS[each]}{kind}" for each in range(low, high))
        else:
            for up in range(13 - high):
                yield f"{RANKS[high + up]}{RANKS[low + up]}{kind}"
        return
    bounds = sorted((_ranks_and_kind(first), _ranks_and_kind(last)))
    (high, low, kind), (top_high, top_low, top_kind) = bounds
    if kind != top_kind or high not in (top_high, low + top_high - top_low):
        raise ValueError(name)
    for up in range(top_low - low + 1):
        moved = 0 if high == top_high else up
        yield f"{RANKS[high + moved]}{RANKS[low + up]}{kind}"


def _ranks_and_kind(name: str) -> tuple[int, int, str]:
    """``"KTs"`` as (11, 8, "s")."""
    if not 2 <= len(name) <= 3:
        raise ValueError(name)
    high, low = (RANKS.index(letter) for letter in name[:2].upper())
    kind = name[2:].lower()
    if high < low or kind not in ("", "s", "o") or (high == low and kind):
        raise ValueError(name)
    return high, low, kind


def _class_hands(name: str) -> list[int]:
    """The hands of one class: ``"AKs"`` gives four."""
    high, low, kind = _ranks_and_kind(name)
    c1, c2 = HANDS.T
    chosen = (c1 // 4 == high) & (c2 // 4 == low)
    if kind:
        chosen &= (c1 % 4 == c2 % 4) == (kind == "s")
    hands: list[int] = np.flatnonzero(chosen).tolist()
    return hands
