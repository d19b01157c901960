"""The optimum of tiny grid MDPs by trying every policy: what planners are checked against."""

from collections.abc import Iterator
from itertools import product

import numpy as np

from tenfold.envs.risk.measures import RiskMeasure
from tenfold.envs.risk.returns import GridMDP

# More policies than this are refused.
MOST_POLICIES = 100_000


def every_policy(mdp: GridMDP) -> Iterator[np.ndarray]:
    """All policies (H, S, Y) int that differ on some (h, s, y) that can be reached.

    Raises:
        ValueError: There are too many.
    """
    reached, places = {(mdp.initial, 0)}, []
    for h in range(mdp.H):
        places += [(h, s, y) for s, y in sorted(reached)]
        reached = {
            (int(mdp.nexts[h, s, a, o]), y + int(mdp.rewards[h, s, a, o]))
            for s, y in reached
            for a in range(mdp.A)
            for o in np.flatnonzero(mdp.probabilities[h, s, a])
        }
    if mdp.A ** len(places) > MOST_POLICIES:
        raise ValueError(
            f"There are {mdp.A}^{len(places)} policies, at most {MOST_POLICIES:,} can be tried: "
            "take a smaller task."
        )
    for choice in product(range(mdp.A), repeat=len(places)):
        policy = np.zeros((mdp.H, mdp.S, mdp.Y), dtype=np.int64)
        policy[tuple(np.array(places).T)] = choice
        yield policy


def best_risk(mdp: GridMDP, rho: RiskMeasure) -> float:
    """The largest rho of the return over all policies.

    Raises:
        ValueError: See `every_policy`.
    """
    return max(mdp.risk(rho, policy) for policy in every_policy(mdp))
