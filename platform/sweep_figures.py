"""Figures of a sweep: its history, its points in parallel coordinates, what matters."""

import math
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from tenfold.platform.comparison import Comparison, ScoredRun
from tenfold.platform.figures import GREY, capital, entitle, panels, score_written, short, written
from tenfold.platform.runs import in_order, plain

_LOG_RATIO = 100.0
_MOST_TICKS = 8


def draw_history(comparison: Comparison) -> Figure:
    """Score of every run in the order of their starts, and the best up to each; a panel a task."""
    tasks = list(dict.fromkeys(run.task for run in comparison.runs))
    figure, axes_of = panels(len(tasks), 2, 5.6, 3.6)
    best_of = np.minimum if comparison.score_mode == "min" else np.maximum
    for task, axes in zip(tasks, axes_of, strict=True):
        runs = [run for run in comparison.runs if run.task == task]
        found = [(place, run.score) for place, run in enumerate(runs, 1) if run.score is not None]
        lost = [place for place, run in enumerate(runs, 1) if run.score is None]
        places = [place for place, _ in found]
        scores = np.array([score for _, score in found])
        axes.plot(places, scores, "o", color=GREY, ms=4, label="runs")
        axes.step(places, best_of.accumulate(scores), where="post", color="#0072B2", label="best")
        if lost:
            marks = axes.get_xaxis_transform()
            axes.plot(lost, [0.02] * len(lost), "x", color="#D55E00", transform=marks, ms=5)
            axes.plot([], [], "x", color="#D55E00", label="diverged")
        entitle(axes, task, "Run, in the order of starts", capital(score_written(comparison)))
        axes.legend(frameon=False, fontsize=9)
    return figure


def draw_parallel(comparison: Comparison) -> Figure:
    """A line for every run over the swept parameters and its score, the better the darker."""
    keys = comparison.swept
    tasks = list(dict.fromkeys(run.task for run in comparison.runs))
    figure, axes_of = panels(len(tasks), 1, 2.2 + 1.5 * (len(keys) + 1), 4.0)
    for task, axes in zip(tasks, axes_of, strict=True):
        runs = [run for run in comparison.runs if run.task == task and run.score is not None]
        scores = [run.score for run in runs if run.score is not None]
        if not scores:
            continue
        ends = min(scores), max(scores)
        darkest_first = mpl.colormaps["viridis" if comparison.score_mode == "min" else "viridis_r"]
        colours = ScalarMappable(Normalize(*ends), darkest_first)
        columns = [_heights(runs, key) for key in keys]
        columns.append(([_share(score, *ends) for score in scores], _ticks(scores, log=False)))
        order = np.argsort(scores)
        for place in order[::-1] if comparison.score_mode == "min" else order:
            heights = [column[0][place] for column in columns]
            axes.plot(heights, color=colours.to_rgba(scores[place]), lw=1.2, alpha=0.85)
        for place, (_, ticks) in enumerate(columns):
            axes.axvline(place, color="black", lw=0.8)
            for height, label in ticks:
                axes.annotate(
                    f" {label}", (place, height), fontsize=7, va="center", annotation_clip=False
                )
        axes.set_xticks(
            range(len(columns)), [*map(written, keys), score_written(comparison)], fontsize=8
        )
        axes.set_yticks([])
        axes.grid(visible=False)
        axes.spines[["left", "bottom"]].set_visible(False)
        entitle(axes, task, "")
        axes.set_xlim(-0.1, len(columns) - 0.4)
    return figure


def draw_importances(comparison: Comparison) -> Figure:
    """A bar for each swept parameter: its share of what parameters explain."""
    names = list(comparison.importances)[::-1]
    shares = [comparison.importances[name] for name in names]
    figure, (axes,) = panels(1, 1, 5.6, 1.2 + 0.35 * len(names))
    axes.barh(range(len(names)), shares, color="#0072B2", height=0.6)
    axes.set_yticks(range(len(names)), [short(written(name)) for name in names])
    axes.set_xlim(0, 1)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(f"Share of the variance of {score_written(comparison)}")
    return figure


def _heights(runs: Sequence[ScoredRun], key: str) -> tuple[list[float], list[tuple[float, str]]]:
    """Where the runs' values of a parameter stand between 0 and 1, and the ticks there."""
    texts = [run.values[key] for run in runs]
    values = [plain(text) for text in texts]
    numbers = [value for value in values if isinstance(value, float)]
    if len(numbers) == len(values) and len(set(numbers)) > 1:
        ends = min(numbers), max(numbers)
        log = ends[0] > 0 and ends[1] / ends[0] >= _LOG_RATIO
        scale = math.log if log else float
        heights = [_share(scale(value), *map(scale, ends)) for value in numbers]
        return heights, _ticks(numbers, log=log)
    names = in_order(set(texts))
    places = {name: _share(place, 0, len(names) - 1) for place, name in enumerate(names)}
    ticks = [(places[name], short(name, 16)) for name in names[:: -(-len(names) // _MOST_TICKS)]]
    return [places[text] for text in texts], ticks


def _ticks(numbers: Sequence[float], *, log: bool) -> list[tuple[float, str]]:
    """The values if they are few, else five from the lowest to the highest, with their heights."""
    ends = min(numbers), max(numbers)
    scale = math.log if log else float
    values = sorted(set(numbers))
    if len(values) > _MOST_TICKS:
        values = list(np.geomspace(*ends, 5) if log else np.linspace(*ends, 5))
    return [(_share(scale(v), *map(scale, ends)), f"{v:.3g}") for v in values]


def _share(value: float, low: float, high: float) -> float:
    return (value - low) / (high - low) if high > low else 0.5
