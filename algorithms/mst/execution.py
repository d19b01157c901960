"""How a masked layer runs: by a sparse product where it was measured faster, else dense.

Both give the same result; the sparse path gives no gradient of weights that are off, so a step that
needs dense gradients (a topology step) runs dense.
"""

from collections.abc import Mapping
from functools import partial

import numpy as np
import torch
from torch import Tensor
from transformers.pytorch_utils import Conv1D

from tenfold.algorithms.mst.granularity import Granularity
from tenfold.algorithms.mst.semi_structured import TwoFour, two_four_linear
from tenfold.algorithms.mst.sparse import (
    KERNELS,
    Calibration,
    Product,
    Structure,
    calibrate,
    prefers_sparse,
    random_mask,
)
from tenfold.algorithms.mst.sparse_blocks import BlockStructure, block_linear
from tenfold.algorithms.mst.topology import first_mask
from tenfold.platform.devices import Compute
from tenfold.platform.errors import shown


class SparsePath:
    """Runs layers of a model by a sparse product whenever `on`, and as they are otherwise.

    Attributes:
        on: Whether layers below their threshold run sparse now.

    Args:
        layers: GPT-2's linear layers by name.
        product: The sparse product.
        calibration: Thresholds of their shapes.
    """

    def __init__(
        self, layers: Mapping[str, Conv1D], product: Product, calibration: Calibration
    ) -> None:
        self.on = True
        self.product = product
        self.calibration = calibration
        self._structures: dict[str, Structure] = {}
        self._names = tuple(layers)
        for name, layer in layers.items():
            self._attach(name, layer)

    def follow(self, masks: Mapping[str, Tensor]) -> None:
        """Take up new masks; those of layers that are not here stay dense."""
        found = {name: self.product.structure(masks[name]) for name in self._names}
        self._structures = {
            name: structure
            for name, structure in found.items()
            if prefers_sparse(self.calibration, structure)
        }

    def _attach(self, name: str, layer: Conv1D) -> None:
        dense = layer.forward

        def forward(x: Tensor) -> Tensor:
            structure = self._structures.get(name) if self.on else None
            if structure is None:
                return dense(x)
            return self.product.linear(x, layer.weight, structure, layer.bias)

        layer.forward = forward


def product_for(granularity: Granularity, compute: Compute) -> Product | None:
    """The sparse product for masks of a granularity on a device, None where there is none.

    On the CPU in float32 all masks take the kernels for single weights: products of blocks were
    slower there at every density tried (benchmarks/sparse_layers.py).
    """
    if not compute.on_card and compute.dtype == torch.float32:
        return KERNELS
    if granularity.block > 1:
        return block_product(granularity.block)
    return TWO_FOUR if granularity.two_four and compute.on_card else None


def block_product(side: int) -> Product:
    """That of square blocks."""

    def draw(n_in: int, n_out: int, density: float) -> Tensor:
        return Granularity(side).spread(random_mask(n_in // side, n_out // side, density))

    return Product(partial(BlockStructure.from_mask, side=side), block_linear, draw)


def _draw_two_four(n_in: int, n_out: int, density: float) -> Tensor:
    """A random 2:4 mask of a density of at most 0.5."""
    generator = np.random.default_rng(0)
    limit = Granularity(two_four=True).limit(0, sparsity=1 - density)
    active = round(density * n_in * n_out)
    return first_mask(torch.zeros(n_in, n_out), active, "random", generator, limit)


TWO_FOUR = Product(TwoFour.from_mask, two_four_linear, _draw_two_four, (0.5,))
"""That of 2:4 masks on a card: as fast at every density as at 0.5."""


def calibrated(
    layers: Mapping[str, Conv1D], rows: int, product: Product, compute: Compute
) -> Calibration:
    """Measure the thresholds of the layers' shapes on this device.

    A card that cannot run the product says so once, and all layers run dense.
    """
    sizes = sorted({(layer.weight.shape[0], layer.weight.shape[1]) for layer in layers.values()})
    try:
        return calibrate(sizes, rows, product=product, compute=compute)
    except (RuntimeError, ImportError, ValueError) as error:
        if not compute.on_card:
            raise
        print(f"The sparse products fail ({shown(str(error))}), so layers run dense.")
        return {"rows": rows, "threads": torch.get_num_threads(), "thresholds": {}}
