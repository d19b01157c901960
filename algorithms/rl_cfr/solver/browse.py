"""Every decision of a solved street: strategies, EVs of actions and 13 x 13 grids.

Decisions after a next card are not among them: there are as many as cards, and each has a street of
its own. `page` makes a file that a browser opens, without anything from elsewhere.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tenfold.algorithms.rl_cfr.solver.solve import ByAction, Solution, by_action
from tenfold.algorithms.rl_cfr.solver.tree import DECISION
from tenfold.envs.poker.cards import HAND_COUNT, HANDS, RANKS, SUITS, format_cards, format_hand
from tenfold.envs.poker.ranges import hand_classes
from tenfold.envs.poker.spot import dealable, deals
from tenfold.envs.poker.words import describe

_TEMPLATE = files("tenfold.algorithms.rl_cfr.solver").joinpath("browse.html")


@dataclass(frozen=True)
class Decision:
    """A decision of the street that was solved.

    Attributes:
        node: In the tree.
        line: The actions that lead to it, in words.
        player: Who acts.
        pot: Chips in the middle.
        actions: In words, A of them.
        children: Places of the decisions after each action among all; None where there is none.
        strategy: (A, 1326) average probabilities.
        ev: (A, 1326) chips that each action wins from here on, the pot included.
        equity: (1326,) chance to win if nobody bets on, ties half, against the other's hands here.
        weights: (1326,) how often each hand of the player is here, given that it can be dealt.
        reached: How often the decision is reached.
    """

    node: int
    line: tuple[str, ...]
    player: int
    pot: float
    actions: list[str]
    children: list[int | None]
    strategy: NDArray[np.float64]
    ev: NDArray[np.float64]
    equity: NDArray[np.float64]
    weights: NDArray[np.float64]
    reached: float

    def frequencies(self) -> NDArray[np.float64]:
        """(A,): how often each action is taken here; uniform where nobody gets."""
        total = self.weights.sum()
        if total == 0.0:
            return np.full(len(self.actions), 1.0 / len(self.actions))
        found: NDArray[np.float64] = self.strategy @ self.weights / total
        return found

    def by_action(self) -> list[ByAction]:
        """EV and equity of each action, over the hands that take it."""
        return by_action(self.strategy, self.ev, self.equity, self.weights)

    def grid(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Strategies (13, 13, A) and weights (13, 13) of hands that differ by suits alone.

        Aces first; suited hands above the diagonal. A strategy is 0 where no hand of it is here.
        """
        return grid(self.strategy, self.weights)

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and text; hands that do not get here are left out."""
        hands = {
            format_hand(int(hand)): {
                "weight": round(float(self.weights[hand]), 6),
                "strategy": [round(float(share), 4) for share in self.strategy[:, hand]],
                "ev": [round(float(chips), 3) for chips in self.ev[:, hand]],
                "equity": round(float(self.equity[hand]), 4),
            }
            for hand in np.flatnonzero(self.weights > 0.0)
        }
        return {
            "line": list(self.line),
            "player": self.player,
            "pot": self.pot,
            "reached": round(self.reached, 6),
            "actions": self.actions,
            "children": self.children,
            "frequencies": [round(float(share), 5) for share in self.frequencies()],
            "by_action": [each._asdict() for each in self.by_action()],
            "hands": hands,
        }


@cache
def cells() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Row and column of each hand in the 13 x 13 grid, (1326,) each."""
    ranks, suits = HANDS // len(SUITS), HANDS % len(SUITS)
    high, low = 12 - ranks.max(axis=1), 12 - ranks.min(axis=1)
    suited = suits[:, 0] == suits[:, 1]
    return np.where(suited, high, low), np.where(suited, low, high)


@cache
def names() -> list[list[str]]:
    """The classes of hands by row and column: ``AA``, ``AKs``, ..."""
    found = [[""] * 13 for _ in range(13)]
    for name in hand_classes():
        high, low = (12 - RANKS.index(rank) for rank in name[:2])
        row, column = (low, high) if name.endswith("o") else (high, low)
        found[row][column] = name
    return found


def grid(
    strategy: NDArray[np.float64], weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A strategy (A, 1326) and weights (1326,) by class, see `Decision.grid`."""
    at = cells()
    total, shares = np.zeros((13, 13)), np.zeros((13, 13, len(strategy)))
    np.add.at(total, at, weights)
    np.add.at(shares, at, (strategy * weights).T)
    here = np.where(total > 0.0, total, 1.0)
    return shares / here[..., None], total


def decisions(solution: Solution) -> list[Decision]:
    """Those of the street that was solved, each before the ones that follow it."""
    found: list[Decision] = []
    ranges = solution.subgame.spot.ranges
    _add(solution, 0, (), ranges, float(deals(ranges)[0].sum()), found)
    return found


def _add(
    solution: Solution,
    node: int,
    line: tuple[str, ...],
    reach: NDArray[np.float64],
    mass: float,
    found: list[Decision],
) -> int:
    """Add a decision and those below it; returns its place."""
    subgame, solver = solution.subgame, solution.solver
    tree, state, unit = solver.game.tree, subgame.states[node], subgame.spot.unit
    player = int(tree.player[node])
    strategy = subgame.spread(solver.strategy(node))
    others = dealable(reach[1 - player])
    values = subgame.spread(solver.action_values(node, best=False))
    known = np.divide(values, others, out=np.zeros_like(values), where=others > 0.0)
    weights = deals(reach)[player]
    actions = [describe(move, state, unit) for move in subgame.moves[node]]
    place, children = len(found), list[int | None]()
    found.append(
        Decision(
            node=node,
            line=line,
            player=player,
            pot=state.pot / unit,
            actions=actions,
            children=children,
            strategy=strategy,
            ev=(known + state.committed[player]) / unit * (weights > 0.0),
            equity=subgame.equities(reach)[player] * (weights > 0.0),
            weights=weights,
            reached=float(weights.sum()) / mass,
        )
    )
    for action, child in enumerate(tree.children(node)):
        if tree.kind[child] != DECISION:
            children.append(None)
            continue
        after = reach.copy()
        after[player] *= strategy[action]
        children.append(_add(solution, int(child), (*line, actions[action]), after, mass, found))
    return place


def page(solution: Solution, every: list[Decision]) -> str:
    """A file of HTML that browses the decisions; what it needs is in it."""
    rows, columns = cells()
    answer = {
        "board": format_cards(solution.subgame.spot.board),
        "percent": round(solution.percent, 4),
        "cells": {
            format_hand(hand): [int(rows[hand]), int(columns[hand])] for hand in range(HAND_COUNT)
        },
        "names": names(),
        "colours": [[colour(each, d.actions) for each in d.actions] for d in every],
        "decisions": [decision.to_json() for decision in every],
    }
    # Within a script an end tag would end it, whatever it stands in.
    return _TEMPLATE.read_text().replace("/*ANSWER*/", json.dumps(answer).replace("<", "\\u003c"))


def lines_of_grid(
    solution: Solution,
) -> Iterator[list[tuple[str, tuple[float, float, float]]]]:
    """The root's grid for a terminal: a row of names with colours (red, green, blue in 0 to 255).

    A cell's colour is the mean of its actions' colours by their frequencies; grey where no hand is.
    """
    spot, player = solution.subgame.spot, solution.subgame.root.player
    shares, weights = grid(solution.strategy, deals(spot.ranges)[player])
    tints = np.array([colour(action, solution.actions) for action in solution.actions])
    for row in range(13):
        mixed = np.where(weights[row, :, None] > 0.0, shares[row] @ tints, 60.0).tolist()
        yield [
            (f"{name:<4}", (red, green, blue))
            for name, (red, green, blue) in zip(names()[row], mixed, strict=True)
        ]


def colour(action: str, actions: list[str]) -> tuple[int, int, int]:
    """Blue to fold, green to check or call, red to bet or raise: the darker the more."""
    if action == "fold":
        return 70, 130, 220
    if action.startswith(("check", "call")):
        return 90, 180, 90
    bets = [each for each in actions if each.startswith(("bet", "raise"))]
    darkness = bets.index(action) / max(1, len(bets) - 1)
    return round(240 - 110 * darkness), round(110 - 90 * darkness), round(90 - 70 * darkness)
