"""Exact iterated CVaR by backward induction on a known model.

    Q_h(s, a) = r_h(s, a) + CVaR_alpha over s' ~ P_h(. | s, a) of V_{h+1}(s'),     V_{H+1} = 0

with V_h(s) = max_a Q_h(s, a) for the optimum and V_h(s) = Q_h(s, pi_h(s)) for a policy. Risk is
taken at every step, over the next state; this is not the CVaR of the return. Since CVaR is
monotone, backward induction gives the best of all policies.
"""

from dataclasses import dataclass

import numpy as np

from tenfold.algorithms.icvar.operators import exact_cvar
from tenfold.envs.risk.mdp import TabularMDP
from tenfold.envs.risk.measures import check_alpha


@dataclass(frozen=True)
class Solution:
    """A policy (H, S) int and its values V_h(s), (H + 1, S) float64, the last row 0."""

    policy: np.ndarray
    values: np.ndarray


class IteratedCVaR:
    """Iterated CVaR of an MDP.

    Args:
        mdp: The known model.
        alpha: Risk level in (0, 1].

    Raises:
        ValueError: `alpha` is outside (0, 1].
    """

    def __init__(self, mdp: TabularMDP, alpha: float) -> None:
        self.mdp = mdp
        check_alpha(alpha)
        self.alpha = alpha

    def optimal(self) -> Solution:
        """The optimum; ties go to the first action."""
        values = np.zeros((self.mdp.H + 1, self.mdp.S))
        policy = np.empty((self.mdp.H, self.mdp.S), dtype=np.int64)
        for h in reversed(range(self.mdp.H)):
            q = self.mdp.rewards[h] + exact_cvar(self.mdp.transitions[h], values[h + 1], self.alpha)
            policy[h] = q.argmax(axis=-1)
            values[h] = q.max(axis=-1)
        return Solution(policy, values)

    def evaluate(self, policy: np.ndarray) -> np.ndarray:
        """The values V_h(s) of a policy.

        Args:
            policy: (H, S) int.

        Returns:
            (H + 1, S) float64.
        """
        states = np.arange(self.mdp.S)
        values = np.zeros((self.mdp.H + 1, self.mdp.S))
        for h in reversed(range(self.mdp.H)):
            chosen = self.mdp.transitions[h, states, policy[h]]
            values[h] = self.mdp.rewards[h, states, policy[h]]
            values[h] += exact_cvar(chosen, values[h + 1], self.alpha)
        return values
