"""Solve a spot: iterate until it is good enough, then say what to do at the root.

spot = read_spot("AsKd7h2c3d", 1_000, "9500", ["22+,A2s+,KTo+", "random"], 100)
solution = solve(Subgame(spot, parse_menu("0.5,1,allin").raises), "dcfr", 500)
solution.strategy  # (A, 1326)
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tenfold.algorithms.rl_cfr.solver.solver import Solver
from tenfold.algorithms.rl_cfr.solver.subgame import Subgame
from tenfold.envs.poker.cards import HAND_COUNT, format_cards, format_hand
from tenfold.envs.poker.spot import dealable, deals
from tenfold.envs.poker.words import describe

Progress = Callable[[int, float, float], None]
"""Called with iterations done, exploitability in chips when last looked at, and seconds."""

CHECK_EVERY = 25
"""Iterations between looks at the exploitability, which costs about two."""

SELDOM = 1e-6
"""An action that is taken less often than this has no mean."""

TELL_EVERY = 0.5
"""Seconds between calls of `Progress`, unless an iteration takes longer."""


class ByAction(NamedTuple):
    """What an action is worth to the hands that take it; None where none does.

    Attributes:
        ev: Chips from here on.
        equity: Chance to win if nobody bets on, ties half, against the other player's hands before
            it answers.
    """

    ev: float | None
    equity: float | None


def by_action(
    strategy: NDArray[np.float64],
    ev: NDArray[np.float64],
    equity: NDArray[np.float64],
    weights: NDArray[np.float64],
) -> list[ByAction]:
    """EV and equity by action.

    Args:
        strategy: (A, 1326) probabilities.
        ev: (A, 1326) chips.
        equity: (1326,).
        weights: (1326,) how often each hand is at the decision.
    """
    found = []
    for taken, chips in zip(strategy * weights, ev, strict=True):
        total = taken.sum()
        if total > SELDOM * weights.sum():
            means = float(taken @ chips / total), float(taken @ equity / total)
            found.append(ByAction(round(means[0], 5), round(means[1], 5)))
        else:
            found.append(ByAction(None, None))
    return found


@dataclass(frozen=True)
class Solution:
    """What a solved spot says.

    Attributes:
        subgame: What was solved.
        solver: Its average strategies, at every node.
        iterations: How many were run.
        seconds: Time that they took, looks at the exploitability included.
        actions: Actions at the root, in words.
        strategy: (A, 1326) their average probabilities by hand; 0 for hands out of range.
        ev: (2, 1326) chips that each hand wins from here on, the pot included.
        equity: (2, 1326) chance to win if nobody bets, ties half.
        action_ev: (A, 1326) chips that each action at the root wins from here on.
        value: Expected chips of each player from here on; they sum to the pot less the rake.
        exploitability: Mean gain of the two best answers, in chips.
    """

    subgame: Subgame
    solver: Solver
    iterations: int
    seconds: float
    actions: list[str]
    strategy: NDArray[np.float64]
    ev: NDArray[np.float64]
    equity: NDArray[np.float64]
    action_ev: NDArray[np.float64]
    value: tuple[float, float]
    exploitability: float

    @property
    def percent(self) -> float:
        """Exploitability in per cent of the pot."""
        return 100.0 * self.exploitability * self.subgame.spot.unit / self.subgame.root.pot

    def frequencies(self) -> NDArray[np.float64]:
        """(A,): how often each action is taken at the root over all dealable hands."""
        weights = deals(self.subgame.spot.ranges)[self._player]
        return self.strategy @ weights / weights.sum()

    def by_action(self) -> list[ByAction]:
        """EV and equity of each action at the root, over the hands that take it."""
        weights, equity = deals(self.subgame.spot.ranges), self.equity[self._player]
        return by_action(self.strategy, self.action_ev, equity, weights[self._player])

    @property
    def raked(self) -> float:
        """Chips that the house takes on average."""
        if self.subgame.game.total is not None:
            return 0.0
        return self.subgame.root.pot / self.subgame.spot.unit - sum(self.value)

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and text; hands that cannot be dealt are left out."""
        spot, player = self.subgame.spot, self._player
        weights = deals(spot.ranges)
        hands = {
            format_hand(hand): {
                "strategy": _rounded(self.strategy[:, hand]),
                "ev": round(float(self.ev[player, hand]), spot.decimals + 3),
                "action_ev": [
                    round(float(chips), spot.decimals + 3) for chips in self.action_ev[:, hand]
                ],
                "equity": round(float(self.equity[player, hand]), 5),
                "weight": float(spot.ranges[player, hand]),
            }
            for hand in range(HAND_COUNT)
            if weights[player, hand] > 0
        }
        return {
            "board": format_cards(spot.board),
            "pot": self.subgame.root.pot / spot.unit,
            "stacks": [stack / spot.unit for stack in self.subgame.root.stacks],
            "smallest_bet": spot.rules.big_blind / spot.unit,
            "rake": {
                "share": spot.rules.rake.share,
                "cap": _finite(spot.rules.rake.cap / spot.unit),
                "chips": self.raked,
            },
            "variant": self.solver.variant,
            "iterations": self.iterations,
            "seconds": round(self.seconds, 3),
            "exploitability": {"chips": self.exploitability, "percent_of_pot": self.percent},
            "ev": list(self.value),
            "player": player,
            "actions": self.actions,
            "frequencies": _rounded(self.frequencies()),
            "by_action": [each._asdict() for each in self.by_action()],
            "hands": hands,
        }

    @property
    def _player(self) -> int:
        return self.subgame.root.player


def solve(
    subgame: Subgame,
    variant: str,
    iterations: int,
    target: float = 0.0,
    progress: Progress | None = None,
    threads: int = 1,
    start: Mapping[str, NDArray[Any]] | None = None,
    limit: float = math.inf,
    compressed: bool = False,
) -> Solution:
    """Run CFR on a subgame.

    Args:
        subgame: The spot and its bet tree.
        variant: One of `VARIANTS`.
        iterations: At most this many.
        target: Stop once the exploitability is at most this many per cent of the pot.
        progress: Told after the first iteration, and then every half second or iteration.
        threads: See `Solver`.
        start: Of `Solver.get_state`, to go on from; its iterations count.
        limit: Seconds after which it stops at the next look at the exploitability.
        compressed: See `Solver`.

    Raises:
        ValueError: There are no iterations, or the target is negative, or the variant is unknown;
            or `start` is of another tree.
    """
    if iterations < 1:
        raise ValueError(f"{iterations} iterations solve nothing: give at least 1.")
    if not target >= 0:
        raise ValueError(f"Target {target} is no share of the pot: give 0 or more per cent.")
    solver = Solver(subgame.game, variant, threads, compressed)
    if start is not None:
        solver.set_state(start)
    begin = time.perf_counter()
    look = CHECK_EVERY if target > 0 or progress or limit < math.inf else iterations
    looks = {*range(look, iterations, look)} | ({1} if progress else set())
    looks = {until for until in looks if until > solver.iteration} | {iterations}
    lost = math.nan
    for until in sorted(looks):
        while solver.iteration < until:
            steps = until - solver.iteration
            if progress and solver.iteration:
                seconds = max(time.perf_counter() - begin, 1e-6)
                progress(solver.iteration, lost, seconds)
                steps = min(steps, max(1, int(TELL_EVERY * solver.iteration / seconds)))
            solver.iterate(steps)
        values = solver.values()
        lost = values.exploitability / subgame.spot.unit
        if 100.0 * values.exploitability <= target * subgame.root.pot:
            break
        if time.perf_counter() - begin >= limit:
            break
    seconds = time.perf_counter() - begin
    if progress:
        progress(solver.iteration, lost, seconds)
    spot, root = subgame.spot, subgame.root
    free = deals((spot.ranges > 0).astype(np.float64)) > 0
    weights = np.where(free, deals(spot.ranges) / np.where(spot.ranges > 0, spot.ranges, 1.0), 1.0)
    inside = spot.ranges[root.player] > 0
    others = dealable(spot.ranges[1 - root.player])
    acted = subgame.spread(solver.action_values(0, best=False))
    known = np.divide(acted, others, out=np.zeros_like(acted), where=others > 0.0)
    committed, unit = np.array(root.committed), spot.unit
    return Solution(
        subgame=subgame,
        solver=solver,
        iterations=solver.iteration,
        seconds=seconds,
        actions=[describe(move, root, unit) for move in subgame.moves[0]],
        strategy=subgame.spread(solver.strategy(0)) * inside,
        ev=np.where(free, subgame.spread(values.hands) / weights + committed[:, None], 0.0) / unit,
        equity=np.where(free, subgame.equities(), 0.0),
        action_ev=(known + root.committed[root.player]) / unit * (inside & (others > 0.0)),
        value=(
            (values.players[0] + root.committed[0]) / unit,
            (values.players[1] + root.committed[1]) / unit,
        ),
        exploitability=lost,
    )


def _finite(number: float) -> float | None:
    """A number for JSON, which knows no infinity."""
    return number if math.isfinite(number) else None


def _rounded(values: NDArray[np.float64]) -> list[float]:
    return [round(float(each), 5) for each in values]
