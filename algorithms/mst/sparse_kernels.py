"""Compiled products of a dense matrix with an unstructured sparse one, forward and backward.

Our derivation. Sixty-four rows of the input make a tile, kept transposed, so that one input unit
is 64 neighbouring numbers. An output unit is then a sum over its active inputs of weight times
64 numbers: the sums stay in vector registers, nothing is gathered lane by lane, and a random mask
costs no more than an ordered one. The gradient of an active weight is the dot product of two
such lines. Numba vectorises these loops through memory; the three innermost steps are therefore
emitted as vector instructions, which is twice as fast.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import njit, prange, types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 64  # rows of a tile: four 16-wide accumulators
WIDTH = 16
CACHE_LINE = 64  # bytes

Array = npt.NDArray[Any]

INT64, INT32 = ir.IntType(64), ir.IntType(32)


def _pointer(context: Any, builder: Any, kind: Any, array: Any) -> Any:
    """Address of an array's first element."""
    return context.make_array(kind)(context, builder, array).data


def _shuffle(builder: Any, left: Any, right: Any, lanes: list[int]) -> Any:
    """Pick lanes of two vectors: 0 to n-1 name the left one's, n to 2n-1 the right one's."""
    return builder.shuffle_vector(left, right, ir.Constant(ir.VectorType(INT32, len(lanes)), lanes))


def _broadcast(builder: Any, number: Any) -> Any:
    """A vector with the same number in every lane."""
    empty = ir.Constant(ir.VectorType(number.type, WIDTH), ir.Undefined)
    first = builder.insert_element(empty, number, INT32(0))
    return _shuffle(builder, first, empty, [0] * WIDTH)


def _vector_address(builder: Any, base: Any, offset: Any) -> Any:
    """Address of the vector that starts `offset` elements after `base`."""
    vector = ir.VectorType(base.type.pointee, WIDTH)
    return builder.bitcast(builder.gep(base, [offset]), vector.as_pointer())


def _line(builder: Any, tile: Any, unit: Any) -> list[Any]:
    """The 64 numbers of one unit of a tile, as vectors."""
    start = builder.mul(unit, INT64(LANES))
    offsets = [builder.add(start, INT64(j)) for j in range(0, LANES, WIDTH)]
    return [builder.load(_vector_address(builder, tile, at), align=4) for at in offsets]


def _multiply_add(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """a * b + c, fused where the processor can."""
    return builder.fadd(builder.fmul(a, b, flags=["contract"]), c, flags=["contract"])


@intrinsic
def _weighted_sum(
    typing: Any, line: Any, tile: Any, index: Any, values: Any, first: Any, last: Any, bias: Any
) -> Any:
    """line[:] = bias + sum over k in [first, last) of values[k] * tile[index[k]]."""
    signature = types.void(line, tile, index, values, types.intp, types.intp, bias)

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        out, units, inputs, weights = (
            _pointer(context, builder, kind, array)
            for kind, array in zip(signature.args[:4], args[:4], strict=True)
        )
        start = _broadcast(builder, args[6])
        sums = [cgutils.alloca_once_value(builder, start) for _ in range(LANES // WIDTH)]
        with cgutils.for_range_slice(builder, args[4], args[5], INT64(1)) as (k, _):
            unit = builder.zext(builder.load(builder.gep(inputs, [k])), INT64)
            weight = _broadcast(builder, builder.load(builder.gep(weights, [k])))
            for total, part in zip(sums, _line(builder, units, unit), strict=True):
                builder.store(_multiply_add(builder, weight, part, builder.load(total)), total)
        for j, total in enumerate(sums):
            address = _vector_address(builder, out, INT64(j * WIDTH))
            builder.store(builder.load(total), address, align=4)
        return context.get_dummy_value()

    return signature, emit


@intrinsic
def _add_dots(
    typing: Any, line: Any, tile: Any, index: Any, sums: Any, first: Any, last: Any
) -> Any:
    """sums[k] += line . tile[index[k]] for k in [first, last)."""
    signature = types.void(line, tile, index, sums, types.intp, types.intp)

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        one, units, inputs, out = (
            _pointer(context, builder, kind, array)
            for kind, array in zip(signature.args[:4], args[:4], strict=True)
        )
        fixed = _line(builder, one, INT64(0))
        with cgutils.for_range_slice(builder, args[4], args[5], INT64(1)) as (k, _):
            unit = builder.zext(builder.load(builder.gep(inputs, [k])), INT64)
            parts = _line(builder, units, unit)
            total = builder.fmul(fixed[0], parts[0], flags=["contract"])
            for a, b in zip(fixed[1:], parts[1:], strict=True):
                total = _multiply_add(builder, a, b, total)
            half = WIDTH // 2
            while half:
                low = _shuffle(builder, total, total, list(range(half)))
                high = _shuffle(builder, total, total, list(range(half, 2 * half)))
                total, half = builder.fadd(low, high), half // 2
            address = builder.gep(out, [k])
            dot = builder.extract_element(total, INT32(0))
            builder.store(builder.fadd(builder.load(address), dot), address)
        return context.get_dummy_value()

    return signature, emit


@intrinsic
def _transpose_block(typing: Any, source: Any, target: Any, row: Any, column: Any) -> Any:
    """target[column + c, row + r] = source[row + r, column + c] for r, c below 16."""
    signature = types.void(source, target, types.intp, types.intp)

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        read, write = (
            context.make_array(kind)(context, builder, array)
            for kind, array in zip(signature.args[:2], args[:2], strict=True)
        )

        def address(array: Any, row: Any, column: Any) -> Any:
            length = cgutils.unpack_tuple(builder, array.shape)[1]
            return _vector_address(
                builder, array.data, builder.add(builder.mul(row, length), column)
            )

        rows = [
            builder.load(address(read, builder.add(args[2], INT64(r)), args[3]), align=4)
            for r in range(WIDTH)
        ]
        half = WIDTH // 2
        low = [lane for k in range(half) for lane in (k, WIDTH + k)]
        high = [lane + half for lane in low]
        for _ in range(WIDTH.bit_length() - 1):  # interleaving halves log2(16) times transposes
            rows = [
                _shuffle(builder, rows[r], rows[r + half], lanes)
                for r in range(half)
                for lanes in (low, high)
            ]
        for c, vector in enumerate(rows):
            at = address(write, builder.add(args[3], INT64(c)), args[2])
            builder.store(vector, at, align=4)
        return context.get_dummy_value()

    return signature, emit


@njit(cache=True)
def _transpose(source: Array, target: Array, rows: int, columns: int) -> None:
    """target[c, r] = source[r, c] for r < rows, c < columns."""
    whole_rows, whole_columns = rows // WIDTH * WIDTH, columns // WIDTH * WIDTH
    for r in range(0, whole_rows, WIDTH):
        for c in range(0, whole_columns, WIDTH):
            _transpose_block(source, target, r, c)
    for r in range(rows):
        for c in range(whole_columns if r < whole_rows else 0, columns):
            target[c, r] = source[r, c]


@njit(cache=True)
def _empty_tile(units: int, like: Array) -> Array:
    """(units, LANES) of the dtype of `like`, aligned to cache lines: else half the speed."""
    spare = CACHE_LINE // like.itemsize
    memory = np.empty(units * LANES + spare, like.dtype)
    skip = -memory.ctypes.data % CACHE_LINE // like.itemsize
    return memory[skip : skip + units * LANES].reshape(units, LANES)


@njit(cache=True)
def _load_tile(matrix: Array, first: int, tile: Array) -> int:
    """Transpose the rows from `first` on into a tile, missing rows zero; returns their number."""
    rows = min(LANES, matrix.shape[0] - first)
    if rows < LANES:
        tile[:, rows:] = 0
    _transpose(matrix[first : first + rows], tile, rows, matrix.shape[1])
    return rows


@njit(parallel=True, cache=True)
def product(
    matrix: Array,
    start: Array,
    index: Array,
    values: Array,
    bias: Array,
    out: Array,
    parts: int,
) -> None:
    """out = matrix @ S + bias for a sparse S of shape (n, m), stored by columns.

    Args:
        matrix: (rows, n), C-contiguous.
        start: (m + 1,) int64; column j holds the entries start[j] to start[j + 1].
        index: (entries,) uint32, the row of each entry.
        values: (entries,), the dtype of `matrix`.
        bias: (m,).
        out: (rows, m), written.
        parts: number of shares the tiles are divided into, each done by one thread.
    """
    tiles = -(-matrix.shape[0] // LANES)
    for part in prange(parts):
        tile = _empty_tile(matrix.shape[1], matrix)
        result = _empty_tile(out.shape[1], matrix)
        for t in range(part * tiles // parts, (part + 1) * tiles // parts):
            rows = _load_tile(matrix, t * LANES, tile)
            for j in range(out.shape[1]):
                _weighted_sum(result[j], tile, index, values, start[j], start[j + 1], bias[j])
            _transpose(result, out[t * LANES : t * LANES + rows], out.shape[1], rows)


@njit(parallel=True, cache=True)
def sampled_product(matrix: Array, other: Array, start: Array, index: Array, sums: Array) -> None:
    """sums[part, k] = entry k's share of matrix^T @ other, at the entries of S only.

    Args:
        matrix: (rows, n), C-contiguous.
        other: (rows, m), C-contiguous.
        start: (m + 1,) int64, as in `product`.
        index: (entries,) uint32, as in `product`.
        sums: (parts, entries), zero before; a part covers a share of the rows on one thread, so
            that the sum over parts has the same bits in every run.
    """
    tiles, parts = -(-matrix.shape[0] // LANES), sums.shape[0]
    for part in prange(parts):
        tile = _empty_tile(matrix.shape[1], matrix)
        lines = _empty_tile(other.shape[1], matrix)
        for t in range(part * tiles // parts, (part + 1) * tiles // parts):
            _load_tile(matrix, t * LANES, tile)
            _load_tile(other, t * LANES, lines)
            for j in range(other.shape[1]):
                _add_dots(lines[j], tile, index, sums[part], start[j], start[j + 1])
