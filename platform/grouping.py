"""How trials are put into groups, and which trials may stand beside each other.

Groups are compared for what distinguishes them, so nothing else may differ: trials of a group
agree in all but their seed, and groups differ in what they are compared by and in what their
variants set. What one sweep varied is known to be meant; what differs between runs that were
started at different times is refused, with the way to narrow the choice.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tenfold.platform.errors import InputError
from tenfold.platform.registry import Method
from tenfold.platform.runs import DEFAULT, PARAM, column_of, columns, in_order, plain

# Of a number with more values than this, ranges of equal counts are compared.
_MOST_VALUES = 12
_BINS = 8
# Texts of numbers up to this length are shown as they are.
_SHORT_NUMBER = 7
_SHOWN_VALUES = 4
_SHOWN_KEYS = 8
# Groups by these are other runs, with whatever parameters.
_OTHER_RUNS = {"run", "experiment", "commit", "seed"}


@dataclass(frozen=True)
class Grouping:
    """Groups of trials.

    Attributes:
        by: Tags and parameters that tell them apart.
        labels: The group of each trial.
        places: Groups by one number: the value of each; empty otherwise.
        swept: Parameters, and the variant, that some sweep varied.
        binned: Groups are ranges of values.
    """

    by: list[str]
    labels: pd.Series
    places: dict[str, float]
    swept: list[str]
    binned: bool


def grouped(table: pd.DataFrame, by: Sequence[str]) -> Grouping:
    """Put trials into groups.

    Args:
        table: Of `runs.load_trials`.
        by: Tags and parameters; the variant and what a sweep varied when empty.

    Raises:
        InputError: There is no such tag or parameter.
    """
    swept = _swept(table)
    keys = list(dict.fromkeys(by)) or ["variant", *(key for key in swept if key != "variant")]
    texts = {key: table[column_of(table, key)].fillna(DEFAULT).astype(str) for key in keys}
    if not by:
        varied = [key for key in keys if texts[key].nunique() > 1]
        keys = varied or keys[:1]
    if len(keys) > 1:
        tags = {key for key in keys if key in table}
        short = zip(*(_shortened(texts[key]) for key in keys), strict=True)
        joined = [_joined(dict(zip(keys, values, strict=True)), tags) for values in short]
        labels = pd.Series(joined, table.index)
        return Grouping(keys, labels, {}, swept, binned=False)
    numbers = pd.to_numeric(texts[keys[0]].replace(DEFAULT, "nan"), errors="coerce")
    is_number = keys[0] not in table and bool(numbers.notna().any())
    is_number &= bool((numbers.notna() | (texts[keys[0]] == DEFAULT)).all())
    if not is_number:
        return Grouping(keys, texts[keys[0]], {}, swept, binned=False)
    binned = bool(by) and numbers.nunique() > _MOST_VALUES
    labels = _ranges(numbers) if binned else _shortened(texts[keys[0]])
    places = {str(label): float(part.median()) for label, part in numbers.groupby(labels)}
    return Grouping(keys, labels, {k: v for k, v in places.items() if v == v}, swept, binned)


def _joined(values: Mapping[str, str], tags: set[str]) -> str:
    """Tags by their values, parameters with their names; what is not given has no mention."""
    parts = [
        text if key in tags else f"{key}={text}" for key, text in values.items() if text != DEFAULT
    ]
    return ", ".join(parts) or DEFAULT


def check_alike(
    table: pd.DataFrame, grouping: Grouping, methods: Mapping[str, Method], mix: bool
) -> list[str]:
    """Make sure that trials differ in nothing but what they are compared by.

    Args:
        table: With a column ``group``.
        grouping: Its groups.
        methods: The installed ones; what their variants set explains a difference of variants.
        mix: Compare trials that differ all the same.

    Returns:
        In what trials differ beside what they are compared by: because one sweep varied it together
        with that, or because `mix` says so.

    Raises:
        InputError: They differ; the sentence names the first parameter and the ways to narrow.
    """
    within = _differing(
        (part for _, part in table.groupby(["task", "group"])),
        ["method", "variant", *columns(table, PARAM)],
        grouping.by,
    )
    together = [key for key in grouping.swept if key not in (*grouping.by, "variant")]
    averaged = [key for key in together if grouping.binned or key not in within]
    across = []
    if not _OTHER_RUNS & set(grouping.by):
        parts = [
            (method, part)
            for (_, method), part in table.groupby(["task", "method"])
            if part["sweep"].nunique() > 1
        ]
        for method, part in parts:
            found = _differing([part], ["variant", *columns(table, PARAM)], grouping.by)
            set_here = _set_by_variants(methods.get(str(method)), part, grouping.by)
            across += [key for key in found if not _explained(key, set_here)]
    refused = [key for key in dict.fromkeys([*within, *across]) if key not in averaged]
    if refused and not mix:
        raise _refusal(table, grouping.by, refused)
    return [*averaged, *refused]


def _swept(table: pd.DataFrame) -> list[str]:
    """What the trials of one sweep differ in, on one task and of one variant."""
    parts = [part for _, part in table.groupby(["sweep", "task", "variant"])]
    swept = _differing(parts, columns(table, PARAM), ())
    if swept and any(part["variant"].nunique() > 1 for _, part in table.groupby("sweep")):
        swept.append("variant")
    return swept


def _differing(
    parts: Iterable[pd.DataFrame], names: Sequence[str], known: Sequence[str]
) -> list[str]:
    """The columns, by their keys, that have several values in a part."""
    found = [
        name.removeprefix(PARAM)
        for part in parts
        for name in names
        if part[name].nunique(dropna=False) > 1
    ]
    return [key for key in dict.fromkeys(found) if key not in known]


def _set_by_variants(method: Method | None, part: pd.DataFrame, by: Sequence[str]) -> set[str]:
    if method is None or "variant" not in by:
        return set()
    return {key for name in set(part["variant"]) for key in method.variants.get(name, ())}


def _explained(key: str, set_here: set[str]) -> bool:
    return any(
        key == other or key.startswith(f"{other}.") or other.startswith(f"{key}.")
        for other in set_here
    )


def _refusal(table: pd.DataFrame, by: Sequence[str], differing: list[str]) -> InputError:
    first = differing[0]
    texts = table[column_of(table, first)].fillna(DEFAULT).astype(str)
    values = in_order(_shortened(texts).unique())
    shown = ", ".join(values[:_SHOWN_VALUES]) + (", ..." if len(values) > _SHOWN_VALUES else "")
    more = f" and in {some(differing[1:])}" if len(differing) > 1 else ""
    # The newest trial's value is the likeliest to be meant.
    flag = "--variant " if first == "variant" else f"--where {first}="
    ways = [f"{flag}{texts.iloc[-1]}"]
    if table["sweep"].nunique() > 1:
        ways.insert(0, "--last (the newest run only)")
    ways.append(" ".join(f"--by {key}" for key in [*by, first]) + " (more groups)")
    ways.append("--mix (compare them all the same)")
    return InputError(
        f"Runs compared by {', '.join(by)} also differ in {first} ({shown}){more}: add "
        f"{', '.join(ways[:-1])} or {ways[-1]}."
    )


def some(keys: Sequence[str]) -> str:
    """Names of parameters in a sentence: the first ones, and how many more there are."""
    if len(keys) <= _SHOWN_KEYS:
        return ", ".join(keys)
    return f"{', '.join(keys[:_SHOWN_KEYS])} and {len(keys) - _SHOWN_KEYS} more"


def _shortened(texts: pd.Series) -> pd.Series:
    """Long numbers with as few digits, three or more, as keep them apart; equal ones alike."""
    values = {text: plain(text) for text in texts.unique()}
    numbers = sorted({value for value in values.values() if isinstance(value, float)})
    digits = next(
        (d for d in range(3, 17) if len({f"{value:.{d}g}" for value in numbers}) == len(numbers)),
        17,
    )
    first: dict[float | str, str] = {}
    for text, value in values.items():
        label = text
        if isinstance(value, float) and len(text) > _SHORT_NUMBER:
            label = _digits(value, digits)
        first.setdefault(value if isinstance(value, float) else text, label)
    labels = {
        text: first[value if isinstance(value, float) else text] for text, value in values.items()
    }
    return texts.map(labels)


def _ranges(numbers: pd.Series) -> pd.Series:
    """Ranges of about equal counts, named by their least and largest value."""
    codes = pd.qcut(numbers, _BINS, labels=False, duplicates="drop")
    names = {
        code: f"{_digits(part.min(), 3)} to {_digits(part.max(), 3)}"
        for code, part in numbers.groupby(codes)
    }
    return codes.map(names).fillna(DEFAULT).astype(str)


def _digits(value: float, digits: int) -> str:
    """A number with so many significant digits, without a power of ten where it is readable."""
    rounded = float(f"{value:.{digits}g}")
    if rounded and not 1e-4 <= abs(rounded) < 1e9:
        return f"{value:.{digits}g}"
    return str(np.format_float_positional(rounded, trim="-"))
