"""What a comparison says: its data, apart from how they are found and drawn."""

import json
import math
from dataclasses import asdict, dataclass, field
from typing import Any

from tenfold.platform.statistics import Estimate

ALL_TASKS = "all tasks"
# Groups that a terminal's table and a figure of intervals show; the files hold all.
MOST_SHOWN = 30


@dataclass(frozen=True)
class Row:
    """One group on one task, or over all tasks.

    Attributes:
        task: The task, or `ALL_TASKS`.
        group: What groups, as text.
        seeds: Number of runs; over all tasks, their sum.
        diverged: How many of them diverged. They are the worst there is, so with any the mean is
            infinite and has no interval, and the interquartile mean and the median are finite only
            where they do not reach them.
        steps: Least and largest step that the scores stand at; None over all tasks.
        mean: Mean over seeds.
        iqm: Interquartile mean.
        median: Median over seeds.
        difference: Mean less the baseline's; None for the baseline itself.
        paired: The difference is of equal seeds; else its interval is Welch's.
        better: Probability that a run beats one of the baseline; None for the baseline itself.
    """

    task: str
    group: str
    seeds: int
    diverged: int
    steps: tuple[float, float] | None
    mean: Estimate
    iqm: Estimate
    median: float
    difference: Estimate | None
    paired: bool
    better: Estimate | None


@dataclass(frozen=True)
class Curve:
    """Mean learning curve of a group on a task, with its 95 % band over seeds; one has none.

    It covers the steps that all of its runs reached; runs that diverged are not in it.
    """

    task: str
    group: str
    seeds: int
    diverged: int
    steps: list[float]
    mean: list[float]
    low: list[float] | None
    high: list[float] | None


@dataclass(frozen=True)
class ScoredRun:
    """One run of a comparison.

    Attributes:
        run_id: In MLflow.
        task: Its task.
        group: Its group.
        seed: Its seed.
        started: When, in milliseconds since 1970.
        step: Where its score stands; None for a run that diverged.
        score: None for a run that diverged.
        values: Its values of what was swept.
    """

    run_id: str
    task: str
    group: str
    seed: str
    started: int
    step: float | None
    score: float | None
    values: dict[str, str]


@dataclass(frozen=True)
class Comparison:
    """A comparison; rows and curves are in the order of the tables.

    Attributes:
        names: What was asked for.
        by: The tags and parameters that group.
        metric: What the runs are judged by.
        mode: ``min`` or ``max``, which values of it are better.
        score: What of it is a run's score: ``own``, ``area`` or ``reach=VALUE``.
        score_mode: Which scores are better.
        step_unit: What a step is.
        axis: What the curves are drawn over: the step unit, or another metric.
        baseline: Group that the others are compared with.
        one_scale: The metric has one scale on all tasks; else the rows over all tasks are of scores
            divided by the size of the baseline's mean on each.
        at: Which steps were compared, see `compare.compare`.
        rows: The tables.
        curves: Learning curves.
        runs: Every run that counts.
        places: Groups by numbers: where each stands on the parameter's axis.
        swept: Parameters (and the variant) in which the trials of one sweep differ.
        importances: Of those, how much each explains of the scores; they add up to 1.
        notes: What a reader must know beside the numbers.
        commits: Versions that the runs were made with.
        experiments: MLflow experiments of the runs.
        files: What was written.
        mlflow_run: The run that holds the files.
    """

    names: list[str]
    by: list[str]
    metric: str
    mode: str
    score: str
    score_mode: str
    step_unit: str
    axis: str
    baseline: str | None
    one_scale: bool
    at: str
    rows: list[Row]
    curves: list[Curve]
    runs: list[ScoredRun]
    places: dict[str, float]
    swept: list[str]
    importances: dict[str, float]
    notes: list[str]
    commits: list[str]
    experiments: list[str]
    files: list[str] = field(default_factory=list)
    mlflow_run: str | None = None

    @property
    def title(self) -> str:
        """What groups, as a heading."""
        return ", ".join(self.by)

    @property
    def tasks(self) -> list[str]:
        """Tasks that have a table, in their order."""
        return list(dict.fromkeys(row.task for row in self.rows))

    @property
    def groups(self) -> list[str]:
        """Groups in their order."""
        return list(dict.fromkeys(row.group for row in self.rows))

    def rows_of(self, task: str) -> list[Row]:
        """The rows of a task's table."""
        return [row for row in self.rows if row.task == task]

    def to_json(self) -> str:
        """Everything, as JSON; what is infinite for divergence is null."""
        return json.dumps(_finite(asdict(self)), indent=2, allow_nan=False)


def shown(rows: list[Row], baseline: str | None) -> list[Row]:
    """The first rows and the baseline's, where there are too many to read."""
    return [row for place, row in enumerate(rows) if place < MOST_SHOWN or row.group == baseline]


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
