"""Many games to solve: on a GPU those of one shape together, elsewhere one after the other."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from tenfold.algorithms.rl_cfr.solver.batch import SHAPE, BatchSolver, is_batchable
from tenfold.algorithms.rl_cfr.solver.game import Game
from tenfold.algorithms.rl_cfr.solver.solver import Solver, Values

CPU = "cpu"

WORTH = 100_000
"""Nodes times hands of games of one shape from which on they go to a GPU together.

An iteration there is 140 operations of some 3 microseconds, however small they are; the compiled
solver takes 4 ns for a node and a hand.
"""


class Solution(NamedTuple):
    """A game's average strategies.

    Attributes:
        strategy: (A, H) at the root.
        values: What they are worth.
    """

    strategy: NDArray[np.floating]
    values: Values


def solve_games(
    games: Sequence[Game], variant: str, iterations: int, device: str = CPU
) -> list[Solution]:
    """Solve each game; their numbers differ between devices by rounding.

    Args:
        games: Of any shapes.
        variant: One of `VARIANTS`.
        iterations: Of CFR.
        device: "cpu", or a GPU such as "cuda:0".
    """
    found: dict[int, Solution] = {}
    for places in _by_shape(games) if device != CPU else []:
        alike = [games[place] for place in places]
        if len(alike) * len(alike[0].tree.kind) * alike[0].tree.hands >= WORTH:
            solved = _solve_alike(alike, variant, iterations, device)
            found |= dict(zip(places, solved, strict=True))
    for place, game in enumerate(games):
        if place not in found:
            solver = Solver(game, variant)
            solver.iterate(iterations)
            found[place] = Solution(solver.strategy(0), solver.values())
    return [found[place] for place in range(len(games))]


def _by_shape(games: Sequence[Game]) -> list[list[int]]:
    """Places of the games that a `BatchSolver` takes, those of one shape together."""
    shapes: dict[tuple[bytes, ...], list[int]] = {}
    for place, game in enumerate(games):
        if is_batchable(game.tree):
            key = tuple(getattr(game.tree, name).tobytes() for name in SHAPE)
            shapes.setdefault(key, []).append(place)
    return list(shapes.values())


def _solve_alike(
    games: Sequence[Game], variant: str, iterations: int, device: str
) -> list[Solution]:
    single = games[0].tree.swing.dtype == np.float32
    solver = BatchSolver(games, variant, device, torch.float32 if single else torch.float64)
    solver.iterate(iterations)
    strategies = solver.strategy(0).cpu().numpy()
    return [
        Solution(strategy[:, : game.tree.hands], values)
        for strategy, game, values in zip(strategies, games, solver.values(), strict=True)
    ]
