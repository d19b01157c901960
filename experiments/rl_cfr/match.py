"""Matches on random rivers of hold'em; each writes its row to results/rl_cfr/matches.json.

    python experiments/rl_cfr/match.py 0.5,1,2,allin call
    python experiments/rl_cfr/match.py 0.5,1,2,allin random
    python experiments/rl_cfr/match.py 0.5,1,2,allin lbr
    python experiments/rl_cfr/match.py 0.5,1,2,allin 1,allin
    python experiments/rl_cfr/match.py runs/rl_cfr/seed0 0.5,1,2,allin

A player is a menu of sizes or the checkpoint of a learned abstraction: it solves again at each of
its decisions with those raises there and the default ones below, as in training, and so do all
searching players of a match, with equal iterations.
"""

import json
import time
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.progress import track

from tenfold.algorithms.rl_cfr.abstraction import load_abstraction
from tenfold.algorithms.rl_cfr.config import OPPONENTS
from tenfold.algorithms.rl_cfr.mdp import Decision, Solving
from tenfold.algorithms.rl_cfr.opponents import make_opponent, meet
from tenfold.algorithms.rl_cfr.play.growth import Abstraction
from tenfold.algorithms.rl_cfr.play.match import deal, score
from tenfold.algorithms.rl_cfr.play.policies import Policy
from tenfold.algorithms.rl_cfr.play.resolving import Resolver
from tenfold.envs.poker.sizes import parse_menu
from tenfold.envs.poker.spot import Spot
from tenfold.envs.poker.starts import StreetStarts

RESULTS = Path(__file__).parent.parent / "results" / "rl_cfr" / "matches.json"
DEFAULT = parse_menu("0.5,1,2,allin")


@lru_cache
def abstraction(name: str) -> Abstraction:
    """The raises at a decision, by a checkpoint's path or a menu's text."""
    if Path(name).is_dir():
        return load_abstraction(name)
    menu = parse_menu(name)

    def fixed(decision: Decision) -> list[int]:
        return menu.raises(decision.state)

    return fixed


def opponent(name: str, spot: Spot, player: Policy, solving: Solving) -> Policy:
    """The second player, by the name that the command takes."""
    if name in OPPONENTS["river_hunl"]:
        return make_opponent(name, spot, player, solving, None)
    return Resolver(spot, solving, abstraction(name))


def main(
    first: Annotated[str, typer.Argument(help="A menu such as 0.5,1,2,allin, or a checkpoint.")],
    second: Annotated[str, typer.Argument(help="The same, or call, random, lbr.")],
    spots: Annotated[int, typer.Option(help="Random rivers.")] = 200,
    deals: Annotated[int, typer.Option(help="Deals a river, each played from both seats.")] = 50,
    iterations: Annotated[int, typer.Option(help="Of CFR, for both.")] = 200,
    seed: Annotated[int, typer.Option(help="Of rivers, deals and actions.")] = 0,
    label: Annotated[str, typer.Option(help="Name of the row.")] = "",
) -> None:
    """Play a match; positive numbers are what the first player wins."""
    solving = Solving(DEFAULT, max_raises=2, variant="dcfr", iterations=iterations)
    starts, gains = StreetStarts(), []
    start = time.process_time()
    for index in track(range(spots), description=f"{first} against {second}"):
        rng = np.random.default_rng([seed, index])
        spot = starts.sample(rng)
        player = Resolver(spot, solving, abstraction(first))
        policies = player, opponent(second, spot, player, solving)
        gains.append(meet(spot, policies, deal(spot, deals, rng), None, rng))
    row: dict[str, Any] = {"hands": 2 * spots * deals, "spots": spots}
    row |= {"iterations": iterations, "seed": seed}
    row["played"] = asdict(score([each.played for each in gains]))
    row["exact"] = asdict(score([each.expected for each in gains]))
    row["processor seconds"] = round(time.process_time() - start)
    rows = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    rows[label or f"{first} against {second}"] = row
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(rows, indent=2) + "\n")
    print(json.dumps(row, indent=2))


if __name__ == "__main__":
    typer.run(main)
