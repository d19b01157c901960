"""How fast the public-tree solver is: a turn, a river, OpenSpiel's C++ CFR+; one run.

    python benchmarks/rl_cfr.py

Times are processor seconds of one thread, so that waiting on a busy machine does not count: the
median of several blocks, with the 95 % interval of a bootstrap. Both CFR+ run equally many
iterations on the same game; one exact best response, ours, evaluates both average policies (that it
is OpenSpiel's to 1e-6 is tested on smaller games; on the toy OpenSpiel's own needs too long).
"""

import resource
import time
from collections.abc import Callable, Sequence

import numpy as np
import pyspiel
from rich.console import Console
from rich.table import Table
from scipy import stats

from tenfold.algorithms.rl_cfr.solver.openspiel import SmallGame
from tenfold.algorithms.rl_cfr.solver.solver import Solver
from tenfold.algorithms.rl_cfr.solver.subgame import Subgame
from tenfold.envs.poker.sizes import parse_menu
from tenfold.envs.poker.spot import Spot, read_spot

TOY = (
    "universal_poker(betting=nolimit,numPlayers=2,numRounds=2,blind=1 1,firstPlayer=1 1,"
    "numSuits=2,numRanks=3,numHoleCards=1,numBoardCards=0 1,stack=10 10,"
    "bettingAbstraction=fullgame)"
)
GAMES = {"kuhn_poker": 2_000, "leduc_poker": 100, TOY: 5}
"""Game -> iterations that both run, in five blocks, before they are evaluated."""

BLOCKS = 5

WIDE = "22+,A2s+,K5s+,Q8s+,J8s+,T8s+,97s+,86s+,75s+,65s,54s,A7o+,K9o+,QTo+,JTo"
OPEN = "22+,A2s+,K2s+,Q5s+,J7s+,T7s+,96s+,86s+,75s+,64s+,54s,A2o+,K8o+,Q9o+,J9o+,T9o"
PERCENT = 0.5
"""Of the pot: where the turn stops."""


def seconds(work: Callable[[], object]) -> float:
    """Processor seconds of a call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def median(*samples: Sequence[float]) -> str:
    """The median of a sample, or the ratio of two samples' medians, with its interval."""

    def statistic(*arrays: np.ndarray, axis: int = -1) -> np.ndarray:
        middle = [np.median(each, axis=axis) for each in arrays]
        return middle[0] / middle[1] if len(middle) > 1 else middle[0]

    arrays = [np.asarray(each) for each in samples]
    interval = stats.bootstrap(arrays, statistic, method="percentile", rng=0).confidence_interval
    numbers = float(statistic(*arrays)), *map(float, interval)
    middle, low, high = (f"{each:,.0f}" if each >= 100 else f"{each:.3g}" for each in numbers)
    return f"{middle} ({low} to {high})"


def small_games(console: Console) -> None:
    """Iterations a second beside OpenSpiel, and exploitability after equal iterations."""
    table = Table("game, CFR+", "OpenSpiel it/s", "ours it/s", "times", "iterations")
    table.add_column("exploitabilities, OpenSpiel's first")
    for name, count in GAMES.items():
        spiel = pyspiel.load_game(name)
        theirs, small = pyspiel.CFRPlusSolver(spiel), SmallGame(spiel)
        ours, evaluator = Solver(small.game, "cfr+"), Solver(small.game, "cfr+")

        def run(solver: "pyspiel.CFRPlusSolver" = theirs, steps: int = count // BLOCKS) -> None:
            for _ in range(steps):
                solver.evaluate_and_update_policy()

        slow = [count / BLOCKS / seconds(run) for _ in range(BLOCKS)]
        ours.iterate(count)
        policy = theirs.average_policy()
        strategies: dict[int, np.ndarray] = {}
        for infoset, (node, hand, legal) in small.infosets.items():
            shares = dict(policy.action_probabilities(infoset))
            strategy = strategies.setdefault(node, np.zeros((len(legal), small.game.tree.hands)))
            strategy[:, hand] = [shares[action] for action in legal]
        for node, strategy in strategies.items():
            evaluator.play(node, strategy)
        gaps = [each.values().exploitability for each in (evaluator, ours)]
        more = 4 * count
        fast = [more / seconds(lambda s=ours, n=more: s.iterate(n)) for _ in range(4 * BLOCKS)]
        shown = "no-limit toy" if name == TOY else name
        cells = median(slow), median(fast), median(fast, slow)
        table.add_row(shown, *cells, str(count), " ".join(f"{gap:.6g}" for gap in gaps))
    console.print(table)


def river(console: Console) -> None:
    """Milliseconds an iteration with all hands, three sizes and all-in, two raises deep."""
    spot = read_spot("AsKd7h2c3d", 1_000, "9500", ["random", "random"], 100)
    table = Table("river, 1,081 hands, 0.5/1/2 pot and all-in, two raises", "nodes", "ms/iteration")
    for dtype in (np.float32, np.float64):
        subgame = Subgame(spot, parse_menu("0.5,1,2,allin").raises, max_raises=2, dtype=dtype)
        solver = Solver(subgame.game, "dcfr")
        solver.iterate(1)
        took = [1000 * seconds(lambda s=solver: s.iterate(25)) / 25 for _ in range(4 * BLOCKS)]
        table.add_row(dtype.__name__, str(len(subgame.game.tree.kind)), median(took))
    console.print(table)


def turn(console: Console) -> None:
    """A turn by all its rivers, solved until its exploitability is a share of the pot."""
    table = Table("turn Qs Jh 2h 8c, pot 200, stacks 900", "nodes", "hands", "s", "iterations")
    for column in ("% of pot", "MB of arrays", "peak MB of the process"):
        table.add_column(column)
    spot: Spot = read_spot("QsJh2h8c", 200, "900", [WIDE, OPEN], 10)
    for text in ("0.5,allin", "0.5,1,allin"):
        subgame = Subgame(spot, parse_menu(text).raises, 2, own_hands=True)
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
    console = Console(width=150)
    turn(console)  # first: the process's peak of memory is then the turn's
    river(console)
    small_games(console)


if __name__ == "__main__":
    main()
