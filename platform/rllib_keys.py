"""RLlib's own config keys: which ones its new API stack reads, and of what types they are.

`AlgorithmConfig` still holds every setting of the old API stack, which is accepted, recorded and
read by nothing. Those keys are refused here with the one that is read. The rest takes its types
from the signatures of the config's setters (`training`, `env_runners`, `learners`, ...), unless a
method's own `Parameters` say more.
"""

import inspect
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import MISSING, fields
from functools import cache, reduce
from operator import or_
from types import GenericAlias, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import AfterValidator, Field, create_model
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
from ray.rllib.utils.from_config import NotProvided

from tenfold.platform.parameters import Parameters

# What the new API stack reads in place of a key of the old one; "" where nothing took its place.
# From RLlib 2.60: keys that are marked deprecated, renamed in `_translate_special_keys`, marked
# `@OldAPIStack`, or that nothing outside policies, rollout workers and old models reads.
REPLACED = {
    "action_mask_key": "",
    "actions_in_input_normalized": "",
    "adam_epsilon": "",
    "algorithm_config_overrides_per_module": "",
    "always_attach_evaluation_results": "",
    "auto_wrap_old_gym_envs": "",
    "before_learn_on_batch": "",
    "buffer_size": "replay_buffer_config.capacity",
    "categorical_distribution_temperature": "",
    "checkpoint_trainable_policies_only": "",
    "clip_rewards": "",
    "collect_metrics_timeout": "",
    "compress_observations": "",
    "create_env_on_driver": "create_env_on_local_worker",
    "custom_async_evaluation_function": "",
    "custom_resources_per_worker": "custom_resources_per_env_runner",
    "delay_between_worker_restarts_s": "delay_between_env_runner_restarts_s",
    "disable_env_checking": "",
    "eager_max_retraces": "",
    "eager_tracing": "",
    "enable_async_evaluation": "evaluation_parallel_to_training",
    "enable_connectors": "",
    "enable_tf1_exec_eagerly": "",
    "entropy_coeff_schedule": "entropy_coeff",
    "env_runner_state_server_max_concurrency": "",
    "env_task_fn": "",
    "evaluation_num_episodes": "evaluation_duration",
    "evaluation_num_workers": "evaluation_num_env_runners",
    "exploration_config": "epsilon",
    "export_native_model_files": "",
    "extra_python_environs_for_driver": "",
    "extra_python_environs_for_worker": "",
    "fake_gpus": "num_gpus_per_learner",
    "fake_sampler": "",
    "hiddens": "model_config.head_fcnet_hiddens",
    "ignore_worker_failures": "ignore_env_runner_failures",
    "in_evaluation": "",
    "is_atari": "",
    "keep_per_episode_custom_metrics": "",
    "learner_config_dict": "",
    "learning_starts": "num_steps_sampled_before_learning_starts",
    "local_tf_session_args": "",
    "lr_schedule": "lr",
    "max_num_worker_restarts": "max_num_env_runner_restarts",
    "max_requests_in_flight_per_rollout_worker": "max_requests_in_flight_per_env_runner",
    "max_requests_in_flight_per_sampler_worker": "max_requests_in_flight_per_env_runner",
    "metrics_episode_collection_timeout_s": "",
    "metrics_smoothing_episodes": "metrics_num_episodes_for_smoothing",
    "min_iter_time_s": "min_time_s_per_iteration",
    "min_sample_timesteps_per_reporting": "min_sample_timesteps_per_iteration",
    "min_time_s_per_reporting": "min_time_s_per_iteration",
    "min_train_timesteps_per_reporting": "min_train_timesteps_per_iteration",
    "model": "model_config",
    "model_config_dict": "model_config",
    "monitor": "",
    "noisy": "",
    "num_consecutive_worker_failures_tolerance": "num_consecutive_env_runner_failures_tolerance",
    "num_cpus_for_driver": "num_cpus_for_main_process",
    "num_cpus_for_local_worker": "num_cpus_for_main_process",
    "num_cpus_per_learner_worker": "num_cpus_per_learner",
    "num_cpus_per_worker": "num_cpus_per_env_runner",
    "num_envs_per_worker": "num_envs_per_env_runner",
    "num_gpus": "num_gpus_per_learner",
    "num_gpus_per_learner_worker": "num_gpus_per_learner",
    "num_gpus_per_worker": "num_gpus_per_env_runner",
    "num_learner_workers": "num_learners",
    "num_rollout_workers": "num_env_runners",
    "num_sgd_iter": "num_epochs",
    "num_workers": "num_env_runners",
    "observation_filter": "",
    "observation_fn": "",
    "off_policy_estimation_methods": "",
    "ope_split_batch_by_episode": "",
    "optimization": "actor_lr",
    "optimizer": "",
    "output_max_file_size": "output_max_rows_per_file",
    "policy_map_cache": "",
    "policy_map_capacity": "",
    "policy_model_config": "model_config",
    "policy_states_are_swappable": "",
    "postprocess_inputs": "",
    "preprocessor_pref": "",
    "prioritized_replay": "replay_buffer_config.type",
    "prioritized_replay_alpha": "replay_buffer_config.alpha",
    "prioritized_replay_beta": "replay_buffer_config.beta",
    "prioritized_replay_eps": "",
    "q_model_config": "model_config",
    "recreate_failed_env_runners": "restart_failed_env_runners",
    "recreate_failed_workers": "restart_failed_env_runners",
    "remote_env_batch_wait_ms": "",
    "remote_worker_envs": "gym_env_vectorize_mode",
    "render_env": "",
    "replay_batch_size": "train_batch_size_per_learner",
    "replay_mode": "",
    "replay_sequence_length": "",
    "restart_failed_sub_environments": "",
    "sample_collector": "",
    "sampler_perf_stats_ema_coef": "",
    "sgd_minibatch_size": "minibatch_size",
    "shuffle_buffer_size": "",
    "shuffle_sequences": "shuffle_batch_per_epoch",
    "sigma0": "",
    "simple_optimizer": "",
    "synchronize_filter": "merge_env_runner_states",
    "synchronize_filters": "merge_env_runner_states",
    "tf_session_args": "",
    "timesteps_per_iteration": "min_sample_timesteps_per_iteration",
    "torch_compile_worker": "torch_compile_learner",
    "torch_compile_worker_dynamo_backend": "torch_compile_learner_dynamo_backend",
    "torch_compile_worker_dynamo_mode": "torch_compile_learner_dynamo_mode",
    "train_batch_size": "train_batch_size_per_learner",
    "update_worker_filter_stats": "broadcast_env_runner_states",
    "use_env_runner_state_server": "",
    "use_gae": "",
    "use_state_preprocessor": "",
    "use_worker_filter_stats": "merge_env_runner_states",
    "validate_workers_after_construction": "validate_env_runners_after_construction",
    "vf_share_layers": "model_config.vf_share_layers",
    "worker_cls": "",
    "worker_health_probe_timeout_s": "env_runner_health_probe_timeout_s",
    "worker_restore_timeout_s": "env_runner_restore_timeout_s",
    "worker_side_prioritization": "",
}

# What the platform decides, and what to use instead.
SET_ELSEWHERE = {
    "env": "is set by 'task', not in config",
    "task": "is set by 'task', not in config",
    "seed": "is set by 'seeds', not in config",
    "framework": "is always torch: leave it out",
    "framework_str": "is always torch: leave it out",
    "log_level": "is set by the platform: leave it out",
    "log_sys_usage": "is set by the platform: give --system-metrics to record the machine",
    "enable_rl_module_and_learner": "is always true: leave it out",
    "enable_env_runner_and_connector_v2": "is always true: leave it out",
    "count_steps_by": "is for several agents, which no task here has: leave it out",
    "policies": "is for several agents, which no task here has: leave it out",
    "policies_to_train": "is for several agents, which no task here has: leave it out",
    "policy_mapping_fn": "is for several agents, which no task here has: leave it out",
    "logger_config": "is set by the platform, which records every run: leave it out",
    "logger_creator": "is set by the platform, which records every run: leave it out",
}

# Training and evaluation on recorded data.
_OFFLINE = re.compile(
    r"(input($|_)|prelearner_|offline_|dataset_num_iters_|(map|iter)_batches_kwargs|materialize_"
    r"|ignore_final_observation|.*_offline_eval_runner)"
)

_CHOICES = {
    "batch_mode": Literal["truncate_episodes", "complete_episodes"],
    "evaluation_duration_unit": Literal["episodes", "timesteps"],
    "gym_env_vectorize_mode": Literal["sync", "async"],
    "placement_strategy": Literal["PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD"],
}


def refusal(config: AlgorithmConfig, key: str) -> str | None:
    """Why a key of RLlib cannot be set, as the end of a sentence; None if it can.

    Args:
        config: A method's config.
        key: The key, or its part before the first dot.
    """
    if key in SET_ELSEWHERE:
        return SET_ELSEWHERE[key]
    if attribute(config, key) in own_keys(config) or key in _declared(config):
        return None
    if key in REPLACED:
        instead = REPLACED[key] if _has(config, REPLACED[key].partition(".")[0]) else ""
        cure = f"set '{instead}'" if instead else "leave it out"
        return f"belongs to RLlib's old API stack, which is not used: {cure}"
    if _OFFLINE.match(key) and _has(config, key):
        return "is for training from recorded data, which this method does not do: leave it out"
    if (reads := getattr(config, "reads", None)) is not None and key not in reads:
        there = _has(config, key)
        return "is RLlib's and not read by this method: leave it out" if there else None
    if _has(config, key) and key not in types_of(config):
        return "takes code: set it in a subclass of the method's config"
    return None


def _declared(config: AlgorithmConfig) -> set[str]:
    """The keys of a config's `Parameters`, if it has such a model."""
    model = getattr(config, "Parameters", Parameters)
    return {field.alias or name for name, field in model.model_fields.items()}


def own_keys(config: AlgorithmConfig) -> dict[str, Any]:
    """The keys that a method's config adds to RLlib's, and their values."""
    library = next(each for each in type(config).__mro__ if each.__module__.startswith("ray."))
    theirs = vars(library())
    return {key: value for key, value in vars(config).items() if key not in theirs}


def types_of(config: AlgorithmConfig) -> dict[str, Any]:
    """The type of each RLlib key that a user can set, from the setters' annotations.

    What code alone can give (functions, classes, spaces) is left out, and so are keys that are
    refused.
    """
    kind: Any = type(config)
    return _types_of(kind)


@cache
def _types_of(config_class: Any) -> dict[str, Any]:
    annotations: dict[str, list[Any]] = {}
    for each in config_class.__mro__:
        setters = vars(each).values() if each.__module__.startswith("ray.") else ()
        for setter in filter(inspect.isfunction, setters):
            for name, parameter in inspect.signature(setter).parameters.items():
                if parameter.default is NotProvided and not name.startswith("_"):
                    annotations.setdefault(name, []).append(parameter.annotation)
    config = config_class()
    found = {}
    reads = getattr(config, "reads", None)
    for name, given in annotations.items():
        key, default = name.rstrip("_"), value_of(config, name)
        refused = key in REPLACED or key in SET_ELSEWHERE or bool(_OFFLINE.match(key))
        refused = refused or (reads is not None and key not in reads)
        kind = _united(given)
        if kind is not None and not refused and _has(config, name):
            kind = _CHOICES.get(key, kind)
            found[key] = kind | None if default is None else kind
    return found


def library_parameters(config: AlgorithmConfig) -> type[Parameters]:
    """RLlib's keys as a model: type, default, and the first sentence of RLlib's explanation."""
    kind: Any = type(config)
    return _library_parameters(kind)


@cache
def _library_parameters(config_class: Any) -> type[Parameters]:
    config, said = config_class(), _explanations(config_class)
    made: dict[str, Any] = {
        ("network" if key == "model_config" else key): (
            Network if key == "model_config" else kind,
            Field(
                value_of(config, key),
                alias=key if key == "model_config" else None,
                description=said.get(key, ""),
            ),
        )
        for key, kind in _types_of(config_class).items()
    }
    return create_model(f"{config_class.__name__} of RLlib", __base__=Parameters, **made)


def attribute(config: AlgorithmConfig, key: str) -> str:
    """The attribute behind a key: RLlib keeps some behind properties, or under another name."""
    spelled = next((name for name in (f"_{key}", f"{key}_") if name in vars(config)), key)
    return key if key in vars(config) else spelled


def _has(config: AlgorithmConfig, key: str) -> bool:
    return bool(key) and attribute(config, key) in vars(config)


def value_of(config: AlgorithmConfig, key: str) -> Any:
    """What a config says for a key."""
    return vars(config).get(attribute(config, key.rstrip("_")))


def _settable(kind: Any) -> Any:
    """The part of an annotation that a YAML file can give; None if there is none.

    No number among RLlib's keys is negative, but for those that methods declare themselves.
    """
    origin, inner = get_origin(kind), get_args(kind)
    if kind in (bool, str):
        return kind
    if kind in (int, float):
        return Annotated[kind, Field(ge=0, le=10**12)]
    if origin in (Union, UnionType):
        return _united(inner)
    if origin is dict or kind is dict:
        return dict[str, Any]
    if origin in (list, tuple, Sequence, Collection):
        entry = _united(inner)
        return None if entry is None else GenericAlias(list, (entry,))
    return None


def _united(kinds: Iterable[Any]) -> Any:
    members = [kind for kind in map(_settable, kinds) if kind is not None]
    return reduce(or_, members) if members else None


def _explanations(config_class: type[AlgorithmConfig]) -> dict[str, str]:
    """Key -> first sentence, from the setters' docstrings."""
    found: dict[str, str] = {}
    for each in config_class.__mro__:
        setters = vars(each).values() if each.__module__.startswith("ray.") else ()
        for setter in filter(inspect.isfunction, setters):
            text = inspect.getdoc(setter) or ""
            for key, said in re.findall(r"^    (\w+): ((?:.+\n?(?:     +.+\n?)*))", text, re.M):
                sentence = re.split(r"\.\s", " ".join(said.split()))[0].rstrip(".")
                found.setdefault(key.rstrip("_"), sentence)
    return found


def _initializer(name: str) -> str:
    from torch.nn import init

    if not name.endswith("_") or not hasattr(init, name):
        raise ValueError("name a function of torch.nn.init that works in place, as 'orthogonal_'")
    return name


Sizes = list[Annotated[int, Field(ge=1, le=100_000)]]
Activation = Literal["tanh", "relu", "elu", "swish", "silu", "linear"] | None
Initializer = Annotated[str, AfterValidator(_initializer)] | None

_NETWORK: dict[str, tuple[Any, str]] = {
    "fcnet_hiddens": (Annotated[Sizes, Field(min_length=1)], "Units of each layer of the encoder"),
    "head_fcnet_hiddens": (Sizes, "Units of each layer of the heads"),
    "fusionnet_hiddens": (Sizes, "Units of each layer that joins observation and action (SAC)"),
    "conv_filters": (
        list[list[int | list[int]]] | None,
        "Layers [channels, kernel, stride] of an image's encoder; by the image's size when null",
    ),
    "log_std_clip_param": (
        Annotated[float, Field(gt=0, allow_inf_nan=True)],
        "Largest log standard deviation of a continuous action",
    ),
    "free_log_std": (bool, "Standard deviations are free parameters, not outputs"),
    "vf_share_layers": (bool, "Policy and value function share the encoder"),
    "use_lstm": (bool, "An LSTM after the encoder"),
    "lstm_cell_size": (Annotated[int, Field(ge=1, le=100_000)], "Units of the LSTM"),
    "max_seq_len": (Annotated[int, Field(ge=1, le=10**6)], "Steps that an LSTM is trained over"),
}
_UNREAD = ("lstm_use_prev_action", "lstm_use_prev_reward")


def _network_fields() -> Mapping[str, Any]:
    """Every entry of RLlib's `DefaultModelConfig` that something reads."""
    made: dict[str, Any] = {}
    for each in fields(DefaultModelConfig):
        kind, meaning = _NETWORK.get(each.name, (each.type, ""))
        if each.name.endswith("_activation"):
            kind, meaning = Activation, "Activation after these layers"
        elif each.name.endswith("_initializer"):
            kind, meaning = Initializer, "In-place function of torch.nn.init; torch's own when null"
        elif each.name.endswith("_kwargs"):
            kind, meaning = dict[str, Any] | None, "Arguments of the initializer"
        elif each.name.endswith("_use_layernorm"):
            kind, meaning = bool, "Layer normalisation after each of these layers"
        default = each.default if each.default_factory is MISSING else each.default_factory()
        if each.name not in _UNREAD:
            made[each.name] = (kind, Field(default, description=meaning))
    return made


if TYPE_CHECKING:
    Network = Parameters
else:
    Network = create_model("Network", __base__=Parameters, **_network_fields())
