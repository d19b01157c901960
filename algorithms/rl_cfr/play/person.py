"""A person at the table: what happens, in words; what to do, typed; then what each choice cost."""

import numpy as np
from rich.console import Console

from tenfold.algorithms.rl_cfr.mdp import Solving
from tenfold.algorithms.rl_cfr.play.growth import Abstraction
from tenfold.algorithms.rl_cfr.play.match import deal, payoffs, play
from tenfold.algorithms.rl_cfr.play.policies import HandStrategy, History
from tenfold.algorithms.rl_cfr.play.resolving import Resolver
from tenfold.algorithms.rl_cfr.play.review import lesson, remarks, review
from tenfold.envs.poker.cards import HAND_COUNT, format_cards, format_hand
from tenfold.envs.poker.rules import STREETS
from tenfold.envs.poker.spot import Spot
from tenfold.envs.poker.words import describe, options, read_action


class Person:
    """A `Policy` that asks.

    Args:
        spot: Where the hand starts.
        seat: The player that the person is.
        hand: The person's cards.
        console: Where to write and read.
    """

    def __init__(self, spot: Spot, seat: int, hand: int, console: Console) -> None:
        self._told, self._seat, self._console = History.of(spot), seat, console
        console.print(f"You hold {format_hand(hand)} and act {('first', 'second')[seat]}.")
        self._table(self._told)

    def __call__(self, history: History) -> HandStrategy:
        """What the person types, asked again until it is a legal action."""
        self.tell(history)
        while True:
            text = self._console.input(f"{options(history.state)} > ")
            try:
                action = read_action(text, history.state)
            except ValueError as error:
                self._console.print(str(error))
            else:
                return HandStrategy([action], np.ones((1, HAND_COUNT)))

    def tell(self, history: History) -> None:
        """Say what has happened since it was last said."""
        for action in history.actions[len(self._told.actions) :]:
            state = self._told.state
            if state.player != self._seat:
                self._console.print(f"Solver: {describe(action, state)}.")
            self._told = self._told.apply(action)
            if self._told.chance:
                self._told = History(self._told.state, history.board, self._told.actions)
                self._table(self._told)

    def _table(self, history: History) -> None:
        state = history.state
        yours, theirs = state.stacks[self._seat], state.stacks[1 - self._seat]
        self._console.print(
            f"{STREETS[state.street].capitalize()} {format_cards(history.board)}, pot {state.pot}, "
            f"you have {yours} behind, the solver {theirs}."
        )


def session(
    spot: Spot,
    solving: Solving,
    abstraction: Abstraction | None,
    hands: int,
    rng: np.random.Generator,
    console: Console,
) -> None:
    """Play hands from a spot against the solver; the end of input or Ctrl-C leaves the table.

    After each hand the person's decisions are evaluated, see `review`; one that is left before its
    end counts neither there nor among the chips won.

    Args:
        spot: Where each hand starts.
        solving: How the solver searches.
        abstraction: Its raises, see `Resolver`.
        hands: How many; the person is player 0 in the first, then seats alternate.
        rng: Deals the cards and draws the solver's actions.
        console: Where to write and read.
    """
    won, lost, decisions, done = 0.0, 0.0, 0, 0
    try:
        console.print("Solving the spot ...")
        solver = Resolver(spot, solving, abstraction)
        for done, cards in enumerate(deal(spot, hands, rng)):
            seat = done % 2
            person = Person(spot, seat, cards.hands[seat], console)
            policies = (person, solver) if seat == 0 else (solver, person)
            history = play(spot, policies, cards, rng)
            person.tell(history)
            if history.state.folded is None:
                shown = format_cards((*spot.board, *cards.cards))
                console.print(f"The solver shows {format_hand(cards.hands[1 - seat])} on {shown}.")
            gain = payoffs(spot, history, cards)[seat]
            won += gain
            console.print(f"You win {gain:g} chips." if gain >= 0 else f"You lose {-gain:g}.")
            verdicts = review(solver, spot, history, seat, cards.hands[seat])
            lost += sum(verdict.lost for verdict in verdicts)
            decisions += len(verdicts)
            if verdicts:
                console.print(lesson(verdicts), *remarks(verdicts), sep="\n")
            console.print()
        done = hands
    except (EOFError, KeyboardInterrupt):
        console.print("\nYou leave the table.")
    share = spot.rules.pot / 2
    console.print(
        f"Hands played: {done}. You won {won:+g} chips; half the pot each is {share * done:g}."
    )
    if decisions:
        console.print(
            f"EV lost in your {decisions} decisions: {lost:.2f} chips; best answers gain "
            f"{solver.exploitability():.2f} a hand on the solution of the spot."
        )
