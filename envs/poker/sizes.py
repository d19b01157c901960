"""Which raises a solver may use: menus of pot fractions, and the learned abstraction's size map.

A raise by the fraction f of the pot first calls, then adds f times the pot after the call. Targets
are whole chips, at least the smallest legal raise, at most all-in; equal ones merge.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tenfold.envs.poker.cards import one_line
from tenfold.envs.poker.rules import STREETS, BettingState
from tenfold.envs.poker.words import format_chips

ALL_IN = "allin"

PLAYERS = ("first", "second")
"""To act after the flop."""

LARGEST = 1_000.0
"""Pots that a bet size can be at most."""


@dataclass(frozen=True)
class Menu:
    """Bet sizes that are the same at every decision.

    Attributes:
        fractions: Raises as fractions of the pot.
        all_in: Whether all-in is one of them.
        multiples: Raises as multiples of the bet that is faced; where there is none, none.
    """

    fractions: tuple[float, ...]
    all_in: bool = True
    multiples: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for fraction in self.fractions:
            if not 0 < fraction <= LARGEST:
                raise ValueError(
                    f"Bet size {fraction} is no fraction of the pot: give one above 0, and at "
                    f"most {LARGEST:g}."
                )

    def raises(self, state: BettingState) -> list[int]:
        """The menu's legal raises at a decision, ascending, without duplicates."""
        return merge(state, [target for _, target in self._wanted(state)], self.all_in)

    def _wanted(self, state: BettingState) -> list[tuple[str, int]]:
        """Names of the sizes and the raises that they are, not yet made legal."""
        faced = max(state.bets)
        parts = [(f"{f:g}", pot_raise(state, f)) for f in self.fractions]
        times = [(f"{m:g}x", state.level + round(m * faced)) for m in self.multiples if faced]
        return parts + times

    def changes(self, state: BettingState) -> bool:
        """Whether a size is moved or merges at a decision where raises are legal."""
        return any(len(names) > 1 or moved for _, names, moved in self._groups(state))

    def notes(self, state: BettingState, unit: int = 1) -> list[str]:
        """A sentence for each raise that is not what was asked for, at a decision.

        Args:
            state: The decision.
            unit: Units of a chip, see `Spot.unit`.
        """
        if state.raises is None:
            return []
        notes, (low, high) = [], state.raises
        for target, names, moved in self._groups(state):
            if len(names) < 2 and not moved:
                continue
            said = " and ".join([", ".join(names[:-1])] * (len(names) > 1) + names[-1:])
            verb = "are one raise" if len(names) > 1 else "is a raise"
            if not max(state.bets):
                verb = verb.replace("raise", "bet")
            chips = format_chips(target - state.level, unit)
            why = ""
            if moved and target == high:
                why = ", for no more can be called"
            elif moved and target == low:
                why = f", the smallest that is legal, where {' and '.join(moved)} would be less"
            notes.append(f"Size{'s' * (len(names) > 1)} {said} {verb} of {chips} chips{why}.")
        return notes

    def _groups(self, state: BettingState) -> list[tuple[int, list[str], list[str]]]:
        """Each legal raise, the sizes that it is, and those of them that were moved to it."""
        low, high = state.raises or (0, 0)
        groups: dict[int, tuple[list[str], list[str]]] = {}
        for name, wanted in self._wanted(state):
            target = min(max(wanted, low), high)
            names, moved = groups.setdefault(target, ([], []))
            names.append(name)
            if wanted != target:
                moved.append(name)
        if self.all_in:
            groups.setdefault(high, ([], []))[0].append(ALL_IN)
        return [(target, *each) for target, each in sorted(groups.items())]


@dataclass(frozen=True)
class Menus:
    """Bet sizes by street and player.

    Attributes:
        scoped: A menu for each (street or None, player or None). At a decision the one that names
            its street and player is taken, else that of its player, of its street, of neither.
    """

    scoped: Mapping[tuple[int | None, int | None], Menu]

    @property
    def fractions(self) -> tuple[float, ...]:
        """Of all menus together."""
        return tuple(sorted({size for menu in self.scoped.values() for size in menu.fractions}))

    def at(self, state: BettingState) -> Menu:
        """The menu of a decision."""
        street, player = state.street, state.player
        scopes = ((street, player), (None, player), (street, None), (None, None))
        return next(self.scoped[scope] for scope in scopes if scope in self.scoped)

    def raises(self, state: BettingState) -> list[int]:
        """As `Menu.raises`."""
        return self.at(state).raises(state)

    def changes(self, state: BettingState) -> bool:
        """As `Menu.changes`."""
        return self.at(state).changes(state)

    def notes(self, state: BettingState, unit: int = 1) -> list[str]:
        """As `Menu.notes`."""
        return self.at(state).notes(state, unit)


def parse_menus(texts: Sequence[str]) -> Menus:
    """Read menus such as ``"0.5,1,allin"``, ``"river:1,allin"``, ``"second:0.33,2.5x"``.

    What stands before a colon says where a menu holds: a street (flop, turn, river), a player
    (first or second to act), or both as in ``"river/second"``. Elsewhere the menu without any.

    Raises:
        ValueError: As `parse_menu`, an unknown street or player, a scope that stands there twice,
            or no menu without one.
    """
    scoped: dict[tuple[int | None, int | None], Menu] = {}
    for text in texts:
        scope, colon, sizes = text.rpartition(":")
        street = player = None
        for word in (word.strip().lower() for word in scope.split("/") if colon):
            if word in STREETS[1:] and street is None:
                street = STREETS.index(word)
            elif word in PLAYERS and player is None:
                player = PLAYERS.index(word)
            else:
                raise ValueError(
                    f"Unknown place '{one_line(word)}' in '{one_line(text)}': give "
                    f"{', '.join(STREETS[1:])}, {' or '.join(PLAYERS)}, or both as in "
                    "'river/second:0.5,1'."
                )
        if (street, player) in scoped:
            raise ValueError(
                f"Bet sizes '{one_line(text)}' are for a place that has some: give them once."
            )
        scoped[street, player] = parse_menu(sizes)
    if (None, None) not in scoped:
        raise ValueError(
            f"Bet sizes '{one_line(', '.join(texts))}' leave decisions without any: give some "
            "without a place, too, such as '0.5,1,allin'."
        )
    return Menus(scoped)


def parse_menu(text: str) -> Menu:
    """Read a menu such as ``"0.5,1,allin"`` or ``"0.5,2.5x"``.

    Raises:
        ValueError: An entry is no fraction above 0, no multiple of a bet and not "allin", or it
            stands there twice.
    """
    names = [name.strip().lower() for name in text.split(",")]
    fractions: list[float] = []
    multiples: list[float] = []
    for name in names:
        if name == ALL_IN:
            continue
        times = name.endswith("x")
        try:
            size = float(name.removesuffix("x"))
        except ValueError:
            size = math.nan
        if not (1 if times else 0) < size <= LARGEST:
            raise ValueError(
                f"Unknown bet size '{one_line(name)}' in '{one_line(text)}': give fractions of the "
                f"pot above 0 and up to {LARGEST:g}, multiples of a bet such as 2.5x, or "
                f"'{ALL_IN}', with commas between them."
            )
        (multiples if times else fractions).append(size)
    if len(set(names)) < len(names) or any(len(set(s)) < len(s) for s in (fractions, multiples)):
        raise ValueError(f"Bet sizes '{one_line(text)}' name a size twice: name each once.")
    return Menu(tuple(sorted(fractions)), ALL_IN in names, tuple(sorted(multiples)))


def pot_raise(state: BettingState, fraction: float) -> int:
    """The raise-to that adds a fraction of the pot after the call, not yet made legal."""
    return max(state.committed) + round(fraction * (state.pot + state.to_call))


def merge(state: BettingState, targets: Iterable[int], all_in: bool) -> list[int]:
    """Legal raises of some wanted ones: moved into the legal interval, sorted, each once."""
    if state.raises is None:
        return []
    low, high = state.raises
    legal = {min(max(target, low), high) for target in targets}
    return sorted(legal | {high} if all_in else legal)


def component_fraction(
    component: float, threshold: float, smallest: float, largest: float
) -> float | None:
    """The raise that a component of an abstraction stands for (arXiv:2403.04344, our map).

    From `threshold` to 1 it grows geometrically, so that equal steps are equal factors of the size;
    below the threshold there is none.

    Args:
        component: In [-1, 1].
        threshold: In [-1, 1).
        smallest: Fraction of the pot at the threshold.
        largest: Fraction of the pot at 1.

    Returns:
        A fraction of the pot, or None where the component says no.
    """
    if component < threshold:
        return None
    share = (component - threshold) / (1.0 - threshold)
    return smallest * (largest / smallest) ** share


def abstraction_raises(
    state: BettingState,
    components: Sequence[float],
    threshold: float,
    smallest: float,
    largest: float,
) -> list[int]:
    """The raises of an action vector of the abstraction MDP, with all-in, ascending, each once."""
    fractions = (component_fraction(a, threshold, smallest, largest) for a in components)
    targets = [pot_raise(state, fraction) for fraction in fractions if fraction is not None]
    return merge(state, targets, all_in=True)
