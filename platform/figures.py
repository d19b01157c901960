"""The one look of our figures, and the names on them as people write them."""

import io
import re
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tenfold.platform.comparison import Comparison

FORMATS = ("png", "svg", "pdf")
# Okabe and Ito's palette, told apart by colour-blind readers.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999933")
GREY = "#BBBBBB"
# Texts stay texts in SVG and PDF, so that a paper's editor can select and change them.
_STYLE = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
    "savefig.dpi": 130,
}
_WORDS = {
    "cfr": "CFR",
    "cvar": "CVaR",
    "env": "environment",
    "flops": "FLOPs",
    "iqm": "IQM",
    "kl": "KL",
    "len": "length",
    "lr": "learning rate",
    "min": "minimum",
    "max": "maximum",
    "num": "number of",
    "std": "standard deviation",
}
_STEPS = {
    "env steps": "environment steps",
    "num_env_steps_sampled_lifetime": "environment steps",
}
# A last word that is a unit, and one that says which of several values.
_UNITS = {
    "bytes": "bytes",
    "mbb": "mbb",
    "nats": "nats",
    "percent": "%",
    "seconds": "s",
    "millipot": "thousandths of the pot",
}
_WHICH = ("mean", "min", "max", "std")


def panels(count: int, columns: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """A figure of equal panels, filled row by row.

    Args:
        count: Number of panels.
        columns: Most panels in a row.
        width: Of a panel, in inches.
        height: Of a panel, in inches.
    """
    columns = min(count, columns)
    lines = -(-count // columns)
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width * columns, height * lines), layout="constrained")
        axes = [figure.add_subplot(lines, columns, place + 1) for place in range(count)]
    for each in axes:
        each.grid(alpha=0.3)
        each.set_axisbelow(True)
    return figure, axes


def entitle(axes: Axes, title: str, x: str, y: str = "") -> None:
    """Put the title at the left, and names on the axes."""
    axes.set_title(short(title, 60), fontsize=11, loc="left")
    axes.set_xlabel(x)
    axes.set_ylabel(y)


def save_figure(figure: Figure, path: Path) -> Path:
    """Write a figure in the format of the file's ending; its folder is made when missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(_STYLE):
        figure.savefig(path)
    return path


def png(figure: Figure) -> bytes:
    """The figure as a PNG image."""
    buffer = io.BytesIO()
    with mpl.rc_context(_STYLE):
        figure.savefig(buffer, format="png")
    return buffer.getvalue()


def written(name: str) -> str:
    """The name of a metric, a parameter or a unit of steps as people write it on an axis.

    ``backlog_mean`` is the mean backlog, ``gain_mbb`` the gain (mbb), ``env steps`` are environment
    steps; what comes before the last ``/`` or dot is dropped.
    """
    if name in _STEPS:
        return _STEPS[name]
    words = re.split(r"[/.]", name)[-1].replace("_", " ").split()
    unit = ""
    if len(words) > 1 and words[-1] in _UNITS:
        unit = f" ({_UNITS[words.pop()]})"
    if len(words) > 1 and words[-1] in _WHICH:
        words.insert(0, words.pop())
    return " ".join(_WORDS.get(word, word) for word in words) + unit


def score_written(comparison: Comparison) -> str:
    """What runs score, as `written`: the metric, its mean, or the steps until it is somewhere."""
    metric = written(comparison.metric)
    kind, _, level = comparison.score.partition("=")
    if kind == "reach":
        return f"steps until {metric} is {level}"
    return f"{metric} over all steps" if kind == "area" else metric


def headed(name: str) -> str:
    """`written`, with a capital letter at its beginning where it is an ordinary word."""
    return capital(written(name))


def capital(text: str) -> str:
    """A text with a capital letter at its beginning where that is an ordinary word."""
    first = text.split(" ", 1)[0]
    return text[:1].upper() + text[1:] if first.islower() else text


def short(text: str, most: int = 28) -> str:
    """A name of a group for a legend: underscores are spaces, and a long one has an ellipsis.

    A dollar is a dollar, and not where Matplotlib would begin a formula.
    """
    text = text.replace("_", " ")
    text = text if len(text) <= most else text[: most - 1] + "…"
    return re.sub(r"(?<!\\)\$", r"\\$", text)


def styles(groups: Sequence[str], ordered: bool, baseline: str | None) -> dict[str, str | None]:
    """The colour of each group; None for one that stays grey in the background.

    Up to eight groups have a colour of the palette each. Of more, the first seven have, and the
    baseline; those of a parameter's rising values all have one of a sequence of colours.

    Args:
        groups: Best first, or in the order of the parameter's values.
        ordered: They are values of a parameter.
        baseline: One of them.
    """
    if ordered:
        steps = max(len(groups) - 1, 1)
        colours = [mpl.colormaps["viridis"](0.92 * place / steps) for place in range(len(groups))]
        return {
            group: mpl.colors.to_hex(colour) for group, colour in zip(groups, colours, strict=True)
        }
    told = list(groups)
    if len(groups) > len(COLOURS):
        told = [group for group in groups if group != baseline][: len(COLOURS) - 1]
        told += [group for group in groups if group == baseline]
    named = dict(zip(told, COLOURS, strict=False))
    return {group: named.get(group) for group in groups}
