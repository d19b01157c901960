"""Which raises a solver may use: menus of pot fractions, and the learned abstraction's size map.

A raise by the fraction f of the pot first calls, then adds f times the pot after the call. Targets
are whole chips, at least the smallest legal raise, at most all-in; equal ones merge.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tenfold.envs.poker.cards import one_line
from tenfold.envs.poker.rules import BettingState
from tenfold.envs.poker.words import format_chips

ALL_IN = "allin"

LARGEST = 1_000.0
"""Pots that a bet size can be at most."""


@dataclass(frozen=True)
class Menu:
    """Bet sizes that are the same at every decision.

    Attributes:
        fractions: Raises as fractions of the pot.
        all_in: Whether all-in is one of them.
    """

    fractions: tuple[float, ...]
    all_in: bool = True

    def __post_init__(self) -> None:
        for fraction in self.fractions:
            if not 0 < fraction <= LARGEST:
                raise ValueError(
                    f"Bet size {fraction} is no fraction of the pot: give one above 0, and at "
                    f"most {LARGEST:g}."
                )

    def raises(self, state: BettingState) -> list[int]:
        """The menu's legal raises at a decision, ascending, without duplicates."""
        targets = [pot_raise(state, fraction) for fraction in self.fractions]
        return merge(state, targets, self.all_in)

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
        for fraction in self.fractions:
            wanted = pot_raise(state, fraction)
            target = min(max(wanted, low), high)
            names, moved = groups.setdefault(target, ([], []))
            names.append(f"{fraction:g}")
            if wanted != target:
                moved.append(f"{fraction:g}")
        if self.all_in:
            groups.setdefault(high, ([], []))[0].append(ALL_IN)
        return [(target, *each) for target, each in sorted(groups.items())]


def parse_menu(text: str) -> Menu:
    """Read a menu such as ``"0.5,1,allin"``.

    Raises:
        ValueError: An entry is no fraction above 0 and not "allin", or it stands there twice.
    """
    names = [name.strip().lower() for name in text.split(",")]
    fractions = []
    for name in names:
        if name == ALL_IN:
            continue
        try:
            fraction = float(name)
        except ValueError:
            fraction = math.nan
        if not 0 < fraction <= LARGEST:
            raise ValueError(
                f"Unknown bet size '{one_line(name)}' in '{one_line(text)}': give fractions of the "
                f"pot above 0 and up to {LARGEST:g}, or '{ALL_IN}', with commas between them."
            )
        fractions.append(fraction)
    if len(set(fractions)) < len(fractions) or names.count(ALL_IN) > 1:
        raise ValueError(f"Bet sizes '{one_line(text)}' name a size twice: name each once.")
    return Menu(tuple(sorted(fractions)), all_in=ALL_IN in names)


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
