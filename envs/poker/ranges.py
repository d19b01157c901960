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

``:w`` after a token gives its hands the weight w of [0, 1], else it is 1. Hands that the board
blocks drop out. A hand that two tokens name is refused, for its weight would be a guess.
"""

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
    parse_cards,
)

EVERY_HAND = ("random", "100%")


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
    if not text.strip():
        raise ValueError("Range '' is empty: name hands such as '22+,AKs', or 'random'.")
    weights = np.zeros(HAND_COUNT)
    named_by: dict[int, str] = {}
    for token in (part.strip() for part in text.split(",")):
        name, colon, number = token.partition(":")
        weight = _weight(token, number) if colon else 1.0
        for hand in _hands(name, token, text):
            if hand in named_by:
                raise ValueError(
                    f"Range '{text}' names {format_hand(hand)} twice, by '{named_by[hand]}' and by "
                    f"'{token}': name each hand once."
                )
            named_by[hand] = token
            weights[hand] = weight
    weights[~live_hands(board)] = 0.0
    if not weights.any():
        where = f" on the board {format_cards(board)}" if board else ""
        raise ValueError(f"Range '{text}' has no hand with a weight above 0{where}.")
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


def _weight(token: str, number: str) -> float:
    try:
        weight = float(number)
    except ValueError:
        weight = -1.0
    if not 0.0 <= weight <= 1.0:
        raise ValueError(f"Bad weight '{number}' in '{token}': give a number from 0 to 1.")
    return weight


def _hands(name: str, token: str, text: str) -> list[int]:
    """The hands of a token without its weight."""
    if name.lower() in EVERY_HAND:
        return list(range(HAND_COUNT))
    if len(name) == 4 and name[1].lower() in SUITS and "-" not in name and "+" not in name:
        return [hand_index(*parse_cards(name))]
    try:
        return [hand for each in _classes(name) for hand in _class_hands(each)]
    except ValueError:
        shown = f"'{token}' in " if token != text else ""
        raise ValueError(
            f"Cannot read {shown}range '{text}': write tokens such as 22+, A2s+, KTo+, A5s-A2s, "
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
