"""Large checks of the poker world; each writes what it found to experiments/results/poker.

python experiments/poker/check.py rules
python experiments/poker/check.py strength
"""

import itertools
import json
import time
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyspiel
import typer
from numpy.typing import NDArray
from phevaluator import evaluate_cards
from rich.progress import track

from tenfold.envs.poker.cards import HANDS
from tenfold.envs.poker.openspiel import disagreement, game_string
from tenfold.envs.poker.rules import HUNL, Rules
from tenfold.envs.poker.strength import WEAKEST, board_ranks

RESULTS = Path(__file__).parent.parent / "results" / "poker"

app = typer.Typer(help=__doc__, no_args_is_help=True, pretty_exceptions_enable=False)
Seed = Annotated[int, typer.Option(help="Seed of the deals and the actions.")]


@app.command()
def rules(
    hands: Annotated[int, typer.Option(help="Hands of each stack size.")] = 10_000, seed: Seed = 0
) -> None:
    """Random hands by our rules and by OpenSpiel's: actors, legality, chips, pots, payoffs."""
    tables = {
        "200 big blinds": HUNL,
        "15 big blinds": Rules(stacks=(1_500, 1_500), blinds=(100, 50)),
    }
    for name, table in tables.items():
        game = pyspiel.load_game(game_string(table))
        rng = np.random.default_rng(seed)
        began = time.perf_counter()
        found = [
            said
            for _ in track(range(hands), description=name)
            if (said := disagreement(game, table, rng))
        ]
        _record(
            "rules",
            name,
            {
                "hands": hands,
                "seed": seed,
                "disagreements": len(found),
                "first": found[:1],
                "seconds": round(time.perf_counter() - began, 1),
            },
        )


@app.command()
def strength(
    hands: Annotated[int, typer.Option(help="Random seven-card hands.")] = 1_000_000,
    seed: Seed = 0,
) -> None:
    """Strength tables beside phevaluator hand by hand, and beside the rules of poker.

    The rules are written down here once more, without tables: category by counting ranks and suits
    over all seven cards, then the ranks that break ties.
    """
    rng = np.random.default_rng(seed)
    boards = hands // 500
    differs, cards, ranks = 0, [], []
    for _ in track(range(boards), description="boards"):
        board = rng.permutation(52)[:5]
        table = board_ranks(board)
        chosen = rng.choice(np.flatnonzero(table >= 0), size=500, replace=False)
        seven = np.concatenate([np.tile(board, (500, 1)), HANDS[chosen]], axis=1)
        direct = [WEAKEST - evaluate_cards(*each) for each in seven.tolist()]
        differs += int((table[chosen] != direct).sum())
        cards.append(seven)
        ranks.append(table[chosen])
    value = poker_value(np.concatenate(cards))
    rank = np.concatenate(ranks)
    order = np.lexsort((value, rank))
    pairs = zip(np.diff(value[order]), np.diff(rank[order].astype(np.int64)), strict=True)
    wrong = sum((v > 0) != (r > 0) or v < 0 for v, r in pairs)
    _record(
        "strength",
        "all",
        {
            "hands": boards * 500,
            "boards": boards,
            "seed": seed,
            "differ from phevaluator": differs,
            "neighbours ordered against the rules": int(wrong),
            "categories": dict(sorted(Counter((value // 13**5).tolist()).items())),
        },
    )


def poker_value(cards: NDArray[np.int64]) -> NDArray[np.int64]:
    """The value of seven-card hands by the rules of poker, bigger is better.

    Args:
        cards: (N, 7).

    Returns:
        (N,): ``category * 13^5`` plus the five ranks that count, as digits of base 13.
    """
    best = np.zeros(len(cards), dtype=np.int64)
    for five in itertools.combinations(range(7), 5):
        best = np.maximum(best, _five_card_value(cards[:, five]))
    return best


def _five_card_value(cards: NDArray[np.int64]) -> NDArray[np.int64]:
    ranks, suits = cards // 4, cards % 4
    counts = (ranks[:, :, None] == ranks[:, None, :]).sum(axis=2)  # how often each card's rank is
    digits = np.sort(13 * counts + ranks, axis=1)[:, ::-1] % 13
    squares = counts.sum(axis=1)  # 5, 7, 9, 11, 13, 17 tell the pattern of equal ranks
    flush = (suits == suits[:, :1]).all(axis=1)
    distinct = squares == 5
    wheel = distinct & (digits == [12, 3, 2, 1, 0]).all(axis=1)
    straight = wheel | (distinct & (digits[:, 0] - digits[:, 4] == 4))
    digits = np.where(wheel[:, None], [3, 2, 1, 0, 0], digits)
    four, boat, three, two_pair, pair = (squares == each for each in (17, 13, 11, 9, 7))
    category = np.select(
        [flush & straight, four, boat, flush, straight, three, two_pair, pair],
        [8, 7, 6, 5, 4, 3, 2, 1],
    )
    return category * 13**5 + digits @ 13 ** np.arange(4, -1, -1)


def _record(check: str, part: str, found: dict[str, Any]) -> None:
    """Print a finding and put it into the check's JSON file."""
    path = RESULTS / f"{check}.json"
    RESULTS.mkdir(parents=True, exist_ok=True)
    known = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps({**known, part: found}, indent=2) + "\n")
    print(part, json.dumps(found))


if __name__ == "__main__":
    app()
