"""How large a tree of a spot would be, counted without building it.

Betting does not depend on cards, so each betting line is walked once and counted as often as boards
lead to it. Nodes, numbers and boards are exact; bytes and seconds are estimates.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tenfold.algorithms.rl_cfr.solver.dealing import deal_out
from tenfold.algorithms.rl_cfr.solver.locks import Lock, symmetries_with
from tenfold.algorithms.rl_cfr.solver.subgame import Raises, legal_moves
from tenfold.algorithms.rl_cfr.solver.variants import PREDICTIVE
from tenfold.envs.poker.cards import live_hands
from tenfold.envs.poker.rules import BettingState, start
from tenfold.envs.poker.sizes import Menu, Menus
from tenfold.envs.poker.spot import BOARD_CARDS, Spot

NODE_BYTES = 92
"""Of a node's columns in a tree and its layout, without its three payoffs."""

BUILD_BYTES = 200
"""Of a node, more, while the tree is built."""

BASE_BYTES = 175_000_000
"""Of the process before there is a tree: Python, NumPy and the compiled walks."""

NODE_SECONDS, NUMBER_SECONDS, HAND_SECONDS, PRODUCT_SECONDS = 180e-9, 4e-9, 0.9e-9, 0.3e-9
"""Of an iteration on one thread: for each node, each regret, each hand at a fold or showdown, and
each pair of hands at an all-in before the river. On an AMD EPYC they are within 20 % for turns and
flops of 6,000 to 540,000 nodes, and 1.6 times too long for a river, which stays in the cache."""

RIVER = len(BOARD_CARDS) - 1

KEPT_BYTES = 8
"""Of a regret and its average in float32."""


def kept_bytes(variant: str, compressed: bool) -> int:
    """Bytes that a solver in float32 keeps for each regret: it, its average, and a forecast."""
    return 4 if compressed else KEPT_BYTES + 4 * (variant in PREDICTIVE)


@dataclass
class TreeSize:
    """The size of a tree.

    Attributes:
        hands: H, hands that the board leaves and a range holds.
        counts: Hands of each player's list.
        nodes: Of the whole tree.
        rows: Actions of all decisions together.
        numbers: Regrets: an action of a decision and a hand of its player.
        boards: Boards on which a hand can end, whatever the order of their cards.
        matrices: Matrices of boards before the river on which somebody can be all-in.
        ends: Nodes where a hand ends.
        products: Those of them where somebody is all-in before the river.
        lines: Decisions, each betting line counted once whatever the cards.
        changed: Those of `lines` below the root at which sizes of the menu are moved or merge.
        complete: Whether all was counted; else counting stopped where the memory was too much.
    """

    hands: int
    counts: tuple[int, int]
    nodes: int = 0
    rows: int = 0
    numbers: int = 0
    boards: int = 0
    matrices: int = 0
    ends: int = 0
    products: int = 0
    lines: int = 0
    changed: int = 0
    complete: bool = True

    def arrays(self, kept: int = KEPT_BYTES, itemsize: int = 4) -> int:
        """Bytes of the arrays of a tree and its solver.

        Args:
            kept: Bytes for each regret, see `kept_bytes`.
            itemsize: Bytes of any other number.
        """
        width = max(self.counts)
        # Hands in order, and bounds of their strengths, of which there are about half as many.
        tables = self.boards * (2 * width + width) * 4
        matrices = self.matrices * self.counts[0] * self.counts[1] * itemsize
        nodes = self.nodes * (NODE_BYTES + 3 * itemsize)
        return kept * self.numbers + tables + matrices + nodes

    def memory(self, kept: int = KEPT_BYTES, itemsize: int = 4) -> int:
        """Bytes that a process needs at most, to build and to solve it; see `arrays`."""
        # Matrices are counted in float32 before they are put together.
        building = self.nodes * BUILD_BYTES + self.matrices * self.counts[0] * self.counts[1] * 4
        return BASE_BYTES + building + self.arrays(kept, itemsize)

    def seconds(self, threads: int = 1) -> float:
        """Of an iteration, about; a river and what comes before the first card have one thread."""
        pairs = self.counts[0] * self.counts[1]
        return (
            NODE_SECONDS * self.nodes
            + NUMBER_SECONDS * self.numbers
            + HAND_SECONDS * self.ends * 2 * sum(self.counts)
            + PRODUCT_SECONDS * self.products * 2 * pairs
        ) / threads


def tree_size(
    spot: Spot,
    raises: Raises,
    max_raises: int | None = None,
    menu: Menu | Menus | None = None,
    most: float = float("inf"),
    kept: int = KEPT_BYTES,
    own_hands: bool = False,
    locks: Sequence[Lock] = (),
) -> TreeSize:
    """Count the tree that `Subgame` builds of a spot from its start, with merged suits.

    Args:
        spot: From the flop on.
        raises: As in `Subgame`.
        max_raises: As in `Subgame`.
        menu: Sizes that were asked for, to count where they are moved or merge.
        most: Bytes of `TreeSize.memory` beyond which counting stops.
        kept: As in `TreeSize.memory`.
        own_hands: As in `Subgame`.
        locks: As in `Subgame`.
    """
    live = live_hands(spot.board, spot.deck) & (spot.ranges > 0).any(axis=0)
    held = (spot.ranges > 0) & live if own_hands else np.stack([live, live])
    size = TreeSize(int(live.sum()), (int(held[0].sum()), int(held[1].sum())))
    first = BOARD_CARDS.index(len(spot.board))
    symmetric = symmetries_with(spot, locks)
    dealt = [each.boards for each in deal_out(spot.board, symmetric, RIVER - first, spot.deck)]
    boards = {first + place: len(each) for place, each in enumerate(dealt)}
    different = {
        first + place: len({tuple(sorted(board)) for board in each})
        for place, each in enumerate(dealt)
    }
    ends, all_in = set(), set()
    waiting: list[tuple[BettingState, int]] = [(start(spot.rules), first)]
    while waiting:
        state, street = waiting.pop()
        count = boards[street]
        size.nodes += count
        if state.over:
            ends.add(street)
            size.ends += count
            if state.folded is None and street < RIVER:
                all_in.add(street)
                size.products += count
        elif state.street > street:
            waiting.append((state, state.street))
        else:
            moves = legal_moves(state, raises, max_raises)
            size.rows += count * len(moves)
            size.numbers += count * len(moves) * size.counts[state.player]
            size.lines += 1
            if menu and size.lines > 1 and len(moves) > 1 + (state.to_call > 0):
                size.changed += menu.changes(state)
            waiting += [(state.apply(move), street) for move in moves]
        size.boards = sum(different[each] for each in ends)
        size.matrices = sum(different[each] for each in all_in) * (2 if own_hands else 1)
        if size.memory(kept) > most:
            size.complete = False
            return size
    return size
