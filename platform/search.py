"""The points of an experiment: which there are, and who proposes them.

The points of a run, a grid and a random search are known beforehand: tasks x variants x sampled
values x seeds. Optuna proposes its own, one after the other, each with all seeds. A finished run
that is asked for more (seeds, samples, tasks, variants) lists its points anew and runs those that
it does not have; the first samples of a random search are the same however many are drawn.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from optuna.logging import WARNING, set_verbosity
from ray import tune
from ray.tune.search import Repeater, Searcher
from ray.tune.search.optuna import OptunaSearch
from ray.tune.search.variant_generator import generate_variants

from tenfold.platform.configuration import SEED_INDEX
from tenfold.platform.experiment import Experiment
from tenfold.platform.study import Study
from tenfold.platform.tasks import labels
from tenfold.platform.trial import SCORE

Point = dict[str, Any]


def samples(experiment: Experiment) -> int:
    """Values drawn from the space; 1 where nothing is drawn."""
    space = experiment.search_space()
    if space is None or experiment.search_kind() == "grid":
        return 1
    return experiment.samples or space.samples


def all_points(study: Study) -> list[Point]:
    """Every point of a study, in the order of running; not for Optuna."""
    experiment = study.experiment
    swept: dict[str, Any] = dict(study.domains)
    if experiment.search_kind() == "grid":
        swept = {key: tune.grid_search(list(domain.categories)) for key, domain in swept.items()}
    spec = {
        "task": tune.grid_search(list(labels(experiment.tasks))),
        "variant": tune.grid_search(experiment.variants),
        "seed": tune.grid_search(experiment.seeds),
        **swept,
    }
    generator = np.random.default_rng(experiment.seeds[0])
    return [
        point
        for _ in range(samples(experiment))
        for _, point in generate_variants(spec, constant_grid_search=True, random_state=generator)
    ]


def missing_points(wanted: Iterable[Point], there: Sequence[Point]) -> list[Point]:
    """The wanted points that are not there, each as often as it is wanted more."""
    left = [dict(point) for point in there]
    missing = []
    for point in wanted:
        if point in left:
            left.remove(point)
        else:
            missing.append(point)
    return missing


def optuna(study: Study, known: Sequence[tuple[Point, float]]) -> Searcher:
    """Optuna's sampler; each proposal runs with every seed and is judged by the mean score.

    Args:
        study: What is searched.
        known: Sampled values and mean scores of earlier trials.
    """
    set_verbosity(WARNING)  # it tells of each study and trial, which the progress line does
    search = OptunaSearch(
        metric=SCORE,
        mode=study.method.mode,
        seed=study.experiment.seeds[0] + len(known),
        points_to_evaluate=[point for point, _ in known] or None,
        evaluated_rewards=[score for _, score in known] or None,
    )
    return Repeater(search, repeat=len(study.experiment.seeds))


def sampled_values(point: Mapping[str, Any]) -> Point:
    """The swept values of a point alone."""
    fixed = ("task", "variant", "seed", SEED_INDEX)
    return {key: value for key, value in point.items() if key not in fixed}
