"""`Study`: an experiment with its method and what it sweeps, resolved once at the door.

What runs, records and shows an experiment is given its study. Configs are built here, each once in
a process; the trial's own process builds the one that it trains with.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ray import tune
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.tune.search.sample import Categorical, Domain

from tenfold.platform.configuration import Point, build_config, check_key, trial_point
from tenfold.platform.errors import InputError
from tenfold.platform.experiment import Experiment
from tenfold.platform.plan import ruled_length
from tenfold.platform.registry import Method, get_method
from tenfold.platform.spaces import parse_domain
from tenfold.platform.training import TrainingConfig

# Configs that are kept for whoever asks next; a sweep may have thousands.
_KEPT = 64


@dataclass(frozen=True)
class Study:
    """An experiment, resolved.

    Attributes:
        experiment: What a user asks for.
        method: Its method.
        domains: The swept keys and what they range over; empty without a space.
    """

    experiment: Experiment
    method: Method
    domains: Mapping[str, Domain]
    _configs: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def point(self, sampled: Mapping[str, Any]) -> Point:
        """Where a trial stands, from what Tune put into its config."""
        return trial_point(self.experiment, sampled)

    def config(self, at: Point) -> AlgorithmConfig | TrainingConfig:
        """The config of a point, to be read and not changed.

        Raises:
            InputError: Unknown key, wrong type or a value that the method refuses.
        """
        key = repr((at.task, at.variant, at.seed, at.overrides))
        if key not in self._configs:
            if len(self._configs) == _KEPT:
                del self._configs[next(iter(self._configs))]
            self._configs[key] = build_config(
                self.method, at.task, at.variant, at.overrides, at.seed
            )
        return self._configs[key]

    def unswept(self, variant: str, task: str | None = None) -> AlgorithmConfig | TrainingConfig:
        """The config of a variant with the first seed, before anything is swept; see `config`.

        Args:
            variant: One of the experiment's.
            task: One of its tasks; its first when None.
        """
        task, seed = task or self.experiment.tasks[0], self.experiment.seeds[0]
        return self.config(Point(task, task, variant, seed, self.experiment.overrides(variant)))

    def length(self) -> tuple[str, float] | None:
        """A result key that grows, and its value at a trial's end; None where nothing says."""
        ruled = ruled_length(self.experiment, self.method)
        if ruled is not None:
            return ruled
        config = self.unswept(self.experiment.variants[0])
        if not hasattr(config, "total_steps"):
            return None
        return self.method.step_metric, float(config.total_steps())

    def __getstate__(self) -> dict[str, Any]:
        """What goes to other processes: configs are built anew there."""
        return {**self.__dict__, "_configs": {}}


def resolve_study(experiment: Experiment) -> Study:
    """Check an experiment whole, so that mistakes show before Ray starts.

    Raises:
        InputError: In a config, for any task and variant: an unknown key, a wrong type or a value
            that the method refuses. In the space: the same at either end of a range and for every
            choice, a key that is set as well, or no choices where a grid needs them.
    """
    method = get_method(experiment.method)
    space = experiment.search_space()
    study = Study(experiment, method, dict(space.define(tune)) if space else {})
    for task in experiment.tasks:
        for variant in experiment.variants:
            study.unswept(variant, task)
    _check_domains(study)
    _check_extremes(study)
    _check_population(study)
    return study


def _check_domains(study: Study) -> None:
    """Hold the swept keys against the method and the rest of the experiment."""
    if not study.domains:
        return
    method, experiment = study.method, study.experiment
    config_class = method.load_config_class()
    default = config_class if issubclass(config_class, TrainingConfig) else config_class()
    for key, domain in study.domains.items():
        check_key(method, default, key)
        if experiment.search_kind() == "grid" and not isinstance(domain, Categorical):
            raise InputError(
                f"'search: grid' needs choices, but '{key}' of space '{experiment.space}' is "
                f"{domain.domain_str}: use random or optuna."
            )
        for changes in (experiment.config, *experiment.variant_config.values()):
            if key in changes:
                raise InputError(
                    f"Config key '{key}' is both set to {changes[key]!r} and swept by "
                    f"space '{experiment.space}': drop one of the two."
                )


def _check_extremes(study: Study) -> None:
    """Try both ends of every range of a user's own space, and every choice.

    While one key is tried the others have their first value.
    """
    experiment = study.experiment
    if not isinstance(experiment.space, dict):
        return
    extremes = {key: parse_domain(key, each).extremes() for key, each in experiment.space.items()}
    first = {key: values[0] for key, values in extremes.items()}
    for task in experiment.tasks:
        for variant in experiment.variants:
            for key, values in extremes.items():
                for value in values:
                    overrides = {**experiment.overrides(variant), **first, key: value}
                    try:
                        build_config(study.method, task, variant, overrides, experiment.seeds[0])
                    except InputError as error:
                        domain = parse_domain(key, experiment.space[key])
                        raise InputError(
                            f"{str(error).rstrip('.')}: '{key}' is swept over {domain}."
                        ) from None


def _check_population(study: Study) -> None:
    """Refuse population-based training of a space in which nothing may change in mid-run."""
    adjustable = study.method.adjustable
    if study.experiment.scheduler_kind() == "pbt" and not set(study.domains) & set(adjustable):
        may = ", ".join(adjustable)
        raise InputError(
            f"'scheduler: pbt' changes keys in mid-run, and space '{study.experiment.space}' "
            f"sweeps {', '.join(study.domains)}: {f'only {may}' if may else 'no key'} of "
            f"{study.method.name} may change there; use asha or median."
        )
