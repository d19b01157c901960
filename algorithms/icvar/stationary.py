"""Iterated CVaR without a horizon: one policy for every step, by value iteration.

    V(s) = max_a { r(s, a) + discount CVaR_alpha over s' ~ P(. | s, a) of V(s') }

CVaR is monotone and moves by c where all values do, so the operator on the right is a contraction
in the largest difference of values, by the factor `discount` whatever alpha. From V = 0 and with
rewards in [0, 1], n sweeps leave an error of at most discount^n / (1 - discount); what is left
after any sweep is at most discount / (1 - discount) times what it changed.
"""

from collections.abc import Callable

import numpy as np

from tenfold.algorithms.icvar.operators import exact_cvar
from tenfold.algorithms.icvar.planner import Solution
from tenfold.envs.risk.mdp import TabularMDP
from tenfold.envs.risk.measures import ROUNDING, check_alpha

# The largest error of a value, as a share of the largest one where that is above 1.
TOLERANCE = 1e-9
# A discount nearer to 1 needs more sweeps than anybody waits for.
LARGEST_DISCOUNT = 0.9999


class StationaryCVaR:
    """Discounted iterated CVaR of an MDP that is the same at every step.

    Args:
        mdp: Its rewards are discounted, as `discounted_mdp` makes them.
        alpha: Risk level in (0, 1].
        discount: In (0, 1).

    Raises:
        ValueError: `alpha` is outside (0, 1], or the MDP changes with the step.
    """

    def __init__(self, mdp: TabularMDP, alpha: float, discount: float) -> None:
        check_alpha(alpha)
        weights = discount ** np.arange(mdp.H)
        same = np.abs(mdp.rewards - weights[:, None, None] * mdp.rewards[0]).max() <= ROUNDING
        if not (same and np.abs(mdp.transitions - mdp.transitions[0]).max() <= ROUNDING):
            raise ValueError(
                "horizon = infinite needs the same probabilities and rewards at every step, and "
                "those of this task change: give horizon = finite, or a task that stays the same."
            )
        self.mdp, self.alpha, self.discount = mdp, alpha, discount

    def optimal(self) -> Solution:
        """The best policy, the same at each of the H steps, and values (1, S) without end; ties go
        to the first action."""
        values = self._fixed_point(lambda q: q.max(axis=-1))
        policy = self._worth(values).argmax(axis=-1)
        return Solution(np.tile(policy, (self.mdp.H, 1)), values[None])

    def evaluate(self, policy: np.ndarray) -> np.ndarray:
        """The values (1, S) of a policy (H, S) that is the same at every step."""
        states = np.arange(self.mdp.S)
        return self._fixed_point(lambda q: q[states, policy[0]])[None]

    def sweep(self, values: np.ndarray) -> np.ndarray:
        """The operator of the module's text, (S,) to (S,)."""
        best: np.ndarray = self._worth(values).max(axis=-1)
        return best

    def _worth(self, values: np.ndarray) -> np.ndarray:
        """Q (S, A) from V (S,)."""
        mdp = self.mdp
        worth: np.ndarray = mdp.rewards[0] + self.discount * exact_cvar(
            mdp.transitions[0], values, self.alpha
        )
        return worth

    def _fixed_point(self, choose: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        values, left = np.zeros(self.mdp.S), np.inf
        while left > TOLERANCE * max(1.0, values.max()):
            after = choose(self._worth(values))
            left = float(np.abs(after - values).max()) * self.discount / (1.0 - self.discount)
            values = after
        return values
