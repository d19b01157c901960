"""Queue scheduling as Gymnasium environments: one queueing system, and a batch of them.

The agent sees what a scheduler sees: all queue lengths, and of the services the one that it got.
"""

from typing import Any, Literal

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from tenfold.envs.queues.scenario import Scenario
from tenfold.envs.queues.scenarios import scenario as find_scenario
from tenfold.envs.queues.simulator import Signal, Simulator

Reward = Literal["backlog", "drift"]


class QueuesEnv(gym.Env[np.ndarray, np.int64]):
    """One system of K queues, ``tenfold/Queues-v0``.

    Observation: float32 (2 K + 1,): queue lengths Q(t), what the last action brought (offered
    service or departures, see `signal`), and the last action one-hot; both are 0 at the start.
    Action: the queue to serve.
    Reward: ``backlog``: minus the total backlog after the slot; ``drift``: minus the growth of
    sum_i Q_i^2 / 2 in the slot.
    Info: ``departures`` and ``service`` of the chosen queue (with signal ``departures`` both are
    the departures), and ``arrivals`` (K,) if asked for.
    An episode is truncated after `horizon` slots and never terminates.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012  (gymnasium's own type)

    def __init__(
        self,
        scenario: str | Scenario = "switching",
        signal: Signal = "service",
        reward: Reward = "backlog",
        show_arrivals: bool = False,
        replica: int = 0,
        **fields: Any,
    ) -> None:
        """Declare the scenario.

        Args:
            scenario: A scenario, or what names one (see `scenarios.scenario`).
            signal: What is learnt of the served queue: ``service`` or ``departures``.
            reward: ``backlog`` or ``drift``.
            show_arrivals: Add the arrivals of the slot to the info.
            replica: Which replica of a seed to be: ``reset(seed=s)`` then gives the instance of
                that replica of ``Simulator(scenario, seed=s)``.
            **fields: Changed fields of a named scenario: `load`, `period`, `horizon`, `replicas`.

        Raises:
            ValueError: A bad value, in one sentence.
        """
        self.scenario = _resolve(scenario, fields)
        self._reward = _check_reward(reward)
        self._options: dict[str, Any] = {"signal": signal, "first_replica": replica}
        self._show_arrivals = show_arrivals
        self._simulator = Simulator(self.scenario, replicas=1, **self._options)
        self.observation_space = _observation_space(self.scenario.K)
        self.action_space = gym.spaces.Discrete(self.scenario.K)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Empty queues; a new instance, fixed by `seed` or by the seeds given before."""
        super().reset(seed=seed)
        drawn = int(self.np_random.integers(2**31))
        own = drawn if seed is None else seed
        self._simulator = Simulator(self.scenario, replicas=1, seed=own, **self._options)
        return _observe(self._simulator)[0], self._info(0.0, 0.0, np.zeros(self.scenario.K))

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Serve queue `action` for one slot."""
        lyapunov = _lyapunov(self._simulator)
        self._simulator.step(np.array([action]))
        state = self._simulator.state
        reward = float(_rewards(self._simulator, lyapunov, self._reward)[0])
        truncated = self._simulator.t > self.scenario.horizon
        info = self._info(
            float(state.departures[0]), float(self._simulator.learnt[0]), state.arrivals[0]
        )
        return _observe(self._simulator)[0], reward, False, truncated, info

    def _info(self, departures: float, service: float, arrivals: np.ndarray) -> dict[str, Any]:
        info: dict[str, Any] = {"departures": departures, "service": service}
        return info | ({"arrivals": arrivals.copy()} if self._show_arrivals else {})


class QueuesVectorEnv(VectorEnv[np.ndarray, np.ndarray, np.ndarray]):
    """R replicas of `QueuesEnv` in one compiled call; replica i is ``QueuesEnv(replica=i)``.

    Get it by ``gymnasium.make_vec("tenfold/Queues-v0", num_envs=R,
    vectorization_mode="vector_entry_point")``. All replicas are truncated together; the next step
    then resets them (Gymnasium's next-step autoreset).
    """

    metadata: dict[str, Any] = {"autoreset_mode": AutoresetMode.NEXT_STEP}  # noqa: RUF012

    def __init__(
        self,
        num_envs: int,
        scenario: str | Scenario = "switching",
        signal: Signal = "service",
        reward: Reward = "backlog",
        show_arrivals: bool = False,
        **fields: Any,
    ) -> None:
        """As `QueuesEnv`, with the number of replicas."""
        self.scenario = _resolve(scenario, fields)
        self._reward = _check_reward(reward)
        self._signal: Signal = signal
        self._show_arrivals = show_arrivals
        self.num_envs = num_envs
        self._simulator = Simulator(self.scenario, num_envs, signal=signal)
        self.single_observation_space = _observation_space(self.scenario.K)
        self.single_action_space = gym.spaces.Discrete(self.scenario.K)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Empty queues everywhere.

        Raises:
            ValueError: `seed` is a list: one seed fixes all replicas.
        """
        if isinstance(seed, list):
            raise ValueError("one seed fixes all replicas; give an int, not a list.")
        super().reset(seed=seed)
        drawn = int(self.np_random.integers(2**31))
        own = drawn if seed is None else seed
        self._simulator = Simulator(self.scenario, self.num_envs, own, self._signal)
        return _observe(self._simulator), self._info()

    def step(
        self, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Serve queue actions[i] of replica i for one slot."""
        never = np.zeros(self.num_envs, dtype=bool)
        if self._simulator.t > self.scenario.horizon:
            observation, info = self.reset()
            return observation, np.zeros(self.num_envs), never, never.copy(), info
        lyapunov = _lyapunov(self._simulator)
        self._simulator.step(actions)
        rewards = _rewards(self._simulator, lyapunov, self._reward)
        truncated = np.full(self.num_envs, self._simulator.t > self.scenario.horizon)
        return _observe(self._simulator), rewards, never, truncated, self._info()

    def _info(self) -> dict[str, Any]:
        state = self._simulator.state
        info = {"departures": state.departures.copy(), "service": self._simulator.learnt.copy()}
        return info | ({"arrivals": state.arrivals.copy()} if self._show_arrivals else {})


def _resolve(scenario: str | Scenario, fields: dict[str, Any]) -> Scenario:
    if isinstance(scenario, str):
        return find_scenario(scenario, **fields)
    if fields:
        raise ValueError(
            f"{', '.join(fields)} can be changed for a named scenario; give a Scenario as it "
            "shall be."
        )
    return scenario


def _check_reward(reward: Reward) -> Reward:
    if reward not in ("backlog", "drift"):
        raise ValueError(f"reward must be 'backlog' or 'drift', not '{reward}'.")
    return reward


def _observation_space(K: int) -> gym.spaces.Box:
    high = np.concatenate([np.full(K + 1, np.inf), np.ones(K)])
    return gym.spaces.Box(np.float32(0.0), high.astype(np.float32), (2 * K + 1,), np.float32)


def _observe(simulator: Simulator) -> np.ndarray:
    """Observations of all replicas, float32 (R, 2 K + 1)."""
    state, K = simulator.state, simulator.K
    observation = np.zeros((simulator.R, 2 * K + 1), dtype=np.float32)
    observation[:, :K] = state.q
    if simulator.t > 1:
        observation[:, K] = simulator.learnt
        observation[np.arange(simulator.R), K + 1 + state.action] = 1.0
    return observation


def _lyapunov(simulator: Simulator) -> np.ndarray:
    return (simulator.q**2).sum(axis=1) / 2


def _rewards(simulator: Simulator, lyapunov: np.ndarray, reward: Reward) -> np.ndarray:
    """Rewards (R,) of the last slot, `lyapunov` being sum_i Q_i^2 / 2 before it."""
    if reward == "backlog":
        return -simulator.q.sum(axis=1)
    return lyapunov - _lyapunov(simulator)
