"""Evaluation opponents: who they are, and what the policy of a run wins from each.

- ``default`` searches as the policy does, with the default abstraction at every decision, the same
  value networks and as many iterations: ReBeL's player, as the paper uses it.
- ``call`` checks and calls.
- ``random`` takes any action, bets outside the trees among them.
- ``lbr`` is local best response, which knows the policy; it bets outside the trees too.

In hold'em each spot is a sample: its gain is the exact expectation over hands and actions (on a
turn over a few rivers, drawn as cards are dealt), and beside it stand hands that were really dealt
(on the same rivers), each from both seats. In no-limit Leduc all hands start alike, and the exact
expectation has no error.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyspiel
from open_spiel.python.policy import Policy as SmallPolicy
from open_spiel.python.policy import UniformRandomPolicy

from tenfold.algorithms.rl_cfr.abstraction import Abstraction, Fixed
from tenfold.algorithms.rl_cfr.leduc.full_game import FullGamePolicy, search
from tenfold.algorithms.rl_cfr.mdp import Solving
from tenfold.algorithms.rl_cfr.play.lbr import LocalBestResponse
from tenfold.algorithms.rl_cfr.play.match import (
    Deal,
    deal,
    deal_on_rivers,
    duplicate,
    expected_gain,
    score,
)
from tenfold.algorithms.rl_cfr.play.policies import Policy, RandomPolicy, check_call
from tenfold.algorithms.rl_cfr.play.resolving import Resolver
from tenfold.algorithms.rl_cfr.play.small_match import CheckCall, duplicate_small, expected_small
from tenfold.algorithms.rl_cfr.solver.subgame import Leaf
from tenfold.algorithms.rl_cfr.worlds.holdem import HoldemWorld
from tenfold.algorithms.rl_cfr.worlds.leduc import LeducWorld, game_string
from tenfold.envs.poker.sizes import Menu
from tenfold.envs.poker.spot import BOARD_CARDS, Spot

OFF_TREE = Menu((0.33, 0.75, 1.5))
"""Bets of ``random`` and ``lbr`` beside all-in: none of the default sizes is among them."""


class Gains(NamedTuple):
    """What a policy wins from an opponent on a spot, in thousandths of a big blind a hand.

    Attributes:
        expected: The expectation.
        played: Mean of hands that were dealt, each from both seats.
    """

    expected: float
    played: float


def make_opponent(
    name: str, spot: Spot, player: Policy, solving: Solving, leaf: Leaf | None
) -> Policy:
    """An opponent on a spot of hold'em.

    Args:
        name: See the module.
        spot: Where hands start.
        player: The policy that it plays against.
        solving: How it searches.
        leaf: Values the ends of streets, see `Resolver`.
    """
    match name:
        case "call":
            return check_call
        case "random":
            return RandomPolicy(OFF_TREE)
        case "lbr":
            return LocalBestResponse(spot, player, OFF_TREE)
        case _:
            return Resolver(spot, solving, leaf=leaf)


def meet(
    spot: Spot,
    policies: Sequence[Policy],
    deals: Sequence[Deal],
    rivers: Sequence[int] | None,
    rng: np.random.Generator,
) -> Gains:
    """What the first policy wins from the second on a spot.

    Args:
        spot: A turn or a river.
        policies: Two.
        deals: What is dealt, each played from both seats.
        rivers: Those that `Gains.expected` is over, see `expected_gain`.
        rng: Of the actions.
    """
    unit = 1_000.0 / spot.rules.big_blind
    played = float(np.mean([duplicate(spot, policies, cards, rng) for cards in deals]))
    return Gains(unit * expected_gain(spot, policies, rivers), unit * played)


def meet_all(
    world: HoldemWorld,
    abstraction: Abstraction,
    opponents: Sequence[str],
    solving: Solving,
    deals: int,
    rivers: int,
    rng: np.random.Generator,
) -> dict[str, Gains]:
    """The search with an abstraction against opponents, all on the same random spot and deals.

    Args:
        world: Whose starts the spot is drawn from.
        abstraction: Chooses the raises of the search.
        opponents: Their names.
        solving: Of all that search.
        deals: Hands that are dealt, each played from both seats.
        rivers: Cards that may come on a turn, drawn for hands and expectations alike, which share
            what is solved there.
        rng: Of the spot, the cards and the actions.
    """
    spot, drawn = world.starts.sample(rng), None
    cards = deal(spot, deals, rng)
    if len(spot.board) < BOARD_CARDS[3]:
        drawn = [each.cards[0] for each in deal(spot, rivers, rng)]
        cards = deal_on_rivers(spot, drawn, deals, rng)
    player = Resolver(spot, solving, abstraction, world.leaf)
    gains = {}
    for name in opponents:
        other = make_opponent(name, spot, player, solving, world.leaf)
        gains[name] = meet(spot, (player, other), cards, drawn, rng)
    return gains


def meet_in_leduc(
    world: LeducWorld,
    abstraction: Abstraction,
    opponents: Sequence[str],
    solving: Solving,
    deals: int,
    rngs: Sequence[np.random.Generator],
) -> list[dict[str, Gains]]:
    """An abstraction against opponents in no-limit Leduc, one result a generator.

    Searching players solve the whole tree of their abstraction and take raises outside it for its
    nearest ones, see `full_game`.
    """
    game = pyspiel.load_game(game_string(world.rules.depth))
    unit = 1_000.0 / world.rules.big_blind

    def searching(raises: Abstraction) -> SmallPolicy:
        strategies = search(world, raises, solving, solving.variant, solving.iterations)
        return FullGamePolicy(world, strategies)

    player = searching(abstraction)
    others = {"call": CheckCall(game), "random": UniformRandomPolicy(game)}
    if "default" in opponents:
        others["default"] = searching(Fixed(solving.default.fractions))
    expected = {name: unit * expected_small(game, (player, others[name])) for name in opponents}
    return [
        {
            name: Gains(
                expected[name],
                unit * float(duplicate_small(game, (player, others[name]), deals, rng).mean()),
            )
            for name in opponents
        }
        for rng in rngs
    ]


def standings(gains: Sequence[Mapping[str, Gains]]) -> dict[str, float]:
    """The metrics of matches: means over spots, 95 % intervals by Student's t.

    Args:
        gains: Of one spot or more, by opponent; of one there is no interval.
    """
    found: dict[str, float] = {}
    for name in gains[0]:
        for label, part in ((name, 0), (f"{name}_played", 1)):
            mean = score([each[name][part] for each in gains])
            found |= mean.metrics(f"match_{label}_mbb")
    return found
