"""OMNet on DQN, for discrete actions: K subnetworks of one Q network (after arXiv:2310.14009).

A method of its own and not a base that follows the task: without a policy network there is no
temperature, no policy's learning rate and no policy's masks, but an epsilon, so that the keys of
the two are different ones, and `tenfold describe` shows those that are read. The critic, masks,
runner, metrics and loop are those of `omnet`.
"""

from tenfold.algorithms.omnet.declared import (
    DENSE,
    OPTIONAL,
    RETURNS,
    SPENT,
    SPLIT,
    SUBNETWORKS,
    UNIT,
)
from tenfold.envs.queues.names import SCENARIO_NAMES
from tenfold.platform.registry import Method

METHOD = Method(
    name="omnet_dqn",
    title="Subnetworks inside one network, on deep Q-learning",
    paper="2310.14009",
    trainable="tenfold.algorithms.omnet_dqn.algorithm:OMNetDQN",
    config="tenfold.algorithms.omnet_dqn.config:OMNetDQNConfig",
    tasks=("CartPole-v1", "Acrobot-v1", "MountainCar-v0", *SCENARIO_NAMES),
    gymnasium_tasks=True,
    metric="evaluation/env_runners/episode_return_mean",
    mode="max",
    score="tail_mean",
    metrics=(
        *RETURNS,
        "learners/default_policy/qf_loss",
        "learners/default_policy/qf_mean",
        *SUBNETWORKS,
        *SPENT,
    ),
    optional_metrics=OPTIONAL,
    step_metric="num_env_steps_sampled_lifetime",
    step_unit="env steps",
    stop={"num_env_steps_sampled_lifetime": 20_000},
    variants={
        "omnet_dqn": {},
        "split": SPLIT,
        "unit": UNIT,
        "dqn": {**DENSE, "target_subset": 1},
        "twin": {**DENSE, "num_critics": 2},
        "ensemble": {**DENSE, "num_critics": 5},
        "static_mask": {"num_subnets": 1, "target_subset": 1},
    },
    spaces="tenfold.tune_spaces.omnet_dqn:SPACES",
    adjustable=("lr", "tau", "ucb_coef"),
    smoke={
        "train_batch_size_per_learner": 16,
        "num_steps_sampled_before_learning_starts": 16,
        "min_sample_timesteps_per_iteration": 32,
        "model_config.fcnet_hiddens": [8, 8],
        "evaluation_duration": 2,
        "value_bias_episodes": 2,
        "mask_overlap": "balanced",
    },
)
