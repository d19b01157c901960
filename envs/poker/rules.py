"""The betting of heads-up no-limit poker, equal to OpenSpiel's `universal_poker`.

An action is an int: `FOLD`, `CALL` (a check when there is nothing to call), or n > 0: raise to n,
n being all that the player has put in since the start, blinds included. On the full game this is
OpenSpiel's number of a raise; in a subgame of one street it is the size of the bet itself.

The smallest raise adds the last raise of the street to the bet, and at least the big blind; whoever
has not got that much may go all-in. A player never bets more than the other can call.
"""

from dataclasses import dataclass, replace

from tenfold.envs.poker.rake import NO_RAKE, Rake

FOLD = -1
CALL = 0
STREETS = ("preflop", "flop", "turn", "river")


@dataclass(frozen=True)
class Rules:
    """What a hand, or a subgame of one, starts from.

    Attributes:
        stacks: Chips of each player before the blinds.
        blinds: What each posts before the first street; in a subgame nothing.
        first: Who acts first on each street; its length is the number of streets.
        big_blind: The smallest bet, in chips.
        street: The street that play starts on.
        pot: Chips in the pot that are nobody's any more: those of earlier streets.
        rake: What the house takes.
    """

    stacks: tuple[int, int]
    blinds: tuple[int, int] = (0, 0)
    first: tuple[int, ...] = (1, 0, 0, 0)
    big_blind: int = 100
    street: int = 0
    pot: int = 0
    rake: Rake = NO_RAKE

    def __post_init__(self) -> None:
        if self.big_blind < 1 or min(self.blinds) < 0 or max(self.blinds) > self.big_blind:
            raise ValueError(
                f"Blinds {self.blinds} with big blind {self.big_blind} make no game: give a big "
                "blind of at least 1 chip and no blind above it."
            )
        if min(self.stacks) <= max(self.blinds):
            raise ValueError(f"Stacks {self.stacks} are too short: more than a blind is needed.")
        if self.pot < 0:
            raise ValueError(f"Pot {self.pot} is negative: give the chips in the middle.")
        if not 0 <= self.street < len(self.first):
            raise ValueError(f"Street {self.street} is none of 0..{len(self.first) - 1}.")

    @property
    def depth(self) -> int:
        """The most that a player can lose: the effective stack."""
        return min(self.stacks)


HUNL = Rules(stacks=(20_000, 20_000), blinds=(100, 50))
"""The game of the competitions: 200 big blinds; player 1 is the dealer and posts the small one."""


@dataclass(frozen=True, slots=True)
class BettingState:
    """Where the betting stands; cards are none of its business.

    Attributes:
        rules: What the hand started from.
        street: 0 preflop .. 3 river.
        committed: Chips that each player has put in since the start.
        level: `committed` of both when this street began.
        player: Who is to act; nobody once `over`.
        raise_size: What the next raise must add to the bet at least.
        acted: Whether anyone has acted on this street.
        raised: Bets and raises on this street so far; blinds are none.
        folded: Who has folded, or None.
        over: No more decisions: a fold, a call all-in, or the last street is done.
    """

    rules: Rules
    street: int
    committed: tuple[int, int]
    level: int
    player: int
    raise_size: int
    acted: bool = False
    raised: int = 0
    folded: int | None = None
    over: bool = False

    @property
    def pot(self) -> int:
        """All chips in the middle, this street's bets included."""
        return self.rules.pot + sum(self.committed)

    @property
    def raked(self) -> float:
        """Chips that the house takes once play is over, see `rake`."""
        if self.folded is not None and self.street == 0:
            return 0.0
        return self.rules.rake.of(self.rules.pot + 2 * min(self.committed))

    @property
    def stacks(self) -> tuple[int, int]:
        """Chips that each player has left."""
        (a, b), (put_a, put_b) = self.rules.stacks, self.committed
        return a - put_a, b - put_b

    @property
    def bets(self) -> tuple[int, int]:
        """Chips that each player has put in on this street."""
        return self.committed[0] - self.level, self.committed[1] - self.level

    @property
    def to_call(self) -> int:
        """Chips that a call costs."""
        return max(self.committed) - self.committed[self.player]

    @property
    def raises(self) -> tuple[int, int] | None:
        """The smallest and the largest legal raise-to, or None where nobody can raise."""
        bet, depth = max(self.committed), self.rules.depth
        if self.over or bet >= depth:
            return None
        return min(bet + self.raise_size, depth), depth

    def legal_actions(self) -> list[int]:
        """Every legal action in ascending order; a fold is one only when there is a bet."""
        if self.over:
            return []
        fold = [FOLD] if self.to_call else []
        low, high = self.raises or (1, 0)
        return [*fold, CALL, *range(low, high + 1)]

    def is_legal(self, action: int) -> bool:
        """Whether `player` may act so."""
        if self.over or action == CALL:
            return not self.over
        low, high = self.raises or (1, 0)
        return self.to_call > 0 if action == FOLD else low <= action <= high

    def apply(self, action: int) -> "BettingState":
        """The state after an action of `player`.

        Raises:
            ValueError: The action is not legal here; the message says what would be.
        """
        if not self.is_legal(action):
            raise ValueError(self._why_illegal(action))
        if action == FOLD:
            return replace(self, folded=self.player, over=True, acted=True)
        other = 1 - self.player
        bet = max(self.committed)
        target = bet if action == CALL else action
        committed = (target, self.committed[1]) if other else (self.committed[0], target)
        if action != CALL:
            grown = max(self.raise_size, action - bet)
            return replace(
                self,
                committed=committed,
                player=other,
                raise_size=grown,
                acted=True,
                raised=self.raised + 1,
            )
        if not self.acted and bet < self.rules.depth:
            return replace(self, committed=committed, player=other, acted=True)
        if bet == self.rules.depth or self.street + 1 == len(self.rules.first):
            return replace(self, committed=committed, over=True, acted=True)
        return BettingState(
            rules=self.rules,
            street=self.street + 1,
            committed=committed,
            level=bet,
            player=self.rules.first[self.street + 1],
            raise_size=self.rules.big_blind,
        )

    def payoffs(self, winner: int | None = None) -> tuple[float, float]:
        """What each player has won when play is `over`, in chips since the start.

        Args:
            winner: Who wins the showdown, None if they tie; after a fold it does not count.

        Returns:
            Two numbers with sum `rules.pot` less the rake.

        Raises:
            ValueError: Play is not over.
        """
        if not self.over:
            raise ValueError("Play is not over: there are no payoffs yet.")
        if self.folded is not None:
            winner = 1 - self.folded
        shares = [0.5, 0.5] if winner is None else [float(winner == 0), float(winner == 1)]
        pot = self.pot - self.raked
        return shares[0] * pot - self.committed[0], shares[1] * pot - self.committed[1]

    def _why_illegal(self, action: int) -> str:
        if self.over:
            return f"Action {action} is too late: play is over."
        if action == FOLD:
            return "A fold is not legal when there is no bet: check instead."
        if self.raises is None:
            return f"A raise to {action} is not legal: a player is all-in."
        return f"A raise to {action} is not legal: raise to {self.raises[0]}..{self.raises[1]}."


def start(rules: Rules) -> BettingState:
    """The first decision under some rules."""
    return BettingState(
        rules=rules,
        street=rules.street,
        committed=rules.blinds,
        level=0,
        player=rules.first[rules.street],
        raise_size=rules.big_blind,
    )


def openspiel_action(action: int) -> int:
    """The number of an action in `universal_poker`: 0 fold, 1 call, n raise to n."""
    return action + 1 if action <= CALL else action
