"""The CVaR operator through its variational form, where learning happens.

    CVaR_alpha(V(s')) = max_x { x - E[(x - V(s'))^+] / alpha }

turns risk into an expectation, and for a linear mixture that expectation is <theta, psi_x(s, a)>
with the CVaR-adapted feature psi_x(s, a) = sum_{s'} phi(s', s, a) (x - V(s'))^+. The maximum runs
over a grid: equally spaced points (the paper's), or the values of V itself, where the exact
maximiser and the largest bonus lie (README.md, "The exact grid").
"""

import math

import numpy as np

from tenfold.envs.risk.measures import CVaR

# A uniform grid finer than this is refused: the exact one is both better and smaller.
MOST_POINTS = 100_000
# With eps above this the slack 2 eps of a step is more than any reward.
COARSEST = 0.5


def uniform_grid(H: int, epsilon: float) -> np.ndarray:
    """{0, eps, 2 eps, ...} up to H.

    Raises:
        ValueError: The grid is too coarse to tell a reward of 1 from none, or too fine to hold.
    """
    if not epsilon <= COARSEST:
        raise ValueError(
            f"A grid of step epsilon = {epsilon:.3g} is too coarse: its slack of 2 epsilon a step "
            f"must not exceed the largest reward, so give 'epsilon' at most {COARSEST:g} or use "
            "grid = exact."
        )
    if not epsilon > 0.0 or H / epsilon > MOST_POINTS:
        raise ValueError(
            f"A grid of step epsilon = {epsilon:.3g} on [0, {H}] is too fine: give 'epsilon' at "
            f"least {H / MOST_POINTS:.3g} or use grid = exact."
        )
    return epsilon * np.arange(math.floor(H / epsilon) + 1)


def theory_epsilon(d: int, H: int, alpha: float, episodes: int) -> float:
    """The grid step of the analysis, d H sqrt(alpha^(H - 3) / K)."""
    return d * H * math.sqrt(alpha ** (H - 3) / episodes)


def step_grids(points: np.ndarray | None, values: np.ndarray) -> np.ndarray:
    """The points x of each step, none above what V_{h+1} can be.

    Args:
        points: A uniform grid (X,), or None for the values of V themselves.
        values: V of an episode's policy, (H + 1, S).

    Returns:
        (H, X) float64; X is S without a uniform grid.
    """
    if points is None:
        return values[1:]
    H = len(values) - 1
    return np.minimum(points, np.arange(H - 1, -1, -1)[:, None])


def shortfalls(grid: np.ndarray, values: np.ndarray) -> np.ndarray:
    """(x - V(s'))^+ for the points of a grid (..., X) and values (..., S): (..., X, S)."""
    return np.maximum(grid[..., :, None] - values[..., None, :], 0.0)


def exact_cvar(kernel: np.ndarray, values: np.ndarray, alpha: float) -> np.ndarray:
    """CVaR_alpha of V(s') under each row of `kernel`; V is sorted once for all of them.

    Args:
        kernel: (..., S) probabilities.
        values: V_{h+1}, (S,).
        alpha: Risk level.

    Returns:
        (...) float64.
    """
    order = np.argsort(values, kind="stable")
    levels = np.cumsum(kernel[..., order], axis=-1)
    levels[..., -1] = 1.0
    shares = CVaR(alpha).h(levels)
    shares[..., 1:] -= shares[..., :-1].copy()
    expected: np.ndarray = shares @ values[order]
    return expected


def grid_cvar(grid: np.ndarray, values: np.ndarray, kernel: np.ndarray, alpha: float) -> np.ndarray:
    """max over the grid of x - E[(x - V(s'))^+] / alpha under each row of `kernel`.

    Args:
        grid: (X,).
        values: (S,).
        kernel: (..., S) probabilities.
        alpha: Risk level.

    Returns:
        (...) float64: at most the exact CVaR, and short of it by at most the grid's step.
    """
    expected = kernel @ shortfalls(grid, values).T  # (..., X)
    best: np.ndarray = (grid - expected / alpha).max(axis=-1)
    return best
