"""Figures of the measurements of queue scheduling."""

import numpy as np
import pandas as pd
import reporting
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

DRAWN = {
    "ssmw_doubling": "SSMW, doubling windows",
    "softmw": "SoftMW",
    "ssmw": "SSMW",
    "thompson": "Thompson",
    "window_ucb": "window UCB",
    "discounted_ucb": "discounted UCB",
    "uniform": "uniform",
    "maxweight_empirical": "MaxWeight on empirical means",
    "oracle": "MaxWeight with known rates",
}


def draw_backlogs(runs: dict[str, reporting.Run]) -> None:
    """Median backlog over time of some schedulers, with the band between the quartiles."""
    figure = Figure(figsize=(7.5, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for name, label in DRAWN.items():
        metrics = runs[name].metrics
        low, middle, high = np.quantile(metrics.curve, [0.25, 0.5, 0.75], axis=0)
        style = "-" if "mw" in name else "--"
        (line,) = axes.plot(metrics.curve_slots, middle, style, label=label)
        axes.fill_between(metrics.curve_slots, low, high, color=line.get_color(), alpha=0.15)
    axes.set_yscale("symlog", linthresh=1_000)
    axes.set_xlabel("slots")
    axes.set_ylabel("backlog: median, quartiles")
    axes.set_title("adversarial: the queue served most is withdrawn", fontsize=10)
    figure.legend(loc="outside right upper", fontsize=8)
    figure.savefig(reporting.RESULTS / "adversarial.png", dpi=120)


def draw_region(found: pd.DataFrame) -> None:
    """Heat maps of backlog over load and period, one a scheduler."""
    names = list(found["scheduler"].unique())
    all_loads, periods = sorted(found["load"].unique()), sorted(found["period"].unique())
    figure = Figure(figsize=(3.4 * len(names), 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    norm = LogNorm(found["backlog"].min(), found["backlog"].max())
    for place, name in enumerate(names):
        axes = figure.add_subplot(1, len(names), place + 1)
        part = found[found["scheduler"] == name]
        grid = part.pivot(index="period", columns="load", values="backlog")
        image = axes.imshow(grid.to_numpy(), norm=norm, cmap="viridis", origin="lower")
        grows = part.pivot(index="period", columns="load", values="trend").to_numpy() == "grows"
        for y, x in zip(*np.nonzero(grows), strict=True):
            axes.text(x, y, "×", ha="center", va="center", color="white")
        axes.set_xticks(range(len(all_loads)), [str(load) for load in all_loads])
        axes.set_yticks(range(len(periods)), [f"{period:,}" for period in periods])
        axes.set_title(name, fontsize=10)
        axes.set_xlabel("load")
    figure.axes[0].set_ylabel("slots between switches")
    figure.colorbar(image, ax=figure.axes, label="time-average backlog (×: still growing)")
    figure.savefig(reporting.RESULTS / "region.png", dpi=120)
