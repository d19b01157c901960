"""A spot: the public situation and both ranges that a subgame starts from."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tenfold.envs.poker.cards import CARDS, HANDS, format_cards, live_hands, parse_cards
from tenfold.envs.poker.ranges import parse_range
from tenfold.envs.poker.rules import STREETS, Rules

BOARD_CARDS = (0, 3, 4, 5)
"""Cards on the board by street."""

_HOLDS = (HANDS[:, :, None] == np.arange(CARDS)).any(axis=1).astype(float)  # (1326, 52)


@dataclass(frozen=True)
class Spot:
    """The root of a subgame.

    Attributes:
        board: Cards that are out: none, or 3 to 5.
        rules: Stacks, pot and street; player 0 acts first after the flop.
        ranges: (2, 1326) weights of each player's hands, 0 where the board blocks.
        deck: Cards of the deck, the lowest ones of 52; no range holds any other.
    """

    board: tuple[int, ...]
    rules: Rules
    ranges: NDArray[np.float64]
    deck: int = CARDS


def read_spot(board: str, pot: int, stacks: str, ranges: Sequence[str], big_blind: int) -> Spot:
    """Read a spot as players write it.

    Args:
        board: Such as ``"AsKd7h2c3d"``.
        pot: Chips in the middle.
        stacks: Chips behind, ``"9500"`` for both or ``"9500,8000"``.
        ranges: One range for each player, the one that acts first before the other.
        big_blind: The smallest bet, in chips.

    Raises:
        ValueError: Something of this cannot be; the message names it.
    """
    cards = parse_cards(board)
    if len(cards) not in BOARD_CARDS[1:]:
        raise ValueError(
            f"Board '{board}' has {len(cards)} cards: give 3 (flop), 4 (turn) or 5 (river)."
        )
    if pot < 1:
        raise ValueError(f"Pot {pot} is no pot: give at least 1 chip.")
    if len(ranges) != 2:
        raise ValueError(f"{len(ranges)} ranges given: give two, the first player's first.")
    weights = np.stack([parse_range(text, cards) for text in ranges])
    if not deals((weights > 0).astype(float)).any():
        raise ValueError(
            f"Ranges '{ranges[0]}' and '{ranges[1]}' share cards in every pair of hands on "
            f"{format_cards(cards)}: no hand can be dealt."
        )
    rules = Rules(
        stacks=_stacks(stacks),
        big_blind=big_blind,
        street=BOARD_CARDS.index(len(cards)),
        pot=pot,
    )
    return Spot(tuple(cards), rules, weights)


def deals(ranges: NDArray[np.float64]) -> NDArray[np.float64]:
    """How likely each hand is to be dealt, given that the other player's hand shares no card.

    Args:
        ranges: (2, 1326) weights.

    Returns:
        (2, 1326): each hand's weight times the other's weight of the hands without its cards; both
        rows sum to the same total, which is 0 if no pair of hands can be dealt.
    """
    return ranges * dealable(ranges)[::-1]


def dealable(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """How much of a player's range is left beside each hand of the other, which blocks its cards.

    Args:
        weights: (..., 1326).

    Returns:
        (..., 1326): the total weight of the hands that share no card with each hand.
    """
    c1, c2 = HANDS.T
    per_card = weights @ _HOLDS
    # Hands with either card leave; the very hand has both and was taken out twice.
    free = weights.sum(axis=-1, keepdims=True) - per_card[..., c1] - per_card[..., c2] + weights
    return np.maximum(free, 0.0)


def random_spot(rng: np.random.Generator, pot: int, stack: int, big_blind: int) -> Spot:
    """A river where both players may hold anything, on a random board."""
    board = tuple(sorted(rng.permutation(52)[:5].tolist()))
    rules = Rules(stacks=(stack, stack), big_blind=big_blind, street=3, pot=pot)
    return Spot(board, rules, np.tile(live_hands(board).astype(float), (2, 1)))


def street_name(spot: Spot) -> str:
    """The street that the spot starts on."""
    return STREETS[spot.rules.street]


def _stacks(text: str) -> tuple[int, int]:
    parts = [part.strip() for part in text.split(",")]
    if len(parts) not in (1, 2) or not all(p.isascii() and p.isdigit() and int(p) for p in parts):
        raise ValueError(
            f"Bad stacks '{text}': give whole chips above 0, one number for both players or two."
        )
    return int(parts[0]), int(parts[-1])
