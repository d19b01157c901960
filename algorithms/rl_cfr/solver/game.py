"""What a solver needs of a game: its public tree and how hands are dealt."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tenfold.algorithms.rl_cfr.solver.tree import PublicTree


class LeafEvaluator(Protocol):
    """Values of the states where a depth-limited tree ends."""

    def __call__(self, reaches: NDArray[np.floating]) -> NDArray[np.floating]:
        """Counterfactual values of both players at every leaf.

        Args:
            reaches: (leaves, 2, H) reach of both players' hands under the current strategies.

        Returns:
            (leaves, 2, H): for each hand of a player, the sum over the other's hands of their reach
            times the payoff, as a terminal would give it; in payoff units.
        """
        ...


@dataclass(frozen=True)
class Game:
    """A two-player game on a public tree.

    Attributes:
        tree: `PublicTree`.
        ranges: (2, H) weights of the hands at the root.
        mass: Total weight of the pairs of hands that can be dealt: values divide by it.
        total: Sum of both players' payoffs (the pot at a subgame's root; 0 if zero-sum); None where
            it depends on how they play, as with a rake.
        leaf: Values of the tree's leaves, if it has any.
    """

    tree: PublicTree
    ranges: NDArray[np.floating]
    mass: float
    total: float | None
    leaf: LeafEvaluator | None = None
