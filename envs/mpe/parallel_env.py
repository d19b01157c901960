"""One particle world as a PettingZoo parallel environment.

Its agents are the learned ones; observations and actions are those of `ParticleWorlds`, and with
equal seeds and actions so is the trajectory of one world.
"""

from typing import Any, ClassVar

import numpy as np
from gymnasium import spaces
from pettingzoo import ParallelEnv

from tenfold.envs.mpe.picture import draw
from tenfold.envs.mpe.worlds import ParticleWorlds


class ParticleEnv(ParallelEnv[str, np.ndarray, np.ndarray]):
    """A particle world, one dictionary entry an agent.

    Attributes:
        possible_agents: Names of the learned agents.
        agents: Those whose episode goes on.
    """

    metadata: ClassVar[dict[str, Any]] = {
        "name": "tenfold_particles_v0",
        "render_modes": ["rgb_array"],
        "render_fps": 10,
    }

    def __init__(self, task: str, render_mode: str | None = None, **fields: Any) -> None:
        """Make the world; arguments and errors are those of `ParticleWorlds`.

        Args:
            task: Name of the world.
            render_mode: ``"rgb_array"`` for pictures, see `picture`.
            **fields: See `WorldFields`.
        """
        seed = int(np.random.SeedSequence().generate_state(1)[0])
        self._worlds = ParticleWorlds(task, 1, seed, **fields)
        self.render_mode = render_mode
        self.possible_agents = list(self._worlds.agents)
        self.agents: list[str] = []
        sizes = self._worlds.observation_sizes
        self.observation_spaces = {
            agent: spaces.Box(-np.inf, np.inf, (size,), np.float32)
            for agent, size in zip(self.possible_agents, sizes, strict=True)
        }
        self.action_spaces = {
            agent: spaces.Box(-1.0, 1.0, (self._worlds.action_size,), np.float32)
            for agent in self.possible_agents
        }

    def observation_space(self, agent: str) -> spaces.Space[Any]:
        """A box of float32."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> spaces.Space[Any]:
        """A box [-1, 1]^2."""
        return self.action_spaces[agent]

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, dict[str, Any]]]:
        """Begin an episode."""
        self.agents = list(self.possible_agents)
        seen = self._worlds.reset(seed)
        return self._by_agent(seen), {agent: {} for agent in self.agents}

    def step(self, actions: dict[str, np.ndarray]) -> tuple[dict[str, Any], ...]:
        """Move all agents."""
        acts = np.stack([actions[agent] for agent in self.possible_agents])
        seen, rewards, over = self._worlds.step(acts[None])
        agents, observed = self.agents, self._by_agent(seen)
        self.agents = [] if over else agents
        return (
            observed,
            {agent: float(reward) for agent, reward in zip(agents, rewards[0], strict=True)},
            dict.fromkeys(agents, False),
            dict.fromkeys(agents, over),
            {agent: {} for agent in agents},
        )

    def render(self) -> np.ndarray | None:
        """A picture of the world, uint8 (400, 400, 3); None without a render mode."""
        if self.render_mode is None:
            return None
        return draw(self._worlds.scenario, self._worlds.places[0], self._worlds.available[0])

    def state(self) -> np.ndarray:
        """All places and velocities in one vector, float32."""
        parts = self._worlds.places.ravel(), self._worlds.velocities.ravel()
        return np.concatenate(parts).astype(np.float32)

    def _by_agent(self, seen: np.ndarray) -> dict[str, np.ndarray]:
        return {agent: seen[0, j] for j, agent in enumerate(self.possible_agents)}
