"""Distribution functions of the return as a figure."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tenfold.envs.risk.measures import RiskMeasure

Distribution = tuple[np.ndarray, np.ndarray]  # values (n,) and probabilities (n,)


def draw_distributions(
    path: Path, distributions: Mapping[str, Distribution], rho: RiskMeasure
) -> None:
    """Distribution functions, and rho of each as a dashed line.

    Args:
        path: Of the figure.
        distributions: By the name that the legend gives.
        rho: The measure that they are compared by.
    """
    # Half a second, for which no trial that only trains should wait.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.5, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for name, (values, probabilities) in distributions.items():
        order = np.argsort(values, kind="stable")
        value = float(rho.of(values, probabilities))
        (drawn,) = axes.step(
            values[order],
            np.cumsum(probabilities[order]),
            where="post",
            label=f"{name}: {value:.4g}",
        )
        axes.axvline(value, color=drawn.get_color(), linestyle="--", linewidth=0.8)
    axes.set(xlabel="return", ylabel="share of episodes at most", ylim=(0.0, 1.02))
    axes.set_title(f"Distributions of the return, and their {rho}", fontsize=9)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=130)
