"""Subgames of hold'em: from a spot and a menu of bets to a public tree over private hands."""

import sys
from collections.abc import Callable, Sequence
from functools import lru_cache
from math import comb

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tenfold.algorithms.rl_cfr.solver.dealing import Boards, deal_out, nested
from tenfold.algorithms.rl_cfr.solver.game import Game, LeafEvaluator
from tenfold.algorithms.rl_cfr.solver.lines import ByNode, Expanded, Lines
from tenfold.algorithms.rl_cfr.solver.locks import Lock, symmetries_with
from tenfold.algorithms.rl_cfr.solver.tree import (
    CHANCE,
    FOLD,
    LEAF,
    MATRIX,
    SHOWDOWN,
    Nodes,
    PublicTree,
    TreeBuilder,
)
from tenfold.envs.poker.cards import CARDS, HAND_COUNT, HANDS, format_cards, live_hands
from tenfold.envs.poker.isomorphism import HAND_MAPS
from tenfold.envs.poker.potential import run_outs
from tenfold.envs.poker.rules import CALL, STREETS, BettingState, start
from tenfold.envs.poker.rules import FOLD as FOLD_ACTION
from tenfold.envs.poker.spot import BOARD_CARDS, Spot, dealable, deals
from tenfold.envs.poker.strength import board_order, board_ranks

ALL_HANDS = tuple(range(HAND_COUNT))

SAMPLED = 500
"""Run-outs from before the flop that all-in equities are estimated by."""

Raises = Callable[[BettingState], Sequence[int]]
"""The raises that the tree offers at a decision, such as `Menu.raises`: any bet tree at all."""

Leaf = Callable[["Subgame"], LeafEvaluator]
"""What values the states where the next card would come, made for the subgame that ends there."""


class Subgame:
    """A spot with its bet tree, ready for a `Solver`.

    Args:
        spot: Board, rules and the ranges at the root.
        raises: Legal raises at each decision; fold and call are always there.
        max_raises: At most this many bets and raises on a street; None sets no limit.
        leaf: If given, the tree ends where the next card would come, and what this makes of the
            subgame values those states (in the order of `leaf_states`). All-in calls still go to
            the showdown. Subgames from before the flop need it.
        isomorphism: Whether next cards that differ by a renaming of suits are solved once.
        dtype: Precision of the solver, np.float32 or np.float64.
        root: The decision that the tree starts from, on the street of the board; None takes the
            start of the spot's rules. In the middle of a street the bets and raises already made
            count towards `max_raises`.
        own_hands: Whether each player has but the hands of its own range. Else both have those of
            either, and strategies and values are found for hands that a player cannot hold, too.
        locks: Decisions whose strategies are fixed, by the lines from the start of the spot's
            rules.

    Attributes:
        game: What the solver takes. Values are chips won since the start of the spot's rules.
        root: The decision that the tree starts from.
        hands: (H,) hands of the tree: those that the board leaves and a range holds.
        states: Node -> betting state of each decision.
        moves: Node -> actions of each decision in the order of its children.
        leaf_states: Betting state of each leaf.

    Raises:
        ValueError: The spot is preflop, the raises are not legal, the root is no decision under
            the spot's rules on the board's street, or a tree with a rake has leaves, which are
            valued without one.
    """

    def __init__(
        self,
        spot: Spot,
        raises: Raises,
        max_raises: int | None = None,
        leaf: Leaf | None = None,
        isomorphism: bool = True,
        dtype: type[np.floating] = np.float32,
        root: BettingState | None = None,
        own_hands: bool = False,
        locks: Sequence[Lock] = (),
    ) -> None:
        if leaf is None and len(spot.board) < BOARD_CARDS[1]:
            raise ValueError(
                "Subgames without a leaf evaluator start on the flop or later: give a board of 3 "
                "to 5 cards."
            )
        raked = spot.rules.rake.share > 0
        if leaf is not None and raked:
            raise ValueError("Leaves are valued without a rake: give rules that have none.")
        self.root = start(spot.rules) if root is None else root
        _check_root(self.root, spot)
        self.spot, self.dtype = spot, dtype
        live = live_hands(spot.board, spot.deck) & (spot.ranges > 0).any(axis=0)
        self.hands: NDArray[np.int64] = np.flatnonzero(live)
        if len(spot.board) == BOARD_CARDS[3]:  # in the order of strength the walk reads in a line
            ranks = board_ranks(spot.board, spot.deck)
            self.hands = self.hands[np.argsort(ranks[self.hands], kind="stable")]
        self._place = np.full(HAND_COUNT, -1, np.int32)
        self._place[self.hands] = np.arange(len(self.hands))
        ranges = spot.ranges[:, self.hands]
        lists = (np.flatnonzero(ranges[0]), np.flatnonzero(ranges[1])) if own_hands else None
        self._builder = TreeBuilder(HANDS[self.hands].astype(np.int32), lists)
        self._tables: dict[tuple[int, ...], int] = {}
        self._matrices: dict[tuple[int, ...], tuple[int, int]] = {}
        lines = Lines(
            lambda state: legal_moves(state, raises, max_raises),
            last=len(BOARD_CARDS) - 1,
            limited=leaf is not None,
        )
        lines.add(self.root, BOARD_CARDS.index(len(spot.board)))
        tree, line = self._build(lines, isomorphism, locks)
        del self._builder  # what it collected is in the tree
        self.states = ByNode(lines.states, line, tree.kind)
        self.moves = ByNode(lines.actions, line, tree.kind)
        self.leaf_states: list[BettingState] = [
            state for state, kind in zip(lines.states, lines.kind, strict=True) if kind == LEAF
        ]
        mass = float(deals(spot.ranges)[0].sum())
        evaluator = leaf(self) if leaf and self.leaf_states else None
        total = None if raked else float(spot.rules.pot)
        self.game = Game(tree, ranges, mass, total, evaluator)

    def spread(self, values: NDArray[np.floating]) -> NDArray[np.float64]:
        """(..., H) values by hand of the tree -> (..., 1326), 0 for hands that are not in it."""
        out = np.zeros((*values.shape[:-1], HAND_COUNT))
        out[..., self.hands] = values
        return out

    def equities(self, ranges: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
        """(2, 1326): chance to win, ties half, when all cards are dealt and nobody bets.

        Against the other player's range; 0 for hands that are not in the tree.

        Args:
            ranges: (2, 1326) weights; None takes the spot's.
        """
        signs = self.signs()
        others = (self.spot.ranges if ranges is None else ranges)[::-1]
        free = np.maximum(dealable(others)[:, self.hands], 1e-30)
        ahead = (signs @ others[:, self.hands].T).T / free
        return self.spread(0.5 + 0.5 * np.clip(ahead, -1.0, 1.0))

    def _build(
        self, lines: Lines, isomorphism: bool, locks: Sequence[Lock]
    ) -> tuple[PublicTree, NDArray[np.int32]]:
        """The tree of betting lines, and the line of each of its nodes."""
        first, deck = lines.street[0], self.spot.deck
        symmetric = symmetries_with(self.spot, locks) if isomorphism else [0]
        more = lines.last - first if CHANCE in lines.kind else 0
        dealt = deal_out(self.spot.board, symmetric, more, deck)
        chances = [1.0]  # by street from the root's on
        for street in range(first, first + more):
            chances.append(chances[-1] / (deck - BOARD_CARDS[street] - 4))
        nodes = lines.expand(nested(dealt))
        line, parent, action, board = nodes
        kinds, streets = np.array(lines.kind), np.array(lines.street) - first
        base, swing = _payoffs(lines)
        chance = np.array(chances)[streets[line]]
        table = np.full(len(line), -1)
        matrix = np.full((len(line), 2), -1)
        members = np.zeros((len(line), 2), np.int32)
        alike = np.full(len(line), -1)
        for street, boards in enumerate(dealt):
            here = streets[line] == street
            ends = here & np.isin(kinds[line], (FOLD, SHOWDOWN, MATRIX))
            if ends.any():
                table[ends] = np.array([self._table(b) for b in boards.boards])[board[ends]]
            ends = here & (kinds[line] == MATRIX)
            if ends.any():
                matrix[ends] = np.array([self._all_in(b) for b in boards.boards])[board[ends]]
            dealt_here = here & (kinds[line[parent]] == CHANCE) & (parent >= 0)
            members[dealt_here] = self._members(boards)[board[dealt_here]]
            if street < more:
                alike[here] = self._alike(boards)[board[here]]
        columns = Nodes(
            kind=kinds[line],
            parent=parent,
            action=action,
            depth=np.array(lines.depth)[line],
            player=np.array(lines.player)[line],
            actions=np.array([len(each) for each in lines.actions])[line],
            table=table,
            matrix=matrix,
            members=members,
            alike=alike,
            lock=self._locked(lines, nodes, dealt, locks),
            base=base[line] * chance[:, None],
            swing=swing[line] * chance,
        )
        return self._builder.assemble(columns, self.dtype), line

    def _members(self, boards: Boards) -> NDArray[np.int32]:
        """(boards, 2): `PublicTree.members` of the nodes that the last card of each leads to."""
        renamings, bounds = self._builder.renamings, []
        for rows in boards.stands_for:
            begin = len(renamings)
            if len(rows) > 1:
                renamings += [self._place[HAND_MAPS[p, self.hands]] for p in rows]
            bounds.append((begin, len(renamings)))
        return np.array(bounds, np.int32)

    def _alike(self, boards: Boards) -> NDArray[np.int64]:
        """(boards,): `PublicTree.alike` of the nodes on each."""
        found, known = [], dict[tuple[int, ...], int]()
        for symmetric in boards.symmetric:
            rows = tuple(symmetric)
            if len(rows) > 1 and rows not in known:
                known[rows] = len(self._builder.orbits)
                images = [self._place[HAND_MAPS[p, self.hands]] for p in rows]
                self._builder.orbits.append(np.min(images, axis=0))
            found.append(known.get(rows, -1))
        return np.array(found)

    def _locked(
        self, lines: Lines, nodes: Expanded, dealt: Sequence[Boards], locks: Sequence[Lock]
    ) -> NDArray[np.int32]:
        """(N,): which lock holds at a node; -1 for none."""
        lock_of, cards = np.full(len(nodes.line), -1, np.int32), len(self.spot.board)
        for number, lock in enumerate(locks):
            line = 0
            for place in lock.line:
                line = lines.children[line][place]
                if lines.kind[line] == CHANCE:
                    line = lines.children[line][0]
            boards = dealt[len(lock.cards)].boards
            meant = np.array(
                [
                    all(c in (None, own) for c, own in zip(lock.cards, b[cards:], strict=True))
                    for b in boards
                ]
            )
            at = nodes.line == line
            at[at] = meant[nodes.board[at]]
            lock_of[at] = number
            self._builder.fixed.append(lock.strategy[:, self.hands])
        return lock_of

    def _table(self, board: tuple[int, ...]) -> int:
        """The place of a board among the tables; the order of its cards does not count."""
        board = tuple(sorted(board))
        if board not in self._tables:
            if len(board) == BOARD_CARDS[3]:
                order, groups = board_order(board, self.spot.deck)
                kept = self._place[order] >= 0
                bounds = np.append(0, np.cumsum(kept))[groups]
                order, groups = self._place[order[kept]], np.unique(bounds).astype(np.int32)
            else:
                order = self._place[self.hands[live_hands(board)[self.hands]]]
                groups = np.zeros(1, np.int32)
            self._tables[board] = self._builder.add_table(order, groups)
        return self._tables[board]

    def _all_in(self, board: tuple[int, ...]) -> tuple[int, int]:
        """The places of the all-in matrices of a board: its run-outs are counted once."""
        board = tuple(sorted(board))
        if board not in self._matrices:
            if len(board) == len(self.spot.board):
                signs = self.signs()
            else:
                signs = count_signs(board, tuple(self.hands.tolist()), self.spot.deck)
            add, lists = self._builder.add_matrix, self._builder.lists
            if lists is None:
                self._matrices[board] = (add(signs),) * 2
            else:
                one, two = (add(signs[np.ix_(*each)]) for each in (lists, lists[::-1]))
                self._matrices[board] = one, two
        return self._matrices[board]

    def signs(self) -> NDArray[np.float32]:
        """(H, H) of `all_in_signs` on the spot's board."""
        board = tuple(sorted(self.spot.board))
        return all_in_signs(board, tuple(self.hands.tolist()), self.spot.deck)


def _payoffs(lines: Lines) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Payoffs (L, 2) by line when nobody is stronger, and (L,) what winning adds to them."""
    base, swing = np.zeros((len(lines.states), 2)), np.zeros(len(lines.states))
    for line, state in enumerate(lines.states):
        if state.over:
            base[line] = state.payoffs()
            swing[line] = 0.0 if state.folded is not None else (state.pot - state.raked) / 2
    return base, swing


def legal_moves(state: BettingState, raises: Raises, max_raises: int | None) -> list[int]:
    """The actions of a tree at a decision: fold where there is a bet, call, and the raises.

    Raises:
        ValueError: A raise is not legal.
    """
    stop = max_raises is not None and state.raised >= max_raises
    offered = [] if stop else list(raises(state))
    for each in offered:
        if each <= CALL or not state.is_legal(each):
            raise ValueError(f"The bet tree offers {each}, which is no legal raise.")
    return [*([FOLD_ACTION] if state.to_call else []), CALL, *offered]


def _check_root(root: BettingState, spot: Spot) -> None:
    if root.rules != spot.rules:
        raise ValueError("The root has other rules than the spot: stacks and pot must be the same.")
    if root.over or BOARD_CARDS[root.street] != len(spot.board):
        there = "play is over" if root.over else f"the betting is on the {STREETS[root.street]}"
        raise ValueError(
            f"The board {format_cards(spot.board)} has no decision at the root: {there}."
        )


@lru_cache(maxsize=8)
def all_in_signs(
    board: tuple[int, ...], hands: tuple[int, ...] = ALL_HANDS, deck: int = CARDS
) -> NDArray[np.float32]:
    """`count_signs`, remembered for the last boards; read-only."""
    total = count_signs(board, hands, deck)
    total.setflags(write=False)
    return total


def count_signs(board: tuple[int, ...], hands: tuple[int, ...], deck: int) -> NDArray[np.float32]:
    """Chance to win minus chance to lose of each hand against each other over all run-outs.

    Args:
        board: Cards in ascending order. From the flop on every run-out counts; before it, the same
            sample of `SAMPLED` of them each time.
        hands: H hands; those that the board blocks have 0.
        deck: Cards of the deck, the lowest ones of 52.

    Returns:
        (H, H) float32; 0 where the hands cannot be dealt together.
    """
    total = np.zeros((len(hands), len(hands)), np.float32)
    boards = run_outs(board, deck, SAMPLED if not board else sys.maxsize)
    for each in boards:
        _add_signs(total, board_ranks(each, deck)[list(hands)], HANDS[list(hands)])
    missing, unseen = BOARD_CARDS[3] - len(board), deck - len(board) - 4
    # A pair of hands leaves the same share of all run-outs possible, whichever hands they are.
    total *= comb(unseen + 4, missing) / (len(boards) * comb(unseen, missing))
    return total


@njit(cache=True)
def _add_signs(total, ranks, hands):
    """Add who wins on one full board; hands that share a card or are blocked stay as they are."""
    for first in range(len(ranks)):
        if ranks[first] < 0:
            continue
        a, b = hands[first]
        for second in range(first):
            c, d = hands[second]
            if ranks[second] < 0 or a in (c, d) or b in (c, d):
                continue
            sign = np.sign(ranks[first] - ranks[second])
            total[first, second] += sign
            total[second, first] -= sign
