"""What a second thread brings the solver, beside all that the machine's second core could bring.

    python benchmarks/rl_cfr_threads.py

A turn, a wide turn and a flop, DCFR in float32. In turns, after a warm-up: one thread; two threads
of one solver; and two processes side by side, each with a solver of one thread, which share nothing
but the machine. These set the ceiling: where two of them take longer than one, cores, caches or
memory are shared, and no way of dividing the work comes around that. Wall clock, medians over
rounds with the least and the greatest of them; the machine has to be quiet.
"""

import multiprocessing
import time
from multiprocessing.connection import Connection
from statistics import median
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rl_cfr import OPEN, WIDE

from tenfold.algorithms.rl_cfr.solver.solver import Solver
from tenfold.algorithms.rl_cfr.solver.subgame import Subgame
from tenfold.envs.poker.sizes import parse_menu
from tenfold.envs.poker.spot import read_spot

SPOTS: dict[str, tuple[str, int, str, list[str], str, int]] = {
    "turn": ("QsJh2h8c", 200, "900", [WIDE, OPEN], "0.5,1,allin", 12),
    "wide turn": (
        "QsJh2h8c",
        200,
        "900",
        ["77+,ATs+,KJs+,QJs,AJo+,KQo", "random"],
        "0.5,allin",
        16,
    ),
    "flop": ("QsJh2h", 100, "250", ["TT+,AQs+,AKo", "99+,AJs+,KQs,AKo"], "0.5,allin", 5),
}
"""Board, pot, stacks, ranges, raises, and iterations of a block."""


def solver(spot: str, threads: int) -> Solver:
    """A solver of a spot that has begun."""
    board, pot, stacks, ranges, sizes, _ = SPOTS[spot]
    read = read_spot(board, pot, stacks, ranges, 10)
    game = Subgame(read, parse_menu(sizes).raises, 2, own_hands=True).game
    begun = Solver(game, "dcfr", threads=threads)
    begun.iterate(2)
    return begun


def block(begun: Solver, iterations: int) -> float:
    """Wall-clock seconds of some iterations."""
    start = time.perf_counter()
    begun.iterate(iterations)
    return time.perf_counter() - start


def beside(spot: str, door: Connection) -> None:
    """A process that takes a block whenever it is told to, and says how long it took."""
    begun = solver(spot, 1)
    door.send(None)
    while (iterations := door.recv()) is not None:
        door.send(block(begun, iterations))


def main(rounds: Annotated[int, typer.Option(help="Of blocks, in turns.")] = 9) -> None:
    """Print the table."""
    table = Table("spot", "nodes", "one thread, ms", "two threads", "two processes: the ceiling")
    table.add_column("of the ceiling")
    processes = multiprocessing.get_context("spawn")
    for spot, (*_, iterations) in SPOTS.items():
        one, two = solver(spot, 1), solver(spot, 2)
        doors = []
        for _ in range(2):
            ours, theirs = processes.Pipe()
            processes.Process(target=beside, args=(spot, theirs), daemon=True).start()
            doors.append(ours)
        for door in doors:
            door.recv()
        alone, threads, ceiling = [], [], []
        for _ in range(rounds):
            alone.append(block(one, iterations))
            threads.append(alone[-1] / block(two, iterations))
            for door in doors:
                door.send(iterations)
            ceiling.append(2 * alone[-1] / max(door.recv() for door in doors))
        for door in doors:
            door.send(None)
        shares = [ours / most for ours, most in zip(threads, ceiling, strict=True)]
        times = f"{1e3 * median(alone) / iterations:.2f}"
        cells = [f"{median(x):.2f} ({min(x):.2f} to {max(x):.2f})" for x in (threads, ceiling)]
        cells.append(f"{median(shares):.2f} ({min(shares):.2f} to {max(shares):.2f})")
        table.add_row(spot, f"{len(one.game.tree.kind):,}", times, *cells)
    Console(width=130).print(table)


if __name__ == "__main__":
    typer.run(main)
