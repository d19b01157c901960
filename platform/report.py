"""Figures and the self-contained HTML report of a comparison."""

import base64
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

if TYPE_CHECKING:
    from tenfold.platform.compare import Comparison

# Okabe and Ito's palette, told apart by colour-blind readers; then the same with dashes.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999933")
DASHES = ("-", "--", ":")
_DECADES_FOR_LOG = 2.0


def draw_intervals(comparison: "Comparison", path: Path) -> Path:
    """Mean and 95 % interval of every group, one panel a task."""
    tasks = list(dict.fromkeys(row.task for row in comparison.rows))
    most = max(sum(row.task == task for row in comparison.rows) for task in tasks)
    columns = min(len(tasks), 3)
    lines = -(-len(tasks) // columns)
    figure = Figure(figsize=(4.6 * columns, (0.9 + 0.32 * most) * lines), layout="constrained")
    FigureCanvasAgg(figure)
    style = _styles(comparison)
    for number, task in enumerate(tasks):
        axes = figure.add_subplot(lines, columns, number + 1)
        rows = [row for row in comparison.rows if row.task == task][::-1]
        for place, row in enumerate(rows):
            colour = style[row.group][0]
            low = row.mean.value if row.mean.low is None else row.mean.low
            high = row.mean.value if row.mean.high is None else row.mean.high
            axes.plot([low, high], [place, place], color=colour, lw=3, solid_capstyle="butt")
            axes.plot(row.mean.value, place, "o", color=colour, ms=6)
        axes.set_yticks(range(len(rows)), [_short(row.group) for row in rows])
        axes.set_title(_short(task, 48), fontsize=10, loc="left")
        axes.set_xlabel(comparison.metric)
        axes.grid(axis="x", alpha=0.3)
        _log_if_wide(axes, [row.mean.value for row in rows], "x")
    figure.savefig(path, dpi=130)
    return path


def draw_curves(comparison: "Comparison", path: Path) -> Path:
    """Mean of the metric over steps with its 95 % band over seeds, one panel a task."""
    tasks = list(dict.fromkeys(curve.task for curve in comparison.curves))
    columns = min(len(tasks), 2)
    lines = -(-len(tasks) // columns)
    figure = Figure(figsize=(7.2 * columns, 4.2 * lines), layout="constrained")
    FigureCanvasAgg(figure)
    style = _styles(comparison)
    for number, task in enumerate(tasks):
        axes = figure.add_subplot(lines, columns, number + 1)
        curves = [curve for curve in comparison.curves if curve.task == task]
        for curve in sorted(curves, key=lambda curve: -curve.mean[-1]):
            colour, dash = style[curve.group]
            axes.plot(curve.steps, curve.mean, dash, color=colour, lw=1.8, label=curve.group)
            axes.fill_between(curve.steps, curve.low, curve.high, color=colour, alpha=0.18, lw=0)
        axes.set_title(_short(task, 60), fontsize=11, loc="left")
        axes.set_xlabel(comparison.step_unit)
        axes.set_ylabel(comparison.metric)
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.grid(alpha=0.3)
        _log_if_wide(axes, [value for curve in curves for value in curve.mean], "y")
        axes.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.savefig(path, dpi=130)
    return path


def write_html(comparison: "Comparison", figures: list[Path], path: Path) -> Path:
    """One HTML file with everything in it: no network, no other file."""
    environment = Environment(
        loader=PackageLoader("tenfold.platform", "."),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
    )
    images = {
        figure.stem: base64.b64encode(figure.read_bytes()).decode("ascii") for figure in figures
    }
    text = environment.get_template("report.html.j2").render(
        comparison=comparison,
        notes=comparison.notes(),
        tasks=list(dict.fromkeys(row.task for row in comparison.rows)),
        images=images,
        command="tenfold " + shlex.join(sys.argv[1:]),
    )
    path.write_text(text, encoding="utf-8")
    return path


def _styles(comparison: "Comparison") -> dict[str, tuple[str, str]]:
    groups = list(dict.fromkeys(row.group for row in comparison.rows))
    return {
        group: (COLOURS[i % len(COLOURS)], DASHES[i // len(COLOURS) % len(DASHES)])
        for i, group in enumerate(groups)
    }


def _log_if_wide(axes: Any, values: list[float], which: str) -> None:
    positive = [value for value in values if value > 0]
    if len(positive) == len(values) and max(values) > 10**_DECADES_FOR_LOG * min(values):
        getattr(axes, f"set_{which}scale")("log")


def _short(text: str, most: int = 28) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


mpl.rcParams["axes.spines.top"] = False
mpl.rcParams["axes.spines.right"] = False
