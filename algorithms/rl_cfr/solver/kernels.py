"""The compiled walks over a public tree: one call is one player's whole traversal.

Nothing is allocated inside; `Buffers` holds one vector of hands a level. Reaches and values live on
the path from the root to the current node only, so they stay in the cache.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tenfold.algorithms.rl_cfr.solver.tree import (
    CHANCE,
    DECISION,
    LEAF,
    MATRIX,
    SHOWDOWN,
    PublicTree,
)

DECK = 52
TINY = 1e-30
"""Reaches below this count as 0: numbers near the least float32 are slow to multiply."""

# Nothing is allocated here, so nothing needs counting. With Numba's counting of references an
# iteration of leduc_poker takes 3.6 times as long and one of a full river 1.1 times (Numba 0.68.1,
# medians of nine blocks); arrays without an owner, by a public intrinsic, leave Leduc at 3.5 times.
# Hence this option, which Numba keeps private: constraints.txt pins the version.
compiled = njit(cache=True, fastmath=True, nogil=True, _nrt=False)
inlined = njit(cache=True, fastmath=True, nogil=True, _nrt=False, forceinline=True)

Array = NDArray[np.floating]


class Buffers(NamedTuple):
    """Scratch space of a walk: D levels, A the most actions of a decision, H hands.

    Attributes:
        reach: (D, H) the opponent's reach.
        own: (D, H) the probability that the player's own actions lead here, by hand.
        value: (D, H) counterfactual values of the player that the walk is for.
        sigma: (D, A, H) the strategy of the decision on each level.
        level: (D,) the row of `reach` that holds on each level.
        own_level: (D,) the same of `own`.
        card_sum: (2, 52) float64, reach by card: all hands, and the weaker ones so far.
        leaf_values: (leaves, H) what the leaf evaluator said, for the walk's player.
    """

    reach: Array
    own: Array
    value: Array
    sigma: Array
    level: NDArray[np.int32]
    own_level: NDArray[np.int32]
    card_sum: NDArray[np.float64]
    leaf_values: Array


def make_buffers(tree: PublicTree) -> Buffers:
    """Buffers for walks over a tree, in the tree's precision."""
    levels, hands, dtype = int(tree.depth.max()) + 1, tree.hands, tree.swing.dtype
    return Buffers(
        reach=np.zeros((levels, hands), dtype),
        own=np.ones((levels, hands), dtype),
        value=np.zeros((levels, hands), dtype),
        sigma=np.zeros((levels, max(int(tree.actions.max()), 1), hands), dtype),
        level=np.zeros(levels, np.int32),
        own_level=np.zeros(levels, np.int32),
        card_sum=np.zeros((2, DECK)),
        leaf_values=np.zeros((tree.leaves, hands), dtype),
    )


@inlined
def _copy(source, into):
    for hand in range(len(into)):
        into[hand] = source[hand]


@compiled
def showdown(out, reach, order, size, groups, group_count, cards, base, swing, card_sum):
    """Add base times the mass of dealable hands, and swing times (weaker - stronger) of them.

    One pass sums the reach by card; one pass over groups of equal strength takes, for each hand,
    the reach of weaker hands before its group and of weaker or equal ones after it. Hands that
    share a card are subtracted by the sums of both cards; the hand itself, in both sums, is added
    back once it has been counted.
    """
    total = _card_sums(card_sum[0], reach, order, size, cards)
    weaker = card_sum[1]
    weaker[:] = 0.0
    below = 0.0
    for group in range(group_count):
        start, stop = groups[group], groups[group + 1]
        for place in range(start, stop):
            hand = order[place]
            c1, c2 = cards[hand, 0], cards[hand, 1]
            every = total - card_sum[0, c1] - card_sum[0, c2] + reach[hand]
            won = below - weaker[c1] - weaker[c2]
            out[hand] = (base - swing) * every + swing * won
        for place in range(start, stop):
            hand = order[place]
            weight = reach[hand]
            below += weight
            weaker[cards[hand, 0]] += weight
            weaker[cards[hand, 1]] += weight
        for place in range(start, stop):
            hand = order[place]
            c1, c2 = cards[hand, 0], cards[hand, 1]
            out[hand] += swing * (below - weaker[c1] - weaker[c2] + reach[hand])


@compiled
def dealable(out, reach, order, size, cards, base, card_sum):
    """Base times the opponent's reach over hands that share no card with each hand: folds."""
    total = _card_sums(card_sum[0], reach, order, size, cards)
    for place in range(size):
        hand = order[place]
        c1, c2 = cards[hand, 0], cards[hand, 1]
        out[hand] = base * (total - card_sum[0, c1] - card_sum[0, c2] + reach[hand])


@inlined
def _card_sums(card_sum, reach, order, size, cards):
    card_sum[:] = 0.0
    total = 0.0
    for place in range(size):
        hand = order[place]
        weight = reach[hand]
        total += weight
        card_sum[cards[hand, 0]] += weight
        card_sum[cards[hand, 1]] += weight
    return total


@inlined
def _terminal(tree, node, player, reach, out, card_sum):
    table = tree.table[node]
    out[:] = 0
    base, swing = tree.base[node, player], tree.swing[node]
    if tree.kind[node] == SHOWDOWN:
        size, groups = tree.sizes[table]
        args = (tree.order[table], size, tree.groups[table], groups, tree.cards)
        showdown(out, reach, *args, base, swing, card_sum)
        return
    if table >= 0:
        dealable(out, reach, tree.order[table], tree.sizes[table, 0], tree.cards, base, card_sum)
    if tree.kind[node] == MATRIX:
        signs = tree.matrices[tree.matrix[node, player]]
        for hand in range(len(out)):
            total = swing * 0
            for other in range(len(reach)):
                total += signs[hand, other] * reach[other]
            out[hand] += swing * total


@inlined
def match(sigma, mass, count, norm):
    """The strategy in proportion to the positive part of the mass; uniform where there is none.

    Args:
        sigma: (A, H) out.
        mass: (A, H) regrets, or sums of strategies.
        count: Number of actions.
        norm: (H,) scratch.
    """
    zero = sigma.dtype.type(0)
    one = sigma.dtype.type(1)
    uniform = sigma.dtype.type(1.0 / count)
    norm[:] = zero
    for a in range(count):
        for hand in range(len(norm)):
            positive = max(mass[a, hand], zero)
            sigma[a, hand] = positive
            norm[hand] += positive
    for hand in range(len(norm)):
        norm[hand] = one / norm[hand] if norm[hand] > zero else zero
    for a in range(count):
        for hand in range(len(norm)):
            scale = norm[hand]
            sigma[a, hand] = sigma[a, hand] * scale if scale > zero else uniform


@inlined
def _strategy(tree, node, mass, sigma, norm):
    """`match` at a decision; hands that are alike there get the strategy of the first of them.

    In exact arithmetic they have it anyway. But a regret that is 0 for one of them and 1e-17 for
    another, by rounding alone, decides between two pure strategies, and a subgame that stands for
    its images needs reaches that are the same under every renaming.
    """
    row, count = tree.row[node], tree.actions[node]
    match(sigma, mass[row : row + count], count, norm)
    if tree.alike[node]:
        for a in range(count):
            for hand in range(len(norm)):
                sigma[a, hand] = sigma[a, tree.orbit[hand]]


@inlined
def _make_alike(tree, value, total, members):
    """Every hand gets the mean of the hands that are alike.

    A card's subgame may break ties between them in its own way; the mean is what it is worth to
    draw which renaming is played.

    Args:
        tree: `PublicTree`.
        value: (H,) of a chance node; changed.
        total: (H,) scratch.
        members: (H,) scratch.
    """
    total[:] = 0
    members[:] = 0
    for hand in range(len(value)):
        total[tree.orbit[hand]] += value[hand]
        members[tree.orbit[hand]] += 1
    for hand in range(len(value)):
        value[hand] = total[tree.orbit[hand]] / members[tree.orbit[hand]]


@inlined
def _enter(tree, node, player, reach, level, buffers):
    """Set the reach of those who are not `player` at a node: a row of `reach`, named by `level`."""
    depth, above = tree.depth[node], tree.parent[node]
    if above < 0:
        level[0] = 0
    elif tree.kind[above] == DECISION and tree.player[above] != player:
        source, into = reach[level[depth - 1]], reach[depth]
        sigma = buffers.sigma[depth - 1, tree.action[node]]
        tiny, zero = reach.dtype.type(TINY), reach.dtype.type(0)
        for hand in range(len(into)):
            product = source[hand] * sigma[hand]
            into[hand] = product if product > tiny else zero
        level[depth] = depth
    else:
        level[depth] = level[depth - 1]


@inlined
def _close(tree, node, player, reach, buffers):
    """Value of a node without actions; a chance node starts from 0."""
    out = buffers.value[tree.depth[node]]
    if tree.kind[node] == CHANCE:
        out[:] = 0
    elif tree.kind[node] == LEAF:
        _copy(buffers.leaf_values[tree.row[node]], out)
    else:
        _terminal(tree, node, player, reach, out, buffers.card_sum)


@inlined
def _pass_chance(tree, node, buffers):
    """Add a child's values, and those of the children that it stands for, to a chance node."""
    depth = tree.depth[node]
    value, total = buffers.value[depth], buffers.value[depth - 1]
    start, stop = tree.members[node]
    if start == stop:
        for hand in range(len(value)):
            total[hand] += value[hand]
    for member in range(start, stop):
        renaming = tree.renamings[member]
        for hand in range(len(value)):
            total[renaming[hand]] += value[hand]


@compiled
def update(tree, player, ranges, regrets, forecast, sums, weights, predictive, buffers):
    """One player's traversal: its strategy into its average, then its new regrets.

    Args:
        tree: `PublicTree`.
        player: Whose regrets.
        ranges: (2, H) weights of the hands at the root.
        regrets: (rows, H).
        forecast: (rows, H) regrets plus those of the last iteration alone, which strategies follow
            if `predictive` (PCFR+); else not used.
        sums: (rows, H) weighted sums of strategies times reach.
        weights: (3,) what positive and negative regrets are multiplied by, and the weight of this
            iteration in the average.
        predictive: Whether strategies follow the forecast.
        buffers: `Buffers`.
    """
    _copy(ranges[1 - player], buffers.reach[0])
    keep_positive, keep_negative, weight = weights
    zero = keep_positive * 0
    for event in tree.events:
        node = event if event >= 0 else ~event
        depth, above = tree.depth[node], tree.parent[node]
        value, row, count = buffers.value[depth], tree.row[node], tree.actions[node]
        own = tree.player[node] == player
        decision = tree.kind[node] == DECISION
        if event >= 0:
            _enter(tree, node, player, buffers.reach, buffers.level, buffers)
            _enter(tree, node, 1 - player, buffers.own, buffers.own_level, buffers)
            reach = buffers.reach[buffers.level[depth]]
            if not decision:
                _close(tree, node, player, reach, buffers)
                continue
            sigma = buffers.sigma[depth]
            if predictive:
                _strategy(tree, node, forecast, sigma, value)
            else:
                _strategy(tree, node, regrets, sigma, value)
            value[:] = zero
            if not own:
                continue
            reach = buffers.own[buffers.own_level[depth]]
            for a in range(count):
                total, average = regrets[row + a], sums[row + a]
                for hand in range(len(total)):
                    r = total[hand]
                    total[hand] = r * (keep_positive if r > zero else keep_negative)
                    average[hand] += weight * reach[hand] * sigma[a, hand]
            continue
        if decision and own:
            for a in range(count):
                total = regrets[row + a]
                if predictive:
                    last = forecast[row + a]
                    for hand in range(len(total)):
                        gain = last[hand] - value[hand]
                        total[hand] = max(total[hand] + gain, zero)
                        last[hand] = total[hand] + gain
                else:
                    for hand in range(len(total)):
                        total[hand] -= value[hand]
        if above < 0:
            continue
        if tree.kind[node] == CHANCE and tree.alike[node]:
            _make_alike(tree, value, buffers.own[depth], buffers.sigma[depth, 0])
        if tree.kind[above] == CHANCE:
            _pass_chance(tree, node, buffers)
            continue
        into, a = buffers.value[depth - 1], tree.action[node]
        if tree.player[above] != player:
            for hand in range(len(value)):
                into[hand] += value[hand]
            continue
        sigma = buffers.sigma[depth - 1, a]
        line = tree.row[above] + a
        if predictive:
            _copy(value, forecast[line])
            for hand in range(len(value)):
                into[hand] += sigma[hand] * value[hand]
        else:
            total = regrets[line]
            for hand in range(len(value)):
                into[hand] += sigma[hand] * value[hand]
                total[hand] += value[hand]


@compiled
def iterate(tree, ranges, regrets, forecast, sums, weights, predictive, buffers):
    """Many iterations, player 0 before player 1 in each: `weights` is (iterations, 3)."""
    for t in range(len(weights)):
        for player in range(2):
            args = (tree, player, ranges, regrets, forecast, sums, weights[t])
            update(*args, predictive, buffers)


@compiled
def evaluate(tree, player, ranges, sums, best, decision, values, buffers):
    """Values of a player's hands at the root against the opponent's average strategy.

    Args:
        tree: `PublicTree`.
        player: Whose values.
        ranges: (2, H).
        sums: (rows, H) masses of the average strategies.
        best: Whether the player answers best, or plays the average strategy.
        decision: A decision whose actions' values are wanted too; -1 for none.
        values: (A, H) out, those of its A actions.
        buffers: `Buffers`; ``buffers.value[0]`` holds the result.
    """
    _copy(ranges[1 - player], buffers.reach[0])
    for event in tree.events:
        node = event if event >= 0 else ~event
        depth, above = tree.depth[node], tree.parent[node]
        value = buffers.value[depth]
        if event >= 0:
            _enter(tree, node, player, buffers.reach, buffers.level, buffers)
            reach = buffers.reach[buffers.level[depth]]
            if tree.kind[node] != DECISION:
                _close(tree, node, player, reach, buffers)
                continue
            _strategy(tree, node, sums, buffers.sigma[depth], value)
            value[:] = 0
            continue
        if above < 0:
            continue
        if tree.kind[node] == CHANCE and tree.alike[node]:
            _make_alike(tree, value, buffers.own[depth], buffers.sigma[depth, 0])
        if tree.kind[above] == CHANCE:
            _pass_chance(tree, node, buffers)
            continue
        into, a = buffers.value[depth - 1], tree.action[node]
        if above == decision:
            _copy(value, values[a])
        sigma = buffers.sigma[depth - 1, a]
        theirs = tree.player[above] != player
        for hand in range(len(value)):
            if theirs:
                into[hand] += value[hand]
            elif not best:
                into[hand] += sigma[hand] * value[hand]
            elif a == 0 or value[hand] > into[hand]:
                into[hand] = value[hand]


@compiled
def leaf_reaches(tree, player, ranges, mass, out, buffers):
    """The reach of a player's hands at every leaf, (leaves, H), under strategies from masses.

    Args:
        tree: `PublicTree`.
        player: Whose reach.
        ranges: (2, H).
        mass: (rows, H) regrets (the current strategies) or sums (the average ones).
        out: (leaves, H).
        buffers: `Buffers`.
    """
    _copy(ranges[player], buffers.reach[0])
    for event in tree.events:
        if event < 0:
            continue
        depth = tree.depth[event]
        _enter(tree, event, 1 - player, buffers.reach, buffers.level, buffers)
        reach = buffers.reach[buffers.level[depth]]
        if tree.kind[event] == LEAF:
            _copy(reach, out[tree.row[event]])
        elif tree.kind[event] == DECISION:
            _strategy(tree, event, mass, buffers.sigma[depth], buffers.value[depth])
