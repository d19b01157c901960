"""Each variant at its own best point of earlier sweeps: what is compared was tuned alike."""

import ast
from collections import defaultdict
from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple

from tenfold.platform.errors import InputError
from tenfold.platform.experiment import Experiment
from tenfold.platform.tasks import labels

if TYPE_CHECKING:
    from mlflow import MlflowClient


class BestPoint(NamedTuple):
    """What a sweep found for a variant.

    Attributes:
        variant: The variant.
        sweep: Where it was swept.
        values: Config key -> value.
        points: How many points were tried.
        seeds: With which seeds.
    """

    variant: str
    sweep: str
    values: dict[str, Any]
    points: int
    seeds: list[int]

    def __str__(self) -> str:
        """For the plan of a run."""
        values = ", ".join(f"{key}={value}" for key, value in self.values.items())
        seeds = ", ".join(map(str, self.seeds))
        return f"{self.variant}: {values} (best of {self.points} in {self.sweep}, seeds {seeds})"


def with_best_points(experiment: Experiment, found: Sequence[BestPoint]) -> Experiment:
    """The experiment with its variants at their best points.

    Raises:
        InputError: A key is set as well, or a seed was tuned on.
    """
    for best in found:
        given = experiment.overrides(best.variant)
        for key, value in best.values.items():
            if key in given:
                raise InputError(
                    f"Config key '{key}' is both set to {given[key]!r} and {value!r} at the best "
                    f"point of '{best.sweep}': drop one of the two."
                )
        for seed in experiment.seeds:
            if seed in best.seeds:
                raise InputError(
                    f"'{best.sweep}' tuned with seed {seed}, on which nothing may be compared "
                    "afterwards: give other --seeds."
                )
    merged = {
        best.variant: {**experiment.variant_config.get(best.variant, {}), **best.values}
        for best in found
    }
    return experiment.model_copy(update={"variant_config": {**experiment.variant_config, **merged}})


def best_points(
    experiment: Experiment, sweeps: Sequence[str], client: "MlflowClient"
) -> list[BestPoint]:
    """The best point of each of the experiment's variants.

    A point is as good as the mean of its runs' last values of the method's own metric. What a
    scheduler ended early, a point at which a run diverged, and one with fewer runs than others do
    not count.

    Args:
        experiment: What is asked for.
        sweeps: Names of experiments, or of runs.
        client: Of the store that has them.

    Raises:
        InputError: The experiment has several tasks; a sweep is not there, or of another method or
            task; a variant was swept by none of them or by several.
    """
    from tenfold.platform.runs import Selection, load_trials

    if len(experiment.tasks) > 1:
        raise InputError(
            f"--best-of takes the points of one task, and {len(experiment.tasks)} are given: run "
            "each by itself."
        )
    task = next(iter(labels(experiment.tasks)))
    variants: dict[str, set[str]] = {}
    for sweep in sweeps:
        table = load_trials(client, Selection([sweep], tasks=[task])).table
        others = set(table["method"]) - {experiment.method}
        if others:
            raise InputError(
                f"'{sweep}' has runs of {', '.join(sorted(others))}, not only of "
                f"{experiment.method}: name the experiment of its sweep."
            )
        variants[sweep] = set(table["variant"])
    found = []
    for variant in experiment.variants:
        where = [sweep for sweep in variants if variant in variants[sweep]]
        if len(where) != 1:
            by = f"by {' and by '.join(where)}" if where else "by none of them"
            raise InputError(
                f"--best-of {','.join(sweeps)}: variant '{variant}' was swept {by}; name one "
                "sweep of every variant that runs."
            )
        found.append(_best_point(client, where[0], task, variant))
    return found


def _best_point(client: "MlflowClient", sweep: str, task: str, variant: str) -> BestPoint:
    from tenfold.platform.compare import collect
    from tenfold.platform.runs import DEFAULT, Selection

    selection = Selection([sweep], tasks=[task], variants=[variant])
    found = collect(client, selection, by=["variant"], at="completed", mix=True)
    keys = [key for key in found.swept if key != "variant"]
    if not keys:
        raise InputError(
            f"The runs of '{variant}' in '{sweep}' differ in no key: name a sweep of points."
        )
    scores: dict[tuple[str, ...], list[float | None]] = defaultdict(list)
    for run in found.runs:
        scores[tuple(run.values[key] for key in keys)].append(run.score)
    most = max(map(len, scores.values()))
    means = {
        point: fmean(each)
        for point, runs in scores.items()
        if len(each := [score for score in runs if score is not None]) == most
    }
    if not means:
        raise InputError(
            f"At every point of '{variant}' in '{sweep}' a run diverged: sweep others."
        )
    best = (min if found.mode == "min" else max)(means, key=lambda point: means[point])
    values = {key: _value(text) for key, text in zip(keys, best, strict=True) if text != DEFAULT}
    return BestPoint(
        variant, sweep, values, len(scores), sorted({int(run.seed) for run in found.runs})
    )


def _value(text: str) -> Any:
    """A value from MLflow's text of it."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
