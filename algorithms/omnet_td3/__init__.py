"""OMNet on TD3: subnetworks in its critic and its policy.

The paper (arXiv:2310.14009) has OMNet on SAC only; its reviewers asked for TD3. Masks, critic and
keys are `tenfold.algorithms.omnet`'s, losses and delays `tenfold.algorithms.td3`'s.
"""

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

METHOD = Method(
    name="omnet_td3",
    title="Subnetworks inside one network, on TD3",
    paper="2310.14009",
    trainable="tenfold.algorithms.omnet_td3.algorithm:OMNetTD3",
    config="tenfold.algorithms.omnet_td3.config:OMNetTD3Config",
    tasks=CONTROL_TASKS,
    gymnasium_tasks=True,
    metric="evaluation/env_runners/episode_return_mean",
    mode="max",
    score="tail_mean",
    metrics=(
        *RETURNS,
        "learners/default_policy/qf_loss",
        "learners/default_policy/policy_loss",
        "learners/default_policy/qf_mean",
        "learners/default_policy/gradient_steps",
        *SUBNETWORKS,
        *SPENT,
    ),
    optional_metrics=OPTIONAL,
    step_metric="num_env_steps_sampled_lifetime",
    step_unit="env steps",
    stop={"num_env_steps_sampled_lifetime": 30_000},
    variants={
        "omnet_td3": {},
        "split": SPLIT,
        "unit_split": {**UNIT, **SPLIT},
        "td3": {**DENSE_ACTOR_CRITIC, "num_critics": 2, "actor_q_reduce": "min"},
        "redq": {**DENSE_ACTOR_CRITIC, "num_critics": 10},
    },
    spaces="tenfold.tune_spaces.omnet_td3:SPACES",
    adjustable=("actor_lr", "critic_lr", "tau"),
    smoke={
        "train_batch_size_per_learner": 16,
        "num_steps_sampled_before_learning_starts": 32,
        "rollout_fragment_length": 16,
        "min_sample_timesteps_per_iteration": 32,
        "model_config.fcnet_hiddens": [8, 8],
        "utd_ratio": 1,
        "evaluation_duration": 2,
        "value_bias_episodes": 2,
        "mask_overlap": "balanced",
    },
)
