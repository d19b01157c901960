"""From an experiment's point (task, variant, seed, overrides) to the method's own config object.

Defaults live in the method's config class, a subclass of RLlib's `AlgorithmConfig` or, for a
training loop, of `TrainingConfig`; here overrides are checked against them (is there such a key, is
the value of the default's type) and applied. What a value means is for the config's own
`validate()` or `check()`.
"""

import logging
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, fields
from typing import Any

from pydantic import ValidationError
from ray import tune
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
from ray.tune.search.sample import Categorical

from tenfold.platform.errors import InputError, unknown
from tenfold.platform.experiment import Experiment
from tenfold.platform.registry import Method, get_method
from tenfold.platform.tasks import labels
from tenfold.platform.training import TrainingConfig

# Tune's Repeater numbers the repetitions of a point under this key; they are our seeds.
SEED_INDEX = "__trial_index__"


@dataclass(frozen=True)
class Point:
    """Where a trial stands: its task, variant, seed, and all overrides of the config.

    `label` is the task in tables: the last component where `task` is a path.
    """

    task: str
    label: str
    variant: str
    seed: int
    overrides: dict[str, Any]


def trial_point(experiment: Experiment, sampled: Mapping[str, Any]) -> Point:
    """The point of a trial, from what Tune put into the trial's config."""
    rest = {key: value for key, value in sampled.items() if not key.startswith("__")}
    if SEED_INDEX in sampled:
        rest["seed"] = experiment.seeds[sampled[SEED_INDEX]]
    task, variant, seed = rest.pop("task"), rest.pop("variant"), rest.pop("seed")
    path = labels(experiment.tasks).get(task, task)
    return Point(path, task, variant, seed, {**experiment.config, **rest})


def check_configs(experiment: Experiment) -> None:
    """Build and validate the config of every task and variant, so that mistakes show before Ray.

    Raises:
        InputError: Unknown key, wrong type or a value that the method refuses.
    """
    method = get_method(experiment.method)
    for task in experiment.tasks:
        for variant in experiment.variants:
            build_config(method, task, variant, experiment.config, experiment.seeds[0])
    space = experiment.search_space()
    if space is not None:
        domains = space.define(tune)
        defaults = flatten(method.load_config_class()().to_dict())
        for key, domain in domains.items():
            _check_key(method, defaults, key)
            if experiment.search_kind() == "grid" and not isinstance(domain, Categorical):
                raise InputError(
                    f"'search: grid' needs choices, but '{key}' of space '{experiment.space}' is "
                    f"{domain.domain_str}: use random or optuna."
                )
            if key in experiment.config:
                raise InputError(
                    f"Config key '{key}' is both set to {experiment.config[key]!r} and swept by "
                    f"space '{experiment.space}': drop one of the two."
                )


def build_config(
    method: Method, task: str, variant: str, overrides: Mapping[str, Any], seed: int
) -> AlgorithmConfig | TrainingConfig:
    """The validated config of one trial.

    Args:
        method: The method to run.
        task: One of its tasks.
        variant: One of its variants; its overrides apply first.
        overrides: Config key (``a.b`` reaches into a dict) -> value.
        seed: Seed of the trial.

    Raises:
        InputError: Unknown key, wrong type or a value that the method refuses.
    """
    changes = {**method.variants[variant], **overrides}
    config_class = method.load_config_class()
    if issubclass(config_class, TrainingConfig):
        return _training_config(method, config_class, changes, task, seed)
    config: AlgorithmConfig = config_class()
    defaults = config.to_dict()
    config.environment(task)
    config.debugging(seed=seed, log_level="ERROR")
    for key, value in changes.items():
        _check_key(method, defaults, key)
        head, *path = key.split(".")
        attribute = _attribute(defaults, head)
        if not path:
            _check_type(method, key, defaults[attribute], value)
            _set(config, attribute, value)
            continue
        nested = deepcopy(getattr(config, attribute))
        inner = nested
        for part in path[:-1]:
            inner = inner.setdefault(part, {})
        if path[-1] in inner:
            _check_type(method, key, inner[path[-1]], value)
        inner[path[-1]] = value
        _set(config, attribute, nested)
    try:
        logging.getLogger("ray.rllib").setLevel(logging.ERROR)
        config.validate()
    except ValueError as error:
        raise InputError(" ".join(str(error).split())) from None
    return config


def _training_config(
    method: Method,
    config_class: type[TrainingConfig],
    values: Mapping[str, Any],
    task: str,
    seed: int,
) -> TrainingConfig:
    """A training loop's config; pydantic checks the types, `check` the rest."""
    for key in values:
        _check_key(method, config_class.model_fields, key)
    try:
        config = config_class(**values, task=task, seed=seed)
        config.check()
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"] if not str(part).endswith("]"))
        said = first["msg"].removeprefix("Value error, ").removeprefix("Input ")
        raise InputError(
            f"Bad value {first['input']!r} for config key '{key}' of {method.name}: {said}."
        ) from None
    except ValueError as error:
        raise InputError(" ".join(str(error).split())) from None
    return config


def requested(method: Method, config: AlgorithmConfig | TrainingConfig) -> dict[str, float]:
    """CPUs, GPUs and custom resources that one trial needs before it can start, by Ray's names.

    Args:
        method: The method to run.
        config: A trial's config, as `build_config` gives it.

    Returns:
        Sums over all processes of the trial; an elastic Ray Train job counts its fewest workers.
    """
    if isinstance(config, TrainingConfig) and config.workers > 0:
        fewest = config.min_workers or config.workers
        needed = {"CPU": config.cpus_per_worker, "GPU": config.gpus_per_worker}
        return {name: fewest * each for name, each in needed.items() if each}
    request = method.load_trainable().default_resource_request(config.to_dict())
    return {name: float(each) for name, each in request.required_resources.items() if each}


def flatten(nested: Mapping[str, Any], separator: str = ".") -> dict[str, Any]:
    """``{"a": {"b": 1}}`` as ``{"a.b": 1}``; empty mappings stay as they are."""
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        if isinstance(value, Mapping) and value:
            inner = flatten(value, separator)
            flat.update({f"{key}{separator}{name}": entry for name, entry in inner.items()})
        else:
            flat[str(key)] = value
    return flat


def changed_from_default(
    method: Method, task: str, config: AlgorithmConfig | TrainingConfig
) -> dict[str, Any]:
    """What a trial's config changes against the method's defaults on the same task, flat."""
    default = method.load_config_class()()
    if not isinstance(default, TrainingConfig):
        default.environment(task)
        default.validate()
    defaults = flatten(default.to_dict())
    return {
        key: value
        for key, value in flatten(config.to_dict()).items()
        if key not in ("seed", "env", "task", "log_level")
        and isinstance(value, bool | int | float | str | list | tuple)
        and defaults.get(key) != value
    }


def _attribute(defaults: Mapping[str, Any], key: str) -> str:
    """The attribute behind a key: RLlib keeps some behind properties of the same name."""
    return key if key in defaults else f"_{key}"


def _set(config: AlgorithmConfig, attribute: str, value: Any) -> None:
    # RLlib routes some keys to methods of the config (env_config, evaluation_*).
    config.update_from_dict({attribute: value})


def _check_key(method: Method, defaults: Mapping[str, Any], key: str) -> None:
    head, _, rest = key.partition(".")
    if head in _SET_BY:
        raise InputError(f"Config key '{head}' is set by '{_SET_BY[head]}', not in config.")
    public = [name.removeprefix("_") for name in defaults]
    if head not in public:
        raise unknown(f"config key of {method.name}", head, public)
    if not rest:
        return
    if not isinstance(defaults[_attribute(defaults, head)], dict):
        raise InputError(
            f"Config key '{key}' of {method.name} reaches into '{head}', which is no mapping: "
            f"set '{head}' itself."
        )
    if head == "model_config":
        names = [field.name for field in fields(DefaultModelConfig)]
        if rest not in names:
            raise unknown(f"entry of model_config of {method.name}", rest, names)


_SET_BY = {"env": "task", "task": "task", "seed": "seeds"}


def _check_type(method: Method, key: str, default: Any, value: Any) -> None:
    """A value must be of its default's type; None as the default says nothing about the type."""
    expected: tuple[type, str] | None = None
    is_int = isinstance(value, int) and not isinstance(value, bool)
    if isinstance(default, bool):
        expected = None if isinstance(value, bool) else (bool, "true or false")
    elif isinstance(default, int) and not is_int:
        expected = (int, "a whole number")
    elif isinstance(default, float) and not (is_int or isinstance(value, float)):
        expected = (float, "a number")
    elif isinstance(default, str) and not isinstance(value, str | int):
        expected = (str, "a text")
    elif isinstance(default, dict) and not isinstance(value, dict):
        expected = (dict, f"a mapping; set one entry with '{key}.<entry>'")
    if expected is not None:
        raise InputError(
            f"Bad value {value!r} for config key '{key}' of {method.name}: give {expected[1]}."
        )
    counts = key.rsplit(".", 1)[-1].startswith("num_")
    if counts and is_int and value < 0:
        raise InputError(
            f"Bad value {value} for config key '{key}' of {method.name}: give 0 or more."
        )
    if key.endswith(("_size", "_length", "_size_per_learner")) and is_int and value < 1:
        raise InputError(
            f"Bad value {value} for config key '{key}' of {method.name}: give 1 or more."
        )
