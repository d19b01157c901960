"""Which raises a solver may use: menus of pot fractions, and the learned abstraction's size map.

A raise by the fraction f of the pot first calls, then adds f times the pot after the call. Targets
are whole chips, at least the smallest legal raise, at most all-in; equal ones merge.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tenfold.envs.poker.cards import one_line
from tenfold.envs.poker.rules import BettingState

ALL_IN = "allin"


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
            if not (math.isfinite(fraction) and fraction > 0):
                raise ValueError(
                    f"Bet size {fraction} is no fraction of the pot: give one above 0."
                )

    def raises(self, state: BettingState) -> list[int]:
        """The menu's legal raises at a decision, ascending, without duplicates."""
        targets = [pot_raise(state, fraction) for fraction in self.fractions]
        return merge(state, targets, self.all_in)


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
        if not (math.isfinite(fraction) and fraction > 0):
            raise ValueError(
                f"Unknown bet size '{one_line(name)}' in '{one_line(text)}': give fractions of the "
                f"pot above 0, or '{ALL_IN}', with commas between them."
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
