"""Actions in the words of players: sizes are chips put in on this street, as at the table."""

import re

from tenfold.envs.poker.rules import CALL, FOLD, BettingState

WORDS = re.compile(r"(fold|f|check|k|call|c|bet|b|raise|r|all-?in|a)\s*(to\b)?\s*(\d*)\s*(all-in)?")

_ACTIONS = {"fold": FOLD, "f": FOLD, "check": CALL, "k": CALL, "call": CALL, "c": CALL}


def format_chips(amount: int, unit: int = 1) -> str:
    """Units as chips: ``format_chips(1250, 100)`` is ``"12.5"``."""
    return str(amount) if unit == 1 else f"{amount / unit:.10g}"


def describe(action: int, state: BettingState, unit: int = 1) -> str:
    """An action in words: ``"check"``, ``"call 300"``, ``"bet 500"``, ``"raise to 900"``.

    Args:
        action: Of the player who is to act.
        state: The decision.
        unit: Units of a chip, see `Spot.unit`.
    """
    if action == FOLD:
        return "fold"
    if action == CALL:
        return f"call {format_chips(state.to_call, unit)}" if state.to_call else "check"
    verb = "raise to" if max(state.bets) else "bet"
    all_in = " all-in" if action == state.rules.depth else ""
    return f"{verb} {format_chips(action - state.level, unit)}{all_in}"


def options(state: BettingState) -> str:
    """What `read_action` takes at a decision, in words."""
    words = ["fold", "call"] if state.to_call else ["check"]
    if state.raises is None:
        return " or ".join(words)
    low, high = (target - state.level for target in state.raises)
    verb = "raise" if max(state.bets) else "bet"
    return ", ".join([*words, f"{verb} {low}..{high}", "or all-in"])


def read_action(text: str, state: BettingState) -> int:
    """Read an action: the words of `describe`, or f, k, c, b 500, r 900, a.

    Raises:
        ValueError: The words make no action, or it is not legal here.
    """
    match = WORDS.fullmatch(text.strip().lower())
    if match is None:
        raise ValueError(f"Cannot read '{text}': write {options(state)}.")
    word, _, number, _ = match.groups()
    if word in ("check", "k") and state.to_call:
        raise ValueError(f"Check is not possible: there is a bet of {state.to_call} to call.")
    if word in ("bet", "b", "raise", "r") and not number:
        raise ValueError(f"'{text}' does not say how much: write {options(state)}.")
    action = _ACTIONS.get(word)
    if action is None:
        action = int(number) + state.level if number else state.rules.depth
    elif number and int(number) != state.to_call:
        raise ValueError(f"'{text}' has a number that is not the call: write {options(state)}.")
    if not state.is_legal(action):
        raise ValueError(f"'{text}' is not legal: write {options(state)}.")
    return action
