"""Abstractions: which raises the solver gets at a decision, learned or fixed.

`load_abstraction` reads a trained one from a checkpoint; `on_board` turns any into the form
``(state, ranges) -> raises`` that playing and solving take.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tenfold.algorithms.common.planning import PLAN_ARRAYS, PLAN_VALUES
from tenfold.algorithms.rl_cfr.learning.actor_critic import (
    ACTOR,
    CRITICS,
    Actor,
    BestOfGrid,
    Chooser,
    make_critics,
)
from tenfold.algorithms.rl_cfr.learning.features import FEATURES, features
from tenfold.algorithms.rl_cfr.mdp import Decision, World
from tenfold.algorithms.rl_cfr.worlds.catalogue import make_world
from tenfold.envs.poker.rules import BettingState
from tenfold.envs.poker.sizes import Menu, abstraction_raises, fraction_component


class Abstraction(Protocol):
    """The raises for one decision."""

    def __call__(self, decision: Decision) -> list[int]: ...


@dataclass(frozen=True)
class SizeMap:
    """From a vector in [-1, 1]^m to raises, see `sizes.component_fraction`.

    Attributes:
        m: Components: at most so many raises beside all-in.
        threshold: Components below it stand for no raise.
        smallest: Pots that the component `threshold` raises by.
        largest: Pots that the component 1 raises by.
        default: Pot fractions of the default abstraction.
        narrow: Where those that merge leave fewer raises, a vector gets no more either (its
            smallest ones), so that no tree is wider.
        grid: Pot fractions of which the critics choose m; none where the actor chooses.
    """

    m: int
    threshold: float
    smallest: float
    largest: float
    default: tuple[float, ...]
    narrow: bool = True
    grid: tuple[float, ...] = ()

    def raises(self, state: BettingState, components: Sequence[float]) -> list[int]:
        """Legal raises, ascending, with all-in."""
        bounds = self.threshold, self.smallest, self.largest
        raises = abstraction_raises(state, components, *bounds)
        if not self.narrow:
            return raises
        width = len(Menu(self.default).raises(state))
        return [*raises[: width - 1], *raises[-1:]] if len(raises) > width else raises

    def vectors(self) -> NDArray[np.float32]:
        """(N, m): all sets of m sizes of the grid."""
        bounds = self.threshold, self.smallest, self.largest
        components = [fraction_component(fraction, *bounds) for fraction in sorted(self.grid)]
        # Rounded to float32, the threshold itself may fall below the threshold.
        least = np.nextafter(np.float32(self.threshold), np.float32(1.0))
        sets = np.array(list(combinations(components, self.m)), np.float32)
        return np.maximum(sets, least)


class Fixed:
    """The same pot fractions everywhere, and all-in."""

    def __init__(self, sizes: Sequence[float]) -> None:
        self._menu = Menu(tuple(sizes))

    def __call__(self, decision: Decision) -> list[int]:
        return self._menu.raises(decision.state)


class ByPlace:
    """Fixed pot fractions by place: the first to act, after a check, facing a bet; and all-in."""

    def __init__(
        self, first: Sequence[float], check: Sequence[float], bet: Sequence[float]
    ) -> None:
        self._places = [Fixed(first), Fixed(check), Fixed(bet)]

    def __call__(self, decision: Decision) -> list[int]:
        state = decision.state
        return self._places[2 if state.to_call else int(state.acted)](decision)


class Random:
    """A uniform vector for every decision."""

    def __init__(self, sizes: SizeMap, rng: np.random.Generator) -> None:
        self._sizes, self._rng = sizes, rng

    def __call__(self, decision: Decision) -> list[int]:
        components = self._rng.uniform(-1.0, 1.0, self._sizes.m)
        return self._sizes.raises(decision.state, components.tolist())


class Learned:
    """The choice of the actor, or of the critics, in the game, `world`, of their training."""

    def __init__(self, world: World, sizes: SizeMap, actor: Chooser) -> None:
        self.world, self._sizes, self._actor = world, sizes, actor

    def __call__(self, decision: Decision) -> list[int]:
        components = self._actor.act(features(self.world, decision))
        return self._sizes.raises(decision.state, components.tolist())


def make_actor(
    sizes: SizeMap, hidden: Sequence[int], arrays: Mapping[str, NDArray[Any]]
) -> Chooser:
    """Who chooses, with weights among the arrays of `ActorCritic.arrays`."""

    def load(module: nn.Module, name: str) -> None:
        weights = {key: torch.from_numpy(arrays[f"{name}.{key}"]) for key in module.state_dict()}
        module.load_state_dict(weights)

    if sizes.grid:
        critics = make_critics(FEATURES, sizes.m, hidden)
        load(critics, CRITICS)
        return BestOfGrid(critics, sizes.vectors())
    actor = Actor(FEATURES, sizes.m, hidden)
    load(actor, ACTOR)
    return actor


def describe_learned(
    task: str, sizes: SizeMap, hidden: Sequence[int], **world: Any
) -> dict[str, Any]:
    """What a checkpoint says of its policy, so that `load_abstraction` needs no config.

    Args:
        task: Of `make_world`.
        sizes: From the actor's vectors to raises.
        hidden: Widths of its hidden layers.
        **world: What the task changes.
    """
    return {"task": task, "world": world, "sizes": asdict(sizes), "hidden": list(hidden)}


def load_abstraction(checkpoint: str | Path) -> Learned:
    """The policy that a run of `rl_cfr` saved.

    Args:
        checkpoint: The folder with ``plan.npz`` and ``plan.json``. Nothing in it is executed.

    Raises:
        ValueError: The folder is no checkpoint of a learned abstraction.
    """
    folder = Path(checkpoint)
    try:
        plan = json.loads((folder / PLAN_VALUES).read_text())["plan"]
        policy = plan["policy"]
        lists = {key: tuple(policy["sizes"].get(key, ())) for key in ("default", "grid")}
        sizes = SizeMap(**{**policy["sizes"], **lists})
        with np.load(folder / PLAN_ARRAYS, allow_pickle=False) as arrays:
            actor = make_actor(sizes, policy["hidden"], arrays)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"'{folder}' is no checkpoint of rl_cfr ({error}): give a folder with {PLAN_ARRAYS} "
            f"and {PLAN_VALUES}."
        ) from None
    return Learned(make_world(policy["task"], **policy["world"]), sizes, actor)


def on_board(
    abstraction: Abstraction, board: tuple[int, ...]
) -> Callable[[BettingState, NDArray[np.float64]], list[int]]:
    """The abstraction on one board as a function of the betting and the (2, H) ranges."""
    return lambda state, ranges: abstraction(Decision(board, state, ranges))
