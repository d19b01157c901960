"""Numbers, figures and the self-contained HTML report of a comparison."""

import base64
import math
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter, StrMethodFormatter

from tenfold.platform.statistics import Estimate

if TYPE_CHECKING:
    from tenfold.platform.compare import Comparison

ALL_TASKS = "all tasks (each divided by the baseline's mean)"

# Okabe and Ito's palette, told apart by colour-blind readers; then the same with dashes.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999933")
DASHES = ("-", "--", ":")
# Costs spread over a decade are told apart on a log axis; returns are read on a linear one.
_DECADES_FOR_LOG = {"min": 1.0, "max": 2.0}


def number(value: float) -> str:
    """A number with four significant digits, as people write it."""
    rounded = float(f"{value:.4g}")
    if rounded != 0 and not 1e-3 <= abs(rounded) < 1e9:
        return f"{value:.3e}"
    digits = max(0, 3 - math.floor(math.log10(abs(rounded)))) if rounded else 0
    return f"{rounded:,.{digits}f}"


def interval(value: Estimate) -> str:
    """``[1.100, 1.400]``, or a dash when there is none."""
    if value.low is None or value.high is None:
        return "-"
    return f"[{number(value.low)}, {number(value.high)}]"


def chance(value: Estimate) -> str:
    """A probability with two digits, and its interval if it has one."""
    if value.low is None or value.high is None:
        return f"{value.value:.2f}"
    return f"{value.value:.2f} [{value.low:.2f}, {value.high:.2f}]"


def draw_intervals(comparison: "Comparison", path: Path) -> Path:
    """Mean and 95 % interval of every group, one panel a task, the same line for a group in all."""
    tasks = list(dict.fromkeys(row.task for row in comparison.rows))
    style = _styles(comparison)
    places = {group: place for place, group in enumerate(reversed(style))}
    columns = min(len(tasks), 3)
    lines = -(-len(tasks) // columns)
    size = (1.6 + 3.8 * columns, (1.1 + 0.3 * len(places)) * lines)
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    for panel, task in enumerate(tasks):
        axes = figure.add_subplot(lines, columns, panel + 1)
        rows = [row for row in comparison.rows if row.task == task]
        for row in rows:
            place, colour = places[row.group], style[row.group][0]
            if row.mean.low is not None and row.mean.high is not None:
                ends = [row.mean.low, row.mean.high]
                axes.plot(ends, [place, place], color=colour, lw=3, solid_capstyle="butt")
            axes.plot(row.mean.value, place, "o", color=colour, ms=6)
        labels = [_short(group) if panel % columns == 0 else "" for group in places]
        axes.set_yticks(list(places.values()), labels)
        axes.set_ylim(-0.6, len(places) - 0.4)
        whole = task == ALL_TASKS
        axes.set_title("all tasks" if whole else _short(task, 44), fontsize=10, loc="left")
        axes.set_xlabel(f"{comparison.metric} / baseline's mean" if whole else comparison.metric)
        axes.grid(axis="x", alpha=0.3)
        lows = [row.mean.value if row.mean.low is None else row.mean.low for row in rows]
        _scale(axes.xaxis, [row.mean.value for row in rows], lows, comparison.mode)
    figure.savefig(path, dpi=130)
    return path


def draw_curves(comparison: "Comparison", path: Path) -> Path:
    """Mean of the metric over steps with its 95 % band over seeds, one panel a task."""
    tasks = list(dict.fromkeys(curve.task for curve in comparison.curves))
    columns = min(len(tasks), 2)
    lines = -(-len(tasks) // columns)
    figure = Figure(figsize=(2.2 + 5.6 * columns, 4.2 * lines), layout="constrained")
    FigureCanvasAgg(figure)
    style = _styles(comparison)
    handles = {}
    for panel, task in enumerate(tasks):
        axes = figure.add_subplot(lines, columns, panel + 1)
        curves = [curve for curve in comparison.curves if curve.task == task]
        for curve in curves:
            colour, dash = style[curve.group]
            (handles[curve.group],) = axes.plot(curve.steps, curve.mean, dash, color=colour, lw=1.8)
            if curve.low is not None and curve.high is not None:
                axes.fill_between(
                    curve.steps, curve.low, curve.high, color=colour, alpha=0.18, lw=0
                )
        axes.set_title(_short(task, 60), fontsize=11, loc="left")
        axes.set_xlabel(comparison.step_unit)
        axes.set_ylabel(comparison.metric)
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.grid(alpha=0.3)
        every = [value for curve in curves for value in curve.mean]
        _scale(axes.yaxis, [curve.mean[-1] for curve in curves], every, comparison.mode)
    shown = [group for group in style if group in handles]
    figure.legend(
        [handles[group] for group in shown],
        [_short(group) for group in shown],
        loc="outside right center",
        fontsize=9,
        frameon=False,
    )
    figure.savefig(path, dpi=130)
    return path


def write_html(comparison: "Comparison", figures: list[Path], path: Path) -> Path:
    """One HTML file with everything in it: no network, no other file."""
    environment = Environment(
        loader=PackageLoader("tenfold.platform", "."),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
    )
    environment.filters.update(number=number, interval=interval, chance=chance)
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


def _scale(axis: Any, values: list[float], lows: list[float], mode: str) -> None:
    """A log axis when the values are far apart and all of it can be shown."""
    if min(lows) > 0 and max(values) > 10 ** _DECADES_FOR_LOG[mode] * min(values):
        axis.axes.set(**{f"{axis.axis_name}scale": "log"})
        decades = math.log10(max(values) / min(lows))
        axis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 2.5 else (1,)))
        axis.set_minor_formatter(NullFormatter())
        axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    if max(map(abs, values)) >= 1e4:
        axis.set_major_formatter(EngFormatter(sep=""))


def _short(text: str, most: int = 28) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


mpl.rcParams["axes.spines.top"] = False
mpl.rcParams["axes.spines.right"] = False
