"""How fast the public-tree solver is: OpenSpiel's C++ CFR+ beside it, a river, a turn; one run.

    python benchmarks/rl_cfr.py

Times are processor seconds of one thread, the best of several blocks for either solver, so that a
busy machine does not count. Both CFR+ run the same iterations on the same game, and C++ OpenSpiel
computes the exploitability of its own.
"""

import resource
import time
from collections.abc import Callable

import numpy as np
import pyspiel
from rich.console import Console
from rich.table import Table

from tenfold.algorithms.rl_cfr.openspiel import SmallGame
from tenfold.algorithms.rl_cfr.solver import Solver
from tenfold.algorithms.rl_cfr.subgame import Subgame
from tenfold.envs.poker.sizes import parse_menu
from tenfold.envs.poker.spot import Spot, read_spot

TOY = (
    "universal_poker(betting=nolimit,numPlayers=2,numRounds=2,blind=1 1,firstPlayer=1 1,"
    "numSuits=2,numRanks=3,numHoleCards=1,numBoardCards=0 1,stack=10 10,"
    "bettingAbstraction=fullgame)"
)
GAMES = {"kuhn_poker": 1_998, "leduc_poker": 99, TOY: 3}
"""Game -> iterations that both run, in three blocks, before their exploitabilities are compared."""

WIDE = "22+,A2s+,K5s+,Q8s+,J8s+,T8s+,97s+,86s+,75s+,65s,54s,A7o+,K9o+,QTo+,JTo"
OPEN = "22+,A2s+,K2s+,Q5s+,J7s+,T7s+,96s+,86s+,75s+,64s+,54s,A2o+,K8o+,Q9o+,J9o+,T9o"
PERCENT = 0.5
"""Of the pot: where the turn stops."""


def seconds(work: Callable[[], object]) -> float:
    """Processor seconds of a call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def small_games(console: Console) -> None:
    """Iterations a second beside OpenSpiel, and exploitability after equal iterations."""
    table = Table("game", "OpenSpiel it/s", "ours it/s", "times", "iterations", "gaps of both")
    for name, count in GAMES.items():
        spiel = pyspiel.load_game(name)
        theirs, small = pyspiel.CFRPlusSolver(spiel), SmallGame(spiel)
        ours = Solver(small.game, "cfr+")

        def run(solver: "pyspiel.CFRPlusSolver" = theirs, iterations: int = count // 3) -> None:
            for _ in range(iterations):
                solver.evaluate_and_update_policy()

        slow = max(count / 3 / seconds(run) for _ in range(3))
        ours.iterate(count)
        gap = pyspiel.exploitability(spiel, theirs.average_policy())
        gaps = f"{gap:.6g} {ours.values().exploitability:.6g}"
        more = 10 * count
        fast = max(more / seconds(lambda s=ours, n=more: s.iterate(n)) for _ in range(5))
        shown = "no-limit toy" if name == TOY else name
        table.add_row(shown, f"{slow:.3g}", f"{fast:.4g}", f"{fast / slow:.0f}", str(count), gaps)
    console.print(table)


def river(console: Console) -> None:
    """Milliseconds an iteration with all hands, three sizes and all-in, two raises deep."""
    spot = read_spot("AsKd7h2c3d", 1_000, "9500", ["random", "random"], 100)
    table = Table("river, 1,081 hands, 0.5/1/2 pot and all-in, two raises", "nodes", "ms/iteration")
    for dtype in (np.float32, np.float64):
        subgame = Subgame(spot, parse_menu("0.5,1,2,allin").raises, max_raises=2, dtype=dtype)
        solver = Solver(subgame.game, "dcfr")
        solver.iterate(1)
        best = min(seconds(lambda s=solver: s.iterate(50)) for _ in range(8)) / 50
        table.add_row(dtype.__name__, str(len(subgame.game.tree.kind)), f"{1000 * best:.2f}")
    console.print(table)


def turn(console: Console) -> None:
    """A turn by all its rivers, solved until its exploitability is a share of the pot."""
    table = Table("turn Qs Jh 2h 8c, pot 200, stacks 900", "nodes", "hands", "s", "iterations")
    for column in ("% of pot", "MB of arrays", "peak MB of the process"):
        table.add_column(column)
    spot: Spot = read_spot("QsJh2h8c", 200, "900", [WIDE, OPEN], 10)
    for text in ("0.5,allin", "0.5,1,allin"):
        subgame = Subgame(spot, parse_menu(text).raises, 2)
        solver = Solver(subgame.game, "dcfr")
        spent, percent = 0.0, 100.0
        while percent > PERCENT:
            spent += seconds(lambda s=solver: s.iterate(10))
            percent = 100 * solver.values().exploitability / spot.rules.pot
        megabytes = (solver.regrets.nbytes + solver.sums.nbytes) / 1e6
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
        tree = subgame.game.tree
        cells = [len(tree.kind), tree.hands, f"{spent:.1f}", solver.iteration]
        cells += [f"{percent:.2f}", f"{megabytes:.0f}", f"{peak:.0f}"]
        table.add_row(text, *map(str, cells))
    console.print(table)


def main() -> None:
    """Print the tables."""
    console = Console(width=130)
    small_games(console)
    river(console)
    turn(console)


if __name__ == "__main__":
    main()
