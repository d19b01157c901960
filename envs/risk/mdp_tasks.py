"""A user's MDP as a task: a linear mixture for iterated CVaR, rewards on a grid for static risk."""

from dataclasses import replace
from fractions import Fraction
from math import gcd, lcm
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from tenfold.envs.risk.fields import Steps, check_size
from tenfold.envs.risk.mdp import TabularMDP
from tenfold.envs.risk.mdp_file import read_mdp
from tenfold.envs.risk.mixture import Mixture
from tenfold.envs.risk.returns import GridMDP
from tenfold.envs.risk.scale import Scale, Unit, say
from tenfold.envs.risk.static_benchmarks import MOST_RETURNS, grid_mdp

# Levels of rewards that have no common step, and the largest denominator of one that is looked for.
LEVELS, FINEST = 50, 10_000

FileSteps = Annotated[
    Steps | None, Field(description="Steps of an episode; the file's own when null")
]


def mixture_of_file(path: str, H: FileSteps = None) -> Mixture:
    """The MDP of a file as a linear mixture; rewards are scaled to [0, 1], and this is said.

    The kernels and weights are the file's, or else those of `noise_kernels`.

    Raises:
        ValueError: See `read_mdp`; rewards that depend on the next state.
    """
    file = read_mdp(path, H)
    possible = file.transitions > 0.0
    rewards = np.where(possible, file.rewards, np.inf).min(axis=-1)
    if (rewards < np.where(possible, file.rewards, -np.inf).max(axis=-1)).any():
        raise ValueError(
            f"'{Path(path).name}': 'reward' must not depend on the next state here, since iterated "
            "CVaR knows a step's reward before it is taken: give it as (S, A) or (H, S, A)."
        )
    scale = Scale.of(rewards)
    say(
        f"'{path}': rewards from {scale.low:g} to {scale.low + scale.span:g} are scaled to 0 to 1 "
        "for the learner; results are in the file's unit."
    )
    kernels, theta = file.mixture or noise_kernels(file.transitions)
    scaled, unit = scale.scaled(rewards), scale.unit(len(rewards))
    return Mixture(kernels, theta, TabularMDP(file.transitions, scaled, file.initial, unit))


def noise_kernels(transitions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Any MDP as a mixture of deterministic kernels: a known system with noise of unknown
    distribution.

    The next state of every (s, a) is read off its distribution function at one common uniform
    draw. Between two neighbouring jumps of all these functions nothing changes, so each such piece
    of [0, 1] is a kernel and its length the weight. Steps with another kernel have their own
    pieces.

    Args:
        transitions: (H, S, A, S) float64.

    Returns:
        Kernels (d, S, A, S) and theta (H, d), with d at most S A (S - 1) + 1 for each
        distinct step.

    Raises:
        ValueError: There are too many kernels to hold.
    """
    H, S, A, _ = transitions.shape
    kernels: list[np.ndarray] = []
    pieces: dict[bytes, tuple[int, np.ndarray]] = {}  # of each step, its first kernel and lengths
    for step in transitions:
        if step.tobytes() in pieces:
            continue
        levels = np.cumsum(step, axis=-1)
        levels[..., -1] = 1.0
        ends = np.unique(np.round(np.minimum(levels, 1.0), 12))
        ends = ends[ends > 0.0]
        d = len(kernels) + len(ends)
        check_size(H * d * S * A * S, H=H, S=S, A=A, d=d)
        lengths = np.diff(ends, prepend=0.0)
        pieces[step.tobytes()] = len(kernels), lengths
        kernels += [np.eye(S)[(levels <= x).sum(axis=-1)] for x in ends - lengths / 2.0]
    theta = np.zeros((H, len(kernels)))
    for h, step in enumerate(transitions):
        first, lengths = pieces[step.tobytes()]
        theta[h, first : first + len(lengths)] = lengths
    return np.array(kernels), theta


def grid_of_file(
    path: str,
    H: FileSteps = None,
    grid_step: Annotated[
        float | None,
        Field(gt=0, description="Step of the reward grid, in the file's unit; found when null"),
    ] = None,
) -> GridMDP:
    """The MDP of a file with rewards on a grid, counted from the least one; both are said.

    Without `grid_step` it is `common_step`, or else up to a 50th of the rewards' span.

    Raises:
        ValueError: See `read_mdp`; a distribution over first states; a grid too fine.
    """
    file = read_mdp(path, H)
    name = Path(path).name
    steps, S, A, _ = file.transitions.shape
    if file.initial.max() < 1.0:
        raise ValueError(f"'{name}': 'initial' must be one state here, not a distribution.")
    possible = file.transitions > 0.0
    scale = Scale.of(file.rewards[possible])
    step = grid_step or common_step(file.rewards[possible] - scale.low, steps)
    if step is None:
        step = scale.span / max(1, min(LEVELS, (MOST_RETURNS - 1) // steps))
    if scale.span / step >= MOST_RETURNS:
        raise ValueError(
            f"Bad value {step:g} for 'grid_step': the rewards of '{name}' span {scale.span:g}, so "
            f"give more than {scale.span / MOST_RETURNS:g}."
        )
    levels = np.where(possible, np.rint((file.rewards - scale.low) / step), 0.0)
    off = np.abs(levels * step + scale.low - file.rewards)[possible].max()
    say(
        f"'{path}': rewards are counted from {scale.low:g} on in steps of {step:.6g}, which moves "
        f"none by more than {off:.2g}; results are in the file's unit."
    )

    def outcomes(h: int, s: int, a: int) -> list[tuple[int, int, float]]:
        p = file.transitions[h, s, a]
        return [(int(i), int(levels[h, s, a, i]), float(p[i])) for i in np.flatnonzero(p)]

    mdp = grid_mdp(steps, S, A, outcomes, int(file.initial.argmax()), step)
    return replace(mdp, unit=Unit(1.0, scale.low * steps))


def common_step(rewards: np.ndarray, H: int) -> float | None:
    """The largest step that all rewards are multiples of; None if its return grid is too fine.

    Args:
        rewards: At least 0, any shape.
        H: Steps of an episode.
    """
    distinct = np.unique(rewards[rewards > 0.0])
    if len(distinct) == 0:
        return 1.0
    if len(distinct) >= MOST_RETURNS:
        return None
    exact = [Fraction(float(reward)).limit_denominator(FINEST) for reward in distinct]
    whole = lcm(*(each.denominator for each in exact))
    step = Fraction(gcd(*(int(each * whole) for each in exact)), whole)
    if step == 0 or exact[-1] * H > step * (MOST_RETURNS - 1):
        return None
    multiples = np.rint(distinct / float(step))
    refined = float(distinct[-1] / multiples[-1])
    return refined if np.abs(distinct / refined - multiples).max() < 1e-6 else None
