"""From an experiment's point (task, variant, seed, overrides) to the method's own config object.

Keys, types, bounds and defaults live in the method's `Parameters` (for a training loop, in its
`TrainingConfig`), and what RLlib says about its own keys in `rllib_keys`; here overrides are held
against them and applied. What values mean together is for the config's own `validate()` or
`check()`.
"""

import logging
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError, create_model
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig

from tenfold.platform import rllib_keys
from tenfold.platform.errors import InputError, unknown
from tenfold.platform.experiment import Experiment
from tenfold.platform.parameters import Parameters, check, complaint, own_first
from tenfold.platform.registry import Method
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
    return Point(path, task, variant, seed, {**experiment.overrides(variant), **rest})


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
    try:
        if issubclass(config_class, TrainingConfig):
            return _training_config(method, config_class, changes, task, seed)
        return _rllib_config(method, config_class(), changes, task, seed)
    except InputError:
        raise
    except ValueError as error:
        sentence = " ".join(str(error).split())
        raise InputError(sentence.partition(" To suppress all validation errors")[0]) from None


def _rllib_config(
    method: Method, config: AlgorithmConfig, changes: Mapping[str, Any], task: str, seed: int
) -> AlgorithmConfig:
    config.environment(task)
    # RLlib's own watch of the machine is a thread that each ending trial waits for.
    config.debugging(seed=seed, log_level="ERROR", log_sys_usage=False)
    logging.getLogger("ray.rllib").setLevel(logging.ERROR)
    for key, value in changes.items():
        check_key(method, config, key)
        head, *path = key.split(".")
        attribute = rllib_keys.attribute(config, head)
        if path:
            value = _placed(method, key, getattr(config, attribute), path, value)
        _check_value(config, head, value)
        # RLlib routes some keys to methods of the config (env_config, evaluation_*).
        config.update_from_dict({attribute: value})
    config.validate()
    return config


def check_key(method: Method, config: AlgorithmConfig | type[TrainingConfig], key: str) -> None:
    """Refuse a config key that there is not, or that something else sets.

    Args:
        method: The method whose config it is.
        config: A default config, or the class of a training loop's.
        key: The key; only its part before the first dot is looked at.

    Raises:
        InputError: The reason, and the nearest key.
    """
    head = key.partition(".")[0]
    if isinstance(config, AlgorithmConfig):
        reason = rllib_keys.refusal(config, head)
        known = [*_own_parameters(config), *rllib_keys.types_of(config)]
        known += rllib_keys.own_keys(config)
    else:
        reason = rllib_keys.SET_ELSEWHERE.get(head) if head in ("task", "seed") else None
        known = list(config.model_fields)
    if reason is not None:
        raise InputError(f"Config key '{head}' of {method.name} {reason}.")
    if head not in known:
        raise unknown(f"config key of {method.name}", head, dict.fromkeys(known))


def _own_parameters(config: AlgorithmConfig) -> dict[str, str]:
    """The keys of a config's `Parameters`, if it has such a model, and the fields behind them."""
    model = getattr(config, "Parameters", Parameters)
    return {model.model_fields[name].alias or name: name for name in own_first(model)}


def _check_value(config: AlgorithmConfig, key: str, value: Any) -> None:
    """Hold a value against its type: the method's own, else RLlib's, else that of the default."""
    if key in _own_parameters(config):
        check(config.Parameters, {key: value})
    elif key in rllib_keys.types_of(config):
        check(rllib_keys.library_parameters(config), {key: value})
    else:
        default = rllib_keys.own_keys(config)[key]
        kind: Any = type(default) if isinstance(default, bool | int | float | str | dict) else Any
        fields: dict[str, Any] = {key: (kind, default)}
        check(create_model("own", __base__=Parameters, **fields), {key: value})


def _placed(
    method: Method, key: str, present: Any, path: Sequence[str], value: Any
) -> dict[str, Any]:
    """A mapping with one entry changed, however deep.

    Raises:
        InputError: What the path leads into is no mapping.
    """
    changed = deepcopy(present)
    inner = changed
    for depth, part in enumerate(path):
        if not isinstance(inner, dict):
            into = ".".join([key.partition(".")[0], *path[:depth]])
            raise InputError(
                f"Config key '{key}' of {method.name} reaches into '{into}', which is no mapping: "
                f"set '{into}' itself."
            )
        inner = inner.setdefault(part, {}) if depth < len(path) - 1 else inner
    inner[path[-1]] = value
    return changed


def _training_config(
    method: Method,
    config_class: type[TrainingConfig],
    values: Mapping[str, Any],
    task: str,
    seed: int,
) -> TrainingConfig:
    """A training loop's config; pydantic checks the types, `check` the rest."""
    nested: dict[str, Any] = {}
    for key, value in values.items():
        check_key(method, config_class, key)
        head, *path = key.split(".")
        present = nested.get(head, config_class.model_fields[head].get_default())
        nested[head] = _placed(method, key, present, path, value) if path else value
    try:
        config = config_class(**nested, task=task, seed=seed)
    except ValidationError as error:
        raise ValueError(complaint(error, config_class, nested)) from None
    config.check()
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
    trainable: Any = method.load_trainable()
    request = trainable.default_resource_request(config.to_dict())
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
        if key not in rllib_keys.SET_ELSEWHERE
        and isinstance(value, bool | int | float | str | list | tuple)
        and defaults.get(key) != value
    }
