"""The learning rate of the restoration, when weights come back."""

from dataclasses import dataclass, replace

from tenfold.algorithms.common.learning_rate import LearningRate


@dataclass(frozen=True)
class RewarmedRate:
    """A learning rate that rises again when weights come back, and falls by a cosine to the end.

    Ours, not the paper's: without it weights come back at a rate near the floor and stay near 0.

    Attributes:
        before: The learning rate until then, which says the steps T and the floor, too.
        start: Step from which it rises.
        warmup: Steps of the rise, linear from where it stands.
        peak: Where it rises to.
    """

    before: LearningRate
    start: int
    warmup: int
    peak: float

    def __call__(self, step: int) -> float:
        done = step - self.start
        if done < 0:
            return self.before(step)
        if done < self.warmup:
            low = self.before(self.start)
            return low + (self.peak - low) * (done + 1) / self.warmup
        left = self.before.total - self.start
        return replace(self.before, peak=self.peak, total=left, warmup=self.warmup)(done)
