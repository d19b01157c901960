"""Numbers as people write them, and the one table writer: terminal, Markdown, LaTeX and CSV."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from rich.cells import cell_len
from rich.console import Console

from tenfold.platform.statistics import Estimate

DIVERGED = "diverged"
TOO_FEW = "too few seeds"
# Scores that are equal have half an interval of at most so much of their mean, by rounding.
_ROUNDING = 1e-12
_GAP = 2
_LATEX = str.maketrans(
    {each: rf"\{each}" for each in "&%$#_{}"}
    | {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"}
)


@dataclass(frozen=True)
class Table:
    """Cells of text; the first column holds names, the others numbers.

    Attributes:
        title: Above the table.
        columns: Heads.
        rows: Cells of each row.
        optional: Heads of columns that a narrow terminal may leave out, the first first.
    """

    title: str
    columns: list[str]
    rows: list[list[str]]
    optional: Sequence[str] = ()


def number(value: float) -> str:
    """A number with four significant digits, as people write it; what is infinite has diverged."""
    if not math.isfinite(value):
        return DIVERGED
    rounded = float(f"{value:.4g}")
    if rounded != 0 and not 1e-3 <= abs(rounded) < 1e9:
        return f"{value:.3e}"
    digits = max(0, 3 - math.floor(math.log10(abs(rounded)))) if rounded else 0
    return f"{rounded:,.{digits}f}"


def interval(value: Estimate) -> str:
    """``[1.100, 1.400]``, or why there is none."""
    if not math.isfinite(value.value):
        return DIVERGED
    if value.low is None or value.high is None:
        return TOO_FEW
    return f"[{number(value.low)}, {number(value.high)}]"


def plus_minus(value: Estimate) -> str:
    """``131.2 ± 4.1``: half the interval with two digits, the value as exactly; else no ±."""
    if value.low is None or value.high is None or not math.isfinite(value.value):
        return number(value.value)
    half = (value.high - value.low) / 2
    if half <= _ROUNDING * abs(value.value):
        return f"{number(value.value)} ± 0"
    largest = max(abs(value.value), half)
    if not 1e-3 <= largest < 1e9:
        power = math.floor(math.log10(largest))
        scaled = Estimate(*(x / 10.0**power for x in (value.value, value.low, value.high)))
        return f"({plus_minus(scaled)})e{power:+03d}"
    digits = 1 - math.floor(math.log10(half))
    # Three digits of the value even where the interval says that they mean little.
    own = max(digits, 2 - math.floor(math.log10(abs(value.value)))) if value.value else digits
    return f"{_rounded(value.value, own)} ± {_rounded(half, digits)}"


def chance(value: Estimate) -> str:
    """A probability and its interval with two digits; without one it says too little."""
    if value.low is None or value.high is None:
        return TOO_FEW
    return f"{value.value:.2f} [{value.low:.2f}, {value.high:.2f}]"


def count(value: float) -> str:
    """A number of steps."""
    return f"{value:,.0f}" if float(value).is_integer() else number(value)


def span(ends: tuple[float, float]) -> str:
    """One number of steps, or the least and the largest."""
    low, high = map(count, ends)
    return low if low == high else f"{low} to {high}"


def print_table(console: Console, table: Table) -> None:
    """Print a table so that no name is broken.

    In a narrow terminal it has fewer columns; where that is not enough, a row has two lines.
    """
    columns, rows = list(table.columns), [list(row) for row in table.rows]
    for name in table.optional:
        if name in columns and sum(_widths(columns, rows)) > console.width:
            place = columns.index(name)
            columns.pop(place)
            rows = [row[:place] + row[place + 1 :] for row in rows]
    names: list[str] = []
    if sum(_widths(columns, rows)) > console.width:
        names = [row[0] for row in rows]
        rows = [["", *row[1:]] for row in rows]
        columns[0] = ""
    widths = _widths(columns, rows)
    lines = [table.title, _padded(columns, widths), "-" * (sum(widths) - _GAP)]
    for place, row in enumerate(rows):
        lines += [*names[place : place + 1], _padded(row, widths)]
    console.print("\n".join(lines), "", sep="\n", markup=False, highlight=False, soft_wrap=True)


def markdown(table: Table) -> str:
    """The table in GitHub's Markdown."""
    lines = [f"**{_marked(table.title)}**", "", _line(table.columns)]
    lines.append("|---" + "|---:" * (len(table.columns) - 1) + "|")
    lines += map(_line, table.rows)
    return "\n".join(lines) + "\n"


def latex(table: Table) -> str:
    """The table in LaTeX, for the package booktabs."""
    frame = pd.DataFrame(table.rows, columns=table.columns)
    text: str = frame.to_latex(
        index=False,
        escape=True,
        column_format="l" + "r" * (len(table.columns) - 1),
        caption=table.title.translate(_LATEX),
    )
    return text.replace("±", r"$\pm$")


def save_table(path: Path, rows: Iterable[Mapping[str, Any]], about: str) -> pd.DataFrame:
    """Write rows of measurements as CSV and Markdown, and print them.

    Args:
        path: Of both files, without a suffix.
        rows: Of the table.
        about: What it shows, above the Markdown table.
    """
    frame = pd.DataFrame(list(rows))
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.to_csv(path.with_suffix(".csv"), index=False, float_format="%.6g")
    cells = [[_cell(value) for value in row] for row in frame.itertuples(index=False)]
    table = Table(about, list(map(str, frame)), cells)
    path.with_suffix(".md").write_text(markdown(table))
    print_table(Console(), table)
    return frame


def _cell(value: Any) -> str:
    """Four digits of a number, nothing where there is none."""
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:,.4g}"
    return str(value)


def _widths(columns: list[str], rows: list[list[str]]) -> list[int]:
    """Of each column with the gap after it."""
    return [max(map(cell_len, cells)) + _GAP for cells in zip(columns, *rows, strict=True)]


def _padded(cells: list[str], widths: list[int]) -> str:
    """The first to the left, the others to the right."""
    spaces = [" " * (w - _GAP - cell_len(cell)) for w, cell in zip(widths, cells, strict=True)]
    placed = [cells[0] + spaces[0], *(s + cell for s, cell in zip(spaces, cells, strict=True))]
    placed.pop(1)
    return (" " * _GAP).join(placed).rstrip()


def _rounded(value: float, digits: int) -> str:
    return f"{round(value, digits):,.{max(digits, 0)}f}"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(map(_marked, cells)) + " |"


def _marked(text: str) -> str:
    """Text that stays itself in Markdown."""
    return re.sub(r"([\\|<>*`])", r"\\\1", text)
