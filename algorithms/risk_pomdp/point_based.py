"""Point-based planning for an exponential objective, with bounds from both sides.

Beta vectors make the objective linear in the risk belief, so point-based value iteration works as
for risk-neutral POMDPs (heuristic search value iteration, Smith and Simmons 2004). With
s = sign(gamma), U_h(sigma) = max_pi s <sigma, beta_h^pi> is convex and positively homogeneous:

    lower bound  max over found vectors of s <sigma, beta>; each is the vector of a controller
    upper bound  the fast informed bound (Hauskrecht 2000), in which the state is told one step
                 late, and the sawtooth between the corners of the simplex and visited beliefs

A trial walks down from the first belief, along the action of the best upper bound and the
observation of the widest gap, and improves both bounds on its way back. Beliefs closer than `merge`
to a visited one are replaced by it *before* the improvement: that changes where bounds are improved
and never whether they hold. Steps count from 0; exponentials are plain float64, see `check_gamma`.
"""

from dataclasses import dataclass

import numpy as np

from tenfold.algorithms.risk_pomdp.optimism import rewards_to_come
from tenfold.envs.risk.controller import Controller
from tenfold.envs.risk.pomdp import TabularPOMDP

MERGE = 1e-9


@dataclass(frozen=True)
class Bounds:
    """What a search found.

    Attributes:
        lower: Entropic risk of `controller`, exactly (with the bonus, if there is one).
        upper: No history-dependent policy has more.
        controller: The best policy found.
        trials: Walks that were made.
        beliefs: Visited beliefs that the upper bound rests on.
    """

    lower: float
    upper: float
    controller: Controller
    trials: int
    beliefs: int

    @property
    def gap(self) -> float:
        """upper - lower."""
        return self.upper - self.lower


class PointBasedPlanner:
    """Bounds of the optimal entropic risk of a POMDP, improved by `solve`.

    Args:
        pomdp: The model; any horizon.
        gamma: Risk parameter.
        bonus: b_h(s, a) >= 0 of an optimistic learner, (H, S, A), added to every vector of U; none
            when None.
        merge: Largest difference of an entry between beliefs that are treated as one.
    """

    def __init__(
        self,
        pomdp: TabularPOMDP,
        gamma: float,
        bonus: np.ndarray | None = None,
        merge: float = MERGE,
    ) -> None:
        self.pomdp, self.gamma, self.merge = pomdp, gamma, merge
        self.bonus = np.zeros(pomdp.rewards.shape) if bonus is None else bonus
        H, S, A, O = pomdp.H, pomdp.S, pomdp.A, pomdp.O  # noqa: E741
        self.sign = float(np.sign(gamma))
        growth = np.exp(gamma * pomdp.rewards)  # (H, S, A)
        # moves[h][a, o] takes a risk belief (S,) to the next one (S,), not scaled.
        self.moves = [
            np.einsum("sa,sat,to->aost", growth[h], pomdp.transitions[h], pomdp.emissions[h + 1])
            for h in range(H - 1)
        ]
        last = self.sign * growth[H - 1].T + self.bonus[H - 1].T  # (A, S), all there are
        vectors, informed = [last], [last]
        for move, more in zip(self.moves[::-1], self.bonus[-2::-1], strict=True):
            vectors.append(np.einsum("aost,at->as", move, vectors[-1]) + more.T)  # one action
            told = np.einsum("aost,bt->aosb", move, informed[-1])
            informed.append(told.max(axis=3).sum(axis=1) + more.T)
        self.vectors, self.informed = vectors[::-1], informed[::-1]
        self.actions = [np.arange(A) for _ in range(H)]
        self.successors = [np.repeat(np.arange(A)[:, None], O, axis=1) for _ in range(H - 1)]
        self.corners = [bound.max(axis=0) for bound in self.informed]  # (S,) a step
        self.points = [np.empty((0, S)) for _ in range(H)]
        self.heights = [np.empty(0) for _ in range(H)]
        self.first = pomdp.emissions[0].T * pomdp.initial  # (O, S)
        self.trials = 0

    def lower(self, h: int, beliefs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Lower bound of U_h at beliefs (n, S), and the vectors that give it."""
        worth = beliefs @ self.vectors[h].T
        best = worth.argmax(axis=1)
        return worth[np.arange(len(beliefs)), best], best

    def upper(self, h: int, beliefs: np.ndarray) -> np.ndarray:
        """Upper bound of U_h at beliefs (n, S)."""
        bound: np.ndarray = (beliefs @ self.informed[h].T).max(axis=1)
        if len(self.points[h]) == 0:
            return bound
        points, corners = self.points[h], self.corners[h]
        ratio = np.full((len(beliefs), *points.shape), np.inf)
        np.divide(beliefs[:, None], points, out=ratio, where=points > 0.0)
        below = self.heights[h] - points @ corners  # (points,), not above 0
        saw = beliefs @ corners + (ratio.min(axis=2) * below).min(axis=1)
        return np.minimum(bound, saw)

    def bounds(self) -> Bounds:
        """The present bounds and the present policy."""
        low, start = self.lower(0, self.first)
        controller = Controller(start, list(self.actions), list(self.successors))
        return Bounds(
            self._risk(low.sum()),
            self._risk(self.upper(0, self.first).sum()),
            controller.reachable(),
            self.trials,
            sum(len(points) for points in self.points),
        )

    def solve(self, gap: float, trials: int) -> Bounds:
        """Search until the bounds are no further apart than `gap`, or `trials` walks were made."""
        found = self.bounds()
        for _ in range(trials):
            if found.gap <= gap:
                break
            self.trial()
            found = self.bounds()
        return found

    def trial(self) -> None:
        """One walk to the end and back."""
        path = [self._widest(0, self.first)]
        for h, move in enumerate(self.moves[:-1]):
            after = np.einsum("s,aost->aot", path[-1], move)
            worth = self.upper(h + 1, after.reshape(-1, self.pomdp.S)).reshape(after.shape[:2])
            a = int((worth.sum(axis=1) + path[-1] @ self.bonus[h]).argmax())
            path.append(self._widest(h + 1, after[a]))
        for h in reversed(range(len(self.moves))):
            self._improve(h, path[h])
        self.trials += 1

    def _widest(self, h: int, beliefs: np.ndarray) -> np.ndarray:
        """The one of some beliefs (n, S) where bounds are furthest apart, scaled and merged."""
        beliefs = beliefs[beliefs.sum(axis=1) > 0.0]
        gaps = self.upper(h, beliefs) - self.lower(h, beliefs)[0]
        belief: np.ndarray = beliefs[gaps.argmax()]
        belief = belief / belief.sum()
        if len(self.points[h]) > 0:
            off = np.abs(self.points[h] - belief).max(axis=1)
            if off.min() <= self.merge:
                return np.asarray(self.points[h][off.argmin()])
        return belief

    def _improve(self, h: int, belief: np.ndarray) -> None:
        """Both bounds of step h < H - 1 at a belief (S,)."""
        A, O, S = self.pomdp.A, self.pomdp.O, self.pomdp.S  # noqa: E741
        after = np.einsum("s,aost->aot", belief, self.moves[h]).reshape(-1, S)
        extra = belief @ self.bonus[h]  # (A,)
        height = (self.upper(h + 1, after).reshape(A, O).sum(axis=1) + extra).max()
        if height < self.upper(h, belief[None])[0]:
            known = np.flatnonzero((self.points[h] == belief).all(axis=1))
            if len(known) > 0:
                self.heights[h][known[0]] = height
            else:
                self.points[h] = np.vstack([self.points[h], belief])
                self.heights[h] = np.append(self.heights[h], height)
        worth, best = (each.reshape(A, O) for each in self.lower(h + 1, after))
        worths = worth.sum(axis=1) + extra
        a = int(worths.argmax())
        if worths[a] > self.lower(h, belief[None])[0][0]:
            ahead = self.vectors[h + 1][best[a]]  # (O, S)
            vector = np.einsum("ost,ot->s", self.moves[h][a], ahead) + self.bonus[h, :, a]
            self.vectors[h] = np.vstack([self.vectors[h], vector])
            self.actions[h] = np.append(self.actions[h], a)
            self.successors[h] = np.vstack([self.successors[h], best[a]])

    def _risk(self, value: float) -> float:
        """(1 / gamma) log of an expectation that carries the sign of gamma, within its range."""
        ends = self.gamma * np.stack(rewards_to_come(self.pomdp.rewards))[:, 0]
        expected = np.clip(self.sign * value, *np.exp(np.sort(ends)))
        return float(np.log(expected) / self.gamma)
