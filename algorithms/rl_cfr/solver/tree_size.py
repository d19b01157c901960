"""How large a tree of a spot would be, counted without building it.

Betting does not depend on cards, so each betting line is walked once and counted as often as boards
lead to it. What is counted is exact; memory is an estimate, by what builds of trees of 15,000 to
650,000 nodes took beyond their arrays.
"""

from dataclasses import dataclass

import numpy as np

from tenfold.algorithms.rl_cfr.solver.subgame import Raises, legal_moves
from tenfold.envs.poker.cards import live_hands
from tenfold.envs.poker.isomorphism import next_cards, symmetries
from tenfold.envs.poker.rules import BettingState, start
from tenfold.envs.poker.sizes import Menu, Menus
from tenfold.envs.poker.spot import BOARD_CARDS, Spot

NODE_BYTES = 300
"""Of a node: its columns, and what it is held as while the tree is built."""

BASE_BYTES = 175_000_000
"""Of the process before there is a tree: Python, NumPy and the compiled walks."""

RIVER = len(BOARD_CARDS) - 1


@dataclass
class TreeSize:
    """The size of a tree.

    Attributes:
        hands: H, hands that the board leaves and a range holds.
        counts: Hands of each player's list.
        nodes: Of the whole tree.
        rows: Actions of all decisions together.
        numbers: Regrets: an action of a decision and a hand of its player.
        boards: Boards on which a hand can end.
        matrices: Boards before the river on which somebody can be all-in, each with an (H, H)
            matrix.
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
    lines: int = 0
    changed: int = 0
    complete: bool = True

    def memory(self, copies: int = 2, itemsize: int = 4) -> int:
        """Bytes that a process needs to build and to solve it.

        Args:
            copies: Arrays of the size of the regrets: these and the averages; PCFR+ has one more.
            itemsize: Bytes of a number.
        """
        arrays = copies * self.numbers * itemsize
        tables = self.boards * (4 * self.hands + 2) * 4
        # A matrix is counted in float32 before it is stacked with the others.
        matrices = self.matrices * self.hands**2 * (4 + 2 * itemsize)
        return BASE_BYTES + self.nodes * NODE_BYTES + arrays + tables + matrices


def tree_size(
    spot: Spot,
    raises: Raises,
    max_raises: int | None = None,
    menu: Menu | Menus | None = None,
    most: float = float("inf"),
    copies: int = 2,
    own_hands: bool = False,
) -> TreeSize:
    """Count the tree that `Subgame` builds of a spot from its start, with merged suits.

    Args:
        spot: From the flop on.
        raises: As in `Subgame`.
        max_raises: As in `Subgame`.
        menu: Sizes that were asked for, to count where they are moved or merge.
        most: Bytes of `TreeSize.memory` beyond which counting stops.
        copies: As in `TreeSize.memory`.
        own_hands: As in `Subgame`.
    """
    live = live_hands(spot.board, spot.deck) & (spot.ranges > 0).any(axis=0)
    held = (spot.ranges > 0) & live if own_hands else np.stack([live, live])
    size = TreeSize(int(live.sum()), (int(held[0].sum()), int(held[1].sum())))
    first = BOARD_CARDS.index(len(spot.board))
    boards, cards = {first: 1}, {first: 1}
    for street in range(first + 1, RIVER + 1):
        left = spot.deck - BOARD_CARDS[street - 1]
        if street == first + 1:
            classes = next_cards(spot.board, symmetries(spot.board, *spot.ranges))
            left = sum(card < spot.deck for card in classes)
        cards[street], boards[street] = left, boards[street - 1] * left
    ends, all_in = set(), set()
    waiting: list[tuple[BettingState, int]] = [(start(spot.rules), first)]
    while waiting:
        state, street = waiting.pop()
        count = boards[street]
        size.nodes += count
        if state.over:
            ends.add(street)
            if state.folded is None and street < RIVER:
                all_in.add(street)
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
        size.boards = sum(boards[each] for each in ends)
        size.matrices = sum(boards[each] for each in all_in)
        if size.memory(copies) > most:
            size.complete = False
            return size
    return size
