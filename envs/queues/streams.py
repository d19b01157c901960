"""Random numbers of a batch: each replica has a stream for its world and one for its scheduler."""

from typing import Any

import numpy as np


class Streams:
    """Two generators a replica, spawned from SeedSequence(seed, replica).

    Two schedulers with the same seed meet the same arrivals and services, whatever they do (unless
    the world reacts to them).
    """

    def __init__(self, seed: int, replicas: range) -> None:
        pairs = [
            np.random.SeedSequence(seed, spawn_key=(replica,)).spawn(2) for replica in replicas
        ]
        self.world = [np.random.Generator(np.random.PCG64(pair[0])) for pair in pairs]
        self.law = [np.random.Generator(np.random.PCG64(pair[1])) for pair in pairs]

    def draw(self, world: np.ndarray, law: np.ndarray) -> None:
        """Fill uniform numbers for the coming slots: world (R, slots, draws), law (R, slots)."""
        for r in range(len(self.world)):
            self.world[r].random(out=world[r])
            self.law[r].random(out=law[r])

    def get_state(self) -> dict[str, list[dict[str, Any]]]:
        """The generators' states, values that JSON can hold."""
        return {
            "world": [dict(generator.bit_generator.state) for generator in self.world],
            "law": [dict(generator.bit_generator.state) for generator in self.law],
        }

    def set_state(self, state: dict[str, list[dict[str, Any]]]) -> None:
        """Continue from what `get_state` gave."""
        for generator, saved in zip(self.world, state["world"], strict=True):
            generator.bit_generator.state = saved
        for generator, saved in zip(self.law, state["law"], strict=True):
            generator.bit_generator.state = saved
