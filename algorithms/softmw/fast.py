"""SoftMW-fast: any quick rule while the queues are short, SoftMW when they are not.

The guarantee of SoftMW costs much where it is not needed: exploration that falls as t^(-1/4) keeps
queues at hundreds that a quick rule would keep at five. But short queues endanger nothing. In the
quadratic drift, a slot with total backlog at most B adds at most B M + K M^2 whatever is served, so
below B we serve by MaxWeight on discounted upper confidence bounds, and above it by SoftMW, which
learns from its own slots only, until the backlog is back under B / 2. THEORY.md has the argument.
"""

from typing import ClassVar

import numpy as np
from numba import njit

from tenfold.algorithms.softmw.baselines import best_by_bound, discount, serve
from tenfold.algorithms.softmw.scheduler import Constants
from tenfold.algorithms.softmw.softmw import HEAD, SoftMW, SoftMWConstants, learn, propose
from tenfold.envs.queues.scheduling import PROBABILITIES, UPDATE
from tenfold.platform.parameters import parameter

# After SoftMW's memory: whether it serves, then counts and sums of the quick rule.
_SAFE, _COUNTS = HEAD, HEAD + 1
# After SoftMW's seven params: B, discount, width, the size M of the quick rule.
_B, _GAMMA, _WIDTH, _SIZE = 7, 8, 9, 10


class SoftMWFastConstants(SoftMWConstants):
    """Constants of SoftMW-fast: those of SoftMW, and those of the quick rule."""

    B: float = parameter(
        300.0, "Total backlog above which SoftMW serves", unit="K M", gt=0, le=1e12
    )
    gamma: float = parameter(
        0.998, "What an observation weighs a slot later, for the quick rule", gt=0, lt=1
    )
    width: float = parameter(0.1, "Width c of the quick rule's confidence bounds", ge=0, le=1e6)


@njit(PROBABILITIES, cache=True)
def fast_probabilities(params, state, q, t, p):
    """SoftMW's probabilities above B and until B / 2, else the quick rule's choice."""
    K = len(q)
    total = 0.0
    for i in range(K):
        total += q[i]
    if total > params[_B]:
        state[K + _SAFE] = 1.0
    elif total < 0.5 * params[_B]:
        state[K + _SAFE] = 0.0
    if state[K + _SAFE] > 0.0:
        propose(params, state, q, t, p)
        return
    seen = 0.0
    for i in range(K):
        seen += state[K + _COUNTS + i]
    serve(p, best_by_bound(state, K + _COUNTS, q, params[_SIZE], params[_WIDTH], seen))


@njit(UPDATE, cache=True)
def fast_update(params, state, q, p, action, service, t):
    """The quick rule learns from every slot, SoftMW from its own."""
    K = len(q)
    if state[K + _SAFE] > 0.0:
        learn(params, state, q, p, action, service, t)
    discount(state, K + _COUNTS, K, params[_GAMMA], action, service)


class SoftMWFast(SoftMW):
    """A quick rule below a backlog of B, SoftMW above it (ours, not the paper's)."""

    name = "softmw_fast"
    Constants: ClassVar[type[Constants]] = SoftMWFastConstants
    probabilities_fn = staticmethod(fast_probabilities)
    update_fn = staticmethod(fast_update)

    def parameters(self) -> list[float]:
        c, M = self.constants, self._largest()
        return [*super().parameters(), c.B * self.K * M, c.gamma, c.width, M]

    def memory(self) -> np.ndarray:
        rest = np.zeros(_COUNTS - HEAD + 2 * self.K)
        return np.concatenate([super().memory(), rest])
