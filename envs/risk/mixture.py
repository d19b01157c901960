"""Linear mixtures: MDPs whose kernels are unknown averages of known ones."""

from dataclasses import dataclass

import numpy as np

from tenfold.envs.risk.mdp import TabularMDP, check_probabilities


@dataclass(frozen=True, eq=False)
class Mixture:
    """A linear mixture of known kernels.

    Attributes:
        kernels: P^i(s' | s, a), (d, S, A, S) float64.
        theta: Unknown weights of each step, on the simplex, (H, d) float64.
        mdp: The MDP that they make.

    Raises:
        ValueError: A kernel or a weight vector is not a distribution, see `TabularMDP` too.
    """

    kernels: np.ndarray
    theta: np.ndarray
    mdp: TabularMDP

    @property
    def d(self) -> int:
        """Number of base kernels."""
        return len(self.kernels)


def mixture(
    kernels: np.ndarray, theta: np.ndarray, rewards: np.ndarray, initial: int = 0
) -> Mixture:
    """Build the MDP of base kernels and weights.

    Args:
        kernels: (d, S, A, S).
        theta: (H, d), or (d,) with as many steps as `rewards` has.
        rewards: (H, S, A) in [0, 1].
        initial: The first state.

    Raises:
        ValueError: See `Mixture`.
    """
    theta = np.broadcast_to(theta, (len(rewards), len(kernels))).copy()
    check_probabilities("theta", theta)
    check_probabilities("kernels", kernels)
    first = np.zeros(kernels.shape[1])
    first[initial] = 1.0
    transitions = np.einsum("hi,isat->hsat", theta, kernels)
    return Mixture(kernels, theta, TabularMDP(transitions, rewards, first))
