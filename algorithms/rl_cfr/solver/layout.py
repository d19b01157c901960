"""In which order a tree is walked and where its numbers stand while it is.

A tree is cut at its chance nodes into segments: the betting of one street on one board. A walk goes
through a segment downwards (strategies and reaches), settles its terminals, goes through the
segments below, and comes back up with values. All that a segment needs is kept in rows of hands;
sibling segments use the same rows, one after the other.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tenfold.algorithms.rl_cfr.solver.lanes import WIDTH

DECISION, CHANCE, FOLD, SHOWDOWN, MATRIX, LEAF = range(6)


class Layout(NamedTuple):
    """N nodes, S segments, B blocks.

    Attributes:
        slot: (N,) row of a node's values.
        below: (N,) first of the rows of a decision's children.
        reached: (N, 2) rows of both players' reaches at a node; row 0 are the ranges.
        grown: (N,) first of the rows of the reaches that a decision's player has after it.
        events: (2S,) segment s on entering it, ``~s`` on leaving it, in the order of a walk.
        tasks: (tasks + 1,) where in `events` the segments below the root's segment start: what is
            below the first cards, each apart from the others.
        level: (S,) streets since the root.
        roots: (S,) first node of a segment.
        deciders: Decisions by segment, each segment's in preorder.
        decider_bounds: (S + 1,).
        others: Chance nodes and leaves by segment.
        other_bounds: (S + 1,).
        ends: Terminals by segment and block.
        blocks: (B + 1,) bounds in `ends`: terminals on one board, at most `WIDTH`; the first one's
            kind says how they are settled.
        block_bounds: (S + 1,) a segment's blocks.
        shape: (3,) rows of reaches (the last one stays 0) and of values (the last one is nobody's);
            rows of the root's segment among the reaches.
    """

    slot: NDArray[np.int32]
    below: NDArray[np.int32]
    reached: NDArray[np.int32]
    grown: NDArray[np.int32]
    events: NDArray[np.int32]
    tasks: NDArray[np.int32]
    level: NDArray[np.int32]
    roots: NDArray[np.int32]
    deciders: NDArray[np.int32]
    decider_bounds: NDArray[np.int32]
    others: NDArray[np.int32]
    other_bounds: NDArray[np.int32]
    ends: NDArray[np.int32]
    blocks: NDArray[np.int32]
    block_bounds: NDArray[np.int32]
    shape: NDArray[np.int64]


def lay_out(
    kind: NDArray[np.int32],
    parent: NDArray[np.int32],
    action: NDArray[np.int32],
    player: NDArray[np.int32],
    actions: NDArray[np.int32],
    table: NDArray[np.int32],
    matrix: NDArray[np.int32],
) -> Layout:
    """The layout of a tree, from the columns of `PublicTree`."""
    segments = 1 + int((kind[np.maximum(parent, 0)] == CHANCE)[1:].sum())
    segment, upper, level, roots, rows, slots = _cut(kind, parent, player, actions, segments)
    wide = np.zeros((int(level.max()) + 1, 3), np.int64)
    for column, each in enumerate((rows[:, 0], rows[:, 1], slots)):
        np.maximum.at(wide[:, column], level, each)
    starts = np.cumsum(wide, axis=0) - wide
    starts[:, :2] += 1  # row 0: the ranges
    numbers = _number(kind, parent, action, player, actions, segment, roots, starts[level])
    events = _events(upper)
    first = np.flatnonzero((events >= 0) & (level[np.maximum(events, 0)] == 1))
    parts = []
    for kinds in ((DECISION,), (CHANCE, LEAF)):
        nodes = np.flatnonzero(np.isin(kind, kinds))
        nodes = nodes[np.argsort(segment[nodes], kind="stable")]
        parts += [nodes, np.searchsorted(segment[nodes], np.arange(segments + 1))]
    ends = np.flatnonzero(np.isin(kind, (FOLD, SHOWDOWN, MATRIX)))
    keys = np.stack([segment[ends], table[ends], *matrix[ends].T])
    # Showdowns come before folds, which may stand in for showdowns that win nothing.
    order = np.lexsort((-kind[ends], *keys[::-1]))
    ends, keys = ends[order], keys[:, order]
    new = np.ones(len(ends), np.bool_)
    new[1:] = (keys[:, 1:] != keys[:, :-1]).any(axis=0)
    since = np.arange(len(ends)) - np.maximum.accumulate(np.where(new, np.arange(len(ends)), 0))
    blocks = np.flatnonzero(since % WIDTH == 0)
    bounds = np.searchsorted(keys[0, blocks], np.arange(segments + 1))
    deepest = wide.sum(axis=0)
    shape = np.array([deepest[:2].max() + 2, deepest[2] + 1, wide[0, :2].max() + 1])
    columns = [
        *(*numbers, events, np.append(first, len(events) - 1), level, roots),
        *(*parts, ends, np.append(blocks, len(ends)), bounds),
    ]
    return Layout._make([*(np.ascontiguousarray(each, np.int32) for each in columns), shape])


@njit(cache=True)
def _cut(kind, parent, player, actions, segments):
    """Segments, in the order of their first nodes, and what each needs."""
    segment = np.zeros(len(kind), np.int32)
    upper = np.full(segments, -1, np.int32)
    level = np.zeros(segments, np.int32)
    roots = np.zeros(segments, np.int32)
    rows = np.zeros((segments, 2), np.int64)
    slots = np.ones(segments, np.int64)
    found = 0
    for node in range(len(kind)):
        above = parent[node]
        if above < 0 or kind[above] == CHANCE:
            segment[node], roots[found] = found, node
            if above >= 0:
                upper[found] = segment[above]
                level[found] = level[upper[found]] + 1
            found += 1
        else:
            segment[node] = segment[above]
        if kind[node] == DECISION:
            rows[segment[node], player[node]] += actions[node]
            slots[segment[node]] += actions[node]
    return segment, upper, level, roots, rows, slots


@njit(cache=True)
def _number(kind, parent, action, player, actions, segment, roots, free):
    """Rows of values and reaches; `free` is (S, 3): each segment's next rows, and changes."""
    slot, below, grown = np.zeros((3, len(kind)), np.int32)
    reached = np.zeros((len(kind), 2), np.int32)
    for node in range(len(kind)):
        above, part = parent[node], segment[node]
        if above >= 0:
            for who in range(2):  # a row at once would compile the texts of NumPy's errors
                reached[node, who] = reached[above, who]
        if roots[part] == node:
            slot[node] = free[part, 2]
            free[part, 2] += 1
        else:
            slot[node] = below[above] + action[node]
            reached[node, player[above]] = grown[above] + action[node]
        if kind[node] == DECISION:
            below[node], grown[node] = free[part, 2], free[part, player[node]]
            free[part, 2] += actions[node]
            free[part, player[node]] += actions[node]
    return slot, below, reached, grown


@njit(cache=True)
def _events(parent):
    """Entering and leaving the nodes of any tree in preorder."""
    events = np.zeros(2 * len(parent), np.int32)
    path = np.zeros(len(parent) + 1, np.int32)
    count, deep = 0, 0
    for node in range(len(parent)):
        while deep and path[deep - 1] != parent[node]:
            deep -= 1
            events[count] = ~path[deep]
            count += 1
        events[count], path[deep] = node, node
        count, deep = count + 1, deep + 1
    while deep:
        deep -= 1
        events[count] = ~path[deep]
        count += 1
    return events
