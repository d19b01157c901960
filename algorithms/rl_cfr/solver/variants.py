"""The variants of CFR, one line each: how old regrets fade and what an iteration weighs."""

from collections.abc import Callable
from typing import NamedTuple


class Weights(NamedTuple):
    """What iteration t = 1, 2, ... does.

    Attributes:
        positive: Factor of the positive regrets that earlier iterations left.
        negative: Factor of the negative ones; 0 floors regrets at 0.
        average: Weight of the iteration's strategy in the average strategy.
    """

    positive: float
    negative: float
    average: float


def _fade(s: float, exponent: float) -> float:
    """What DCFR multiplies by after its iteration s (Brown and Sandholm 2019)."""
    return s**exponent / (s**exponent + 1.0)


VARIANTS: dict[str, Callable[[int], Weights]] = {
    "cfr": lambda t: Weights(1.0, 1.0, 1.0),
    "cfr+": lambda t: Weights(1.0, 0.0, float(t)),
    "linear": lambda t: Weights((t - 1) / t, (t - 1) / t, float(t)),
    "dcfr": lambda t: Weights(_fade(t - 1, 1.5), 0.5, float(t) ** 2),
    "pcfr+": lambda t: Weights(1.0, 0.0, float(t) ** 2),
}
"""CFR (Zinkevich et al. 2007), CFR+ (Tammelin 2014), linear CFR and DCFR(1.5, 0, 2) (Brown and
Sandholm 2019), PCFR+ (Farina et al. 2021: also predicts that the last regrets come again)."""

PREDICTIVE = ("pcfr+",)


def check_variant(name: str) -> None:
    """Raises: ValueError: There is no such variant."""
    if name not in VARIANTS:
        raise ValueError(f"Unknown CFR variant '{name}': choose one of {', '.join(VARIANTS)}.")
