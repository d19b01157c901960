"""Tabular finite-horizon MDPs, and the exact calculations that everything else is tested against.

Steps are numbered from 0 in code: step h of the papers is index h - 1. A policy is deterministic
and Markov, an int array (H, S) of actions.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np

from tenfold.envs.risk.measures import ROUNDING
from tenfold.envs.risk.scale import SAME, Unit

MOST_POLICIES = 1_000_000
# Atoms of a return distribution closer than this are one.
DECIMALS = 12


@dataclass(frozen=True)
class Episode:
    """What was seen in one episode: states (H + 1,), actions (H,), both int, and its return."""

    states: np.ndarray
    actions: np.ndarray
    total: float


@dataclass(frozen=True, eq=False)
class TabularMDP:
    """A finite-horizon MDP with known deterministic rewards.

    Attributes:
        transitions: P_h(s' | s, a), (H, S, A, S) float64.
        rewards: r_h(s, a) in [0, 1], (H, S, A) float64.
        initial: Distribution of the first state, (S,) float64.
        unit: The unit of returns before rewards were scaled.

    Raises:
        ValueError: Shapes that do not fit, a reward outside [0, 1], or probabilities that are
            negative or do not sum to 1.
    """

    transitions: np.ndarray
    rewards: np.ndarray
    initial: np.ndarray
    unit: Unit = SAME

    def __post_init__(self) -> None:
        shape = np.shape(self.transitions)
        if len(shape) != 4 or shape[1] != shape[3] or 0 in shape:
            raise ValueError(f"'transitions' must be of shape (H, S, A, S), not {shape}.")
        for name, wanted in (("rewards", shape[:3]), ("initial", shape[1:2])):
            if np.shape(getattr(self, name)) != wanted:
                raise ValueError(
                    f"'{name}' must be of shape {wanted} to fit transitions of shape {shape}, not "
                    f"{np.shape(getattr(self, name))}."
                )
        check_probabilities("transitions", self.transitions)
        check_probabilities("initial", self.initial)
        outside = ~((self.rewards >= 0.0) & (self.rewards <= 1.0))
        if outside.any():
            where = tuple(int(i) for i in np.argwhere(outside)[0])
            raise ValueError(
                f"'rewards' at (h, s, a) = {where} is {self.rewards[where]:g}: rewards must be in "
                "[0, 1], so scale them."
            )

    @property
    def H(self) -> int:
        """Steps of an episode."""
        return int(self.transitions.shape[0])

    @property
    def S(self) -> int:
        """Number of states."""
        return int(self.transitions.shape[1])

    @property
    def A(self) -> int:
        """Number of actions."""
        return int(self.transitions.shape[2])

    @cached_property
    def _levels(self) -> np.ndarray:
        return np.cumsum(self.transitions, axis=-1)

    def play(self, policy: np.ndarray, rng: np.random.Generator) -> Episode:
        """One episode under a policy.

        Args:
            policy: (H, S) int.
            rng: H + 1 uniform numbers are drawn.
        """
        draws = rng.random(self.H + 1)
        states, actions = np.empty(self.H + 1, int), np.empty(self.H, int)
        state, total = _drawn(np.cumsum(self.initial), draws[0]), 0.0
        for h in range(self.H):
            action = int(policy[h, state])
            states[h], actions[h] = state, action
            total += float(self.rewards[h, state, action])
            state = _drawn(self._levels[h, state, action], draws[h + 1])
        states[self.H] = state
        return Episode(states, actions, total)


def _drawn(levels: np.ndarray, draw: float) -> int:
    """The index whose share of the cumulative probabilities holds the draw; rounding at the top."""
    return int(np.searchsorted(levels, draw * levels[-1], side="right"))


def check_probabilities(name: str, probabilities: np.ndarray) -> None:
    """Refuse arrays whose last axis is not a probability distribution.

    Raises:
        ValueError: With the first place that is wrong.
    """
    sums = probabilities.sum(axis=-1)
    bad = (np.abs(sums - 1.0) > ROUNDING) | (probabilities < 0.0).any(axis=-1) | np.isnan(sums)
    if bad.any():
        where = tuple(int(i) for i in np.argwhere(bad)[0]) if bad.ndim else ()
        place = f" at {where}" if where else ""
        raise ValueError(
            f"'{name}'{place} is not a probability distribution: its entries sum to "
            f"{sums[where]:.6g} and the least is {probabilities[where].min():g}, they must sum to "
            "1 and not be negative."
        )


def return_distribution(mdp: TabularMDP, policy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The exact distribution of an episode's return, by convolution backwards in time.

    Equal returns (up to 1e-12) are one atom, so the cost follows the number of distinct returns.

    Args:
        mdp: The MDP.
        policy: (H, S) int.

    Returns:
        Values in ascending order and their probabilities, each (n,).
    """
    to_go = [(np.zeros(1), np.ones(1))] * mdp.S  # the distribution from each state
    for h in reversed(range(mdp.H)):
        to_go = [
            _mixed(to_go, mdp.transitions[h, s, policy[h, s]], mdp.rewards[h, s, policy[h, s]])
            for s in range(mdp.S)
        ]
    return _mixed(to_go, mdp.initial, 0.0)


def _mixed(
    distributions: list[tuple[np.ndarray, np.ndarray]], weights: np.ndarray, shift: float
) -> tuple[np.ndarray, np.ndarray]:
    """The distribution of `shift` plus a draw from the mixture with these `weights`."""
    picked = np.flatnonzero(weights > 0.0)
    values = np.concatenate([distributions[i][0] for i in picked]) + shift
    mass = np.concatenate([weights[i] * distributions[i][1] for i in picked])
    atoms, places = np.unique(np.round(values, DECIMALS), return_inverse=True)
    return atoms, np.bincount(places, weights=mass, minlength=len(atoms))


def all_policies(mdp: TabularMDP) -> Iterator[np.ndarray]:
    """Every deterministic Markov policy of a tiny MDP.

    Raises:
        ValueError: There are more than a million.
    """
    count = mdp.A ** (mdp.H * mdp.S)
    if count > MOST_POLICIES:
        raise ValueError(
            f"An MDP of H = {mdp.H}, S = {mdp.S}, A = {mdp.A} has {count:.3g} policies: brute "
            f"force takes at most {MOST_POLICIES:,}."
        )
    for actions in product(range(mdp.A), repeat=mdp.H * mdp.S):
        yield np.array(actions).reshape(mdp.H, mdp.S)


def brute_force(
    mdp: TabularMDP, objective: Callable[[np.ndarray], float]
) -> tuple[float, np.ndarray]:
    """The largest objective over every deterministic Markov policy, and a policy that has it.

    Raises:
        ValueError: The MDP is too large, see `all_policies`.
    """
    best, argument = -np.inf, np.empty(0, int)
    for policy in all_policies(mdp):
        value = objective(policy)
        if value > best:
            best, argument = value, policy
    return best, argument
