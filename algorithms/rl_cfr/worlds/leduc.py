"""No-limit Leduc as a world of the abstraction MDP: six cards, one private, one on the board.

Three ranks in two suits; both players ante one chip and have `stack` chips in all; two streets, the
first player acts first on either, any whole raise is legal. A pair with the board wins, else the
higher rank. It is OpenSpiel's `universal_poker` of `game_string`, small enough that the best answer
with every size is exact.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tenfold.algorithms.rl_cfr.mdp import Decision, Rooted
from tenfold.algorithms.rl_cfr.solver.game import Game
from tenfold.algorithms.rl_cfr.solver.tree import (
    CHANCE,
    DECISION,
    FOLD,
    MATRIX,
    SHOWDOWN,
    TreeBuilder,
)
from tenfold.algorithms.rl_cfr.worlds.fields import LEDUC_STACK
from tenfold.envs.poker.rules import CALL, BettingState, Rules, openspiel_action, start
from tenfold.envs.poker.rules import FOLD as FOLD_ACTION

History = tuple[int, ...]
"""Actions, by OpenSpiel's numbers, and the board's card, in the order in which they came."""

RANKS, SUITS = 3, 2
DECK = RANKS * SUITS
UNSEEN = DECK - 2
"""Cards that may come on the board, for a player who knows both hands."""

# The kernels subtract hands by two cards each: here the second one is nobody else's.
_CARDS = np.stack([np.arange(DECK), DECK + np.arange(DECK)], axis=1).astype(np.int32)


class LeducWorld:
    """No-limit Leduc; H = 6.

    Args:
        stack: Chips of each player, the ante included.

    Attributes:
        max_raises: On a street: as many as the chips allow.
        deck: Six cards.
        valued: None: trees hold both streets.

    Raises:
        ValueError: The stack is no whole number of at least 2.
    """

    def __init__(self, stack: int = LEDUC_STACK) -> None:
        if not isinstance(stack, int) or stack < 2:
            raise ValueError(
                f"Bad value {stack!r} for 'stack': give a whole number of at least 2 chips."
            )
        self.rules = Rules((stack, stack), blinds=(1, 1), first=(0, 0), big_blind=1)
        self.max_raises = stack
        self.deck = DECK
        self.valued: tuple[int, ...] = ()

    def root(self, rng: np.random.Generator) -> Decision:
        return Decision((), start(self.rules), np.ones((2, DECK)))

    def subgame(
        self, decision: Decision, raises: Callable[[BettingState], Sequence[int]]
    ) -> Rooted:
        subgame, _ = public_tree(decision, lambda history, state: raises(state))
        return subgame

    def weights(self, ranges: NDArray[np.float64]) -> NDArray[np.float64]:
        return ranges * (ranges.sum(axis=1, keepdims=True) - ranges)[::-1]

    def equities(self, decision: Decision) -> NDArray[np.float64]:
        others = decision.ranges[::-1]
        won = others @ (0.5 + 0.5 * signs(decision.board)).T - 0.5 * others
        free = others.sum(axis=1, keepdims=True) - others
        return np.where(free > 0, won / np.where(free > 0, free, 1.0), 0.5)

    def deal(self, decision: Decision, rng: np.random.Generator) -> Decision:
        if decision.state.street == len(decision.board):
            return decision
        first, second = decision.ranges
        pairs = np.outer(first, second)
        np.fill_diagonal(pairs, 0.0)
        chances = pairs.sum() - pairs.sum(axis=0) - pairs.sum(axis=1)
        card = int(rng.choice(DECK, p=chances / chances.sum()))
        return Decision((card,), decision.state, on_board(decision.ranges, card))

    def deals(self, decision: Decision) -> Iterator[tuple[History, Decision]]:
        """What `deal` may lead to: no card and the decision, or each card with its decision.

        Where a card leaves no pair of hands that can meet, it cannot come, and everybody may hold
        anything.
        """
        if decision.state.street == len(decision.board):
            yield (), decision
            return
        for card in range(DECK):
            ranges = on_board(decision.ranges, card)
            if not self.weights(ranges).any():
                ranges = on_board(np.ones((2, DECK)), card)
            yield (card,), Decision((card,), decision.state, ranges)


def on_board(ranges: NDArray[np.float64], card: int) -> NDArray[np.float64]:
    """(2, 6) ranges without the board's card."""
    after = ranges.copy()
    after[:, card] = 0.0
    return after


def game_string(stack: int) -> str:
    """OpenSpiel's text of the game with every raise."""
    return (
        "universal_poker(betting=nolimit,numPlayers=2,numRounds=2,blind=1 1,firstPlayer=1 1,"
        f"numSuits={SUITS},numRanks={RANKS},numHoleCards=1,numBoardCards=0 1,stack={stack} {stack},"
        "bettingAbstraction=fullgame)"
    )


def strengths(card: int) -> NDArray[np.int64]:
    """(6,): strength of each hand with a card on the board; the card itself is nobody's."""
    ranks = np.arange(DECK) // SUITS
    return np.where(ranks == card // SUITS, RANKS, ranks)


@lru_cache(maxsize=DECK + 1)
def signs(board: tuple[int, ...]) -> NDArray[np.float64]:
    """(6, 6): chance to win minus chance to lose over the cards to come; 0 for equal hands."""
    total = np.zeros((DECK, DECK))
    for card in board or range(DECK):
        strength = strengths(card)
        free = np.arange(DECK) != card
        total += np.sign(strength[:, None] - strength) * np.outer(free, free)
    np.fill_diagonal(total, 0.0)
    return total if board else total / UNSEEN


def public_tree(
    decision: Decision,
    raises: Callable[[History, BettingState], Sequence[int]],
    refused: NDArray[np.float64] | None = None,
) -> tuple[Rooted, dict[History, int]]:
    """The public tree below a decision.

    Args:
        decision: The root.
        raises: Those of a decision, by what was done since the root and by the betting.
        refused: (6,) chips a deal that each hand of the player who is not to act may take instead
            of playing on: the gadget of Burch et al. (2014), a node above the decision at which
            that player's first action refuses.

    Returns:
        The subgame, and the node of each decision by its history.
    """
    builder = TreeBuilder(_CARDS)
    matrix = (builder.add_matrix(signs(())),) * 2
    tables = {board: _add_table(builder, board) for board in ((), *((c,) for c in range(DECK)))}
    nodes: dict[History, int] = {}

    def add(
        history: History,
        board: tuple[int, ...],
        state: BettingState,
        chance: float,
        parent: int,
        action: int,
    ) -> None:
        if state.over:
            base = [chance * payoff for payoff in state.payoffs()]
            folded = state.folded is not None
            kind = FOLD if folded else SHOWDOWN if board else MATRIX
            swing = 0.0 if folded else chance * state.pot / 2
            builder.add(kind, parent, action, -1, 0, tables[board], base, swing, matrix)
        elif state.street > len(board):
            node = builder.add(CHANCE, parent, action)
            for card in range(DECK):
                add((*history, card), (card,), state, chance / UNSEEN, node, card)
        else:
            moves = actions(state, raises(history, state))
            node = builder.add(DECISION, parent, action, state.player, len(moves))
            nodes[history] = node
            for place, move in enumerate(moves):
                after = (*history, openspiel_action(move))
                add(after, board, state.apply(move), chance, node, place)

    if refused is None:
        add((), decision.board, decision.state, 1.0, -1, 0)
    else:
        other = 1 - decision.state.player
        taken = refused[:, None] * (1.0 - np.eye(DECK))
        sides = builder.add_matrix(taken), builder.add_matrix(-taken.T)
        gadget = builder.add(DECISION, -1, 0, other, 2)
        pair = sides if other == 0 else sides[::-1]
        builder.add(MATRIX, gadget, 0, -1, 0, tables[decision.board], [0.0, 0.0], 1.0, pair)
        add((), decision.board, decision.state, 1.0, gadget, 1)
    ranges = decision.ranges
    mass = float(ranges[0].sum() * ranges[1].sum() - ranges[0] @ ranges[1])
    game = Game(builder.build(np.float64), ranges, mass, float(decision.state.rules.pot))
    moves = actions(decision.state, raises((), decision.state))
    return Rooted(game, moves, np.arange(DECK)), nodes


def _add_table(builder: TreeBuilder, board: tuple[int, ...]) -> int:
    strength = strengths(board[0]) if board else np.zeros(DECK, np.int64)
    order = np.argsort(strength, kind="stable")
    order = order[~np.isin(order, board)]
    starts = np.flatnonzero(np.diff(strength[order], prepend=-1))
    groups = np.append(starts, len(order)).astype(np.int32)
    return builder.add_table(order.astype(np.int32), groups)


def actions(state: BettingState, raises: Sequence[int]) -> list[int]:
    """Fold where there is a bet, call, and the raises."""
    return [*([FOLD_ACTION] if state.to_call else []), CALL, *raises]
