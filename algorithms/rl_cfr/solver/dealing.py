"""The boards that cards make of a root's, each class of like ones once.

Where a renaming of suits changes neither the board (with the cards since the root one by one) nor
either range, the next cards that it makes of each other have equal subgames, on every street.
"""

from collections.abc import Sequence
from typing import NamedTuple, Self

from tenfold.envs.poker.isomorphism import CARD_MAPS, next_cards

Deal = tuple["Deal", ...]
"""What comes after a board: one for each next board, with what comes after that."""


class Boards(NamedTuple):
    """The boards of one street, in the order in which a tree has them.

    Attributes:
        boards: The root's cards, and those that came since, in their order.
        stands_for: By board, the rows of `PERMUTATIONS` that make of its last card those that it
            stands for, itself among them.
        symmetric: By board, the rows of `PERMUTATIONS` that change nothing.
        after: By board, how many of the next street's boards come after it; they stand together.
    """

    boards: list[tuple[int, ...]]
    stands_for: list[list[int]]
    symmetric: list[list[int]]
    after: list[int]

    @classmethod
    def of_root(cls, board: Sequence[int], symmetric: list[int]) -> Self:
        """The root's street."""
        return cls([tuple(board)], [[0]], [symmetric], [])


def deal_out(board: Sequence[int], symmetric: list[int], streets: int, deck: int) -> list[Boards]:
    """The boards of the root's street and of those after it.

    Args:
        board: The root's cards.
        symmetric: Rows of `PERMUTATIONS` that change neither it nor a range; ``[0]`` merges none.
        streets: How many come after it.
        deck: Cards of the deck, the lowest ones of 52.
    """
    dealt = [Boards.of_root(board, symmetric)]
    for _ in range(streets):
        last, new = dealt[-1], Boards([], [], [], [])
        for cards, renamings in zip(last.boards, last.symmetric, strict=True):
            classes = next_cards(cards, renamings)
            inside = {card: members for card, members in classes.items() if card < deck}
            for card, members in inside.items():
                new.boards.append((*cards, card))
                new.stands_for.append([row for _, row in members])
                new.symmetric.append([p for p in renamings if CARD_MAPS[p, card] == card])
            last.after.append(len(inside))
        dealt.append(new)
    return dealt


def nested(dealt: Sequence[Boards]) -> Deal:
    """The same as a `Deal`."""
    below: list[Deal] = [()] * len(dealt[-1].boards)
    for boards in reversed(dealt[:-1]):
        waiting = iter(below)
        below = [tuple(next(waiting) for _ in range(count)) for count in boards.after]
    return below[0]
