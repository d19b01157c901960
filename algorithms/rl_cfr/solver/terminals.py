"""What terminals pay, eight of one board at once.

Reaches stand in rows of hands. For a block of terminals they are turned into rows of `WIDTH`
terminals, one row a hand: what has to be added up along the hands in the order of their strength is
then added for all terminals together, in the processor's vectors. Sums are float64.
"""

from collections.abc import Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import DTypeLike, NDArray

from tenfold.algorithms.rl_cfr.solver.lanes import (
    WIDTH,
    add,
    load,
    mul,
    splat,
    store,
    sub,
    turn_in,
    turn_out,
    zero,
)
from tenfold.algorithms.rl_cfr.solver.layout import MATRIX, SHOWDOWN
from tenfold.envs.poker.strength import BoardOrder

DECK = 52

# Nothing is allocated here, so nothing needs counting. With Numba's counting of references an
# iteration of leduc_poker takes 3.6 times as long and one of a full river 1.1 times (Numba 0.68.1,
# medians of nine blocks); arrays without an owner, by a public intrinsic, leave Leduc at 3.5 times.
# Hence this option, which Numba keeps private: constraints.txt pins the version.
compiled = njit(cache=True, fastmath=True, nogil=True, _nrt=False)
inlined = njit(cache=True, fastmath=True, nogil=True, _nrt=False, forceinline=True)

LINE = 64
"""Bytes of a cache line."""

FEW = 2
"""Terminals of a matrix that are settled one by one."""


class Block(NamedTuple):
    """Scratch space of a block of terminals.

    Attributes:
        theirs: (., WIDTH) float64 reach of the other player; the row behind its hands is 0.
        won: (., WIDTH) float64 values of the player.
        by_card: (52, WIDTH) float64 reach by card, of the hands so far.
        terms: (2, WIDTH) float64 base and swing of each terminal.
    """

    theirs: NDArray[np.float64]
    won: NDArray[np.float64]
    by_card: NDArray[np.float64]
    terms: NDArray[np.float64]


def aligned_zeros(shape: tuple[int, ...], dtype: DTypeLike = np.float64) -> NDArray[Any]:
    """Zeros that begin where a cache line does; a vector across two lines takes twice as long."""
    size = prod(shape) * np.dtype(dtype).itemsize
    room = np.zeros(size + LINE, np.uint8)
    begin = -room.ctypes.data % LINE
    return room[begin : begin + size].view(dtype).reshape(shape)


def make_block(hands: int) -> Block:
    """Scratch space for lists of at most so many hands."""
    return Block(
        theirs=aligned_zeros((hands + WIDTH, WIDTH)),
        won=aligned_zeros((hands + WIDTH, WIDTH)),
        by_card=aligned_zeros((DECK, WIDTH)),
        terms=aligned_zeros((2, WIDTH)),
    )


@inlined
def _add_hands(sums, total, block, order, start, stop, holds):
    """Add the reach of some hands to sums by card; returns the total with them."""
    for place in range(start, stop):
        hand = order[place]
        reach = load(block.theirs, hand)
        total = add(total, reach)
        for side in range(2):
            card = holds[hand, side]
            store(sums, card, add(load(sums, card), reach))
    return total


@inlined
def _apart(total, sums, hand, holds):
    """Of a total, what shares no card with a hand, the hand itself subtracted twice."""
    return sub(sub(total, load(sums, holds[hand, 0])), load(sums, holds[hand, 1]))


@inlined
def _pay(block, total, order, count, holds, twin, shown):
    """``won`` of each hand: base times what it can meet, and swing times (weaker - stronger).

    The hand itself, in the sums of both its cards, is added back: once among all hands and once
    among the weaker or equal ones, with swing the base times its reach in all.
    """
    base, swing = load(block.terms, 0), load(block.terms, 1)
    rest = sub(base, swing)
    for place in range(count):
        hand = order[place]
        free = _apart(total, block.by_card, hand, holds)
        again = mul(base, load(block.theirs, twin[hand]))
        if shown:
            beaten = mul(swing, load(block.won, hand))
            store(block.won, hand, add(add(mul(rest, free), again), beaten))
        else:
            store(block.won, hand, add(mul(base, free), again))


@inlined
def folds(block, order, other_order, sizes, holds, other_holds, twin):
    """``won``: base times the reach over hands that share no card with each hand."""
    block.by_card[:] = 0.0
    args = other_order, 0, sizes[1], other_holds
    total = _add_hands(block.by_card, zero(), block, *args)
    _pay(block, total, order, sizes[0], holds, twin, False)


@inlined
def showdowns(
    block, order, other_order, sizes, groups, other_groups, count, holds, other_holds, twin
):
    """``won``: base times the reach of dealable hands, and swing times (weaker - stronger).

    A pass over strengths takes, for each hand, the reach of the weaker hands before its strength
    and of the weaker or equal ones after it; hands that share a card are subtracted by the sums of
    both cards. At its end the sums are those of all hands.

    Args:
        block: `Block`, with reaches and terms.
        order: The player's hands from the weakest on.
        other_order: The other's.
        sizes: (2,) number of these.
        groups: Bounds in `order` of each strength.
        other_groups: Those in `other_order`.
        count: Number of strengths.
        holds: (hands, 2) cards of the player's hands.
        other_holds: Of the other's.
        twin: (hands,) row of `Block.theirs` with the same hand, or of 0.
    """
    weaker = block.by_card
    weaker[:] = 0.0
    below = zero()
    for group in range(count):
        start, stop = groups[group], groups[group + 1]
        first, last = other_groups[group], other_groups[group + 1]
        for place in range(start, stop):
            hand = order[place]
            store(block.won, hand, _apart(below, weaker, hand, holds))
        below = _add_hands(weaker, below, block, other_order, first, last, other_holds)
        for place in range(start, stop):
            hand = order[place]
            beaten = _apart(below, weaker, hand, holds)
            store(block.won, hand, add(load(block.won, hand), beaten))
    _pay(block, below, order, sizes[0], holds, twin, True)


@compiled
def _showdowns_of_board(order, groups, cards, hands, block):
    size = len(order), len(order)
    args = order, order, size, groups, groups, len(groups) - 1, cards, cards, hands
    showdowns(block, *args)


def showdown_values(
    board: BoardOrder,
    cards: NDArray[np.int32],
    reaches: NDArray[np.float64],
    base: Sequence[float],
    swing: Sequence[float],
) -> NDArray[np.float64]:
    """Values of hands at up to eight showdowns on one full board.

    Args:
        board: The hands in the order of their strength.
        cards: (H, 2) cards of the hands.
        reaches: (K, H) of the other player, at each showdown.
        base: (K,) what a hand gets for each hand that it can meet.
        swing: (K,) what it gets more for a weaker one, and less for a stronger one.

    Returns:
        (K, H).
    """
    count, hands = reaches.shape
    block = make_block(hands)
    block.theirs[:hands, :count] = reaches.T
    block.terms[:, :count] = base, swing
    _showdowns_of_board(*board, cards, np.arange(hands, dtype=np.int32), block)
    return np.ascontiguousarray(block.won[:hands, :count].T)


@inlined
def _products(block, signs, count, others):
    """Add swing times a matrix, row by row of (count, others) numbers, times the reaches."""
    swing = load(block.terms, 1)
    for hand in range(0, count - 3, 4):
        line = hand * others
        a, b, c, d = zero(), zero(), zero(), zero()
        for other in range(others):
            reach = load(block.theirs, other)
            at = line + other
            a = add(a, mul(reach, splat(np.float64(signs[at]))))
            b = add(b, mul(reach, splat(np.float64(signs[at + others]))))
            c = add(c, mul(reach, splat(np.float64(signs[at + 2 * others]))))
            d = add(d, mul(reach, splat(np.float64(signs[at + 3 * others]))))
        store(block.won, hand, add(load(block.won, hand), mul(swing, a)))
        store(block.won, hand + 1, add(load(block.won, hand + 1), mul(swing, b)))
        store(block.won, hand + 2, add(load(block.won, hand + 2), mul(swing, c)))
        store(block.won, hand + 3, add(load(block.won, hand + 3), mul(swing, d)))
    for hand in range(count - count % 4, count):
        total = zero()
        for other in range(others):
            weight = splat(np.float64(signs[hand * others + other]))
            total = add(total, mul(load(block.theirs, other), weight))
        store(block.won, hand, add(load(block.won, hand), mul(swing, total)))


@inlined
def _one_matrix(tree, node, player, reach, out):
    """A terminal that pays by a matrix alone."""
    swing = tree.swing[node]
    signs = tree.matrices[tree.matrix[node, player]]
    others = tree.counts[1 - player]
    for hand in range(tree.counts[player]):
        total = swing * 0
        for other in range(others):
            total += signs[hand * others + other] * reach[other]
        out[hand] = swing * total


@compiled
def settle(tree, number, player, reach, value, block):
    """Values of a player's hands at the terminals of a block.

    Args:
        tree: `PublicTree`.
        number: Of the block, see `Layout.blocks`.
        player: Whose values.
        reach: (rows, hands) of the other player; the last row is 0.
        value: (rows, hands) out, by `Layout.slot`; the last row is nobody's.
        block: `Block`.
    """
    layout, other = tree.layout, 1 - player
    start, stop = layout.blocks[number], layout.blocks[number + 1]
    node = layout.ends[start]
    kind, table = tree.kind[node], tree.table[node]
    if table < 0 and stop - start <= FEW:
        for place in range(start, stop):
            node = layout.ends[place]
            row = reach[layout.reached[node, other]]
            _one_matrix(tree, node, player, row, value[layout.slot[node]])
        return
    last = len(reach) - 1
    rows = _rows(layout.reached[:, other], layout.ends, start, stop, last)
    for hand in range(0, tree.counts[other], WIDTH):
        turn_in(reach, rows, hand, block.theirs)
    store(block.theirs, tree.counts[other], zero())
    for lane in range(stop - start):
        node = layout.ends[start + lane]
        block.terms[0, lane], block.terms[1, lane] = tree.base[node, player], tree.swing[node]
    count = tree.counts[player]
    if table < 0 or tree.sizes[table, player] < count:
        for hand in range(count):
            store(block.won, hand, zero())
    if table >= 0:
        sizes = tree.sizes[table, player], tree.sizes[table, other]
        order = tree.order[player, table], tree.order[other, table]
        holds = tree.holds[player], tree.holds[other], tree.twin[player]
        if kind == SHOWDOWN:
            groups = tree.groups[player, table], tree.groups[other, table]
            showdowns(block, *order, sizes, *groups, tree.sizes[table, 2], *holds)
        else:
            folds(block, *order, sizes, *holds)
    if kind == MATRIX:
        signs = tree.matrices[tree.matrix[layout.ends[start], player]]
        _products(block, signs, count, tree.counts[other])
    rows = _rows(layout.slot, layout.ends, start, stop, len(value) - 1)
    for hand in range(0, count, WIDTH):
        turn_out(value, rows, hand, block.won)


@inlined
def _rows(row, ends, start, stop, last):
    """The rows of a block's nodes; lanes without one have the last row."""
    last = np.intp(last)
    a = np.intp(row[ends[start]])
    b = np.intp(row[ends[start + 1]]) if start + 1 < stop else last
    c = np.intp(row[ends[start + 2]]) if start + 2 < stop else last
    d = np.intp(row[ends[start + 3]]) if start + 3 < stop else last
    e = np.intp(row[ends[start + 4]]) if start + 4 < stop else last
    f = np.intp(row[ends[start + 5]]) if start + 5 < stop else last
    g = np.intp(row[ends[start + 6]]) if start + 6 < stop else last
    h = np.intp(row[ends[start + 7]]) if start + 7 < stop else last
    return a, b, c, d, e, f, g, h
