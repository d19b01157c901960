"""The tasks of `rl_cfr` by name."""

from collections.abc import Callable, Mapping
from functools import partial
from inspect import signature
from types import MappingProxyType
from typing import Any

from tenfold.algorithms.rl_cfr.holdem import RIVER, TURN, HoldemWorld, Law
from tenfold.algorithms.rl_cfr.leduc import LeducWorld
from tenfold.algorithms.rl_cfr.mdp import World
from tenfold.algorithms.rl_cfr.value_network import ValueNetwork
from tenfold.envs.poker.laws import FullGame, ShortFlop, StreetLaw

LAWS: MappingProxyType[str, Callable[..., Law]] = MappingProxyType(
    {
        "river_hunl": partial(StreetLaw, street=RIVER),
        "turn_hunl": partial(StreetLaw, street=TURN),
        "flop_short": ShortFlop,
        "hunl": FullGame,
    }
)
FIXED = ("street", "deck")
"""Fields that a task of hold'em on one street stands for."""

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
    tasks: dict[str, Callable[..., Law | World]] = {**LAWS, "leduc_nl": LeducWorld}
    if task not in tasks:
        raise ValueError(f"Unknown task '{task}': choose one of {', '.join(tasks)}.")
    known = list(signature(tasks[task]).parameters)
    if isinstance(tasks[task], partial):
        known = [name for name in known if name not in FIXED]
    if task == "turn_hunl":
        known.append(ENUMERATE)
    for name in changes:
        if name not in known:
            choice = f"choose one of {', '.join(known)}" if known else "it has none"
            raise ValueError(f"Task {task} has no field '{name}': {choice}.")
    if task == "leduc_nl":
        return LeducWorld(**changes)
    whole = changes.pop(ENUMERATE, False)
    if not isinstance(whole, bool):
        raise ValueError(f"Bad value {whole!r} for '{ENUMERATE}': give true or false.")
    return HoldemWorld(LAWS[task](**changes), networks, whole)
