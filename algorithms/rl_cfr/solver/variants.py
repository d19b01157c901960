"""The variants of CFR, one line each: how old regrets fade and what an iteration weighs."""

from collections.abc import Callable
from typing import NamedTuple


class Weights(NamedTuple):
    """What iteration t = 1, 2, ... does.

    Attributes:
        positive: Factor of the positive regrets that earlier iterations left.
        negative: Factor of the negative ones; 0 floors regrets at 0.
        average: Weight of the iteration's strategy in the average strategy.
        kept: Factor of the average's sums that earlier iterations left; 0 begins it anew.
    """

    positive: float
    negative: float
    average: float
    kept: float = 1.0


def _fade(s: float, exponent: float) -> float:
    """What DCFR multiplies by after its iteration s (Brown and Sandholm 2019)."""
    return s**exponent / (s**exponent + 1.0)


def _anew(t: int) -> Weights:
    """DCFR(1.5, 0, 3) whose average begins anew at the iterations 4^k + 1."""
    begin = 4 ** ((t - 1).bit_length() - 1 >> 1) if t > 1 else 0
    kept = float(t - 1 != begin)
    return Weights(_fade(t - 1, 1.5), 0.5, float(t - begin) ** 3, kept)


VARIANTS: dict[str, Callable[[int], Weights]] = {
    "cfr": lambda t: Weights(1.0, 1.0, 1.0),
    "cfr+": lambda t: Weights(1.0, 0.0, float(t)),
    "linear": lambda t: Weights((t - 1) / t, (t - 1) / t, float(t)),
    "dcfr": lambda t: Weights(_fade(t - 1, 1.5), 0.5, float(t) ** 2),
    "dcfr-anew": _anew,
    "pcfr+": lambda t: Weights(1.0, 0.0, float(t) ** 2),
}
"""CFR (Zinkevich et al. 2007), CFR+ (Tammelin 2014), linear CFR and DCFR(1.5, 0, 2) (Brown and
Sandholm 2019), DCFR with gamma 3 that forgets its average at powers of 4 (as the program
postflop-solver does), PCFR+ (Farina et al. 2021: also predicts that the last regrets come
again)."""

PREDICTIVE = ("pcfr+",)


def check_variant(name: str, compressed: bool = False) -> None:
    """Raises: ValueError: There is no such variant, or it is not kept in 16 bits."""
    if name not in VARIANTS:
        raise ValueError(f"Unknown CFR variant '{name}': choose one of {', '.join(VARIANTS)}.")
    if compressed and name in PREDICTIVE:
        raise ValueError(f"Variant '{name}' is not kept in 16 bits: choose another.")
