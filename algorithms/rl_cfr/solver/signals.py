"""What threads say to each other inside compiled code: counters, and waiting for them.

Handing a part of a walk to a thread from Python costs tens of microseconds, since all arrays of a
tree are unpacked under the interpreter's lock; a counter costs less than one.
"""

import numpy as np
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

_APART = 8  # numbers of 8 bytes: each counter has a cache line of its own

yield_processor = types.ExternalFunction("sched_yield", types.int32())
"""Let other threads go first, of which there may be more than processors."""


def make_counters(count: int) -> NDArray[np.int64]:
    """Counters that begin with 0, for `count_up`."""
    return np.zeros((count, _APART), np.int64)


@intrinsic
def count_up(typing_context, counters, which, by):
    """Add a number to a counter at once for all threads; returns what it was.

    What a thread has written before is seen by whoever finds its count.
    """

    def generate(context, builder, signature, args):
        kind = signature.args[0]
        array = context.make_array(kind)(context, builder, args[0])
        places = [context.cast(builder, args[1], signature.args[1], types.intp)]
        places.append(context.get_constant(types.intp, 0))
        where = cgutils.get_item_pointer(context, builder, kind, array, places)
        amount = context.cast(builder, args[2], signature.args[2], types.int64)
        return builder.atomic_rmw("add", where, amount, "seq_cst")

    return types.int64(counters, which, by), generate
