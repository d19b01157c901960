"""What `env_config` may change of each task of `rl_cfr`: types, bounds and meanings.

Defaults are those of the games, and what a game's parts check of each other (a smallest number
before a largest) stands with the game.
"""

from dataclasses import fields
from typing import Annotated, Any, Literal

from pydantic import Field

from tenfold.envs.poker.starts import ShortFlopStarts, StreetStarts
from tenfold.platform.parameters import Parameters, parameter

_STREET: dict[str, Any] = {field.name: field.default for field in fields(StreetStarts)}
_SHORT: dict[str, Any] = {field.name: field.default for field in fields(ShortFlopStarts)}

LEDUC_STACK = 10

# The stacks of the full game are 200 big blinds, so that a pot of 400 leaves nothing to bet, and
# pot and stack have to be at least a chip, a hundredth of a blind.
Pots = list[Annotated[float, Field(ge=1, le=399)]]
Ratios = list[Annotated[float, Field(ge=0.01, le=10_000)]]
Bets = list[Annotated[float, Field(ge=0.001, le=1_000)]]
Places = list[Literal["first", "check", "bet"]]
Decks = Literal[12, 16, 20, 24, 28, 32, 36, 40, 44, 48, 52]


def _interval(name: str, meaning: str) -> Any:
    return parameter(list(_STREET[name]), meaning, min_length=2, max_length=2)


class Street(Parameters):
    """Rivers of hold'em, see `StreetStarts`."""

    pots: Pots = _interval("pots", "Least and largest pot, in big blinds")
    ratios: Ratios = _interval("ratios", "Least and largest stack-to-pot ratio")
    bets: Bets = _interval("bets", "Least and largest first bet, in pots")
    blur: float = parameter(
        _STREET["blur"], "Standard deviation of the noise on percentiles of strength", ge=0, le=10
    )
    places: Places = parameter(
        list(_STREET["places"]), "Where decisions are, each as often as the others", min_length=1
    )
    hands: int = parameter(_STREET["hands"], "Hands that a range keeps, about", ge=1, le=1_326)


class Turn(Street):
    """Turns of hold'em."""

    enumerate_rivers: bool = parameter(
        False, "Trees hold every river, where a value network would end them"
    )


class Short(Parameters):
    """Flops of a short deck, see `ShortFlopStarts`."""

    deck: Decks = parameter(_SHORT["deck"], "Cards, the lowest ones of 52")
    stack: int = parameter(
        _SHORT["stack"], "Chips of each player; the big blind is 2", ge=20, le=1_000_000
    )


class Leduc(Parameters):
    """No-limit Leduc."""

    stack: int = parameter(LEDUC_STACK, "Chips of each player, the ante included", ge=2, le=100)


class Full(Parameters):
    """The full game has no fields."""


FIELDS: dict[str, type[Parameters]] = {
    "river_hunl": Street,
    "leduc_nl": Leduc,
    "turn_hunl": Turn,
    "flop_short": Short,
    "hunl": Full,
}
"""Task -> what `env_config` may change of it."""
