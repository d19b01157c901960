"""The benchmark tasks of static risk, each an exactly defined MDP with rewards on a grid.

The specification names lotteries, a budgeted path, inventory and betting; the numbers are ours.
"""

from collections.abc import Callable, Iterable
from itertools import product
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tenfold.envs.risk.fields import Share, Steps, check_size
from tenfold.envs.risk.names import STATIC_TASK_NAMES
from tenfold.envs.risk.returns import GridMDP
from tenfold.envs.risk.tabular_tasks import queue_backlog

# The outcomes of one (h, s, a): next state, reward in grid steps, probability.
Outcomes = Iterable[tuple[int, int, float]]
# A return grid finer than this is refused.
MOST_RETURNS = 2_000

Units = Annotated[int, Field(ge=0, lt=MOST_RETURNS)]


def grid_mdp(
    H: int, S: int, A: int, outcomes: Callable[[int, int, int], Outcomes], initial: int, step: float
) -> GridMDP:
    """An MDP from the outcomes of each (h, s, a).

    Raises:
        ValueError: Probabilities that do not sum to 1, or a grid too fine.
    """
    listed = {
        (h, s, a): merged(outcomes(h, s, a)) for h, s, a in product(range(H), range(S), range(A))
    }
    most = max(len(found) for found in listed.values())
    nexts, rewards = np.empty((2, H, S, A, most), dtype=np.int64)
    probabilities = np.zeros((H, S, A, most))
    for place, found in listed.items():
        nexts[place], rewards[place] = next(iter(found))
        for o, ((after, reward), p) in enumerate(found.items()):
            nexts[(*place, o)], rewards[(*place, o)] = after, reward
            probabilities[(*place, o)] = p
    mdp = GridMDP(nexts, rewards, probabilities, initial, step)
    if mdp.Y > MOST_RETURNS:
        raise ValueError(
            f"H = {H:,} steps of rewards up to {mdp.rewards.max():,} grid steps make a return grid "
            f"of {mdp.Y:,} points, at most {MOST_RETURNS:,} are supported: take a coarser reward "
            "grid or a shorter horizon."
        )
    return mdp


def merged(outcomes: Outcomes) -> dict[tuple[int, int], float]:
    """Equal outcomes as one."""
    found: dict[tuple[int, int], float] = {}
    for after, reward, p in outcomes:
        found[after, reward] = found.get((after, reward), 0.0) + p
    return found


def two_lotteries(
    safe: Annotated[Units, Field(description="What is for certain, in tenths")] = 4,
    prize: Annotated[Units, Field(description="What can be won, in tenths")] = 10,
    win: Annotated[Share, Field(description="Probability to win")] = 0.6,
) -> GridMDP:
    """One step: `safe` tenths for certain, or `prize` tenths with probability `win`, else 0.

    rho(safe) = safe / 10; a distortion gives the lottery (1 - h(1 - win)) prize / 10, so CVaR
    takes it iff (1 - (1 - win) / alpha)^+ prize >= safe.
    """

    def outcomes(h: int, s: int, a: int) -> Outcomes:
        return [(0, safe, 1.0)] if a == 0 else [(0, prize, win), (0, 0, 1.0 - win)]

    return grid_mdp(1, 1, 2, outcomes, 0, 0.1)


def budgeted_path(
    H: Steps = 5,
    luck: Annotated[Share, Field(description="Probability that a gamble pays")] = 0.5,
) -> GridMDP:
    """A lottery that nobody can refuse, then choices between a sure tenth-unit and a gamble.

    The first step pays 3 or 0 with equal chances and leads to the same state, so a policy of the
    state alone cannot tell which. Then each step pays 1 (safe), or 4 with probability `luck` and
    else 0 (gamble). Rewards are in tenths.
    """

    def outcomes(h: int, s: int, a: int) -> Outcomes:
        if h == 0:
            return [(0, 3, 0.5), (0, 0, 0.5)]
        return [(0, 1, 1.0)] if a == 0 else [(0, 4, luck), (0, 0, 1.0 - luck)]

    return grid_mdp(H, 1, 2, outcomes, 0, 0.1)


def betting(
    H: Annotated[Steps, Field(description="Rounds")] = 4,
    capital: Annotated[Units, Field(description="Units at first")] = 4,
    most: Annotated[Units, Field(ge=1, description="Most units that can be held")] = 8,
    win: Annotated[Share, Field(description="Probability that a bet is doubled")] = 0.6,
) -> GridMDP:
    """Bet 0, 1 or 2 of one's capital, doubled with probability `win`, else lost; H rounds.

    The state is the capital, at most `most`; it is paid out at the end (reward in units of 1 /
    `most`), by a last step whose action does not matter.
    """
    if not 0 <= capital <= most:
        raise ValueError(
            f"Bad value {capital} for 'capital': give 0 to {most}, the value of 'most'."
        )
    check_size(H * (most + 1) * 3 * 2 * (most + 1), H=H, most=most)

    def outcomes(h: int, s: int, a: int) -> Outcomes:
        if h == H:
            return [(s, s, 1.0)]
        bet = min(a, s, most - s)
        return [(s + bet, 0, win), (s - bet, 0, 1.0 - win)]

    return grid_mdp(H + 1, most + 1, 3, outcomes, capital, 1.0 / most)


def inventory(
    H: Steps = 8,
    most: Annotated[int, Field(ge=2, le=12, description="Most goods in stock")] = 9,
    orders: Annotated[int, Field(ge=0, le=1_000, description="Most goods of one order")] = 4,
    mean: Annotated[float, Field(ge=1e-3, le=1e3, description="Mean of the Poisson demand")] = 2.0,
) -> GridMDP:
    """Order 0 to `orders` goods, then a Poisson demand (cut at 5) comes; unsold goods cost.

    The state is the stock, at most `most`. A step earns 2 for each good sold, pays 1 for each
    ordered and 0.2, rounded to whole steps, for each left; rewards are shifted by `orders` + 2 so
    that they are not negative, in tenths.
    """
    check_size(H * (most + 1) * (orders + 1) * 6 * (orders + 12), H=H, most=most, orders=orders)
    demand = np.cumprod([1.0, *(mean / k for k in range(1, 6))])
    demand /= demand.sum()

    def outcomes(h: int, s: int, a: int) -> Outcomes:
        stock = min(s + a, most)
        for wanted, p in enumerate(demand):
            sold = min(stock, wanted)
            left = stock - sold
            yield left, 2 * sold - (stock - s) - round(0.2 * left) + orders + 2, float(p)

    return grid_mdp(H, most + 1, orders + 1, outcomes, 2, 0.1)


def static_queue(
    H: Steps = 10,
    capacity: Annotated[int, Field(ge=2, le=1_000, description="Places of each queue")] = 4,
    arrival: Annotated[
        Share, Field(description="Probability that a customer comes to a queue in a step")
    ] = 0.5,
) -> GridMDP:
    """`mdp/QueueBacklog-v0` with its rewards in grid steps of 1 / (2 capacity)."""
    mdp = queue_backlog(1.0, H=H, capacity=capacity, arrival=arrival).mdp
    levels = np.rint(mdp.rewards * 2 * capacity).astype(int)

    def outcomes(h: int, s: int, a: int) -> Outcomes:
        p = mdp.transitions[h, s, a]
        return [(int(i), int(levels[h, s, a]), float(p[i])) for i in np.flatnonzero(p)]

    return grid_mdp(H, mdp.S, mdp.A, outcomes, int(mdp.initial.argmax()), 1 / (2 * capacity))


BUILDERS: dict[str, Callable[..., GridMDP]] = dict(
    zip(
        STATIC_TASK_NAMES,
        (budgeted_path, two_lotteries, betting, inventory, static_queue),
        strict=True,
    )
)


def make_static_task(name: str, **fields: Any) -> GridMDP:
    """A task by its name.

    Args:
        name: One of `STATIC_TASK_NAMES`.
        **fields: Arguments of the task's builder that differ from its defaults, of the types and
            within the bounds that its signature says.

    Raises:
        ValueError: No such task, or fields that together do not make an MDP.
    """
    if name not in BUILDERS:
        raise ValueError(f"No task '{name}': choose one of {', '.join(BUILDERS)}.")
    return BUILDERS[name](**fields)
