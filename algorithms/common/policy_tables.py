"""Planned policies as networks of PyTorch, for models that are served outside Tenfold."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn


class PolicyTable(nn.Module):
    """A deterministic policy as a table over what it depends on.

    Args:
        actions: (n_1, ..., n_k) int, such as (H, S): the step, from 0, and the state.
    """

    def __init__(self, actions: np.ndarray) -> None:
        super().__init__()
        self.register_buffer("actions", torch.as_tensor(actions, dtype=torch.int64))

    def forward(self, at: Tensor) -> Tensor:
        """Places (B, k) int64 in the table -> actions (B,) int64."""
        actions: Tensor = self.actions[tuple(at.unbind(dim=1))]
        return actions


class Reactions(nn.Module):
    """A deterministic policy of a POMDP whose memory is a node, which each observation moves.

    Args:
        start: Node at step 0 by observation, (O,) int.
        actions: Action of each node by step, H arrays (nodes_h,) int.
        successors: Node of the next step by node and observation, H - 1 arrays (nodes_h, O) int.
    """

    def __init__(
        self, start: np.ndarray, actions: Sequence[np.ndarray], successors: Sequence[np.ndarray]
    ) -> None:
        super().__init__()
        for h, acts in enumerate(actions):
            moves = start[None] if h == 0 else successors[h - 1]
            self.register_buffer(f"moves_{h}", torch.as_tensor(moves, dtype=torch.int64))
            self.register_buffer(f"actions_{h}", torch.as_tensor(acts, dtype=torch.int64))

    def forward(self, seen: Tensor) -> Tensor:
        """Observations (B, H) int64 up to now, -1 for those to come -> actions (B,) int64."""
        node = torch.zeros_like(seen[:, 0])
        action = node
        for h in range(seen.shape[1]):
            known = seen[:, h] >= 0
            node = self.get_buffer(f"moves_{h}")[node, seen[:, h].clamp(min=0)]
            action = torch.where(known, self.get_buffer(f"actions_{h}")[node], action)
        return action
