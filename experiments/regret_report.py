"""Tables and figures of regret, shared by the measurements of several methods.

A run is a curve of cumulative regret (K,) and the exact value of its last policy. Intervals are
95 % Student-t over runs.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy.stats import t as student_t

from tenfold.platform.statistics import mean_interval

# Points of a curve that its slope is fitted to, and that are drawn; regret below this counts as 0.
POINTS, DRAWN, NONE = 60, 120, 1e-9


def slope(regret: np.ndarray) -> float:
    """Log-log slope of a curve (K,) over the second half of the episodes.

    0 for a run without regret, NaN for one whose regret begins in the second half.
    """
    k = np.unique(np.geomspace(len(regret) // 2, len(regret), POINTS).astype(int))
    if regret[k[0] - 1] <= NONE:
        return 0.0 if regret[-1] <= NONE else np.nan
    return float(np.polyfit(np.log(k), np.log(regret[k - 1]), 1)[0])


def interval(values: np.ndarray) -> tuple[float, float]:
    """Mean and half width of its 95 % interval, of at least two values."""
    found = mean_interval(values)
    assert found.high is not None
    return found.value, found.high - found.value


class Played(Protocol):
    """A run: `regret` is its curve."""

    @property
    def regret(self) -> np.ndarray: ...


def best_scale(
    run: Callable[[float, int], Played], scales: Sequence[float], seeds: Sequence[int]
) -> float:
    """The scale of least regret in sum over the seeds.

    Args:
        run: Plays with a scale and a seed.
        scales: To choose from.
        seeds: Others than those of the tables.
    """
    totals = {scale: sum(run(scale, seed).regret[-1] for seed in seeds) for scale in scales}
    return min(totals, key=lambda scale: totals[scale])


def regret_row(
    learner: str, scale: float | None, curves: np.ndarray, values: np.ndarray, optimum: float
) -> dict[str, Any]:
    """One row of a regret table.

    Args:
        learner: Its name.
        scale: Factor of its bonus, None if it has none.
        curves: Cumulative regret, (runs, K).
        values: Exact values of the last policies, (runs,).
        optimum: The largest possible value, above 0.
    """
    total, total_half = interval(curves[:, -1])
    rate, rate_half = interval(np.array([slope(curve) for curve in curves]))
    value, value_half = interval(values)
    return {
        "learner": learner,
        "bonus scale": "-" if scale is None else f"{scale:g}",
        "regret": total,
        "regret ±": total_half,
        "slope": rate,
        "slope ±": rate_half,
        "final value": value,
        "value ±": value_half,
        "within 1 %": f"{int((values >= 0.99 * optimum).sum())}/{len(values)}",
    }


def plot_curves(path: Path, curves: Mapping[str, np.ndarray], about: str) -> None:
    """Mean regret with its bands over runs, on logarithmic axes; learners without any are left out.

    Args:
        path: Of the figure.
        curves: Cumulative regret (runs, K) of each learner; names that end in "tuned" are dashed.
        about: Title.
    """
    figure = Figure(figsize=(9, 5.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for number, (label, regrets) in enumerate(curves.items()):
        k = np.unique(np.geomspace(1, regrets.shape[1], DRAWN).astype(int))
        shown = regrets[:, k - 1]
        if shown.max() <= NONE:
            continue
        style = "--" if label.endswith("tuned") else "-"
        (drawn,) = axes.plot(k, shown.mean(axis=0), style, label=label, color=f"C{number % 10}")
        half = student_t.ppf(0.975, len(shown) - 1) * shown.std(axis=0, ddof=1)
        half /= np.sqrt(len(shown))
        low = np.maximum(shown.mean(axis=0) - half, 1e-3)
        axes.fill_between(k, low, shown.mean(axis=0) + half, alpha=0.15, color=drawn.get_color())
    axes.set(xscale="log", yscale="log", xlabel="episode", ylabel="cumulative regret")
    axes.set_title(about, fontsize=8)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7, ncols=2)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
