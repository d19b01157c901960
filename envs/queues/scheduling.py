"""What a scheduler is to the simulator: two compiled functions, a state, and the wish to serve.

A scheduler sees the queue lengths only, gives a distribution over the queues, and learns the
service of the queue that was drawn. Its two functions are compiled with explicit signatures, so
that the kernel is compiled once for all schedulers::

    @njit(PROBABILITIES, cache=True)
    def longest(params, state, q, t, p):
        p[:] = 0.0
        p[np.argmax(q)] = 1.0
"""

from typing import Any, Protocol

import numpy as np
from numba import cfunc, types

VECTOR = types.Array(types.float64, 1, "C")

# probabilities(params, state, q, t, p): writes the distribution over queues of slot t into p, shape
# (K,).
PROBABILITIES = types.void(VECTOR, VECTOR, VECTOR, types.int64, VECTOR)

# update(params, state, q, p, action, service, t): learns from the service of the chosen queue.
UPDATE = types.void(VECTOR, VECTOR, VECTOR, VECTOR, types.int64, types.float64, types.int64)


class Scheduler(Protocol):
    """R replicas of one scheduler, each with a memory of its own.

    Attributes:
        name: As it is shown in tables.
        K: Number of queues.
        params: Constants of all replicas, float64 vector.
        state: Memory, float64 (R, n), C-ordered: all that a checkpoint must hold, beside `t`.
        t: The slot to come, from 1.
        knows_rates: Whether the kernel writes the true mean services of the coming slot into
            state[:, 0:K] before it asks for probabilities. Only an oracle says True.
        probabilities_fn: Compiled with the signature PROBABILITIES.
        update_fn: Compiled with the signature UPDATE.
    """

    name: str
    K: int
    params: np.ndarray
    state: np.ndarray
    t: int
    knows_rates: bool
    probabilities_fn: Any
    update_fn: Any

    def probabilities(self, q: np.ndarray) -> np.ndarray:
        """The distribution over queues given queue lengths (K,) or (R, K), of the same shape."""
        ...

    def update(self, action: int | np.ndarray, service: float | np.ndarray) -> None:
        """Learn from the service of the chosen queue: numbers, or arrays of shape (R,)."""
        ...


# C functions: Numba takes them as arguments three times as fast as njit functions, which counts
# where the kernel is called for a single slot.
@cfunc(PROBABILITIES, cache=True)
def follow_probabilities(params, state, q, t, p):
    """Serve the queue in state[0]: how a given action enters the kernel."""
    p[:] = 0.0
    p[int(state[0])] = 1.0


@cfunc(UPDATE, cache=True)
def follow_update(params, state, q, p, action, service, t):
    """Learn nothing."""
