"""The batched simulator: R replicas of a scenario under a scheduler, or under given actions."""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from tenfold.envs.queues import kernel
from tenfold.envs.queues.memory import CURVE_POINTS, empty_state, empty_sums
from tenfold.envs.queues.metrics import Metrics
from tenfold.envs.queues.scenario import Scenario
from tenfold.envs.queues.scheduling import Scheduler, follow_probabilities, follow_update
from tenfold.envs.queues.streams import Streams
from tenfold.envs.queues.tables import compile_tables

Signal = Literal["service", "departures"]
CHUNK = 128  # slots for which random numbers are drawn at once: R x CHUNK rows fit the cache


class Simulator:
    """R independent instances of one scenario, all in the same slot.

    Trajectories depend on scenario, seed, replica number and scheduler only: not on the number of
    replicas in the batch, nor on how the slots are cut into calls of `run` and `step`.
    """

    def __init__(
        self,
        scenario: Scenario,
        replicas: int | None = None,
        seed: int = 0,
        signal: Signal = "service",
        first_replica: int = 0,
    ) -> None:
        """Empty queues before slot 1.

        Args:
            scenario: What arrives and what is served.
            replicas: Batch size R, by default the scenario's.
            seed: Of all random streams, >= 0.
            signal: What the scheduler learns of the chosen queue: the offered service S, or the
                departures min(Q, S).
            first_replica: Number of the first replica, so that several batches can share a seed.

        Raises:
            ValueError: `signal` is neither, a number is out of range, or a trace file is refused.
        """
        if signal not in ("service", "departures"):
            raise ValueError(f"signal must be 'service' or 'departures', not '{signal}'.")
        R = scenario.replicas if replicas is None else replicas
        if R < 1 or seed < 0 or first_replica < 0:
            raise ValueError(
                "replicas must be >= 1, seed and first_replica >= 0, not "
                f"{R}, {seed} and {first_replica}."
            )
        self.scenario = scenario
        self.signal = signal
        self.R = R
        self.K = scenario.K
        self.t = 1
        self.tables = compile_tables(scenario.queues)
        self.state = empty_state(self.tables, R)
        self.sums = empty_sums(R, self.K)
        self._curve_shift = 0
        self._streams = Streams(seed, range(first_replica, first_replica + R))
        self._environment = np.empty((R * CHUNK, int(self.tables.draws[0])))
        self._actions = np.empty(R * CHUNK)
        self._no_params = np.zeros(1)

    @property
    def q(self) -> np.ndarray:
        """Queue lengths before slot `t`, (R, K)."""
        return self.state.q

    @property
    def learnt(self) -> np.ndarray:
        """What the scheduler learnt of the queue it served in the last slot, (R,)."""
        return self.state.service if self.signal == "service" else self.state.departures

    def run(self, scheduler: Scheduler, slots: int) -> None:
        """Let the scheduler serve for some slots; its state and ours advance in place.

        Raises:
            ValueError: The scheduler has another number of queues or replicas.
        """
        if scheduler.K != self.K or len(scheduler.state) != self.R:
            raise ValueError(
                f"the scheduler is made for {len(scheduler.state)} replicas of {scheduler.K} "
                f"queues, the simulator for {self.R} of {self.K}."
            )
        self._advance(
            slots,
            (scheduler.probabilities_fn, scheduler.update_fn),
            scheduler.params,
            scheduler.state,
            scheduler.knows_rates,
        )
        scheduler.t += slots

    def step(self, actions: np.ndarray) -> None:
        """One slot in which replica r serves queue actions[r]; see `state` for what happened.

        Raises:
            ValueError: There is not one queue number in 0 ... K - 1 for each replica.
        """
        actions = np.asarray(actions)
        if actions.shape != (self.R,) or ((actions < 0) | (actions >= self.K)).any():
            raise ValueError(
                f"actions must be {self.R} queue numbers from 0 to {self.K - 1}, not {actions}."
            )
        memory = actions.astype(np.float64).reshape(-1, 1)
        pair = (follow_probabilities, follow_update)
        self._advance(1, pair, self._no_params, memory, False)

    def metrics(self) -> Metrics:
        """Everything measured so far, by replica."""
        return Metrics.from_sums(self.sums, self.state, self.t - 1, self._curve_shift)

    def _advance(
        self,
        slots: int,
        pair: tuple[Any, Any],
        params: np.ndarray,
        memory: np.ndarray,
        tell_rates: bool,
    ) -> None:
        end = self.t + slots
        while self.t < end:
            n = min(CHUNK, end - self.t)
            self._widen_curve(self.t + n - 1)
            environment = self._environment[: self.R * n].reshape(self.R, n, -1)
            actions = self._actions[: self.R * n].reshape(self.R, n)
            self._streams.draw(environment, actions)
            kernel.run(
                self.tables,
                self.state,
                self.sums,
                *pair,
                params,
                memory,
                environment,
                actions,
                self.t,
                tell_rates,
                self.signal == "departures",
                self._curve_shift,
            )
            self.t += n

    def _widen_curve(self, last: int) -> None:
        """Double the bins of the backlog curve until slot `last` has one."""
        while (last - 1) >> self._curve_shift >= CURVE_POINTS:
            curve = self.sums.curve
            half = CURVE_POINTS // 2
            curve[:, :half] = curve[:, 0::2] + curve[:, 1::2]
            curve[:, half:] = 0.0
            self._curve_shift += 1

    def get_state(self) -> dict[str, Any]:
        """All that is needed to go on: NumPy arrays, and values that JSON can hold."""
        arrays = {**self.state._asdict(), **self.sums._asdict()}
        saved: dict[str, Any] = {name: array.copy() for name, array in arrays.items()}
        streams = self._streams.get_state()
        return saved | {"t": self.t, "curve_shift": self._curve_shift, "streams": streams}

    def set_state(self, saved: Mapping[str, Any]) -> None:
        """Go on exactly from what `get_state` of a simulator of the same scenario and size gave."""
        for name, array in {**self.state._asdict(), **self.sums._asdict()}.items():
            array[...] = saved[name]
        self.t = int(saved["t"])
        self._curve_shift = int(saved["curve_shift"])
        self._streams.set_state(saved["streams"])
