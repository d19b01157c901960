"""Random numbers of a batch: each replica has a stream for its queues and one for its scheduler."""

from typing import Any

import numpy as np


class Streams:
    """Two generators a replica, spawned from SeedSequence(seed, replica).

    Two schedulers with the same seed meet the same arrivals and services, whatever they do (unless
    the scenario reacts to them).
    """

    def __init__(self, seed: int, replicas: range) -> None:
        pairs = [
            np.random.SeedSequence(seed, spawn_key=(replica,)).spawn(2) for replica in replicas
        ]
        self.environment = [np.random.Generator(np.random.PCG64(pair[0])) for pair in pairs]
        self.actions = [np.random.Generator(np.random.PCG64(pair[1])) for pair in pairs]

    def draw(self, environment: np.ndarray, actions: np.ndarray) -> None:
        """Fill uniform numbers for the coming slots.

        Args:
            environment: Of arrivals and services, (R, slots, draws).
            actions: Of the actions, (R, slots).
        """
        for r in range(len(self.environment)):
            self.environment[r].random(out=environment[r])
            self.actions[r].random(out=actions[r])

    def get_state(self) -> dict[str, list[dict[str, Any]]]:
        """The generators' states, values that JSON can hold; keys as in older checkpoints."""
        return {
            "world": [dict(generator.bit_generator.state) for generator in self.environment],
            "law": [dict(generator.bit_generator.state) for generator in self.actions],
        }

    def set_state(self, state: dict[str, list[dict[str, Any]]]) -> None:
        """Continue from what `get_state` gave."""
        for generator, saved in zip(self.environment, state["world"], strict=True):
            generator.bit_generator.state = saved
        for generator, saved in zip(self.actions, state["law"], strict=True):
            generator.bit_generator.state = saved
