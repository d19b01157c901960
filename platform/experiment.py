"""`Experiment`: what a user asks for, checked before anything starts.

An experiment names a method, its tasks and variants, what to change in the config, how to sweep
and how to stop. A single run is a sweep with one point. The fields come from a YAML file, from
command-line flags, or from both (flags win).
"""

import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveInt,
    ValidationError,
)

from tenfold.platform.errors import InputError, one_line, shown, unknown
from tenfold.platform.registry import Method, Space, get_method
from tenfold.platform.seals import Damaged, check_text_seal
from tenfold.platform.spaces import check_choices, contents, own_space, parse_domain
from tenfold.platform.tasks import resolve, resolve_config
from tenfold.platform.yaml_text import read_yaml

EXPERIMENT_FILE = "experiment.yaml"  # in the folder of a run, and of a job


# What Tune adds to every result.
_RESULT_KEYS = ("training_iteration", "time_total_s")


MOST_SEEDS = 10_000
MOST_SAMPLES = 100_000
MOST_TRIALS = 100_000
"""Of an experiment: tasks x variants x seeds x points of its space."""


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _without_duplicates(names: list[Any]) -> list[Any]:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ValueError(f"'{one_line(twice[0])}' stands there twice; name each once")
    return names


def _seed_list(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int):
        return value
    if value < 1:
        raise ValueError("give at least 1 seed, or a list of seeds")
    if value > MOST_SEEDS:
        raise ValueError(f"give at most {MOST_SEEDS:,} seeds")
    return list(range(value))


def _own_space(value: Any) -> Any:
    """A user's own space with every domain in one form, so that equal spaces are equal."""
    if not isinstance(value, dict):
        return value
    if not value:
        raise ValueError("name the keys to sweep")
    check_choices(value)
    return {str(key): parse_domain(str(key), given).record() for key, given in value.items()}


Names = Annotated[list[str], BeforeValidator(_as_list), AfterValidator(_without_duplicates)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Count = Annotated[PositiveInt, Field(le=10**9)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="constants")


class Resources(_Strict):
    """What a run may use.

    Attributes:
        cpus: Logical CPUs of the local Ray; all cores of the machine when None. A running cluster
            has its own and ignores this.
        concurrent: How many trials run at the same time; as many as fit when None.
    """

    cpus: Count | None = None
    concurrent: Count | None = None


class Checkpoints(_Strict):
    """How often a trial is saved: every `every` iterations.

    Of its checkpoints the `keep` that score best stay, and the newest; the newest `keep` where the
    method's metric adds up over the run and so judges no checkpoint. At a trial's end those that
    stay also go into the MLflow store if `upload` says so, or if it is None and the store is a
    server: from there `tenfold evaluate` and its like take them on any machine.
    """

    every: Count = 5
    keep: Count = 2
    upload: bool | None = None


class Experiment(_Strict):
    """One experiment, validated and frozen.

    Attributes:
        name: MLflow experiment and folder name; the method's name when not given.
        method: Name of a registered method.
        tasks: The tasks to run on, paths absolute; the method's first task when empty.
        variants: The method's named configs to run; its first when empty.
        config: Overrides of the method's config, for every trial. ``a.b`` reaches into a dict.
        variant_config: Variant -> further overrides of its trials, which win over `config`.
        space: Name of one of the method's search spaces, or an own one: config key -> a range
            such as ``loguniform(1e-4, 1e-2)`` or a list of values; no sweep when None.
        samples: Points drawn from the space; the space's own number when None.
        search: ``random``, ``grid`` (every domain of the space is a list) or ``optuna``.
        scheduler: ``asha``, ``pbt``, ``median``; every trial runs to its end when None.
        seeds: Their list; a number n stands for 0, ..., n - 1. Every point runs with every seed.
        stop: Result key -> value at which a trial ends; the method's own rule when empty.
        resources: See `Resources`.
        checkpoint: See `Checkpoints`.
        tracking_uri: MLflow store, see `tenfold.platform.tracking.tracking_uri`.
        log: Where results go beside MLflow: ``tensorboard``, ``wandb``.
        system_metrics: Whether each result has what the machine does, as ``system/...``.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=100)]
    method: str
    tasks: Names = Field(default=[], validation_alias=AliasChoices("tasks", "task"))
    variants: Names = Field(default=[], validation_alias=AliasChoices("variants", "variant"))
    config: dict[str, Any] = {}
    variant_config: dict[str, dict[str, Any]] = {}
    space: Annotated[str | dict[str, str | list[Any]] | None, BeforeValidator(_own_space)] = None
    samples: Annotated[PositiveInt, Field(le=MOST_SAMPLES)] | None = None
    search: Literal["random", "grid", "optuna"] | None = None
    scheduler: Literal["asha", "pbt", "median"] | None = None
    seeds: Annotated[
        list[Seed],
        BeforeValidator(_seed_list),
        AfterValidator(_without_duplicates),
        Field(min_length=1, max_length=MOST_SEEDS),
    ] = [0]
    stop: dict[str, Number] = {}
    resources: Resources = Resources()
    checkpoint: Checkpoints = Checkpoints()
    tracking_uri: str | None = None
    log: Annotated[
        list[Literal["tensorboard", "wandb"]],
        BeforeValidator(_as_list),
        AfterValidator(_without_duplicates),
    ] = []
    system_metrics: bool = False

    def overrides(self, variant: str) -> dict[str, Any]:
        """What is changed in the config of a variant's trials."""
        return {**self.config, **self.variant_config.get(variant, {})}

    def search_space(self) -> Space | None:
        """The `Space` this experiment sweeps, or None."""
        if isinstance(self.space, dict):
            return own_space(self.space)
        return get_method(self.method).load_spaces()[self.space] if self.space else None

    def search_kind(self) -> str | None:
        """How the space is searched: as the user says, else as the space says.

        An own space of lists is a grid, unless it is said how many points to draw.
        """
        space = self.search_space()
        if space is not None and isinstance(self.space, dict) and self.samples:
            return self.search or "random"
        return (self.search or space.search) if space else None

    def points(self) -> int:
        """How many points of the space run with every task, variant and seed; 1 without one."""
        space = self.search_space()
        if space is None:
            return 1
        if self.search_kind() == "grid":
            return math.prod(len(domain.values) for domain in contents(space).values())
        return self.samples or space.samples

    def trials(self) -> int:
        """How many trials there are."""
        return len(self.tasks) * len(self.variants) * len(self.seeds) * self.points()

    def scheduler_kind(self) -> str | None:
        """What ends or changes trials on the way: as the user says, else as the space says."""
        space = self.search_space()
        return (self.scheduler or space.scheduler) if space else None

    def stopping_rule(self) -> Mapping[str, float]:
        """Result key -> value at which a trial ends; empty where the method ends by itself."""
        space = self.search_space()
        return self.stop or (space.stop if space else {}) or get_method(self.method).stop


def make_experiment(fields: Mapping[str, Any]) -> Experiment:
    """Validate fields against `Experiment` and the method's declaration, without importing Ray.

    The values in `config` are checked by `tenfold.platform.study.resolve_study`.

    Raises:
        InputError: One sentence on the first mistake.
    """
    if "method" not in fields:
        raise InputError("Missing field 'method': name the method to run, see 'tenfold list'.")
    method = get_method(str(fields["method"]))
    try:
        experiment = Experiment.model_validate({"name": method.name, **fields})
    except ValidationError as error:
        raise _one_sentence(error) from None
    _check_names(experiment, method)
    filled = {
        "tasks": [resolve(method, task) for task in experiment.tasks or [method.tasks[0]]],
        "config": resolve_config(method, experiment.config),
        "variants": experiment.variants or [next(iter(method.variants))],
    }
    experiment = experiment.model_copy(update=filled)
    if experiment.trials() > MOST_TRIALS:
        raise InputError(
            f"The experiment has {experiment.trials():.4g} trials (tasks x variants x seeds x "
            f"points of the space), and at most {MOST_TRIALS:,} can be run: give fewer of them."
        )
    return experiment


def load_experiment(
    path: Path,
    overrides: Mapping[str, Any] | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> Experiment:
    """Read an experiment from a YAML file.

    Args:
        path: The file.
        overrides: Fields that win over the file's; `config`, `resources` and `checkpoint` are
            merged key by key. A key of `config` wins over the file's `variant_config`, too.
        defaults: Fields that the file wins over.

    Raises:
        InputError: The file is missing, unreadable, not YAML, or not an experiment.
    """
    fields = read_yaml(path)
    merged = {**(defaults or {}), **fields, **(overrides or {})}
    for one, other in _SYNONYMS:
        if one in fields and other in (overrides or {}):
            del merged[one]
    for field in ("config", "resources", "checkpoint"):
        if overrides and field in overrides and isinstance(fields.get(field), dict):
            merged[field] = {**fields[field], **overrides[field]}
    experiment = make_experiment(merged)
    said = (overrides or {}).get("config", {})
    kept = {
        variant: {key: value for key, value in changes.items() if key not in said}
        for variant, changes in experiment.variant_config.items()
    }
    return experiment.model_copy(update={"variant_config": kept})


# A file says `task`, a flag `tasks`: the flag's wins.
_SYNONYMS = (("task", "tasks"), ("variant", "variants"))


def read_record(path: Path) -> Experiment:
    """An experiment as a run's folder holds it; its files may lie elsewhere by now.

    Raises:
        InputError: The file is missing or damaged.
    """
    try:
        fields = read_yaml(path)
        check_text_seal(path)
        return Experiment.model_validate(fields)
    except Damaged as error:
        raise InputError(f"'{path}' is no record of a run any more: {error}.") from None
    except ValidationError as error:
        raise InputError(f"'{path}' is no record of a run: {_one_sentence(error)}") from None


def _one_sentence(error: ValidationError) -> InputError:
    first = error.errors()[0]
    refusal = first.get("ctx", {}).get("error")
    if isinstance(refusal, InputError):  # it is a sentence already
        return refusal
    field = one_line(".".join(str(part) for part in first["loc"]))
    if first["type"] == "extra_forbidden":
        *parents, name = (str(part) for part in first["loc"])
        models: dict[str, type[BaseModel]] = {"resources": Resources, "checkpoint": Checkpoints}
        model = models.get(parents[0], Experiment) if parents else Experiment
        return unknown("experiment field", name, model.model_fields)
    reason = first["msg"].removeprefix("Value error, ")
    reason = reason[0].lower() + reason[1:]
    return InputError(f"Bad value {shown(first['input'])} for '{field}': {reason}.")


def _check_names(experiment: Experiment, method: Method) -> None:
    for variant in experiment.variants:
        if variant not in method.variants:
            raise unknown(f"variant of {method.name}", variant, method.variants)
    for variant, changes in experiment.variant_config.items():
        if variant not in method.variants:
            raise unknown(f"variant of {method.name} in 'variant_config'", variant, method.variants)
        for key in method.path_keys:
            if key in changes:
                raise InputError(
                    f"'{key}' of variant '{variant}' is a file: give it to all by 'config'."
                )
    results = dict.fromkeys((*method.metrics, method.step_metric, *_RESULT_KEYS))
    for key in experiment.stop:
        if key not in results:
            raise unknown(f"result of {method.name} in 'stop'", key, results)
    if isinstance(experiment.space, str) and experiment.space not in method.load_spaces():
        raise unknown(f"space of {method.name}", experiment.space, method.load_spaces())
    if experiment.space is None:
        for field in ("samples", "search", "scheduler"):
            if getattr(experiment, field) is not None:
                raise InputError(
                    f"'{field}' is given without 'space': name the space to sweep, "
                    f"one of {', '.join(method.load_spaces())}."
                )
    cells = max(len(experiment.tasks), 1) * max(len(experiment.variants), 1)
    if experiment.search_kind() == "optuna" and experiment.scheduler_kind() == "pbt":
        raise InputError(
            "'search: optuna' and 'scheduler: pbt' both choose the values of the swept keys: use "
            "random or grid search with pbt."
        )
    if experiment.search == "optuna" and cells > 1:
        raise InputError(
            "'search: optuna' optimises one task and one variant: name one of each "
            f"instead of {shown(experiment.tasks)} and {shown(experiment.variants)}."
        )
