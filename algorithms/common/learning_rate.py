"""Learning-rate schedules of the training loops: functions of the step, without torch or Ray."""

import math
from collections.abc import Callable
from dataclasses import dataclass


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
