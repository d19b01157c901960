"""Planning where each reward collected so far, y, has probabilities of its own (RS-DisRL-V).

CVaR and mixtures of it are planned for many utilities g at once, and U_h(s, y) of each of them is a
maximum over actions of the best member of a set. Most of that need not be computed:

- y has only values that rewards before step h can add up to;
- the best outcome of every set is heaven, which pays the most in every later step. Where the set of
  one action holds all distributions, U_h(s, y) = g(y + the most that can still come), whatever the
  other actions are. So sets are searched at those (s, y) alone at which all actions were tried
  often enough for their sets to be smaller;
- where g is constant from y to the most that can still come, U_h(s, y) is that constant.

What is left is computed place by place, so that no array is larger than the values of the next step
for a few utilities, (S, Y, n).
"""

import numpy as np
from numba import njit

from tenfold.algorithms.rs_disrl.planner import AT_ONCE, Belief, StaticPlanner
from tenfold.algorithms.rs_disrl.sets import best_member
from tenfold.envs.risk.returns import GridMDP

# Places of likelihood sets that are searched at once.
_PLACES = 512


class ReturnPlanner(StaticPlanner):
    """`StaticPlanner` for beliefs at every y.

    Args:
        mdp: Of `with_heaven`, whose last state is heaven.
        belief: Probabilities (H, S, A, O, Y), with or without sets.
    """

    def __init__(self, mdp: GridMDP, belief: Belief) -> None:
        super().__init__(mdp, belief)
        most = mdp.rewards.reshape(mdp.H, -1).max(axis=1)
        self.before = np.concatenate([[0], np.cumsum(most)])  # the largest y before each step
        if belief.sizes is None:
            smaller = np.ones((mdp.H, mdp.S, mdp.A, mdp.Y), dtype=bool)
        elif belief.estimator == "lsr":
            smaller = belief.sizes < 1.0
        else:
            smaller = np.isfinite(belief.sizes)
        searched = np.logical_and.reduce(smaller, axis=2)  # (H, S, Y)
        self.places = [
            np.argwhere(step[:, : most_before + 1])
            for step, most_before in zip(searched, self.before[:-1], strict=True)
        ]

    def reached(self, utilities: np.ndarray) -> np.ndarray:
        chunks = range(0, len(utilities), AT_ONCE)
        return np.concatenate([self._some(utilities[i : i + AT_ONCE]) for i in chunks])

    def _some(self, utilities: np.ndarray) -> np.ndarray:
        """`reached` for a few utilities (n, Y)."""
        mdp, Y = self.mdp, self.mdp.Y
        gained = np.ascontiguousarray(utilities.T)  # (Y, n)
        values = np.repeat(gained[None], mdp.S, axis=0)  # (S, Y, n)
        for h in reversed(range(mdp.H)):
            to_come = self.before[-1] - self.before[h]
            best = gained[np.minimum(np.arange(Y) + to_come, Y - 1)]
            now = np.repeat(best[None], mdp.S, axis=0)
            if self.belief.estimator == "mle" and self.belief.sizes is not None:
                self._likelihood(h, values, now)
            else:
                self._shift(h, values, gained, best, now)
            values = now
        return values[mdp.initial, 0]

    def _shift(
        self, h: int, values: np.ndarray, low: np.ndarray, high: np.ndarray, now: np.ndarray
    ) -> None:
        """Fill in U_h for sets that move mass, or none."""
        belief, mdp = self.belief, self.mdp
        shape = (mdp.S, mdp.A, mdp.Y)
        mass = np.zeros(shape) if belief.sizes is None else belief.sizes[h]
        shift_mass(
            self.places[h],
            mdp.nexts[h],
            mdp.rewards[h],
            np.ascontiguousarray(belief.probabilities[h]),
            mass,
            values,
            low,
            high,
            now,
        )

    def _likelihood(self, h: int, values: np.ndarray, now: np.ndarray) -> None:
        """Fill in U_h for likelihood sets."""
        mdp, belief = self.mdp, self.belief
        assert belief.sizes is not None
        for first in range(0, len(self.places[h]), _PLACES):
            s, y = self.places[h][first : first + _PLACES].T
            after = np.minimum(y[:, None, None] + mdp.rewards[h, s], mdp.Y - 1)  # (places, A, O)
            ahead = values[mdp.nexts[h, s], after]  # (places, A, O, n)
            p = belief.probabilities[h][s, :, :, y][..., None]
            member = best_member("mle", p, ahead, belief.sizes[h][s, :, y][..., None])
            now[s, y] = (member * ahead).sum(axis=2).max(axis=1)


@njit(cache=True)
def shift_mass(
    places: np.ndarray,
    nexts: np.ndarray,
    rewards: np.ndarray,
    p: np.ndarray,
    mass: np.ndarray,
    values: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    now: np.ndarray,
) -> None:
    """The largest mean over actions when mass moves from the worst outcomes to the best.

    Args:
        places: The (s, y) to fill in, (places, 2) int.
        nexts: Next state of each outcome, (S, A, O) int.
        rewards: Likewise, in grid steps.
        p: Probabilities, (S, A, O, Y).
        mass: What moves, at most all of it, (S, A, Y).
        values: U_{h+1} of n utilities, (S, Y, n).
        low: Utilities of y, (Y, n).
        high: Utilities of y and the most that can still come, (Y, n); if it is not above `low`,
            U_h is this.
        now: U_h (S, Y, n), filled in.
    """
    _, A, O = nexts.shape  # noqa: E741
    Y, n = low.shape
    ahead, order = np.empty(O), np.empty(O, np.int64)
    for s, y in places:
        for u in range(n):
            if low[y, u] == high[y, u]:
                continue
            best = -np.inf
            for a in range(A):
                for o in range(O):  # in ascending order of their values
                    value = values[nexts[s, a, o], min(y + rewards[s, a, o], Y - 1), u]
                    i = o
                    while i > 0 and ahead[i - 1] > value:
                        ahead[i], order[i] = ahead[i - 1], order[i - 1]
                        i -= 1
                    ahead[i], order[i] = value, o
                left = min(mass[s, a, y], 1.0)
                q = left * ahead[O - 1]
                for i in range(O):
                    taken = min(left, p[s, a, order[i], y])
                    left -= taken
                    q += (p[s, a, order[i], y] - taken) * ahead[i]
                best = max(best, q)
            now[s, y, u] = best
