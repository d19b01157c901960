"""What a hand teaches: at each decision of a player, what the solver does there, and the EV lost.

The EV lost by a choice is the EV of the best action minus that of the chosen one, in the solution
that the solver itself goes by at that decision (`Tree.action_values`): it is never negative, and an
action that the solver mixes loses nothing up to the accuracy of the solution. In one tree the
losses of a hand add up: their mean over all deals is what a best answer to the solver wins beyond
the player.

A bet outside the solver's tree is evaluated in the tree that is solved again with it: there it
stands beside the solver's own sizes, and the solver has an answer to it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from tenfold.algorithms.rl_cfr.play.policies import History
from tenfold.algorithms.rl_cfr.play.resolving import Resolver
from tenfold.envs.poker.rules import STREETS
from tenfold.envs.poker.spot import Spot
from tenfold.envs.poker.words import describe

RARE = 0.01
"""A chance of a hand to come to a decision below which its average strategy there is rough."""


@dataclass(frozen=True)
class Verdict:
    """A decision of a player, evaluated.

    Attributes:
        history: Before the decision.
        actions: A actions of the solver's tree, the chosen one among them.
        choice: The place of the chosen one.
        mix: (A,) the solver's probabilities with the player's hand.
        values: (A,) their EVs in chips from this decision on, see `Tree.action_values`.
        outside: Whether the tree was solved again because it had no such bet.
        reach: The chance that the solver with this hand had done what the player did before.
    """

    history: History
    actions: list[int]
    choice: int
    mix: NDArray[np.float64]
    values: NDArray[np.float64]
    outside: bool
    reach: float

    @property
    def lost(self) -> float:
        """EV lost by the choice, in chips."""
        return float(self.values.max() - self.values[self.choice])


def review(solver: Resolver, spot: Spot, history: History, seat: int, hand: int) -> list[Verdict]:
    """Evaluate every decision of a player.

    Args:
        solver: Whose strategy is the measure.
        spot: Where the hand started.
        history: The hand.
        seat: The player.
        hand: Its private hand.
    """
    verdicts, reach = [], 1.0
    for past, action in history.past(spot):
        if past.state.player != seat:
            continue
        tree, node = solver.offering(past, action)
        actions, probabilities = tree.strategy(node)
        verdict = Verdict(
            history=past,
            actions=actions,
            choice=actions.index(action),
            mix=probabilities[:, hand],
            values=tree.action_values(node)[:, hand],
            outside=action not in solver(past).actions,
            reach=reach,
        )
        verdicts.append(verdict)
        reach *= float(verdict.mix[verdict.choice])
    return verdicts


def lesson(verdicts: Sequence[Verdict]) -> Table:
    """The verdicts of a hand as a table of 80 columns at most."""
    table = Table("your decision", "action", title="What the solver does with your hand")
    for column in ("solver", "EV", "EV lost"):
        table.add_column(column, justify="right")
    for verdict in verdicts:
        state = verdict.history.state
        where = f"{STREETS[state.street]}, pot {state.pot}"
        for place, action in enumerate(verdict.actions):
            chosen = place == verdict.choice
            table.add_row(
                where if place == 0 else "",
                f"{'>' if chosen else ' '} {describe(action, state)}",
                f"{verdict.mix[place]:.1%}",
                f"{verdict.values[place]:z.2f}",
                f"{verdict.lost:.2f}" if chosen else "",
            )
        table.add_section()
    return table


def remarks(verdicts: Sequence[Verdict]) -> list[str]:
    """What the table cannot say, in sentences."""
    found = []
    for verdict in verdicts:
        state = verdict.history.state
        did = describe(verdict.actions[verdict.choice], state)
        if verdict.outside:
            found.append(
                f"The solver had no '{did}': it solved that {STREETS[state.street]} decision again "
                "with this size beside its own, and its mix and the EVs are of that solution."
            )
        if verdict.reach < RARE:
            found.append(
                f"Before you could '{did}' you had left the solver's play: with your hand it comes "
                f"there {verdict.reach:.2%} of the time, so its mix is rough; go by the EVs."
            )
    return found
