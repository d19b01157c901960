"""What the house takes of a pot.

The rule is that of card rooms: a share of the pot, at most a cap; a bet that nobody called goes
back and pays nothing; a hand that ends before the flop pays nothing ("no flop, no drop"). A hand
that ends later pays at a fold as at a showdown. Chips are not rounded to those of a table.
"""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Rake:
    """A share of each pot, at most a cap.

    Attributes:
        share: From 0 up to, not including, 1.
        cap: Chips (units of the rules) that are taken of a pot at most.
    """

    share: float = 0.0
    cap: float = math.inf

    def __post_init__(self) -> None:
        if not 0 <= self.share < 1:
            raise ValueError(
                f"Rake {self.share} is no share of the pot: give one from 0 to below 1."
            )
        if not self.cap >= 0:
            raise ValueError(f"Rake cap {self.cap} is no amount: give chips, 0 or more.")

    def of(self, pot: float) -> float:
        """What is taken of a pot, in chips."""
        return min(self.share * pot, self.cap) if self.share else 0.0


NO_RAKE = Rake()
