"""How fast many rivers are solved at once, beside the compiled solver on one core.

    python benchmarks/batched_rivers.py                 16, 64 and 256 rivers, 1,081 hands, on a GPU
    python benchmarks/batched_rivers.py --device cpu    a small size

One tree shape (0.5, 1, 2 pots and all-in, two raises), random boards, float32, DCFR. Blocks of both
alternate; the ratio, the median over the blocks, is how many cores of the same machine the batch is
worth. What is compiled, or captured as a graph, is so before the clock runs; the clock is the
wall's, and a GPU is waited for. A part of gpu.py.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from tenfold.algorithms.rl_cfr.solver.batch import BatchSolver
from tenfold.algorithms.rl_cfr.solver.game import Game
from tenfold.algorithms.rl_cfr.solver.solver import Solver
from tenfold.algorithms.rl_cfr.solver.subgame import Subgame
from tenfold.envs.poker.cards import format_cards
from tenfold.envs.poker.sizes import parse_menu
from tenfold.envs.poker.spot import read_spot


def rivers(count: int, hands: str) -> list[Game]:
    """Random rivers on which both players may hold the same hands."""
    rng, raises, games = np.random.default_rng(0), parse_menu("0.5,1,2,allin").raises, []
    for _ in range(count):
        board = format_cards(rng.permutation(52)[:5].tolist())
        spot = read_spot(board, 1_000, "9500", [hands, hands], 100)
        games.append(Subgame(spot, raises, max_raises=2, isomorphism=False).game)
    return games


def milliseconds(iterate: Callable[[int], None], iterations: int) -> float:
    """Time of an iteration, until a GPU is done with it."""
    start = time.perf_counter()
    iterate(iterations)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return 1e3 * (time.perf_counter() - start) / iterations


def report(on_card: bool, blocks: int) -> Table:
    """A row for each number of rivers."""
    device = "cuda" if on_card else "cpu"
    counts, hands, iterations = ((16, 64, 256), "random", 50) if on_card else ((1, 4), "55+,A9+", 5)
    games = rivers(max(counts), hands)
    tree, alone = games[0].tree, Solver(games[0], "dcfr")
    title = f"batched rivers, {len(tree.kind)} nodes, {tree.hands} hands, {device}"
    table = Table("rivers", "ms", "us a river", "compiled, us", "cores", title=title)
    for count in counts:
        together = BatchSolver(games[:count], "dcfr", device, torch.float32)
        times = [
            [milliseconds(each.iterate, iterations) for each in (together, alone)]
            for _ in range(blocks + 1)
        ]
        mine, theirs = np.array(times[1:]).T  # the first warms up
        ours, one = float(np.median(mine)), float(np.median(theirs))
        cores = float(np.median(count * theirs / mine))
        cells = f"{ours:.2f}", f"{1e3 * ours / count:.1f}", f"{1e3 * one:.0f}", f"{cores:.2f}"
        table.add_row(str(count), *cells)
    return table


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Batched rivers beside the compiled solver.")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--blocks", type=int, default=5)
    options = parser.parse_args()
    if options.device == "cuda":
        print(torch.cuda.get_device_name())
    Console(width=110).print(report(options.device == "cuda", options.blocks))


if __name__ == "__main__":
    main()
