"""Tabular finite-horizon POMDPs whose hidden states are revealed after the episode.

Steps are numbered from 0 in code: step h of the paper is index h - 1. An episode has H hidden
states, observations and actions; there is no state after the last action, so transitions of the
last step are never used. A policy is deterministic; it sees the whole history (one action for each,
see `HistoryPolicy`) or remembers a node of it (see `Controller`).
"""

from collections import defaultdict
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property

import numpy as np

from tenfold.envs.risk.controller import Controller
from tenfold.envs.risk.fields import MOST_ENTRIES
from tenfold.envs.risk.mdp import check_probabilities
from tenfold.envs.risk.scale import SAME, Unit

MOST_HISTORIES = 2_000_000
_DIGITS = 9  # after which sums of rewards are one

HistoryPolicy = list[np.ndarray]
"""Actions by step; entry h holds one for each of the O (A O)^h histories (o_0, a_0, ..., o_h).

A history is numbered from left to right: (i, a, o) after history i is (i A + a) O + o.
"""


@dataclass(frozen=True)
class HindsightEpisode:
    """One episode; the states are known after it only.

    Attributes:
        observations: (H,) int.
        actions: (H,) int.
        states: (H,) int.
        total: Sum of rewards.
    """

    observations: np.ndarray
    actions: np.ndarray
    states: np.ndarray
    total: float


@dataclass(frozen=True, eq=False)
class TabularPOMDP:
    """A finite-horizon POMDP with known deterministic rewards.

    Attributes:
        transitions: T_h(s' | s, a), (H, S, A, S) float64.
        emissions: O_h(o | s), (H, S, O) float64.
        rewards: r_h(s, a) in [0, 1], (H, S, A) float64.
        initial: Distribution of the first state, (S,) float64.
        unit: The unit of returns before rewards were scaled.

    Raises:
        ValueError: Shapes that do not fit, a reward outside [0, 1], or probabilities that are
            negative or do not sum to 1.
    """

    transitions: np.ndarray
    emissions: np.ndarray
    rewards: np.ndarray
    initial: np.ndarray
    unit: Unit = SAME

    def __post_init__(self) -> None:
        shape = np.shape(self.transitions)
        if len(shape) != 4 or shape[1] != shape[3] or 0 in shape:
            raise ValueError(f"'transitions' must be of shape (H, S, A, S), not {shape}.")
        fits = {"emissions": shape[:2], "rewards": shape[:3], "initial": shape[1:2]}
        for name, wanted in fits.items():
            found = np.shape(getattr(self, name))
            if found[: len(wanted)] != wanted or len(found) != len(wanted) + (name == "emissions"):
                raise ValueError(
                    f"'{name}' of shape {found} does not fit transitions of shape {shape}."
                )
        for name in ("transitions", "emissions", "initial"):
            check_probabilities(name, getattr(self, name))
        if not (self.rewards.min() >= 0.0 and self.rewards.max() <= 1.0):
            raise ValueError(
                f"'rewards' must lie in [0, 1], not in [{self.rewards.min():g}, "
                f"{self.rewards.max():g}]."
            )

    @property
    def H(self) -> int:
        """Steps of an episode."""
        return int(self.transitions.shape[0])

    @property
    def S(self) -> int:
        """Hidden states."""
        return int(self.transitions.shape[1])

    @property
    def A(self) -> int:
        """Actions."""
        return int(self.transitions.shape[2])

    @property
    def O(self) -> int:  # noqa: E743 (the paper's symbol)
        """Observations."""
        return int(self.emissions.shape[2])

    def check_histories(self) -> None:
        """Refuse a horizon whose histories cannot be enumerated.

        Raises:
            ValueError: With their number.
        """
        histories = self.O * (self.A * self.O) ** (self.H - 1)
        most = min(MOST_HISTORIES, MOST_ENTRIES // self.S)
        if histories > most:
            raise ValueError(
                f"H = {self.H}, S = {self.S}, A = {self.A}, O = {self.O} make "
                f"{Decimal(histories):,.7g} histories, at most {most:,} can be planned exactly: "
                "take a shorter horizon or a point-based planner."
            )

    def play(
        self, policy: HistoryPolicy | Controller, rng: np.random.Generator
    ) -> HindsightEpisode:
        """One episode of a policy."""
        states, actions, observations = (np.zeros(self.H, dtype=np.int64) for _ in range(3))
        starts, moves, sights = self._cumulated
        draws = rng.random((self.H, 2))  # of the state and of the observation
        total, memory = 0.0, 0  # the memory is a history's number or a controller's node
        for h in range(self.H):
            levels = starts if h == 0 else moves[h - 1, states[h - 1], actions[h - 1]]
            s = states[h] = np.searchsorted(levels, draws[h, 0], side="right")
            o = observations[h] = np.searchsorted(sights[h, s], draws[h, 1], side="right")
            if isinstance(policy, Controller):
                memory = int(policy.start[o] if h == 0 else policy.successors[h - 1][memory, o])
                actions[h] = policy.actions[h][memory]
            else:
                memory = int(o if h == 0 else (memory * self.A + actions[h - 1]) * self.O + o)
                actions[h] = policy[h][memory]
            total += float(self.rewards[h, s, actions[h]])
        return HindsightEpisode(observations, actions, states, total)

    def return_distribution(self, policy: Controller) -> tuple[np.ndarray, np.ndarray]:
        """Atoms of the return, ascending, and their probabilities, exactly.

        There are as many as sums of rewards: few if rewards are few numbers, else up to one for
        each path of states and actions.
        """
        chances: dict[tuple[int, int, float], float] = defaultdict(float)  # node, s, reward so far
        for o, node in enumerate(policy.start):
            for s in range(self.S):
                chances[int(node), s, 0.0] += self.initial[s] * self.emissions[0, s, o]
        for h in range(self.H):
            after: dict[tuple[int, int, float], float] = defaultdict(float)
            for (node, s, so_far), chance in chances.items():
                a = policy.actions[h][node]
                total = round(so_far + float(self.rewards[h, s, a]), _DIGITS)
                if h == self.H - 1:
                    after[0, 0, total] += chance
                    continue
                for to, move in enumerate(chance * self.transitions[h, s, a]):
                    for o, sight in enumerate(move * self.emissions[h + 1, to]):
                        after[int(policy.successors[h][node, o]), to, total] += sight
            chances = after
        atoms = np.array([(total, chance) for (_, _, total), chance in sorted(chances.items())])
        return atoms[:, 0], atoms[:, 1]

    @cached_property
    def _cumulated(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Distribution functions of first states, moves and sights, without their last entry 1."""
        probabilities = (self.initial, self.transitions, self.emissions)
        first, moves, sights = (np.cumsum(each, axis=-1)[..., :-1] for each in probabilities)
        return first, moves, sights
