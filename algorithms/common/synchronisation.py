"""When local workers average: a synchronisation rule says how many local steps each round has.

H(s) is the number of local steps of round s, T the steps in all. A rule and a learning rate say
before a run which rounds it will have. Nothing here needs torch or Ray.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple


class Round(NamedTuple):
    """H local steps from step `start` on, then an average."""

    start: int
    H: int


@dataclass(frozen=True)
class SyncRule(ABC):
    """How many local steps a round has; the last round ends at step T exactly."""

    total: int

    @abstractmethod
    def wanted(self, lr: float, step: int) -> int:
        """H for a round that starts at `step`, before the cut at T."""

    def h(self, lr: float, step: int) -> int:
        """H(s) of the round that starts at `step`.

        Args:
            lr: Learning rate of that step, the first of the round.
            step: Steps done so far, less than T.
        """
        return min(self.wanted(lr, step), self.total - step)

    def rounds(self, learning_rate: Callable[[int], float], step: int = 0) -> Iterator[Round]:
        """All rounds of a run, from a round that starts at `step` on."""
        while step < self.total:
            H = self.h(learning_rate(step), step)
            yield Round(step, H)
            step += H


@dataclass(frozen=True)
class ConstantSync(SyncRule):
    """H = H_base throughout; with base 1 an average after every step."""

    base: int

    def wanted(self, lr: float, step: int) -> int:
        return self.base
