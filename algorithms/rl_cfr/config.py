"""Config of RL-CFR: the abstraction MDP, its solver, the networks and how they are trained.

Numba and torch are imported where they are first needed, so that a mistyped key is refused quickly.
"""

import math
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from tenfold.algorithms.common.planning import PlanningConfig
from tenfold.platform import parameters
from tenfold.platform.errors import shown
from tenfold.platform.parameters import parameter

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from tenfold.algorithms.rl_cfr.abstraction import ByPlace, SizeMap
    from tenfold.algorithms.rl_cfr.epoch import Exploration
    from tenfold.algorithms.rl_cfr.mdp import Solving, World

OPPONENTS = {
    "river_hunl": ("default", "call", "random", "lbr"),
    "turn_hunl": ("default", "call", "random", "lbr"),
    "leduc_nl": ("default", "call", "random"),
}
"""Who can be met in which task, see `opponents.py`."""

MOST_SETS = 1_000
"""That critics compare at a decision."""

Sizes = list[Annotated[float, Field(gt=0, le=1_000)]]
Widths = list[Annotated[int, Field(ge=1, le=10_000)]]


class RLCFRConfig(PlanningConfig):
    """Learned action abstraction (arXiv:2403.04344); the game is `AlgorithmConfig.env`."""

    class Parameters(PlanningConfig.Parameters):
        """The abstraction, the solver, the learner, the value networks and the evaluation."""

        policy: Literal["learned", "fixed", "random"] = parameter(
            "learned", "Who chooses the raises: the actor, the fixed sizes, or chance"
        )
        sizes: Sizes = parameter(
            [0.5, 1.0, 2.0], "Sizes of the fixed policy", unit="pots", max_length=100
        )
        first_sizes: Sizes | None = parameter(
            None,
            "Sizes of the fixed policy where the street's first player has yet to act; `sizes` "
            "when null, as the next two are",
            unit="pots",
            max_length=100,
        )
        check_sizes: Sizes | None = parameter(
            None, "The same after a check", unit="pots", max_length=100
        )
        bet_sizes: Sizes | None = parameter(
            None, "The same facing a bet or a raise", unit="pots", max_length=100
        )
        m: int = parameter(
            3,
            "Components of an abstraction: at most so many raises beside all-in, and, if `narrow`, "
            "never more than the default abstraction has at the decision",
            ge=1,
            le=100,
        )
        narrow: bool = parameter(
            True, "Where raises of the default abstraction merge, a vector gets no more either"
        )
        choice: Literal["actor", "critics"] = parameter(
            "actor",
            "Who chooses for the learned policy: the actor (the paper's), or the critics, which "
            "compare all sets of m sizes of the grid (ours)",
        )
        grid: Sizes = parameter(
            [0.1, 0.2, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 3.0, 4.0],
            "Sizes that the critics choose of, from `smallest` to `largest`",
            unit="pots",
            min_length=1,
            max_length=20,
        )
        threshold: float = parameter(-0.8, "A component below it stands for no raise", ge=-1, lt=1)
        smallest: float = parameter(
            0.1,
            "What the component `threshold` raises by; raises are legal ones all the same",
            unit="pots",
            ge=0.001,
            le=1_000,
        )
        largest: float = parameter(
            4.0, "What the component 1 raises by", unit="pots", ge=0.001, le=1_000
        )
        default_sizes: Sizes = parameter(
            [0.5, 1.0, 2.0],
            "Sizes of the default abstraction, which the reward compares with",
            unit="pots",
            max_length=100,
        )
        opponent_sizes: Sizes | None = parameter(
            None,
            "Sizes that trees offer below the decision that is learned, to the other's replies "
            "first of all; `default_sizes` when null",
            unit="pots",
            max_length=100,
        )
        max_raises: int | None = parameter(
            None,
            "Bets and raises of a street in a tree, those before its root included; the game's own "
            "number when null",
            ge=1,
            le=100,
        )
        cfr_variant: Literal["cfr", "cfr+", "linear", "dcfr", "dcfr-anew", "pcfr+"] = parameter(
            "dcfr", "Variant of CFR"
        )
        cfr_iterations: int = parameter(
            100, "Iterations of every solve, whatever its abstraction", ge=1, le=10**6
        )
        gamma: float = parameter(
            0.0, "Discount of later rewards; LEARNING.md says why 0", ge=0, le=1
        )
        episodes_per_iteration: int = parameter(16, "Hands of a sampling epoch", ge=1, le=10**6)
        episodes_per_item: int = parameter(
            4, "Hands of one work item; no result depends on it", ge=1, le=10**6
        )
        tries: int = parameter(
            5, "Abstractions that are solved at a decision beside the policy's own", ge=0, le=1_000
        )
        noise: float = parameter(0.3, "Standard deviation of the noise on tries", ge=0, le=1_000)
        uniform: float = parameter(0.5, "Share of tries that are uniform vectors", ge=0, le=1)
        epsilon: float = parameter(
            0.1, "Chance that a hand goes on by a uniform action", ge=0, le=1
        )
        hidden: Widths = parameter(
            [64, 64], "Widths of the networks' hidden layers", min_length=1, max_length=8
        )
        lr: float = parameter(2e-3, "Learning rate of AdamW", ge=0, le=10)
        weight_decay: float = parameter(0.05, "Of AdamW", ge=0, le=1_000)
        reward_unit: float = parameter(
            1.0,
            "What the critics call 1: beyond it their loss is linear, and what they learn nearer "
            "to a median than to a mean",
            unit="thousandths of the pot",
            ge=0.001,
            le=10**6,
        )
        reward_clip: float = parameter(
            2.0, "Reward units at which the critics cut rewards off", ge=0.001, le=10**6
        )
        tau: float = parameter(0.01, "Share by which the target networks follow", ge=0, le=1)
        target_noise: float = parameter(
            0.1, "Standard deviation of the noise on target actions", ge=0, le=1_000
        )
        actor_delay: int = parameter(
            2, "Updates of the critics for one of the actor", ge=1, le=10**6
        )
        batch_size: int = parameter(256, "Transitions of an update", ge=1, le=10**6)
        buffer_size: int = parameter(
            50_000, "Transitions that are kept, the newest ones", ge=1, le=10**7
        )
        warmup: int = parameter(500, "Transitions before the first update", ge=0, le=10**7)
        updates_per_transition: float = parameter(
            0.3, "Updates that a new transition pays for", ge=0, le=1_000
        )
        value_hidden: Widths = parameter(
            [64, 64],
            "Widths of the value networks' hidden layers; these and the other value_ keys are read "
            "by tasks with trees that end before the river",
            min_length=1,
            max_length=8,
        )
        value_lr: float = parameter(2e-3, "Learning rate of the value networks", ge=0, le=10)
        value_batch_size: int = parameter(128, "Samples of an update of them", ge=1, le=10**6)
        value_buffer_size: int = parameter(
            10_000, "Samples that are kept of a street, the newest ones", ge=1, le=10**6
        )
        value_updates_per_sample: float = parameter(
            4.0, "Updates that a new sample pays for", ge=0, le=1_000
        )
        value_warmup: int = parameter(
            2_000,
            "Random subgames that are solved of each street, from the river backwards, before the "
            "first hand",
            ge=0,
            le=10**8,
        )
        evaluation_duration: int = parameter(
            300, "Held-out decisions of an evaluation", ge=2, le=10**6
        )
        opponents: list[Literal["default", "call", "random", "lbr"]] = parameter(
            [], "Whom an evaluation plays matches with besides"
        )
        match_spots: int = parameter(
            50, "Random spots of a match; the next two are a spot's", ge=2, le=10**6
        )
        match_deals: int = parameter(
            10, "Hands that are dealt, each played from both seats", ge=1, le=10**6
        )
        match_rivers: int = parameter(
            2,
            "Rivers that are drawn on a turn, for the hands and the expected gain",
            ge=1,
            le=10**6,
        )

    def __init__(self) -> None:
        from tenfold.algorithms.rl_cfr.algorithm import RLCFR

        super().__init__(algo_class=RLCFR)
        self.evaluation_duration_unit = "episodes"

    @classmethod
    def task_parameters(cls, task: str) -> type[parameters.Parameters] | None:
        """Fields of the game."""
        from tenfold.algorithms.rl_cfr.worlds.fields import FIELDS

        return FIELDS.get(task)

    def validate(self) -> None:
        """Refuse what cannot run, before any actor starts.

        Raises:
            ValueError: A bad value, with what would be right.
        """
        if not isinstance(self.env_config, dict):
            raise ValueError(
                f"Bad value {shown(self.env_config)} for 'env_config': give a mapping."
            )
        super().validate()
        if self.largest < self.smallest:
            raise ValueError(
                f"Bad value {self.largest} for 'largest': give at least 'smallest', which is "
                f"{self.smallest}."
            )
        self._check_grid()
        if self.env is not None:
            self.world()
        self._check_opponents()

    def _check_grid(self) -> None:
        if self.choice != "critics":
            return
        sets = math.comb(len(self.grid), self.m)
        if not 1 <= sets <= MOST_SETS:
            raise ValueError(
                f"Bad value {self.grid} for 'grid': it has {sets} sets of m = {self.m} sizes, give "
                f"one with 1 to {MOST_SETS}."
            )
        for size in self.grid:
            if not self.smallest <= size <= self.largest or self.smallest == self.largest:
                raise ValueError(
                    f"Bad value {size} for 'grid': give sizes from 'smallest' ({self.smallest}) to "
                    f"'largest' ({self.largest}), which have to differ."
                )

    def _check_opponents(self) -> None:
        if self.opponents and self.env not in OPPONENTS:
            raise ValueError(
                f"Bad value {self.opponents} for 'opponents': matches are played on "
                f"{', '.join(OPPONENTS)}, give an empty list on {self.env}."
            )
        for place, name in enumerate(self.opponents):
            if name not in OPPONENTS[self.env] or name in self.opponents[:place]:
                raise ValueError(
                    f"Bad value '{name}' for 'opponents': on {self.env} choose of "
                    f"{', '.join(OPPONENTS[self.env])}, each once."
                )

    def world(self, values: "Mapping[str, NDArray[Any]] | None" = None) -> "World":
        """The game of `env`, with the fields that `env_config` changes.

        Args:
            values: Weights of its value networks, see `ValueLearner.weights`; without them it can
                be looked at, but trees that end before the river cannot be solved.

        Raises:
            ValueError: There is no such game or field, or its value is bad.
        """
        from tenfold.algorithms.rl_cfr.learning.value_learner import read_networks
        from tenfold.algorithms.rl_cfr.worlds.catalogue import make_world

        world = make_world(self.env, **self.env_config)
        if not values:
            return world
        networks = read_networks(world.valued, self.value_hidden, values)
        return make_world(self.env, networks, **self.env_config)

    def size_map(self) -> "SizeMap":
        """From vectors to raises."""
        from tenfold.algorithms.rl_cfr.abstraction import SizeMap

        default = tuple(self.default_sizes)
        grid = tuple(self.grid) if self.choice == "critics" else ()
        bounds = self.threshold, self.smallest, self.largest
        return SizeMap(self.m, *bounds, default, self.narrow, grid)

    def fixed(self) -> "ByPlace":
        """The fixed policy."""
        from tenfold.algorithms.rl_cfr.abstraction import ByPlace

        places = self.first_sizes, self.check_sizes, self.bet_sizes
        return ByPlace(*(self.sizes if each is None else each for each in places))

    def solving(self) -> "Solving":
        """How subgames are solved."""
        from tenfold.algorithms.rl_cfr.mdp import Solving
        from tenfold.envs.poker.sizes import Menu

        default = Menu(tuple(self.default_sizes))
        below = None if self.opponent_sizes is None else Menu(tuple(self.opponent_sizes))
        limit = self.max_raises or self.world().max_raises
        return Solving(default, limit, self.cfr_variant, self.cfr_iterations, below)

    def exploration(self) -> "Exploration":
        """How abstractions are tried."""
        from tenfold.algorithms.rl_cfr.epoch import Exploration

        return Exploration(self.tries, self.noise, self.uniform)
