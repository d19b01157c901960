"""Players of a spot: what each does with every hand, given what both players have seen.

A policy never gets a private hand: it answers for all 1,326 of them, and whoever deals the cards
looks up the one that was dealt. So no policy can depend on the other player's hand.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from tenfold.envs.poker.cards import HAND_COUNT
from tenfold.envs.poker.rules import CALL, FOLD, BettingState, start
from tenfold.envs.poker.sizes import Menu
from tenfold.envs.poker.spot import BOARD_CARDS, Spot


@dataclass(frozen=True, slots=True)
class History:
    """What has happened in public since the start of a spot.

    Attributes:
        state: The betting.
        board: Cards that are out.
        actions: What the players have done, in order.
    """

    state: BettingState
    board: tuple[int, ...]
    actions: tuple[int, ...] = ()

    @classmethod
    def of(cls, spot: Spot) -> "History":
        """The start of a spot."""
        return cls(start(spot.rules), spot.board)

    @property
    def chance(self) -> bool:
        """Whether the next card comes before the next decision."""
        return not self.state.over and len(self.board) < BOARD_CARDS[self.state.street]

    def past(self, spot: Spot) -> Iterator[tuple["History", int]]:
        """The decisions since the start of the spot, each with the action that followed."""
        past = History.of(spot)
        for action in self.actions:
            yield past, action
            past = past.apply(action)
            if past.chance:
                shown = self.board[: BOARD_CARDS[past.state.street]]
                past = History(past.state, shown, past.actions)

    def apply(self, action: int) -> "History":
        """The history after an action of the player to act; ValueError if it is not legal."""
        return History(self.state.apply(action), self.board, (*self.actions, action))

    def deal(self, card: int) -> "History":
        """The history after the next card of the board."""
        return History(self.state, (*self.board, card), self.actions)


class HandStrategy(NamedTuple):
    """A decision.

    Attributes:
        actions: A legal actions, see `rules`.
        probabilities: (A, 1326) their probabilities by hand; columns sum to 1.
    """

    actions: list[int]
    probabilities: NDArray[np.float64]

    def of(self, action: int) -> NDArray[np.float64]:
        """(1326,) the probability of an action by hand: 0 for what the player never does."""
        if action not in self.actions:
            return np.zeros(HAND_COUNT)
        return self.probabilities[self.actions.index(action)]


class Policy(Protocol):
    """A player of one spot, in either seat."""

    def __call__(self, history: History) -> HandStrategy:
        """What the player to act does."""
        ...


def check_call(history: History) -> HandStrategy:
    """Never bets and never folds."""
    return HandStrategy([CALL], np.ones((1, HAND_COUNT)))


@dataclass(frozen=True)
class RandomPolicy:
    """Every action of a menu with equal probability, folds included.

    Attributes:
        menu: Its raises; fold and call are always there.
    """

    menu: Menu

    def __call__(self, history: History) -> HandStrategy:
        state = history.state
        actions = [*([FOLD] if state.to_call else []), CALL, *self.menu.raises(state)]
        return HandStrategy(actions, np.full((len(actions), HAND_COUNT), 1.0 / len(actions)))
