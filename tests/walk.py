"""A random walk as a planning algorithm: importable by Ray's actors, for tests of the base."""

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np

from tenfold.algorithms.common.planning import PlanningAlgorithm, PlanningConfig, PlanningRunner


class WalkRunner(PlanningRunner):
    """Sums Gaussian steps; a file tells it to die or to fail."""

    def rollout(self, item: dict[str, Any]) -> float:
        command = self._sprung(Path(item["trap"])) if item["trap"] else None
        if command == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        elif command is not None:
            raise ArithmeticError(command)
        return float(np.random.default_rng(item["seed"]).normal(size=item["steps"]).sum())

    def _sprung(self, trap: Path) -> str | None:
        """What the trap says, to the one runner that springs it."""
        mine = trap.with_suffix(f".{os.getpid()}")
        try:
            return trap.rename(mine).read_text()
        except FileNotFoundError:
            return None


class WalkConfig(PlanningConfig):
    def __init__(self) -> None:
        super().__init__()
        self.trap = ""


class Walk(PlanningAlgorithm):
    runner_class = WalkRunner

    @classmethod
    def get_default_config(cls) -> WalkConfig:
        return WalkConfig()

    def initialise(self) -> None:
        self.positions = np.zeros(5)
        self.moves = 0

    def training_step(self) -> None:
        items = [
            {"seed": [self.config.seed, self.moves, i], "steps": 10, "trap": self.config.trap}
            for i in range(5)
        ]
        self.positions = self.positions + self.rollouts(items)
        self.moves += 1
        self.report(position=float(self.positions.sum()), moves=float(self.moves))

    def get_plan(self) -> dict[str, Any]:
        return {"positions": self.positions, "moves": self.moves}

    def set_plan(self, plan: Any) -> None:
        self.positions, self.moves = plan["positions"], plan["moves"]

    def evaluate_plan(self) -> dict[str, float]:
        return {"distance": float(np.abs(self.positions).sum())}
