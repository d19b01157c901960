"""Which raises a solver may use: menus of sizes, and the learned abstraction's size map.

| entry of a menu | raise |
|---|---|
| ``0.5`` ``50%`` | calls, then adds half of the pot after the call |
| ``2.5x`` | to 2.5 times the bet that is faced; where there is none, none |
| ``e`` ``2e`` ``3e`` | fraction of the pot that is all-in if bet on each street left (2, 3 times) |
| ``allin`` ``a`` | all chips |
| ``spr=1.5`` | all chips, where what is left after a call is at most 1.5 times the pot then |
| ``commit=0.67`` | none: a raise of at least that share of a player's chips becomes all-in |
| ``merge=0.1`` | none: of raises whose pots, once called, are within 10 %, the largest stays |

Targets are whole chips, at least the smallest legal raise, at most all-in; equal ones merge.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from tenfold.envs.poker.cards import one_line
from tenfold.envs.poker.rules import STREETS, BettingState
from tenfold.envs.poker.words import format_chips

ALL_IN = "allin"

RIVER = STREETS.index("river")

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
        geometric: Raises that, so many times in all, put in all chips; 0 stands for as many times
            as there are streets left, this one included.
        spr: Stack-to-pot ratio after a call, up to which all-in is one of them as well.
        commit: Share of the player's chips from which on a raise becomes all-in.
        near: Raises merge with a larger one whose pot, if it is called, is less than 1 + this times
            as large.
    """

    fractions: tuple[float, ...]
    all_in: bool = True
    multiples: tuple[float, ...] = ()
    geometric: tuple[int, ...] = ()
    spr: float = 0.0
    commit: float = 1.0
    near: float = 0.0

    def __post_init__(self) -> None:
        for fraction in self.fractions:
            if not 0 < fraction <= LARGEST:
                raise ValueError(
                    f"Bet size {fraction} is no fraction of the pot: give one above 0, and at "
                    f"most {LARGEST:g}."
                )

    def raises(self, state: BettingState) -> list[int]:
        """The menu's legal raises at a decision, ascending, without duplicates."""
        return [target for target, *_ in self._groups(state)]

    def _wanted(self, state: BettingState) -> list[tuple[str, int]]:
        """Names of the sizes and the raises that they are, not yet made legal."""
        faced = max(state.bets)
        parts = [(f"{f:g}", pot_raise(state, f)) for f in self.fractions]
        times = [(f"{m:g}x", state.level + round(m * faced)) for m in self.multiples if faced]
        left = RIVER - state.street + 1
        steps = [(f"{n or ''}e", geometric(state, n or left)) for n in self.geometric]
        return parts + times + [(name, pot_raise(state, each)) for name, each in steps]

    def changes(self, state: BettingState) -> bool:
        """Whether a size is moved or merges at a decision where raises are legal."""
        return any(len(names) > 1 or why for _, names, why in self._groups(state))

    def notes(self, state: BettingState, unit: int = 1) -> list[str]:
        """A sentence for each raise that is not what was asked for, at a decision.

        Args:
            state: The decision.
            unit: Units of a chip, see `Spot.unit`.
        """
        notes = []
        for target, names, why in self._groups(state):
            if len(names) < 2 and not why:
                continue
            verb = "are one raise" if len(names) > 1 else "is a raise"
            if not max(state.bets):
                verb = verb.replace("raise", "bet")
            chips = format_chips(target - state.level, unit)
            reasons = "".join(f", {_REASONS[each](self, names)}" for each, names in why.items())
            notes.append(
                f"Size{'s' * (len(names) > 1)} {_listed(names)} {verb} of {chips} chips{reasons}."
            )
        return notes

    def _groups(self, state: BettingState) -> list[tuple[int, list[str], dict[str, list[str]]]]:
        """Each legal raise, the sizes that it is, and those that were moved to it, by reason."""
        if state.raises is None:
            return []
        low, high = state.raises
        groups: dict[int, tuple[list[str], dict[str, list[str]]]] = {}

        def add(target: int, name: str, why: str | None) -> None:
            names, reasons = groups.setdefault(target, ([], {}))
            names.append(name)
            if why:
                reasons.setdefault(why, []).append(name)

        put = state.committed[state.player]
        for name, wanted in self._wanted(state):
            target = min(max(wanted, low), high)
            why = "high" if wanted > high else "low" if wanted < low else None
            if target < high and target - put >= self.commit * (high - put):
                target, why = high, "commit"
            add(target, name, why)
        called = state.pot + state.to_call
        if self.all_in or high - max(state.committed) <= self.spr * called:
            add(high, ALL_IN if self.all_in else f"spr={self.spr:g}", None)
        kept: list[int] = []
        for target in sorted(groups, reverse=True):
            # The pot if a raise is called: what is there after a call, and the raise twice.
            after = called + 2 * (target - max(state.committed))
            if not kept or kept[-1] >= (1.0 + self.near) * after:
                kept.append(after)
                last = target
                continue
            for name in groups.pop(target)[0]:
                add(last, name, "near")
        return [(target, *groups[target]) for target in sorted(groups)]


_REASONS: dict[str, Callable[[Menu, list[str]], str]] = {
    "high": lambda menu, names: "for no more can be called",
    "low": lambda menu, names: f"the smallest that is legal, where {_listed(names)} would be less",
    "commit": lambda menu, names: (
        f"for {_listed(names)} would put in {menu.commit:g} of the stack or more"
    ),
    "near": lambda menu, names: f"which {_listed(names)} would be near",
}


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1])] * (len(names) > 1) + [*names[-1:]])


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
    """Read a menu such as ``"0.5,1,allin"`` or ``"33%,2e,2.5x,spr=1.5"``, see the module.

    Raises:
        ValueError: An entry is none of these, or it stands there twice.
    """
    names = [name.strip().lower() for name in text.split(",")]
    names = [ALL_IN if name == "a" else name for name in names]
    sizes: dict[str, list[float]] = {"": [], "x": [], "e": []}
    limits: dict[str, float] = {}
    for name in names:
        if name == ALL_IN:
            continue
        key, equals, number = name.partition("=")
        if equals:
            if key in limits:
                raise ValueError(f"Bet sizes '{one_line(text)}' give '{key}' twice: give it once.")
            limits[key] = _limit(key, number, name, text)
            continue
        kind = name[-1:] if name.endswith(("x", "e")) else ""
        size = _size(name.removesuffix(kind), kind)
        if size is None:
            raise ValueError(
                f"Unknown bet size '{one_line(name)}' in '{one_line(text)}': give fractions of the "
                f"pot above 0 and up to {LARGEST:g} (0.5 or 50%), multiples of a bet such as 2.5x, "
                f"geometric sizes e, 2e or 3e, '{ALL_IN}', or spr=1.5, commit=0.67, merge=0.1, "
                "with commas between them."
            )
        sizes[kind].append(size)
    if len(set(names)) < len(names) or any(len(set(s)) < len(s) for s in sizes.values()):
        raise ValueError(f"Bet sizes '{one_line(text)}' name a size twice: name each once.")
    return Menu(
        fractions=tuple(sorted(sizes[""])),
        all_in=ALL_IN in names,
        multiples=tuple(sorted(sizes["x"])),
        geometric=tuple(sorted(int(each) for each in sizes["e"])),
        **{_LIMITS[key][0]: limit for key, limit in limits.items()},
    )


_LIMITS = {
    "spr": ("spr", LARGEST, "the stack after a call in pots"),
    "commit": ("commit", 1.0, "a share of the stack"),
    "merge": ("near", 1.0, "a share of the pot"),
}
"""Field of `Menu`, the most it can be, and what it is."""


def _limit(key: str, number: str, name: str, text: str) -> float:
    """The number of ``spr=1.5`` and the like.

    Raises:
        ValueError: There is no such limit, or the number is not above 0 or too large.
    """
    limit = _number(number)
    if key not in _LIMITS:
        raise ValueError(
            f"Unknown limit '{one_line(name)}' in '{one_line(text)}': give spr=1.5, commit=0.67 or "
            "merge=0.1."
        )
    _, most, meaning = _LIMITS[key]
    if not 0 < limit <= most:
        raise ValueError(
            f"Bad limit '{one_line(name)}' in '{one_line(text)}': give {meaning}, above 0 and up "
            f"to {most:g}."
        )
    return limit


def _size(number: str, kind: str) -> float | None:
    """The number of a size of a kind: a fraction of the pot, of a multiple, of a geometric one."""
    if kind == "e":
        return float(number or 0) if number in ("", *"123456789") else None
    size = _number(number)
    return size if (1 if kind else 0) < size <= LARGEST else None


def _number(text: str) -> float:
    """A number or one in per cent; NaN where there is none."""
    try:
        return float(text.removesuffix("%")) / (100.0 if text.endswith("%") else 1.0)
    except ValueError:
        return math.nan


def geometric(state: BettingState, times: int) -> float:
    """The fraction of the pot that, bet and called so many times, puts in all chips.

    With n times and s the stack to the pot after a call: ((1 + 2 s)^(1/n) - 1) / 2.
    """
    called = state.pot + state.to_call
    left = state.rules.depth - max(state.committed)
    return ((1.0 + 2.0 * left / called) ** (1.0 / times) - 1.0) / 2.0 if called else LARGEST


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


def fraction_component(fraction: float, threshold: float, smallest: float, largest: float) -> float:
    """The component that stands for a fraction of the pot: the inverse of `component_fraction`.

    Args:
        fraction: From `smallest` to `largest`.
        threshold: As there, and the next two.
        smallest: Less than `largest`.
        largest: Fraction of the pot at 1.
    """
    share = math.log(fraction / smallest) / math.log(largest / smallest)
    return threshold + share * (1.0 - threshold)


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
