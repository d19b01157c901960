"""How a masked layer runs: by the sparse kernels where they were measured faster, else dense.

Both give the same result; the sparse path gives no gradient of weights that are off, so a step that
needs dense gradients (a topology step) runs dense.
"""

from collections.abc import Mapping

import torch
from transformers.pytorch_utils import Conv1D

from tenfold.algorithms.mst.sparse import (
    Calibration,
    MaskStructure,
    calibrate,
    prefers_sparse,
    sparse_linear,
)


class SparsePath:
    """Runs layers of a model by the sparse kernels whenever `on`, and as they are otherwise.

    Attributes:
        on: Whether layers below their threshold run sparse now.

    Args:
        layers: GPT-2's linear layers by name.
        calibration: Thresholds of their shapes.
    """

    def __init__(self, layers: Mapping[str, Conv1D], calibration: Calibration) -> None:
        self.on = True
        self.calibration = calibration
        self._structures: dict[str, MaskStructure] = {}
        self._names = tuple(layers)
        for name, layer in layers.items():
            self._attach(name, layer)

    def follow(self, masks: Mapping[str, torch.Tensor]) -> None:
        """Take up new masks; those of layers that are not here stay dense."""
        found = {name: MaskStructure.from_mask(masks[name]) for name in self._names}
        self._structures = {
            name: structure
            for name, structure in found.items()
            if prefers_sparse(self.calibration, structure)
        }

    def _attach(self, name: str, layer: Conv1D) -> None:
        dense = layer.forward

        def forward(x: torch.Tensor) -> torch.Tensor:
            structure = self._structures.get(name) if self.on else None
            if structure is None:
                return dense(x)
            return sparse_linear(x, layer.weight, structure, layer.bias)

        layer.forward = forward


def calibrated(layers: Mapping[str, Conv1D], rows: int) -> Calibration:
    """Measure the thresholds of the layers' shapes on this machine."""
    sizes = sorted({(layer.weight.shape[0], layer.weight.shape[1]) for layer in layers.values()})
    return calibrate(sizes, rows)
