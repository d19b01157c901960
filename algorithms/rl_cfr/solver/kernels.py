"""The compiled walk over a public tree: one call is one player's whole traversal, or a part of it.

Nothing is allocated inside; `Buffers` holds the rows that `Layout` numbers. They belong to one
segment of each street at a time, so they stay in the cache.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tenfold.algorithms.rl_cfr.solver.layout import CHANCE
from tenfold.algorithms.rl_cfr.solver.signals import count_up, yield_processor
from tenfold.algorithms.rl_cfr.solver.terminals import (
    DECK,
    LINE,
    Block,
    aligned_zeros,
    compiled,
    inlined,
    make_block,
    settle,
)
from tenfold.algorithms.rl_cfr.solver.tree import PublicTree

__all__ = [
    "AVERAGE",
    "BEST",
    "COUNTERS",
    "DECK",
    "LEAVES",
    "TINY",
    "UPDATE",
    "WHOLE",
    "Buffers",
    "make_buffers",
]

WHOLE = 32_767
"""Compressed numbers are whole ones up to this, times a scale of their decision."""

TINY = 1e-30
"""Reaches below this count as 0: numbers near the least float32 are slow to multiply."""

UPDATE, AVERAGE, BEST, LEAVES = range(4)
"""What a walk is for: new regrets; values of the average strategy, or of best answers; reaches."""

BEGUN, TAKEN, ENDED = range(3)
"""Counters of `traverse`: walks that began, parts that were asked for, threads that have none."""
COUNTERS = 3

Array = NDArray[np.floating]


class Buffers(NamedTuple):
    """Scratch space of a walk; the rows are those of `Layout`.

    Attributes:
        reach: (2, rows, hands) reach of the other player; of the player that the walk is for, the
            probability that its own actions lead here.
        sigma: (rows, hands) the player's strategies, in the rows of the reaches after them.
        value: (rows, hands) the player's counterfactual values.
        norm: (2, hands) scratch.
        wide: (actions, hands) new numbers of a decision before they are compressed.
        tasks: (tasks, hands) values of the segments after the first cards.
        leaf_values: (leaves, hands) what the leaf evaluator said, for the walk's player; a walk for
            `LEAVES` puts the other player's reach there.
        block: `Block`.
    """

    reach: Array
    sigma: Array
    value: Array
    norm: Array
    wide: Array
    tasks: Array
    leaf_values: Array
    block: Block


def make_buffers(tree: PublicTree) -> Buffers:
    """Buffers for walks over a tree, in the tree's precision."""
    dtype = tree.swing.dtype
    whole = LINE // dtype.itemsize  # rows begin with a cache line, too
    hands = -(-tree.held.shape[1] // whole) * whole
    rows, slots, _ = tree.layout.shape.tolist()
    return Buffers(
        reach=aligned_zeros((2, rows, hands), dtype),
        sigma=aligned_zeros((rows, hands), dtype),
        value=aligned_zeros((slots, hands), dtype),
        norm=aligned_zeros((2, hands), dtype),
        wide=aligned_zeros((tree.actions.max(initial=1), hands), dtype),
        tasks=aligned_zeros((len(tree.layout.tasks) - 1, hands), dtype),
        leaf_values=aligned_zeros((tree.leaves, hands), dtype),
        block=make_block(hands),
    )


@inlined
def _copy(source, into):
    for hand in range(len(into)):
        into[hand] = source[hand]


@inlined
def _match_regrets(mass, first, count, into, row, norm):
    """The strategy in proportion to the positive part of the mass; uniform where there is none.

    Args:
        mass: Regrets, or sums of strategies, flat.
        first: Where this decision's (count, hands) numbers begin.
        count: Number of actions.
        into: (rows, hands) out, from `row` on.
        row: First row of the strategy.
        norm: (hands,) scratch.
    """
    hands = len(norm)
    zero = norm.dtype.type(0)
    one = norm.dtype.type(1)
    uniform = norm.dtype.type(1.0 / count)
    for a in range(count):
        start = first + a * hands
        numbers, sigma = mass[start : start + hands], into[row + a]
        for hand in range(hands):
            positive = max(norm.dtype.type(numbers[hand]), zero)
            sigma[hand] = positive
            norm[hand] = positive if a == 0 else norm[hand] + positive
    for hand in range(hands):
        norm[hand] = one / norm[hand] if norm[hand] > zero else zero
    for a in range(count):
        sigma = into[row + a]
        for hand in range(hands):
            scale = norm[hand]
            sigma[hand] = sigma[hand] * scale if scale > zero else uniform


@inlined
def _hold(fixed, start, count, into, row, hands):
    """Put fixed probabilities, from `start` on, into the rows of `_match_regrets`'s strategy."""
    for a in range(count):
        share, sigma = fixed[start + a * hands : start + (a + 1) * hands], into[row + a]
        for hand in range(hands):
            if share[hand] >= 0:
                sigma[hand] = share[hand]


@inlined
def _hold_value(tree, node, value, buffers):
    """What a decision is worth to hands whose probabilities are fixed."""
    hands, below = len(value), tree.layout.below[node]
    for a in range(tree.actions[node]):
        start = tree.locked[node] + a * hands
        share, child = tree.fixed[start : start + hands], buffers.value[below + a]
        for hand in range(hands):
            if share[hand] >= 0:
                value[hand] = share[hand] * child[hand] + (value[hand] if a else 0)


@inlined
def _make_alike(orbit, value, total, members):
    """Every hand gets the mean of the hands that are alike.

    A card's subgame may break ties between them in its own way; the mean is what it is worth to
    draw which renaming is played.

    Args:
        orbit: (hands,) see `PublicTree`.
        value: (hands,) of a chance node; changed.
        total: (hands,) scratch.
        members: (hands,) scratch.
    """
    total[:] = 0
    members[:] = 0
    for hand in range(len(value)):
        total[orbit[hand]] += value[hand]
        members[orbit[hand]] += 1
    for hand in range(len(value)):
        value[hand] = total[orbit[hand]] / members[orbit[hand]]


@inlined
def _compress(wide, numbers, first, count, hands, largest):
    """Write a decision's numbers as whole ones; returns their scale."""
    whole = wide.dtype.type(WHOLE)
    factor = whole / largest if largest > 0 else wide.dtype.type(0)
    for a in range(count):
        into = numbers[first + a * hands : first + (a + 1) * hands]
        source = wide[a]
        for hand in range(hands):
            into[hand] = np.int16(np.rint(source[hand] * factor))
    return largest / whole


@inlined
def _down(tree, segment, player, mass, sums, scales, weights, mode, buffers):
    """Strategies, reaches and terminals of a segment; in an update also the averages."""
    layout, other = tree.layout, 1 - player
    weight, keep = weights[2], weights[3]
    tiny, zero = buffers.norm.dtype.type(TINY), buffers.norm.dtype.type(0)
    for place in range(layout.decider_bounds[segment], layout.decider_bounds[segment + 1]):
        node = layout.deciders[place]
        who, count, grown = tree.player[node], tree.actions[node], layout.grown[node]
        own = who == player
        if own and mode in (BEST, LEAVES):
            continue
        hands, first = tree.counts[who], tree.first[node]
        rows = buffers.reach[who]
        into = buffers.sigma if own else rows
        _match_regrets(mass, first, count, into, grown, buffers.norm[0, :hands])
        if tree.alike[node] >= 0:
            # In exact arithmetic hands that are alike have one strategy anyway. But a regret that
            # is 0 for one of them and 1e-17 for another, by rounding alone, decides between two
            # pure strategies, and a subgame that stands for its images needs reaches that are the
            # same under every renaming.
            orbit = tree.orbit[who, tree.alike[node]]
            for a in range(count):
                sigma = into[grown + a]
                for hand in range(hands):
                    sigma[hand] = sigma[orbit[hand]]
        if tree.locked[node] >= 0:
            _hold(tree.fixed, tree.locked[node], count, into, grown, hands)
        if own and mode == AVERAGE:
            continue
        above = rows[layout.reached[node, who]]
        largest = zero
        for a in range(count):
            sigma, after = into[grown + a], rows[grown + a]
            if own and scales is not None:
                average, new = sums[first + a * hands : first + (a + 1) * hands], buffers.wide[a]
                old = keep * scales[1, node]
                for hand in range(hands):
                    product = above[hand] * sigma[hand]
                    new[hand] = old * average[hand] + weight * product
                    largest = max(largest, new[hand])
                    after[hand] = product if product > tiny else zero
            elif own:
                average = sums[first + a * hands : first + (a + 1) * hands]
                for hand in range(hands):
                    product = above[hand] * sigma[hand]
                    average[hand] = keep * average[hand] + weight * product
                    after[hand] = product if product > tiny else zero
            else:  # the strategy stands where the reach comes: named once, it is no overlap
                for hand in range(hands):
                    product = above[hand] * after[hand]
                    after[hand] = product if product > tiny else zero
        if own and scales is not None:
            scales[1, node] = _compress(buffers.wide, sums, first, count, hands, largest)
    for place in range(layout.other_bounds[segment], layout.other_bounds[segment + 1]):
        node = layout.others[place]
        value = buffers.value[layout.slot[node]]
        if tree.kind[node] == CHANCE:
            value[:] = zero
        elif mode == LEAVES:
            reach = buffers.reach[other, layout.reached[node, other]]
            _copy(reach, buffers.leaf_values[tree.row[node]])
        else:
            _copy(buffers.leaf_values[tree.row[node]], value)
    if mode == LEAVES:
        return
    for number in range(layout.block_bounds[segment], layout.block_bounds[segment + 1]):
        settle(tree, number, player, buffers.reach[other], buffers.value, buffers.block)


@inlined
def _regret(tree, node, value, regrets, forecast, scales, weights, predictive, buffers):
    """New regrets of a decision, from its value and those of its actions."""
    layout, hands = tree.layout, len(value)
    keep_positive, keep_negative = weights[0], weights[1]
    zero = keep_positive * 0
    largest = zero
    for a in range(tree.actions[node]):
        start = tree.first[node] + a * hands
        total = regrets[start : start + hands]
        child = buffers.value[layout.below[node] + a]
        if scales is not None:
            new, scale = buffers.wide[a], scales[0, node]
            for hand in range(hands):
                old = scale * total[hand]
                kept = old * (keep_positive if old > zero else keep_negative)
                new[hand] = kept + child[hand] - value[hand]
                largest = max(largest, abs(new[hand]))
        elif predictive:
            last = forecast[start : start + hands]
            for hand in range(hands):
                gain = child[hand] - value[hand]
                total[hand] = max(total[hand] * keep_positive + gain, zero)
                last[hand] = total[hand] + gain
        else:
            for hand in range(hands):
                old = total[hand]
                kept = old * (keep_positive if old > zero else keep_negative)
                total[hand] = kept + child[hand] - value[hand]
    if scales is not None:
        first = tree.first[node]
        scales[0, node] = _compress(
            buffers.wide, regrets, first, tree.actions[node], hands, largest
        )


@inlined
def _up(
    tree,
    segment,
    player,
    regrets,
    forecast,
    scales,
    weights,
    mode,
    predictive,
    decision,
    values,
    buffers,
):
    """Values of a segment; in an update also its regrets."""
    layout, hands = tree.layout, tree.counts[player]
    for place in range(layout.other_bounds[segment], layout.other_bounds[segment + 1]):
        node = layout.others[place]
        if tree.kind[node] == CHANCE and tree.alike[node] >= 0:
            value, scratch = buffers.value[layout.slot[node], :hands], buffers.norm
            orbit = tree.orbit[player, tree.alike[node]]
            _make_alike(orbit, value, scratch[0, :hands], scratch[1, :hands])
    start, stop = layout.decider_bounds[segment], layout.decider_bounds[segment + 1]
    for back in range(stop - start):
        node = layout.deciders[stop - 1 - back]
        own, below = tree.player[node] == player, layout.below[node]
        value = buffers.value[layout.slot[node], :hands]
        if node == decision:
            for a in range(tree.actions[node]):
                for hand in range(hands):
                    values[a, hand] = buffers.value[below + a, hand]
        for a in range(tree.actions[node]):
            child = buffers.value[below + a]
            if own and mode != BEST:
                sigma = buffers.sigma[layout.grown[node] + a]
                if a == 0:
                    for hand in range(hands):
                        value[hand] = sigma[hand] * child[hand]
                else:
                    for hand in range(hands):
                        value[hand] += sigma[hand] * child[hand]
            elif a == 0:
                for hand in range(hands):
                    value[hand] = child[hand]
            elif own:
                for hand in range(hands):
                    value[hand] = max(value[hand], child[hand])
            else:
                for hand in range(hands):
                    value[hand] += child[hand]
        if own and mode == BEST and tree.locked[node] >= 0:
            _hold_value(tree, node, value, buffers)
        if own and mode == UPDATE:
            args = tree, node, value, regrets, forecast, scales, weights, predictive
            _regret(*args, buffers)


@inlined
def _pass_chance(tree, root, player, value, buffers):
    """Add a child's values, and those of the children that it stands for, to a chance node."""
    total = buffers.value[tree.layout.slot[tree.parent[root]]]
    hands = tree.counts[player]
    start, stop = tree.members[root]
    if start == stop:
        for hand in range(hands):
            total[hand] += value[hand]
    for member in range(start, stop):
        renaming = tree.renamings[player, member]
        for hand in range(hands):
            total[renaming[hand]] += value[hand]


@compiled
def walk(
    tree,
    player,
    regrets,
    forecast,
    sums,
    scales,
    weights,
    mode,
    predictive,
    decision,
    values,
    start,
    stop,
    buffers,
):
    """A part of one player's traversal: the events from `start` to `stop` of its layout.

    Args:
        tree: `PublicTree`.
        player: Whose regrets or values.
        regrets: Flat, see `PublicTree.first`.
        forecast: Regrets plus those of the last iteration alone, which strategies follow if
            `predictive` (PCFR+); else not used.
        sums: Weighted sums of strategies times reach.
        scales: (2, nodes) what regrets and sums of a decision are to be multiplied by, where they
            are whole numbers; None where they are not.
        weights: (4,) `Weights`.
        mode: What the walk is for. Only an update follows and changes regrets; `AVERAGE` and `BEST`
            go by the sums, `LEAVES` by those of `sums`, too.
        predictive: Whether strategies follow the forecast.
        decision: A decision whose actions' values are wanted too; -1 for none.
        values: (A, hands) out, those of its A actions.
        start: First event.
        stop: Behind the last one.
        buffers: `Buffers`; row 0 of the reaches is to be set, ``value[0]`` holds the result.
    """
    mass = sums if mode != UPDATE else forecast if predictive else regrets
    layout = tree.layout
    task = 0
    for place in range(start, stop):
        event = layout.events[place]
        if event >= 0:
            _down(tree, event, player, mass, sums, scales, weights, mode, buffers)
            continue
        segment = ~event
        if mode == LEAVES:
            continue
        if layout.level[segment] == 0:
            for each in range(len(layout.tasks) - 1):
                root = layout.roots[~layout.events[layout.tasks[each + 1] - 1]]
                _pass_chance(tree, root, player, buffers.tasks[each], buffers)
        args = tree, segment, player, regrets, forecast, scales, weights, mode, predictive
        _up(*args, decision, values, buffers)
        root = layout.roots[segment]
        value = buffers.value[layout.slot[root]]
        if layout.level[segment] == 1:
            while layout.tasks[task + 1] <= place:
                task += 1
            _copy(value, buffers.tasks[task])
        elif layout.level[segment] > 1:
            _pass_chance(tree, root, player, value, buffers)


@inlined
def _wait(counters, which, count):
    """Until a counter has got so far."""
    while count_up(counters, which, 0) < count:
        yield_processor()


@compiled
def traverse(
    tree,
    ranges,
    players,
    regrets,
    forecast,
    sums,
    scales,
    weights,
    mode,
    predictive,
    decision,
    values,
    bounds,
    counters,
    threads,
    thread,
    shared,
    buffers,
):
    """One thread's part of many traversals: for each weights one of each player, in their order.

    Thread 0 walks the street at the root. All of them take what is below its cards, part by part,
    from the same counter. With one thread there are no parts, and the first walk is the whole one.

    Args:
        tree: `PublicTree`.
        ranges: (2, hands) weights of the hands at the root.
        players: (p,) whose traversals.
        regrets: As in `walk`, as are the next three and those after the weights.
        forecast: As in `walk`.
        sums: As in `walk`.
        scales: As in `walk`.
        weights: (iterations, 4).
        mode: As in `walk`.
        predictive: As in `walk`.
        decision: As in `walk`.
        values: As in `walk`.
        bounds: (parts + 1,) of the parts, in `Layout.events`.
        counters: See `make_counters`; `COUNTERS` of them, all 0, for these threads alone.
        threads: How many there are.
        thread: Which one this is.
        shared: `Buffers` of thread 0.
        buffers: Of this thread, with the `tasks` and `leaf_values` of thread 0.
    """
    parts, stop = len(bounds) - 1, len(tree.layout.events)
    walks = 0
    for t in range(len(weights)):
        for player in players:
            args = tree, player, regrets, forecast, sums, scales, weights[t], mode, predictive
            if thread == 0:
                enter(ranges, player, shared)
                walk(*args, decision, values, 0, bounds[0], shared)
                count_up(counters, BEGUN, 1)
            else:
                _wait(counters, BEGUN, walks + 1)
                for row in range(tree.layout.shape[2]):
                    for who in range(2):
                        _copy(shared.reach[who, row], buffers.reach[who, row])
            # In each walk every thread asks once in vain.
            before = walks * (parts + threads)
            part = count_up(counters, TAKEN, 1) - before
            while part < parts:
                walk(*args, decision, values, bounds[part], bounds[part + 1], buffers)
                part = count_up(counters, TAKEN, 1) - before
            walks += 1
            count_up(counters, ENDED, 1)
            if thread == 0:
                _wait(counters, ENDED, walks * threads)
                walk(*args, decision, values, bounds[parts], stop, shared)


@inlined
def enter(ranges, player, buffers):
    """Set the reaches at the root for a player's walk."""
    _copy(ranges[1 - player], buffers.reach[1 - player, 0, : ranges.shape[1]])
    buffers.reach[player, 0, :] = 1
