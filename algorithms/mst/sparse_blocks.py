"""A linear layer whose mask is of square blocks: dense products of the blocks that are on.

An output block is one product: of the blocks of its column, below one another, with the input units
that they stand for. On the CPU those units are gathered and BLAS does the rest; on a card with
Triton the kernels of `block_kernels` read blocks where they lie. Forward and both gradients cost
density times dense; the gradient of blocks that are off is 0, and a topology step, which needs it,
runs dense.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


@dataclass(frozen=True, eq=False)
class Lines:
    """The active blocks of a mask, line by line of its blocks' columns (or rows).

    Attributes:
        start: (lines + 1,) int32, where each line's blocks begin in `place`.
        place: (blocks,) int32, place of each within its line.
        units: For each line the places of its blocks' weights along it, int64.
    """

    start: Tensor
    place: Tensor
    units: Sequence[Tensor]

    @classmethod
    def of(cls, blocks: Tensor, side: int) -> "Lines":
        """Of a mask of blocks, (lines, places) bool."""
        place = blocks.nonzero()[:, 1]
        counts = blocks.sum(dim=1)
        start = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
        within = torch.arange(side, device=blocks.device)
        units = (place[:, None] * side + within).flatten().split((counts * side).tolist())
        return cls(start.to(torch.int32), place.to(torch.int32), units)


@dataclass(frozen=True, eq=False)
class BlockStructure:
    """Where the active blocks of a mask are; made once a topology change.

    Attributes:
        mask: (n_in, n_out) bool.
        side: Of a block.
        by_output: A line for each column of blocks.
        by_input: A line for each row of blocks.
        outputs: (blocks,) int32, the column of each block of `by_output`.
    """

    mask: Tensor
    side: int
    by_output: Lines
    by_input: Lines
    outputs: Tensor

    @classmethod
    def from_mask(cls, mask: Tensor, side: int) -> "BlockStructure":
        """Index a mask of weights that is constant on blocks.

        Raises:
            ValueError: It is none, or not of blocks of this side.
        """
        if mask.dtype != torch.bool or mask.ndim != 2 or any(n % side for n in mask.shape):
            raise ValueError(
                f"a mask of blocks of {side} must be bool and its sides multiples of {side}, not "
                f"{mask.dtype} of shape {tuple(mask.shape)}"
            )
        blocks = mask[::side, ::side]
        if not torch.equal(blocks.repeat_interleave(side, 0).repeat_interleave(side, 1), mask):
            raise ValueError(f"the mask is not of whole blocks of {side}")
        columns = blocks.t()
        return cls(
            mask.clone(),
            side,
            Lines.of(columns, side),
            Lines.of(blocks, side),
            columns.nonzero()[:, 0].to(torch.int32),
        )

    @property
    def density(self) -> float:
        """Active share of the entries."""
        return len(self.outputs) * self.side**2 / self.mask.numel()


class BlockLinear(torch.autograd.Function):
    """y = x (W * M) for two-dimensional x; use `block_linear`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, structure: BlockStructure) -> Tensor:
        """x (rows, n_in), weight (n_in, n_out); returns (rows, n_out)."""
        ctx.save_for_backward(x, weight)
        ctx.structure = structure
        return _product(x, weight, structure.by_output, structure.side)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_y: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of x and of W, 0 where inactive."""
        x, weight = ctx.saved_tensors
        structure: BlockStructure = ctx.structure
        grad_x = grad_weight = None
        if ctx.needs_input_grad[0]:
            grad_x = _product(grad_y, weight.t(), structure.by_input, structure.side)
        if ctx.needs_input_grad[1]:
            grad_weight = _sampled(x, grad_y, structure)
        return grad_x, grad_weight, None


def block_linear(
    x: Tensor, weight: Tensor, structure: BlockStructure, bias: Tensor | None = None
) -> Tensor:
    """x (W * M) + b by the blocks of M that are on; under autocast in its precision.

    Args:
        x: (..., n_in).
        weight: (n_in, n_out) as GPT-2's Conv1D stores it; inactive entries may hold anything.
        structure: Of the mask M.
        bias: (n_out,).

    Returns:
        (..., n_out). The gradient of `weight` is dense, exactly 0 where inactive.
    """
    kind = x.device.type
    if torch.is_autocast_enabled(kind):
        dtype = torch.get_autocast_dtype(kind)
        x, weight = x.to(dtype), weight.to(dtype)
        bias = None if bias is None else bias.to(dtype)
    y = BlockLinear.apply(x.reshape(-1, x.shape[-1]), weight, structure)
    y = y.view(*x.shape[:-1], weight.shape[1])
    return y if bias is None else y + bias


def _product(matrix: Tensor, weight: Tensor, lines: Lines, side: int) -> Tensor:
    """matrix @ (W * M), (rows, n_out), with a line for each column of blocks."""
    if matrix.is_cuda:
        from tenfold.algorithms.mst.block_kernels import product

        return product(matrix, weight, lines.start, lines.place, side)
    units = matrix.t().contiguous()
    out = units.new_zeros(weight.shape[1], len(matrix))
    for line, active in enumerate(lines.units):
        if len(active):
            here = slice(line * side, (line + 1) * side)
            torch.mm(weight[active, here].t(), units[active], out=out[here])
    return out.t().contiguous()


def _sampled(x: Tensor, grad_y: Tensor, structure: BlockStructure) -> Tensor:
    """x^T @ grad_y at active blocks, 0 elsewhere."""
    side = structure.side
    if x.is_cuda:
        from tenfold.algorithms.mst.block_kernels import sampled_product

        lines = structure.by_output
        return sampled_product(x, grad_y, lines.place, structure.outputs, side)
    units, found = x.t().contiguous(), x.new_zeros(structure.mask.shape)
    for line, active in enumerate(structure.by_output.units):
        if len(active):
            here = slice(line * side, (line + 1) * side)
            found[active, here] = units[active] @ grad_y[:, here]
    return found
