"""Learning-rate schedules and synchronisation rules: pure functions of the step.

Symbols as in the paper (arXiv:2310.14423): T steps in all, eta_t the learning rate of step t, H(s)
the number of local steps of round s, alpha the growth coefficient, H_base the least H. The
warm-up and the cut at T follow the authors' code. Nothing here needs torch or Ray: a rule and a
schedule say before a run which rounds it will have.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True)
class LearningRate:
    """Learning rate eta_t of step t = 0, ..., T - 1, with a linear warm-up.

    Attributes:
        shape: ``cosine``, ``linear``, ``step``, ``stepped_cosine`` or ``constant``.
        peak: Largest learning rate, reached at the end of the warm-up.
        total: Steps T.
        warmup: Steps of the linear warm-up, fewer than T.
        floor: Learning rate at the end of ``cosine`` and ``linear``.
        decay: Factor of ``step`` after each of its three equal parts.
    """

    shape: str
    peak: float
    total: int
    warmup: int
    floor: float
    decay: float = 0.1

    def __call__(self, step: int) -> float:
        if step < self.warmup:
            return self.peak * (step + 1) / self.warmup
        return SHAPES[self.shape](self, (step - self.warmup) / (self.total - self.warmup))


def _cosine(lr: LearningRate, done: float) -> float:
    return lr.floor + (lr.peak - lr.floor) * 0.5 * (1 + math.cos(math.pi * done))


def _stepped_cosine(lr: LearningRate, done: float) -> float:
    """The cosine rounded down to a power of two times the peak, so that it falls in steps."""
    value = _cosine(lr, done)
    return max(lr.floor, lr.peak * 2.0 ** math.floor(math.log2(value / lr.peak)))


SHAPES: dict[str, Callable[[LearningRate, float], float]] = {
    "cosine": _cosine,
    "linear": lambda lr, done: lr.peak + (lr.floor - lr.peak) * done,
    "step": lambda lr, done: lr.peak * lr.decay ** int(3 * done),
    "stepped_cosine": _stepped_cosine,
    "constant": lambda lr, done: lr.peak,
}


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
class ConstantSync(SyncRule):
    """H = H_base throughout; with base 1 an average after every step."""

    base: int

    def wanted(self, lr: float, step: int) -> int:
        return self.base


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
