"""What all schedulers share: two compiled functions over a memory of one row a replica.

A scheduler is used alone in ten lines, without Ray and without the simulator::

    scheduler = SoftMW(K=4, bound=1.0)
    q = np.zeros(4)
    for _ in range(1_000):
        p = scheduler.probabilities(q)         # a distribution over queues
        a = rng.choice(4, p=p)                 # serve queue a, see its offered service only
        scheduler.update(a, service[a])
        q[a] = max(q[a] - service[a], 0.0)
        q += arrivals
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numba import njit, types
from pydantic import ValidationError

from tenfold.envs.queues.scheduling import PROBABILITIES, UPDATE, VECTOR
from tenfold.platform.parameters import Parameters, complaint


class Constants(Parameters):
    """A scheduler's constants; every default is in a subclass and nowhere else."""

    @classmethod
    def checked(cls, name: str, values: Mapping[str, Any]) -> Self:
        """The constants with some values changed.

        Args:
            name: The scheduler, for messages.
            values: What differs from the defaults.

        Raises:
            ValueError: One sentence: there is no such constant, or a bad value.
        """
        try:
            return cls(**values)
        except ValidationError as error:
            said = complaint(error, cls, values, "constants.")
            raise ValueError(f"Scheduler '{name}': {said[0].lower()}{said[1:]}") from None


class CompiledScheduler:
    """R replicas of one scheduler on K queues, see `tenfold.envs.queues.scheduling.Scheduler`.

    Subclasses name their compiled functions and say what their memory is at the start. All memory
    of a replica is its row of `state`, so a checkpoint is that array and `t`.
    """

    name: str
    knows_rates: bool = False
    Constants: ClassVar[type[Constants]] = Constants
    probabilities_fn: Any
    update_fn: Any

    def __init__(
        self,
        K: int,
        replicas: int = 1,
        bound: float = 1.0,
        costs: Sequence[float] | None = None,
        **constants: Any,
    ) -> None:
        """Nothing learnt, before slot 1.

        Args:
            K: Number of queues.
            replicas: Rows of the memory, R.
            bound: M, the most that can arrive or be served in a slot; inf without a bound.
            costs: Holding cost of a unit of work of each queue a slot (K,); 1 each when None.
            **constants: Those that differ from the defaults of `Constants`.

        Raises:
            ValueError: An unknown constant, a value out of range, or not K costs.
        """
        if K < 1 or replicas < 1:
            raise ValueError(f"K and replicas must be above 0, not {K} and {replicas}.")
        if costs is not None and len(costs) != K:
            raise ValueError(f"costs must be {K} numbers, one for each queue, not {len(costs)}.")
        self.K = K
        self.bound = bound
        self.costs = [1.0] * K if costs is None else list(costs)
        self.constants: Any = self.Constants.checked(self.name, constants)
        self.t = 1
        self.params = np.array([*self.parameters(), 0.0])
        self.state = np.tile(np.asarray(self.memory(), dtype=np.float64), (replicas, 1))
        self._q: np.ndarray | None = None

    def parameters(self) -> list[float]:
        """What the compiled functions read besides the memory."""
        return []

    def memory(self) -> np.ndarray:
        """One replica's memory before slot 1."""
        return np.zeros(1)

    def probabilities(self, q: np.ndarray) -> np.ndarray:
        """The distribution over queues in slot `t`.

        Args:
            q: Queue lengths, (K,) or (R, K).

        Returns:
            Probabilities, float64, of the shape of `q`.
        """
        self._q = np.atleast_2d(np.asarray(q, dtype=np.float64)).copy()
        self._p = np.empty_like(self._q)
        _all_probabilities(self.probabilities_fn, self.params, self.state, self._q, self.t, self._p)
        return self._p.reshape(np.shape(q)).copy()

    def update(self, action: int | np.ndarray, service: float | np.ndarray) -> None:
        """Learn the offered service of the queue that was served, and go on to the next slot.

        Args:
            action: The queue, an int or (R,).
            service: Its offered service, a float or (R,).

        Raises:
            RuntimeError: `probabilities` was not asked for first.
        """
        if self._q is None:
            raise RuntimeError("Ask for probabilities(q) before update(action, service).")
        actions = np.atleast_1d(np.asarray(action, dtype=np.int64))
        services = np.atleast_1d(np.asarray(service, dtype=np.float64))
        _all_updates(
            self.update_fn, self.params, self.state, self._q, self._p, actions, services, self.t
        )
        self._q = None
        self.t += 1


_MATRIX = types.Array(types.float64, 2, "C")


# With the functions' types named, one compilation serves all schedulers. Without, Numba caches one
# for each, and finds it again when the scheduler's own file has changed.
@njit(
    types.void(types.FunctionType(PROBABILITIES), VECTOR, _MATRIX, _MATRIX, types.int64, _MATRIX),
    cache=True,
)
def _all_probabilities(probabilities, params, state, q, t, p):
    for r in range(len(q)):
        probabilities(params, state[r], q[r], t, p[r])


@njit(
    types.void(
        types.FunctionType(UPDATE),
        VECTOR,
        _MATRIX,
        _MATRIX,
        _MATRIX,
        types.Array(types.int64, 1, "C"),
        VECTOR,
        types.int64,
    ),
    cache=True,
)
def _all_updates(update, params, state, q, p, actions, services, t):
    for r in range(len(q)):
        update(params, state[r], q[r], p[r], actions[r], services[r], t)


@njit(UPDATE, cache=True)
def learn_nothing(params, state, q, p, action, service, t):
    """The update of a rule that has nothing to learn."""


@njit(PROBABILITIES, cache=True)
def uniform_probabilities(params, state, q, t, p):
    """Every queue with the same probability."""
    p[:] = 1.0 / len(q)
