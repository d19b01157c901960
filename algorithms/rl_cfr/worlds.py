"""The tasks of `rl_cfr` by name."""

from collections.abc import Callable
from types import MappingProxyType
from typing import Any

from tenfold.algorithms.rl_cfr.leduc import LeducWorld
from tenfold.algorithms.rl_cfr.mdp import World
from tenfold.algorithms.rl_cfr.river import RiverWorld

WORLDS: MappingProxyType[str, Callable[..., World]] = MappingProxyType(
    {"river_hunl": RiverWorld, "leduc_nl": LeducWorld}
)


def make_world(task: str, **changes: Any) -> World:
    """A task, with fields of it changed.

    Raises:
        ValueError: There is no such task or field.
    """
    if task not in WORLDS:
        raise ValueError(f"Unknown task '{task}': choose one of {', '.join(WORLDS)}.")
    return WORLDS[task](**changes)
