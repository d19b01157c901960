"""Eight numbers at once, floats that the processor's vector instructions work on.

Numba's loops over eight entries stay scalar where LLVM cannot see that arrays are apart. Here the
instructions are named: a `Lanes` value is a vector of LLVM's.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

WIDTH = 8
"""Numbers in a value."""

_VECTOR = ir.VectorType(ir.DoubleType(), WIDTH)
_INDEX = ir.IntType(32)


class Lanes(types.Type):
    """Numba's type of such a value."""

    def __init__(self) -> None:
        super().__init__(name="Lanes")


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    """A vector in LLVM's sense, also where it is carried from one round of a loop to the next."""

    def __init__(self, manager: Any, lanes: Any) -> None:
        super().__init__(manager, lanes, _VECTOR)


LANES = Lanes()


def _pointer(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """Where row ``args[1]`` of the C-contiguous array ``args[0]`` of `WIDTH` columns starts."""
    array = context.make_array(signature.args[0])(context, builder, args[0])
    row = context.cast(builder, args[1], signature.args[1], types.intp)
    start = builder.gep(array.data, [builder.mul(row, ir.Constant(row.type, WIDTH))])
    return builder.bitcast(start, _VECTOR.as_pointer())


@intrinsic
def load(typing_context, array, row):
    """A row of a (n, 8) array of float64."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load(_pointer(context, builder, signature, args), align=8)

    return LANES(array, row), generate


@intrinsic
def store(typing_context, array, row, value):
    """Write a row of a (n, 8) array of float64."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        where = _pointer(context, builder, signature, args)
        builder.store(args[2], where, align=8)
        return context.get_dummy_value()

    return types.void(array, row, LANES), generate


@intrinsic
def splat(typing_context, number):
    """A float64, eight times."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vector = ir.Constant(_VECTOR, ir.Undefined)
        for lane in range(WIDTH):
            vector = builder.insert_element(vector, args[0], ir.Constant(_INDEX, lane))
        return vector

    return LANES(types.float64), generate


@intrinsic
def zero(typing_context):
    """0, eight times."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return ir.Constant(_VECTOR, [0.0] * WIDTH)

    return LANES(), generate


def _operation(name: str) -> Callable[..., Any]:
    @intrinsic
    def operation(typing_context, first, second):
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return getattr(builder, name)(*args, flags=("fast",))

        return LANES(LANES, LANES), generate

    return operation


add, sub, mul = _operation("fadd"), _operation("fsub"), _operation("fmul")

ROWS = types.UniTuple(types.intp, WIDTH)
"""Numbers of `WIDTH` rows."""


def _turned(builder: Any, vectors: list[Any]) -> list[Any]:
    """The columns of eight vectors: three times, the first half is interleaved with the second."""
    low = [number for lane in range(WIDTH // 2) for number in (lane, WIDTH + lane)]
    halves = [
        ir.Constant(ir.VectorType(_INDEX, WIDTH), [number + start for number in low])
        for start in (0, WIDTH // 2)
    ]
    for _ in range(3):
        vectors = [
            builder.shuffle_vector(vectors[pair], vectors[pair + WIDTH // 2], half)
            for pair in range(WIDTH // 2)
            for half in halves
        ]
    return vectors


def _places(context: Any, builder: Any, signature: Any, args: Any) -> tuple[Any, list[Any]]:
    """The vector type of an array's entries, and where eight of them stand in each of its rows.

    ``args`` are the array, the rows and the column where the eight begin.
    """
    kind = ir.VectorType(context.get_data_type(signature.args[0].dtype), WIDTH)
    array = context.make_array(signature.args[0])(context, builder, args[0])
    column = context.cast(builder, args[2], signature.args[2], types.intp)
    places = []
    for lane in range(WIDTH):
        where = [builder.extract_value(args[1], lane), column]
        place = cgutils.get_item_pointer(context, builder, signature.args[0], array, where)
        places.append(builder.bitcast(place, kind.as_pointer()))
    return kind, places


@intrinsic
def turn_in(typing_context, source, rows, column, into):
    """Columns of eight rows become rows: ``into[column + j, k] = source[rows[k], column + j]``.

    Args:
        source: (n, m) floats.
        rows: Eight of its rows.
        column: The first of eight columns.
        into: (., 8) float64.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind, places = _places(context, builder, signature, args)
        align = kind.element.get_abi_size(context.target_data)
        vectors = _turned(builder, [builder.load(place, align=align) for place in places])
        column = context.cast(builder, args[2], signature.args[2], types.intp)
        for lane, vector in enumerate(vectors):
            wide = vector if kind == _VECTOR else builder.fpext(vector, _VECTOR)
            row = builder.add(column, ir.Constant(column.type, lane))
            types_of = types.void(signature.args[3], types.intp)
            where = _pointer(context, builder, types_of, (args[3], row))
            builder.store(wide, where, align=8)
        return context.get_dummy_value()

    return types.void(source, ROWS, column, into), generate


@intrinsic
def turn_out(typing_context, into, rows, column, source):
    """Rows of eight become columns: ``into[rows[k], column + j] = source[column + j, k]``."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind, places = _places(context, builder, signature, args)
        align = kind.element.get_abi_size(context.target_data)
        column = context.cast(builder, args[2], signature.args[2], types.intp)
        vectors = []
        for lane in range(WIDTH):
            row = builder.add(column, ir.Constant(column.type, lane))
            types_of = types.void(signature.args[3], types.intp)
            where = _pointer(context, builder, types_of, (args[3], row))
            vector = builder.load(where, align=8)
            vectors.append(vector if kind == _VECTOR else builder.fptrunc(vector, kind))
        for place, vector in zip(places, _turned(builder, vectors), strict=True):
            builder.store(vector, place, align=align)
        return context.get_dummy_value()

    return types.void(into, ROWS, column, source), generate
