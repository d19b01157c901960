"""Config of RL-CFR: the abstraction MDP, its solver, the networks and how they are trained.

Numba and torch are imported where they are first needed, so that a mistyped key is refused quickly.
"""

import math
from typing import TYPE_CHECKING, Any, Literal

from tenfold.algorithms.planning import PlanningConfig

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from tenfold.algorithms.rl_cfr.abstraction import SizeMap
    from tenfold.algorithms.rl_cfr.epoch import Exploration
    from tenfold.algorithms.rl_cfr.mdp import Solving, World

POLICIES = ("learned", "fixed", "random")

OPPONENTS = {
    "river_hunl": ("default", "call", "random", "lbr"),
    "turn_hunl": ("default", "call", "random", "lbr"),
    "leduc_nl": ("default", "call", "random"),
}
"""Who can be met in which task, see `opponents.py`."""


class RLCFRConfig(PlanningConfig):
    """Learned action abstraction (arXiv:2403.04344); the game is `AlgorithmConfig.env`.

    Attributes:
        policy: Who chooses the raises: the ``learned`` actor, the ``fixed`` sizes, or ``random``.
        sizes: Pot fractions of the ``fixed`` policy.
        m: Components of an abstraction: at most so many raises beside all-in, and never more than
            the default abstraction has at the decision.
        threshold: A component below it, in [-1, 1), stands for no raise.
        smallest: Pots that the component `threshold` raises by; raises are legal ones all the same.
        largest: Pots that the component 1 raises by.
        default_sizes: Pot fractions of the default abstraction, which the reward compares with and
            which trees offer below the decision that is learned.
        max_raises: Bets and raises of a street in a tree, those before its root included; the
            game's own number when None.
        cfr_variant: See `variants.VARIANTS`.
        cfr_iterations: Of every solve, whatever its abstraction.
        gamma: Discount of later rewards; README.md says why 0.
        episodes_per_iteration: Hands of a sampling epoch.
        episodes_per_item: Hands of one work item; no result depends on it.
        tries: Abstractions that are solved at a decision beside the policy's own.
        noise: Standard deviation of the noise on tries.
        uniform: Share of tries that are uniform vectors.
        epsilon: Chance that a hand goes on by a uniform action.
        hidden: Widths of the networks' hidden layers.
        lr: Learning rate of AdamW.
        weight_decay: Of AdamW.
        reward_unit: Thousandths of the pot that the critics call 1. Beyond it their loss is linear,
            and what they learn nearer to a median than to a mean.
        reward_clip: Such units at which the critics cut rewards off.
        tau: Share by which the target networks follow.
        target_noise: Standard deviation of the noise on target actions.
        actor_delay: Updates of the critics for one of the actor.
        batch_size: Transitions of an update.
        buffer_size: Transitions that are kept, the newest ones.
        warmup: Transitions before the first update.
        updates_per_transition: Updates that a new transition pays for.
        value_hidden: Widths of the value networks' hidden layers; these and all below are read by
            tasks with trees that end before the river.
        value_lr: Learning rate of the value networks.
        value_batch_size: Samples of an update of them.
        value_buffer_size: Samples that are kept of a street, the newest ones.
        value_updates_per_sample: Updates that a new sample pays for.
        value_warmup: Random subgames that are solved of each street, from the river backwards,
            before the first hand.
        evaluation_duration: Held-out decisions of an evaluation.
        opponents: Whom an evaluation plays matches with besides, see `OPPONENTS`.
        match_spots: Random spots of a match; the config's next two are a spot's.
        match_deals: Hands that are dealt, each played from both seats.
        match_rivers: Rivers that are drawn on a turn, for the hands and the expected gain.
        env_config: Fields of the game that differ from its own.
    """

    def __init__(self) -> None:
        from tenfold.algorithms.rl_cfr.algorithm import RLCFR

        super().__init__(algo_class=RLCFR)
        self.policy: Literal["learned", "fixed", "random"] = "learned"
        self.sizes: list[float] = [0.5, 1.0, 2.0]
        self.m = 3
        self.threshold = -0.8
        self.smallest = 0.1
        self.largest = 4.0
        self.default_sizes: list[float] = [0.5, 1.0, 2.0]
        self.max_raises: int | None = None
        self.cfr_variant = "dcfr"
        self.cfr_iterations = 100
        self.gamma = 0.0
        self.episodes_per_iteration = 16
        self.episodes_per_item = 4
        self.tries = 5
        self.noise = 0.3
        self.uniform = 0.5
        self.epsilon = 0.1
        self.hidden: list[int] = [64, 64]
        self.lr = 2e-3
        self.weight_decay = 0.05
        self.reward_unit = 1.0
        self.reward_clip = 2.0
        self.tau = 0.01
        self.target_noise = 0.1
        self.actor_delay = 2
        self.batch_size = 256
        self.buffer_size = 50_000
        self.warmup = 500
        self.updates_per_transition = 0.3
        self.value_hidden: list[int] = [64, 64]
        self.value_lr = 2e-3
        self.value_batch_size = 128
        self.value_buffer_size = 10_000
        self.value_updates_per_sample = 4.0
        self.value_warmup = 2_000
        self.evaluation_duration = 300
        self.evaluation_duration_unit = "episodes"
        self.opponents: list[str] = []
        self.match_spots = 50
        self.match_deals = 10
        self.match_rivers = 2

    def validate(self) -> None:
        """Refuse what cannot run, before any actor starts.

        Raises:
            ValueError: A bad value, with what would be right.
        """
        from tenfold.algorithms.rl_cfr.variants import check_variant
        from tenfold.envs.poker.sizes import Menu

        super().validate()
        if self.policy not in POLICIES:
            raise ValueError(
                f"Bad value '{self.policy}' for 'policy': choose one of {', '.join(POLICIES)}."
            )
        check_variant(self.cfr_variant)
        for sizes in (self.sizes, self.default_sizes):
            Menu(tuple(sizes))
        self._check_whole()
        self._check_intervals()
        for key in ("hidden", "value_hidden"):
            widths = getattr(self, key)
            if not widths or any(not _whole(width) or width < 1 for width in widths):
                raise ValueError(f"Bad value {widths} for '{key}': list whole numbers above 0.")
        if self.env is not None:
            self.world()
        self._check_opponents()

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

    def _check_whole(self) -> None:
        least = {
            "m": 1,
            "cfr_iterations": 1,
            "episodes_per_iteration": 1,
            "episodes_per_item": 1,
            "tries": 0,
            "actor_delay": 1,
            "batch_size": 1,
            "buffer_size": 1,
            "warmup": 0,
            "value_batch_size": 1,
            "value_buffer_size": 1,
            "value_warmup": 0,
            "evaluation_duration": 2,
            "match_spots": 2,
            "match_deals": 1,
            "match_rivers": 1,
        }
        if self.max_raises is not None:
            least["max_raises"] = 1
        for key, low in least.items():
            value = getattr(self, key)
            if not _whole(value) or value < low:
                raise ValueError(
                    f"Bad value {value!r} for '{key}': give a whole number of at least {low}."
                )

    def _check_intervals(self) -> None:
        bounds = {
            "threshold": (-1.0, math.nextafter(1.0, 0.0)),
            "smallest": (0.001, math.inf),
            "largest": (self.smallest, math.inf),
            "gamma": (0.0, 1.0),
            "noise": (0.0, math.inf),
            "uniform": (0.0, 1.0),
            "epsilon": (0.0, 1.0),
            "lr": (0.0, math.inf),
            "weight_decay": (0.0, math.inf),
            "reward_unit": (0.001, math.inf),
            "reward_clip": (0.001, math.inf),
            "tau": (0.0, 1.0),
            "target_noise": (0.0, math.inf),
            "updates_per_transition": (0.0, math.inf),
            "value_lr": (0.0, math.inf),
            "value_updates_per_sample": (0.0, math.inf),
        }
        for key, (low, high) in bounds.items():
            value = getattr(self, key)
            if not (math.isfinite(value) and low <= value <= high):
                upper = f" to {high:g}" if math.isfinite(high) else " or more"
                raise ValueError(f"Bad value {value!r} for '{key}': give {low:g}{upper}.")

    def world(self, values: "Mapping[str, NDArray[Any]] | None" = None) -> "World":
        """The game of `env`, with the fields that `env_config` changes.

        Args:
            values: Weights of its value networks, see `ValueLearner.weights`; without them it can
                be looked at, but trees that end before the river cannot be solved.

        Raises:
            ValueError: There is no such game or field, or its value is bad.
        """
        from tenfold.algorithms.rl_cfr.value_learner import read_networks
        from tenfold.algorithms.rl_cfr.worlds import make_world

        world = make_world(self.env, **self.env_config)
        if not values:
            return world
        networks = read_networks(world.valued, self.value_hidden, values)
        return make_world(self.env, networks, **self.env_config)

    def size_map(self) -> "SizeMap":
        """From vectors to raises."""
        from tenfold.algorithms.rl_cfr.abstraction import SizeMap

        default = tuple(self.default_sizes)
        return SizeMap(self.m, self.threshold, self.smallest, self.largest, default)

    def solving(self) -> "Solving":
        """How subgames are solved."""
        from tenfold.algorithms.rl_cfr.mdp import Solving
        from tenfold.envs.poker.sizes import Menu

        default = Menu(tuple(self.default_sizes))
        limit = self.max_raises or self.world().max_raises
        return Solving(default, limit, self.cfr_variant, self.cfr_iterations)

    def exploration(self) -> "Exploration":
        """How abstractions are tried."""
        from tenfold.algorithms.rl_cfr.epoch import Exploration

        return Exploration(self.tries, self.noise, self.uniform)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
