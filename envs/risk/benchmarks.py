"""The benchmark tasks of iterated CVaR, each an exactly defined linear mixture.

A task is P_h = sum_i theta_{h,i} P^i over known base kernels P^1..P^d with theta_h on the simplex,
so every learner (linear, finite class, tabular) can meet every task. The specification gives the
risky shortcut and the random mixture; the lower-bound instance is our reading of its one line.
"""

from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tenfold.envs.risk.fields import Count, Instance, Share, Steps, check_size
from tenfold.envs.risk.mixture import Mixture, mixture
from tenfold.envs.risk.names import TASK_NAMES
from tenfold.envs.risk.tabular_tasks import frozen_lake, queue_backlog, windy_cliff


def risky_shortcut(
    alpha: float,
    H: Steps = 5,
    p: Annotated[
        Share, Field(description="Probability that the risky action ends in a fall")
    ] = 0.05,
    safe: Annotated[Share, Field(description="Reward of the safe action")] = 0.4,
    risky: Annotated[Share, Field(description="Reward of the risky action")] = 0.6,
) -> Mixture:
    """A safe action, and one that pays more but falls with probability p to reward 0 for ever.

    States: 0 on the path, 1 fallen. Actions: 0 safe, 1 risky. d = 2 (never falls, always falls).
    The agent that has m steps left takes the risk iff alpha >= `switching_alpha` (p, m).
    """
    kernels = np.zeros((2, 2, 2, 2))
    kernels[:, 0, 0, 0] = 1.0
    kernels[0, 0, 1, 0] = 1.0
    kernels[1, 0, 1, 1] = 1.0
    kernels[:, 1, :, 1] = 1.0
    rewards = np.zeros((H, 2, 2))
    rewards[:, 0] = safe, risky
    return mixture(kernels, np.array([1.0 - p, p]), rewards)


def switching_alpha(p: float, steps_left: int, safe: float = 0.4, risky: float = 0.6) -> float:
    """The least alpha at which risk pays with `steps_left` steps to go, see `risky_shortcut`.

    Taking the risk in each of m steps is worth R_m = risky + q R_{m-1} with q = (1 - p / alpha)^+,
    so R_m = risky (1 - q^m) / (1 - q), and risk pays at m iff risky - safe >= (1 - q) R_{m-1}, that
    is iff q^{m-1} >= safe / risky (our derivation). Above 1: never.

    Returns:
        p / (1 - (safe / risky)^{1 / (m - 1)}); 0 for the last step, where falling costs nothing.
    """
    if steps_left == 1:
        return 0.0
    return p / (1.0 - (safe / risky) ** (1.0 / (steps_left - 1)))


def lower_bound(
    alpha: float,
    H: Annotated[Steps, Field(ge=2)] = 4,
    A: Annotated[Count, Field(description="Actions")] = 3,
    gap: Annotated[
        Share, Field(description="Share of the bad outcome that the better action avoids")
    ] = 0.5,
    rarity: Annotated[
        float | None, Field(ge=0, le=1, description="Chance to go on; the run's alpha when null")
    ] = None,
) -> Mixture:
    """A chain whose end is rarely seen and yet is all that counts under CVaR.

    States: chain 0..n-1 with n = H - 1, then a lucky, a good and a bad absorbing state that pay 1,
    0.8 and 0.2 a step. A chain state leads on with probability `rarity` and else to the lucky
    state, whatever the action. At the chain's end (seen with probability rarity^(H - 2)) the last
    action leads to the bad state with probability rarity (1 - gap), the others with `rarity`, and
    else to the good state. With alpha <= rarity the value of the first state is that of the end of
    the chain: all regret is there. d = A: kernel i makes action i the better one. `alpha` is the
    risk level of the run.
    """
    rarity = alpha if rarity is None else rarity
    n = H - 1
    check_size(H * A * (n + 3) * A * (n + 3), H=H, A=A)
    lucky, good, bad = n, n + 1, n + 2
    kernels = np.zeros((A, n + 3, A, n + 3))
    for s in range(n - 1):
        kernels[:, s, :, s + 1] = rarity
        kernels[:, s, :, lucky] = 1.0 - rarity
    kernels[:, n - 1, :, bad] = rarity
    for better in range(A):
        kernels[better, n - 1, better, bad] = rarity * (1.0 - gap)
    kernels[:, n - 1, :, good] = 1.0 - kernels[:, n - 1, :, bad]
    for s in (lucky, good, bad):
        kernels[:, s, :, s] = 1.0
    rewards = np.zeros((H, n + 3, A))
    for s, reward in ((lucky, 1.0), (good, 0.8), (bad, 0.2)):
        rewards[:, s] = reward
    return mixture(kernels, np.eye(A)[A - 1], rewards)


def random_mixture(
    alpha: float,
    S: Annotated[Count, Field(description="States")] = 8,
    A: Annotated[Count, Field(description="Actions")] = 3,
    H: Steps = 3,
    d: Annotated[Count, Field(description="Base kernels")] = 3,
    instance: Instance = 0,
    concentration: Annotated[
        float,
        Field(
            ge=1e-3,
            le=1e6,
            description="Of the rows' Dirichlet distribution; small is nearly deterministic",
        ),
    ] = 1.0,
) -> Mixture:
    """Base kernels with Dirichlet rows, weights uniform on the simplex, rewards in [0, 1]."""
    check_size(H * d * S * A * S, S=S, A=A, H=H, d=d)
    rng = np.random.default_rng([instance, S, A, H, d])
    kernels = rng.dirichlet(np.full(S, concentration), size=(d, S, A))
    theta = rng.dirichlet(np.ones(d), size=H)
    return mixture(kernels, theta, rng.random((H, S, A)))


BUILDERS: dict[str, Callable[..., Mixture]] = dict(
    zip(
        TASK_NAMES,
        (risky_shortcut, lower_bound, random_mixture, windy_cliff, frozen_lake, queue_backlog),
        strict=True,
    )
)


def make_task(name: str, alpha: float, **fields: Any) -> Mixture:
    """A task by its name.

    Args:
        name: One of `TASK_NAMES`.
        alpha: Risk level of the run, which `lower_bound` is built for.
        **fields: Arguments of the task's builder that differ from its defaults, of the types and
            within the bounds that its signature says.

    Raises:
        ValueError: No such task, or fields that together do not make an MDP.
    """
    if name not in BUILDERS:
        raise ValueError(f"No task '{name}': choose one of {', '.join(BUILDERS)}.")
    return BUILDERS[name](alpha, **fields)
