"""Trial schedulers, each cell by itself.

Trials compete within a cell only: one task, one variant, one seed. Across tasks the metric does not
mean the same, and a population that took another task's config would become that task. ASHA and the
median rule count time in the method's own steps, up to the length of a trial.
"""

import random
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any

import numpy as np
from ray.tune.experiment import Trial
from ray.tune.schedulers import (
    ASHAScheduler,
    FIFOScheduler,
    MedianStoppingRule,
    PopulationBasedTraining,
    TrialScheduler,
)
from ray.tune.search.sample import Categorical, Domain

from tenfold.platform.configuration import SEED_INDEX
from tenfold.platform.errors import InputError
from tenfold.platform.experiment import Experiment
from tenfold.platform.search import samples
from tenfold.platform.study import Study

# ASHA's first rung and the median rule's first judgement stand at this share of a trial's length.
_FIRST_JUDGEMENT = 1 / 16


class PerCell(FIFOScheduler):
    """A scheduler of its own for the trials of each cell.

    Args:
        make: Makes the scheduler of a cell.
        cell: The cell of a trial.
        at_once: How many trials may run at the same time; as many as fit when None.
    """

    def __init__(
        self,
        make: Callable[[], TrialScheduler],
        cell: Callable[[Trial], Hashable],
        at_once: int | None = None,
    ) -> None:
        super().__init__()
        self._at_once = at_once
        self._make = make
        self._cell = cell
        self._cells: dict[Hashable, TrialScheduler] = {}
        self._own: dict[str, TrialScheduler] = {}
        self._properties: dict[str, Any] = {}

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        self._properties = {"metric": metric, "mode": mode, **spec}
        self._metric = metric
        return True

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        cell = self._cell(trial)
        if cell not in self._cells:
            self._cells[cell] = self._make()
            self._cells[cell].set_search_properties(**self._properties)
        # A population changes configs, so the cell is asked for once.
        self._own[trial.trial_id] = self._cells[cell]
        self._cells[cell].on_trial_add(tune_controller, trial)

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        decision: str = self._own[trial.trial_id].on_trial_result(tune_controller, trial, result)
        return decision

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        self._own[trial.trial_id].on_trial_complete(tune_controller, trial, result)

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        self._own[trial.trial_id].on_trial_error(tune_controller, trial)

    def on_trial_remove(self, tune_controller: Any, trial: Trial) -> None:
        self._own[trial.trial_id].on_trial_remove(tune_controller, trial)

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        """The trial that has come least far, so that populations advance together."""
        trials = tune_controller.get_trials()
        running = sum(trial.status == Trial.RUNNING for trial in trials)
        if self._at_once is not None and running >= self._at_once:
            return None
        waiting = [trial for trial in trials if trial.status in (Trial.PENDING, Trial.PAUSED)]
        return min(waiting, key=_iterations, default=None)

    def debug_string(self) -> str:
        return f"{len(self._cells)} cells"


def make_scheduler(
    study: Study, length: tuple[str, float], at_once: int | None
) -> TrialScheduler | None:
    """The scheduler that an experiment names, or that its space brings; None runs all to the end.

    A population must be there as a whole, so its trials take turns if not all may run at once; the
    trials that other schedulers see are made one by one.

    Args:
        study: What is run.
        length: A result key that grows, and its value at a trial's end.
        at_once: How many trials of a population may run at the same time.
    """
    experiment = study.experiment
    name = experiment.scheduler_kind()
    if name is None:
        return None
    axis, last = length
    first = max(1.0, last * _FIRST_JUDGEMENT)
    if name == "asha":
        return PerCell(
            lambda: ASHAScheduler(
                time_attr=axis, max_t=last, grace_period=first, stop_last_trials=False
            ),
            _cell_of,
        )
    if name == "median":
        return PerCell(
            lambda: MedianStoppingRule(time_attr=axis, grace_period=first, min_time_slice=first),
            _cell_of,
        )
    # Tune's explorer draws from the global generators.
    random.seed(experiment.seeds[0])
    np.random.seed(experiment.seeds[0])
    fixed = _fixed(study)
    mutated = {key: domain for key, domain in study.domains.items() if key not in fixed}
    return PerCell(
        lambda: _population(experiment, mutated),
        lambda trial: _population_of(trial.config, fixed),
        at_once,
    )


def check_population(study: Study, points: Iterable[Mapping[str, Any]]) -> None:
    """Refuse populations of one, in which nobody has anybody to take a config from.

    Args:
        study: What is run, by population-based training.
        points: All of its points.

    Raises:
        InputError: No two points share a cell and the keys that cannot change in mid-run.
    """
    fixed = _fixed(study)
    members = Counter(_population_of(point, fixed) for point in points)
    if max(members.values()) == 1:
        differ = (
            f"no two share {' and '.join(fixed)}, which cannot change in mid-run: leave that out "
            "of the space, give it a short list of values"
            if fixed and samples(study.experiment) > 1
            else "'samples' is 1: draw more"
        )
        raise InputError(
            "'scheduler: pbt' has trials of one task, variant and seed learn from each other, and "
            f"{differ}, or use asha."
        )


def _population(experiment: Experiment, mutated: Mapping[str, Domain]) -> PopulationBasedTraining:
    """Population-based training that stays within the domains."""

    def within(config: dict[str, Any]) -> dict[str, Any]:
        for key, domain in mutated.items():
            if not isinstance(domain, Categorical):
                config[key] = min(max(config[key], domain.lower), domain.upper)
        return config

    return PopulationBasedTraining(
        time_attr="training_iteration",
        perturbation_interval=experiment.checkpoint.every,
        # Of a list it takes members; a categorical domain it would multiply like a number.
        hyperparam_mutations={
            key: list(domain.categories) if isinstance(domain, Categorical) else domain
            for key, domain in mutated.items()
        },
        custom_explore_fn=within,
        require_attrs=False,
    )


def cell(config: Mapping[str, Any]) -> Hashable:
    """What trials must share to compete, of a point or a trial's config."""
    return config["task"], config["variant"], config.get("seed", config.get(SEED_INDEX))


def _cell_of(trial: Trial) -> Hashable:
    return cell(trial.config)


def _fixed(study: Study) -> list[str]:
    """The swept keys that cannot change in mid-run."""
    return [key for key in study.domains if key not in study.method.adjustable]


def _population_of(config: Mapping[str, Any], fixed: Iterable[str]) -> Hashable:
    """What trials must share to take each other's config."""
    return cell(config), *(repr(config[key]) for key in fixed)


def _iterations(trial: Trial) -> int:
    done: int = (trial.last_result or {}).get("training_iteration", 0)
    return done
