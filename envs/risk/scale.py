"""Rewards of a user's own model in the unit that learners work in, and how that is said."""

import logging
from dataclasses import dataclass
from functools import cache

import numpy as np


@dataclass(frozen=True)
class Unit:
    """The user's unit of a return: `span` times ours, plus `offset`."""

    span: float = 1.0
    offset: float = 0.0

    def of(self, value: float) -> float:
        """A return, or its risk, in the user's unit."""
        return self.span * value + self.offset


SAME = Unit()
"""Of rewards that were left as they are."""


@dataclass(frozen=True)
class Scale:
    """Maps rewards from [low, low + span] to [0, 1]."""

    low: float
    span: float

    @classmethod
    def of(cls, rewards: np.ndarray) -> "Scale":
        """The scale that just holds all these rewards."""
        low, high = float(rewards.min()), float(rewards.max())
        return cls(low, high - low if high > low else 1.0)

    def unit(self, steps: float) -> Unit:
        """Of the sum of scaled rewards of so many steps, discounted ones in part."""
        return Unit(self.span, self.low * steps)

    def scaled(self, rewards: np.ndarray | float) -> np.ndarray:
        """Rewards within [0, 1]; rounding does not lead out of it."""
        return np.clip((np.asarray(rewards) - self.low) / self.span, 0.0, 1.0)


@cache
def say(text: str) -> None:
    """Tell the user something, once a process."""
    logging.getLogger("tenfold.envs").warning(text)
