"""The quadratic synchronisation rule and the rules that it is compared with.

Symbols as in the paper (arXiv:2310.14423): T steps in all, eta_t the learning rate of step t, H(s)
the number of local steps of round s, alpha the growth coefficient, H_base the least H. The
warm-up and the cut at T follow the authors' code.
"""

import math
from dataclasses import dataclass

from tenfold.algorithms.common.synchronisation import SyncRule


@dataclass(frozen=True)
class QuadraticSync(SyncRule):
    """H = max(H_base, floor((alpha / eta_t)^power)); power 2 is QSR, 1 and 3 are its ablations.

    During the warm-up the peak learning rate stands for eta_t, or H would start huge.
    """

    alpha: float
    base: int
    power: float
    warmup: int
    peak: float

    def wanted(self, lr: float, step: int) -> int:
        eta = self.peak if step < self.warmup else lr
        # A learning rate of 0, or one so small that the power overflows, asks for the longest
        # round there is.
        try:
            grown = (self.alpha / eta) ** self.power if eta > 0 else math.inf
        except OverflowError:
            grown = math.inf
        return max(self.base, math.floor(min(grown, self.total)))


@dataclass(frozen=True)
class PostLocalSync(SyncRule):
    """H = 1 until step `switch`, then H = H_base (Lin et al. 2020)."""

    switch: int
    base: int

    def wanted(self, lr: float, step: int) -> int:
        return 1 if step < self.switch else self.base


@dataclass(frozen=True)
class SwapSync(SyncRule):
    """H = 1 until step `switch`, then one round to the end (SWAP, Gupta et al. 2020)."""

    switch: int

    def wanted(self, lr: float, step: int) -> int:
        return 1 if step < self.switch else self.total
