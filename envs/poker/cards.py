"""Cards as ints 0..51 and private hands as ints 0..1325.

Card ``4 * rank + suit``: rank 0 is the deuce and 12 the ace, suits in the order c, d, h, s. This is
the numbering of phevaluator and of OpenSpiel's `universal_poker`. Hand ``c1 (c1 - 1) / 2 + c2``
with c1 > c2, so hand 0 is 2d2c and hand 1325 is AsAh.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

RANKS = "23456789TJQKA"
SUITS = "cdhs"
CARDS = 52
HAND_COUNT = 1326

HANDS: NDArray[np.int64] = np.array([(c1, c2) for c1 in range(CARDS) for c2 in range(c1)])
"""(1326, 2): the cards of each hand, the higher first."""
HANDS.setflags(write=False)


def one_line(text: str, longest: int = 60) -> str:
    """A user's text as an error shows it: blanks and line ends as one blank, and not too long."""
    line = "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))
    return line if len(line) <= longest else f"{line[: longest - 3]}..."


def parse_cards(text: str) -> list[int]:
    """Read cards such as ``"AsKd7h"``; blanks, line ends and commas between cards are allowed.

    Raises:
        ValueError: A card does not exist, is cut off, or stands there twice.
    """
    letters, text = "".join(text.split()).replace(",", ""), one_line(text)
    cards: list[int] = []
    for start in range(0, len(letters), 2):
        name = letters[start : start + 2]
        rank, suit = RANKS.find(name[0].upper()), SUITS.find(name[1:].lower())
        if len(name) < 2 or rank < 0 or suit < 0:
            raise ValueError(
                f"Unknown card '{one_line(name)}' in '{text}': write a rank of {RANKS} and a suit "
                f"of {SUITS}, for example AsKd7h."
            )
        card = 4 * rank + suit
        if card in cards:
            raise ValueError(f"Card '{format_cards([card])}' stands twice in '{text}'.")
        cards.append(card)
    return cards


def format_cards(cards: Iterable[int]) -> str:
    """The text that `parse_cards` reads, in the given order: ``[51, 45]`` is ``"AsKd"``."""
    return "".join(RANKS[card // 4] + SUITS[card % 4] for card in cards)


def hand_index(c1: int, c2: int) -> int:
    """The hand of two different cards, in any order.

    Raises:
        ValueError: They are the same card, or one is not in the deck.
    """
    high, low = max(c1, c2), min(c1, c2)
    if not 0 <= low < high < CARDS:
        raise ValueError(f"Cards {c1} and {c2} make no hand: give two different cards of 0..51.")
    return high * (high - 1) // 2 + low


def format_hand(hand: int) -> str:
    """The name of a hand, the higher card first: ``"AsKs"``."""
    return format_cards(int(card) for card in HANDS[hand])


def live_hands(dead: Iterable[int], deck: int = CARDS) -> NDArray[np.bool_]:
    """(1326,): whether a hand of the deck holds none of the dead cards (a board, another hand).

    Args:
        dead: Cards.
        deck: Cards of the deck, the lowest ones of 52.
    """
    return np.logical_not(np.isin(HANDS, list(dead)).any(axis=1)) & (HANDS[:, 0] < deck)
