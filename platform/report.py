"""Tables, figures and the self-contained HTML report of a comparison."""

import base64
import math
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter, StrMethodFormatter
from rich.console import Console

from tenfold.platform.comparison import ALL_TASKS, Comparison, Row, shown
from tenfold.platform.figures import (
    GREY,
    capital,
    entitle,
    headed,
    panels,
    score_written,
    short,
    styles,
    written,
)
from tenfold.platform.runs import plain
from tenfold.platform.sweep_figures import draw_history, draw_importances, draw_parallel
from tenfold.platform.tables import (
    Table,
    chance,
    interval,
    number,
    plus_minus,
    print_table,
    span,
)

# Costs spread over a decade are told apart on a log axis; returns are read on a linear one.
_DECADES_FOR_LOG = {"min": 1.0, "max": 2.0}
_CAPTIONS = {
    "curves": "Over time: mean and 95 % band (from three seeds on), as far as all of a group came",
    "intervals": "Means with 95 % intervals, and the single runs",
    "parameter": "Over the parameter: single runs, mean and 95 % interval",
    "history": "The sweep's history",
    "parallel": "Parameters of the single runs, the best in the darkest colour",
    "importance": "How much each parameter explains of the scores (functional ANOVA)",
}


def tables(comparison: Comparison) -> list[Table]:
    """One table a task, and one over all."""
    found = []
    for task in comparison.tasks:
        rows = comparison.rows_of(task)
        columns = [comparison.title, "runs", "steps", "mean ± 95 %", "IQM"]
        columns += ["difference", "P(better)"] if comparison.baseline is not None else []
        steps = {row.steps for row in rows}
        title = task
        if len(steps) == 1 and rows[0].steps is not None:
            title += f", after {span(rows[0].steps)} {written(comparison.step_unit)}"
        optional = ["IQM", *(["steps"] if len(steps) == 1 else [])]
        cells = [_cells(row, comparison.baseline) for row in rows]
        found.append(Table(title, columns, cells, optional))
    return found


def print_comparison(comparison: Comparison, console: Console) -> None:
    """The tables, the notes, and where the files are."""
    for task, table in zip(comparison.tasks, tables(comparison), strict=True):
        rows = comparison.rows_of(task)
        kept = {row.group for row in shown(rows, comparison.baseline)}
        cells = [line for line, row in zip(table.rows, rows, strict=True) if row.group in kept]
        print_table(console, Table(table.title, table.columns, cells, table.optional))
        if len(cells) < len(rows):
            console.print(
                f"({len(rows) - len(cells)} more rows are in the files)\n", highlight=False
            )
    for note in comparison.notes:
        console.print(note, highlight=False, markup=False)
    for file in comparison.files:
        console.print(file, highlight=False, soft_wrap=True, markup=False)


def draw(comparison: Comparison) -> dict[str, Figure]:
    """Every figure that the comparison has something for, by name."""
    figures = {"intervals": draw_intervals(comparison)}
    if comparison.curves:
        figures["curves"] = draw_curves(comparison)
    if len(comparison.places) > 1:
        figures["parameter"] = draw_parameter(comparison)
    if comparison.swept:
        figures["history"] = draw_history(comparison)
        figures["parallel"] = draw_parallel(comparison)
    if comparison.importances:
        figures["importance"] = draw_importances(comparison)
    return figures


def draw_intervals(comparison: Comparison) -> Figure:
    """Mean and 95 % interval of every group, one panel a task, the same line for a group in all."""
    rows = {task: shown(comparison.rows_of(task), comparison.baseline) for task in comparison.tasks}
    kept = {row.group for each in rows.values() for row in each}
    groups = [group for group in comparison.groups if group in kept]
    colours = styles(groups, bool(comparison.places), comparison.baseline)
    places = {group: place for place, group in enumerate(reversed(groups))}
    tasks = comparison.tasks
    columns = min(len(tasks), 3)
    figure, axes_of = panels(len(tasks), columns, 3.8 + 1.6 / columns, 1.1 + 0.3 * len(places))
    for panel, (task, axes) in enumerate(zip(tasks, axes_of, strict=True)):
        runs = [
            (run.score, places[run.group])
            for run in comparison.runs
            if run.task == task and run.group in places and run.score is not None
        ]
        if runs:
            axes.plot(*zip(*runs, strict=True), "|", color=GREY, ms=7, zorder=1)
        finite = [row for row in rows[task] if math.isfinite(row.mean.value)]
        for row in finite:
            place, colour = places[row.group], colours[row.group] or "#666666"
            if row.mean.low is not None and row.mean.high is not None:
                ends = [row.mean.low, row.mean.high]
                axes.plot(ends, [place, place], color=colour, lw=3, solid_capstyle="butt")
            axes.plot(row.mean.value, place, "o", color=colour, ms=6)
        for row in rows[task]:
            if row.diverged:
                text = f" {row.diverged} of {row.seeds} diverged"
                at = (0.01, places[row.group] + 0.32)
                axes.annotate(text, at, xycoords=("axes fraction", "data"), fontsize=7, va="center")
        labels = [short(group) if panel % columns == 0 else "" for group in places]
        axes.set_yticks(list(places.values()), labels)
        axes.set_ylim(-0.6, len(places) - 0.4)
        axes.grid(visible=False, axis="y")
        divided = task == ALL_TASKS and not comparison.one_scale
        label = capital(score_written(comparison)) + (" / baseline's mean" if divided else "")
        entitle(axes, short(task, 44), label)
        if finite:
            lows = [row.mean.value if row.mean.low is None else row.mean.low for row in finite]
            lows += [score for score, _ in runs if score is not None]
            _scale(axes.xaxis, [row.mean.value for row in finite], lows, comparison.score_mode)
    return figure


def draw_curves(comparison: Comparison) -> Figure:
    """Mean of the metric over steps with its 95 % band over seeds, one panel a task.

    Of more than eight groups the first seven and the baseline stand out, the others are grey.
    """
    tasks = list(dict.fromkeys(curve.task for curve in comparison.curves))
    figure, axes_of = panels(len(tasks), 2, 5.6 + 2.2 / min(len(tasks), 2), 4.2)
    drawn = [g for g in comparison.groups if any(c.group == g for c in comparison.curves)]
    colours = styles(drawn, bool(comparison.places), comparison.baseline)
    handles: dict[str, Any] = {}
    diverged: dict[str, int] = {}
    for task, axes in zip(tasks, axes_of, strict=True):
        curves = [curve for curve in comparison.curves if curve.task == task]
        for curve in curves:
            colour = colours[curve.group]
            if colour is None:
                (line,) = axes.plot(curve.steps, curve.mean, color=GREY, lw=1.0, zorder=1)
                handles.setdefault("", line)
                continue
            (line,) = axes.plot(curve.steps, curve.mean, color=colour, lw=1.8)
            handles[curve.group] = line
            diverged[curve.group] = diverged.get(curve.group, 0) + curve.diverged
            # The band of two seeds is 13 standard errors wide and hides every other curve.
            if curve.seeds > 2 and curve.low is not None and curve.high is not None:
                axes.fill_between(
                    curve.steps, curve.low, curve.high, color=colour, alpha=0.18, lw=0
                )
        entitle(axes, task, headed(comparison.axis), headed(comparison.metric))
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        every = [value for curve in curves for value in curve.mean]
        _scale(axes.yaxis, [curve.mean[-1] for curve in curves], every, comparison.mode)
    named = [group for group in drawn if group in handles]
    labels = [
        short(group) + (f" ({diverged[group]} diverged)" if diverged[group] else "")
        for group in named
    ]
    grey = sum(colour is None for colour in colours.values())
    if grey:
        named.append("")
        labels.append(f"{grey} others")
    title = headed(comparison.title) if comparison.places else None
    figure.legend(
        [handles[group] for group in named],
        labels,
        loc="outside right center",
        title=title,
        frameon=False,
        fontsize=9,
    )
    return figure


def draw_parameter(comparison: Comparison) -> Figure:
    """Scores over a parameter's values: every run, and mean and 95 % interval of each group."""
    (key,) = comparison.by
    tasks = [task for task in comparison.tasks if task != ALL_TASKS]
    figure, axes_of = panels(len(tasks), 2, 5.6, 3.8)
    for task, axes in zip(tasks, axes_of, strict=True):
        points = [
            (value, run.score)
            for run in comparison.runs
            if run.task == task and run.score is not None
            for value in [plain(run.values[key])]
            if isinstance(value, float)
        ]
        if points:
            axes.plot(*zip(*points, strict=True), "o", color=GREY, ms=3.5, zorder=1)
        rows = [row for row in comparison.rows_of(task) if row.group in comparison.places]
        finite = [row for row in rows if math.isfinite(row.mean.value)]
        x = [comparison.places[row.group] for row in finite]
        axes.plot(x, [row.mean.value for row in finite], "o-", color="#0072B2", lw=1.8, ms=5)
        with_band = [row for row in finite if row.mean.low is not None]
        axes.fill_between(
            [comparison.places[row.group] for row in with_band],
            [row.mean.low for row in with_band if row.mean.low is not None],
            [row.mean.high for row in with_band if row.mean.high is not None],
            color="#0072B2",
            alpha=0.18,
            lw=0,
        )
        for row in rows:
            if row.diverged:
                at = (comparison.places[row.group], 0.98)
                text = f"{row.diverged} diverged"
                axes.annotate(
                    text, at, xycoords=("data", "axes fraction"), fontsize=7, ha="center", va="top"
                )
        values = [value for value, _ in points]
        if values and min(values) > 0 and max(values) >= 100 * min(values):
            axes.set_xscale("log")
        entitle(axes, task, headed(key), capital(score_written(comparison)))
    return figure


def write_html(comparison: Comparison, images: Mapping[str, bytes], path: Path) -> Path:
    """One HTML file with everything in it: no network, no other file.

    Args:
        comparison: What it tells.
        images: The figures as PNG, by name.
        path: Of the file.
    """
    environment = Environment(
        loader=PackageLoader("tenfold.platform", "."),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
    )
    environment.filters.update(
        number=number,
        interval=interval,
        chance=chance,
        span=span,
        written=written,
        finite=math.isfinite,
    )
    runs = {
        group: [run.run_id for run in comparison.runs if run.group == group]
        for group in comparison.groups
    }
    text = environment.get_template("report.html.j2").render(
        comparison=comparison,
        captions=_CAPTIONS,
        images={name: base64.b64encode(data).decode("ascii") for name, data in images.items()},
        runs=runs,
        command="tenfold " + shlex.join(sys.argv[1:]),
    )
    path.write_text(text, encoding="utf-8")
    return path


def _cells(row: Row, baseline: str | None) -> list[str]:
    runs = f"{row.seeds} ({row.diverged} diverged)" if row.diverged else str(row.seeds)
    steps = "-" if row.steps is None else span(row.steps)
    cells = [row.group, runs, steps, plus_minus(row.mean), number(row.iqm.value)]
    if baseline is None:
        return cells
    if row.group == baseline:
        return [*cells, "baseline", "-"]
    if row.difference is None or row.better is None:
        return [*cells, "-", "-"]
    finite = math.isfinite(row.difference.value)
    return [*cells, plus_minus(row.difference) if finite else "-", chance(row.better)]


def _scale(axis: Any, values: Sequence[float], lows: Sequence[float], mode: str) -> None:
    """A log axis when the values are far apart and all of it can be shown."""
    if min(lows) > 0 and max(values) > 10 ** _DECADES_FOR_LOG[mode] * min(values):
        axis.axes.set(**{f"{axis.axis_name}scale": "log"})
        decades = math.log10(max(values) / min(lows))
        axis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 2.5 else (1,)))
        axis.set_minor_formatter(NullFormatter())
        axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    if max(map(abs, values)) >= 1e4:
        axis.set_major_formatter(EngFormatter(sep=""))
