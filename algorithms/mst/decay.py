"""Which parameters decay: the blocks' matrices alone, as in the authors' released code.

Biases, norms and embeddings (and so the tied output layer) do not.
"""

from collections.abc import Collection, Mapping
from typing import Any

import torch

from tenfold.algorithms.common.local_optimizer import LocalOptimizer


def decay_groups(
    parameters: Mapping[str, torch.Tensor], decayed: Collection[str]
) -> list[dict[str, Any]]:
    """Groups of an optimizer: the parameters that decay, and those that do not.

    Args:
        parameters: All of them by name.
        decayed: Names of the former.
    """
    return [
        {"params": [p for name, p in parameters.items() if name in decayed]},
        {"params": [p for name, p in parameters.items() if name not in decayed], "weight_decay": 0},
    ]


def regroup(optimizer: LocalOptimizer, parameters: Mapping[str, torch.Tensor]) -> None:
    """Give state that was saved before there were groups to the parameters that it is of.

    Args:
        optimizer: Loaded from such a checkpoint, so that its first parameter has the state of the
            model's first, and so on.
        parameters: The model's, in its own order.
    """
    state = optimizer.inner.state
    saved = [state.pop(p) for p in optimizer.parameters if p in state]
    state.update(zip(parameters.values(), saved, strict=False))
