"""A network of queues as a Gymnasium environment, ``tenfold/QueueNetwork-v0``.

As in QGym a step is the time until the next event (a job comes, or a service ends), the agent names
priorities of pools for queues, and the reward is minus the holding cost of the step.
"""

from typing import Any

import gymnasium as gym
import numpy as np

from tenfold.envs.queues.network import Network, find_network
from tenfold.envs.queues.network_policies import NetworkPolicy
from tenfold.envs.queues.network_simulator import NetworkReplica


class QueueNetworkEnv(gym.Env[np.ndarray, np.ndarray]):
    """One replica of a network of S pools and K queues.

    Observation: float32 (K,), the jobs of each queue, those in service too.
    Action: float32 (S K,) in [-1, 1], the index of each pool for each queue, row by row; (S, K) is
    taken as well. Free servers take the waiting jobs of the largest indices; below 0 a pair idles.
    Reward: minus the holding cost, sum_i h_i times the integral of Q_i over the step.
    Info: ``event_time``, the length of the step, and ``time``.
    An episode is truncated after `horizon` events and never terminates.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012  (gymnasium's own type)

    def __init__(
        self, network: str | Network = "criss_cross", horizon: int = 1_000, replica: int = 0
    ) -> None:
        """Declare the network.

        Args:
            network: A network, its name in `NETWORKS`, or a YAML file.
            horizon: Events of an episode, >= 1.
            replica: Which replica of a seed to be, as `NetworkReplica` numbers them.

        Raises:
            ValueError: A bad value, in one sentence.
        """
        if horizon < 1:
            raise ValueError(f"horizon must be 1 or more, not {horizon}.")
        self.network = find_network(network) if isinstance(network, str) else network
        self.horizon, self._replica = horizon, replica
        S, K = self.network.S, self.network.K
        self._zeros = np.zeros((S, K, K)), np.zeros((S, K))
        self.observation_space = gym.spaces.Box(0.0, np.inf, (K,), np.float32)
        self.action_space = gym.spaces.Box(-1.0, 1.0, (S * K,), np.float32)
        self._simulated = NetworkReplica(self.network, 0, replica)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """The network at time 0; a new instance, fixed by `seed` or by the seeds given before."""
        super().reset(seed=seed)
        drawn = int(self.np_random.integers(2**31))
        self._simulated = NetworkReplica(
            self.network, drawn if seed is None else seed, self._replica
        )
        return self._observation(), {"event_time": 0.0, "time": 0.0}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Serve by these indices until the next event."""
        indices = np.asarray(action, dtype=np.float64).reshape(self.network.S, self.network.K)
        before, area = float(self._simulated.state.clock[0]), self._simulated.sums.area.copy()
        self._simulated.run(NetworkPolicy("action", indices, *self._zeros), events=1)
        now = float(self._simulated.state.clock[0])
        cost = float((self._simulated.sums.area - area) @ self.network.costs)
        truncated = int(self._simulated.sums.events[0]) >= self.horizon
        info = {"event_time": now - before, "time": now}
        return self._observation(), -cost, False, truncated, info

    def _observation(self) -> np.ndarray:
        return self._simulated.state.jobs.astype(np.float32)
