"""Tasks at the size of Gymnasium's: a windy cliff, slippery ice, and two queues with one server.

Their dynamics are Gymnasium's or a queue's; rewards belong to states, so that they are known before
a step is taken, as the method supposes. Numbers and mixtures are ours.
"""

from typing import Annotated

import numpy as np
from gymnasium.envs.toy_text.frozen_lake import MAPS
from pydantic import Field

from tenfold.envs.risk.fields import Count, Share, Steps, check_size
from tenfold.envs.risk.mixture import Mixture, mixture

# Moves of Gymnasium's FrozenLake: left, down, right, up, as (row, column).
MOVES = ((0, -1), (1, 0), (0, 1), (-1, 0))


def windy_cliff(
    alpha: float,
    H: Steps = 14,
    rows: Annotated[Count, Field(ge=2, description="Rows of cells")] = 4,
    columns: Annotated[Count, Field(ge=2, description="Columns of cells")] = 6,
    wind: Annotated[Share, Field(description="Probability that the wind pushes")] = 0.1,
    alive: Annotated[Share, Field(description="Reward of a cell that is not cliff")] = 0.2,
) -> Mixture:
    """Gymnasium's cliff, with wind that blows towards it: walk along the edge or take a detour.

    The start is the lower left cell, the goal the lower right one (absorbing, 1 a step), and the
    cells between them are the cliff (absorbing, 0); any other cell pays `alive`. After the move the
    wind pushes one cell down with probability `wind`, never in the goal's or the start's row.
    Actions: left, down, right, up. d = 2 (calm, wind).
    """
    S, last = rows * columns, rows * columns - 1
    check_size(H * 2 * S * 4 * S, H=H, rows=rows, columns=columns)
    cliff = np.arange(S - columns + 1, last)
    kernels = np.zeros((2, S, 4, S))
    for s in range(S):
        for a, move in enumerate(MOVES):
            end = s if s == last or s in cliff else _moved(s, move, rows, columns)
            kernels[0, s, a, end] = 1.0
            kernels[1, s, a, end if end // columns == rows - 1 else end + columns] = 1.0
    rewards = np.full((H, S, 4), alive)
    rewards[:, cliff] = 0.0
    rewards[:, last] = 1.0
    return mixture(kernels, np.array([1.0 - wind, wind]), rewards, initial=S - columns)


def frozen_lake(
    alpha: float,
    H: Steps = 12,
    slip: Annotated[Share, Field(description="Probability of a move to a side")] = 2 / 3,
    alive: Annotated[Share, Field(description="Reward of ice")] = 0.2,
) -> Mixture:
    """Gymnasium's 4x4 FrozenLake, with rewards on states so that they are known in advance.

    The move is the one meant with probability 1 - slip, else to either side of it (slip = 2/3 is
    Gymnasium's slippery ice). Holes absorb and pay 0, the goal absorbs and pays 1 a step, ice pays
    `alive`. d = 3 (as meant, to the one side, to the other).
    """
    cells = "".join(MAPS["4x4"])
    kernels = np.zeros((3, 16, 4, 16))
    for s, cell in enumerate(cells):
        for i, turn in enumerate((0, -1, 1)):
            for a in range(4):
                end = s if cell in "HG" else _moved(s, MOVES[(a + turn) % 4], 4, 4)
                kernels[i, s, a, end] = 1.0
    rewards = np.zeros((H, 16, 4))
    for s, cell in enumerate(cells):
        rewards[:, s] = {"H": 0.0, "G": 1.0}.get(cell, alive)
    return mixture(kernels, np.array([1.0 - slip, slip / 2, slip / 2]), rewards)


def queue_backlog(
    alpha: float,
    H: Steps = 10,
    capacity: Annotated[Count, Field(description="Places of each queue")] = 4,
    arrival: Annotated[
        Share, Field(description="Probability that a customer comes to a queue in a step")
    ] = 0.5,
    turbo: Annotated[Share, Field(description="Probability that full speed works")] = 0.6,
    start: Annotated[
        int, Field(ge=0, le=10_000, description="Customers in each queue at first")
    ] = 2,
) -> Mixture:
    """Two queues and one server that is either steady or fast and unreliable.

    A state is the pair of queue lengths, at most `capacity` each, both `start` at first. Actions:
    serve queue 1 steadily, queue 2 steadily (one customer leaves), queue 1 or queue 2 at full speed
    (two leave with probability `turbo`, else none). Then a customer comes to each queue with
    probability `arrival`, and is lost if it is full. The reward is 1 - (q_1 + q_2) / (2 capacity).
    d = 8: arrivals at the one queue, at the other, and whether full speed works.
    """
    side = capacity + 1
    if not 0 <= start <= capacity:
        raise ValueError(
            f"Bad value {start} for 'start': give 0 to {capacity}, the value of 'capacity'."
        )
    check_size(H * 8 * side**2 * 4 * side**2, H=H, capacity=capacity)
    kernels = np.zeros((8, side**2, 4, side**2))
    theta = np.empty(8)
    for i in range(8):
        came, works = (i & 1, i >> 1 & 1), i >> 2
        theta[i] = turbo if works else 1.0 - turbo
        for coming in came:
            theta[i] *= arrival if coming else 1.0 - arrival
        for s in range(side**2):
            for a in range(4):
                lengths = list(divmod(s, side))
                lengths[a % 2] = max(lengths[a % 2] - (1 if a < 2 else 2 * works), 0)
                one, two = (min(q + c, capacity) for q, c in zip(lengths, came, strict=True))
                kernels[i, s, a, one * side + two] = 1.0
    backlog = np.add(*np.divmod(np.arange(side**2), side))
    rewards = np.tile((1.0 - backlog / (2 * capacity))[:, None], (H, 1, 4))
    return mixture(kernels, theta, rewards, initial=start * side + start)


def _moved(s: int, move: tuple[int, int], rows: int, columns: int) -> int:
    """The cell that a move on the grid leads to; at the border it stays."""
    row, column = divmod(s, columns)
    row = min(max(row + move[0], 0), rows - 1)
    return row * columns + min(max(column + move[1], 0), columns - 1)
