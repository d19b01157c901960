"""A linear layer with a 2:4 mask on a card's sparse matrix units.

What a card can skip is the forward product alone: x W has the pattern along the inputs, over which
it sums. The input's gradient sums over outputs, where W has no pattern, and the weight's gradient
is a product of two dense matrices; both run dense. So at best a step takes 5/6 of dense, and what
it takes to compress W, which changes with every step, comes on top.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear
from torch.sparse import to_sparse_semi_structured


@dataclass(frozen=True, eq=False)
class TwoFour:
    """A mask with at most 2 active of every 4 consecutive inputs of an output.

    Attributes:
        mask: (n_in, n_out) bool.
        density: Active share of the entries.
    """

    mask: Tensor
    density: float

    @classmethod
    def from_mask(cls, mask: Tensor) -> "TwoFour":
        """Of any mask; where it has not the pattern its density is 1, so that it runs dense."""
        groups = mask.unflatten(0, (-1, 4)).sum(dim=1)
        fits = int(groups.max()) <= 2
        return cls(mask.clone(), float(mask.float().mean()) if fits else 1.0)


class TwoFourLinear(torch.autograd.Function):
    """y = x W + b for two-dimensional x; use `two_four_linear`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """x (rows, n_in), weight (n_in, n_out) masked, bias (n_out,); returns (rows, n_out)."""
        ctx.save_for_backward(x, weight)
        return linear(x, to_sparse_semi_structured(weight.t().contiguous()), bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_y: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Gradients of x, W and b, by dense products."""
        x, weight = ctx.saved_tensors
        grad_bias = grad_y.sum(0) if ctx.needs_input_grad[2] else None
        return grad_y @ weight.t(), x.t() @ grad_y, grad_bias


def two_four_linear(
    x: Tensor, weight: Tensor, structure: TwoFour, bias: Tensor | None = None
) -> Tensor:
    """x (W * M) + b; under autocast in its precision.

    Args:
        x: (..., n_in), on a card.
        weight: (n_in, n_out) as GPT-2's Conv1D stores it, with sides that the card takes (multiples
            of 64 do); inactive entries may hold anything.
        structure: Of the mask M.
        bias: (n_out,).

    Returns:
        (..., n_out). The gradient of `weight` is 0 where inactive.

    Raises:
        RuntimeError: torch cannot compress the weight, as on a CPU.
    """
    kind = x.device.type
    if torch.is_autocast_enabled(kind):
        dtype = torch.get_autocast_dtype(kind)
        x, weight = x.to(dtype), weight.to(dtype)
        bias = None if bias is None else bias.to(dtype)
    rows = x.reshape(-1, x.shape[-1])
    y = TwoFourLinear.apply(rows, weight * structure.mask, bias)
    return y.view(*x.shape[:-1], weight.shape[1])
