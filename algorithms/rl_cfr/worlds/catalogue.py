"""The tasks of `rl_cfr` by name."""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

from tenfold.algorithms.rl_cfr.learning.value_network import ValueNetwork
from tenfold.algorithms.rl_cfr.mdp import World
from tenfold.algorithms.rl_cfr.worlds.fields import FIELDS
from tenfold.algorithms.rl_cfr.worlds.holdem import RIVER, TURN, HoldemWorld, Starts
from tenfold.algorithms.rl_cfr.worlds.leduc import LeducWorld
from tenfold.envs.poker.starts import FullGameStarts, ShortFlopStarts, StreetStarts
from tenfold.platform.parameters import check

STARTS: MappingProxyType[str, Callable[..., Starts]] = MappingProxyType(
    {
        "river_hunl": partial(StreetStarts, street=RIVER),
        "turn_hunl": partial(StreetStarts, street=TURN),
        "flop_short": ShortFlopStarts,
        "hunl": FullGameStarts,
    }
)
ENUMERATE = "enumerate_rivers"
"""A field of turns: their trees hold every river, where a value network would end them."""


def make_world(
    task: str, networks: Mapping[int, ValueNetwork] | None = None, **changes: Any
) -> World:
    """A task.

    Args:
        task: Its name.
        networks: Value networks by street, for tasks whose trees end before the river.
        **changes: Fields of the task that differ from its own.

    Raises:
        ValueError: There is no such task or field, or a field's value is bad.
    """
    if task not in FIELDS:
        raise ValueError(f"Unknown task '{task}': choose one of {', '.join(FIELDS)}.")
    check(FIELDS[task], changes, "env_config.")
    if task == "leduc_nl":
        return LeducWorld(**changes)
    whole = changes.pop(ENUMERATE, False)
    given = {key: tuple(each) if isinstance(each, list) else each for key, each in changes.items()}
    return HoldemWorld(STARTS[task](**given), networks, whole)
