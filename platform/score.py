"""What a run scores, from its history: the one place that says so.

Comparisons, searches and schedulers all ask here, and a trial's actor does after every iteration,
so nothing heavy is imported.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from tenfold.platform.errors import InputError, one_line
from tenfold.platform.registry import Method

_TAIL = 0.1  # the share of a run's steps, at its end, that a noisy method is scored by
# Larger than any metric, and small enough for sums and interpolations over many trials.
_WORST = 1e100


@dataclass(frozen=True)
class Rule:
    """What a comparison takes for the score of a run.

    Attributes:
        kind: ``own`` as the method declares it, ``area`` or ``reach``.
        level: What is to be reached.
    """

    kind: str = "own"
    level: float = math.nan


def parse_rule(text: str) -> Rule:
    """A rule as a user writes it: ``own``, ``area`` or ``reach=VALUE``.

    Raises:
        InputError: It is none of these.
    """
    kind, equals, value = text.partition("=")
    try:
        level = float(value) if equals else math.nan
    except ValueError:
        level = math.inf
    if kind not in ("own", "area", "reach") or (kind == "reach") != math.isfinite(level):
        raise InputError(
            f"Bad value '{one_line(text)}' for --score: give own (as the method declares it), area "
            "(the mean over the steps) or reach=VALUE (the steps until the metric is there)."
        )
    return Rule(kind, level)


def area_of(history: Sequence[tuple[float, float]]) -> float:
    """The mean of a metric over the steps from its first record to its last, by trapezoids.

    Args:
        history: Step and value of every record, in the order of the steps.

    Returns:
        NaN if a value is not finite or there is none.
    """
    if not finite(history):
        return math.nan
    first, last = history[0], history[-1]
    if first[0] == last[0]:
        return float(last[1])
    parts = ((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in pairwise(history))
    return math.fsum(parts) / (last[0] - first[0])


def reached_at(history: Iterable[tuple[float, float]], level: float, mode: str) -> float | None:
    """The first step with a value that is a level or better, None if there is none.

    Args:
        history: As in `area_of`.
        level: Of the metric.
        mode: ``min`` or ``max``, which values are better.
    """
    return next(
        (step for step, value in history if (value <= level if mode == "min" else value >= level)),
        None,
    )


def score_of(
    history: Iterable[tuple[float, float]], method: Method | None, metric: str | None = None
) -> float:
    """The score of a run that has come so far, as its method declares it (`Method.score`).

    Args:
        history: Step and value of every record, in the order of the steps.
        method: Of the run; its last value counts when None.
        metric: What the values are, if they are not the method's own metric: of others the last
            value counts.

    Returns:
        NaN if it is not finite (the run has diverged) or there is no record.
    """
    points = list(history)
    kind = method.score if method is not None and metric in (None, method.metric) else "last"
    if kind == "tail_mean" and points:
        begin = (1 - _TAIL) * points[-1][0]
        points = [(step, value) for step, value in points if step > begin] or points[-1:]
        total = math.fsum(value for _, value in points) if finite(points) else math.nan
        score = total / len(points)
    elif kind == "best_evaluation" and finite(points[-1:]):
        values = [value for _, value in points if math.isfinite(value)]
        score = min(values) if method is not None and method.mode == "min" else max(values)
    else:
        score = points[-1][1] if points and finite(points[-1:]) else math.nan
    return float(score)


def finite(points: Sequence[tuple[float, float]]) -> bool:
    """Whether there are values and all are finite."""
    return bool(points) and all(math.isfinite(value) for _, value in points)


def search_score(history: Iterable[tuple[float, float]], method: Method) -> float:
    """`score_of` as searches can compare it: what is not finite is the worst there is.

    Args:
        history: As in `score_of`.
        method: Whose score and mode count.
    """
    score = score_of(history, method)
    if math.isfinite(score):
        return score
    return _WORST if method.mode == "min" else -_WORST


def checkpoint_score(history: Iterable[tuple[float, float]], method: Method) -> float:
    """`search_score` of a checkpoint, which is not the best evaluation before it but its own.

    Args:
        history: Of the run up to the checkpoint, as in `score_of`; an empty one is the worst.
        method: Whose score and mode count.
    """
    own = "last" if method.score == "best_evaluation" else method.score
    return search_score(history, replace(method, score=own))
