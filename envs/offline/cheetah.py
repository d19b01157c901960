"""Policies of the half cheetah: each agent's own linear map of what it observes, then tanh.

They were found by augmented random search (Mania et al., 2018), on both agents' return together
(`experiments/dom2/train_cheetah.py`); `cheetah_policies.npz` holds them for two levels.
"""

from pathlib import Path
from typing import Any

import numpy as np

POLICIES = Path(__file__).parent / "cheetah_policies.npz"
NOISE = 0.1


class CheetahPolicy:
    """The two agents of W half cheetahs; see `Controller` for what the methods take."""

    def __init__(self, quality: str, exploration: float, seed: Any) -> None:
        """Load the policy of a level, ``medium`` or ``expert``."""
        with np.load(POLICIES) as found:
            self._weights = found[f"{quality}_weights"]  # (2, 11, 3)
            self._bias = found[f"{quality}_bias"]  # (2, 3)
        self.quality, self.exploration = quality, exploration
        self._rng = np.random.default_rng(seed)

    def begin(self, count: int, share: np.ndarray | None = None) -> None:
        """Begin an episode."""
        self._explores = 1.0 - (1.0 - self.exploration) * (
            np.ones(count) if share is None else share
        )

    def act(self, seen: np.ndarray) -> np.ndarray:
        """Actions, float32 (W, 2, 3)."""
        own = np.tanh(np.einsum("wno,nom->wnm", seen, self._weights) + self._bias)
        own += NOISE * self._rng.normal(size=own.shape)
        uniform = self._rng.uniform(-1.0, 1.0, own.shape)
        explores = self._rng.random(own.shape[:2]) < self._explores[:, None]
        return np.clip(np.where(explores[..., None], uniform, own), -1, 1).astype(np.float32)

    def about(self) -> dict[str, Any]:
        """What acted, for a data card."""
        return {"linear": {"policy": self.quality, "noise": NOISE, "exploration": self.exploration}}
