"""A spot: the public situation and both ranges that a subgame starts from."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from tenfold.envs.poker.cards import CARDS, HANDS, format_cards, live_hands, one_line, parse_cards
from tenfold.envs.poker.rake import Rake
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
        unit: Units of a chip: the rules count in whole units, which are chips where this is 1.
    """

    board: tuple[int, ...]
    rules: Rules
    ranges: NDArray[np.float64]
    deck: int = CARDS
    unit: int = 1

    @property
    def decimals(self) -> int:
        """Decimals of a chip that a unit is: 2 where there are 100 of them."""
        return len(str(self.unit)) - 1


def read_spot(
    board: str,
    pot: int | str,
    stacks: str,
    ranges: Sequence[str],
    big_blind: int | str | None = None,
    fractions: Sequence[float] = (),
    decimals: bool = False,
    rake: str | None = None,
    rake_cap: str | None = None,
) -> Spot:
    """Read a spot as players write it.

    Args:
        board: Such as ``"AsKd7h2c3d"``.
        pot: Chips in the middle.
        stacks: Chips behind, ``"9500"`` for both or ``"9500,8000"``.
        ranges: One range for each player, the one that acts first before the other.
        big_blind: The smallest bet, in chips. None takes a tenth of the pot, or the smallest of
            `fractions` of it if that is less, so that no size is moved for the blind's sake.
        fractions: Bet sizes that will be asked for, in pots.
        decimals: Whether chips may be split: amounts may have decimals, and bets are rounded to a
            thousandth of the pot or finer.
        rake: The house's share of each pot, ``"5%"`` or ``"0.05"``; None takes nothing.
        rake_cap: Chips that it takes of a pot at most.

    Raises:
        ValueError: Something of this cannot be; the message names it.
    """
    cards = parse_cards(board)
    if len(cards) not in BOARD_CARDS[1:]:
        raise ValueError(
            f"Board '{one_line(board)}' has {len(cards)} cards: give 3 (flop), 4 (turn) or 5 "
            "(river)."
        )
    if len(ranges) != 2:
        raise ValueError(f"{len(ranges)} ranges given: give two, the first player's first.")
    weights = np.stack([parse_range(text, cards) for text in ranges])
    if not deals((weights > 0).astype(float)).any():
        raise ValueError(
            f"Ranges '{one_line(ranges[0])}' and '{one_line(ranges[1])}' share cards in every pair "
            f"of hands on {format_cards(cards)}: no hand can be dealt."
        )
    amounts = [_amount(pot, "pot", decimals)]
    behind = [_amount(part, "stacks", decimals, stacks) for part in stacks.split(",")]
    if len(behind) > 2:
        raise ValueError(f"Bad stacks '{one_line(stacks)}': {_WANTED['stacks']}.")
    amounts += behind
    if big_blind is not None:
        amounts.append(_amount(big_blind, "big blind", decimals))
    unit = _unit(amounts) if decimals else 1
    whole = [int(amount * unit) for amount in amounts]
    if big_blind is None:
        smallest = min([0.1, *fractions])
        whole.append(max(1, int(smallest * whole[0])))
    rules = Rules(
        stacks=(whole[1], whole[len(behind)]),
        big_blind=whole[-1],
        street=BOARD_CARDS.index(len(cards)),
        pot=whole[0],
        rake=_rake(rake, rake_cap, unit),
    )
    return Spot(tuple(cards), rules, weights, unit=unit)


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


_WANTED = {
    "pot": "give chips above 0",
    "stacks": "give chips above 0, one number for both players or two",
    "big blind": "give chips above 0, the smallest bet",
    "rake cap": "give chips above 0",
}

_MOST = 10**9
"""Chips, of any amount."""

_DECIMALS = 4
"""Decimals that an amount may have."""

_FINE = 1_000
"""Units that a pot has at least where chips may be split."""


def _amount(given: int | str, name: str, decimals: bool, shown: str | None = None) -> Decimal:
    """Chips as written; whole ones unless decimals are allowed."""
    text = str(given).strip()
    digits = r"\d{1,12}" + (rf"(\.\d{{1,{_DECIMALS}}})?" if decimals else "")
    amount = Decimal(text) if re.fullmatch(digits, text, re.ASCII) else Decimal(0)
    if not 0 < amount <= _MOST:
        kind = f"at most {_DECIMALS} decimals" if decimals else "whole ones"
        raise ValueError(
            f"Bad {name} '{one_line(shown or text)}': {_WANTED[name]}, {kind}, up to {_MOST:,}."
        )
    return amount


def _rake(share: str | None, cap: str | None, unit: int) -> Rake:
    """The rake in units of the rules."""
    if share is None:
        if cap is not None:
            raise ValueError(f"Rake cap '{one_line(cap)}' caps nothing: give a rake such as 5%.")
        return Rake()
    number = share.strip().removesuffix("%")
    text = number if re.fullmatch(r"\d{1,3}(\.\d{1,6})?", number, re.ASCII) else "nan"
    part = float(text) / (100.0 if "%" in share else 1.0)
    if not 0 <= part < 1:
        raise ValueError(
            f"Bad rake '{one_line(share)}': give a share of the pot below 1, such as 5% or 0.05."
        )
    if cap is None:
        return Rake(part)
    return Rake(part, float(_amount(cap, "rake cap", decimals=True) * unit))


def _unit(amounts: Sequence[Decimal]) -> int:
    """The least power of ten that makes all amounts whole, the first at least `_FINE`."""
    unit = 1
    while unit * amounts[0] < _FINE or any(amount * unit % 1 for amount in amounts):
        unit *= 10
    return unit
