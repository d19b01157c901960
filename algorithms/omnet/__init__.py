"""OMNet: many subnetworks inside one network, for off-policy learning (arXiv:2310.14009).

One critic with K fixed random binary masks gives K values, as an ensemble does, from one weight
tensor; a policy with masks of its own explores by one subnetwork an episode. SAC, REDQ, DroQ and
what lies between are variants: the same code with other numbers of weight tensors and masks.
"""

from typing import Any

from tenfold.algorithms.omnet.declared import (
    CONTROL_TASKS,
    DENSE_ACTOR_CRITIC,
    OPTIONAL,
    RETURNS,
    SPENT,
    SPLIT,
    SUBNETWORKS,
    UNIT,
)
from tenfold.platform.registry import Method

_SINGLE: dict[str, Any] = {**DENSE_ACTOR_CRITIC, "target_subset": 1}
_TWIN: dict[str, Any] = {**DENSE_ACTOR_CRITIC, "num_critics": 2, "actor_q_reduce": "min"}
_DROQ: dict[str, Any] = {"dropout": 0.01, "layer_norm": True}

METHOD = Method(
    name="omnet",
    title="Subnetworks inside one network, on soft actor-critic",
    paper="2310.14009",
    trainable="tenfold.algorithms.omnet.algorithm:OMNet",
    config="tenfold.algorithms.omnet.config:OMNetConfig",
    tasks=CONTROL_TASKS,
    gymnasium_tasks=True,
    metric="evaluation/env_runners/episode_return_mean",
    mode="max",
    score="tail_mean",
    metrics=(
        *RETURNS,
        "learners/default_policy/qf_loss",
        "learners/default_policy/policy_loss",
        "learners/default_policy/alpha_value",
        *SUBNETWORKS,
        "subnetworks/critic_steps",
        *SPENT,
        "timers/collect_seconds",
        "timers/learn_seconds",
    ),
    optional_metrics=OPTIONAL,
    step_metric="num_env_steps_sampled_lifetime",
    step_unit="env steps",
    stop={"num_env_steps_sampled_lifetime": 30_000},
    variants={
        "omnet": {},
        "split": SPLIT,
        "unit": UNIT,
        "unit_split": {**UNIT, **SPLIT},
        "critic_only": {"policy_subnets": 1},
        "static_mask": {
            **DENSE_ACTOR_CRITIC,
            "sparsity": 0.5,
            "num_critics": 2,
            "actor_q_reduce": "min",
        },
        "sac": {**DENSE_ACTOR_CRITIC, "num_critics": 2, "actor_q_reduce": "min"},
        "sinsac": _SINGLE,
        "redq": {**DENSE_ACTOR_CRITIC, "num_critics": 10},
        "droq": {**DENSE_ACTOR_CRITIC, **_DROQ, "num_critics": 2},
        "sindroq": {**_SINGLE, **_DROQ},
    },
    spaces="tenfold.tune_spaces.omnet:SPACES",
    adjustable=("actor_lr", "critic_lr", "alpha_lr", "tau", "ucb_coef"),
    smoke={
        "train_batch_size_per_learner": 16,
        "num_steps_sampled_before_learning_starts": 16,
        "min_sample_timesteps_per_iteration": 32,
        "model_config.fcnet_hiddens": [8, 8],
        "utd_ratio": 1,
        "evaluation_duration": 2,
        "value_bias_episodes": 2,
        "mask_overlap": "balanced",
    },
)
