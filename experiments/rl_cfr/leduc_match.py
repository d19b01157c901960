"""Matches on no-limit Leduc by OpenSpiel's rules; each writes its row to results/rl_cfr.

    python experiments/rl_cfr/leduc_match.py 1,allin 0.5,allin
    python experiments/rl_cfr/leduc_match.py runs/rl_cfr/leduc_nl-0 1,allin
    python experiments/rl_cfr/leduc_match.py runs/rl_cfr/leduc_nl-0 1,allin --own --iterations 4000

A player is a menu or a checkpoint. Its tree of the whole game is solved by CFR+, and its strategy
for the full game, in which every raise is allowed, is read off by `full_game.translate`; with
``--own`` only its own raises are limited, and its tree has every raise of the other
(`own_raises`).
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import numpy as np
import pyspiel
import typer
from match import abstraction

from tenfold.algorithms.rl_cfr.leduc.full_game import FullGamePolicy, search
from tenfold.algorithms.rl_cfr.leduc.own_raises import solve_own_raises
from tenfold.algorithms.rl_cfr.mdp import Solving
from tenfold.algorithms.rl_cfr.play.match import score
from tenfold.algorithms.rl_cfr.play.small_match import duplicate_small, expected_small
from tenfold.algorithms.rl_cfr.worlds.leduc import LeducWorld, game_string
from tenfold.envs.poker.sizes import parse_menu

RESULTS = Path(__file__).parent.parent / "results" / "rl_cfr" / "leduc_matches.json"
SOLVING = Solving(parse_menu("1,allin"), max_raises=6, variant="dcfr", iterations=100)
"""Of the subgames that a learned abstraction's beliefs come from, as in training."""


def policy(world: LeducWorld, name: str, iterations: int, own: bool) -> FullGamePolicy:
    """The player of a menu or a checkpoint."""
    arguments = world, abstraction(name), SOLVING, "cfr+", iterations
    strategies = solve_own_raises(*arguments)[0] if own else search(*arguments)
    return FullGamePolicy(world, strategies)


def main(
    first: Annotated[str, typer.Argument(help="A menu such as 1,allin, or a checkpoint.")],
    second: Annotated[str, typer.Argument(help="The same.")],
    stack: Annotated[int, typer.Option(help="Chips of each player, the ante included.")] = 6,
    deals: Annotated[int, typer.Option(help="Each is played from both seats.")] = 50_000,
    iterations: Annotated[int, typer.Option(help="Of CFR+ on each player's tree.")] = 400,
    seed: Annotated[int, typer.Option(help="Of deals and actions.")] = 0,
    own: Annotated[bool, typer.Option("--own", help="Limit own raises only.")] = False,
) -> None:
    """Play a match; positive numbers are what the first player wins, in thousandths of an ante."""
    world, game = LeducWorld(stack), pyspiel.load_game(game_string(stack))
    policies = [policy(world, name, iterations, own) for name in (first, second)]
    won = 1_000 * duplicate_small(game, policies, deals, np.random.default_rng(seed))
    row = {
        "hands": 2 * deals,
        "seed": seed,
        "stack": stack,
        "played": asdict(score(won.tolist())),
        "exact": 1_000 * expected_small(game, policies),
    }
    rows = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    rows[f"{first} against {second}{', own raises' if own else ''}"] = row
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(rows, indent=2) + "\n")
    print(json.dumps(row, indent=2))


if __name__ == "__main__":
    typer.run(main)
