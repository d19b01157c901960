"""Triton kernels of products with a block-sparse matrix; imported where a card needs them.

Each program makes one block of the result: of `product` a part of the rows by one column of blocks,
the sum over the column's active blocks; of `sampled_product` one active block, the sum over rows.
Sums are in float32 whatever the inputs are, and float32 inputs are multiplied in full precision.
Triton reads a kernel's annotations when it compiles it: those of compile-time constants are all
that it takes.
"""

import triton
from torch import Tensor
from triton import language as tl

SIDES = (16, 32, 64, 128)
"""Sides of blocks that the matrix units take."""
_ROWS = 64  # that a program takes at a time


@triton.jit
def _product(  # type: ignore[no-untyped-def]
    matrix,
    weight,
    start,
    place,
    out,
    rows,
    m_row,
    m_unit,
    w_in,
    w_out,
    o_row,
    SIDE: tl.constexpr,
    ROWS: tl.constexpr,
) -> None:
    column = tl.program_id(1)
    within = tl.arange(0, SIDE)
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    there = (row < rows)[:, None]
    outputs = column * SIDE + within
    sums = tl.zeros((ROWS, SIDE), dtype=tl.float32)
    for k in range(tl.load(start + column), tl.load(start + column + 1)):
        units = tl.load(place + k) * SIDE + within
        left = tl.load(
            matrix + row[:, None] * m_row + units[None, :] * m_unit, mask=there, other=0.0
        )
        right = tl.load(weight + units[:, None] * w_in + outputs[None, :] * w_out)
        sums = tl.dot(left, right, sums, input_precision="ieee")
    tl.store(
        out + row[:, None] * o_row + outputs[None, :], sums.to(out.dtype.element_ty), mask=there
    )


@triton.jit
def _sampled(  # type: ignore[no-untyped-def]
    x,
    grad_y,
    inputs,
    outputs,
    out,
    rows,
    x_row,
    x_unit,
    g_row,
    g_unit,
    n_out,
    SIDE: tl.constexpr,
    ROWS: tl.constexpr,
) -> None:
    block = tl.program_id(0)
    within = tl.arange(0, SIDE)
    left_units = tl.load(inputs + block) * SIDE + within
    right_units = tl.load(outputs + block) * SIDE + within
    sums = tl.zeros((SIDE, SIDE), dtype=tl.float32)
    for first in range(0, rows, ROWS):
        row = (first + tl.arange(0, ROWS)).to(tl.int64)
        left = tl.load(
            x + left_units[:, None] * x_unit + row[None, :] * x_row,
            mask=(row < rows)[None, :],
            other=0.0,
        )
        right = tl.load(
            grad_y + row[:, None] * g_row + right_units[None, :] * g_unit,
            mask=(row < rows)[:, None],
            other=0.0,
        )
        sums = tl.dot(left, right, sums, input_precision="ieee")
    tl.store(
        out + left_units[:, None] * n_out + right_units[None, :], sums.to(out.dtype.element_ty)
    )


def product(matrix: Tensor, weight: Tensor, start: Tensor, place: Tensor, side: int) -> Tensor:
    """matrix @ (W * M).

    Args:
        matrix: (rows, n_in), of any strides.
        weight: (n_in, n_out), of any strides and the matrix's dtype; inactive blocks are not read.
        start: (n_out / side + 1,) int32, where each column's active blocks begin in `place`.
        place: (blocks,) int32, the row of blocks of each.
        side: Of a block, of `SIDES`.

    Returns:
        (rows, n_out), the matrix's dtype.

    Raises:
        ValueError: There are no kernels for this side.
    """
    _check(side)
    out = matrix.new_empty(len(matrix), weight.shape[1])
    _product[(triton.cdiv(len(matrix), _ROWS), weight.shape[1] // side)](
        matrix, weight, start, place, out, len(matrix), *matrix.stride(), *weight.stride(),
        out.stride(0), SIDE=side, ROWS=_ROWS,
    )  # fmt: skip
    return out


def sampled_product(
    x: Tensor, grad_y: Tensor, inputs: Tensor, outputs: Tensor, side: int
) -> Tensor:
    """x^T @ grad_y at active blocks, 0 elsewhere.

    Args:
        x: (rows, n_in), of any strides.
        grad_y: (rows, n_out), of any strides and the dtype of `x`.
        inputs: (blocks,) int32, the row of blocks of each active block.
        outputs: (blocks,) int32, their columns.
        side: Of a block, of `SIDES`.

    Returns:
        (n_in, n_out), the dtype of `x`.

    Raises:
        ValueError: There are no kernels for this side.
    """
    _check(side)
    out = x.new_zeros(x.shape[1], grad_y.shape[1])
    if len(inputs):
        _sampled[(len(inputs),)](
            x, grad_y, inputs, outputs, out, len(x), *x.stride(), *grad_y.stride(),
            grad_y.shape[1], SIDE=side, ROWS=_ROWS,
        )  # fmt: skip
    return out


def _check(side: int) -> None:
    if side not in SIDES:
        raise ValueError(f"the kernels take blocks of {', '.join(map(str, SIDES))}, not of {side}")
